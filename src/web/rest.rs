//! REST for everybody: the hub's figures and time, sessions. Nothing here names a person;
//! what is a person's own is in `rest_participants`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::WebState;
use super::guard::Peer;
use super::problem::{Code, Problem, ProblemBody};
use super::rest_participants::bearer;
use crate::access::{Scope, Who};
use crate::room::rows::GroupRow;
use crate::room::stage_view::SnapshotView;
use crate::room::view::{GroupView, Phase, SessionView};
use crate::room::{SettingsHash, Suppression, shown_group};
use crate::room_task::Published;
use crate::store::{SessionKept, StoreError};

/// About a day of sessions of a quarter of an hour. Each is summed up from its group's figures, and
/// meanwhile the store's one thread writes nothing.
const SESSIONS_MAX: u32 = 100;

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Time {
    /// Unix ms of the hub's clock.
    pub server_time: i64,
    /// Whether the hub's clock was known to be right when this session began.
    pub clock_synced: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Sessions {
    /// Newest first; the first one is running. In past ones `participants` and `scored` are the most
    /// at any one time.
    pub sessions: Vec<SessionView>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct SessionWithGroup {
    pub session: SessionView,
    /// By what the scores behind these figures were made, in order of time.
    pub definitions: Vec<Definition>,
    /// The group's figures at each grid point (every 5 s), in order of time.
    pub group: Vec<GroupView>,
}

/// A stage as it is now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageShown {
    #[serde(flatten)]
    pub stage: SnapshotView,
    /// Unix ms of the hub's clock.
    pub server_time: i64,
}

/// A definition of the score, and since when it was in force.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Definition {
    /// The first grid point, Unix ms of the hub's clock.
    pub from_at: i64,
    /// Its version.
    pub algorithm: u32,
    /// Names the constants of that version: 16 hexadecimal digits of the SHA-256 of their text.
    #[schema(value_type = String)]
    pub settings: SettingsHash,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SessionsQuery {
    /// How many at most.
    #[param(minimum = 1, maximum = 100, default = 100)]
    limit: Option<u32>,
}

/// Figures for Prometheus: from the hub's own machine, or with a token of the scope `metrics` or a
/// facilitator's.
#[utoipa::path(
    get, path = "/metrics", tag = "hub",
    security(("token" = []), ()),
    responses(
        (status = 200, description = "Prometheus text format", content_type = "text/plain", body = String),
        (status = 401, description = "unauthorized, bad_token", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "forbidden: a participant's token", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn metrics(
    State(web): State<Arc<WebState>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    if !peer.ip().is_loopback() {
        may_see_metrics(&web, &headers).await?;
    }
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    Ok((
        [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store")],
        web.metrics.render(),
    ))
}

async fn may_see_metrics(web: &WebState, headers: &HeaderMap) -> Result<(), Problem> {
    let token = bearer(headers).map_err(|_| {
        let detail = "From another machine this takes a token: `Authorization: Bearer …`, made on the hub \
            by `coherence-hub token new --scope metrics --name NAME`.";
        Problem::new(Code::Unauthorized, detail)
    })?;
    match web.who(token)? {
        Who::Scoped(Scope::Metrics) => {
            web.gate.note_use(token, web.now()).await;
            Ok(())
        }
        Who::Facilitator { .. } => Ok(()),
        Who::Participant(_) => {
            let detail =
                "A participant's token does not open this; one of the scope `metrics` does.";
            Err(Problem::new(Code::Forbidden, detail))
        }
    }
}

/// The hub's clock.
#[utoipa::path(get, path = "/api/time", tag = "hub", responses((status = 200, body = Time)))]
pub async fn time(State(web): State<Arc<WebState>>) -> impl IntoResponse {
    let clock_synced = web.room.published().borrow().clock_synced;
    let server_time = web.hub_now_ms();
    fresh(Time {
        server_time,
        clock_synced,
    })
}

/// The running session and past ones.
#[utoipa::path(
    get, path = "/api/sessions", tag = "room", params(SessionsQuery),
    responses(
        (status = 200, body = Sessions),
        (status = 400, description = "bad_request: the query can't be read", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "bad_value", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "busy: the store did not answer", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn sessions(
    State(web): State<Arc<WebState>>,
    Query(query): Query<SessionsQuery>,
) -> Result<impl IntoResponse, Problem> {
    let limit = query.limit.unwrap_or(SESSIONS_MAX);
    if !(1..=SESSIONS_MAX).contains(&limit) {
        return Err(Problem::bad_value("limit", "must be from 1 to 100"));
    }
    let kept = web.store.sessions(limit).await.map_err(not_read)?;
    let live = web.room.published().borrow().session.clone();
    let past = kept
        .into_iter()
        .filter(|kept| kept.session.id != live.id)
        .map(past_session);
    let mut sessions: Vec<_> = past.collect();
    sessions.insert(0, live);
    sessions.truncate(limit as usize);
    Ok(fresh(Sessions { sessions }))
}

/// The running session.
#[utoipa::path(
    get, path = "/api/sessions/current", tag = "room",
    responses(
        (status = 200, body = SessionWithGroup),
        (status = 503, description = "busy: the store did not answer", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn current_session(
    State(web): State<Arc<WebState>>,
) -> Result<impl IntoResponse, Problem> {
    let live = Arc::clone(&web.room.published().borrow());
    let kept = web
        .store
        .session(live.session.id.clone())
        .await
        .map_err(not_read)?;
    let rows = kept.map(|(_, rows)| rows).unwrap_or_default();
    Ok(fresh(running(&live, &rows, web.suppression())))
}

/// One session with its group series, running or past.
#[utoipa::path(
    get, path = "/api/sessions/{id}", tag = "room",
    params(("id" = String, Path, description = "As in `session.id`, for example `20261120T0945Z`")),
    responses(
        (status = 200, body = SessionWithGroup),
        (status = 404, description = "unknown_session", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "busy: the store did not answer", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn session(
    State(web): State<Arc<WebState>>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let live = Arc::clone(&web.room.published().borrow());
    let kept = web.store.session(id.clone()).await.map_err(not_read)?;
    match kept {
        Some((_, rows)) if id == live.session.id => {
            Ok(fresh(running(&live, &rows, web.suppression())))
        }
        None if id == live.session.id => Ok(fresh(running(&live, &[], web.suppression()))),
        Some((kept, rows)) => Ok(fresh(SessionWithGroup {
            session: past_session(kept),
            definitions: definitions(&rows),
            group: series(&rows, web.suppression()),
        })),
        None => {
            let id: String = id.chars().take(64).collect();
            let detail = format!("This hub keeps no session {id:?}. GET /api/sessions lists them.");
            Err(Problem::new(Code::UnknownSession, detail))
        }
    }
}

/// The stage of a session, to look at once: the room's under the id of the running session, a named
/// session's under its name. Live it comes as `snapshot` through the WebSocket.
#[utoipa::path(
    get, path = "/sessions/{id}", tag = "room",
    params(("id" = String, Path, description = "As in `session.id`, or the name of a named session")),
    responses(
        (status = 200, body = StageShown),
        (status = 404, description = "unknown_session: it does not run now", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn stage(
    State(web): State<Arc<WebState>>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let running = web.room.published().borrow().session.id == id;
    let stage = match running {
        true => Some(web.room.stage()),
        false => web.room.named_stage(id.clone()).await,
    };
    let Some(stage) = stage else {
        let id: String = id.chars().take(64).collect();
        let detail = format!(
            "No session {id:?} runs now, and a stage is not kept when its session has ended. GET /api/sessions \
             lists the room's sessions, GET /api/sessions/{{id}} shows their figures."
        );
        return Err(Problem::new(Code::UnknownSession, detail));
    };
    let stage = stage.borrow().view.clone();
    let server_time = web.hub_now_ms();
    Ok(fresh(StageShown { stage, server_time }))
}

/// An answer that is true now and not to be kept.
pub fn fresh<T: Serialize>(body: T) -> impl IntoResponse {
    ([(CACHE_CONTROL, "no-store")], Json(body))
}

/// The store's "no" to a reader.
pub fn not_read(error: StoreError) -> Problem {
    tracing::warn!(%error, "the store did not answer a reader");
    Problem::new(
        Code::Busy,
        "The hub could not read this just now. Try again in a moment.",
    )
    .retry_after(1000)
}

fn running(live: &Published, rows: &[GroupRow], rule: Suppression) -> SessionWithGroup {
    SessionWithGroup {
        session: live.session.clone(),
        definitions: definitions(rows),
        group: series(rows, rule),
    }
}

fn past_session(kept: SessionKept) -> SessionView {
    SessionView {
        id: kept.session.id,
        starts_at: kept.session.starts_at_ms,
        ends_at: kept.session.ends_at_ms,
        phase: Phase::Complete,
        phase_ends_at: kept.session.ends_at_ms,
        participants: kept.participants,
        scored: kept.scored,
    }
}

/// A session's figures as everybody saw them: the peak is the highest shown average up to then.
fn series(rows: &[GroupRow], rule: Suppression) -> Vec<GroupView> {
    let mut peak: Option<f64> = None;
    let mut show = |row: &GroupRow| {
        if let Some(average) = row.average.filter(|_| !row.suppressed) {
            peak = Some(peak.map_or(average, |peak| peak.max(average)));
        }
        shown_group(row, peak, rule)
    };
    rows.iter().map(&mut show).collect()
}

fn definitions(rows: &[GroupRow]) -> Vec<Definition> {
    let of_row = |row: &GroupRow| {
        let (algorithm, settings) = row.algorithm.zip(row.settings)?;
        let from_at = row.at.wall_ms;
        Some(Definition {
            from_at,
            algorithm,
            settings,
        })
    };
    let mut found: Vec<Definition> = rows.iter().filter_map(of_row).collect();
    found.dedup_by_key(|definition| (definition.algorithm, definition.settings));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::rows::{SessionRow, Stamp};
    use crate::signal::Version;

    const RULE: Suppression = Suppression {
        min_group: 3,
        min_distribution: 5,
    };

    fn row(at_ms: i64, average: f64, hearts: u32) -> GroupRow {
        GroupRow {
            session_id: "20261120T0945Z".into(),
            at: Stamp {
                mono_ms: at_ms,
                wall_ms: at_ms,
                synced: true,
            },
            average: Some(average),
            standard_error: None,
            low: 1,
            medium: 1,
            high: hearts.saturating_sub(2),
            participants: hearts,
            scored: hearts,
            hearts,
            suppressed: hearts < RULE.min_group,
            algorithm: Some(1),
            settings: Some(SettingsHash::of(Version::One)),
            synchrony: None,
        }
    }

    #[test]
    fn history_shows_no_more_than_the_room_showed_and_its_peak_grows() {
        let rows = [row(0, 90.0, 2), row(5000, 51.2, 4), row(10_000, 48.0, 5)];
        let shown = series(&rows, RULE);
        let figures: Vec<_> = shown
            .iter()
            .map(|g| (g.average, g.peak, g.distribution.is_some()))
            .collect();
        let expected = [
            (None, None, false),
            (Some(51), Some(51), false),
            (Some(48), Some(51), true),
        ];
        assert_eq!(figures, expected);
        assert_eq!(shown[0].suppressed, Some("too_few"));
    }

    #[test]
    fn a_session_tells_by_what_it_was_scored_and_since_when() {
        let settings = SettingsHash::read("00112233445566aa");
        let without = GroupRow {
            algorithm: None,
            settings: None,
            ..row(0, 50.0, 4)
        };
        let other = |at_ms| GroupRow {
            settings,
            ..row(at_ms, 50.0, 4)
        };
        let rows = [
            without,
            row(5000, 50.0, 4),
            row(10_000, 50.0, 4),
            other(15_000),
            other(20_000),
        ];
        let found = definitions(&rows);
        let moments: Vec<_> = found.iter().map(|d| d.from_at).collect();
        assert_eq!(moments, [5000, 15_000]);
        assert_eq!(Some(found[1].settings), settings);
    }

    #[test]
    fn a_past_session_is_complete() {
        let session = SessionRow {
            id: "20261120T0945Z".into(),
            starts_at_ms: 1000,
            ends_at_ms: 901_000,
            start_mono_ms: 0,
            end_mono_ms: 900_000,
            offset_ms: 1000,
            synced: true,
        };
        let kept = SessionKept {
            session,
            participants: 7,
            scored: 5,
            grid_points: 180,
        };
        let view = past_session(kept);
        assert_eq!((view.phase, view.phase_ends_at), (Phase::Complete, 901_000));
        assert_eq!((view.participants, view.scored), (7, 5));
    }
}
