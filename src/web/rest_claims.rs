//! REST for one person's strap: finding it, putting it on, taking it off. The same wishes as frames are
//! in `ws/answer`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::WebState;
use super::fields::{ClaimFields, HeartFields};
use super::problem::{Problem, ProblemBody};
use super::rest_participants::{Me, done, unexpected};
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
        (status = 400, description = "bad_json", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "unauthorized, bad_token", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "forbidden", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "unknown_participant", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "not_joined", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "too_large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "unsupported_media_type", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "bad_value", body = ProblemBody, content_type = "application/problem+json"),
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
        (status = 400, description = "bad_json", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "unauthorized, bad_token", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "forbidden", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "unknown_participant, unknown_strap", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "not_joined, strap_taken", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "too_large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "unsupported_media_type", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "bad_value", body = ProblemBody, content_type = "application/problem+json"),
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
        (status = 401, description = "unauthorized, bad_token", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "forbidden", body = ProblemBody, content_type = "application/problem+json"),
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
