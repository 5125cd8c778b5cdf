//! REST for one person: joining, own beats and scores, consent, own data, leaving, erasure. For
//! apps without a socket and for what is done after the session. The bearer token of a participant
//! opens that participant alone.

use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, FromRequestParts, Path, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::WebState;
use super::fields::{CoherenceFields, ConsentFields, JoinFields, RrFields};
use super::guard::Peer;
use super::my_data::MyData;
use super::problem::{BodyRefused, Code, Problem, ProblemBody, TokenRefused};
use super::rest::not_read;
use crate::access::Who;
use crate::room::ParticipantId;
use crate::room::command::{Command, Join, Reply};
use crate::room::view::{FeedbackView, GroupView, SessionView};

type Fields = Json<Map<String, Value>>;

/// The answer to a join.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Joined {
    pub participant_id: String,
    /// The bearer token from now on, and the way back in. Good until the participant is erased.
    pub resume_token: String,
    pub session: SessionView,
    pub group: GroupView,
    /// The label of the strap that is theirs; null for none.
    pub strap: Option<String>,
    /// Unix ms of the hub's clock.
    pub server_time: i64,
}

/// The participant in the path, proved by the bearer token.
pub struct Me(pub ParticipantId);

impl FromRequestParts<Arc<WebState>> for Me {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Arc<WebState>) -> Result<Self, Problem> {
        let token = bearer(&parts.headers)?;
        let who = web.who(token)?;
        let path = Path::<String>::from_request_parts(parts, web).await;
        let asked = path.ok().and_then(|Path(id)| Uuid::try_parse(&id).ok());
        match (who, asked) {
            (Who::Participant(id), Some(asked)) if id.0 == asked => Ok(Me(id)),
            _ => {
                let detail = "This token opens the data of the participant to whom it was given, and of nobody else.";
                Err(Problem::new(Code::Forbidden, detail))
            }
        }
    }
}

/// The token of a request.
pub fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let missing = || {
        let detail = "This needs the token from joining: `Authorization: Bearer <resumeToken>`.";
        Problem::new(Code::Unauthorized, detail)
    };
    let value = headers.get(AUTHORIZATION).ok_or_else(missing)?;
    let (scheme, token) = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .ok_or_else(missing)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(missing());
    }
    Ok(token.trim())
}

/// The socket over which somebody asks.
#[derive(Clone, Copy, Debug)]
pub struct Over {
    pub socket: u64,
    /// It has proved to be a facilitator's.
    pub facilitator: bool,
}

/// Turns what somebody asked into the room's join. A token from before makes it a return; it comes
/// from the socket's own proof (`proved`) or from the fields. Who has none must know the room's code.
pub async fn join_of(
    web: &WebState,
    fields: JoinFields,
    proved: Option<ParticipantId>,
    peer: Peer,
    over: Option<Over>,
) -> Result<Join, Problem> {
    let known = match &fields.resume_token {
        None => proved,
        Some(token) => match web.who(token)? {
            Who::Participant(id) => Some(id),
            Who::Facilitator { .. } | Who::Scoped(_) => {
                let detail = "This is not a participant's token, which is needed to come back.";
                return Err(Problem::new(Code::BadToken, detail));
            }
        },
    };
    if known.is_none() {
        web.may_join(peer.ip(), fields.room_code.as_deref()).await?;
    }
    web.guard.join(peer.ip(), known)?;
    Ok(Join {
        participant: known.unwrap_or_else(|| ParticipantId(Uuid::new_v4())),
        resumed: known.is_some(),
        session_id: fields.session_id,
        name: fields.name,
        intention: fields.intention,
        strap: fields.strap,
        consent: fields.consent.map(Into::into),
        role: fields.role,
        socket: over.map(|over| over.socket),
        facilitator: over.is_some_and(|over| over.facilitator),
        peer: peer.network(),
    })
}

/// Join the room, or come back to it with a resume token.
#[utoipa::path(
    post, path = "/api/participants", tag = "participants", request_body = JoinFields,
    responses(
        (status = 201, body = Joined),
        BodyRefused,
        (status = 401, description = "bad_token: the resume token is not of this hub", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "room_code: it is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "unknown_participant, unknown_strap, unknown_session", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "strap_taken", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "room_code_locked; rate_limited: too many joins from this address", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "room_full, busy, not_stored", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn join(
    State(web): State<Arc<WebState>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(fields): Fields,
) -> Result<impl IntoResponse, Problem> {
    let fields = JoinFields::read(&fields)?;
    let join = join_of(&web, fields, None, peer, None).await?;
    let Reply::Joined {
        participant,
        session,
        group,
        strap,
        ..
    } = web.room.apply(Command::Join(join), None).await?
    else {
        return Err(unexpected());
    };
    let joined = Joined {
        participant_id: participant.to_string(),
        resume_token: web.gate.participant_token(participant),
        session,
        group,
        strap,
        server_time: web.hub_now_ms(),
    };
    Ok((
        StatusCode::CREATED,
        [(CACHE_CONTROL, "no-store")],
        Json(joined),
    ))
}

/// Hand in R-R intervals that the phone heard itself; the answer is the latest own evaluation.
#[utoipa::path(
    post, path = "/api/participants/{id}/rr", tag = "participants", request_body = RrFields,
    params(("id" = String, Path, description = "`participantId` from joining")),
    security(("bearer" = [])),
    responses(
        (status = 200, body = FeedbackView),
        TokenRefused,
        BodyRefused,
        (status = 404, description = "unknown_participant", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "not_joined", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "rate_limited: more beats than a heart can make", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "busy", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn post_rr(
    State(web): State<Arc<WebState>>,
    Me(participant): Me,
    Json(fields): Fields,
) -> Result<Json<FeedbackView>, Problem> {
    let RrFields { rr, timestamp } = RrFields::read(&fields)?;
    feedback(
        &web,
        Command::PostRr {
            participant,
            rr_ms: rr,
            ended_at_ms: timestamp,
        },
    )
    .await
}

/// Hand in a score that the phone computed itself; the answer is the latest own evaluation.
#[utoipa::path(
    post, path = "/api/participants/{id}/coherence", tag = "participants", request_body = CoherenceFields,
    params(("id" = String, Path, description = "`participantId` from joining")),
    security(("bearer" = [])),
    responses(
        (status = 200, body = FeedbackView),
        TokenRefused,
        BodyRefused,
        (status = 404, description = "unknown_participant", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "not_joined", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "busy", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn post_coherence(
    State(web): State<Arc<WebState>>,
    Me(participant): Me,
    Json(fields): Fields,
) -> Result<Json<FeedbackView>, Problem> {
    let CoherenceFields { coherence } = CoherenceFields::read(&fields)?;
    feedback(
        &web,
        Command::PostCoherence {
            participant,
            coherence,
        },
    )
    .await
}

/// Say anew what is agreed to: scopes that are not named are withdrawn. Answered when it is stored.
#[utoipa::path(
    put, path = "/api/participants/{id}/consent", tag = "participants", request_body = ConsentFields,
    params(("id" = String, Path, description = "`participantId` from joining")),
    security(("bearer" = [])),
    responses(
        (status = 204, description = "Stored"),
        TokenRefused,
        BodyRefused,
        (status = 404, description = "unknown_participant", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "busy, not_stored", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn put_consent(
    State(web): State<Arc<WebState>>,
    Me(participant): Me,
    Json(fields): Fields,
) -> Result<StatusCode, Problem> {
    let consent = ConsentFields::read(&fields, "")?.into();
    done(
        &web,
        Command::Consent {
            participant,
            consent,
        },
    )
    .await
}

/// Everything that this hub keeps of this person. R-R intervals only over HTTPS or on the hub itself:
/// over plain HTTP from elsewhere `rr` is null and `rrWithheld` says why.
#[utoipa::path(
    get, path = "/api/participants/{id}/data", tag = "participants",
    params(("id" = String, Path, description = "`participantId` from joining")),
    security(("bearer" = [])),
    responses(
        (status = 200, body = MyData),
        TokenRefused,
        (status = 404, description = "unknown_participant", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "rate_limited: it is being sent to them already", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "busy", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn data(
    State(web): State<Arc<WebState>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Me(participant): Me,
) -> Result<impl IntoResponse, Problem> {
    let with_rr = peer.is_private();
    let turn = web.live.desk.turn(participant).await;
    let turn = turn.map_err(|problem| web.guard.refused(peer.ip(), problem))?;
    let kept = web
        .store
        .participant_data(participant, with_rr)
        .await
        .map_err(not_read)?;
    let kept = kept.ok_or_else(|| {
        let detail = "This hub keeps nothing of this participant.";
        Problem::new(Code::UnknownParticipant, detail)
    })?;
    let data = MyData::new(kept, with_rr);
    let bytes = serde_json::to_vec(&data).expect("strings and numbers always serialise");
    let headers = [
        (CACHE_CONTROL, "no-store".to_owned()),
        (CONTENT_TYPE, "application/json".to_owned()),
        // A download shows how far it is.
        (CONTENT_LENGTH, bytes.len().to_string()),
    ];
    Ok((headers, turn.body(bytes)))
}

/// Leave the session. Coming back is a join with the resume token.
#[utoipa::path(
    post, path = "/api/participants/{id}/leave", tag = "participants",
    params(("id" = String, Path, description = "`participantId` from joining")),
    security(("bearer" = [])),
    responses(
        (status = 204, description = "Left"),
        TokenRefused,
        (status = 404, description = "unknown_participant", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "busy", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn leave(
    State(web): State<Arc<WebState>>,
    Me(participant): Me,
) -> Result<StatusCode, Problem> {
    done(&web, Command::Leave { participant }).await
}

/// Erase everything about this person. Answered when nothing is left in the database; asking again does
/// no harm. What the central store has is erased there too, as soon as it is reached. A copy of the
/// database from before an upgrade, or a damaged one that was set aside, goes within a week.
#[utoipa::path(
    delete, path = "/api/participants/{id}", tag = "participants",
    params(("id" = String, Path, description = "`participantId` from joining")),
    security(("bearer" = [])),
    responses(
        (status = 204, description = "Erased"),
        TokenRefused,
        (status = 503, description = "busy, not_stored", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn erase(
    State(web): State<Arc<WebState>>,
    Me(participant): Me,
) -> Result<StatusCode, Problem> {
    done(&web, Command::Erase { participant }).await
}

async fn feedback(web: &WebState, command: Command) -> Result<Json<FeedbackView>, Problem> {
    match web.room.apply(command, None).await? {
        Reply::Feedback(view) => Ok(Json(view)),
        _ => Err(unexpected()),
    }
}

pub async fn done(web: &WebState, command: Command) -> Result<StatusCode, Problem> {
    web.room.apply(command, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The room answered another question.
pub fn unexpected() -> Problem {
    tracing::error!("the room's answer does not fit the question");
    Problem::new(Code::Internal, "The hub made a mistake. Try again.")
}
