//! The power spectrum of a window, its peak and the score.
//!
//! Here belong the taper, the Fourier transform and what is read from its cells. Cell `k` stands for
//! `k`/256 Hz and covers 1/512 Hz on either side; where a band ends inside a cell, the cell counts by
//! the share of it that lies in the band.

use super::resample::{SAMPLES, STEP_MS, Samples};

/// A window whose detrended samples deviate less than this is flat, in ms: under the resolution of
/// the straps there is no rhythm.
pub(super) const FLAT_BELOW_MS: f64 = 1.0;

/// Length of the transform; the window is continued with zeros for a finer grid of frequencies.
const PADDED: usize = 1024;

/// Where the peak is sought: 0.04 to 0.26 Hz.
const PEAK_CELLS: std::ops::RangeInclusive<usize> = 11..=66;

/// Cells that are read: up to 0.4 Hz.
const CELLS: usize = 103;

/// Frequency of a cell, in Hz.
pub(super) fn hz(cell: usize) -> f64 {
    cell as f64 / (PADDED as f64 * STEP_MS / 1000.0)
}

/// Powers of the cells up to 0.4 Hz.
pub(super) struct Spectrum {
    power: [f64; CELLS],
}

/// Power in the bands of the Task Force (1996), in ms².
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Powers {
    /// 0.04 to 0.15 Hz.
    pub lf_ms2: f64,
    /// 0.15 to 0.40 Hz.
    pub hf_ms2: f64,
    /// 0 to 0.40 Hz.
    pub total_ms2: f64,
}

impl Spectrum {
    /// Of detrended samples, tapered by half a sine.
    pub(super) fn of(samples_ms: &Samples) -> Self {
        let mut buffer = [0.0_f32; PADDED];
        for (cell, (sample, weight)) in buffer.iter_mut().zip(samples_ms.iter().zip(&HALF_SINE)) {
            *cell = (sample * weight) as f32;
        }
        let transformed = microfft::real::rfft_1024(&mut buffer);
        let mut power = [0.0; CELLS];
        for (power, x) in power.iter_mut().zip(transformed.iter()) {
            *power = f64::from(x.re) * f64::from(x.re) + f64::from(x.im) * f64::from(x.im);
        }
        // The transform keeps the Nyquist term in the imaginary part of cell 0.
        power[0] = f64::from(transformed[0].re) * f64::from(transformed[0].re);
        Spectrum { power }
    }

    /// The cell of the strongest rhythm; of equals the lowest.
    pub(super) fn peak(&self) -> usize {
        PEAK_CELLS.fold(*PEAK_CELLS.start(), |best, k| {
            if self.power[k] > self.power[best] {
                k
            } else {
                best
            }
        })
    }

    /// The share of the peak with 0.015 Hz on either side in everything up to 0.4 Hz, 0 to 100.
    pub(super) fn score(&self, peak: usize) -> f64 {
        let around =
            self.sum(peak - 3..=peak + 3) + 0.34 * (self.power[peak - 4] + self.power[peak + 4]);
        let total = self.total();
        if total > 0.0 {
            (100.0 * around / total).clamp(0.0, 100.0)
        } else {
            0.0
        }
    }

    pub(super) fn powers_ms2(&self) -> Powers {
        // Parseval: the window's 256 samples, squared.
        let scale = (SAMPLES * SAMPLES) as f64;
        Powers {
            lf_ms2: (0.26 * self.power[10] + self.sum(11..=37) + 0.9 * self.power[38]) / scale,
            hf_ms2: (0.1 * self.power[38] + self.sum(39..=101) + 0.9 * self.power[102]) / scale,
            total_ms2: self.total() / scale,
        }
    }

    fn total(&self) -> f64 {
        0.5 * self.power[0] + self.sum(1..=101) + 0.9 * self.power[102]
    }

    fn sum(&self, cells: std::ops::RangeInclusive<usize>) -> f64 {
        self.power[cells].iter().sum()
    }
}

/// sin(π (j + ½) / 256): worked out by the compiler, so that no platform's own `sin` has a say.
static HALF_SINE: [f64; SAMPLES] = half_sine();

const fn half_sine() -> [f64; SAMPLES] {
    let mut weights = [0.0; SAMPLES];
    let mut j = 0;
    while j < SAMPLES / 2 {
        let x = std::f64::consts::PI * (j as f64 + 0.5) / SAMPLES as f64;
        // The Taylor series; on the rising half 14 terms leave less than the last bit.
        let mut term = x;
        let mut sum = x;
        let mut n = 1;
        while n < 14 {
            term = -term * x * x / ((2 * n) as f64 * (2 * n + 1) as f64);
            sum += term;
            n += 1;
        }
        weights[j] = sum;
        weights[SAMPLES - 1 - j] = sum;
        j += 1;
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::{PI, TAU};

    fn tone(tone_hz: f64, amplitude_ms: f64) -> Samples {
        std::array::from_fn(|j| amplitude_ms * (TAU * tone_hz * j as f64 * STEP_MS / 1000.0).sin())
    }

    #[test]
    fn the_taper_is_half_a_sine() {
        for (j, weight) in HALF_SINE.iter().enumerate() {
            assert!(
                (weight - (PI * (j as f64 + 0.5) / 256.0).sin()).abs() < 1e-15,
                "{j}"
            );
        }
    }

    #[test]
    fn a_tone_peaks_in_its_cell_and_nearly_fills_the_total() {
        for k in [11, 20, 38, 66] {
            let spectrum = Spectrum::of(&tone(hz(k), 50.0));
            assert_eq!(spectrum.peak(), k);
            let score = spectrum.score(k);
            assert!((92.0..97.0).contains(&score), "{k}: {score}");
        }
    }

    #[test]
    fn the_power_of_a_tone_is_half_its_squared_amplitude() {
        let powers = Spectrum::of(&tone(hz(26), 40.0)).powers_ms2();
        assert!((powers.total_ms2 - 800.0).abs() < 8.0, "{powers:?}");
        assert!(powers.lf_ms2 > 0.98 * powers.total_ms2 && powers.hf_ms2 < 0.01 * powers.total_ms2);
    }

    #[test]
    fn bands_meet_without_overlap() {
        // Every cell from 11 on belongs to low or high frequency, once.
        let spectrum = Spectrum {
            power: std::array::from_fn(|k| if k >= 11 { 1.0 } else { 0.0 }),
        };
        let powers = spectrum.powers_ms2();
        assert!((powers.lf_ms2 + powers.hf_ms2 - powers.total_ms2).abs() < 1e-12);
    }

    #[test]
    fn a_rhythm_outside_the_searched_band_is_no_peak() {
        let spectrum = Spectrum::of(&tone(0.33, 50.0));
        assert!(spectrum.score(spectrum.peak()) < 5.0);
    }

    #[test]
    fn silence_scores_nothing() {
        let spectrum = Spectrum::of(&[0.0; SAMPLES]);
        assert_eq!((spectrum.peak(), spectrum.score(11)), (11, 0.0));
    }
}
