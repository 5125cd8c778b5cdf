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
mod twins;

use std::path::PathBuf;

use clap::Parser;

/// How often the hub tells hearts apart rightly. Prints tables; the same seed gives the same digits.
#[derive(Parser, Debug)]
#[command(name = "matching")]
struct Args {
    /// Tappings in each row of the first table.
    #[arg(long, default_value_t = 20_000)]
    tappings: usize,
    /// Minutes that pairs of strangers are listened to.
    #[arg(long, default_value_t = 120_000)]
    pair_minutes: usize,
    /// Straps with two radios in each row of the second table.
    #[arg(long, default_value_t = 2_000)]
    twins: usize,
    /// Another seed, other people.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Put straps with two radios on recorded hearts, and do nothing else: a folder of `.rr.csv` files, each
    /// with a line of heading and an R-R interval in ms in every other.
    #[arg(long, value_name = "FOLDER")]
    recordings: Option<PathBuf>,
}

fn main() {
    let args = Args::parse();
    if let Some(folder) = args.recordings {
        let all = twins::recorded(&folder, args.seed).unwrap_or_else(|error| {
            eprintln!("{}: {error}", folder.display());
            std::process::exit(1);
        });
        for recorded in all {
            println!(
                "{}: of {} straps {} were told within 60 s, {} undone",
                recorded.name, recorded.starts, recorded.within_60_s, recorded.undone
            );
        }
        return;
    }
    print!("{}", taps::table(args.tappings, args.seed));
    print!("{}", twins::table(args.pair_minutes, args.twins, args.seed));
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

    #[test]
    fn strangers_who_beat_alike_are_never_one_and_two_radios_of_one_strap_soon_are() {
        for rough_ms in [0.5, 3.0, 8.0, 20.0] {
            assert_eq!(twins::strangers(300, rough_ms, 5), 0, "{rough_ms}");
        }
        for n in 0..40 {
            let twin = twins::twin(15.0, 5, n);
            assert!(
                twin.told_s.is_some_and(|s| s <= 60.0),
                "{n}: {:?}",
                twin.told_s
            );
            assert!(!twin.undone, "{n}");
        }
    }
}
