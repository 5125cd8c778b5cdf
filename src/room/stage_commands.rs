//! What is asked of stages: to come and go, to take a role, to change what is played. Each is carried out whole or
//! refused, as in `commands`.

use super::command::{Join, Refusal, RefusalCode, Reply};
use super::commands::Outcome;
use super::roles::{Comer, Role};
use super::session::BOOT_TAG_CHARS;
use super::stage::StageWish;
use super::stage_view::NamedSessionView;
use super::stages::Lineup;
use super::{ParticipantId, Room, StageId};
use crate::config::MayLead;

impl Room {
    /// Opens a named session, or comes into one that is open.
    pub(super) fn join_named(
        &mut self,
        name: String,
        join: Join,
        now_ms: i64,
    ) -> Result<Outcome, Refusal> {
        if !is_name(&name) {
            return Err(Refusal::new(
                RefusalCode::UnknownSession,
                format!(
                    "Session {name:?} is not running here. Leave sessionId out to join the room's own; \
                     a session of another name is called by small letters, digits and hyphens."
                ),
            ));
        }
        let Some(socket) = join.socket else {
            return Err(Refusal::new(
                RefusalCode::UnknownSession,
                "No such session runs here. A named session is opened and joined over the WebSocket at /ws.",
            ));
        };
        if join.strap.is_some() || join.consent.is_some() {
            return Err(Refusal::new(
                RefusalCode::BadValue,
                "A named session has a stage and no hearts: `strap` and `consent` belong to the room's. \
                 Leave sessionId out to join that.",
            ));
        }
        self.named_place(&name, now_ms)?;
        let id = StageId::Named(name.clone());
        let place = self.stages.get(&id);
        let full = place.is_some_and(|place| {
            place.roles.len() >= self.settings.max_participants as usize
                && !place.roles.has(socket)
                && place.roles.socket_of(join.participant).is_none()
        });
        if full {
            return Err(Refusal::new(
                RefusalCode::RoomFull,
                "This session is full. Try again when somebody has left.",
            ));
        }
        let known = self.people.get(join.participant);
        let comer = Comer {
            socket,
            participant: Some(join.participant),
            name: join
                .name
                .or(known.and_then(|person| person.row.name.clone())),
            facilitator: join.facilitator,
            wants: join.role,
        };
        if self.stages.of_socket(socket) != id {
            self.go_off_stage(socket, false, now_ms);
        }
        let role = self.enter(&id, comer, now_ms);
        let Lineup {
            leaders, followers, ..
        } = self.stages.lineup(&id);
        let opened_at_ms = self.stages.get(&id).map_or(0, |place| place.opened_at_ms);
        Ok(Outcome {
            reply: Reply::JoinedNamed {
                participant: join.participant,
                session: NamedSessionView::new(name, opened_at_ms, leaders + followers),
                role,
            },
            durable: Vec::new(),
            bereft: None,
            joined: Some((id, join.participant)),
        })
    }

    /// Makes sure that a named session is there. Where all places are taken, the one goes in which nobody has
    /// been for longest.
    fn named_place(&mut self, name: &str, now_ms: i64) -> Result<(), Refusal> {
        if self.stages.named.contains_key(name) {
            return Ok(());
        }
        if self.stages.named.len() >= self.settings.stage.named_max as usize {
            let empty = self.stages.named.iter();
            let empty =
                empty.filter_map(|(name, place)| Some((place.empty_since_ms?, name.clone())));
            let Some((_, longest)) = empty.min() else {
                return Err(Refusal::new(
                    RefusalCode::SessionsFull,
                    "The hub holds no more named sessions. Try again when one has ended.",
                ));
            };
            self.stages.free(&longest);
        }
        self.stages
            .open(name, now_ms, self.clock.session().offset_ms);
        Ok(())
    }

    /// Somebody comes onto a stage over a socket.
    pub(super) fn enter(&mut self, id: &StageId, comer: Comer, now_ms: i64) -> Role {
        let lead = self.settings.stage.of(id);
        let before = self.stages.lineup(id);
        let Some(place) = self.stages.get_mut(id) else {
            return Role::Follower;
        };
        if let Some(older) = comer.participant.and_then(|id| place.roles.socket_of(id)) {
            self.stages.by_socket.remove(&older);
        }
        if let StageId::Named(name) = id {
            self.stages.by_socket.insert(comer.socket, name.clone());
        }
        let Some(place) = self.stages.get_mut(id) else {
            return Role::Follower;
        };
        let role = place.roles.enter(comer, lead);
        self.stages.peopled(id, before, now_ms);
        role
    }

    /// A socket has proved to be a facilitator's.
    pub(super) fn facilitates(&mut self, socket: u64, now_ms: i64) {
        let id = self.stages.of_socket(socket);
        let lead = self.settings.stage.of(&id);
        if lead.may == MayLead::Facilitator {
            let comer = Comer {
                socket,
                facilitator: true,
                wants: Some(Role::Leader),
                ..self.on_stage(&id, socket)
            };
            self.enter(&id, comer, now_ms);
        }
    }

    /// Who is on a stage over this socket already.
    fn on_stage(&self, id: &StageId, socket: u64) -> Comer {
        let place = self.stages.get(id);
        Comer {
            participant: place.and_then(|place| place.roles.participant(socket)),
            ..Comer::default()
        }
    }

    /// A role is taken or laid down.
    pub(super) fn set_role(
        &mut self,
        socket: u64,
        facilitator: bool,
        role: Role,
        now_ms: i64,
    ) -> Result<Outcome, Refusal> {
        let id = self.stages.of_socket(socket);
        let lead = self.settings.stage.of(&id);
        self.may_ask(&id, now_ms)?;
        let comer = Comer {
            socket,
            facilitator,
            wants: Some(role),
            ..Comer::default()
        };
        let before = self.stages.lineup(&id);
        let known = self
            .stages
            .get(&id)
            .is_some_and(|place| place.roles.has(socket));
        if !known && facilitator && role == Role::Leader {
            self.enter(&id, comer, now_ms);
        } else if let Some(place) = self.stages.get_mut(&id)
            && place.roles.set(socket, facilitator, role, lead)?
        {
            self.stages.peopled(&id, before, now_ms);
        }
        self.seen(&id, facilitator)
    }

    /// A leader changes the stage.
    pub(super) fn change_stage(
        &mut self,
        socket: u64,
        facilitator: bool,
        wish: StageWish,
        now_ms: i64,
    ) -> Result<Outcome, Refusal> {
        let id = self.stages.of_socket(socket);
        let lead = self.settings.stage.of(&id);
        let offset_ms = self.offset_ms();
        let before = self.stages.lineup(&id);
        if let Some(place) = self.stages.get_mut(&id)
            && let Err(no) = place.roles.may_change(socket, facilitator, lead)
        {
            // A proof that has run out takes the lead away.
            if self.stages.lineup(&id) != before {
                self.stages.peopled(&id, before, now_ms);
            }
            return Err(no);
        }
        self.may_ask(&id, now_ms)?;
        if let Some(place) = self.stages.get_mut(&id)
            && place.stage.change(wish, now_ms, offset_ms)?
        {
            self.stages.shown(&id);
        }
        self.seen(&id, facilitator)
    }

    fn may_ask(&mut self, id: &StageId, now_ms: i64) -> Result<(), Refusal> {
        let place = self.stages.get_mut(id);
        if place.is_none_or(|place| place.stage.may_change(now_ms)) {
            return Ok(());
        }
        Err(Refusal::new(
            RefusalCode::RateLimited,
            "The stage changes ten times a second at most. Send the last change only.",
        ))
    }

    fn seen(&self, id: &StageId, facilitator: bool) -> Result<Outcome, Refusal> {
        let (snapshot, seen) = self.snapshot_view(id, facilitator).ok_or_else(|| {
            Refusal::new(
                RefusalCode::UnknownSession,
                "This session has ended. Join it anew.",
            )
        })?;
        Ok(Outcome::of(Reply::Stage { snapshot, seen }))
    }

    /// Somebody leaves the session over this socket: a named one, or the room's, on whose stage a facilitator
    /// stays.
    pub(super) fn leave_stage(&mut self, socket: u64, now_ms: i64) {
        let id = self.stages.of_socket(socket);
        if id != StageId::Room {
            return self.go_off_stage(socket, false, now_ms);
        }
        let lead = self.settings.stage.of(&id);
        let before = self.stages.lineup(&id);
        if self.stages.room.roles.leave(socket, lead, now_ms) {
            self.stages.peopled(&id, before, now_ms);
        }
    }

    /// The socket comes into the room: out of a named session, if it is in one.
    pub(super) fn leave_named(&mut self, socket: u64, now_ms: i64) {
        if self.stages.of_socket(socket) != StageId::Room {
            self.go_off_stage(socket, false, now_ms);
        }
    }

    /// The socket goes, by a goodbye or because it is gone (`broke`). A goodbye frees a named session that
    /// is empty then; else it waits for somebody to come back.
    pub(super) fn go_off_stage(&mut self, socket: u64, broke: bool, now_ms: i64) {
        let id = self.stages.of_socket(socket);
        let lead = self.settings.stage.of(&id);
        let before = self.stages.lineup(&id);
        self.stages.by_socket.remove(&socket);
        let Some(place) = self.stages.get_mut(&id) else {
            return;
        };
        if !place.roles.go(socket, broke, lead, now_ms) {
            return;
        }
        let empty = place.roles.is_empty();
        self.stages.peopled(&id, before, now_ms);
        if let StageId::Named(name) = &id
            && empty
            && !broke
        {
            self.stages.free(name);
        }
    }

    /// Somebody is to be forgotten, on all stages.
    pub(super) fn forget_on_stages(&mut self, participant: ParticipantId, now_ms: i64) {
        for id in self.stages.ids() {
            let lead = self.settings.stage.of(&id);
            let before = self.stages.lineup(&id);
            let Some(place) = self.stages.get_mut(&id) else {
                continue;
            };
            let socket = place.roles.socket_of(participant);
            let was_here = place.roles.forget(participant, lead, now_ms);
            if let Some(socket) = socket {
                self.stages.by_socket.remove(&socket);
            }
            // Their name is in what leaders saw, also where nobody is missing.
            if was_here || self.stages.lineup(&id) != before {
                self.stages.peopled(&id, before, now_ms);
            }
        }
    }
}

/// What a session may be called by people: never as the room's sessions are.
fn is_name(name: &str) -> bool {
    let sign = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    (1..=64).contains(&name.len()) && name.bytes().all(sign) && !is_own_grid(name)
}

/// `b<boot>-<n>`, the id of a session on a hub that does not know the time.
fn is_own_grid(name: &str) -> bool {
    let Some((boot, n)) = name.strip_prefix('b').and_then(|rest| rest.split_once('-')) else {
        return false;
    };
    let digits = |part: &str| part.bytes().all(|c| c.is_ascii_digit() || c == b'-');
    boot.len() == BOOT_TAG_CHARS && boot.bytes().all(|c| c.is_ascii_hexdigit()) && digits(n)
}
