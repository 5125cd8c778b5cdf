//! Every "no" of the web, in one shape: RFC 9457 over HTTP, an `error` frame on a socket, with the
//! same stable code. Here too: the layer that rewrites refusals that axum itself made.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, UPGRADE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::openapi::{self, RefOr};
use utoipa::{IntoResponses, ToSchema};

use crate::room::command::Refusal;
use crate::telemetry::load::Fault;
use crate::telemetry::tally;

pub const CONTENT_TYPE_PROBLEM: &str = "application/problem+json";

/// Why something was not done: what is, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub code: Code,
    /// A sentence for the person who asked.
    pub detail: String,
    /// The field that is wrong, where one is.
    pub field: Option<String>,
    /// When it is worth trying again.
    pub retry_after_ms: Option<i64>,
}

macro_rules! codes {
    ($($name:ident $word:literal $status:ident $title:literal)*) => {
        /// The stable codes; `urn:coherence-hub:problem:<code>` is the problem's type.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code { $($name),* }

        impl Code {
            pub const ALL: &[Code] = &[$(Code::$name),*];

            pub fn word(self) -> &'static str {
                match self { $(Code::$name => $word),* }
            }

            pub fn status(self) -> StatusCode {
                match self { $(Code::$name => StatusCode::$status),* }
            }

            pub fn title(self) -> &'static str {
                match self { $(Code::$name => $title),* }
            }
        }
    };
}

codes! {
    BadRequest "bad_request" BAD_REQUEST "The request can't be understood"
    BadHost "bad_host" BAD_REQUEST "The request does not name this hub"
    HttpsNeeded "https_needed" BAD_REQUEST "This hub speaks HTTPS"
    BadJson "bad_json" BAD_REQUEST "This is no JSON object"
    BadValue "bad_value" UNPROCESSABLE_ENTITY "A value is not acceptable"
    UnknownType "unknown_type" BAD_REQUEST "Unknown type of frame"
    NotText "not_text" BAD_REQUEST "Only text frames are understood"
    Unauthorized "unauthorized" UNAUTHORIZED "A token is needed"
    BadToken "bad_token" UNAUTHORIZED "This token is not valid"
    WrongPin "wrong_pin" UNAUTHORIZED "This PIN is not right"
    PinLocked "pin_locked" TOO_MANY_REQUESTS "Too many wrong PINs"
    RoomClosed "room_code" FORBIDDEN "The room's code is needed"
    RoomCodeLocked "room_code_locked" TOO_MANY_REQUESTS "Too many wrong room codes"
    Forbidden "forbidden" FORBIDDEN "This is not yours"
    ForeignOrigin "foreign_origin" FORBIDDEN "A page from elsewhere may not ask this"
    NotFound "not_found" NOT_FOUND "There is nothing here"
    NotConfigured "not_configured" NOT_FOUND "This is not set up"
    UnknownSession "unknown_session" NOT_FOUND "No such session"
    UnknownParticipant "unknown_participant" NOT_FOUND "No such participant"
    UnknownStrap "unknown_strap" NOT_FOUND "No such strap"
    MethodNotAllowed "method_not_allowed" METHOD_NOT_ALLOWED "This can't be done here"
    TooSlow "too_slow" REQUEST_TIMEOUT "The request came too slowly"
    NotJoined "not_joined" CONFLICT "Not in the session"
    AlreadyJoined "already_joined" CONFLICT "Already in the session as somebody else"
    StrapTaken "strap_taken" CONFLICT "Somebody else wears this strap"
    LabelTaken "label_taken" CONFLICT "Another strap has this label"
    UriTooLong "uri_too_long" URI_TOO_LONG "The target is too long"
    TooLarge "too_large" PAYLOAD_TOO_LARGE "Too large"
    UnsupportedMediaType "unsupported_media_type" UNSUPPORTED_MEDIA_TYPE "JSON is needed"
    Misdirected "misdirected" MISDIRECTED_REQUEST "This is another hub"
    UpgradeRequired "upgrade_required" UPGRADE_REQUIRED "This is a WebSocket"
    RateLimited "rate_limited" TOO_MANY_REQUESTS "Too many requests"
    Internal "internal" INTERNAL_SERVER_ERROR "The hub failed"
    NotLeader "not_leader" FORBIDDEN "Others lead here"
    RoomFull "room_full" SERVICE_UNAVAILABLE "The room is full"
    SessionsFull "sessions_full" SERVICE_UNAVAILABLE "The hub holds no more sessions"
    Busy "busy" SERVICE_UNAVAILABLE "The hub is busy"
    TooManyConnections "too_many_connections" SERVICE_UNAVAILABLE "The hub has no place for this connection"
    NotStored "not_stored" SERVICE_UNAVAILABLE "It could not be stored"
    NotServing "not_serving" SERVICE_UNAVAILABLE "The hub does not serve at present"
}

impl Problem {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Problem {
            code,
            detail: detail.into(),
            field: None,
            retry_after_ms: None,
        }
    }

    /// A value that is not acceptable; `wants` says what would be, as the end of a sentence.
    pub fn bad_value(field: &str, wants: &str) -> Self {
        Problem {
            field: Some(field.to_owned()),
            ..Problem::new(Code::BadValue, format!("`{field}` {wants}."))
        }
    }

    pub fn retry_after(mut self, wait_ms: i64) -> Self {
        self.retry_after_ms = Some(wait_ms);
        self
    }
}

impl Problem {
    /// Counts it if it is the hub's own fault; a full room is none.
    pub fn count(&self) {
        let full = matches!(
            self.code,
            Code::RoomFull | Code::SessionsFull | Code::TooManyConnections
        );
        if self.code.status().is_server_error() && !full {
            tally::fault(Fault::Answer, 1);
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let word = refusal.code.word();
        let code = Code::ALL.iter().copied().find(|code| code.word() == word);
        // Both lists are held together by a test; a refusal must reach the person in any case.
        Problem::new(code.unwrap_or(Code::BadRequest), refusal.message)
    }
}

/// The body of every error: RFC 9457.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// `urn:coherence-hub:problem:` and the code.
    pub r#type: String,
    /// The same for every problem of this type.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What is, and what to do.
    pub detail: String,
    /// Stable, for programs.
    pub code: &'static str,
    /// The field that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// When it is worth trying again, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<i64>,
}

impl From<Problem> for ProblemBody {
    fn from(problem: Problem) -> Self {
        ProblemBody {
            r#type: format!("urn:coherence-hub:problem:{}", problem.code.word()),
            title: problem.code.title(),
            status: problem.code.status().as_u16(),
            detail: problem.detail,
            code: problem.code.word(),
            field: problem.field,
            retry_after_ms: problem.retry_after_ms,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.count();
        let (status, code) = (self.code.status(), self.code);
        let retry_after_s = self.retry_after_ms.map(|wait_ms| (wait_ms + 999) / 1000);
        let mut response = (status, Json(ProblemBody::from(self))).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE_PROBLEM));
        if status == StatusCode::UNAUTHORIZED {
            let scheme = match code {
                Code::BadToken => "Bearer realm=\"coherence-hub\", error=\"invalid_token\"",
                _ => "Bearer realm=\"coherence-hub\"",
            };
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
        }
        if status == StatusCode::UPGRADE_REQUIRED {
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        }
        if let Some(seconds) = retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Rewrites an error that is not yet a problem: axum's own rejections, and whatever a library says.
/// The status and the headers that go with it (`Allow`) stay.
pub async fn rewrite(response: Response) -> Response {
    let status = response.status();
    let told = response.headers().get(CONTENT_TYPE);
    if status.as_u16() < 400 || told.is_some_and(|kind| kind == CONTENT_TYPE_PROBLEM) {
        return response;
    }
    let (parts, body) = response.into_parts();
    // What axum says about a rejection is a line or two.
    let text = to_bytes(body, 4096).await.unwrap_or_default();
    let detail = String::from_utf8_lossy(&text).trim().to_owned();
    let code = code_of(status, &detail);
    let problem = Problem::new(code, detail);
    problem.count();
    let mut problem = ProblemBody::from(problem);
    // What serde calls a wrong type is no JSON object here, whatever status it came with.
    let status = if code == Code::BadJson {
        code.status()
    } else {
        status
    };
    problem.status = status.as_u16();
    if problem.detail.is_empty() {
        problem.detail = match code {
            Code::MethodNotAllowed => "The header `Allow` names what can be done here.".into(),
            _ => format!(
                "{}. GET /api/openapi.json lists what is served.",
                code.title()
            ),
        };
    }
    let json = serde_json::to_vec(&problem).expect("strings and numbers always serialise");
    let mut rewritten = Response::from_parts(parts, Body::from(json));
    *rewritten.status_mut() = status;
    let headers = rewritten.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE_PROBLEM));
    rewritten
}

/// What a request with a token may be answered, for the description of the API.
pub struct TokenRefused;

/// The same of a request with a body.
pub struct BodyRefused;

impl IntoResponses for TokenRefused {
    fn responses() -> BTreeMap<String, RefOr<openapi::Response>> {
        described(&[("401", "unauthorized, bad_token"), ("403", "forbidden")])
    }
}

impl IntoResponses for BodyRefused {
    fn responses() -> BTreeMap<String, RefOr<openapi::Response>> {
        described(&[
            ("400", "bad_json"),
            ("413", "too_large"),
            ("415", "unsupported_media_type"),
            ("422", "bad_value"),
        ])
    }
}

/// Problems by their status, described by their codes.
fn described(problems: &[(&str, &str)]) -> BTreeMap<String, RefOr<openapi::Response>> {
    let body = || {
        let schema = openapi::Ref::from_schema_name(ProblemBody::name());
        openapi::ContentBuilder::new().schema(Some(schema)).build()
    };
    let problems = problems.iter().map(|(status, codes)| {
        let response = openapi::ResponseBuilder::new()
            .description(*codes)
            .content(CONTENT_TYPE_PROBLEM, body());
        ((*status).to_owned(), RefOr::T(response.build()))
    });
    problems.collect()
}

fn code_of(status: StatusCode, detail: &str) -> Code {
    match status {
        StatusCode::BAD_REQUEST if detail.contains("JSON") => Code::BadJson,
        StatusCode::UNPROCESSABLE_ENTITY if detail.contains("invalid type: ") => Code::BadJson,
        StatusCode::UNAUTHORIZED => Code::Unauthorized,
        StatusCode::FORBIDDEN => Code::Forbidden,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => Code::MethodNotAllowed,
        StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UnsupportedMediaType,
        StatusCode::UNPROCESSABLE_ENTITY => Code::BadValue,
        StatusCode::UPGRADE_REQUIRED => Code::UpgradeRequired,
        StatusCode::TOO_MANY_REQUESTS => Code::RateLimited,
        StatusCode::SERVICE_UNAVAILABLE => Code::Busy,
        status if status.is_server_error() => Code::Internal,
        _ => Code::BadRequest,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header::ALLOW;

    use super::*;
    use crate::room::command::RefusalCode;

    async fn body(response: Response) -> serde_json::Value {
        let bytes = to_bytes(response.into_body(), 65_536).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn what_the_hub_failed_to_do_is_an_error_and_what_was_asked_wrongly_is_none() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        let mut counted = Vec::new();
        metrics::with_local_recorder(&recorder, || {
            for code in Code::ALL {
                let before = handle.render();
                Problem::new(*code, "").count();
                if handle.render() != before {
                    counted.push(*code);
                }
            }
        });
        let faults = [
            Code::Internal,
            Code::Busy,
            Code::NotStored,
            Code::NotServing,
        ];
        assert_eq!(counted, faults);
    }

    #[test]
    fn every_refusal_of_the_room_keeps_its_code_and_its_sentence() {
        use RefusalCode::*;
        let all = [
            UnknownParticipant,
            NotJoined,
            UnknownStrap,
            StrapTaken,
            LabelTaken,
            UnknownSession,
            BadValue,
            RateLimited,
            RoomFull,
            SessionsFull,
            NotLeader,
            Busy,
            NotStored,
        ];
        for code in all {
            let problem = Problem::from(Refusal::new(code, "Because."));
            assert_eq!(problem.code.word(), code.word());
            assert_eq!(problem.detail, "Because.");
        }
    }

    #[test]
    fn no_two_codes_are_spelled_alike() {
        let words: std::collections::BTreeSet<_> = Code::ALL.iter().map(|c| c.word()).collect();
        assert_eq!(words.len(), Code::ALL.len());
    }

    #[tokio::test]
    async fn a_problem_is_told_as_rfc_9457_says() {
        let response =
            Problem::bad_value("rr[3]", "must be above 0 and at most 65535").into_response();
        assert_eq!(response.status(), 422);
        assert_eq!(response.headers()[CONTENT_TYPE], CONTENT_TYPE_PROBLEM);
        let expected = serde_json::json!({
            "type": "urn:coherence-hub:problem:bad_value",
            "title": "A value is not acceptable",
            "status": 422,
            "detail": "`rr[3]` must be above 0 and at most 65535.",
            "code": "bad_value",
            "field": "rr[3]",
        });
        assert_eq!(body(response).await, expected);
    }

    #[tokio::test]
    async fn waiting_and_proving_are_asked_for_in_headers_too() {
        let locked = Problem::new(Code::PinLocked, "Wait.").retry_after(30_001);
        let response = locked.into_response();
        assert_eq!(response.headers()[RETRY_AFTER], "31");
        let response = Problem::new(Code::Unauthorized, "Join first.").into_response();
        assert_eq!(
            response.headers()[WWW_AUTHENTICATE],
            "Bearer realm=\"coherence-hub\""
        );
    }

    #[tokio::test]
    async fn a_foreign_error_is_rewritten_and_keeps_status_and_headers() {
        let foreign = (
            StatusCode::METHOD_NOT_ALLOWED,
            [(ALLOW, "GET,HEAD"), (CONTENT_LENGTH, "0")],
            "",
        );
        let response = rewrite(foreign.into_response()).await;
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()[ALLOW], "GET,HEAD");
        assert!(!response.headers().contains_key(CONTENT_LENGTH));
        let body = body(response).await;
        assert_eq!(body["code"], "method_not_allowed");
        assert_eq!(
            body["detail"],
            "The header `Allow` names what can be done here."
        );
    }

    #[tokio::test]
    async fn an_unusual_status_is_kept_as_it_is() {
        let foreign = (StatusCode::IM_A_TEAPOT, "Short and stout.");
        let response = rewrite(foreign.into_response()).await;
        assert_eq!(response.status(), 418);
        let body = body(response).await;
        assert_eq!(
            (&body["status"], &body["code"]),
            (&418.into(), &"bad_request".into())
        );
        assert_eq!(body["detail"], "Short and stout.");
    }

    #[tokio::test]
    async fn a_good_answer_passes_untouched() {
        let response = rewrite("hello".into_response()).await;
        let bytes = to_bytes(response.into_body(), 10).await.unwrap();
        assert_eq!(bytes, "hello");
    }
}
