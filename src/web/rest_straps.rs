//! REST for the straps: everybody sees how they are; a facilitator sees more of each, labels and forgets
//! them. No address and no name of a device is told here: those are for the admin's command line.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::WebState;
use super::fields::LabelFields;
use super::problem::{BodyRefused, Code, Problem, ProblemBody, TokenRefused};
use super::rest::fresh;
use super::rest_participants::bearer;
use crate::access::Who;
use crate::room::command::{Command, Reply};
use crate::room::view::{SourceView, StrapView};

#[derive(Debug, Serialize, ToSchema)]
pub struct Straps {
    pub straps: Vec<StrapView>,
    pub sources: Vec<SourceView>,
}

/// All straps by their label with their state, and the radios through which they are heard. With a
/// facilitator's token (`Authorization: Bearer`, optional) also their numbers, how many beats each has
/// sent, and when it was heard.
#[utoipa::path(
    get, path = "/api/straps", tag = "room", security(("token" = []), ()),
    responses(
        (status = 200, body = Straps),
        (status = 401, description = "bad_token", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn straps(
    State(web): State<Arc<WebState>>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let who = match headers.contains_key(AUTHORIZATION) {
        true => Some(web.who(bearer(&headers)?)?),
        false => None,
    };
    let published = Arc::clone(&web.room.published().borrow());
    let straps = published.straps.iter().cloned();
    let straps = match who {
        Some(Who::Facilitator { .. }) => straps.collect(),
        Some(Who::Participant(_) | Who::Scoped(_)) | None => {
            straps.map(StrapView::for_everybody).collect()
        }
    };
    Ok(fresh(Straps {
        straps,
        sources: published.sources.clone(),
    }))
}

/// Give a strap another label: what is written on it. For a facilitator. Answered when it is stored.
#[utoipa::path(
    patch, path = "/api/straps/{strap}", tag = "room", request_body = LabelFields,
    params(("strap" = String, Path, description = "Its label (`strap 7`, or `7` of it), or the hub's number of it (`#7`; in a URL `%237`)")),
    security(("token" = [])),
    responses(
        (status = 200, body = StrapView),
        TokenRefused,
        BodyRefused,
        (status = 404, description = "unknown_strap", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "label_taken", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "busy, not_stored", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn label(
    State(web): State<Arc<WebState>>,
    Path(strap): Path<String>,
    headers: HeaderMap,
    Json(fields): Json<Map<String, Value>>,
) -> Result<impl IntoResponse, Problem> {
    only_facilitators(&web, &headers)?;
    let LabelFields { label } = LabelFields::read(&fields)?;
    match web
        .room
        .apply(Command::LabelStrap { strap, label }, None)
        .await?
    {
        Reply::Strap(view) => Ok(fresh(view)),
        _ => Err(Problem::new(
            Code::Internal,
            "The room answered something else than it was asked.",
        )),
    }
}

/// Forget a strap: it leaves the registry, nobody wears it any more, and the radio forgets it too. R-R that
/// it delivered stay the data of who wore it. One that is still on is heard again, as a new one. For a
/// facilitator. Answered when it is stored.
#[utoipa::path(
    delete, path = "/api/straps/{strap}", tag = "room",
    params(("strap" = String, Path, description = "As for PATCH")),
    security(("token" = [])),
    responses(
        (status = 204, description = "Forgotten"),
        TokenRefused,
        (status = 404, description = "unknown_strap", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "busy, not_stored", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn forget(
    State(web): State<Arc<WebState>>,
    Path(strap): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    only_facilitators(&web, &headers)?;
    web.room.apply(Command::ForgetStrap { strap }, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn only_facilitators(web: &WebState, headers: &HeaderMap) -> Result<(), Problem> {
    let token = bearer(headers).map_err(|_| {
        let detail = "This is for the facilitator: send their token (`Authorization: Bearer …`), given for the PIN.";
        Problem::new(Code::Unauthorized, detail)
    })?;
    match web.who(token)? {
        Who::Facilitator { .. } => Ok(()),
        Who::Participant(_) | Who::Scoped(_) => Err(Problem::new(
            Code::Forbidden,
            "Straps are labelled and forgotten by the facilitator.",
        )),
    }
}
