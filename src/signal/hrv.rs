//! Heart-rate variability: the usual figures, as the Task Force of the ESC and NASPE defined them in
//! 1996 (European Heart Journal 17, 354-381).
//!
//! Here belong figures that are told beside the score and never go into it. Only beats that were
//! received as they are count; the spectral figures come from the spectrum of the score.

use super::clean::Beat;
use super::settings::Setting;
use super::spectrum::Powers;

/// Neighbouring intervals that differ by more than this count for pNN50, ms.
const PNN_OVER_MS: f64 = 50.0;

pub(super) const SETTINGS: &[Setting] = &[("PNN_OVER_MS", &[PNN_OVER_MS])];

/// Heart-rate variability of one 64 s window. A figure is absent where there is nothing to make it
/// from: too few untouched beats, or no spectrum (status poor or flat).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hrv {
    /// Beats per minute: 60 000 over the mean interval.
    pub mean_hr_bpm: Option<f64>,
    /// Standard deviation of the intervals (n - 1), ms.
    pub sdnn_ms: Option<f64>,
    /// Root mean square of the differences between neighbouring intervals, ms.
    pub rmssd_ms: Option<f64>,
    /// Neighbouring intervals that differ by more than 50 ms, in per cent.
    pub pnn50_pct: Option<f64>,
    /// Power from 0.04 to 0.15 Hz, ms².
    pub lf_ms2: Option<f64>,
    /// Power from 0.15 to 0.40 Hz, ms².
    pub hf_ms2: Option<f64>,
    /// `lf_ms2` / `hf_ms2`.
    pub lf_hf: Option<f64>,
    /// Power up to 0.40 Hz, ms².
    pub total_ms2: Option<f64>,
}

impl Hrv {
    /// The figures in the time domain, of the beats in the window, oldest first.
    pub(super) fn of_beats(beats: &[Beat]) -> Self {
        let untouched_ms = beats
            .iter()
            .filter(|beat| !beat.flagged)
            .map(|beat| beat.value_ms);
        let differences_ms = beats
            .windows(2)
            .filter(|pair| pair.iter().all(|beat| !beat.flagged) && pair[1].gap_ms <= 0.0)
            .map(|pair| pair[1].value_ms - pair[0].value_ms);

        let count = untouched_ms.clone().count();
        let mean_ms = mean(untouched_ms.clone());
        let sdnn_ms = mean_ms.filter(|_| count > 1).map(|mean_ms| {
            let squares: f64 = untouched_ms
                .map(|value_ms| (value_ms - mean_ms) * (value_ms - mean_ms))
                .sum();
            (squares / (count - 1) as f64).sqrt()
        });
        Hrv {
            mean_hr_bpm: mean_ms.map(|mean_ms| 60_000.0 / mean_ms),
            sdnn_ms,
            rmssd_ms: mean(
                differences_ms
                    .clone()
                    .map(|difference| difference * difference),
            )
            .map(f64::sqrt),
            pnn50_pct: mean(differences_ms.map(|difference| {
                if difference.abs() > PNN_OVER_MS {
                    100.0
                } else {
                    0.0
                }
            })),
            lf_ms2: None,
            hf_ms2: None,
            lf_hf: None,
            total_ms2: None,
        }
    }

    /// The same with the figures of the spectrum.
    pub(super) fn with_powers(self, powers: Powers) -> Self {
        let lf_hf = powers.lf_ms2 / powers.hf_ms2;
        Hrv {
            lf_ms2: Some(powers.lf_ms2),
            hf_ms2: Some(powers.hf_ms2),
            lf_hf: lf_hf.is_finite().then_some(lf_hf),
            total_ms2: Some(powers.total_ms2),
            ..self
        }
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut n = 0_u32;
    let sum: f64 = values.inspect(|_| n += 1).sum();
    (n > 0).then(|| sum / f64::from(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(value_ms: f64) -> Beat {
        Beat {
            end_ms: 0.0,
            duration_ms: value_ms,
            value_ms,
            gap_ms: 0.0,
            flagged: false,
        }
    }

    #[test]
    fn the_figures_of_four_beats_by_hand() {
        let hrv = Hrv::of_beats(&[800.0, 850.0, 801.0, 749.0].map(beat));
        assert_eq!(hrv.mean_hr_bpm, Some(75.0));
        let squares = 0.0 + 2500.0 + 1.0 + 2601.0_f64;
        assert_eq!(hrv.sdnn_ms, Some((squares / 3.0).sqrt()));
        let differences = 2500.0 + 2401.0 + 2704.0_f64;
        assert_eq!(hrv.rmssd_ms, Some((differences / 3.0).sqrt()));
        // 50 is not more than 50.
        let pnn50_pct = hrv.pnn50_pct.expect("three pairs");
        assert!((pnn50_pct - 100.0 / 3.0).abs() < 1e-12);
        assert_eq!(
            (hrv.lf_ms2, hrv.hf_ms2, hrv.lf_hf, hrv.total_ms2),
            (None, None, None, None)
        );
    }

    #[test]
    fn repaired_beats_and_pairs_across_a_gap_do_not_count() {
        let mut beats = [800.0, 900.0, 1400.0, 900.0, 860.0, 700.0].map(beat);
        beats[2].flagged = true;
        beats[5].gap_ms = 2000.0;
        let hrv = Hrv::of_beats(&beats);
        assert_eq!(hrv.mean_hr_bpm, Some(60_000.0 * 5.0 / 4160.0));
        assert_eq!(hrv.rmssd_ms, Some(((10_000.0 + 1600.0) / 2.0_f64).sqrt()));
        assert_eq!(hrv.pnn50_pct, Some(50.0));
    }

    #[test]
    fn figures_without_beats_are_absent() {
        let nothing = Hrv::of_beats(&[]);
        assert_eq!(
            (
                nothing.mean_hr_bpm,
                nothing.sdnn_ms,
                nothing.rmssd_ms,
                nothing.pnn50_pct
            ),
            (None, None, None, None)
        );
        let one = Hrv::of_beats(&[beat(1000.0)]);
        assert_eq!(
            (one.mean_hr_bpm, one.sdnn_ms, one.rmssd_ms),
            (Some(60.0), None, None)
        );
    }

    #[test]
    fn a_ratio_to_nothing_is_absent() {
        let hrv = Hrv::of_beats(&[]).with_powers(Powers {
            lf_ms2: 3.0,
            hf_ms2: 0.0,
            total_ms2: 4.0,
        });
        assert_eq!(
            (hrv.lf_ms2, hrv.lf_hf, hrv.total_ms2),
            (Some(3.0), None, Some(4.0))
        );
    }
}
