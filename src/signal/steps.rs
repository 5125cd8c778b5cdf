//! How the steps follow each other, and when there is no score.
//!
//! Here belong the decisions between the steps; what a step does stands in its own file.

use super::clean::{Beat, Cleaner};
use super::resample::{self, Spline};
use super::{
    Evaluation, FAIR_UP_TO_PCT, GOOD_UP_TO_PCT, Hrv, Interval, Level, Status, Version, WINDOW_MS,
    spectrum, tachogram,
};

/// Scores hearts, one window after another.
///
/// It owns the lists that this takes. They grow to the longest window it was ever given (which has
/// a bound), and from then on a score allocates nothing. Nothing of a heart stays in it: what it
/// answers depends on the intervals alone, so one scorer serves a whole room.
#[derive(Debug)]
pub struct Scorer {
    version: Version,
    buffer: Vec<Interval>,
    cleaner: Cleaner,
    spline: Spline,
}

impl Scorer {
    pub fn new(version: Version) -> Self {
        Scorer {
            version,
            buffer: Vec::new(),
            cleaner: Cleaner::default(),
            spline: Spline::default(),
        }
    }

    /// Scores a heart from its intervals known so far, oldest first.
    ///
    /// Takes the suffix it needs by itself: a whole history and a [`Tachogram`](super::Tachogram)
    /// that was fed the same intervals give the same bits. Never panics and does a bounded amount
    /// of work, whatever the values; what is done with impossible ones stands in [`tachogram`].
    ///
    /// Definition: `Part 1` of the product's signal document; after McCraty's coherence ratio (peak
    /// sought in 0.04 to 0.26 Hz, 0.030 Hz wide, 64 s), with the taper and the interpolation that
    /// measured best.
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
        tachogram::fill(&mut self.buffer, intervals);
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
                ..Evaluation::without_score(Status::Warmup, beats)
            };
        }

        let artefact_pct = artefact_pct(beats);
        let unscored = Evaluation {
            artefact_pct: Some(artefact_pct),
            hrv: Some(Hrv::of_beats(in_window(beats))),
            ..Evaluation::without_score(Status::Poor, beats)
        };
        if artefact_pct > fair_up_to_pct {
            return unscored;
        }
        let samples_ms = resample::detrended(self.spline.sampled(beats, -resample::SPAN_MS));
        if resample::deviation_ms(&samples_ms) < spectrum::FLAT_BELOW_MS {
            return Evaluation {
                status: Status::Flat,
                score: Some(0.0),
                level: Some(Level::of(0.0)),
                ..unscored
            };
        }
        let spectrum = spectrum::Spectrum::of(&samples_ms);
        let peak = spectrum.peak();
        let score = spectrum.score(peak);
        Evaluation {
            status: if artefact_pct <= GOOD_UP_TO_PCT {
                Status::Good
            } else {
                Status::Fair
            },
            score: Some(score),
            level: Some(Level::of(score)),
            peak_hz: Some(spectrum::hz(peak)),
            hrv: unscored
                .hrv
                .map(|hrv| hrv.with_powers(spectrum.powers_ms2())),
            ..unscored
        }
    }
}

/// The beats that end in the last 64 s; times count back from the newest beat.
fn in_window(beats: &[Beat]) -> &[Beat] {
    &beats[beats.partition_point(|beat| beat.end_ms <= -WINDOW_MS)..]
}

fn artefact_pct(beats: &[Beat]) -> f64 {
    let all = in_window(beats).len();
    let flagged = in_window(beats).iter().filter(|beat| beat.flagged).count();
    if all == 0 {
        0.0
    } else {
        100.0 * flagged as f64 / all as f64
    }
}

fn coverage(beats: &[Beat]) -> f64 {
    let covered_ms: f64 = in_window(beats)
        .iter()
        .map(|beat| beat.end_ms - (beat.end_ms - beat.duration_ms).max(-WINDOW_MS))
        .sum();
    (covered_ms / WINDOW_MS).min(1.0)
}

impl Evaluation {
    fn without_score(status: Status, beats: &[Beat]) -> Self {
        Evaluation {
            status,
            score: None,
            level: None,
            peak_hz: None,
            artefact_pct: None,
            beats: in_window(beats).len() as u32,
            coverage: coverage(beats),
            warmup_left_ms: 0.0,
            hrv: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::Tachogram;
    use proptest::prelude::*;

    fn evaluate(intervals: &[Interval]) -> Evaluation {
        Scorer::new(Version::One).evaluate(intervals)
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

    fn assert_sound(e: &Evaluation) {
        assert_eq!(
            e.score.is_some(),
            matches!(e.status, Status::Good | Status::Fair | Status::Flat)
        );
        assert_eq!(
            e.peak_hz.is_some(),
            matches!(e.status, Status::Good | Status::Fair)
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
            assert_sound(&evaluate(&intervals));
        }

        #[test]
        fn bits_taken_at_random_give_a_sound_evaluation(
            raw in prop::collection::vec((any::<u64>(), any::<u64>()), 0..200)
        ) {
            let intervals: Vec<Interval> = raw
                .into_iter()
                .map(|(rr, gap)| Interval { rr_ms: f64::from_bits(rr), gap_ms: f64::from_bits(gap) })
                .collect();
            assert_sound(&evaluate(&intervals));
        }

        #[test]
        fn what_was_scored_before_leaves_no_trace(
            before in prop::collection::vec(any_interval(), 0..600),
            intervals in prop::collection::vec(any_interval(), 0..400)
        ) {
            let mut used = Scorer::new(Version::One);
            used.evaluate(&before);
            let (anew, again) = (evaluate(&intervals), used.evaluate(&intervals));
            prop_assert_eq!(anew.status, again.status);
            prop_assert_eq!(bits(&anew), bits(&again));
        }

        #[test]
        fn a_trimmed_tachogram_and_the_whole_history_give_the_same_bits(
            intervals in prop::collection::vec(any_interval(), 0..600)
        ) {
            let mut tachogram = Tachogram::new();
            for (n, interval) in intervals.iter().enumerate() {
                tachogram.push(*interval);
                if n % 37 == 0 || n + 1 == intervals.len() {
                    let whole = evaluate(&intervals[..=n]);
                    let trimmed = evaluate(tachogram.intervals());
                    prop_assert_eq!(whole.status, trimmed.status);
                    prop_assert_eq!(bits(&whole), bits(&trimmed));
                }
            }
        }
    }
}
