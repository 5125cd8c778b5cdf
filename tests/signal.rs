//! The score against the series that define it: every tick of every file.

#[path = "support/series.rs"]
mod series;

use coherence_hub::signal::synchrony::{Phases, Synchrony, pairs};
use coherence_hub::signal::{Scorer, Status, Tachogram, Version};
use series::{Deviation, Row, all_groups, all_series};

#[test]
fn every_series_scores_as_defined() {
    let mut failures = String::new();
    let mut scorer = Scorer::new(Version::One);
    for series in all_series() {
        let mut deviation = Deviation::default();
        for row in &series.expected {
            let known: usize = row.text("n_beats").parse().unwrap();
            let evaluation = scorer.evaluate(&series.intervals[..known]);
            deviation.take(&series.name, row, &Row::from(&evaluation));
        }
        deviation.conclude(&series.name);
        failures += &deviation.failures;
    }
    assert!(failures.is_empty(), "\n{failures}");
}

#[test]
fn a_tachogram_fed_beat_by_beat_agrees_with_the_whole_history_to_the_bit() {
    let mut scorers = [Version::One, Version::Two].map(Scorer::new);
    for series in all_series() {
        let mut tachogram = Tachogram::new();
        for (n, interval) in series.intervals.iter().enumerate() {
            tachogram.push(*interval);
            assert!(
                tachogram.intervals().len() <= 300,
                "{}: kept too much",
                series.name
            );
            if n % 11 == 0 {
                for scorer in &mut scorers {
                    let (trimmed, whole) = (
                        scorer.evaluate(tachogram.intervals()),
                        scorer.evaluate(&series.intervals[..=n]),
                    );
                    // Every figure is finite, so that equal means the same bits (or a zero's sign).
                    assert_eq!(trimmed, whole, "{} after {n} beats", series.name);
                }
            }
        }
    }
}

#[test]
fn the_warmup_left_runs_down_to_the_first_score() {
    let mut scorer = Scorer::new(Version::One);
    for series in all_series() {
        let mut left_ms = f64::INFINITY;
        for n in 0..series.intervals.len().min(120) {
            let evaluation = scorer.evaluate(&series.intervals[..n]);
            if evaluation.status != Status::Warmup {
                assert_eq!(evaluation.warmup_left_ms, 0.0);
                break;
            }
            assert!(evaluation.warmup_left_ms > 0.0);
            // Repairs at the edge may take a beat back for a moment.
            assert!(
                evaluation.warmup_left_ms <= left_ms + 3000.0,
                "{} after {n} beats",
                series.name
            );
            left_ms = evaluation.warmup_left_ms;
        }
    }
}

#[test]
fn every_group_moves_together_as_defined() {
    let mut scorer = Scorer::new(Version::One);
    for group in all_groups() {
        for tick in &group.expected {
            let at_ms = tick["tau_ms"].as_f64().unwrap();
            let rhythms: Vec<Phases> = group
                .hearts
                .iter()
                .filter_map(|heart| scorer.phases(&heart.intervals, heart.last_end_ms, at_ms))
                .collect();
            assert_eq!(
                rhythms.len(),
                tick["participants"].as_array().unwrap().len()
            );

            let index = Synchrony::of(&rhythms).unwrap().index;
            let expected = tick["group_index"].as_f64().unwrap();
            assert!(
                (index - expected).abs() <= 0.1,
                "{} at {at_ms}: {index} instead of {expected}",
                group.name
            );
            let found = pairs(&rhythms);
            for expected in tick["plv"].as_array().unwrap() {
                let what = format!("{} at {at_ms}: {expected}", group.name);
                let place = |name: &str| expected[name].as_u64().unwrap() as usize;
                let pair = found
                    .iter()
                    .find(|pair| (pair.a, pair.b) == (place("a"), place("b")));
                assert_eq!(
                    pair.is_some(),
                    expected["synchronised"].as_bool().unwrap(),
                    "{what}"
                );
                if let Some(pair) = pair {
                    let off =
                        |name: &str, ours: f64| (ours - expected[name].as_f64().unwrap()).abs();
                    assert!(off("plv", pair.plv) <= 0.001, "{what}, not {}", pair.plv);
                    assert!(
                        off("lag_rad", pair.lag_rad) <= 0.001,
                        "{what}, not {}",
                        pair.lag_rad
                    );
                }
            }
        }
    }
}

#[test]
fn the_chance_of_a_group_is_the_same_bits_everywhere() {
    let mut scorer = Scorer::new(Version::One);
    let chances: Vec<u64> = all_groups()
        .iter()
        .flat_map(|group| group.expected.iter().map(move |tick| (group, tick)))
        .map(|(group, tick)| {
            let at_ms = tick["tau_ms"].as_f64().unwrap();
            let rhythm =
                |heart: &series::Heart| scorer.phases(&heart.intervals, heart.last_end_ms, at_ms);
            let rhythms: Vec<Phases> = group.hearts.iter().filter_map(rhythm).collect();
            Synchrony::of(&rhythms).unwrap().chance_high.to_bits()
        })
        .collect();
    assert_eq!(
        chances,
        [
            0x404a_d6aa_35a3_c171,
            0x404b_d330_8dd4_77af,
            0x404d_0563_28f8_2bd2,
            0x402d_0800_3f79_bc2e,
            0x402f_9fb2_c246_cef4,
            0x402e_4258_4598_b7b1,
        ]
    );
}
