//! The stages, as they lie ready for the sockets on them: each its own topic, so that a named session wakes
//! nobody else. When one is renewed is the task's business.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::watch;

use super::{Frame, PRESENCE_MS, PhoneLine, hold};
use crate::room::stage_view::SnapshotView;
use crate::room::{Anchor, ParticipantId, Room, StageChanges, StageId};

/// One stage, serialised once and shared by all sockets on it.
#[derive(Clone, Debug)]
pub struct Staged {
    pub anchor: Anchor,
    /// Hub time (Unix ms) = monotonic time + this.
    pub offset_ms: i64,
    /// `snapshot`, as everybody sees it; its version is the stage's own.
    pub snapshot: Frame,
    /// `snapshot` with names, for facilitators; its version is higher with every name too.
    pub lead_snapshot: Frame,
    /// `room_stats`; none until somebody came or went.
    pub stats: Option<Frame>,
    /// As everybody sees it.
    pub view: SnapshotView,
}

impl Staged {
    pub(super) fn of(room: &Room, id: &StageId, stats: Option<Frame>) -> Option<Staged> {
        let (mut view, seen) = room.snapshot_view(id, true)?;
        let lead_snapshot = Frame::of(seen, "snapshot", &view);
        view.names = None;
        Some(Staged {
            anchor: room.anchor(id)?,
            offset_ms: room.offset_ms(),
            snapshot: Frame::of(view.anchor.version, "snapshot", &view),
            lead_snapshot,
            stats,
            view,
        })
    }
}

/// Who looks at which stage.
pub(super) struct Topics(BTreeMap<StageId, Topic>);

/// Who looks at one stage.
struct Topic {
    sender: watch::Sender<Arc<Staged>>,
    /// Of a named session: a newer socket of the same person replaces the older.
    lines: HashMap<ParticipantId, PhoneLine>,
    /// Somebody came or went, and it is not told yet.
    peopled: bool,
    told_ms: i64,
}

impl Topics {
    /// With the room's own, and where that is seen.
    pub fn new(room: &Room, now_ms: i64) -> (Self, watch::Receiver<Arc<Staged>>) {
        let topic = Topic::new(room, &StageId::Room, now_ms);
        let topic = topic.expect("the room always has its stage");
        let seen = topic.sender.subscribe();
        (Topics(BTreeMap::from([(StageId::Room, topic)])), seen)
    }

    pub fn subscribe(&self, id: &StageId) -> Option<watch::Receiver<Arc<Staged>>> {
        self.0.get(id).map(|topic| topic.sender.subscribe())
    }

    /// Somebody came into the room or went.
    pub fn room_is_peopled(&mut self) {
        if let Some(topic) = self.0.get_mut(&StageId::Room) {
            topic.peopled = true;
        }
    }

    /// When somebody is to be told who is there.
    pub fn due_ms(&self) -> i64 {
        let due = self.0.values().filter_map(Topic::due_ms).min();
        due.unwrap_or(i64::MAX)
    }

    /// The line of somebody in a named session; an older socket of theirs is closed.
    pub fn hold(&mut self, id: &StageId, participant: ParticipantId, line: PhoneLine) {
        if let Some(topic) = self.0.get_mut(id) {
            hold(&mut topic.lines, participant, line);
        }
    }

    /// A socket that is in no named session any more.
    pub fn let_go(&mut self, socket: u64) {
        for topic in self.0.values_mut() {
            topic.lines.retain(|_, line| line.socket != socket);
        }
    }

    /// What is new on stages, to those who are on them. `version` is for who is there.
    pub fn publish(&mut self, room: &Room, news: StageChanges, version: u64, now_ms: i64) {
        for id in news.members.iter().chain(&news.shown) {
            if !self.0.contains_key(id)
                && let Some(topic) = Topic::new(room, id, now_ms)
            {
                self.0.insert(id.clone(), topic);
            }
        }
        for id in &news.members {
            if let Some(topic) = self.0.get_mut(id) {
                topic.peopled = true;
            }
        }
        // One that was freed goes: who still looked on sees that it ended.
        self.0.retain(|id, topic| {
            let due = topic.due_ms().is_some_and(|due_ms| due_ms <= now_ms);
            let renewed = due || news.shown.contains(id);
            !renewed || topic.publish(room, id, version, now_ms)
        });
    }
}

impl Topic {
    fn new(room: &Room, id: &StageId, now_ms: i64) -> Option<Self> {
        Some(Topic {
            sender: watch::Sender::new(Arc::new(Staged::of(room, id, None)?)),
            lines: HashMap::new(),
            peopled: false,
            told_ms: now_ms - PRESENCE_MS,
        })
    }

    /// When it is to be told who is there; not too often.
    fn due_ms(&self) -> Option<i64> {
        self.peopled.then_some(self.told_ms + PRESENCE_MS)
    }

    /// Renews it; false when the stage is no more.
    fn publish(&mut self, room: &Room, id: &StageId, version: u64, now_ms: i64) -> bool {
        let mut stats = self.sender.borrow().stats.clone();
        if self.due_ms().is_some_and(|due_ms| due_ms <= now_ms) {
            self.peopled = false;
            self.told_ms = now_ms;
            let view = room.stats_view(id);
            stats = view.map(|view| Frame::of(version, "room_stats", &view));
        }
        let staged = Staged::of(room, id, stats);
        let there = staged.is_some();
        if let Some(staged) = staged {
            self.sender.send_replace(Arc::new(staged));
        }
        there
    }
}
