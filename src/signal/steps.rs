//! From intervals to an evaluation, and when there is no score.
//!
//! Here belong the decisions about a window; how one is read stands in `reader`.

use super::clean::{Beat, Cleaner};
use super::reader::{Reader, artefact_pct, coverage, in_last};
use super::resample::{self, SAMPLES};
use super::{
    Evaluation, FAIR_UP_TO_PCT, GOOD_UP_TO_PCT, Hrv, Interval, Level, Status, Version, WINDOW_MS,
    tachogram,
};

/// Scores hearts, one window after another.
///
/// It owns the lists that this takes. They grow to the longest window it was ever given (which has
/// a bound), and from then on a score allocates nothing. Nothing of a heart stays in it: what it
/// answers depends on the intervals alone, so one scorer serves a whole room.
#[derive(Debug)]
pub struct Scorer {
    /// What the cleaner cleaned last.
    pub(super) buffer: Vec<Interval>,
    /// Where the next one is laid to be compared with it.
    pub(super) next: Vec<Interval>,
    pub(super) cleaner: Cleaner,
    pub(super) reader: Reader,
}

impl Scorer {
    pub fn new(version: Version) -> Self {
        Scorer {
            buffer: Vec::new(),
            next: Vec::new(),
            cleaner: Cleaner::new(version),
            reader: Reader::new(version),
        }
    }

    /// By which definition it scores.
    pub fn version(&self) -> Version {
        self.reader.version()
    }

    /// Scores a heart from its intervals known so far, oldest first.
    ///
    /// Takes the suffix it needs by itself: a whole history and a [`Tachogram`](super::Tachogram)
    /// that was fed the same intervals give the same bits. Never panics and does a bounded amount
    /// of work, whatever the values; what is done with impossible ones stands in [`tachogram`].
    ///
    /// Definition: after McCraty's coherence ratio (peak sought in 0.04 to 0.26 Hz, 0.030 Hz wide,
    /// 64 s), with the taper and the interpolation that measured best; see [`Version`].
    pub fn evaluate(&mut self, intervals: &[Interval]) -> Evaluation {
        self.judged(intervals, FAIR_UP_TO_PCT)
    }

    /// The same, but however many beats had to be repaired, there is a score (and the status is fair
    /// instead of poor). For studies of accuracy, which must not choose their windows; no room and
    /// no recording is scored like this.
    pub fn evaluate_unrejected(&mut self, intervals: &[Interval]) -> Evaluation {
        self.judged(intervals, 100.0)
    }

    fn judged(&mut self, intervals: &[Interval], fair_up_to_pct: f64) -> Evaluation {
        tachogram::fill(&mut self.buffer, intervals, self.reader.version());
        let beats = self.cleaner.clean(&self.buffer);

        let Some(first) = beats.first() else {
            return Evaluation {
                warmup_left_ms: resample::SPAN_MS,
                ..Evaluation::without_score(Status::Warmup, beats)
            };
        };
        let warmup_left_ms = first.end_ms + resample::SPAN_MS;
        if warmup_left_ms > 0.0 {
            if self.buffer.len() == tachogram::MAX_INTERVALS {
                // More intervals than any heart makes, and still no window: noise, which waiting won't cure.
                return Evaluation {
                    artefact_pct: Some(100.0),
                    ..Evaluation::without_score(Status::Poor, beats)
                };
            }
            return Evaluation {
                warmup_left_ms,
                early: self.reader.early(beats, -first.end_ms),
                ..Evaluation::without_score(Status::Warmup, beats)
            };
        }

        let artefact_pct = artefact_pct(in_window(beats));
        let unscored = Evaluation {
            artefact_pct: Some(artefact_pct),
            hrv: Some(Hrv::of_beats(in_window(beats))),
            ..Evaluation::without_score(Status::Poor, beats)
        };
        if artefact_pct > fair_up_to_pct {
            return unscored;
        }
        let Some(read) = self.reader.read(beats, SAMPLES) else {
            return Evaluation {
                status: Status::Flat,
                score: Some(0.0),
                level: Some(Level::of(0.0)),
                ..unscored
            };
        };
        Evaluation {
            status: if artefact_pct <= GOOD_UP_TO_PCT {
                Status::Good
            } else {
                Status::Fair
            },
            score: Some(read.score),
            standard_error: read.standard_error,
            level: Some(Level::of(read.score)),
            peak_hz: Some(read.peak_hz),
            hrv: unscored.hrv.map(|hrv| hrv.with_powers(read.powers)),
            ..unscored
        }
    }
}

/// The beats that end in the last 64 s; times count back from the newest beat.
fn in_window(beats: &[Beat]) -> &[Beat] {
    in_last(beats, WINDOW_MS)
}

impl Evaluation {
    fn without_score(status: Status, beats: &[Beat]) -> Self {
        Evaluation {
            status,
            score: None,
            standard_error: None,
            early: None,
            level: None,
            peak_hz: None,
            artefact_pct: None,
            beats: in_window(beats).len() as u32,
            coverage: coverage(beats, WINDOW_MS),
            warmup_left_ms: 0.0,
            hrv: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::Tachogram;
    use crate::signal::reader::{EARLY_SAMPLES, LEAST_POINTS, MOST_POINTS};
    use proptest::prelude::*;

    const VERSIONS: [Version; 2] = [Version::One, Version::Two];

    fn evaluate(intervals: &[Interval]) -> Evaluation {
        Scorer::new(Version::One).evaluate(intervals)
    }

    fn evaluate_by_two(intervals: &[Interval]) -> Evaluation {
        Scorer::new(Version::Two).evaluate(intervals)
    }

    fn steady(count: usize, rr_ms: f64) -> Vec<Interval> {
        vec![Interval { rr_ms, gap_ms: 0.0 }; count]
    }

    /// Breathing at 0.1 Hz moves the intervals around 900 ms.
    fn breathing(count: usize) -> Vec<Interval> {
        let mut t_ms = 0.0_f64;
        (0..count)
            .map(|_| {
                let rr_ms = 900.0 + 60.0 * (t_ms / 10_000.0 * std::f64::consts::TAU).sin();
                t_ms += rr_ms;
                Interval { rr_ms, gap_ms: 0.0 }
            })
            .collect()
    }

    #[test]
    fn no_beats_at_all_is_a_warmup_with_everything_left() {
        let nothing = evaluate(&[]);
        assert_eq!(nothing.status, Status::Warmup);
        assert_eq!(nothing.warmup_left_ms, 63_750.0);
        assert_eq!((nothing.beats, nothing.coverage), (0, 0.0));
        assert_eq!(
            (nothing.score, nothing.artefact_pct, nothing.hrv),
            (None, None, None)
        );
    }

    #[test]
    fn warmup_ends_when_the_first_beat_is_old_enough() {
        let short = evaluate(&steady(64, 1000.0));
        assert_eq!(
            (short.status, short.warmup_left_ms),
            (Status::Warmup, 750.0)
        );
        assert_eq!((short.beats, short.coverage), (64, 1.0));
        let enough = evaluate(&steady(65, 1000.0));
        assert_eq!((enough.status, enough.warmup_left_ms), (Status::Flat, 0.0));
    }

    #[test]
    fn a_metronome_is_flat_and_scores_zero_without_a_peak() {
        let flat = evaluate(&steady(100, 800.0));
        assert_eq!(
            (flat.status, flat.score, flat.level),
            (Status::Flat, Some(0.0), Some(Level::Low))
        );
        assert_eq!((flat.peak_hz, flat.artefact_pct), (None, Some(0.0)));
        let hrv = flat.hrv.expect("not in warmup");
        assert_eq!(
            (hrv.mean_hr_bpm, hrv.sdnn_ms, hrv.lf_ms2),
            (Some(75.0), Some(0.0), None)
        );
    }

    #[test]
    fn even_breathing_scores_as_high_as_a_finite_window_lets_it() {
        let good = evaluate(&breathing(120));
        assert_eq!((good.status, good.level), (Status::Good, Some(Level::High)));
        let score = good.score.expect("a good signal is scored");
        assert!((93.0..97.0).contains(&score), "{score}");
        let peak_hz = good.peak_hz.expect("a good signal has a peak");
        assert!((peak_hz - 0.1).abs() < 0.005, "{peak_hz}");
    }

    #[test]
    fn a_long_gap_starts_over_and_a_short_one_leaves_a_hole_in_the_coverage() {
        let mut held = breathing(200);
        held[150].gap_ms = 4_000.0;
        let bridged = evaluate(&held);
        assert_eq!(bridged.status, Status::Good);
        assert!(
            (bridged.coverage - 60.0 / 64.0).abs() < 1e-9,
            "{}",
            bridged.coverage
        );
        held[150].gap_ms = 5_000.1;
        assert_eq!(evaluate(&held).status, Status::Warmup);
    }

    #[test]
    fn version_two_gives_even_breathing_nearly_everything_and_hardly_any_error() {
        let good = evaluate_by_two(&breathing(120));
        assert_eq!((good.status, good.level), (Status::Good, Some(Level::High)));
        let score = good.score.expect("a good signal is scored");
        assert!(score > 99.0, "{score}");
        let standard_error = good.standard_error.expect("every score has an error");
        assert!(standard_error < 1.0, "{standard_error}");
        let peak_hz = good.peak_hz.expect("a good signal has a peak");
        assert!((peak_hz - 0.1).abs() < 0.001, "{peak_hz}");
    }

    #[test]
    fn version_two_tells_an_early_score_from_half_a_window_on_and_then_the_whole() {
        let mut told = 0;
        for n in 1..100 {
            let evaluation = evaluate_by_two(&breathing(n));
            let known_ms = resample::SPAN_MS - evaluation.warmup_left_ms;
            let half = known_ms >= resample::STEP_MS * (EARLY_SAMPLES - 1) as f64;
            assert_eq!(
                evaluation.early.is_some(),
                half && evaluation.status == Status::Warmup,
                "{n}"
            );
            if let Some(early) = evaluation.early {
                assert_eq!((evaluation.score, evaluation.level), (None, None));
                assert!(
                    early.score > 97.0 && early.standard_error < 2.0,
                    "{early:?}"
                );
                told += 1;
            }
        }
        assert!(told > 30, "{told}");
        assert!((1..100).all(|n| evaluate(&breathing(n)).early.is_none()));
    }

    #[test]
    fn an_early_score_wants_a_rhythm_and_clean_beats() {
        assert_eq!(evaluate_by_two(&steady(50, 900.0)).early, None);
        let mut torn = breathing(50);
        for interval in torn.iter_mut().step_by(4) {
            interval.rr_ms *= 2.0;
        }
        assert_eq!(evaluate_by_two(&torn).early, None);
    }

    #[test]
    fn version_two_hardly_notices_a_hole_and_says_so_in_its_error() {
        let mut noisy = breathing(200);
        for (i, interval) in noisy.iter_mut().enumerate() {
            interval.rr_ms += 15.0 * (i as f64 * 2.399).sin();
        }
        let whole = evaluate_by_two(&noisy);
        // The beats 150 to 158 were not heard.
        let mut torn = noisy.clone();
        torn[159].gap_ms = noisy[150..159].iter().map(|interval| interval.rr_ms).sum();
        torn.drain(150..159);
        assert!(torn[150].gap_ms < 8_300.0 && torn[150].gap_ms > 7_700.0);
        torn[150].gap_ms = 8_000.0;
        let bridged = evaluate_by_two(&torn);
        let scores = [whole, bridged].map(|e| e.score.expect("scored"));
        assert!((scores[0] - scores[1]).abs() < 5.0, "{scores:?}");
        let errors = [whole, bridged].map(|e| e.standard_error.expect("scored"));
        assert!(errors[1] > 1.05 * errors[0], "{errors:?}");
        torn[150].gap_ms = 8_000.1;
        assert_eq!(evaluate_by_two(&torn).status, Status::Warmup);
    }

    #[test]
    fn repaired_beats_widen_the_error() {
        let whole = evaluate_by_two(&breathing(120));
        let mut missed = breathing(120);
        for at in [60, 75, 90] {
            missed[at].rr_ms += missed.remove(at + 1).rr_ms;
        }
        let repaired = evaluate_by_two(&missed);
        let errors = [whole, repaired].map(|e| e.standard_error.expect("scored"));
        let pct = repaired.artefact_pct.expect("scored");
        assert!(pct > 5.0 && errors[1] > errors[0] + 0.1 * pct, "{errors:?}");
        assert!(repaired.score > Some(97.0), "{repaired:?}");
    }

    #[test]
    fn a_heart_full_of_artefacts_is_poor_but_its_figures_are_there() {
        let mut torn = breathing(120);
        for interval in torn.iter_mut().step_by(5) {
            interval.rr_ms *= 2.0;
        }
        let poor = evaluate(&torn);
        assert_eq!(
            (poor.status, poor.score, poor.level, poor.peak_hz),
            (Status::Poor, None, None, None)
        );
        assert!(poor.artefact_pct.expect("not in warmup") > FAIR_UP_TO_PCT);
        assert!(poor.hrv.expect("not in warmup").mean_hr_bpm.is_some());
    }

    #[test]
    fn more_intervals_than_any_heart_makes_are_poor_and_not_an_endless_warmup() {
        let storm = evaluate(&steady(1_000_000, 1.0));
        assert_eq!(
            (storm.status, storm.artefact_pct),
            (Status::Poor, Some(100.0))
        );
        assert_eq!(storm.warmup_left_ms, 0.0);
    }

    /// Anything a caller could hand over, mostly near a heart's, so that the later steps are reached.
    fn any_interval() -> impl Strategy<Value = Interval> {
        let rr_ms = prop_oneof![
            20 => 300.0..1500.0_f64,
            3 => 1.0..6000.0_f64,
            1 => prop::sample::select(vec![
                f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, -700.0, 1e308, f64::MAX, 5e-324, 1e-9, 0.5, 79_999.0
            ]),
        ];
        let gap_ms = prop_oneof![
            60 => Just(0.0),
            2 => 0.0..6000.0_f64,
            1 => prop::sample::select(vec![
                f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, -5.0, 1e308, 5e-324, 5_000.0
            ]),
        ];
        (rr_ms, gap_ms).prop_map(|(rr_ms, gap_ms)| Interval { rr_ms, gap_ms })
    }

    fn bits(evaluation: &Evaluation) -> Vec<Option<u64>> {
        let hrv = evaluation.hrv.map_or([None; 8], |h| {
            [
                h.mean_hr_bpm,
                h.sdnn_ms,
                h.rmssd_ms,
                h.pnn50_pct,
                h.lf_ms2,
                h.hf_ms2,
                h.lf_hf,
                h.total_ms2,
            ]
        });
        [
            evaluation.score,
            evaluation.standard_error,
            evaluation.early.map(|early| early.score),
            evaluation.early.map(|early| early.standard_error),
            evaluation.peak_hz,
            evaluation.artefact_pct,
            Some(evaluation.coverage),
            Some(evaluation.warmup_left_ms),
            Some(f64::from(evaluation.beats)),
        ]
        .into_iter()
        .chain(hrv)
        .map(|figure| figure.map(f64::to_bits))
        .collect()
    }

    fn assert_sound(version: Version, e: &Evaluation) {
        assert_eq!(
            e.score.is_some(),
            matches!(e.status, Status::Good | Status::Fair | Status::Flat)
        );
        let scored = matches!(e.status, Status::Good | Status::Fair);
        assert_eq!(e.peak_hz.is_some(), scored);
        assert_eq!(
            e.standard_error.is_some(),
            scored && version == Version::Two
        );
        assert!(
            e.early.is_none() || (e.status == Status::Warmup && version == Version::Two),
            "{e:?}"
        );
        assert!(
            e.early
                .is_none_or(|early| (0.0..=100.0).contains(&early.score)),
            "{e:?}"
        );
        assert!(
            e.standard_error
                .into_iter()
                .chain(e.early.map(|early| early.standard_error))
                .all(|points| (LEAST_POINTS..=MOST_POINTS).contains(&points)),
            "{e:?}"
        );
        assert_eq!(e.level, e.score.map(Level::of));
        assert_eq!(e.artefact_pct.is_none(), e.status == Status::Warmup);
        assert!(
            e.score.is_none_or(|score| (0.0..=100.0).contains(&score)),
            "{e:?}"
        );
        assert!(
            e.artefact_pct
                .is_none_or(|pct| (0.0..=100.0).contains(&pct)),
            "{e:?}"
        );
        assert!((0.0..=1.0).contains(&e.coverage), "{e:?}");
        assert!(
            (0.0..=resample::SPAN_MS).contains(&e.warmup_left_ms),
            "{e:?}"
        );
        assert!(
            bits(e)
                .into_iter()
                .flatten()
                .all(|bits| f64::from_bits(bits).is_finite()),
            "{e:?}"
        );
    }

    proptest! {
        #[test]
        fn any_input_whatever_gives_a_sound_evaluation(intervals in prop::collection::vec(any_interval(), 0..400)) {
            for version in VERSIONS {
                assert_sound(version, &Scorer::new(version).evaluate(&intervals));
            }
        }

        #[test]
        fn bits_taken_at_random_give_a_sound_evaluation(
            raw in prop::collection::vec((any::<u64>(), any::<u64>()), 0..200)
        ) {
            let intervals: Vec<Interval> = raw
                .into_iter()
                .map(|(rr, gap)| Interval { rr_ms: f64::from_bits(rr), gap_ms: f64::from_bits(gap) })
                .collect();
            for version in VERSIONS {
                assert_sound(version, &Scorer::new(version).evaluate(&intervals));
            }
        }

        #[test]
        fn what_was_scored_before_leaves_no_trace(
            before in prop::collection::vec(any_interval(), 0..600),
            intervals in prop::collection::vec(any_interval(), 0..400)
        ) {
            for version in VERSIONS {
                let mut used = Scorer::new(version);
                used.evaluate(&before);
                let (anew, again) = (Scorer::new(version).evaluate(&intervals), used.evaluate(&intervals));
                prop_assert_eq!(anew.status, again.status);
                prop_assert_eq!(bits(&anew), bits(&again));
            }
        }

        #[test]
        fn a_trimmed_tachogram_and_the_whole_history_give_the_same_bits(
            intervals in prop::collection::vec(any_interval(), 0..600)
        ) {
            let mut tachogram = Tachogram::new();
            let mut scorers = VERSIONS.map(Scorer::new);
            for (n, interval) in intervals.iter().enumerate() {
                tachogram.push(*interval);
                if n % 37 == 0 || n + 1 == intervals.len() {
                    for scorer in &mut scorers {
                        let whole = scorer.evaluate(&intervals[..=n]);
                        let trimmed = scorer.evaluate(tachogram.intervals());
                        prop_assert_eq!(whole.status, trimmed.status);
                        prop_assert_eq!(bits(&whole), bits(&trimmed));
                    }
                }
            }
        }
    }
}
