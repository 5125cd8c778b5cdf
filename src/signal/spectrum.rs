//! The power spectrum of a window and what is read from its cells; the score of version 1.
//!
//! Here belong the Fourier transform, the peak and the bands. Cell `k` stands for `k`/256 Hz and covers
//! 1/512 Hz on either side; where a band ends inside a cell, the cell counts by the share of it that
//! lies in the band.

use super::resample::{SAMPLES, STEP_MS};
use super::settings::Setting;

/// A window whose detrended samples deviate less than this is flat, in ms: under the resolution of
/// the straps there is no rhythm.
pub(super) const FLAT_BELOW_MS: f64 = 1.0;

/// Length of the transform; the window is continued with zeros for a finer grid of frequencies.
pub(super) const PADDED: usize = 1024;

/// Where the peak is sought: 0.04 to 0.26 Hz.
const PEAK_CELLS: std::ops::RangeInclusive<usize> = 11..=66;

/// Cells that are read: up to 0.4 Hz.
pub(super) const CELLS: usize = 103;

/// Cells on either side that belong to the peak whole, …
const PEAK_SIDE: usize = 3;

/// … and the share of the next one that does: 0.015 Hz in all.
const PEAK_EDGE: f64 = 0.34;

/// Of the lowest cell half lies above 0 Hz.
const DC_SHARE: f64 = 0.5;

/// Cell 10 reaches so far above 0.04 Hz, …
const LF_EDGE: f64 = 0.26;

/// … cell 38 so far below 0.15 Hz, …
const LF_HF_EDGE: f64 = 0.9;

/// … so far above it, …
const HF_EDGE: f64 = 0.1;

/// … and cell 102 so far below 0.4 Hz.
const TOP_EDGE: f64 = 0.9;

pub(super) const SETTINGS: &[Setting] = &[
    ("FLAT_BELOW_MS", &[FLAT_BELOW_MS]),
    ("PADDED", &[PADDED as f64]),
    (
        "PEAK_CELLS",
        &[*PEAK_CELLS.start() as f64, *PEAK_CELLS.end() as f64],
    ),
    ("CELLS", &[CELLS as f64]),
    ("PEAK_SIDE", &[PEAK_SIDE as f64]),
    ("PEAK_EDGE", &[PEAK_EDGE]),
    ("DC_SHARE", &[DC_SHARE]),
    ("LF_EDGE", &[LF_EDGE]),
    ("LF_HF_EDGE", &[LF_HF_EDGE]),
    ("HF_EDGE", &[HF_EDGE]),
    ("TOP_EDGE", &[TOP_EDGE]),
    ("HALF_SINE_CELL_MS2", &[HALF_SINE_CELL_MS2]),
];

/// One figure for each cell.
pub(super) type Cells = [f64; CELLS];

/// Frequency of a cell, or of a place between two, in Hz.
pub(super) fn hz(cell: f64) -> f64 {
    cell / (PADDED as f64 * STEP_MS / 1000.0)
}

/// Share of a cell that lies in 0 to 0.4 Hz.
pub(super) fn share_of_total(cell: usize) -> f64 {
    match cell {
        0 => DC_SHARE,
        102 => TOP_EDGE,
        _ => 1.0,
    }
}

/// Share of a cell that lies within 0.015 Hz of the peak, so many cells away.
pub(super) fn share_of_peak(away: usize) -> f64 {
    match away {
        0..=PEAK_SIDE => 1.0,
        away if away == PEAK_SIDE + 1 => PEAK_EDGE,
        _ => 0.0,
    }
}

/// Powers of the cells up to 0.4 Hz.
pub(super) struct Spectrum {
    power: Cells,
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
    /// Of a window that is detrended and tapered.
    pub(super) fn of(tapered: impl Iterator<Item = f64>) -> Self {
        let mut buffer = [0.0_f32; PADDED];
        for (cell, value) in buffer.iter_mut().zip(tapered) {
            *cell = value as f32;
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

    /// Of detrended samples, tapered by half a sine, as version 1 has it.
    pub(super) fn of_half_sine(samples_ms: &[f64]) -> Self {
        Spectrum::of(samples_ms.iter().zip(&HALF_SINE).map(|(x, w)| x * w))
    }

    /// The same with another scale for each cell.
    pub(super) fn divided_by(&self, scale: &Cells) -> Self {
        Spectrum {
            power: std::array::from_fn(|k| self.power[k] / scale[k]),
        }
    }

    pub(super) fn cells(&self) -> &Cells {
        &self.power
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

    /// Where between its neighbours the peak lies, by the parabola through the three; in cells.
    pub(super) fn refined(&self, peak: usize) -> f64 {
        let (left, here, right) = (self.power[peak - 1], self.power[peak], self.power[peak + 1]);
        let bend = left - 2.0 * here + right;
        let aside = if bend < 0.0 {
            (0.5 * (left - right) / bend).clamp(-0.5, 0.5)
        } else {
            0.0
        };
        peak as f64 + aside
    }

    /// The share of the peak with 0.015 Hz on either side in everything up to 0.4 Hz, 0 to 100: the
    /// score of version 1.
    pub(super) fn score(&self, peak: usize) -> f64 {
        let total = self.total();
        if total > 0.0 {
            (100.0 * self.around(peak) / total).clamp(0.0, 100.0)
        } else {
            0.0
        }
    }

    /// Power within 0.015 Hz of the peak.
    pub(super) fn around(&self, peak: usize) -> f64 {
        let (below, above) = (peak - PEAK_SIDE - 1, peak + PEAK_SIDE + 1);
        self.sum(below + 1..=above - 1) + PEAK_EDGE * (self.power[below] + self.power[above])
    }

    /// Power up to 0.4 Hz.
    pub(super) fn total(&self) -> f64 {
        DC_SHARE * self.power[0] + self.sum(1..=101) + TOP_EDGE * self.power[102]
    }

    /// `cell_ms2`: what one unit of a cell stands for.
    pub(super) fn powers_ms2(&self, cell_ms2: f64) -> Powers {
        Powers {
            lf_ms2: (LF_EDGE * self.power[10] + self.sum(11..=37) + LF_HF_EDGE * self.power[38])
                * cell_ms2,
            hf_ms2: (HF_EDGE * self.power[38] + self.sum(39..=101) + TOP_EDGE * self.power[102])
                * cell_ms2,
            total_ms2: self.total() * cell_ms2,
        }
    }

    fn sum(&self, cells: std::ops::RangeInclusive<usize>) -> f64 {
        self.power[cells].iter().sum()
    }
}

/// What one unit of a cell stands for under half a sine, in ms²: Parseval, the window's 256 samples
/// squared. A power of two, so that multiplying is dividing.
pub(super) const HALF_SINE_CELL_MS2: f64 = 1.0 / (SAMPLES * SAMPLES) as f64;

/// sin(π (j + ½) / 256): worked out by the compiler, so that no platform's own `sin` has a say.
static HALF_SINE: [f64; SAMPLES] = half_sine();

pub(super) const fn half_sine() -> [f64; SAMPLES] {
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

    fn tone(tone_hz: f64, amplitude_ms: f64) -> [f64; SAMPLES] {
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
            let spectrum = Spectrum::of_half_sine(&tone(hz(k as f64), 50.0));
            assert_eq!(spectrum.peak(), k);
            let score = spectrum.score(k);
            assert!((92.0..97.0).contains(&score), "{k}: {score}");
        }
    }

    #[test]
    fn the_power_of_a_tone_is_half_its_squared_amplitude() {
        let powers = Spectrum::of_half_sine(&tone(hz(26.0), 40.0)).powers_ms2(HALF_SINE_CELL_MS2);
        assert!((powers.total_ms2 - 800.0).abs() < 8.0, "{powers:?}");
        assert!(powers.lf_ms2 > 0.98 * powers.total_ms2 && powers.hf_ms2 < 0.01 * powers.total_ms2);
    }

    #[test]
    fn bands_meet_without_overlap() {
        // Every cell from 11 on belongs to low or high frequency, once.
        let spectrum = Spectrum {
            power: std::array::from_fn(|k| if k >= 11 { 1.0 } else { 0.0 }),
        };
        let powers = spectrum.powers_ms2(HALF_SINE_CELL_MS2);
        assert!((powers.lf_ms2 + powers.hf_ms2 - powers.total_ms2).abs() < 1e-12);
    }

    #[test]
    fn a_rhythm_outside_the_searched_band_is_no_peak() {
        let spectrum = Spectrum::of_half_sine(&tone(0.33, 50.0));
        assert!(spectrum.score(spectrum.peak()) < 5.0);
    }

    #[test]
    fn silence_scores_nothing() {
        let spectrum = Spectrum::of_half_sine(&[0.0; SAMPLES]);
        assert_eq!((spectrum.peak(), spectrum.score(11)), (11, 0.0));
    }
}
