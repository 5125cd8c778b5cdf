//! How a heart goes on: the next intervals, forecast from those before them.
//!
//! Here belongs the model that version 2 judges intervals by, and how it is learned from the series
//! itself. What is made of a bad forecast is the business of `reading`.
//!
//! The model is a linear prediction from up to five intervals (Yule & Walker, solved by Levinson &
//! Durbin). It forecasts not only the next interval but the sum of the next few, because a sum is all
//! that is known of beats that were missed or moved.

use super::{Beat, median};
use crate::signal::settings::Setting;

/// Intervals that a forecast looks back on.
const ORDER: usize = 5;

/// Most intervals that are forecast at once.
pub(super) const AHEAD: usize = 4;

/// No heart is taken to be more regular than this: a share of the mean interval. It is what a forecast
/// may always be off by (one standard deviation), and it keeps every matrix well away from singular.
const IRREGULAR: f64 = 0.024;

/// Beats on either side that tell how restless the heart is.
const AROUND: usize = 20;

/// Around a beat, errors may have up to this many times the variance of all errors before the heart is
/// taken to be restless there.
const EVEN: f64 = 2.0;

/// What a single beat lies between, in mean intervals, if nothing is known against it.
const USUAL: std::ops::RangeInclusive<f64> = 0.6..=1.6;

/// With fewer forecasts their typical error says nothing.
const FEWEST_ERRORS: usize = 10;

/// Normal deviation from a median absolute deviation (for a normal distribution).
const MAD_TO_DEVIATION: f64 = 1.4826;

pub(in crate::signal) const SETTINGS: &[Setting] = &[
    ("ORDER", &[ORDER as f64]),
    ("AHEAD", &[AHEAD as f64]),
    ("IRREGULAR", &[IRREGULAR]),
    ("AROUND", &[AROUND as f64]),
    ("EVEN", &[EVEN]),
    ("USUAL", &[*USUAL.start(), *USUAL.end()]),
    ("FEWEST_ERRORS", &[FEWEST_ERRORS as f64]),
    ("MAD_TO_DEVIATION", &[MAD_TO_DEVIATION]),
];

/// The intervals before the next one, newest first, as differences from the mean.
#[derive(Clone, Copy, Debug)]
pub(super) struct Past {
    off_mean_ms: [f64; ORDER],
    /// How many there are: none at the beginning of a run.
    known: usize,
}

impl Past {
    pub(super) const NONE: Past = Past {
        off_mean_ms: [0.0; ORDER],
        known: 0,
    };

    pub(super) fn extended(&self, off_mean_ms: f64) -> Self {
        let [a, b, c, d, _] = self.off_mean_ms;
        Past {
            off_mean_ms: [off_mean_ms, a, b, c, d],
            known: (self.known + 1).min(ORDER),
        }
    }
}

/// A forecast of the next intervals, as differences from the mean.
pub(super) type Ahead = [f64; AHEAD];

/// Lists to work in.
#[derive(Debug, Default)]
pub(super) struct Lists {
    errors: Vec<f64>,
    sorted: Vec<f64>,
}

/// What was learned from a series.
#[derive(Debug)]
pub(super) struct Forecaster {
    pub mean_ms: f64,
    usual_ms: std::ops::RangeInclusive<f64>,
    /// By how many intervals before are known.
    by_known: [Prediction; ORDER + 1],
}

/// A linear prediction from a number of intervals.
#[derive(Clone, Copy, Debug, Default)]
struct Prediction {
    weights: [f64; ORDER],
    /// Variance of the sum of the next 1, 2, … intervals around its forecast.
    sum_ms2: [f64; AHEAD],
    /// When the sum of the next 1, 2, … is off its forecast, this share of it falls on each.
    shares: [[f64; AHEAD]; AHEAD],
}

impl Forecaster {
    /// Learns from beats, as though there were no gaps between them. There must be at least one.
    pub(super) fn of(beats: &[Beat], lists: &mut Lists) -> Self {
        let count = beats.len() as f64;
        let mean_ms = beats.iter().map(|beat| beat.value_ms).sum::<f64>() / count;
        let off_mean_ms = |i: usize| beats[i].value_ms - mean_ms;
        let floor_ms2 = (IRREGULAR * mean_ms) * (IRREGULAR * mean_ms);

        let mut covariance_ms2 = [0.0; ORDER + 1];
        for (lag, covariance_ms2) in covariance_ms2.iter_mut().enumerate() {
            let sum: f64 = (lag..beats.len())
                .map(|i| off_mean_ms(i) * off_mean_ms(i - lag))
                .sum();
            *covariance_ms2 = sum / count;
        }
        covariance_ms2[0] += floor_ms2;
        let (weights, variances_ms2) = levinson(&covariance_ms2);

        // The typical error rather than the mean square: what is still wrong in the series must not
        // make the forecast look bad.
        let errors_ms = &mut lists.errors;
        errors_ms.clear();
        errors_ms.extend(
            (ORDER..beats.len())
                .filter(|&i| beats[i - ORDER..=i].iter().all(|beat| !beat.flagged))
                .map(|i| {
                    let forecast_ms: f64 = (0..ORDER)
                        .map(|back| weights[ORDER][back] * off_mean_ms(i - 1 - back))
                        .sum();
                    (off_mean_ms(i) - forecast_ms).abs()
                }),
        );
        let mean_square_ms2 = variances_ms2[ORDER];
        let typical_ms2 = if errors_ms.len() < FEWEST_ERRORS {
            mean_square_ms2
        } else {
            let typical_ms = MAD_TO_DEVIATION * median(errors_ms);
            (typical_ms * typical_ms).min(mean_square_ms2)
        };
        let scale = typical_ms2.max(floor_ms2) / mean_square_ms2;

        Forecaster {
            mean_ms,
            usual_ms: USUAL.start() * mean_ms..=USUAL.end() * mean_ms,
            by_known: std::array::from_fn(|known| {
                Prediction::new(weights[known], scale * variances_ms2[known])
            }),
        }
    }

    pub(super) fn is_usual(&self, rr_ms: f64) -> bool {
        self.usual_ms.contains(&rr_ms)
    }

    /// By how much more than elsewhere a beat may surprise here: 1 where the heart is as even as in
    /// the rest of the buffer. `typical_ms2` is of [`typical_errors_ms2`](Self::typical_errors_ms2).
    pub(super) fn restlessness(&self, typical_ms2: f64) -> f64 {
        (typical_ms2 / (EVEN * self.by_known[ORDER].sum_ms2[0])).max(1.0)
    }

    /// Variance of the errors around each beat, as it would be if they were normal.
    pub(super) fn typical_errors_ms2(
        &self,
        beats: &[Beat],
        lists: &mut Lists,
        typical_ms2: &mut Vec<f64>,
    ) {
        let Lists { errors, sorted } = lists;
        errors.clear();
        let mut past = Past::NONE;
        for beat in beats {
            let off_ms = beat.value_ms - self.next_ms(&past);
            errors.push(off_ms * off_ms);
            past = past.extended(beat.value_ms - self.mean_ms);
        }
        // The errors around a beat, kept in order while the beat moves on.
        sorted.clear();
        let place = |sorted: &[f64], error: f64| {
            sorted.partition_point(|other| other.total_cmp(&error).is_lt())
        };
        typical_ms2.clear();
        let mut seen = 0;
        for i in 0..errors.len() {
            while seen < errors.len().min(i + AROUND + 1) {
                sorted.insert(place(sorted, errors[seen]), errors[seen]);
                seen += 1;
            }
            if i > AROUND {
                sorted.remove(place(sorted, errors[i - AROUND - 1]));
            }
            let middle = (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0;
            typical_ms2.push(MAD_TO_DEVIATION * MAD_TO_DEVIATION * middle);
        }
    }

    pub(super) fn next_ms(&self, past: &Past) -> f64 {
        let weights = &self.by_known[past.known].weights;
        let off_mean_ms: f64 = (0..ORDER)
            .map(|back| weights[back] * past.off_mean_ms[back])
            .sum();
        self.mean_ms + off_mean_ms
    }

    pub(super) fn ahead(&self, past: &Past) -> Ahead {
        let weights = &self.by_known[past.known].weights;
        let mut series = *past;
        std::array::from_fn(|_| {
            let next_ms: f64 = (0..ORDER)
                .map(|back| weights[back] * series.off_mean_ms[back])
                .sum();
            series = series.extended(next_ms);
            next_ms
        })
    }

    /// How badly the sum of the next `count` was forecast, as a squared number of deviations.
    pub(super) fn surprise(&self, past: &Past, count: usize, off_ms: f64) -> f64 {
        off_ms * off_ms / self.by_known[past.known].sum_ms2[count - 1]
    }

    /// The past after `count` more intervals whose sum was off its forecast by `off_ms`.
    pub(super) fn after(&self, past: &Past, ahead: &Ahead, count: usize, off_ms: f64) -> Past {
        let shares = &self.by_known[past.known].shares[count - 1];
        (0..count).fold(*past, |past, i| {
            past.extended(ahead[i] + shares[i] * off_ms)
        })
    }
}

impl Prediction {
    fn new(weights: [f64; ORDER], variance_ms2: f64) -> Self {
        // What one interval's own surprise does to it and to the next ones.
        let mut echo = [0.0; AHEAD];
        echo[0] = 1.0;
        for i in 1..AHEAD {
            echo[i] = (0..i.min(ORDER))
                .map(|back| weights[back] * echo[i - 1 - back])
                .sum();
        }
        let mut prediction = Prediction {
            weights,
            ..Prediction::default()
        };
        for count in 1..=AHEAD {
            // What the surprise of each of them does to their sum.
            let in_sum: Ahead =
                std::array::from_fn(|i| echo[..count.saturating_sub(i)].iter().sum());
            let squares: f64 = in_sum.iter().map(|weight| weight * weight).sum();
            prediction.sum_ms2[count - 1] = variance_ms2 * squares;
            for i in 0..count {
                let together: f64 = (0..=i).map(|of| echo[i - of] * in_sum[of]).sum();
                prediction.shares[count - 1][i] = together / squares;
            }
        }
        prediction
    }
}

/// Weights of the best linear prediction from 0, 1, … intervals, and its mean square error.
fn levinson(covariance_ms2: &[f64; ORDER + 1]) -> ([[f64; ORDER]; ORDER + 1], [f64; ORDER + 1]) {
    let mut weights = [[0.0; ORDER]; ORDER + 1];
    let mut variances_ms2 = [covariance_ms2[0]; ORDER + 1];
    for known in 0..ORDER {
        let shorter = weights[known];
        let forecast_ms2: f64 = (0..known)
            .map(|back| shorter[back] * covariance_ms2[known - back])
            .sum();
        let reflection = (covariance_ms2[known + 1] - forecast_ms2) / variances_ms2[known];
        let longer = &mut weights[known + 1];
        for back in 0..known {
            longer[back] = shorter[back] - reflection * shorter[known - 1 - back];
        }
        longer[known] = reflection;
        variances_ms2[known + 1] = variances_ms2[known] * (1.0 - reflection * reflection);
    }
    (weights, variances_ms2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beats(values_ms: impl IntoIterator<Item = f64>) -> Vec<Beat> {
        values_ms
            .into_iter()
            .map(|value_ms| Beat {
                end_ms: 0.0,
                duration_ms: value_ms,
                value_ms,
                gap_ms: 0.0,
                flagged: false,
            })
            .collect()
    }

    fn learned(beats: &[Beat]) -> Forecaster {
        Forecaster::of(beats, &mut Lists::default())
    }

    fn past(forecaster: &Forecaster, values_ms: &[f64]) -> Past {
        values_ms.iter().fold(Past::NONE, |past, value_ms| {
            past.extended(value_ms - forecaster.mean_ms)
        })
    }

    fn wave_ms(i: usize) -> f64 {
        850.0 + 80.0 * (i as f64 * 0.6).sin()
    }

    #[test]
    fn of_a_steady_heart_the_same_is_expected_again_within_its_least_irregularity() {
        let forecaster = learned(&beats([800.0; 60]));
        let past = past(&forecaster, &[800.0; 3]);
        assert_eq!(forecaster.next_ms(&past), 800.0);
        let one_deviation_ms = IRREGULAR * 800.0;
        assert!((forecaster.surprise(&past, 1, one_deviation_ms) - 1.0).abs() < 1e-9);
        assert!((forecaster.surprise(&past, 4, 2.0 * one_deviation_ms) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_wave_is_expected_to_go_on() {
        let forecaster = learned(&beats((0..100).map(wave_ms)));
        for at in 40..60 {
            let seen_ms: Vec<f64> = (0..at).map(wave_ms).collect();
            let past = past(&forecaster, &seen_ms);
            assert!(
                (forecaster.next_ms(&past) - wave_ms(at)).abs() < 20.0,
                "{at}"
            );
            let ahead = forecaster.ahead(&past);
            assert!((forecaster.mean_ms + ahead[0] - forecaster.next_ms(&past)).abs() < 1e-9);
        }
    }

    #[test]
    fn with_nothing_seen_the_mean_is_expected_and_more_may_be_off() {
        let forecaster = learned(&beats((0..100).map(wave_ms)));
        assert_eq!(forecaster.next_ms(&Past::NONE), forecaster.mean_ms);
        let seen = past(&forecaster, &[wave_ms(0), wave_ms(1), wave_ms(2)]);
        assert!(
            forecaster.surprise(&Past::NONE, 1, 80.0) < forecaster.surprise(&seen, 1, 80.0) / 2.0
        );
    }

    #[test]
    fn a_surprise_in_a_sum_is_shared_out_whole() {
        let forecaster = learned(&beats((0..100).map(wave_ms)));
        let seen_ms: Vec<f64> = (0..30).map(wave_ms).collect();
        let past = past(&forecaster, &seen_ms);
        let ahead = forecaster.ahead(&past);
        for count in 1..=AHEAD {
            let after = forecaster.after(&past, &ahead, count, 60.0);
            let sum_ms: f64 = after.off_mean_ms[..count].iter().sum();
            let forecast_ms: f64 = ahead[..count].iter().sum();
            assert!((sum_ms - forecast_ms - 60.0).abs() < 1e-9, "{count}");
        }
    }

    #[test]
    fn what_is_not_correlated_is_not_forecast() {
        let (weights, variances_ms2) = levinson(&[400.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(weights, [[0.0; ORDER]; ORDER + 1]);
        assert_eq!(variances_ms2, [400.0; ORDER + 1]);
        // Half of the last difference comes again.
        let (weights, variances_ms2) = levinson(&[64.0, 32.0, 16.0, 8.0, 4.0, 2.0]);
        assert_eq!(weights[ORDER], [0.5, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(variances_ms2[ORDER], 48.0);
    }

    #[test]
    fn a_heart_is_restless_where_it_moves_more_than_elsewhere() {
        let noise_ms =
            |i: usize| ((i * 7919 % 101) as f64 - 50.0) * if i < 120 { 0.4 } else { 4.0 };
        let series = beats((0..160).map(|i| 800.0 + noise_ms(i)));
        let forecaster = learned(&series);
        let mut typical_ms2 = Vec::new();
        forecaster.typical_errors_ms2(&series, &mut Lists::default(), &mut typical_ms2);
        let restless: Vec<f64> = typical_ms2
            .iter()
            .map(|&typical_ms2| forecaster.restlessness(typical_ms2))
            .collect();
        assert_eq!(restless.len(), 160);
        assert!(restless[..100].iter().all(|&restless| restless == 1.0));
        assert!(restless[150] > 2.0, "{}", restless[150]);
    }
}
