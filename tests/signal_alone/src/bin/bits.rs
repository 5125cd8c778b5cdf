//! Writes down everything that scoring gives, of every series and of noise: what `tests/arm64` compares.
//! Numbers are written as briefly as gives the same bits when they are read, so no bit is hidden.

#[path = "../../../support/series.rs"]
mod series;

use coherence_hub::signal::synchrony::{Phases, Synchrony, pairs};
use coherence_hub::signal::{Interval, Scorer, Version};
use series::{all_groups, all_series};

/// Windows of noise.
const NOISE: u64 = 5_000;

fn main() {
    for version in [Version::One, Version::Two] {
        println!("version {}", version.number());
        write_down(&mut Scorer::new(version));
    }
}

fn write_down(scorer: &mut Scorer) {
    for series in all_series() {
        for row in &series.expected {
            let known: usize = row.text("n_beats").parse().expect("a count of beats");
            let evaluation = scorer.evaluate(&series.intervals[..known]);
            println!("{} {} {evaluation:?}", series.name, row.text("tick_s"));
        }
    }
    for group in all_groups() {
        for tick in &group.expected {
            let at_ms = tick["tau_ms"].as_f64().expect("a moment");
            let rhythms: Vec<Phases> = group
                .hearts
                .iter()
                .filter_map(|heart| scorer.phases(&heart.intervals, heart.last_end_ms, at_ms))
                .collect();
            let synchrony = Synchrony::of(&rhythms);
            println!("{} {at_ms} {synchrony:?} {:?}", group.name, pairs(&rhythms));
        }
    }
    for n in 0..NOISE {
        println!("noise {n} {:?}", scorer.evaluate(&noise(n)));
    }
}

/// A heart with artefacts; each eighth is any bits whatever.
fn noise(n: u64) -> Vec<Interval> {
    // SplitMix64.
    let mut state = n << 32;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let mut level_ms = 900.0;
    (0..140)
        .map(|_| {
            if n.is_multiple_of(8) {
                return Interval {
                    rr_ms: f64::from_bits(next()),
                    gap_ms: f64::from_bits(next()),
                };
            }
            // A slow walk in steps of 1/1024 s.
            level_ms += (next() % 81) as f64 - 40.0 + (900.0 - level_ms) / 16.0;
            let artefact = match next() % 40 {
                0 => 2.0,
                1 => 0.4,
                2 => 1.3,
                _ => 1.0,
            };
            Interval {
                rr_ms: (level_ms * artefact * 1.024).round() / 1.024,
                gap_ms: if next() % 100 == 0 { 1_500.0 } else { 0.0 },
            }
        })
        .collect()
}
