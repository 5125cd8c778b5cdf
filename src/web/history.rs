//! How the hub did, minute by minute: `GET /api/history`, for who looks after it.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::WebState;
use super::guard::Peer;
use super::problem::{Code, Problem, ProblemBody, TokenRefused};
use super::rest::{fresh, not_read};
use super::rest_participants::bearer;
use crate::access::Who;
use crate::telemetry::load::Figures;

const STEP_MS: i64 = 60_000;

/// A day of minutes.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// From one entry to the next while the hub runs: a minute.
    pub step_ms: i64,
    /// Oldest first; a minute in which the hub did not run is absent.
    pub minutes: Vec<Minute>,
}

/// One minute.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Minute {
    /// The end of the minute, Unix ms of the hub's clock.
    pub at: i64,
    /// Whether that clock was known to be right.
    pub synced: bool,
    #[serde(flatten)]
    pub figures: Figures,
}

/// How the hub did in the last day, minute by minute. For the facilitator, and for programs on the
/// hub itself.
#[utoipa::path(
    get, path = "/api/history", tag = "hub", security(("token" = []), ()),
    responses(
        (status = 200, body = History),
        TokenRefused,
        (status = 503, description = "busy: the store did not answer", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn history(
    State(web): State<Arc<WebState>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let who = match headers.contains_key(AUTHORIZATION) {
        true => Some(web.who(bearer(&headers)?)?),
        false => None,
    };
    may_read(peer.ip(), who)?;
    let kept = web.store.history().await.map_err(not_read)?;
    let minutes = kept
        .into_iter()
        .map(|(at, figures)| Minute {
            at: at.wall_ms,
            synced: at.synced,
            figures,
        })
        .collect();
    Ok(fresh(History {
        step_ms: STEP_MS,
        minutes,
    }))
}

fn may_read(peer: IpAddr, who: Option<Who>) -> Result<(), Problem> {
    match who {
        Some(Who::Facilitator { .. }) => Ok(()),
        _ if peer.is_loopback() => Ok(()),
        Some(Who::Participant(_) | Who::Scoped(_)) => Err(Problem::new(
            Code::Forbidden,
            "The hub's history is for the facilitator.",
        )),
        None => Err(Problem::new(
            Code::Unauthorized,
            "The hub's history is for the facilitator: send their token.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::room::ParticipantId;

    #[test]
    fn the_history_is_for_the_facilitator_and_for_the_hub_itself() {
        let code = |peer: [u8; 4], who| may_read(peer.into(), who).err().map(|no| no.code);
        let facilitator = Some(Who::Facilitator { expires_at_ms: 1 });
        let participant = Some(Who::Participant(ParticipantId(Uuid::from_u128(1))));
        let away = [192, 168, 1, 7];
        assert_eq!(code(away, facilitator), None);
        assert_eq!(code([127, 0, 0, 1], None), None);
        assert_eq!(code(away, None), Some(Code::Unauthorized));
        assert_eq!(code(away, participant), Some(Code::Forbidden));
    }
}
