//! What is seen of a stage: the shapes of the wire, as in `view`. Names are in them for facilitators only.

use serde::Serialize;
use utoipa::ToSchema;

use super::stage::{Anchor, Scene, State};

/// A stage as everybody on it sees it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotView {
    /// The room's running session, or the name of a named one.
    pub session_id: String,
    pub anchor: AnchorView,
    /// Turns per minute: breaths of the room's pacer, beats of a named session. A new one takes effect, in
    /// `anchor.rate`, when the next turn begins.
    pub tempo: f64,
    /// One turn, ms of position: `positionMs / turnMs` are the turns so far.
    pub turn_ms: i64,
    /// `rest`: everybody breathes as they like.
    pub scene: Scene,
    /// The leader's words to all; null for none.
    pub message: Option<String>,
    /// Since when they stand there, Unix ms of the hub's clock.
    pub message_at: Option<i64>,
    /// Connected people and facilitators who lead.
    pub leaders: u32,
    /// Connected people who do not.
    pub followers: u32,
    /// Only for facilitators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub names: Option<NamesView>,
}

/// Where the stage is. While it plays, the position at a time is
/// `positionMs + (time - at) * rate`; while it is paused, `positionMs`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnchorView {
    pub state: State,
    pub position_ms: f64,
    /// Ms of position per ms.
    pub rate: f64,
    /// Unix ms of the hub's clock.
    pub at: i64,
    /// Higher with every change of the stage.
    pub version: u64,
}

impl AnchorView {
    /// `offset_ms`: hub time minus monotonic time.
    pub fn of(anchor: Anchor, offset_ms: i64) -> Self {
        AnchorView {
            state: anchor.state,
            position_ms: anchor.position_ms,
            rate: anchor.rate,
            at: anchor.at_ms + offset_ms,
            version: anchor.version,
        }
    }
}

/// Who gave a name, in the order of coming; of very many the first hundred.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct NamesView {
    pub leaders: Vec<String>,
    pub followers: Vec<String>,
}

/// How many are there: `room_stats`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatsView {
    pub session_id: String,
    /// People present: in the room also those without an open line.
    pub participants: u32,
    pub leaders: u32,
    pub followers: u32,
}

/// A named session where the room's session would stand: it has no clock, no phase and no hearts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamedSessionView {
    pub id: String,
    /// When it was opened, Unix ms of the hub's clock.
    pub starts_at: i64,
    pub ends_at: Option<i64>,
    pub phase: Option<&'static str>,
    pub phase_ends_at: Option<i64>,
    pub participants: u32,
    pub scored: u32,
}

impl NamedSessionView {
    pub fn new(id: String, starts_at: i64, participants: u32) -> Self {
        NamedSessionView {
            id,
            starts_at,
            ends_at: None,
            phase: None,
            phase_ends_at: None,
            participants,
            scored: 0,
        }
    }
}
