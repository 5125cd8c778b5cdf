//! What comes every minute, in columns: the entries of one place in all columns of a series belong
//! together. A column in which there is nothing to say is left out.
//!
//! Rows are sorted into minutes by the hub's monotonic clock and by their arrival, so that nothing is
//! told twice and nothing is forgotten; one that arrived late comes with a later minute.

use serde::{Deserialize, Serialize};

use super::pseudonym::Pseudonym;
use super::words::{Mark, Num, Origin, Reason, SessionName, Settings, SignalStatus, TimeKnown};

/// The minute of which a record tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Minute {
    /// Beginning of the minute, Unix milliseconds.
    pub from: i64,
    /// End of the minute, Unix milliseconds.
    pub until: i64,
    /// Whether the moments of this record are right.
    pub clock: TimeKnown,
}

/// R-R intervals of people who consented, exactly as they were placed on arrival.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RrRecord {
    #[serde(flatten)]
    pub minute: Minute,
    pub series: Vec<RrSeries>,
}

/// The intervals of one heart in the order of their arrival.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RrSeries {
    pub pseudonym: Pseudonym,
    pub origin: Origin,
    /// Tells two straps of one person apart: counted up for each person, from 1; 0 is the phone. It
    /// says nothing about which strap it is.
    pub source: u32,
    /// End of the first interval, to the millisecond, Unix milliseconds.
    pub t0: i64,
    /// End of each interval, ms after `t0`. Left out, as almost always: each ends, to the millisecond,
    /// where the one before it ended, plus its own gap and its own length if it is on the tachogram.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub t: Vec<i64>,
    /// Length of each interval, exact, ms.
    pub rr: Vec<Num>,
    /// Time that was lost before each interval, exact, ms. Left out: none was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gap: Vec<Num>,
    /// What became of each interval. Left out: all were accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mark: Vec<Mark>,
    /// Places (from 0) where a heart begins anew: no window reaches back beyond such an interval.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub begins: Vec<u32>,
}

impl RrSeries {
    /// End of each interval, to the millisecond, Unix milliseconds.
    pub fn ends(&self) -> Vec<i64> {
        if self.t.len() == self.rr.len() {
            return self.t.iter().map(|t| self.t0 + t).collect();
        }
        let end = |t: f64| self.t0 + t.round() as i64;
        self.by_the_chain().map(end).collect()
    }

    /// Leaves `t` out where the chain of intervals says it all.
    pub fn leave_out_t(&mut self) {
        let told = self.t.iter().zip(self.by_the_chain());
        // Both ends of a stretch were rounded.
        if told
            .into_iter()
            .all(|(t, chain)| (*t as f64 - chain).abs() <= 1.0)
        {
            self.t.clear();
        }
    }

    /// Ends of the intervals in ms after the first.
    fn by_the_chain(&self) -> impl Iterator<Item = f64> {
        let gap = |at: usize| self.gap.get(at).map_or(0.0, |gap| gap.get());
        let mut end = 0.0;
        self.rr.iter().enumerate().map(move |(at, rr)| {
            let is_on = self.mark.get(at).is_none_or(|mark| mark.on_tachogram());
            if at > 0 && is_on {
                end += gap(at) + rr.get();
            }
            end
        })
    }
}

/// Scores and heart-rate variability of people who consented, at the grid points every 5 s.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct CoherenceRecord {
    #[serde(flatten)]
    pub minute: Minute,
    pub series: Vec<CoherenceSeries>,
}

/// The evaluations of one heart in one session. All figures are rounded; they can be computed again
/// in full from the R-R.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct CoherenceSeries {
    pub pseudonym: Pseudonym,
    pub origin: Origin,
    /// As in the stream `rr`.
    pub source: u32,
    pub session: SessionName,
    /// Version of the score's definition. Left out: the phone computed the score by its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<u32>,
    /// Names the constants of that version: the first 16 hexadecimal digits of the SHA-256 of their text.
    /// Left out: the phone computed the score, or the hub did before it kept them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Settings>,
    /// Grid points, Unix milliseconds.
    pub at: Vec<i64>,
    /// Coherence, 0 to 100, two decimals; null where there is a reason.
    pub score: Vec<Option<Num>>,
    /// Standard error of the score, points, two decimals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub standard_error: Vec<Option<Num>>,
    /// Why there is no score. Left out: there always is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reason: Vec<Option<Reason>>,
    /// Status of the signal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<Option<SignalStatus>>,
    /// End of the last R-R interval that went into it, Unix milliseconds; it is found by it, to the
    /// millisecond, in the stream `rr`. The window ends there and begins 64 s before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_rr_at: Vec<Option<i64>>,
    /// Number of beats in the window.
    pub beats: Vec<u32>,
    /// Share of the window covered by intervals, 0 to 1, three decimals.
    pub coverage: Vec<Num>,
    /// Share of repaired beats, per cent, one decimal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artefact_pct: Vec<Option<Num>>,
    /// Age of the newest beat, ms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub age_ms: Vec<Option<i64>>,
    /// Frequency of the coherence peak, Hz, four decimals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peak_hz: Vec<Option<Num>>,
    /// Mean heart rate, beats per minute, one decimal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mean_hr_bpm: Vec<Option<Num>>,
    /// Standard deviation of the beats, ms, one decimal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sdnn_ms: Vec<Option<Num>>,
    /// Root mean square of successive differences, ms, one decimal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rmssd_ms: Vec<Option<Num>>,
    /// Share of successive differences above 50 ms, per cent, one decimal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pnn50_pct: Vec<Option<Num>>,
    /// Power of the low frequencies, ms squared, one decimal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lf_ms2: Vec<Option<Num>>,
    /// Power of the high frequencies, ms squared, one decimal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hf_ms2: Vec<Option<Num>>,
    /// Low over high frequencies, without unit, two decimals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lf_hf: Vec<Option<Num>>,
    /// Power of all frequencies, ms squared, one decimal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub total_ms2: Vec<Option<Num>>,
}

/// The group's figures at the grid points every 5 s.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct GroupRecord {
    #[serde(flatten)]
    pub minute: Minute,
    pub series: Vec<GroupSeries>,
}

/// The group in one session. Where a point is suppressed, because its figures would tell of a single
/// person, all its figures and counts are null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct GroupSeries {
    pub session: SessionName,
    /// Grid points, Unix milliseconds.
    pub at: Vec<i64>,
    /// Whether nothing is said of a point. Left out: of all points something is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suppressed: Vec<bool>,
    /// Mean of the scores, 0 to 100, two decimals.
    pub average: Vec<Option<Num>>,
    /// Hearts with a score below 40; null where too few hearts have one to be told apart by level.
    pub low: Vec<Option<u32>>,
    /// Hearts with a score from 40 to below 60.
    pub medium: Vec<Option<u32>>,
    /// Hearts with a score of 60 or more.
    pub high: Vec<Option<u32>>,
    /// People present.
    pub participants: Vec<Option<u32>>,
    /// Hearts with a score.
    pub scored: Vec<Option<u32>>,
    /// How much the hearts move together: mean agreement of their slow rhythms in phase over all pairs, 0
    /// to 100, two decimals; 0 by chance. Null where too few hearts could be compared. Left out: always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub synchrony: Vec<Option<Num>>,
    /// What the same hearts reach by chance: 95 times in 100 their synchrony stays at or below it; 0 to
    /// 100, two decimals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chance_high: Vec<Option<Num>>,
}

impl GroupSeries {
    /// Says nothing more of any point.
    pub fn suppress(&mut self) {
        self.suppressed = vec![true; self.at.len()];
        for figures in [
            &mut self.average,
            &mut self.synchrony,
            &mut self.chance_high,
        ] {
            figures.fill(None);
        }
        for counts in [
            &mut self.low,
            &mut self.medium,
            &mut self.high,
            &mut self.participants,
            &mut self.scored,
        ] {
            counts.fill(None);
        }
    }
}
