//! The one task that owns the `Room`, and the handle through which everybody else asks it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use crate::room::command::{Command, Refusal, Reply};
use crate::room::view::{GroupView, SessionView, SourceView, StrapView};

/// What everybody may see, serialised once and shared by all sockets.
#[derive(Clone, Debug)]
pub struct Published {
    /// `session_state`.
    pub session_frame: Frame,
    /// `group_metrics_update`.
    pub group_frame: Frame,
    /// `participant_update`.
    pub people_frame: Frame,
    pub session: SessionView,
    pub group: GroupView,
    pub straps: Vec<StrapView>,
    pub sources: Vec<SourceView>,
    /// Hub time (Unix ms) = monotonic time + this.
    pub offset_ms: i64,
    /// Whether the hub's clock was known to be right when this session began.
    pub clock_synced: bool,
}

/// One serialised WebSocket text frame; `version` grows when its content changed.
#[derive(Clone, Debug)]
pub struct Frame {
    pub version: u64,
    /// JSON, valid UTF-8.
    pub json: Bytes,
}

/// The line to one phone: small and bounded; what does not fit is dropped and counted.
#[derive(Clone, Debug)]
pub struct PhoneLine {
    /// Unique per socket in this process.
    pub socket: u64,
    pub outbox: mpsc::Sender<ToPhone>,
}

/// What is for one phone alone.
#[derive(Clone, Debug)]
pub enum ToPhone {
    /// A text frame, JSON.
    Text(Bytes),
    Close { code: u16, reason: &'static str },
}

/// Asks the room. Cheap to clone.
#[derive(Clone)]
pub struct RoomHandle {
    published: watch::Receiver<Arc<Published>>,
}

impl RoomHandle {
    /// Carries out a command and returns once it is published (and stored, where that is promised).
    /// A join with a `line` makes that socket the participant's; an older socket is closed (4001).
    pub async fn apply(&self, _command: Command, _line: Option<PhoneLine>) -> Result<Reply, Refusal> {
        unimplemented!()
    }

    /// The socket is gone; its participant stays for two minutes.
    pub fn detach(&self, _socket: u64) {}

    /// What everybody may see; the newest only.
    pub fn published(&self) -> watch::Receiver<Arc<Published>> {
        self.published.clone()
    }

    /// Whether the room task answers; waits at most as long as the caller lets it.
    pub async fn ping(&self) -> bool {
        true
    }
}
