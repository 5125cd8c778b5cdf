//! The beats that were lost in a hole, as they most likely were.
//!
//! Here belongs what version 2 puts into a hole before the spline runs through it. A spline across
//! seconds without a beat draws a bow that no heart has made. But a heart in its rhythm can be
//! foretold from either side: the window's own autocovariance says how much two moments have to do
//! with each other, and from it and the beats around follows what is to be expected at any moment
//! between them (the linear prediction of Wiener and Kolmogorov; for uneven moments, kriging). What is
//! made up here shapes the spline and nothing else: no lost beat is counted, and no other figure sees one.

use super::clean::Beat;
use super::resample::STEP_MS;
use super::rhythm::Taper;
use super::settings::Setting;
use super::spectrum::{PADDED, Spectrum};

/// Beats on either side that foretell a hole.
const SIDE: usize = 8;

/// Share of the variance that is taken for noise of a single beat. Between 0.001 and 0.01 it does not
/// matter; it keeps the equations sound.
const NOISE_SHARE: f64 = 0.003;

/// What the strap's clock adds to an interval, in ms²: both ends are rounded to 1/1024 s.
const CLOCK_NOISE_MS2: f64 = 1e6 / (1024.0 * 1024.0) / 6.0;

/// Lags of the autocovariance, [`STEP_MS`] apart. From the window's length on it is 0.
const LAGS: usize = 260;

pub(super) const SETTINGS: &[Setting] = &[
    ("SIDE", &[SIDE as f64]),
    ("NOISE_SHARE", &[NOISE_SHARE]),
    ("CLOCK_NOISE_MS2", &[CLOCK_NOISE_MS2]),
    ("LAGS", &[LAGS as f64]),
];

/// Completes one series after another, in lists that stay.
#[derive(Debug)]
pub(super) struct Likely {
    beats: Vec<Beat>,
    covariance_ms2: [f64; LAGS],
    trend: Trend,
}

/// The straight line through the beats of a window (least squares). Not through its samples: the bow
/// that the spline draws in a hole would bend it.
#[derive(Clone, Copy, Debug, Default)]
struct Trend {
    middle_ms: f64,
    at_middle_ms: f64,
    slope: f64,
}

impl Default for Likely {
    fn default() -> Self {
        Likely {
            beats: Vec::new(),
            covariance_ms2: [0.0; LAGS],
            trend: Trend::default(),
        }
    }
}

impl Likely {
    /// The beats with likely ones in every hole that has room for any. `None`: there is no such hole.
    /// `within` are the beats in the window, `mean_ms` their mean interval, `samples_ms` the window as
    /// the spline alone draws it, detrended.
    pub(super) fn completed(
        &mut self,
        beats: &[Beat],
        within: &[Beat],
        mean_ms: f64,
        samples_ms: &[f64],
    ) -> Option<&[Beat]> {
        let lost = |i: usize| lost(&beats[i - 1], &beats[i], mean_ms);
        let first = (1..beats.len()).find(|&i| lost(i) > 0)?;
        self.trend = Trend::of(within);
        self.measure(samples_ms);
        self.beats.clear();
        self.beats.extend_from_slice(&beats[..first]);
        for i in first..beats.len() {
            if lost(i) > 0 {
                self.fill(beats, i, lost(i));
            }
            self.beats.push(beats[i]);
        }
        Some(&self.beats)
    }

    /// Likely beats, evenly spaced, in the hole before beat `i`.
    fn fill(&mut self, beats: &[Beat], i: usize, lost: usize) {
        let near = &beats[i.saturating_sub(SIDE)..(i + SIDE).min(beats.len())];
        let Some(pull) = self.pull(near) else {
            return;
        };
        let from_ms = beats[i - 1].end_ms;
        let apart_ms = (beats[i].end_ms - from_ms) / (lost + 1) as f64;
        for n in 1..=lost {
            let end_ms = from_ms + apart_ms * n as f64;
            let above_trend_ms: f64 = near
                .iter()
                .zip(&pull)
                .map(|(beat, pull)| pull * self.covariance_ms2(end_ms - beat.end_ms))
                .sum();
            self.beats.push(Beat {
                end_ms,
                duration_ms: apart_ms,
                value_ms: self.trend.at(end_ms) + above_trend_ms,
                gap_ms: 0.0,
                flagged: true,
            });
        }
    }

    /// The autocovariance of the window, from its tapered power spectrum (Wiener & Khinchin).
    fn measure(&mut self, samples_ms: &[f64]) {
        let taper = Taper::of(samples_ms.len());
        let spectrum = Spectrum::of(taper.tapered(samples_ms));
        let mut both_sides = [0.0_f32; PADDED];
        for (k, power) in spectrum.cells().iter().enumerate() {
            let power = (power / taper.squares()) as f32;
            both_sides[k] = power;
            both_sides[(PADDED - k) % PADDED] = power;
        }
        let transformed = microfft::real::rfft_1024(&mut both_sides);
        for (lag, (covariance, x)) in self.covariance_ms2.iter_mut().zip(transformed).enumerate() {
            *covariance = if lag < samples_ms.len() {
                f64::from(x.re) / PADDED as f64
            } else {
                0.0
            };
        }
    }

    /// Between two of the lags along the cubic through the nearest four.
    fn covariance_ms2(&self, apart_ms: f64) -> f64 {
        let apart = apart_ms.abs() / STEP_MS;
        let i = apart as usize;
        if i >= LAGS - 2 {
            return 0.0;
        }
        let u = apart - i as f64;
        let before = self.covariance_ms2[i.abs_diff(1)];
        let [here, next, after] = [0, 1, 2].map(|ahead| self.covariance_ms2[i + ahead]);
        -u * (u - 1.0) * (u - 2.0) / 6.0 * before + (u + 1.0) * (u - 1.0) * (u - 2.0) / 2.0 * here
            - (u + 1.0) * u * (u - 2.0) / 2.0 * next
            + (u + 1.0) * u * (u - 1.0) / 6.0 * after
    }

    /// By how much each of the beats pulls a moment that has everything to do with it: the solution of
    /// (covariance + noise) pull = value - trend, by Cholesky's decomposition. `None` where rounding
    /// left no solution; the spline does without.
    fn pull(&self, near: &[Beat]) -> Option<[f64; 2 * SIDE]> {
        let noise_ms2 = NOISE_SHARE * self.covariance_ms2[0] + CLOCK_NOISE_MS2;
        let mut root = [[0.0; 2 * SIDE]; 2 * SIDE];
        let mut pull = [0.0; 2 * SIDE];
        for (i, beat) in near.iter().enumerate() {
            let mut value_ms = beat.value_ms - self.trend.at(beat.end_ms);
            for j in 0..=i {
                let known: f64 = (0..j).map(|k| root[i][k] * root[j][k]).sum();
                let left_ms2 = self.covariance_ms2(beat.end_ms - near[j].end_ms) - known;
                if j < i {
                    root[i][j] = left_ms2 / root[j][j];
                    value_ms -= root[i][j] * pull[j];
                } else {
                    // No beat follows from the others more closely than its own noise lets it.
                    let pivot_ms2 = left_ms2 + noise_ms2;
                    if pivot_ms2 < noise_ms2 / 2.0 {
                        return None;
                    }
                    root[i][i] = pivot_ms2.sqrt();
                    pull[i] = value_ms / root[i][i];
                }
            }
        }
        for i in (0..near.len()).rev() {
            let known: f64 = (i + 1..near.len()).map(|k| root[k][i] * pull[k]).sum();
            pull[i] = (pull[i] - known) / root[i][i];
        }
        Some(pull)
    }
}

impl Trend {
    fn of(beats: &[Beat]) -> Self {
        let n = beats.len() as f64;
        let middle_ms = beats.iter().map(|beat| beat.end_ms).sum::<f64>() / n;
        let at_middle_ms = beats.iter().map(|beat| beat.value_ms).sum::<f64>() / n;
        let (mut moment, mut spread) = (0.0, 0.0);
        for beat in beats {
            let away_ms = beat.end_ms - middle_ms;
            moment += away_ms * beat.value_ms;
            spread += away_ms * away_ms;
        }
        Trend {
            middle_ms,
            at_middle_ms,
            slope: if spread > 0.0 { moment / spread } else { 0.0 },
        }
    }

    fn at(&self, end_ms: f64) -> f64 {
        self.at_middle_ms + self.slope * (end_ms - self.middle_ms)
    }
}

/// How many beats the hole between two beats has room for; 0 where there is no hole.
fn lost(before: &Beat, after: &Beat, mean_ms: f64) -> usize {
    if after.gap_ms <= 0.0 {
        return 0;
    }
    let steps = ((after.end_ms - before.end_ms) / mean_ms + 0.5) as usize;
    steps.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::resample::{self, SAMPLES, SPAN_MS, Spline};
    use proptest::prelude::*;
    use std::f64::consts::TAU;

    /// A heart that breathes at 0.1 Hz, with a slow drift, for 80 s.
    fn value_ms(end_ms: f64) -> f64 {
        850.0 + 50.0 * libm::sin(TAU * end_ms / 10_000.0) + end_ms / 1000.0
    }

    fn breathing() -> Vec<Beat> {
        let mut end_ms = 0.0;
        let mut beats: Vec<Beat> = std::iter::from_fn(|| {
            let value_ms = value_ms(end_ms);
            let beat = Beat {
                end_ms,
                duration_ms: value_ms,
                value_ms,
                gap_ms: 0.0,
                flagged: false,
            };
            end_ms -= value_ms;
            (end_ms > -80_000.0).then_some(beat)
        })
        .collect();
        beats.reverse();
        beats
    }

    /// Takes so many beats out before beat `at`.
    fn torn(mut beats: Vec<Beat>, at: usize, count: usize) -> Vec<Beat> {
        let lost_ms = beats[at - count..at]
            .iter()
            .map(|beat| beat.duration_ms)
            .sum();
        beats[at].gap_ms = lost_ms;
        beats.drain(at - count..at);
        beats
    }

    fn completed(beats: &[Beat]) -> Option<Vec<Beat>> {
        let mut samples_ms = Spline::default().sampled(beats, -SPAN_MS);
        resample::detrend(&mut samples_ms);
        Likely::default()
            .completed(beats, beats, 820.0, &samples_ms)
            .map(<[Beat]>::to_vec)
    }

    #[test]
    fn where_everything_is_known_nothing_is_made_up() {
        assert_eq!(completed(&breathing()), None);
        // A mark of a break that no beat fits into.
        let mut marked = breathing();
        marked[50].gap_ms = 1.0;
        assert_eq!(completed(&marked), None);
    }

    #[test]
    fn the_beats_of_a_hole_come_back_where_the_rhythm_wants_them() {
        for (at, count) in [(60, 2), (60, 5), (60, 9), (85, 5)] {
            let whole = breathing();
            let filled = completed(&torn(whole.clone(), at, count)).expect("a hole");
            assert_eq!(filled.len(), whole.len(), "{at} {count}");
            for beat in &filled {
                let away_ms = beat.value_ms - value_ms(beat.end_ms);
                assert!(
                    away_ms.abs() < 6.0,
                    "{at} {count}: {away_ms} at {}",
                    beat.end_ms
                );
            }
        }
    }

    #[test]
    fn what_was_completed_before_leaves_no_trace() {
        let (one, other) = (torn(breathing(), 60, 5), torn(breathing(), 40, 3));
        let mut samples_ms = Spline::default().sampled(&other, -SPAN_MS);
        resample::detrend(&mut samples_ms);
        let mut used = Likely::default();
        used.completed(&one, &one, 820.0, &[1.0; SAMPLES]);
        let again = used.completed(&other, &other, 820.0, &samples_ms);
        assert_eq!(again.map(<[Beat]>::to_vec), completed(&other));
    }

    proptest! {
        #[test]
        fn whatever_the_beats_what_is_made_up_is_a_number_in_its_hole(
            beats in prop::collection::vec(
                (300.0..2000.0_f64, 255.0..2000.0_f64, prop_oneof![9 => Just(0.0), 1 => 0.0..8000.0_f64], prop::bool::weighted(0.1)),
                2..250,
            ),
        ) {
            let mut end_ms = 0.0;
            let mut series: Vec<Beat> = Vec::new();
            for &(value_ms, duration_ms, gap_ms, flagged) in &beats {
                end_ms += gap_ms + duration_ms;
                series.push(Beat { end_ms, duration_ms, value_ms, gap_ms, flagged });
            }
            let newest_ms = end_ms;
            series.iter_mut().for_each(|beat| beat.end_ms -= newest_ms);
            if let Some(likely) = completed(&series) {
                prop_assert!(likely.len() >= series.len());
                prop_assert!(likely.windows(2).all(|pair| pair[0].end_ms < pair[1].end_ms));
                prop_assert!(likely.iter().all(|beat| beat.value_ms.is_finite()));
            }
        }
    }
}
