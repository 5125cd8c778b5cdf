//! From beats to an even grid: the cleaned series read at 4 Hz, and its trend taken away.
//!
//! Here belong interpolation, the window's grid and its straight line. Beats come at uneven times,
//! a Fourier transform wants even ones; what is read is the interval in ms, not the heart rate.

use super::clean::Beat;
use super::settings::Setting;

/// Samples in a window.
pub(super) const SAMPLES: usize = 256;

/// Time between samples, in ms: 4 Hz.
pub(super) const STEP_MS: f64 = 250.0;

/// From the first sample to the last, in ms.
pub(super) const SPAN_MS: f64 = STEP_MS * (SAMPLES - 1) as f64;

pub(super) const SETTINGS: &[Setting] = &[
    ("SAMPLES", &[SAMPLES as f64]),
    ("STEP_MS", &[STEP_MS]),
    ("SPAN_MS", &[SPAN_MS]),
];

/// One window of the series, in ms.
pub(super) type Samples = [f64; SAMPLES];

/// The natural cubic spline through one series of beats after another; gaps are bridged by it.
#[derive(Debug, Default)]
pub(super) struct Spline {
    /// Second derivative at each beat.
    bends: Vec<f64>,
    /// What the elimination leaves to the right of its diagonal.
    above: Vec<f64>,
}

impl Spline {
    /// The series from `start_ms` on (on the beats' clock).
    pub(super) fn sampled(&mut self, beats: &[Beat], start_ms: f64) -> Samples {
        self.bend(beats);
        let bends = &self.bends;
        let mut samples = [0.0; SAMPLES];
        // Index of the beat at the right end of the piece in use.
        let mut right = 1;
        for (j, sample) in samples.iter_mut().enumerate() {
            let at_ms = start_ms + STEP_MS * j as f64;
            while right + 1 < beats.len() && beats[right].end_ms < at_ms {
                right += 1;
            }
            let Some(next) = beats.get(right) else {
                // A single beat says one thing at all times, none says nothing.
                *sample = beats.first().map_or(0.0, |only| only.value_ms);
                continue;
            };
            let previous = &beats[right - 1];
            let length_ms = next.end_ms - previous.end_ms;
            let (b, a) = (
                (at_ms - previous.end_ms) / length_ms,
                (next.end_ms - at_ms) / length_ms,
            );
            *sample = a * previous.value_ms
                + b * next.value_ms
                + ((a * a * a - a) * bends[right - 1] + (b * b * b - b) * bends[right])
                    * length_ms
                    * length_ms
                    / 6.0;
        }
        samples
    }

    /// Second derivatives at the beats: 0 at both ends, between them the solution of a tridiagonal
    /// system (de Boor, A Practical Guide to Splines).
    fn bend(&mut self, beats: &[Beat]) {
        let Spline { bends, above } = self;
        let n = beats.len();
        for list in [&mut *bends, &mut *above] {
            list.clear();
            list.resize(n, 0.0);
        }
        if n < 3 {
            return;
        }
        // Length and slope from a beat to the next.
        let piece = |i: usize| {
            let length_ms = beats[i + 1].end_ms - beats[i].end_ms;
            let slope = (beats[i + 1].value_ms - beats[i].value_ms) / length_ms;
            (length_ms, slope)
        };
        // Forward: each row without its left neighbour. The diagonal dominates, so it never comes near 0.
        let (mut left_ms, mut left_slope) = piece(0);
        for i in 1..n - 1 {
            let (right_ms, right_slope) = piece(i);
            let pivot = 2.0 * (left_ms + right_ms) - left_ms * above[i - 1];
            above[i] = right_ms / pivot;
            bends[i] = (6.0 * (right_slope - left_slope) - left_ms * bends[i - 1]) / pivot;
            (left_ms, left_slope) = (right_ms, right_slope);
        }
        for i in (1..n - 1).rev() {
            bends[i] -= above[i] * bends[i + 1];
        }
    }
}

/// Takes the straight line that fits the samples best (least squares) away from them.
pub(super) fn detrend(samples: &mut [f64]) {
    let n = samples.len() as f64;
    let middle = (n - 1.0) / 2.0;
    let mean: f64 = samples.iter().sum::<f64>() / n;
    let moment: f64 = samples
        .iter()
        .enumerate()
        .map(|(j, sample)| (j as f64 - middle) * sample)
        .sum();
    let slope = moment / (n * (n * n - 1.0) / 12.0);
    for (j, sample) in samples.iter_mut().enumerate() {
        *sample -= mean + slope * (j as f64 - middle);
    }
}

/// Standard deviation (of a population) of the samples, in ms.
pub(super) fn deviation_ms(samples: &[f64]) -> f64 {
    let n = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / n;
    (samples
        .iter()
        .map(|sample| (sample - mean) * (sample - mean))
        .sum::<f64>()
        / n)
        .sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampled(beats: &[Beat], start_ms: f64) -> Samples {
        Spline::default().sampled(beats, start_ms)
    }

    fn beats(points: &[(f64, f64)]) -> Vec<Beat> {
        points
            .iter()
            .map(|&(end_ms, value_ms)| Beat {
                end_ms,
                value_ms,
                duration_ms: value_ms,
                gap_ms: 0.0,
                flagged: false,
            })
            .collect()
    }

    #[test]
    fn the_spline_passes_through_its_beats() {
        let through = beats(&[
            (-2000.0, 700.0),
            (-1250.0, 900.0),
            (-500.0, 650.0),
            (0.0, 800.0),
        ]);
        let samples = sampled(&through, -2000.0);
        for (j, expected) in [(0, 700.0), (3, 900.0), (6, 650.0), (8, 800.0)] {
            assert!((samples[j] - expected).abs() < 1e-9, "{j}: {}", samples[j]);
        }
    }

    #[test]
    fn the_spline_is_the_natural_one() {
        // Through (0,0) (1,1) (2,0) the natural cubic is 1.5 x - 0.5 x^3 on the left piece.
        let samples = sampled(&beats(&[(0.0, 0.0), (1000.0, 1.0), (2000.0, 0.0)]), 0.0);
        for (j, x) in [(1, 0.25_f64), (2, 0.5), (3, 0.75)] {
            assert!((samples[j] - (1.5 * x - 0.5 * x * x * x)).abs() < 1e-12);
        }
    }

    #[test]
    fn two_beats_make_a_line_one_a_level_and_none_nothing() {
        let line = sampled(&beats(&[(-63_750.0, 0.0), (0.0, 255.0)]), -63_750.0);
        assert!(
            line.iter()
                .enumerate()
                .all(|(j, sample)| (sample - j as f64).abs() < 1e-9)
        );
        assert_eq!(
            sampled(&beats(&[(0.0, 812.5)]), -63_750.0),
            [812.5; SAMPLES]
        );
        assert_eq!(sampled(&[], -63_750.0), [0.0; SAMPLES]);
    }

    #[test]
    fn a_line_is_all_trend() {
        for n in [128, SAMPLES] {
            let mut line: Vec<f64> = (0..n).map(|j| 700.0 + 1.25 * f64::from(j as u32)).collect();
            detrend(&mut line);
            assert!(line.iter().all(|sample| sample.abs() < 1e-9));
            assert!(deviation_ms(&line) < 1e-9);
        }
        let even: [f64; SAMPLES] = std::array::from_fn(|j| if j % 2 == 0 { 3.0 } else { 7.0 });
        assert!((deviation_ms(&even) - 2.0).abs() < 1e-12);
    }
}
