//! What phones may ask, checked field by field: the same for a frame and for a REST body, so that
//! both refuse with the same words. Unknown fields are nobody's business and are passed over.

use std::ops::RangeInclusive;

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::problem::Problem;
use crate::room::Role;
use crate::room::command::{ConsentGiven, HeartSign};

/// Characters in a name, in an intention, in any other text.
const NAME_CHARS: usize = 64;
const INTENTION_CHARS: usize = 200;
const WORD_CHARS: usize = 64;
/// R-R values in one message: four minutes of a fast heart.
const RR_VALUES: usize = 256;
/// The largest R-R that a strap could send, ms.
const RR_MAX_MS: f64 = 65_535.0;
const SCOPES: usize = 16;
/// Touches in one message.
const TAPS: std::ops::RangeInclusive<usize> = 8..=48;
/// Beyond this a JavaScript number is no longer exact.
pub const TIME_MAX_MS: f64 = 9_007_199_254_740_991.0;

/// To take part. Every field may be left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Join)]
pub struct JoinFields {
    /// Absent, or the id of the running session: the room's. Another name of 1 to 64 small letters, digits and
    /// hyphens, over the WebSocket: a named session, which has a stage only.
    pub session_id: Option<String>,
    /// At most 64 characters. Only the facilitator sees it.
    #[schema(max_length = 64)]
    pub name: Option<String>,
    /// At most 200 characters. Stays on the hub.
    #[schema(max_length = 200)]
    pub intention: Option<String>,
    /// The label of the strap that is worn: `strap 7` or `7`.
    pub strap: Option<String>,
    pub consent: Option<ConsentFields>,
    /// The role on the stage that is asked for, over the WebSocket; which one it becomes is in the answer.
    pub role: Option<Role>,
    /// From an earlier join: the same person comes back.
    pub resume_token: Option<String>,
    /// The room's code, where the room has one; who comes back with a token needs none.
    #[schema(max_length = 64)]
    pub room_code: Option<String>,
}

/// What is agreed to; every scope that is not named is withdrawn.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Consent)]
pub struct ConsentFields {
    /// The version of the text that was shown.
    #[schema(max_length = 64)]
    pub text_version: String,
    /// `research`: without it nothing personal leaves this hub. `display`, `store`, `sync` and
    /// `publish` are written down as they are given and change nothing: a session can't be shown
    /// without its hearts, and the hub keeps what it hears for `privacy.keep_days`, or until the
    /// person is erased.
    pub scopes: Vec<String>,
}

/// R-R intervals that the phone heard itself.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = RrPost)]
pub struct RrFields {
    /// 1 to 256 intervals in ms, oldest first, each above 0 and at most 65,535.
    #[schema(min_items = 1, max_items = 256)]
    pub rr: Vec<f64>,
    /// End of the last beat, Unix ms of the hub's clock; absent: now.
    pub timestamp: Option<i64>,
}

/// A score that the phone computed itself.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = CoherencePost)]
pub struct CoherenceFields {
    #[schema(minimum = 0.0, maximum = 100.0)]
    pub coherence: f64,
}

pub type Fields = Map<String, Value>;
/// What is written on a strap.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = Label)]
pub struct LabelFields {
    /// 1 to 32 characters without control characters; no two straps have the same.
    #[schema(min_length = 1, max_length = 32)]
    pub label: String,
}

/// "This is my heart."
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(tag = "method", rename_all = "snake_case")]
#[schema(as = MyHeart)]
pub enum HeartFields {
    /// Touched with each pulse.
    Tap {
        /// 8 to 48 touches of the last minute, in Unix ms of the hub's clock (`sync_request`), oldest first.
        #[schema(min_items = 8, max_items = 48)]
        taps: Vec<f64>,
    },
    /// Lifts the strap off the skin: asked when it begins, and again after `leftMs`.
    Lift,
    /// Holds the strap to the hub.
    Hold,
}

/// The strap that is worn from now on.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = StrapClaim)]
pub struct ClaimFields {
    /// Its label: `strap 7` or `7`.
    pub strap: String,
}

impl JoinFields {
    pub fn read(fields: &Fields) -> Result<Self, Problem> {
        let session_id = text(fields, "sessionId", WORD_CHARS)?;
        if let Some(id) = &session_id
            && !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        {
            return Err(Problem::bad_value(
                "sessionId",
                "must be the id of a session, as in session.id",
            ));
        }
        Ok(JoinFields {
            session_id,
            name: text(fields, "name", NAME_CHARS)?,
            intention: text(fields, "intention", INTENTION_CHARS)?,
            strap: strap(fields)?,
            consent: match present(fields, "consent") {
                None => None,
                Some(Value::Object(consent)) => Some(ConsentFields::read(consent, "consent.")?),
                Some(_) => {
                    let wants = "must be an object {textVersion, scopes}";
                    return Err(Problem::bad_value("consent", wants));
                }
            },
            role: role(fields)?,
            resume_token: text(fields, "resumeToken", 128)?,
            room_code: text(fields, "roomCode", WORD_CHARS)?,
        })
    }
}

impl ConsentFields {
    /// `path` stands before the names of the fields in a complaint.
    pub fn read(fields: &Fields, path: &str) -> Result<Self, Problem> {
        let bad = |field: &str, wants: &str| Problem::bad_value(&format!("{path}{field}"), wants);
        let text_version = match present(fields, "textVersion") {
            Some(Value::String(version)) => tidy(version, WORD_CHARS)
                .map_err(|wants| bad("textVersion", &wants))?
                .ok_or_else(|| bad("textVersion", "must name the text that was shown"))?,
            _ => return Err(bad("textVersion", "must be text: which text was shown")),
        };
        let Some(Value::Array(scopes)) = present(fields, "scopes") else {
            return Err(bad("scopes", "must be a list of scopes"));
        };
        if scopes.len() > SCOPES {
            return Err(bad("scopes", "has too many entries"));
        }
        let read = |scope: &Value| match scope {
            Value::String(scope) if scope.len() <= WORD_CHARS => Ok(scope.clone()),
            _ => Err(bad("scopes", "must hold words only")),
        };
        Ok(ConsentFields {
            text_version,
            scopes: scopes.iter().map(read).collect::<Result<_, _>>()?,
        })
    }
}

impl From<ConsentFields> for ConsentGiven {
    fn from(fields: ConsentFields) -> Self {
        ConsentGiven {
            text_version: fields.text_version,
            scopes: fields.scopes,
        }
    }
}

impl RrFields {
    pub fn read(fields: &Fields) -> Result<Self, Problem> {
        let Some(Value::Array(values)) = present(fields, "rr") else {
            return Err(Problem::bad_value(
                "rr",
                "must be a list of intervals in ms",
            ));
        };
        if values.is_empty() || values.len() > RR_VALUES {
            return Err(Problem::bad_value("rr", "must hold 1 to 256 intervals"));
        }
        let mut rr = Vec::with_capacity(values.len());
        for (n, value) in values.iter().enumerate() {
            match value.as_f64() {
                Some(rr_ms) if rr_ms > 0.0 && rr_ms <= RR_MAX_MS => rr.push(rr_ms),
                _ => {
                    let wants = "must be a number of ms above 0 and at most 65535";
                    return Err(Problem::bad_value(&format!("rr[{n}]"), wants));
                }
            }
        }
        Ok(RrFields {
            rr,
            timestamp: time(fields, "timestamp")?,
        })
    }
}

impl CoherenceFields {
    pub fn read(fields: &Fields) -> Result<Self, Problem> {
        // The time of a score is the time at which it came; a wrong one is still told.
        time(fields, "timestamp")?;
        match present(fields, "coherence").and_then(Value::as_f64) {
            Some(coherence) if (0.0..=100.0).contains(&coherence) => {
                Ok(CoherenceFields { coherence })
            }
            _ => Err(Problem::bad_value(
                "coherence",
                "must be a number from 0 to 100",
            )),
        }
    }
}

impl LabelFields {
    /// What a label may be is the room's to say.
    pub fn read(fields: &Fields) -> Result<Self, Problem> {
        match present(fields, "label") {
            Some(Value::String(label)) => Ok(LabelFields {
                label: label.clone(),
            }),
            _ => Err(Problem::bad_value("label", "must be text")),
        }
    }
}

impl HeartFields {
    pub fn read(fields: &Fields) -> Result<Self, Problem> {
        match text(fields, "method", WORD_CHARS)?.as_deref() {
            Some("tap") => Ok(HeartFields::Tap {
                taps: taps(fields)?,
            }),
            Some("lift") => Ok(HeartFields::Lift),
            Some("hold") => Ok(HeartFields::Hold),
            _ => {
                let wants = "must be `tap`, `lift` or `hold`";
                Err(Problem::bad_value("method", wants))
            }
        }
    }
}

impl From<HeartFields> for HeartSign {
    fn from(fields: HeartFields) -> Self {
        match fields {
            HeartFields::Tap { taps } => HeartSign::Tapped { at_ms: taps },
            HeartFields::Lift => HeartSign::Lifted,
            HeartFields::Hold => HeartSign::Held,
        }
    }
}

impl ClaimFields {
    pub fn read(fields: &Fields) -> Result<Self, Problem> {
        let strap = strap(fields)?;
        let strap =
            strap.ok_or_else(|| Problem::bad_value("strap", "must be the label of a strap"))?;
        Ok(ClaimFields { strap })
    }
}

fn taps(fields: &Fields) -> Result<Vec<f64>, Problem> {
    let Some(Value::Array(values)) = present(fields, "taps") else {
        return Err(Problem::bad_value("taps", "must be a list of times"));
    };
    if !TAPS.contains(&values.len()) {
        return Err(Problem::bad_value("taps", "must hold 8 to 48 touches"));
    }
    let read = |(n, value): (usize, &Value)| match value.as_f64() {
        Some(at_ms) if (0.0..=TIME_MAX_MS).contains(&at_ms) => Ok(at_ms),
        _ => {
            let wants = "must be a time in Unix milliseconds";
            Err(Problem::bad_value(&format!("taps[{n}]"), wants))
        }
    };
    values.iter().enumerate().map(read).collect()
}

/// A field that is there; `null` counts as absent.
pub fn present<'a>(fields: &'a Fields, name: &str) -> Option<&'a Value> {
    fields.get(name).filter(|value| !value.is_null())
}

/// Text, trimmed, without control characters; empty counts as absent.
pub fn text(fields: &Fields, name: &str, chars_max: usize) -> Result<Option<String>, Problem> {
    match present(fields, name) {
        None => Ok(None),
        Some(Value::String(text)) => {
            tidy(text, chars_max).map_err(|wants| Problem::bad_value(name, &wants))
        }
        Some(_) => Err(Problem::bad_value(name, "must be text")),
    }
}

fn tidy(text: &str, chars_max: usize) -> Result<Option<String>, String> {
    let text = text.trim();
    if text.chars().count() > chars_max {
        return Err(format!("must have at most {chars_max} characters"));
    }
    if text.chars().any(char::is_control) {
        return Err("must not hold control characters".into());
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// A strap's label, or its number alone.
fn strap(fields: &Fields) -> Result<Option<String>, Problem> {
    match present(fields, "strap") {
        Some(Value::Number(number)) if number.is_u64() => Ok(Some(number.to_string())),
        Some(Value::String(_)) | None => text(fields, "strap", WORD_CHARS),
        Some(_) => Err(Problem::bad_value("strap", "must be the label of a strap")),
    }
}

/// `leader` or `follower`.
pub fn role(fields: &Fields) -> Result<Option<Role>, Problem> {
    match present(fields, "role") {
        None => Ok(None),
        Some(Value::String(role)) if role == "leader" => Ok(Some(Role::Leader)),
        Some(Value::String(role)) if role == "follower" => Ok(Some(Role::Follower)),
        Some(_) => Err(Problem::bad_value("role", "must be `leader` or `follower`")),
    }
}

/// A number in bounds, fractions and all.
pub fn number(
    fields: &Fields,
    name: &str,
    bounds: RangeInclusive<f64>,
    wants: &str,
) -> Result<Option<f64>, Problem> {
    match present(fields, name) {
        None => Ok(None),
        Some(value) => match value.as_f64() {
            Some(number) if bounds.contains(&number) => Ok(Some(number)),
            _ => Err(Problem::bad_value(name, wants)),
        },
    }
}

/// A time in Unix ms. Phones compute with floating point, so a fraction is dropped.
fn time(fields: &Fields, name: &str) -> Result<Option<i64>, Problem> {
    match present(fields, name) {
        None => Ok(None),
        Some(value) => match value.as_f64() {
            Some(at_ms) if (0.0..=TIME_MAX_MS).contains(&at_ms) => Ok(Some(at_ms as i64)),
            _ => Err(Problem::bad_value(
                name,
                "must be a time in Unix milliseconds",
            )),
        },
    }
}
