//! A window of cleaned beats read: by which version, from how many beats, and how sure of it.
//!
//! Here belongs the way from beats to a score and its error. What a step on it does stands in its own
//! file; whether there is a window, and what is told where there is none, in `steps`.

use super::clean::Beat;
use super::likely::Likely;
use super::resample::{self, SAMPLES, Spline};
use super::rhythm::Rhythm;
use super::settings::Setting;
use super::spectrum::{self, Powers, Spectrum};
use super::{Early, FAIR_UP_TO_PCT, Version};

/// Fewest samples from which an early score is made: half of a window.
pub(super) const EARLY_SAMPLES: usize = SAMPLES / 2;

/// What a beat in a hundred that had to be repaired adds to the standard error, in points.
const POINTS_PER_ARTEFACT_PCT: f64 = 0.2;

/// Standard error of the clearest rhythm, in points: what beats and the spline through them lose.
pub(super) const LEAST_POINTS: f64 = 0.3;

/// The largest standard error that is told, in points: with half of the scale nothing is said.
pub(super) const MOST_POINTS: f64 = 50.0;

pub(super) const SETTINGS: &[Setting] = &[
    ("EARLY_SAMPLES", &[EARLY_SAMPLES as f64]),
    ("POINTS_PER_ARTEFACT_PCT", &[POINTS_PER_ARTEFACT_PCT]),
    ("LEAST_POINTS", &[LEAST_POINTS]),
    ("MOST_POINTS", &[MOST_POINTS]),
];

/// Reads windows of cleaned beats.
#[derive(Debug)]
pub(super) struct Reader {
    version: Version,
    pub(super) spline: Spline,
    likely: Likely,
}

/// What a window says that is not flat.
pub(super) struct Reading {
    pub score: f64,
    pub standard_error: Option<f64>,
    pub peak_hz: f64,
    pub powers: Powers,
}

impl Reader {
    pub(super) fn new(version: Version) -> Self {
        Reader {
            version,
            spline: Spline::default(),
            likely: Likely::default(),
        }
    }

    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// The last `count` samples up to the newest beat. `None`: flat.
    pub(super) fn read(&mut self, beats: &[Beat], count: usize) -> Option<Reading> {
        match self.version {
            Version::One => self.read_by_one(beats),
            Version::Two => self.read_by_two(beats, count),
        }
    }

    fn read_by_one(&mut self, beats: &[Beat]) -> Option<Reading> {
        let mut samples_ms = self.spline.sampled(beats, -resample::SPAN_MS);
        resample::detrend(&mut samples_ms);
        if resample::deviation_ms(&samples_ms) < spectrum::FLAT_BELOW_MS {
            return None;
        }
        let spectrum = Spectrum::of_half_sine(&samples_ms);
        let peak = spectrum.peak();
        Some(Reading {
            score: spectrum.score(peak),
            standard_error: None,
            peak_hz: spectrum::hz(peak as f64),
            powers: spectrum.powers_ms2(spectrum::HALF_SINE_CELL_MS2),
        })
    }

    fn read_by_two(&mut self, beats: &[Beat], count: usize) -> Option<Reading> {
        let length_ms = resample::STEP_MS * count as f64;
        let within = in_last(beats, length_ms);
        let mean_ms = within.iter().map(|beat| beat.value_ms).sum::<f64>() / within.len() as f64;

        let mut window_ms = self.spline.sampled(beats, -resample::SPAN_MS);
        let mut samples_ms = &mut window_ms[SAMPLES - count..];
        resample::detrend(samples_ms);
        if let Some(completed) = self.likely.completed(beats, within, mean_ms, samples_ms) {
            window_ms = self.spline.sampled(completed, -resample::SPAN_MS);
            samples_ms = &mut window_ms[SAMPLES - count..];
            resample::detrend(samples_ms);
        }
        if resample::deviation_ms(samples_ms) < spectrum::FLAT_BELOW_MS {
            return None;
        }
        let rhythm = Rhythm::of(samples_ms, mean_ms);
        // A hole is filled with what is expected there, so that the spectrum can't know it is one.
        let sampling = rhythm.standard_error / coverage(beats, length_ms);
        let repairs = POINTS_PER_ARTEFACT_PCT * artefact_pct(within);
        let variance = sampling * sampling + repairs * repairs + LEAST_POINTS * LEAST_POINTS;
        Some(Reading {
            score: rhythm.score,
            standard_error: Some(variance.sqrt().min(MOST_POINTS)),
            peak_hz: rhythm.peak_hz,
            powers: rhythm.powers,
        })
    }

    /// Of a heart whose first beat ended `known_ms` ago, less than a window.
    pub(super) fn early(&mut self, beats: &[Beat], known_ms: f64) -> Option<Early> {
        let count = (known_ms / resample::STEP_MS) as usize + 1;
        let within = in_last(beats, resample::STEP_MS * count as f64);
        if self.version == Version::One
            || count < EARLY_SAMPLES
            || artefact_pct(within) > FAIR_UP_TO_PCT
        {
            return None;
        }
        let reading = self.read(beats, count)?;
        Some(Early {
            score: reading.score,
            standard_error: reading.standard_error?,
        })
    }
}

/// The beats that end in the last `length_ms`; times count back from the newest beat.
pub(super) fn in_last(beats: &[Beat], length_ms: f64) -> &[Beat] {
    &beats[beats.partition_point(|beat| beat.end_ms <= -length_ms)..]
}

/// Repaired beats of all beats, in per cent.
pub(super) fn artefact_pct(beats: &[Beat]) -> f64 {
    let flagged = beats.iter().filter(|beat| beat.flagged).count();
    if beats.is_empty() {
        0.0
    } else {
        100.0 * flagged as f64 / beats.len() as f64
    }
}

/// Share of the last `length_ms` that lies under intervals.
pub(super) fn coverage(beats: &[Beat], length_ms: f64) -> f64 {
    let covered_ms: f64 = in_last(beats, length_ms)
        .iter()
        .map(|beat| beat.end_ms - (beat.end_ms - beat.duration_ms).max(-length_ms))
        .sum();
    (covered_ms / length_ms).min(1.0)
}
