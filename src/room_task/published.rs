//! What everybody may see, as it lies ready for sockets and REST, and the frames it is written into.
//! When it is renewed is the task's business.

use bytes::Bytes;
use serde::Serialize;

use crate::room::rows::Stamp;
use crate::room::view::{GroupView, SessionView, SourceView, StrapView, frame};
use crate::room::{Presence, Room};

/// What everybody may see, serialised once and shared by all sockets.
#[derive(Clone, Debug)]
pub struct Published {
    /// `session_state` of the session that ended last, phase `complete`.
    pub ended_frame: Option<Frame>,
    /// `session_state`.
    pub session_frame: Frame,
    /// `group_metrics_update`.
    pub group_frame: Frame,
    /// The grid point (monotonic) that a fresh `group_frame` is of; none where it is no news.
    pub group_due_ms: Option<i64>,
    /// `participant_update`; none until somebody came or went.
    pub people_frame: Option<Frame>,
    pub session: SessionView,
    pub group: GroupView,
    pub straps: Vec<StrapView>,
    pub sources: Vec<SourceView>,
    /// Hub time (Unix ms) = monotonic time + this.
    pub offset_ms: i64,
    /// Whether the hub's clock was known to be right when this session began.
    pub clock_synced: bool,
}

impl Published {
    /// A moment of the monotonic clock in hub time.
    pub fn stamp(&self, mono_ms: i64) -> Stamp {
        Stamp {
            mono_ms,
            wall_ms: mono_ms + self.offset_ms,
            synced: self.clock_synced,
        }
    }
}

/// One serialised WebSocket text frame; `version` grows when its content changed.
#[derive(Clone, Debug)]
pub struct Frame {
    pub version: u64,
    /// JSON, valid UTF-8.
    pub json: Bytes,
}

/// Body of `session_state`.
#[derive(Serialize)]
pub(super) struct OfSession<'a> {
    pub session: &'a SessionView,
}

/// Body of `participant_update`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OfPeople<'a> {
    session_id: &'a str,
    participants: u32,
    change: &'static str,
}

impl<'a> OfPeople<'a> {
    pub fn new(session: &'a SessionView, presence: Presence) -> Self {
        let change = match presence {
            Presence::Joined => "joined",
            Presence::Left => "left",
        };
        OfPeople {
            session_id: &session.id,
            participants: session.participants,
            change,
        }
    }
}

impl Frame {
    pub(super) fn of(version: u64, kind: &'static str, body: &impl Serialize) -> Self {
        Frame {
            version,
            json: frame(kind, body).into(),
        }
    }
}

pub(super) fn first_look(room: &Room, now_ms: i64) -> Published {
    let session = room.session_view(now_ms);
    let group = room.group_view(now_ms);
    Published {
        ended_frame: None,
        session_frame: Frame::of(1, "session_state", &OfSession { session: &session }),
        group_frame: Frame::of(1, "group_metrics_update", &group),
        group_due_ms: None,
        people_frame: None,
        session,
        group,
        straps: room.strap_views(now_ms),
        sources: room.source_views(),
        offset_ms: room.offset_ms(),
        clock_synced: room.clock_synced(),
    }
}
