//! The coherence score: R-R intervals in, score and heart-rate variability out.
//!
//! PURE. No time, no input or output, no memory of what was scored before; bad data is a value
//! (a [`Status`]), never an error. The same intervals give the same bits on every machine: all
//! arithmetic is plain IEEE `f64` (the Fourier transform `f32`) without functions that a platform
//! is free to round its own way; sine and cosine are those of `libm`.
//!
//! The rooms, in the order in which an interval walks through them:
//!
//! - [`tachogram`]: which intervals count: the newest 80 s of beat time since the last long gap;
//! - `clean`: missed, extra and misplaced beats put right, each repair flagged;
//! - `resample`: 64 s of the cleaned series read at 4 Hz, without its trend;
//! - `likely`: before that, holes filled with the beats that were most likely lost in them (version 2);
//! - `spectrum`: the power spectrum, its peak, the score of version 1;
//! - `rhythm`: the score of version 2 and its standard error;
//! - `hrv`: the usual figures of heart-rate variability;
//! - `reader`: how these follow each other, by which version, and how sure the score is;
//! - `steps`: from intervals to an evaluation, and when there is no score;
//! - `settings`: the constants of it all as one text, from which a hash is made;
//! - [`course`]: what the scores of a session say together: baseline and trend;
//! - [`synchrony`]: how much several hearts move together, and how much of that is chance.
//!
//! Here stand the words in which the result is told.

mod clean;
pub mod course;
mod hrv;
mod likely;
mod reader;
mod resample;
mod rhythm;
mod settings;
mod spectrum;
mod steps;
pub mod synchrony;
pub mod tachogram;

pub use hrv::Hrv;
pub use steps::Scorer;
pub use tachogram::Tachogram;

/// A definition of the score. Its number is stored with every score, and every version there ever was
/// stays, so that an old score can be computed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// Part 1 of the product's signal document, to the bit.
    One,
    /// What was measurably better than that:
    ///
    #[doc = include_str!("version_two.md")]
    Two,
}

impl Version {
    /// By which hearts are scored now.
    pub const CURRENT: Version = Version::Two;

    pub const ALL: [Version; 2] = [Version::One, Version::Two];

    /// The number in files, messages and the database.
    pub fn number(self) -> u32 {
        match self {
            Version::One => 1,
            Version::Two => 2,
        }
    }

    pub fn of_number(number: u32) -> Option<Version> {
        Version::ALL
            .into_iter()
            .find(|version| version.number() == number)
    }
}

/// Length of the stretch whose beats are counted, in ms. The spectrum reads the 63 750 ms between
/// the first and the last of its 256 samples.
pub const WINDOW_MS: f64 = 64_000.0;

/// Above this share of repaired beats, in per cent, the status is [`Status::Fair`].
pub const GOOD_UP_TO_PCT: f64 = 5.0;

/// Above this share of repaired beats, in per cent, there is no score.
pub const FAIR_UP_TO_PCT: f64 = 15.0;

/// From here on the level of a score is medium, …
pub const MEDIUM_FROM: f64 = 40.0;

/// … and from here on high.
pub const HIGH_FROM: f64 = 60.0;

const SETTINGS: &[settings::Setting] = &[
    ("WINDOW_MS", &[WINDOW_MS]),
    ("GOOD_UP_TO_PCT", &[GOOD_UP_TO_PCT]),
    ("FAIR_UP_TO_PCT", &[FAIR_UP_TO_PCT]),
    ("MEDIUM_FROM", &[MEDIUM_FROM]),
    ("HIGH_FROM", &[HIGH_FROM]),
];

/// One R-R interval, as placed on the tachogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    pub rr_ms: f64,
    /// Time lost before this interval, ms.
    pub gap_ms: f64,
}

/// What the signal is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Not enough beat time yet for the first score.
    Warmup,
    /// At most [`GOOD_UP_TO_PCT`] of the beats in the window were repaired.
    Good,
    /// At most [`FAIR_UP_TO_PCT`] of them were.
    Fair,
    /// More than that: no score.
    Poor,
    /// The heart rate hardly changes (under 1 ms): there is no rhythm to score.
    Flat,
}

impl Status {
    /// The word in files, messages and the database.
    pub fn word(self) -> &'static str {
        match self {
            Status::Warmup => "warmup",
            Status::Good => "good",
            Status::Fair => "fair",
            Status::Poor => "poor",
            Status::Flat => "flat",
        }
    }
}

/// The step a score stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Below 40.
    Low,
    /// From 40, below 60.
    Medium,
    /// From 60.
    High,
}

impl Level {
    /// The level of a score, which is to be passed unrounded.
    pub fn of(score: f64) -> Level {
        if score >= HIGH_FROM {
            Level::High
        } else if score >= MEDIUM_FROM {
            Level::Medium
        } else {
            Level::Low
        }
    }

    /// The word in files, messages and the database.
    pub fn word(self) -> &'static str {
        match self {
            Level::Low => "low",
            Level::Medium => "medium",
            Level::High => "high",
        }
    }
}

/// All that is said about one heart at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    pub status: Status,
    /// 0 to 100: the share, in per cent, that the strongest rhythm (with 0.015 Hz on either side)
    /// has in the power up to 0.4 Hz. Present when good or fair; 0 when flat.
    pub score: Option<f64>,
    /// Standard error of the score, in points: what 64 s can't tell, what repaired beats and holes add.
    /// The truth lies within 1.645 of it in 9 windows of 10. It is about this window: of a rhythm that
    /// comes and goes from minute to minute the next scores tell. Present when good or fair, from
    /// version 2 on.
    pub standard_error: Option<f64>,
    /// During warmup, from about 32 s of beats on; from version 2 on.
    pub early: Option<Early>,
    /// Present whenever `score` is.
    pub level: Option<Level>,
    /// Frequency of the strongest rhythm between 0.04 and 0.26 Hz; by version 1 a multiple of 1/256 Hz.
    /// Present when good or fair.
    pub peak_hz: Option<f64>,
    /// Repaired beats of all beats in the window, in per cent. Absent during warmup.
    pub artefact_pct: Option<f64>,
    /// Cleaned beats that end in the last 64 s before the newest beat.
    pub beats: u32,
    /// Share of the 64 s before the newest beat that lies under intervals, 0 to 1; the rest is gaps or
    /// the time before the first beat.
    pub coverage: f64,
    /// Beat time still missing for the first score, in ms; 0 unless in warmup.
    pub warmup_left_ms: f64,
    /// Absent during warmup.
    pub hrv: Option<Hrv>,
}

/// A first score of less than a window. It tells a person that something is on its way; it is told
/// with its error and counts in no group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Early {
    /// 0 to 100.
    pub score: f64,
    /// In points.
    pub standard_error: f64,
}

/// Slower rhythms are no breath, Hz: a breath of more than 15 s.
const BREATH_FROM_HZ: f64 = 1.0 / 15.0;

/// Breaths per minute, read from the strongest rhythm; none where that is not likely to be the breath.
///
/// It holds where somebody breathes slowly and evenly, at 4 to 15.5 breaths per minute, so that the
/// heart follows the breath: then the peak of the spectrum is the breath. So it is given where one
/// rhythm leads (from [`Level::Medium`] on) in that band. What it can't tell: faster breathing lies
/// outside of the band in which the peak is sought, and a heart whose breath is not paced may have its
/// peak near 6 per minute from the regulation of blood pressure. By version 1 it has steps of 0.23. On simulated
/// hearts that followed a breath at 4 to 15.5 per minute, over 99 % of what is given here lay within 0.5
/// of it (0.1 root mean square).
pub fn breaths_per_min(peak_hz: Option<f64>, score: Option<f64>) -> Option<f64> {
    peak_hz
        .filter(|peak_hz| *peak_hz >= BREATH_FROM_HZ)
        .filter(|_| score.is_some_and(|score| Level::of(score) >= Level::Medium))
        .map(|peak_hz| 60.0 * peak_hz)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_breath_is_read_from_a_rhythm_that_leads_and_from_no_other() {
        for (score, peak_hz, breaths) in [
            (70.0, Some(26.0 / 256.0), Some(6.09375)),
            (40.0, Some(64.0 / 256.0), Some(15.0)),
            (39.0, Some(26.0 / 256.0), None),
            (70.0, Some(17.0 / 256.0), None),
            (70.0, Some(18.0 / 256.0), Some(4.21875)),
            (0.0, None, None),
        ] {
            let found = breaths_per_min(peak_hz, Some(score));
            assert_eq!(found, breaths, "{score} {peak_hz:?}");
        }
        assert_eq!(breaths_per_min(Some(0.1), None), None);
    }

    #[test]
    fn levels_begin_at_their_lower_bound() {
        for (score, level) in [
            (0.0, Level::Low),
            (39.999_999, Level::Low),
            (40.0, Level::Medium),
            (59.999_999, Level::Medium),
            (60.0, Level::High),
            (100.0, Level::High),
        ] {
            assert_eq!(Level::of(score), level, "{score}");
        }
    }
}
