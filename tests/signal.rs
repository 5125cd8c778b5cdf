//! The score against the series that define it: every tick of every file.

#[path = "support/series.rs"]
mod series;

use coherence_hub::signal::{Scorer, Status, Tachogram, Version};
use series::{Deviation, Row, all_series};

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
