//! What phones ask: every command is carried out or refused here, and nothing else changes people.

use std::cmp::Ordering;

use super::command::{Command, ConsentGiven, Join, Refusal, RefusalCode, Reply};
use super::roles::Comer;
use super::rows::{ConsentRow, Row};
use super::{HeartKey, ParticipantId, Presence, Role, Room, Settings, StageId, StrapNo};

/// The scopes of consent, in the order in which they are asked. `research` lets something leave the
/// hub; the others are kept as they were given and change nothing: without its hearts there is no
/// session, and what the room heard goes by `keep_days` or by erasure.
pub const CONSENT_SCOPES: [&str; 5] = ["display", "store", "sync", "research", "publish"];

/// How far back a phone may say that its last beat ended, ms.
const LATEST_BEAT_MS: i64 = 30_000;

/// A command that was carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub reply: Reply,
    /// These rows must be committed before the answer is given.
    pub durable: Vec<Row>,
    /// The participant whose socket this becomes, with a join, and where.
    pub joined: Option<(StageId, ParticipantId)>,
    /// Whose strap passed to somebody else, and its label.
    pub bereft: Option<(ParticipantId, String)>,
}

impl Outcome {
    pub(super) fn of(reply: Reply) -> Self {
        Outcome {
            reply,
            durable: Vec::new(),
            joined: None,
            bereft: None,
        }
    }
}

impl Room {
    /// Takes new settings while people are here. A raised threshold hides at once what it must; a lowered
    /// one shows from the next grid point on. Nobody is sent away. The lengths of the phases stay: they
    /// are the running session's.
    pub fn set_settings(&mut self, settings: Settings, now_ms: i64) {
        self.settings = Settings {
            plan: self.settings.plan,
            ..settings
        };
        self.obey_stage_rules(now_ms);
        if let Some((group, row)) = &mut self.group {
            group.suppressed |= group.hearts < settings.suppression.min_group;
            row.suppressed = group.suppressed;
            self.changes.group = true;
        }
    }

    /// Carries a command out, whole or not at all.
    pub fn apply(&mut self, command: Command, now_ms: i64) -> Result<Outcome, Refusal> {
        match command {
            Command::Join(join) => self.join(join, now_ms),
            Command::PostRr {
                participant,
                rr_ms,
                ended_at_ms,
            } => {
                self.take_part(participant, now_ms)?;
                let allowed = self
                    .people
                    .get_mut(participant)
                    .is_some_and(|person| person.may_post_rr(rr_ms.len(), now_ms));
                if !allowed {
                    return Err(Refusal::new(
                        RefusalCode::RateLimited,
                        "More intervals than a heart can make. Send each interval once, and wait a while.",
                    ));
                }
                let ended = ended_at_ms.map_or(now_ms, |at| at - self.offset_ms());
                let at_ms = ended.clamp(now_ms - LATEST_BEAT_MS, now_ms);
                let key = HeartKey::Phone(participant);
                let mut placed = std::mem::take(&mut self.placed);
                self.hearts
                    .entry(key)
                    .or_default()
                    .posted_rr(at_ms, &rr_ms, &mut placed);
                self.keep(key, placed);
                Ok(Outcome::of(Reply::Feedback(
                    self.feedback(participant, now_ms),
                )))
            }
            Command::PostCoherence {
                participant,
                coherence,
            } => {
                self.take_part(participant, now_ms)?;
                self.hearts
                    .entry(HeartKey::Phone(participant))
                    .or_default()
                    .posted_score(now_ms, coherence);
                Ok(Outcome::of(Reply::Feedback(
                    self.feedback(participant, now_ms),
                )))
            }
            Command::Consent {
                participant,
                consent,
            } => {
                self.known(participant)?;
                check_scopes(&consent)?;
                let mut outcome = Outcome::of(Reply::Done);
                outcome.durable = self.consent_rows(participant, &consent, now_ms);
                Ok(outcome)
            }
            Command::Leave { participant } => {
                self.known(participant)?;
                let at = self.clock.stamp(now_ms);
                let before = self.people.present();
                let person = self.people.get(participant);
                if let Some(socket) = person.and_then(|person| person.socket) {
                    self.leave_stage(socket, now_ms);
                }
                self.people.leave(participant, at, &mut self.facts);
                self.hearts.remove(&HeartKey::Phone(participant));
                self.note_presence(before);
                Ok(Outcome::of(Reply::Done))
            }
            Command::Erase { participant } => Ok(self.erase(participant, now_ms)),
            Command::Seen { participant } => {
                self.known(participant)?;
                self.sign_of_life(participant, now_ms);
                Ok(Outcome::of(Reply::Done))
            }
            Command::Facilitates { socket } => {
                self.facilitates(socket, now_ms);
                Ok(Outcome::of(Reply::Done))
            }
            Command::SetRole {
                socket,
                facilitator,
                role,
            } => self.set_role(socket, facilitator, role, now_ms),
            Command::ChangeStage {
                socket,
                facilitator,
                wish,
            } => self.change_stage(socket, facilitator, wish, now_ms),
            Command::LeaveNamed { socket } => {
                self.leave_stage(socket, now_ms);
                Ok(Outcome::of(Reply::Done))
            }
            Command::LabelStrap { strap, label } => self.label_strap(&strap, &label, now_ms),
            Command::ForgetStrap { strap } => self.forget_strap(&strap, now_ms),
            Command::Registry => Ok(Outcome::of(Reply::Registry(self.registry(now_ms)))),
            Command::FindHeart { participant, sign } => self.find_heart(participant, sign, now_ms),
            Command::ClaimStrap { participant, strap } => {
                self.claim_strap(participant, &strap, now_ms)
            }
            Command::ReleaseStrap { participant } => self.release_strap(participant, now_ms),
            Command::UniteStraps { strap, other } => self.unite_straps(&strap, &other, now_ms),
            Command::PartStrap { strap } => self.part_strap(&strap, now_ms),
        }
    }

    fn join(&mut self, join: Join, now_ms: i64) -> Result<Outcome, Refusal> {
        let id = join.participant;
        if let Some(session_id) = &join.session_id
            && *session_id != self.clock.session().id
        {
            return self.join_named(session_id.clone(), join, now_ms);
        }
        if join.resumed {
            self.known(id)?;
        }
        let strap = join
            .strap
            .as_deref()
            .map(|label| self.free_strap(label, id))
            .transpose()?;
        if let Some(consent) = &join.consent {
            check_scopes(consent)?;
        }
        let takes_part = self
            .people
            .get(id)
            .is_some_and(|person| person.takes_part());
        if !takes_part && self.people.present() >= self.settings.max_participants {
            return Err(Refusal::new(
                RefusalCode::RoomFull,
                "The room is full. Try again when somebody has left.",
            ));
        }
        // Nothing below can refuse.
        let now = self.clock.stamp(now_ms);
        let row = self.people.meet(id, join.name, join.intention, now);
        self.facts.push(row);
        self.sign_of_life(id, now_ms);
        if let Some(person) = self.people.get_mut(id) {
            person.peer = Some(join.peer);
        }
        let strap = strap.or_else(|| self.strap_to_resume(id));
        if let Some(no) = strap {
            self.wear(id, no, now);
        }
        let role = match join.socket {
            Some(socket) => {
                self.leave_named(socket, now_ms);
                let comer = Comer {
                    socket,
                    participant: Some(id),
                    name: self
                        .people
                        .get(id)
                        .and_then(|person| person.row.name.clone()),
                    facilitator: join.facilitator,
                    wants: join.role,
                };
                self.enter(&StageId::Room, comer, now_ms)
            }
            None => Role::Follower,
        };
        let mut outcome = Outcome::of(Reply::Joined {
            participant: id,
            session: self.session_view(now_ms),
            group: self.group_view(now_ms),
            strap: self
                .people
                .get(id)
                .and_then(|person| person.claim.as_ref())
                .and_then(|claim| {
                    self.straps
                        .get(claim.strap)
                        .map(|strap| strap.row.label.clone())
                }),
            role,
        });
        if let Some(consent) = join.consent {
            outcome.durable = self.consent_rows(id, &consent, now_ms);
        }
        outcome.joined = Some((StageId::Room, id));
        Ok(outcome)
    }

    /// The strap somebody wore last, if nobody else wears it now.
    fn strap_to_resume(&self, id: ParticipantId) -> Option<StrapNo> {
        let person = self.people.get(id)?;
        if person.claim.is_some() {
            return None;
        }
        person
            .last_strap
            .map(|no| self.radios.lead(no))
            .filter(|no| self.people.wearer(*no).is_none())
    }

    /// Also for somebody the room no longer knows: where the store could not erase at the first
    /// asking, they are gone from here and still on the disk, and must be able to ask again.
    fn erase(&mut self, id: ParticipantId, now_ms: i64) -> Outcome {
        let before = self.people.present();
        let person = self.people.erase(id);
        self.forget_on_stages(id, now_ms);
        self.hearts.remove(&HeartKey::Phone(id));
        let claim = person.and_then(|person| person.claim);
        if let Some(heart) = claim
            .as_ref()
            .and_then(|claim| self.hearts.get_mut(&HeartKey::Strap(claim.strap)))
        {
            heart.forget();
        }
        if let Some(claim) = &claim {
            self.radios.tear_all(claim.strap);
        }
        // What waits for its grid point goes as well.
        self.beats.retain(|row| match row {
            Row::Rr(row) => match row.heart {
                HeartKey::Phone(owner) => owner != id,
                HeartKey::Strap(no) => !claim.as_ref().is_some_and(|claim| {
                    claim.strap == no && row.arrived.mono_ms >= claim.from.mono_ms
                }),
            },
            Row::Score(row) => row.participant != Some(id),
            Row::Pair(row) => row.a != id && row.b != id,
            _ => true,
        });
        let mut outcome = Outcome::of(Reply::Done);
        outcome.durable = vec![Row::Erase {
            participant: id,
            at: self.clock.stamp(now_ms),
        }];
        self.note_presence(before);
        outcome
    }

    fn consent_rows(
        &self,
        participant: ParticipantId,
        consent: &ConsentGiven,
        now_ms: i64,
    ) -> Vec<Row> {
        let at = self.clock.stamp(now_ms);
        let row = |scope: &str| {
            Row::Consent(ConsentRow {
                participant,
                scope: scope.to_owned(),
                granted: consent.scopes.iter().any(|granted| granted == scope),
                text_version: consent.text_version.clone(),
                at,
            })
        };
        CONSENT_SCOPES.into_iter().map(row).collect()
    }

    pub(super) fn known(&self, id: ParticipantId) -> Result<(), Refusal> {
        self.people.get(id).map(|_| ()).ok_or_else(|| {
            Refusal::new(
                RefusalCode::UnknownParticipant,
                "The hub does not know this participant (any more). Join again.",
            )
        })
    }

    /// Whoever posts is alive; whoever has left must join first.
    pub(super) fn take_part(&mut self, id: ParticipantId, now_ms: i64) -> Result<(), Refusal> {
        self.known(id)?;
        self.sign_of_life(id, now_ms);
        if self
            .people
            .get(id)
            .is_some_and(|person| person.takes_part())
        {
            Ok(())
        } else {
            Err(Refusal::new(
                RefusalCode::NotJoined,
                "You have left this session. Join again to take part.",
            ))
        }
    }

    fn sign_of_life(&mut self, id: ParticipantId, now_ms: i64) {
        let now = self.clock.stamp(now_ms);
        let before = self.people.present();
        let row = self.people.sign_of_life(id, &self.clock.session().id, now);
        self.facts.extend(row);
        self.note_presence(before);
    }

    fn note_presence(&mut self, before: u32) {
        match self.people.present().cmp(&before) {
            Ordering::Less => self.changes.people = Some(Presence::Left),
            Ordering::Equal => {}
            Ordering::Greater => self.changes.people = Some(Presence::Joined),
        }
    }

    /// Makes a socket the participant's own; returns the socket that it replaces.
    pub fn attach(&mut self, id: ParticipantId, socket: u64) -> Option<u64> {
        let person = self.people.get_mut(id)?;
        person
            .socket
            .replace(socket)
            .filter(|before| *before != socket)
    }

    /// A socket is gone; its participant stays for two minutes.
    pub fn detach(&mut self, socket: u64, now_ms: i64) {
        self.people.detach(socket, self.clock.stamp(now_ms));
        self.go_off_stage(socket, true, now_ms);
    }

    /// Beats held and counted for one heart; for tests.
    #[cfg(test)]
    pub(super) fn heart(&self, key: HeartKey) -> Option<&super::heart::Heart> {
        self.hearts.get(&key)
    }
}

fn check_scopes(consent: &ConsentGiven) -> Result<(), Refusal> {
    match consent
        .scopes
        .iter()
        .find(|scope| !CONSENT_SCOPES.contains(&scope.as_str()))
    {
        Some(scope) => Err(Refusal::new(
            RefusalCode::BadValue,
            format!(
                "scopes: {scope:?} is none of {}.",
                CONSENT_SCOPES.join(", ")
            ),
        )),
        None => Ok(()),
    }
}
