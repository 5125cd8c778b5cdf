//! What comes when it happens: a session that ended, consents, erasures, numbers that will never come,
//! and what became of the hub itself.

use serde::{Deserialize, Serialize};

use super::Stream;
use super::pseudonym::Pseudonym;
use super::words::{Release, ResearchScope, SessionName, TextVersion, TimeKnown};

/// A session that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct SessionRecord {
    pub session: SessionName,
    /// Unix milliseconds.
    pub starts_at: i64,
    /// Unix milliseconds.
    pub ends_at: i64,
    /// Hub time minus monotonic time while it ran, ms.
    pub offset_ms: i64,
    pub clock: TimeKnown,
    /// The group was always too small for its figures to be told.
    pub suppressed: bool,
    /// Most people present at a grid point whose figures are told; null where there is none.
    pub participants: Option<u32>,
    /// Most hearts with a score at such a point.
    pub scored: Option<u32>,
    /// Number of such points.
    pub grid_points: u32,
}

/// A consent to research was given or withdrawn. After a withdrawal nothing of this person comes, and
/// what the hub still had waiting is emptied; of the groups that they were in, too: who hides a person's
/// scores must hide the group's figures of the same points, or the mean and the others' scores give them
/// back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ConsentRecord {
    pub pseudonym: Pseudonym,
    pub scope: ResearchScope,
    /// False: withdrawn.
    pub granted: bool,
    /// Version of the text that was shown; null where the phone named it in other than digits.
    pub text_version: Option<TextVersion>,
    /// Unix milliseconds.
    pub at: i64,
    pub clock: TimeKnown,
}

/// Somebody is to be erased, with all that was ever told of them, and with the group's figures of the
/// points at which they had a score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ErasureRecord {
    pub pseudonym: Pseudonym,
    pub scope: ErasureScope,
    /// Unix milliseconds.
    pub at: i64,
    pub clock: TimeKnown,
}

/// How much is erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ErasureScope {
    All,
}

/// Numbers that will never come: a cumulative acknowledgement may pass over them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct GapRecord {
    /// The epoch whose numbers these are. In another epoch this record says nothing.
    pub of_epoch: i64,
    pub why: GapWhy,
    /// In rising order; they do not touch.
    pub ranges: Vec<SeqRange>,
    /// Messages that were dropped, by stream. Empty where none was lost.
    pub lost: Vec<Lost>,
}

/// Why numbers are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum GapWhy {
    /// More waited than the disk may hold, or for longer than it may wait: the oldest were dropped.
    Thinned,
    /// A message could not be read any more where it waited, or was too large to be sent.
    Damaged,
    /// A new epoch begins in the middle of the numbers; what is missing was acknowledged before.
    NewEpoch,
}

/// Numbers from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct SeqRange {
    pub first: i64,
    pub last: i64,
}

/// Messages of a stream that were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Lost {
    pub stream: Stream,
    pub messages: u64,
}

/// Something happened to the hub.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct EventRecord {
    /// Unix milliseconds.
    pub at: i64,
    pub clock: TimeKnown,
    #[serde(flatten)]
    pub event: HubEvent,
}

/// What can happen to a hub.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(
    tag = "event",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
pub enum HubEvent {
    /// The program started.
    HubStarted {
        /// Its version.
        version: Release,
        /// The number of this start of the operating system.
        boot: i64,
    },
    /// The time became known after the start; moments told before it were by a wrong clock.
    ClockFixed {
        /// What the right time is ahead of the clock at the start, ms.
        by_ms: i64,
    },
    /// The database was damaged and set aside: what was not told yet is lost to the centre.
    DatabaseSetAside,
}
