//! What a phone asks over its socket: each frame becomes the room's command, and the room's reply a
//! frame. The reading and writing of the socket itself is in `ws`.

use serde_json::Value;

use super::Phone;
use crate::access::Who;
use crate::room::ParticipantId;
use crate::room::command::{Command, Reply};
use crate::web::problem::{Code, Problem};
use crate::web::rest_participants::{join_of, unexpected};
use crate::web::wire::{self, Asked, ClientFrame, Role, ServerFrame};

impl Phone {
    /// Carries out what a frame asks and says how it went. Whatever it holds, there is an answer.
    pub(super) async fn answer(&mut self, frame: &str) {
        let received_at = self.web.hub_now_ms();
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
                    Who::Facilitator { expires_at_ms } => (Role::Facilitator, Some(expires_at_ms)),
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
                let join = join_of(&self.web, fields, self.participant, self.peer).await?;
                self.is(join.participant)?;
                let reply = self
                    .web
                    .room
                    .apply(Command::Join(join), Some(self.line.clone()))
                    .await?;
                let Reply::Joined {
                    participant,
                    session,
                    group,
                    strap,
                } = reply
                else {
                    return Err(unexpected());
                };
                (self.participant, self.joined) = (Some(participant), true);
                let joined = ServerFrame::SessionJoined {
                    participant_id: participant.to_string(),
                    resume_token: self.web.gate.participant_token(participant),
                    session: &session,
                    group: &group,
                    strap: strap.as_deref(),
                    server_time: self.web.hub_now_ms(),
                };
                self.tell(&joined, re);
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
                let sent_at = self.web.hub_now_ms();
                let frame = ServerFrame::SyncResponse {
                    client_time,
                    received_at,
                    sent_at,
                    anchor: None,
                };
                self.tell(&frame, re);
            }
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
