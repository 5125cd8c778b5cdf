//! What a phone asks over its socket: each frame becomes the room's command, and the room's reply a
//! frame. The reading and writing of the socket itself is in `ws`.

use std::time::Duration;

use serde_json::Value;

use super::{Pending, Phone};
use crate::access::Who;
use crate::room::ParticipantId;
use crate::room::command::{Command, Reply};
use crate::web::fields::JoinFields;
use crate::web::problem::{Code, Problem};
use crate::web::rest_participants::{Over, join_of, unexpected};
use crate::web::wire::{self, Asked, ClientFrame, Role, ServerFrame};

impl Phone {
    /// Carries out what a frame asks and says how it went. Whatever it holds, there is an answer.
    pub(super) async fn answer(&mut self, frame: &str, received_at: i64) {
        let Asked { re, frame } = wire::read(frame);
        let done = match frame {
            Ok(frame) => self.carry_out(frame, re.as_ref(), received_at).await,
            Err(problem) => Err(problem),
        };
        if let Err(problem) = done {
            match problem.code {
                // Erased, perhaps from another phone.
                Code::UnknownParticipant => (self.participant, self.joined) = (None, false),
                Code::NotJoined => self.joined = false,
                _ => {}
            }
            problem.count();
            self.tell(&ServerFrame::from(&problem), re.as_ref());
        }
    }

    async fn carry_out(
        &mut self,
        frame: ClientFrame,
        re: Option<&Value>,
        received_at: i64,
    ) -> Result<(), Problem> {
        match frame {
            ClientFrame::AuthToken(token) => {
                let (role, expires_at) = match self.web.who(&token)? {
                    Who::Facilitator { expires_at_ms } => {
                        self.facilitates(token).await?;
                        (Role::Facilitator, Some(expires_at_ms))
                    }
                    Who::Participant(id) => {
                        self.is(id)?;
                        self.participant = Some(id);
                        (Role::Participant, None)
                    }
                    Who::Scoped(scope) => {
                        let detail =
                            format!("This token opens {} and nothing else.", scope.opens());
                        return Err(Problem::new(Code::Forbidden, detail));
                    }
                };
                self.tell(
                    &ServerFrame::AuthOk {
                        role,
                        token: None,
                        expires_at,
                    },
                    re,
                );
            }
            ClientFrame::AuthPin(pin) => {
                let (token, expires_at_ms) = self.web.facilitator(self.peer.ip(), &pin).await?;
                self.facilitates(token.clone()).await?;
                let (token, expires_at) = (Some(token), Some(expires_at_ms));
                self.tell(
                    &ServerFrame::AuthOk {
                        role: Role::Facilitator,
                        token,
                        expires_at,
                    },
                    re,
                );
            }
            ClientFrame::JoinSession(fields) => {
                let by_token = fields.resume_token.is_some();
                match self.join(fields.clone(), re).await {
                    // Whom this socket spoke for is erased: who joins now is somebody new.
                    Err(problem) if problem.code == Code::UnknownParticipant && !by_token => {
                        (self.participant, self.joined) = (None, false);
                        self.join(fields, re).await?;
                    }
                    done => done?,
                }
            }
            ClientFrame::UpdateRr(fields) => {
                let participant = self.present()?;
                let (rr_ms, ended_at_ms) = (fields.rr, fields.timestamp);
                self.feedback(
                    Command::PostRr {
                        participant,
                        rr_ms,
                        ended_at_ms,
                    },
                    re,
                )
                .await?;
            }
            ClientFrame::UpdateCoherence(fields) => {
                let participant = self.present()?;
                let coherence = fields.coherence;
                self.feedback(
                    Command::PostCoherence {
                        participant,
                        coherence,
                    },
                    re,
                )
                .await?;
            }
            ClientFrame::LeaveSession if self.on.is_named() => {
                self.leave_named().await?;
                self.tell(&ServerFrame::SessionLeft {}, re);
            }
            ClientFrame::LeaveSession => {
                let participant = self.present()?;
                self.web
                    .room
                    .apply(Command::Leave { participant }, Some(self.line.clone()))
                    .await?;
                self.joined = false;
                self.tell(&ServerFrame::SessionLeft {}, re);
            }
            ClientFrame::FindMyHeart(fields) => {
                let participant = self.present()?;
                let sign = fields.into();
                let command = Command::FindHeart { participant, sign };
                match self.web.room.apply(command, None).await? {
                    Reply::HeartFound(view) => self.tell(&ServerFrame::HeartFound(&view), re),
                    _ => return Err(unexpected()),
                }
            }
            ClientFrame::ClaimStrap(fields) => {
                let participant = self.present()?;
                let strap = fields.strap;
                let command = Command::ClaimStrap { participant, strap };
                match self.web.room.apply(command, None).await? {
                    Reply::Claimed { strap } => {
                        self.tell(&ServerFrame::StrapClaimed { strap: &strap }, re);
                    }
                    _ => return Err(unexpected()),
                }
            }
            ClientFrame::ReleaseStrap => {
                let participant = self.present()?;
                let command = Command::ReleaseStrap { participant };
                self.web.room.apply(command, None).await?;
                self.tell(&ServerFrame::StrapReleased {}, re);
            }
            ClientFrame::Heartbeat => {
                if self.joined {
                    let participant = self.present()?;
                    self.web
                        .room
                        .apply(Command::Seen { participant }, None)
                        .await?;
                }
                let server_time = self.web.hub_now_ms();
                self.tell(&ServerFrame::HeartbeatResponse { server_time }, re);
            }
            ClientFrame::SyncRequest { client_time } => {
                let anchor = self.on.anchor();
                self.pending.push(Pending::Sync {
                    client_time,
                    received_at,
                    anchor,
                    re: re.cloned(),
                });
            }
            ClientFrame::SetRole(role) => {
                let (socket, facilitator) = (self.line.socket, self.is_facilitator());
                let command = Command::SetRole {
                    socket,
                    facilitator,
                    role,
                };
                self.staged(command, facilitator, re).await?;
            }
            ClientFrame::Stage(wish) => {
                let (socket, facilitator) = (self.line.socket, self.is_facilitator());
                let command = Command::ChangeStage {
                    socket,
                    facilitator,
                    wish,
                };
                self.staged(command, facilitator, re).await?;
            }
            ClientFrame::SubscribeTicks { interval_ms } => {
                self.subscribe(Duration::from_millis(interval_ms), re);
            }
            ClientFrame::UnsubscribeTicks => self.unsubscribe(re),
        }
        Ok(())
    }

    async fn join(&mut self, fields: JoinFields, re: Option<&Value>) -> Result<(), Problem> {
        self.may_enter(fields.session_id.as_deref())?;
        let over = Some(Over {
            socket: self.line.socket,
            facilitator: self.is_facilitator(),
        });
        let join = join_of(&self.web, fields, self.participant, self.peer, over).await?;
        self.is(join.participant)?;
        let reply = self
            .web
            .room
            .apply(Command::Join(join), Some(self.line.clone()))
            .await?;
        match reply {
            Reply::Joined {
                participant,
                session,
                group,
                strap,
                role,
            } => {
                (self.participant, self.joined) = (Some(participant), true);
                let joined = ServerFrame::SessionJoined {
                    participant_id: participant.to_string(),
                    resume_token: self.web.gate.participant_token(participant),
                    session: &session,
                    group: &group,
                    strap: strap.as_deref(),
                    role,
                    server_time: self.web.hub_now_ms(),
                };
                self.tell(&joined, re);
                self.on.show_again();
            }
            Reply::JoinedNamed {
                participant,
                session,
                role,
            } => {
                self.participant = Some(participant);
                let joined = ServerFrame::NamedJoined {
                    participant_id: participant.to_string(),
                    resume_token: self.web.gate.participant_token(participant),
                    session: &session,
                    group: None,
                    strap: None,
                    role,
                    server_time: self.web.hub_now_ms(),
                };
                self.tell(&joined, re);
                self.on_named(session.id).await;
            }
            _ => return Err(unexpected()),
        }
        Ok(())
    }

    async fn feedback(&mut self, command: Command, re: Option<&Value>) -> Result<(), Problem> {
        match self.web.room.apply(command, None).await? {
            Reply::Feedback(view) => self.tell(&ServerFrame::PersonalFeedback(&view), re),
            _ => return Err(unexpected()),
        }
        Ok(())
    }

    fn present(&self) -> Result<ParticipantId, Problem> {
        self.participant
            .filter(|_| self.joined)
            .ok_or_else(|| Problem::new(Code::NotJoined, "Join the session first: `join_session`."))
    }

    /// While it is joined, a socket speaks for one participant.
    fn is(&self, id: ParticipantId) -> Result<(), Problem> {
        if self.joined && self.participant != Some(id) {
            let detail =
                "This connection has joined as somebody else. Leave first: `leave_session`.";
            return Err(Problem::new(Code::AlreadyJoined, detail));
        }
        Ok(())
    }
}
