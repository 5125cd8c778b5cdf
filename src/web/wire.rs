//! The frames of the socket as JSON: what phones send, read and checked, and what goes to one
//! phone, written. Frames for everybody come from the room, already written.

use std::ops::RangeInclusive;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Number, Value};

use super::fields::{
    ClaimFields, CoherenceFields, Fields, HeartFields, JoinFields, RrFields, TIME_MAX_MS, number,
    present, role, text,
};
use super::problem::{Code, Problem};
use crate::room::stage_view::{AnchorView, NamedSessionView, SnapshotView};
use crate::room::view::{FeedbackView, GroupView, HeartFoundView, SessionView};
use crate::room::{Role as StageRole, Scene, StageWish};

/// The one version of what is spoken here.
pub const SUBPROTOCOL: &str = "coherence.v1";

/// The largest frame a phone may send, bytes.
pub const FRAME_BYTES_MAX: usize = 4096;

/// Characters of the message to a session.
const MESSAGE_CHARS: usize = 500;

/// From one tick to the next, ms: from the pace of a screen to where a snapshot would do as well.
const TICK_MS: RangeInclusive<f64> = 16.0..=60_000.0;

/// Characters of an `id`.
const ID_CHARS: usize = 64;

/// One frame from a phone.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// The frame's `id`, for the answer's `re`.
    pub re: Option<Value>,
    pub frame: Result<ClientFrame, Problem>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ClientFrame {
    AuthToken(String),
    AuthPin(String),
    JoinSession(JoinFields),
    UpdateRr(RrFields),
    UpdateCoherence(CoherenceFields),
    LeaveSession,
    FindMyHeart(HeartFields),
    ClaimStrap(ClaimFields),
    ReleaseStrap,
    Heartbeat,
    /// The phone's own time, handed back as it came.
    SyncRequest {
        client_time: Number,
    },
    SetRole(StageRole),
    Stage(StageWish),
    /// Ticks of the stage from now on.
    SubscribeTicks {
        interval_ms: u64,
    },
    UnsubscribeTicks,
}

/// Reads a text frame. Whatever it holds, there is an answer to it.
pub fn read(frame: &str) -> Asked {
    let fields = match serde_json::from_str(frame) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => {
            let detail = "A frame is a JSON object with a `type`.";
            return Asked {
                re: None,
                frame: Err(Problem::new(Code::BadJson, detail)),
            };
        }
        Err(error) => {
            let detail = format!("The frame is not JSON: {error}.");
            return Asked {
                re: None,
                frame: Err(Problem::new(Code::BadJson, detail)),
            };
        }
    };
    let re = match present(&fields, "id") {
        None => None,
        Some(Value::String(id)) if id.chars().count() <= ID_CHARS => Some(Value::from(id.as_str())),
        Some(Value::Number(id)) => Some(Value::from(id.clone())),
        Some(_) => {
            let wants = "must be a number or text of at most 64 characters";
            return Asked {
                re: None,
                frame: Err(Problem::bad_value("id", wants)),
            };
        }
    };
    let frame = read_fields(&fields);
    Asked { re, frame }
}

fn read_fields(fields: &Fields) -> Result<ClientFrame, Problem> {
    let Some(Value::String(kind)) = present(fields, "type") else {
        return Err(Problem::bad_value(
            "type",
            "must name the type of the frame",
        ));
    };
    match kind.as_str() {
        "auth" => match (text(fields, "token", 128)?, text(fields, "pin", 64)?) {
            (Some(token), None) => Ok(ClientFrame::AuthToken(token)),
            (None, Some(pin)) if pin.len() == 6 && pin.bytes().all(|c| c.is_ascii_digit()) => {
                Ok(ClientFrame::AuthPin(pin))
            }
            (None, Some(_)) => Err(Problem::bad_value("pin", "must be six digits, as text")),
            _ => Err(Problem::bad_value(
                "token",
                "or `pin` must be given, not both",
            )),
        },
        "join_session" => JoinFields::read(fields).map(ClientFrame::JoinSession),
        "update_coherence" => {
            let has = |name| present(fields, name).is_some();
            match (has("rr"), has("coherence")) {
                (true, true) => Err(Problem::bad_value(
                    "rr",
                    "and `coherence` exclude each other",
                )),
                (true, false) => RrFields::read(fields).map(ClientFrame::UpdateRr),
                (false, true) => CoherenceFields::read(fields).map(ClientFrame::UpdateCoherence),
                (false, false) => Err(Problem::bad_value("rr", "or `coherence` must be given")),
            }
        }
        "leave_session" => Ok(ClientFrame::LeaveSession),
        "find_my_heart" => HeartFields::read(fields).map(ClientFrame::FindMyHeart),
        "claim_strap" => ClaimFields::read(fields).map(ClientFrame::ClaimStrap),
        "release_strap" => Ok(ClientFrame::ReleaseStrap),
        "heartbeat" => Ok(ClientFrame::Heartbeat),
        "sync_request" => match present(fields, "clientTime") {
            Some(Value::Number(time)) => Ok(ClientFrame::SyncRequest {
                client_time: time.clone(),
            }),
            _ => Err(Problem::bad_value(
                "clientTime",
                "must be a number of milliseconds",
            )),
        },
        "set_role" => match role(fields)? {
            Some(role) => Ok(ClientFrame::SetRole(role)),
            None => Err(Problem::bad_value("role", "must be `leader` or `follower`")),
        },
        "set_tempo" => {
            let wants = "must be a number, per minute";
            // Its bounds are the stage's.
            let tempo = number(fields, "tempo", f64::MIN..=f64::MAX, wants)?;
            let tempo = tempo.ok_or_else(|| Problem::bad_value("tempo", wants))?;
            Ok(ClientFrame::Stage(StageWish::Tempo(tempo)))
        }
        "play" => Ok(ClientFrame::Stage(StageWish::Play)),
        "pause" => match text(fields, "scene", ID_CHARS)?.as_deref() {
            None | Some("stage") => Ok(ClientFrame::Stage(StageWish::Pause(Scene::Stage))),
            Some("rest") => Ok(ClientFrame::Stage(StageWish::Pause(Scene::Rest))),
            Some(_) => Err(Problem::bad_value("scene", "must be `stage` or `rest`")),
        },
        "seek" => {
            let wants = "must be a number of ms from 0";
            let position_ms = number(fields, "positionMs", 0.0..=TIME_MAX_MS, wants)?;
            let position_ms = position_ms.ok_or_else(|| Problem::bad_value("positionMs", wants))?;
            Ok(ClientFrame::Stage(StageWish::Seek(position_ms)))
        }
        "update_message" => {
            let message = text(fields, "message", MESSAGE_CHARS)?;
            if !fields.contains_key("message") {
                let wants = "must be given; null or empty clears it";
                return Err(Problem::bad_value("message", wants));
            }
            Ok(ClientFrame::Stage(StageWish::Message(message)))
        }
        "subscribe_ticks" => {
            let wants = "must be a number of ms from 16 to 60000";
            let interval_ms = number(fields, "intervalMs", TICK_MS, wants)?;
            let interval_ms = interval_ms.unwrap_or(*TICK_MS.start()) as u64;
            Ok(ClientFrame::SubscribeTicks { interval_ms })
        }
        "unsubscribe_ticks" => Ok(ClientFrame::UnsubscribeTicks),
        other => {
            let other: String = other.chars().take(40).collect();
            let detail = format!("The hub knows no frame of type {other:?}.");
            Err(Problem::new(Code::UnknownType, detail))
        }
    }
}

/// Who somebody has proved to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Participant,
    Facilitator,
}

/// One frame for one phone.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(
    tag = "type",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
pub enum ServerFrame<'a> {
    AuthOk {
        role: Role,
        /// Given in exchange for a PIN.
        #[serde(skip_serializing_if = "Option::is_none")]
        token: Option<String>,
        /// Hub time; null for a token that does not expire.
        expires_at: Option<i64>,
    },
    SessionJoined {
        participant_id: String,
        resume_token: String,
        session: &'a SessionView,
        group: &'a GroupView,
        /// The label of the strap that is theirs; null for none.
        strap: Option<&'a str>,
        /// On the stage.
        role: StageRole,
        server_time: i64,
    },
    /// Into a named session: no group, no strap.
    #[serde(rename = "session_joined")]
    NamedJoined {
        participant_id: String,
        resume_token: String,
        session: &'a NamedSessionView,
        group: Option<()>,
        strap: Option<()>,
        role: StageRole,
        server_time: i64,
    },
    /// The answer to who changed the stage; others get it from the room, already written.
    Snapshot(&'a SnapshotView),
    /// Where the stage is, for clients that can't draw from an anchor.
    ScrollTick {
        at: i64,
        position_ms: f64,
        version: u64,
    },
    SessionLeft {},
    PersonalFeedback(&'a FeedbackView),
    HeartFound(&'a HeartFoundView),
    StrapClaimed {
        /// Its label.
        strap: &'a str,
    },
    StrapReleased {},
    HeartbeatResponse {
        server_time: i64,
    },
    SyncResponse {
        client_time: Number,
        received_at: i64,
        sent_at: i64,
        /// Of the stage on which the phone is.
        anchor: AnchorView,
    },
    Error {
        code: &'static str,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        field: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<i64>,
    },
    RateLimitExceeded {
        retry_after_ms: i64,
    },
}

impl<'a> From<&'a Problem> for ServerFrame<'a> {
    fn from(problem: &'a Problem) -> Self {
        ServerFrame::Error {
            code: problem.code.word(),
            message: &problem.detail,
            field: problem.field.as_deref(),
            retry_after_ms: problem.retry_after_ms,
        }
    }
}

impl ServerFrame<'_> {
    /// The frame as JSON text, with the `id` of what it answers.
    pub fn write(&self, re: Option<&Value>) -> Bytes {
        #[derive(Serialize)]
        struct Answer<'a> {
            #[serde(flatten)]
            frame: &'a ServerFrame<'a>,
            #[serde(skip_serializing_if = "Option::is_none")]
            re: Option<&'a Value>,
        }
        let answer = Answer { frame: self, re };
        let json = serde_json::to_vec(&answer).expect("maps with text keys always serialise");
        Bytes::from(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(frame: &str) -> (&'static str, Option<String>) {
        let problem = read(frame).frame.expect_err(frame);
        (problem.code.word(), problem.field)
    }

    #[test]
    fn what_is_no_frame_is_told_so() {
        for frame in [
            "",
            "{",
            "hello",
            "\u{0}",
            "{\"type\":\"heartbeat\"} x",
            "[[[[",
        ] {
            assert_eq!(code(frame), ("bad_json", None), "{frame}");
        }
        for frame in ["[]", "1", "\"heartbeat\"", "null"] {
            assert_eq!(code(frame), ("bad_json", None), "{frame}");
        }
        let deep = "[".repeat(4000);
        assert_eq!(code(&deep), ("bad_json", None));
        assert_eq!(code("{\"type\":\"dance\"}"), ("unknown_type", None));
    }

    #[test]
    fn a_wrong_value_is_refused_with_the_name_of_its_field() {
        let long_name = format!(r#"{{"type":"join_session","name":"{}"}}"#, "ä".repeat(65));
        let long_message = format!(
            r#"{{"type":"update_message","message":"{}"}}"#,
            "ü".repeat(501)
        );
        let long_word = format!(
            r#"{{"type":"join_session","intention":"{}"}}"#,
            "x".repeat(201)
        );
        let many = format!(
            r#"{{"type":"update_coherence","rr":[{}800]}}"#,
            "800,".repeat(256)
        );
        let cases = [
            (r#"{}"#, "type"),
            (r#"{"type":7}"#, "type"),
            (r#"{"type":"heartbeat","id":{}}"#, "id"),
            (r#"{"type":"heartbeat","id":true}"#, "id"),
            (r#"{"type":"auth"}"#, "token"),
            (r#"{"type":"auth","token":"a","pin":"123456"}"#, "token"),
            (r#"{"type":"auth","pin":123456}"#, "pin"),
            (r#"{"type":"auth","pin":"12345"}"#, "pin"),
            (r#"{"type":"auth","pin":"12345a"}"#, "pin"),
            (r#"{"type":"join_session","name":5}"#, "name"),
            (r#"{"type":"join_session","name":"a\u0007b"}"#, "name"),
            (&long_name, "name"),
            (&long_word, "intention"),
            (r#"{"type":"join_session","strap":-1}"#, "strap"),
            (
                r#"{"type":"join_session","sessionId":"../etc"}"#,
                "sessionId",
            ),
            (r#"{"type":"join_session","consent":true}"#, "consent"),
            (
                r#"{"type":"join_session","consent":{}}"#,
                "consent.textVersion",
            ),
            (
                r#"{"type":"join_session","consent":{"textVersion":" ","scopes":[]}}"#,
                "consent.textVersion",
            ),
            (
                r#"{"type":"join_session","consent":{"textVersion":"1","scopes":"store"}}"#,
                "consent.scopes",
            ),
            (
                r#"{"type":"join_session","consent":{"textVersion":"1","scopes":[1]}}"#,
                "consent.scopes",
            ),
            (r#"{"type":"update_coherence"}"#, "rr"),
            (
                r#"{"type":"update_coherence","rr":[800],"coherence":50}"#,
                "rr",
            ),
            (r#"{"type":"update_coherence","rr":800}"#, "rr"),
            (r#"{"type":"update_coherence","rr":[]}"#, "rr"),
            (&many, "rr"),
            (r#"{"type":"update_coherence","rr":[800,0]}"#, "rr[1]"),
            (r#"{"type":"update_coherence","rr":[-5]}"#, "rr[0]"),
            (r#"{"type":"update_coherence","rr":[65535.5]}"#, "rr[0]"),
            (r#"{"type":"update_coherence","rr":["800"]}"#, "rr[0]"),
            (
                r#"{"type":"update_coherence","rr":[800],"timestamp":"now"}"#,
                "timestamp",
            ),
            (
                r#"{"type":"update_coherence","rr":[800],"timestamp":-1}"#,
                "timestamp",
            ),
            (
                r#"{"type":"update_coherence","rr":[800],"timestamp":1e300}"#,
                "timestamp",
            ),
            (
                r#"{"type":"update_coherence","coherence":100.1}"#,
                "coherence",
            ),
            (
                r#"{"type":"update_coherence","coherence":-0.1}"#,
                "coherence",
            ),
            (
                r#"{"type":"update_coherence","coherence":"50"}"#,
                "coherence",
            ),
            (r#"{"type":"join_session","role":"king"}"#, "role"),
            (r#"{"type":"set_role"}"#, "role"),
            (r#"{"type":"set_role","role":1}"#, "role"),
            (r#"{"type":"set_tempo"}"#, "tempo"),
            (r#"{"type":"set_tempo","tempo":"6"}"#, "tempo"),
            (r#"{"type":"pause","scene":"party"}"#, "scene"),
            (r#"{"type":"seek"}"#, "positionMs"),
            (r#"{"type":"seek","positionMs":-1}"#, "positionMs"),
            (r#"{"type":"seek","positionMs":1e300}"#, "positionMs"),
            (r#"{"type":"update_message"}"#, "message"),
            (r#"{"type":"update_message","message":["x"]}"#, "message"),
            (&long_message, "message"),
            (
                r#"{"type":"subscribe_ticks","intervalMs":15}"#,
                "intervalMs",
            ),
            (
                r#"{"type":"subscribe_ticks","intervalMs":60001}"#,
                "intervalMs",
            ),
            (r#"{"type":"find_my_heart"}"#, "method"),
            (r#"{"type":"find_my_heart","method":"guess"}"#, "method"),
            (r#"{"type":"find_my_heart","method":"tap"}"#, "taps"),
            (
                r#"{"type":"find_my_heart","method":"tap","taps":[1,2,3,4,5,6,7]}"#,
                "taps",
            ),
            (
                r#"{"type":"find_my_heart","method":"tap","taps":[1,2,3,4,5,6,7,"8"]}"#,
                "taps[7]",
            ),
            (
                r#"{"type":"find_my_heart","method":"tap","taps":[-1,2,3,4,5,6,7,8]}"#,
                "taps[0]",
            ),
            (r#"{"type":"claim_strap"}"#, "strap"),
            (r#"{"type":"claim_strap","strap":[7]}"#, "strap"),
            (r#"{"type":"sync_request"}"#, "clientTime"),
            (r#"{"type":"sync_request","clientTime":"1"}"#, "clientTime"),
        ];
        for (frame, field) in cases {
            assert_eq!(
                code(frame),
                ("bad_value", Some(field.to_owned())),
                "{frame}"
            );
        }
    }

    #[test]
    fn limits_are_of_characters_and_after_trimming() {
        let name = "ä".repeat(64);
        let asked = read(&format!(r#"{{"type":"join_session","name":"  {name} "}}"#));
        let Ok(ClientFrame::JoinSession(join)) = asked.frame else {
            panic!("{asked:?}");
        };
        assert_eq!(join.name, Some(name));
    }

    #[test]
    fn empty_text_and_null_are_as_if_left_out() {
        let asked = read(r#"{"type":"join_session","name":"  ","strap":null,"intention":""}"#);
        assert_eq!(
            asked.frame,
            Ok(ClientFrame::JoinSession(JoinFields::default()))
        );
    }

    #[test]
    fn the_borders_of_what_is_allowed_are_allowed() {
        let many = format!(
            r#"{{"type":"update_coherence","rr":[{}65535]}}"#,
            "0.001,".repeat(255)
        );
        for frame in [
            r#"{"type":"update_coherence","coherence":0}"#,
            r#"{"type":"update_coherence","coherence":100}"#,
            &many,
        ] {
            assert!(read(frame).frame.is_ok(), "{frame}");
        }
    }

    #[test]
    fn an_answer_repeats_the_id_as_it_came() {
        // A hasty reader of numbers takes the last one for its neighbour, …8855.
        for id in ["7", "-1.5", "\"a\"", "\"\"", "1795168305999.8857"] {
            let asked = read(&format!(r#"{{"type":"nonsense","id":{id}}}"#));
            assert_eq!(asked.re.unwrap().to_string(), id);
        }
        assert_eq!(read(r#"{"type":"heartbeat","id":null}"#).re, None);
    }

    #[test]
    fn unknown_fields_are_passed_over() {
        let asked = read(r#"{"type":"heartbeat","extra":[1,{"deep":null}],"pin":7}"#);
        assert_eq!(asked.frame, Ok(ClientFrame::Heartbeat));
    }
}
