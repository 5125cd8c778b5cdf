//! All stages of the hub: the room's, which is always there, and those of named sessions, which are opened by
//! joining them and freed when everybody has gone. What a stage plays is in `stage`, who leads in `roles`, what is asked of them in `stage_commands`.
//!
//! A named session has a stage and nothing else: who is there takes no part in the room, and nothing of them
//! is kept but the stage, so that a restart does not end it.

use std::collections::{BTreeMap, BTreeSet};

use super::people::ABSENT_MS;
use super::roles::{Lead, Role, Roles};
use super::rows::{Row, StageRow, Stamp};
use super::stage::{Anchor, Kind, Stage};
use super::stage_view::{AnchorView, NamesView, SnapshotView, StatsView};
use super::{ParticipantId, Room};
use crate::config::{LeaderLeaves, MayLead};

/// Changes are kept together, at most this often, ms.
const KEEP_MS: i64 = 1_000;

/// Which stage.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StageId {
    Room,
    Named(String),
}

/// What is configured about stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageRules {
    pub room: MayLead,
    pub named: MayLead,
    pub leaves: LeaderLeaves,
    /// Named sessions at the same time.
    pub named_max: u32,
}

impl Default for StageRules {
    fn default() -> Self {
        StageRules {
            room: MayLead::Facilitator,
            named: MayLead::First,
            leaves: LeaderLeaves::PassOn,
            named_max: 100,
        }
    }
}

impl StageRules {
    pub(super) fn of(&self, id: &StageId) -> Lead {
        let may = match id {
            StageId::Room => self.room,
            StageId::Named(_) => self.named,
        };
        Lead {
            may,
            leaves: self.leaves,
        }
    }
}

/// What changed on stages since it was last taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StageChanges {
    /// The stage itself, which all on it are to see; also one that was freed.
    pub shown: BTreeSet<StageId>,
    /// Who is there.
    pub members: BTreeSet<StageId>,
}

/// One stage and who is on it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub stage: Stage,
    pub roles: Roles,
    /// Higher with every change that a facilitator sees.
    seen: u64,
    /// Hub time.
    pub opened_at_ms: i64,
    /// Nobody has been here since; monotonic.
    pub empty_since_ms: Option<i64>,
    /// Changed and not handed over to be kept.
    unkept: bool,
}

/// Who is on a stage, in short.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Lineup {
    pub leaders: u32,
    pub followers: u32,
    leader: Option<ParticipantId>,
}

impl Place {
    fn new(stage: Stage, roles: Roles, opened_at_ms: i64, now_ms: i64) -> Self {
        Place {
            stage,
            roles,
            seen: 1,
            opened_at_ms,
            empty_since_ms: Some(now_ms),
            unkept: true,
        }
    }
}

/// The stages.
#[derive(Clone, Debug)]
pub(super) struct Stages {
    pub room: Place,
    pub named: BTreeMap<String, Place>,
    /// Whose socket is in which named session.
    pub by_socket: BTreeMap<u64, String>,
    changes: StageChanges,
    /// Named sessions that were freed and may still be kept.
    freed: BTreeSet<String>,
    next_keep_ms: i64,
}

impl Stages {
    /// As a restart finds them. After everybody went the room's stage begins anew, and of named ones
    /// nothing is left; else a named one waits two minutes for somebody to come back.
    pub fn remembered(
        rows: Vec<StageRow>,
        session_id: &str,
        start_ms: i64,
        everybody_went: bool,
        now: Stamp,
    ) -> Self {
        let offset_ms = now.wall_ms - now.mono_ms;
        let mut stages = Stages {
            room: Place::new(
                Stage::new(Kind::PACER, start_ms),
                Roles::default(),
                start_ms + offset_ms,
                now.mono_ms,
            ),
            named: BTreeMap::new(),
            by_socket: BTreeMap::new(),
            changes: StageChanges::default(),
            freed: BTreeSet::new(),
            next_keep_ms: now.mono_ms,
        };
        for row in rows {
            let kind = match row.id {
                StageId::Room => Kind::PACER,
                StageId::Named(_) => Kind::NAMED,
            };
            let anchor = Anchor {
                state: row.state,
                position_ms: row.position_ms,
                rate: row.rate,
                at_ms: row.at.mono_ms,
                version: row.version,
            };
            let mut stage =
                Stage::remembered(kind, anchor, row.tempo, row.scene, row.message, now.mono_ms);
            let roles = Roles::remembered(row.leader, now.mono_ms);
            match row.id {
                StageId::Room if everybody_went => {
                    // What phones saw last must not look newer than what they see now.
                    stages.room.stage.raise_version_above(anchor.version);
                }
                StageId::Room => {
                    if row.session_id != session_id {
                        stage.begin_session(start_ms);
                    }
                    let unkept = row.session_id != session_id;
                    stages.room.stage = stage;
                    stages.room.roles = roles;
                    stages.room.unkept = unkept;
                }
                StageId::Named(name) if everybody_went => {
                    stages.freed.insert(name);
                }
                StageId::Named(name) => {
                    let mut place = Place::new(stage, roles, row.opened_at_ms, now.mono_ms);
                    place.unkept = false;
                    stages.named.insert(name, place);
                }
            }
        }
        stages
    }

    pub(super) fn get(&self, id: &StageId) -> Option<&Place> {
        match id {
            StageId::Room => Some(&self.room),
            StageId::Named(name) => self.named.get(name),
        }
    }

    pub(super) fn get_mut(&mut self, id: &StageId) -> Option<&mut Place> {
        match id {
            StageId::Room => Some(&mut self.room),
            StageId::Named(name) => self.named.get_mut(name),
        }
    }

    /// On which stage a socket is.
    pub(super) fn of_socket(&self, socket: u64) -> StageId {
        match self.by_socket.get(&socket) {
            Some(name) => StageId::Named(name.clone()),
            None => StageId::Room,
        }
    }

    /// The stage changed.
    pub(super) fn shown(&mut self, id: &StageId) {
        if let Some(place) = self.get_mut(id) {
            place.seen += 1;
            place.unkept = true;
        }
        self.changes.shown.insert(id.clone());
    }

    /// Somebody came, went, or took another role. A change of those who lead is one of the stage.
    pub(super) fn peopled(&mut self, id: &StageId, before: Lineup, now_ms: i64) {
        let after = self.lineup(id);
        let Some(place) = self.get_mut(id) else {
            return;
        };
        place.seen += 1;
        place.empty_since_ms = match place.roles.is_empty() {
            true => place.empty_since_ms.or(Some(now_ms)),
            false => None,
        };
        if (after.leaders, after.leader) != (before.leaders, before.leader) {
            place.stage.raise_version();
            self.shown(id);
        }
        self.changes.members.insert(id.clone());
    }

    pub(super) fn lineup(&self, id: &StageId) -> Lineup {
        self.get(id).map_or_else(Lineup::default, |place| {
            let (leaders, followers) = place.roles.counts();
            Lineup {
                leaders,
                followers,
                leader: place.roles.leader(),
            }
        })
    }

    pub(super) fn ids(&self) -> Vec<StageId> {
        let named = self.named.keys().cloned().map(StageId::Named);
        std::iter::once(StageId::Room).chain(named).collect()
    }

    pub(super) fn open(&mut self, name: &str, now_ms: i64, offset_ms: i64) {
        let stage = Stage::waiting(Kind::NAMED, now_ms);
        let place = Place::new(stage, Roles::default(), now_ms + offset_ms, now_ms);
        self.freed.remove(name);
        self.named.insert(name.to_owned(), place);
    }

    pub(super) fn free(&mut self, name: &str) {
        if self.named.remove(name).is_some() {
            self.by_socket.retain(|_, of| of != name);
            self.freed.insert(name.to_owned());
            self.changes.shown.insert(StageId::Named(name.to_owned()));
        }
    }

    /// When something is due that can be told in advance.
    pub fn due_ms(&self) -> i64 {
        let places = std::iter::once(&self.room).chain(self.named.values());
        let due = places.flat_map(|place| [place.stage.due_ms(), place.roles.due_ms()]);
        due.flatten().min().unwrap_or(i64::MAX)
    }
}

impl Room {
    /// What changed on stages.
    pub fn take_stage_changes(&mut self) -> StageChanges {
        std::mem::take(&mut self.stages.changes)
    }

    /// Named sessions that are open.
    pub fn named_sessions(&self) -> usize {
        self.stages.named.len()
    }

    /// A stage as it is seen, and the number that is higher with everything a facilitator sees.
    pub fn snapshot_view(&self, id: &StageId, with_names: bool) -> Option<(SnapshotView, u64)> {
        let place = self.stages.get(id)?;
        let stage = &place.stage;
        let (leaders, followers) = place.roles.counts();
        let names = with_names.then(|| NamesView {
            leaders: place.roles.names(Role::Leader),
            followers: place.roles.names(Role::Follower),
        });
        let message = stage.message();
        let view = SnapshotView {
            session_id: self.stage_session(id),
            anchor: AnchorView::of(stage.anchor(), self.offset_ms()),
            tempo: stage.tempo(),
            // Both kinds have whole turns.
            turn_ms: stage.kind().turn_ms as i64,
            scene: stage.scene(),
            message: message.map(|message| message.text.clone()),
            message_at: message.map(|message| message.at_ms),
            leaders,
            followers,
            names,
        };
        Some((view, place.seen))
    }

    pub fn anchor(&self, id: &StageId) -> Option<Anchor> {
        self.stages.get(id).map(|place| place.stage.anchor())
    }

    /// How many are on a stage.
    pub fn stats_view(&self, id: &StageId) -> Option<StatsView> {
        let (leaders, followers) = self.stages.get(id)?.roles.counts();
        let participants = match id {
            StageId::Room => self.people.present(),
            StageId::Named(_) => leaders + followers,
        };
        Some(StatsView {
            session_id: self.stage_session(id),
            participants,
            leaders,
            followers,
        })
    }

    fn stage_session(&self, id: &StageId) -> String {
        match id {
            StageId::Room => self.clock.session().id.clone(),
            StageId::Named(name) => name.clone(),
        }
    }

    /// New rules are in force.
    pub(super) fn obey_stage_rules(&mut self, now_ms: i64) {
        for id in self.stages.ids() {
            let lead = self.settings.stage.of(&id);
            let before = self.stages.lineup(&id);
            if let Some(place) = self.stages.get_mut(&id) {
                place.roles.obey(lead);
                if self.stages.lineup(&id) != before {
                    self.stages.peopled(&id, before, now_ms);
                }
            }
        }
    }

    /// A new session of the room began: its stage has a new name, and perhaps the hub a new time.
    pub(super) fn begin_session_on_stages(&mut self, now_ms: i64) {
        let at_ms = self.clock.session().start_mono_ms.min(now_ms);
        self.stages.room.stage.begin_session(at_ms);
        self.stages.shown(&StageId::Room);
        // All times are told anew, in case the hub's own was set right.
        for name in self.stages.named.keys().cloned().collect::<Vec<_>>() {
            self.stages.changes.shown.insert(StageId::Named(name));
        }
    }

    /// What time alone brings on stages.
    pub(super) fn tick_stages(&mut self, now_ms: i64) {
        if self.stages.due_ms() <= now_ms {
            for id in self.stages.ids() {
                let lead = self.settings.stage.of(&id);
                let before = self.stages.lineup(&id);
                let Some(place) = self.stages.get_mut(&id) else {
                    continue;
                };
                let turned = place.stage.tick(now_ms);
                let passed = place.roles.tick(lead, now_ms);
                if turned || passed {
                    self.stages.shown(&id);
                }
                if passed {
                    self.stages.peopled(&id, before, now_ms);
                }
            }
        }
        let over = |place: &Place| {
            place
                .empty_since_ms
                .is_some_and(|since_ms| now_ms - since_ms >= ABSENT_MS)
        };
        let named = self.stages.named.iter();
        let over: Vec<_> = named
            .filter(|(_, place)| over(place))
            .map(|(name, _)| name.clone())
            .collect();
        for name in over {
            self.stages.free(&name);
        }
        if now_ms >= self.stages.next_keep_ms {
            self.keep_stages(now_ms);
        }
    }

    /// Hands over what changed, to be kept.
    pub(super) fn keep_stages(&mut self, now_ms: i64) {
        let offset_ms = self.offset_ms();
        let session_id = self.clock.session().id.clone();
        let synced = self.clock_synced();
        let mut rows = Vec::new();
        let named = self.stages.named.iter_mut();
        let named = named.map(|(name, place)| (StageId::Named(name.clone()), place));
        for (id, place) in std::iter::once((StageId::Room, &mut self.stages.room)).chain(named) {
            if !std::mem::take(&mut place.unkept) {
                continue;
            }
            let anchor = place.stage.anchor();
            rows.push(Row::Stage(StageRow {
                id,
                session_id: session_id.clone(),
                opened_at_ms: place.opened_at_ms,
                state: anchor.state,
                position_ms: anchor.position_ms,
                rate: anchor.rate,
                at: Stamp {
                    mono_ms: anchor.at_ms,
                    wall_ms: anchor.at_ms + offset_ms,
                    synced,
                },
                version: anchor.version,
                tempo: place.stage.tempo(),
                scene: place.stage.scene(),
                message: place.stage.message().cloned(),
                leader: place.roles.leader(),
            }));
        }
        let freed = std::mem::take(&mut self.stages.freed);
        rows.extend(freed.into_iter().map(|name| Row::StageFreed { name }));
        if !rows.is_empty() {
            self.stages.next_keep_ms = now_ms + KEEP_MS;
            self.facts.append(&mut rows);
        }
    }
}
