//! The hub's error bars: how often does the truth lie where a score says it does?
//!
//! Here belongs which hearts are asked, and what is counted. A heart of any strength of rhythm is
//! scored undisturbed, then with each amount of mistakes, then with each hole, then early; every score
//! is held against the heart's planted spectrum, which no window saw whole.

use std::ops::Range;

use coherence_hub::signal::{Interval, Scorer, Version};

use crate::planted::{Kind, with_artefacts, with_gap, without_gap};
use crate::random::Random;
use crate::simulate::Heart;
use crate::study::{Errors, Figure, SHORT_S};

/// The definition that is studied: version 1 tells no standard errors.
pub const VERSION: Version = Version::Two;

/// Standard errors on either side that hold the truth in 90 of 100 windows, as of a normal error.
pub const REACH: f64 = 1.645;

/// Truths that are asked, in points. Near the ends of the scale an error can go one way only.
pub const TRUTHS: Range<f64> = 20.0..95.0;

/// Truths that share a row.
const BANDS: [Range<f64>; 5] = [20.0..35.0, 35.0..50.0, 50.0..65.0, 65.0..80.0, 80.0..95.0];

/// How often a beat meets a mistake of any kind, in per cent.
const MIXED_PCT: [f64; 3] = [2.0, 5.0, 10.0];

/// Lengths of the holes, in ms.
const GAPS_MS: [f64; 3] = [1_500.0, 3_000.0, 5_000.0];

/// Beats known when an early score is asked for, in s.
const EARLY_S: [f64; 2] = [40.0, 48.0];

/// Length of a window, in ms: where a hole may lie.
const WINDOW_MS: f64 = 64_000.0;

/// Scores with their standard errors, against the truth.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BarsRow {
    pub name: String,
    /// Windows that were asked for a score.
    pub asked: u64,
    /// Score less truth, of those that gave one.
    pub errors: Errors,
    /// The standard errors that came with them.
    pub standard_errors: Errors,
}

impl BarsRow {
    fn named(name: String) -> Self {
        BarsRow {
            name,
            ..BarsRow::default()
        }
    }

    fn push(&mut self, truth: f64, told: Option<(f64, f64)>) {
        self.asked += 1;
        if let Some((score, standard_error)) = told {
            self.errors.push(score - truth);
            self.standard_errors.push(standard_error);
        }
    }

    /// Share of the scores whose truth lies within [`REACH`] standard errors, in per cent. That what
    /// people see ends at 0 and 100 changes nothing: every truth lies between.
    pub fn covered_pct(&self) -> Figure {
        let mut sizes = Errors::default();
        for (error, standard_error) in self.errors.all().iter().zip(self.standard_errors.all()) {
            sizes.push(error.abs() / standard_error);
        }
        sizes.share_pct(|size| size <= REACH)
    }

    /// Share of the windows without a score, in per cent.
    pub fn refused_pct(&self) -> f64 {
        100.0 * (self.asked - self.errors.all().len() as u64) as f64 / self.asked as f64
    }
}

/// The rows, in the order in which they are shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Bars {
    pub undisturbed: BarsRow,
    /// The same windows by their truth.
    pub by_truth: Vec<BarsRow>,
    pub mixed: Vec<BarsRow>,
    pub gaps: Vec<BarsRow>,
    pub early: Vec<BarsRow>,
}

impl Bars {
    pub fn empty() -> Self {
        Bars {
            undisturbed: BarsRow::named("undisturbed".to_owned()),
            by_truth: BANDS
                .iter()
                .map(|band| BarsRow::named(format!("  truth {} to {}", band.start, band.end)))
                .collect(),
            mixed: MIXED_PCT
                .iter()
                .map(|pct| BarsRow::named(format!("artefacts mixed {pct} %")))
                .collect(),
            gaps: GAPS_MS
                .iter()
                .map(|ms| BarsRow::named(format!("a gap of {} s", ms / 1000.0)))
                .collect(),
            early: EARLY_S
                .iter()
                .map(|s| BarsRow::named(format!("early, after {s} s of beats")))
                .collect(),
        }
    }

    /// All rows.
    pub fn rows(&self) -> impl Iterator<Item = &BarsRow> {
        std::iter::once(&self.undisturbed)
            .chain(&self.by_truth)
            .chain(&self.mixed)
            .chain(&self.gaps)
            .chain(&self.early)
    }

    /// One heart in every row, if its truth is one that is asked.
    pub fn ask(&mut self, window: u64, random: &mut Random, scorer: &mut Scorer) {
        let heart = Heart::to_score(window, random);
        let truth = heart.true_score();
        if !TRUTHS.contains(&truth) {
            return;
        }
        let intervals_ms = heart.intervals_ms(SHORT_S, random);

        let undisturbed = told(scorer, &without_gap(&intervals_ms));
        self.undisturbed.push(truth, undisturbed);
        for (row, band) in self.by_truth.iter_mut().zip(BANDS) {
            if band.contains(&truth) {
                row.push(truth, undisturbed);
            }
        }
        for (row, pct) in self.mixed.iter_mut().zip(MIXED_PCT) {
            let planted_ms = with_artefacts(&intervals_ms, Kind::Mixed, pct / 100.0, random);
            row.push(truth, told(scorer, &without_gap(&planted_ms)));
        }
        for (row, length_ms) in self.gaps.iter_mut().zip(GAPS_MS) {
            let before_end_ms = random.between(0.0, WINDOW_MS - length_ms);
            let planted = with_gap(&intervals_ms, length_ms, before_end_ms);
            row.push(truth, told(scorer, &planted));
        }
        for (row, known_s) in self.early.iter_mut().zip(EARLY_S) {
            let early = scorer.evaluate(&first(&intervals_ms, known_s)).early;
            row.push(
                truth,
                early.map(|early| (early.score, early.standard_error)),
            );
        }
    }
}

/// The score and its standard error.
fn told(scorer: &mut Scorer, intervals: &[Interval]) -> Option<(f64, f64)> {
    let evaluation = scorer.evaluate(intervals);
    evaluation.score.zip(evaluation.standard_error)
}

/// The intervals of the first `length_s` of beats.
fn first(intervals_ms: &[f64], length_s: f64) -> Vec<Interval> {
    let mut end_ms = 0.0;
    let within = intervals_ms.iter().take_while(|&&interval_ms| {
        end_ms += interval_ms;
        end_ms <= 1000.0 * length_s
    });
    without_gap(&within.copied().collect::<Vec<f64>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_four_windows_one_had_no_score_and_two_bars_held_their_truth() {
        let mut row = BarsRow::default();
        for told in [
            Some((50.0, 1.0)),
            Some((53.0, 2.0)),
            Some((53.0, 1.0)),
            None,
        ] {
            row.push(50.0, told);
        }
        assert_eq!(row.refused_pct(), 25.0);
        let covered_pct = row.covered_pct().value;
        assert!((covered_pct - 200.0 / 3.0).abs() < 1e-9, "{covered_pct}");
    }

    #[test]
    fn bands_hold_every_truth_that_is_asked_once() {
        assert_eq!(BANDS[0].start, TRUTHS.start);
        assert_eq!(BANDS[BANDS.len() - 1].end, TRUTHS.end);
        assert!(BANDS.windows(2).all(|pair| pair[0].end == pair[1].start));
    }

    #[test]
    fn the_first_seconds_of_beats_are_those_that_end_in_them() {
        let intervals = first(&[900.0, 1100.0, 500.0], 2.0);
        let kept_ms: Vec<f64> = intervals.iter().map(|interval| interval.rr_ms).collect();
        assert_eq!(kept_ms, [900.0, 1100.0]);
    }
}
