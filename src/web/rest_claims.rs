//! REST for one person's strap: finding it, putting it on, taking it off. The same wishes as frames are
//! in `ws/answer`. And for the facilitator: which two entries are one strap with two radios.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::WebState;
use super::fields::{ClaimFields, HeartFields};
use super::problem::{BodyRefused, Code, Problem, ProblemBody, TokenRefused};
use super::rest_participants::{Me, bearer, done, unexpected};
use crate::access::Who;
use crate::room::command::{Command, Reply};
use crate::room::view::HeartFoundView;

type Fields = Json<Map<String, Value>>;

/// The strap that is theirs from now on.
#[derive(Debug, Serialize, ToSchema)]
pub struct Claimed {
    /// Its label.
    pub strap: String,
}

/// "This is my heart": which strap is it? The answer names the straps that fit, and proposes one where
/// it clearly leads; claiming it is the person's to do.
#[utoipa::path(
    post, path = "/api/participants/{id}/heart", tag = "participants", request_body = HeartFields,
    params(("id" = String, Path, description = "`participantId` from joining")),
    security(("bearer" = [])),
    responses(
        (status = 200, body = HeartFoundView),
        TokenRefused,
        BodyRefused,
        (status = 404, description = "unknown_participant", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "not_joined", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "rate_limited: asked too often", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "busy", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn find(
    State(web): State<Arc<WebState>>,
    Me(participant): Me,
    Json(fields): Fields,
) -> Result<Json<HeartFoundView>, Problem> {
    let sign = HeartFields::read(&fields)?.into();
    let command = Command::FindHeart { participant, sign };
    match web.room.apply(command, None).await? {
        Reply::HeartFound(view) => Ok(Json(view)),
        _ => Err(unexpected()),
    }
}

/// Wear a strap from now on, instead of any other. One that somebody else wears passes on only within a
/// minute after the hub has proposed it to whom it asks; the other phone is told (`strap_moved`).
#[utoipa::path(
    put, path = "/api/participants/{id}/strap", tag = "participants", request_body = ClaimFields,
    params(("id" = String, Path, description = "`participantId` from joining")),
    security(("bearer" = [])),
    responses(
        (status = 200, body = Claimed),
        TokenRefused,
        BodyRefused,
        (status = 404, description = "unknown_participant, unknown_strap", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "not_joined, strap_taken", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "busy", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn claim(
    State(web): State<Arc<WebState>>,
    Me(participant): Me,
    Json(fields): Fields,
) -> Result<Json<Claimed>, Problem> {
    let ClaimFields { strap } = ClaimFields::read(&fields)?;
    let command = Command::ClaimStrap { participant, strap };
    match web.room.apply(command, None).await? {
        Reply::Claimed { strap } => Ok(Json(Claimed { strap })),
        _ => Err(unexpected()),
    }
}

/// Wear no strap any more. What was kept while it was worn stays theirs.
#[utoipa::path(
    delete, path = "/api/participants/{id}/strap", tag = "participants",
    params(("id" = String, Path, description = "`participantId` from joining")),
    security(("bearer" = [])),
    responses(
        (status = 204, description = "They wear none"),
        TokenRefused,
        (status = 404, description = "unknown_participant", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "not_joined", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "busy", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn release(
    State(web): State<Arc<WebState>>,
    Me(participant): Me,
) -> Result<StatusCode, Problem> {
    done(&web, Command::ReleaseStrap { participant }).await
}

/// Say that two labels are one strap that is heard over two radios. The hub finds that out by itself; this
/// is for where it said so wrongly before. Only for the facilitator.
#[utoipa::path(
    put, path = "/api/straps/{label}/twin", tag = "room", request_body = ClaimFields,
    params(("label" = String, Path, description = "The label of a strap: `strap 7` or `7`")),
    security(("token" = [])),
    responses(
        (status = 204, description = "They are one"),
        TokenRefused,
        BodyRefused,
        (status = 404, description = "unknown_strap", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "strap_taken: two people wear them", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "busy", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn unite(
    State(web): State<Arc<WebState>>,
    Path(label): Path<String>,
    headers: HeaderMap,
    Json(fields): Fields,
) -> Result<StatusCode, Problem> {
    facilitator(&web, &headers)?;
    let other = ClaimFields::read(&fields)?.strap;
    let strap = label;
    done(&web, Command::UniteStraps { strap, other }).await
}

/// Say that what is shown as one strap with two radios are two people's. The hub does not take them for one
/// again. Only for the facilitator.
#[utoipa::path(
    delete, path = "/api/straps/{label}/twin", tag = "room",
    params(("label" = String, Path, description = "The label of a strap: `strap 7` or `7`")),
    security(("token" = [])),
    responses(
        (status = 204, description = "They are two"),
        TokenRefused,
        (status = 404, description = "unknown_strap", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "bad_value: it has one radio only", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "busy", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn part(
    State(web): State<Arc<WebState>>,
    Path(label): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    facilitator(&web, &headers)?;
    done(&web, Command::PartStrap { strap: label }).await
}

fn facilitator(web: &WebState, headers: &HeaderMap) -> Result<(), Problem> {
    match web.who(bearer(headers)?)? {
        Who::Facilitator { .. } => Ok(()),
        Who::Participant(_) | Who::Scoped(_) => {
            let detail = "This takes a facilitator's token, given for the PIN over the WebSocket.";
            Err(Problem::new(Code::Forbidden, detail))
        }
    }
}
