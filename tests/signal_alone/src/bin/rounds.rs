//! Does the work of the benches so often: `rounds CASE ROUNDS`. Prints the number of windows, and the
//! ns per window of the fastest round.

#[path = "../../../support/series.rs"]
mod series;
#[path = "../../../../benches/support/windows.rs"]
mod windows;

use std::hint::black_box;
use std::time::Instant;

use coherence_hub::signal::{Scorer, Version};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [case, rounds] = arguments.as_slice() else {
        panic!("usage: rounds CASE ROUNDS");
    };
    let cases = windows::cases();
    let (_, windows) = cases
        .iter()
        .find(|(name, _)| name == case)
        .expect("the name of a case");
    let rounds: u32 = rounds.parse().expect("a number of rounds");

    let mut scorer = Scorer::new(Version::CURRENT);
    let mut fastest_ns = u128::MAX;
    for _ in 0..rounds {
        let begin = Instant::now();
        for window in windows {
            black_box(scorer.evaluate(black_box(window)));
        }
        fastest_ns = fastest_ns.min(begin.elapsed().as_nanos() / windows.len() as u128);
    }
    println!("{} {fastest_ns}", windows.len());
}
