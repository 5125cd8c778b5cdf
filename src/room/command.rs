//! What a phone may ask of the room, and what it is told. `web` parses both the WebSocket and REST
//! into the same [`Command`]; [`Refusal`] is the room's "no", with a stable code and a sentence.

use std::net::IpAddr;

use super::stage_view::{NamedSessionView, SnapshotView};
use super::view::{FeedbackView, GroupView, HeartFoundView, RegistryView, SessionView, StrapView};
use super::{ParticipantId, Role, StageWish};

/// A wish. Who asks has been proved before it gets here.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Join(Join),
    /// R-R intervals heard by the phone itself, in ms, oldest first. `ended_at_ms`: end of the last
    /// beat, hub time.
    PostRr {
        participant: ParticipantId,
        rr_ms: Vec<f64>,
        ended_at_ms: Option<i64>,
    },
    /// A score that the phone computed itself, 0 to 100.
    PostCoherence {
        participant: ParticipantId,
        coherence: f64,
    },
    Consent {
        participant: ParticipantId,
        consent: ConsentGiven,
    },
    Leave {
        participant: ParticipantId,
    },
    /// Everything about this participant goes.
    Erase {
        participant: ParticipantId,
    },
    /// A sign of life.
    Seen {
        participant: ParticipantId,
    },
    /// A socket has proved to be a facilitator's.
    Facilitates {
        socket: u64,
    },
    /// A role is taken or laid down, on the stage on which the socket is.
    SetRole {
        socket: u64,
        /// Proved to be one, just now.
        facilitator: bool,
        role: Role,
    },
    /// A leader's wish, for the stage on which the socket is.
    ChangeStage {
        socket: u64,
        /// Proved to be one, just now.
        facilitator: bool,
        wish: StageWish,
    },
    /// Out of a named session.
    LeaveNamed {
        socket: u64,
    },
    /// The facilitator's or the admin's: another label for a strap. `strap` is a label or a number.
    LabelStrap {
        strap: String,
        label: String,
    },
    /// The facilitator's or the admin's: a strap leaves the registry.
    ForgetStrap {
        strap: String,
    },
    /// The admin's alone: all straps with their addresses.
    Registry,
    /// "This is my heart": which strap is it?
    FindHeart {
        participant: ParticipantId,
        sign: HeartSign,
    },
    /// To wear a strap from now on, by its label. One that somebody else wears passes on only to whom
    /// the hub has just proposed it.
    ClaimStrap {
        participant: ParticipantId,
        strap: String,
    },
    ReleaseStrap {
        participant: ParticipantId,
    },
    /// The facilitator: these two labels are one strap with two radios.
    UniteStraps {
        strap: String,
        other: String,
    },
    /// The facilitator: what was taken for one strap are two.
    PartStrap {
        strap: String,
    },
}

/// What somebody does to show which strap is theirs.
#[derive(Clone, Debug, PartialEq)]
pub enum HeartSign {
    /// Touched the phone with each pulse: when, hub time in ms, in order.
    Tapped { at_ms: Vec<f64> },
    /// Lifts the strap off the skin for some seconds: asked when it begins, and again when it is over.
    Lifted,
    /// Holds the strap to the hub.
    Held,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Join {
    /// A fresh random id, or the one a valid token names.
    pub participant: ParticipantId,
    /// Whether the id came from a token: then the participant must still be known.
    pub resumed: bool,
    /// Absent, or the id of the session that is running: the room's. Any other name: a named session.
    pub session_id: Option<String>,
    pub name: Option<String>,
    pub intention: Option<String>,
    /// The label of the strap that is worn: `strap 7` or `7`.
    pub strap: Option<String>,
    pub consent: Option<ConsentGiven>,
    /// The role that is asked for; which one it becomes is in the reply.
    pub role: Option<Role>,
    /// The socket over which it is asked; none over REST.
    pub socket: Option<u64>,
    /// That socket has proved to be a facilitator's.
    pub facilitator: bool,
    /// Two phone-only people behind one address count once towards the threshold of suppression.
    pub peer: IpAddr,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ConsentGiven {
    pub text_version: String,
    /// The scopes that are granted; every other scope is withdrawn.
    pub scopes: Vec<String>,
}

/// The room's "yes".
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Joined {
        participant: ParticipantId,
        session: SessionView,
        group: GroupView,
        strap: Option<String>,
        role: Role,
    },
    JoinedNamed {
        participant: ParticipantId,
        session: NamedSessionView,
        role: Role,
    },
    /// The stage as it is now; `seen` is higher with everything that a facilitator sees of it.
    Stage {
        snapshot: SnapshotView,
        seen: u64,
    },
    Feedback(FeedbackView),
    /// With what only a facilitator may see.
    Strap(StrapView),
    Registry(Vec<RegistryView>),
    HeartFound(HeartFoundView),
    Claimed {
        /// The label of the strap.
        strap: String,
    },
    Done,
}

/// The room's "no".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: RefusalCode,
    /// What is, and what to do: shown to the person.
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCode {
    /// The participant was erased or never was.
    UnknownParticipant,
    /// Known, but has left the session.
    NotJoined,
    UnknownStrap,
    /// Somebody else wears it.
    StrapTaken,
    /// Another strap has this label.
    LabelTaken,
    UnknownSession,
    BadValue,
    /// More beats than a heart can make.
    RateLimited,
    /// More people than the room holds.
    RoomFull,
    /// More named sessions than the hub holds.
    SessionsFull,
    /// The stage is led by others.
    NotLeader,
    /// The room did not answer in time.
    Busy,
    /// The store could not keep what must be kept before it is answered.
    NotStored,
}

impl RefusalCode {
    /// The stable code on the wire.
    pub fn word(self) -> &'static str {
        match self {
            RefusalCode::UnknownParticipant => "unknown_participant",
            RefusalCode::NotJoined => "not_joined",
            RefusalCode::UnknownStrap => "unknown_strap",
            RefusalCode::StrapTaken => "strap_taken",
            RefusalCode::LabelTaken => "label_taken",
            RefusalCode::UnknownSession => "unknown_session",
            RefusalCode::BadValue => "bad_value",
            RefusalCode::RateLimited => "rate_limited",
            RefusalCode::RoomFull => "room_full",
            RefusalCode::SessionsFull => "sessions_full",
            RefusalCode::NotLeader => "not_leader",
            RefusalCode::Busy => "busy",
            RefusalCode::NotStored => "not_stored",
        }
    }
}

impl Refusal {
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Refusal {
            code,
            message: message.into(),
        }
    }
}
