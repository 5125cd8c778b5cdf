//! Whose heart is it? How often the hub is right when somebody taps along with their pulse, and when it
//! says that two radios carry one heart. People, straps and radios are simulated; the room is the hub's
//! own.
//!
//! `cargo run --release --example matching -- --help`
//!
//! - `taps`: people of the virtual room tap along
//! - `twins`: straps with two radios, and strangers who beat alike
//! - `random`: chance that is the same on every machine, shared with the study of accuracy

#[path = "../accuracy/random.rs"]
mod random;
mod taps;

use clap::Parser;

/// How often the hub tells hearts apart rightly. Prints tables; the same seed gives the same digits.
#[derive(Parser, Debug)]
#[command(name = "matching")]
struct Args {
    /// Tappings in each row of the first table.
    #[arg(long, default_value_t = 20_000)]
    tappings: usize,
    /// Another seed, other people.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() {
    let args = Args::parse();
    print!("{}", taps::table(args.tappings, args.seed));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_taps_along_is_seldom_proposed_anothers_strap_and_mostly_the_own() {
        let plan = taps::Plan {
            straps: 8,
            touches: 12,
            elsewhere: false,
        };
        let counts = taps::counted(plan, 200, 3);
        assert!(counts.right > 120, "{counts:?}");
        assert!(counts.wrong <= 2, "{counts:?}");
    }
}
