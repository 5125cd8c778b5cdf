//! From beats to a score, in the ways that are in common use.
//!
//! Here belong the ways of others, for comparison; our own is asked through `coherence_hub::signal`.
//! All of them follow one definition (the share of the peak, with 0.015 Hz on either side, in the
//! power up to 0.4 Hz; a cell of the spectrum counts by the share of it that lies inside) and differ
//! in how they come to a spectrum. All take the newest beat as the end of the window and take a
//! straight line away first.

use std::f64::consts::{PI, TAU};
use std::ops::Range;

use crate::simulate::{HIGHEST_HZ, PEAK_REACH_HZ};

/// Where a peak is sought, in Hz.
const PEAK_HZ: std::ops::RangeInclusive<f64> = 0.04..=0.26;

/// Samples per second of the interpolating pipelines.
const RATE_HZ: f64 = 4.0;

/// A beat as its time and the interval that it ends, in ms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub end_ms: f64,
    pub value_ms: f64,
}

/// How the series is read between beats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    Linear,
    /// The natural cubic spline.
    Cubic,
}

/// How the ends of a window are faded out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taper {
    Hann,
    HalfSine,
}

/// One way to a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pipeline {
    /// One window of `samples`, continued with zeros to `padded`.
    Periodogram {
        between: Between,
        taper: Taper,
        samples: usize,
        padded: usize,
    },
    /// The mean of three windows of 32 s, half over one another.
    Welch,
    /// No interpolation: sines fitted to the beats of 64 s, faded out at their times.
    LombScargle,
}

impl Pipeline {
    /// The score of a series, oldest beat first; 0 where there is no power.
    pub fn score(self, points: &[Point]) -> f64 {
        match self {
            Pipeline::Periodogram {
                between,
                taper,
                samples,
                padded,
            } => {
                let mut window = sampled(points, between, samples);
                detrend(&mut window);
                Spectrum::new(powers(&window, taper, padded), RATE_HZ / padded as f64).score()
            }
            Pipeline::Welch => {
                let mut window = sampled(points, Between::Linear, 256);
                detrend(&mut window);
                let mut sum = vec![0.0; 65];
                for segment in [0..128, 64..192, 128..256] {
                    let segment = &window[segment];
                    for (sum, power) in sum.iter_mut().zip(powers(segment, Taper::Hann, 128)) {
                        *sum += power;
                    }
                }
                Spectrum::new(sum, RATE_HZ / 128.0).score()
            }
            Pipeline::LombScargle => lomb_scargle(points).score(),
        }
    }
}

/// Power of cells of equal width; cell `k` stands for `k` widths.
struct Spectrum {
    power: Vec<f64>,
    width_hz: f64,
}

impl Spectrum {
    fn new(power: Vec<f64>, width_hz: f64) -> Self {
        Spectrum { power, width_hz }
    }

    fn score(&self) -> f64 {
        let mut peak: Option<usize> = None;
        for k in 0..self.power.len() {
            if PEAK_HZ.contains(&(k as f64 * self.width_hz))
                && peak.is_none_or(|peak| self.power[k] > self.power[peak])
            {
                peak = Some(k);
            }
        }
        let total = self.between(0.0..HIGHEST_HZ);
        let Some(peak) = peak.filter(|_| total > 0.0) else {
            return 0.0;
        };
        let peak_hz = peak as f64 * self.width_hz;
        let around = self.between(peak_hz - PEAK_REACH_HZ..peak_hz + PEAK_REACH_HZ);
        (100.0 * around / total).min(100.0)
    }

    /// Power between two frequencies; nothing lies below 0.
    fn between(&self, band_hz: Range<f64>) -> f64 {
        self.power
            .iter()
            .enumerate()
            .map(|(k, power)| {
                let middle_hz = k as f64 * self.width_hz;
                let low_hz = (middle_hz - self.width_hz / 2.0).max(0.0);
                let high_hz = middle_hz + self.width_hz / 2.0;
                let inside_hz = high_hz.min(band_hz.end) - low_hz.max(band_hz.start);
                power * (inside_hz / self.width_hz).max(0.0)
            })
            .sum()
    }
}

/// The last `samples` at 4 Hz, the newest beat being the last of them.
fn sampled(points: &[Point], between: Between, samples: usize) -> Vec<f64> {
    let Some(newest) = points.last() else {
        return vec![0.0; samples];
    };
    if points.len() == 1 {
        return vec![newest.value_ms; samples];
    }
    let bends = match between {
        Between::Linear => vec![0.0; points.len()],
        Between::Cubic => bends(points),
    };
    let mut right = 1;
    (0..samples)
        .map(|j| {
            let at_ms = newest.end_ms - 1000.0 / RATE_HZ * (samples - 1 - j) as f64;
            while right + 1 < points.len() && points[right].end_ms < at_ms {
                right += 1;
            }
            let (from, to) = (points[right - 1], points[right]);
            let length_ms = to.end_ms - from.end_ms;
            let b = (at_ms - from.end_ms) / length_ms;
            let a = 1.0 - b;
            a * from.value_ms
                + b * to.value_ms
                + ((a * a * a - a) * bends[right - 1] + (b * b * b - b) * bends[right])
                    * length_ms
                    * length_ms
                    / 6.0
        })
        .collect()
}

/// Second derivatives of the natural cubic spline at the points.
fn bends(points: &[Point]) -> Vec<f64> {
    let n = points.len();
    let mut bends = vec![0.0; n];
    let mut above = vec![0.0; n];
    let length_ms = |i: usize| points[i + 1].end_ms - points[i].end_ms;
    let slope = |i: usize| (points[i + 1].value_ms - points[i].value_ms) / length_ms(i);
    for i in 1..n.saturating_sub(1) {
        let pivot = 2.0 * (length_ms(i - 1) + length_ms(i)) - length_ms(i - 1) * above[i - 1];
        above[i] = length_ms(i) / pivot;
        bends[i] = (6.0 * (slope(i) - slope(i - 1)) - length_ms(i - 1) * bends[i - 1]) / pivot;
    }
    for i in (1..n.saturating_sub(1)).rev() {
        bends[i] -= above[i] * bends[i + 1];
    }
    bends
}

/// Takes the straight line away that fits best.
fn detrend(window: &mut [f64]) {
    let n = window.len() as f64;
    let mean = window.iter().sum::<f64>() / n;
    let centre = (n - 1.0) / 2.0;
    let slope = window
        .iter()
        .enumerate()
        .map(|(j, x)| (j as f64 - centre) * x)
        .sum::<f64>()
        / (n * (n * n - 1.0) / 12.0);
    for (j, x) in window.iter_mut().enumerate() {
        *x -= mean + slope * (j as f64 - centre);
    }
}

/// Powers of the cells from 0 to half of the sampling rate.
fn powers(window: &[f64], taper: Taper, padded: usize) -> Vec<f64> {
    let n = window.len() as f64;
    let mut cells = vec![(0.0, 0.0); padded];
    for (j, (cell, x)) in cells.iter_mut().zip(window).enumerate() {
        let j = j as f64;
        let weight = match taper {
            Taper::Hann => 0.5 - 0.5 * libm::cos(TAU * j / n),
            Taper::HalfSine => libm::sin(PI * (j + 0.5) / n),
        };
        cell.0 = weight * x;
    }
    transform(&mut cells);
    cells[..=padded / 2]
        .iter()
        .map(|(re, im)| re * re + im * im)
        .collect()
}

/// Fast Fourier transform in place; the length is a power of two (Cooley & Tukey 1965).
fn transform(cells: &mut [(f64, f64)]) {
    let n = cells.len();
    let bits = n.trailing_zeros();
    for i in 0..n {
        let j = i.reverse_bits() >> (usize::BITS - bits);
        if i < j {
            cells.swap(i, j);
        }
    }
    let mut half = 1;
    while half < n {
        for k in 0..half {
            let angle = -PI * k as f64 / half as f64;
            let (c, s) = (libm::cos(angle), libm::sin(angle));
            for low in (k..n).step_by(2 * half) {
                let (a, b) = (cells[low], cells[low + half]);
                let turned = (b.0 * c - b.1 * s, b.0 * s + b.1 * c);
                cells[low] = (a.0 + turned.0, a.1 + turned.1);
                cells[low + half] = (a.0 - turned.0, a.1 - turned.1);
            }
        }
        half *= 2;
    }
}

/// The periodogram of uneven times (Lomb 1976, Scargle 1982) on the grid of a transform of 256 s.
fn lomb_scargle(points: &[Point]) -> Spectrum {
    const WINDOW_MS: f64 = 64_000.0;
    const WIDTH_HZ: f64 = 1.0 / 256.0;
    const CELLS: usize = 104;
    let start_ms = points.last().map_or(0.0, |newest| newest.end_ms) - WINDOW_MS;
    let inside: Vec<Point> = points
        .iter()
        .filter(|point| point.end_ms > start_ms)
        .copied()
        .collect();
    let n = inside.len() as f64;
    let mean_s = inside.iter().map(|p| p.end_ms / 1000.0).sum::<f64>() / n;
    let mean_ms = inside.iter().map(|p| p.value_ms).sum::<f64>() / n;
    let (mut moment, mut spread) = (0.0, 0.0);
    for point in &inside {
        let s = point.end_ms / 1000.0 - mean_s;
        moment += s * (point.value_ms - mean_ms);
        spread += s * s;
    }
    let slope = moment / spread;
    let faded: Vec<(f64, f64)> = inside
        .iter()
        .map(|point| {
            let s = point.end_ms / 1000.0 - mean_s;
            let share = (point.end_ms - inside[0].end_ms)
                / (inside[inside.len() - 1].end_ms - inside[0].end_ms);
            let weight = 0.5 - 0.5 * libm::cos(TAU * share);
            (s, weight * (point.value_ms - mean_ms - slope * s))
        })
        .collect();
    let power = (0..CELLS)
        .map(|k| {
            let omega = TAU * WIDTH_HZ * k as f64;
            if k == 0 {
                let sum: f64 = faded.iter().map(|(_, x)| x).sum();
                return sum * sum / n;
            }
            let (mut c2, mut s2, mut cx, mut sx) = (0.0, 0.0, 0.0, 0.0);
            for (at_s, x) in &faded {
                let (s, c) = (libm::sin(omega * at_s), libm::cos(omega * at_s));
                c2 += c * c - s * s;
                s2 += 2.0 * c * s;
                cx += c * x;
                sx += s * x;
            }
            // The offset that makes sine and cosine independent at these times.
            let tau = libm::atan2(s2, c2) / 2.0;
            let (st, ct) = (libm::sin(tau), libm::cos(tau));
            let size = (c2 * c2 + s2 * s2).sqrt();
            let along = cx * ct + sx * st;
            let across = sx * ct - cx * st;
            along * along / (n + size) + across * across / (n - size)
        })
        .collect();
    Spectrum::new(power, WIDTH_HZ)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rhythm at 0.125 Hz, which is the middle of a cell on every grid here.
    fn breathing() -> Vec<Point> {
        (0..200)
            .map(|i| {
                let end_ms = 750.0 * f64::from(i);
                Point {
                    end_ms,
                    value_ms: 800.0 + 50.0 * libm::sin(TAU * 0.125 * end_ms / 1000.0),
                }
            })
            .collect()
    }

    #[test]
    fn a_transform_finds_a_tone_and_keeps_the_power() {
        let tone: Vec<f64> = (0..64)
            .map(|j| libm::cos(TAU * 5.0 * f64::from(j) / 64.0))
            .collect();
        let mut cells: Vec<(f64, f64)> = tone.iter().map(|&x| (x, 0.0)).collect();
        transform(&mut cells);
        for (k, (re, im)) in cells.iter().enumerate() {
            let expected = if k == 5 || k == 59 { 32.0 } else { 0.0 };
            assert!(
                (re - expected).abs() < 1e-9 && im.abs() < 1e-9,
                "{k}: {re} {im}"
            );
        }
    }

    #[test]
    fn a_tone_in_the_middle_of_a_cell_scores_what_its_taper_lets_it() {
        let hann = |between, samples, padded| Pipeline::Periodogram {
            between,
            taper: Taper::Hann,
            samples,
            padded,
        };
        // A Hann taper leaves 1, 1/4 and 1/4 in three cells; 0.46 of the outer two lie inside
        // 0.015 Hz where a cell is 1/64 Hz wide, none where it is 1/32 Hz, and 0.96 of the middle one.
        for (pipeline, expected) in [
            (hann(Between::Cubic, 256, 256), 100.0 * 1.23 / 1.5),
            (Pipeline::Welch, 100.0 * 0.96 / 1.5),
        ] {
            let score = pipeline.score(&breathing());
            assert!((score - expected).abs() < 1.0, "{pipeline:?}: {score}");
        }
        for (pipeline, expected) in [
            (hann(Between::Linear, 256, 1024), 89.0),
            (hann(Between::Cubic, 256, 1024), 89.0),
            (hann(Between::Cubic, 512, 2048), 99.8),
            (Pipeline::LombScargle, 89.0),
        ] {
            let score = pipeline.score(&breathing());
            assert!((score - expected).abs() < 1.0, "{pipeline:?}: {score}");
        }
    }

    #[test]
    fn without_beats_or_power_there_is_no_score() {
        let pipeline = Pipeline::Periodogram {
            between: Between::Cubic,
            taper: Taper::HalfSine,
            samples: 256,
            padded: 1024,
        };
        assert_eq!(pipeline.score(&[]), 0.0);
        assert_eq!(pipeline.score(&breathing()[..1]), 0.0);
    }
}
