//! How the hub is, part by part, in words: `GET /health`. It judges nothing by itself that a part
//! says of itself.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::WebState;
use super::problem::{Code, Problem, ProblemBody};
use super::rest::fresh;
use crate::room::view::{SessionView, SourceView};
use crate::store::StoreHealth;
use crate::telemetry::{Condition, Report};

/// How long the room and the store may take to show that they live.
const PING: Duration = Duration::from_secs(1);

/// How the hub is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// `degraded` when a part is; it serves all the same.
    pub status: Condition,
    /// Since the program began.
    pub uptime_ms: i64,
    pub version: &'static str,
    /// Random, made at the first start.
    pub hub_id: String,
    pub session: SessionView,
    /// People present.
    pub participants: u32,
    /// Open WebSockets.
    pub connections: usize,
    pub parts: Parts,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Parts {
    pub straps: Report,
    pub store: Report,
    /// The way to the central store.
    pub uplink: Report,
    pub clock: Report,
    /// Whether the hub keeps up with what it has to do.
    pub load: Report,
}

/// How the hub is: 200 even when a part is degraded, 503 when the room or the store does not answer.
#[utoipa::path(
    get, path = "/health", tag = "hub",
    responses(
        (status = 200, body = Health),
        (status = 503, description = "not_serving", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn health(State(web): State<Arc<WebState>>) -> Result<impl IntoResponse, Problem> {
    let room = tokio::time::timeout(PING, web.room.ping());
    let store = tokio::time::timeout(PING, web.store.ping());
    let (room, store) = tokio::join!(room, store);
    if !matches!(room, Ok(true)) {
        return Err(Problem::new(Code::NotServing, "The room does not answer."));
    }
    match store {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            let detail = format!("The store does not answer: {error}.");
            return Err(Problem::new(Code::NotServing, detail));
        }
        Err(_) => return Err(Problem::new(Code::NotServing, "The store does not answer.")),
    }
    let published = Arc::clone(&web.room.published().borrow());
    let parts = Parts {
        straps: straps_part(&published.sources),
        store: store_part(&web.store.health()),
        uplink: web.uplink.borrow().clone(),
        clock: clock_part(published.clock_synced),
        load: web.load.borrow().clone(),
    };
    let all = [
        &parts.straps,
        &parts.store,
        &parts.uplink,
        &parts.clock,
        &parts.load,
    ];
    let degraded = all.iter().any(|part| part.status == Condition::Degraded);
    let health = Health {
        status: if degraded {
            Condition::Degraded
        } else {
            Condition::Ok
        },
        uptime_ms: web.clock.mono_ms() - web.started_mono_ms,
        version: web.version,
        hub_id: web.hub_id.to_string(),
        session: published.session.clone(),
        participants: published.session.participants,
        connections: web.live.sockets(),
        parts,
    };
    Ok(fresh(health))
}

fn straps_part(sources: &[SourceView]) -> Report {
    if sources.is_empty() {
        return Report::off("No source of straps is configured.");
    }
    match sources.iter().find(|source| !source.up) {
        Some(down) => Report::degraded(down.text.clone()),
        None => {
            let texts: Vec<_> = sources.iter().map(|source| source.text.as_str()).collect();
            Report::ok(texts.join(" "))
        }
    }
}

fn store_part(health: &StoreHealth) -> Report {
    let why = health.last_error.as_deref().unwrap_or("unknown");
    let mut text = Vec::new();
    if health.failing {
        let what = if health.away {
            "The database can't be opened"
        } else {
            "Nothing can be written at present"
        };
        text.push(format!("{what} ({why})."));
        text.push(health.advice.clone());
        text.push(format!(
            "{} rows wait in memory; consents and erasures are refused. The hub tries again by itself.",
            health.waiting_rows
        ));
    }
    if health.dropped > 0 {
        let lost = health.dropped;
        text.push(format!("{lost} rows were lost since the start ({why})."));
    }
    if let Some(aside) = &health.set_aside {
        text.push(format!(
            "The database was damaged; a new one began. The old one is kept for a week as {aside}: \
             copy it away before if its data are wanted. This is said until then or until the next start."
        ));
    }
    if text.is_empty() {
        return Report::ok("Everything is written.");
    }
    text.retain(|sentence| !sentence.is_empty());
    Report::degraded(text.join(" "))
}

fn clock_part(synced: bool) -> Report {
    if synced {
        Report::ok("The clock is right.")
    } else {
        let text =
            "The clock is not known to be right. Sessions run on the hub's own time until it is.";
        Report::degraded(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_without_bluetooth_is_degraded_and_says_why() {
        let source = |up, text: &str| SourceView {
            name: "ble",
            up,
            code: "x",
            text: text.into(),
            links: None,
        };
        let part = straps_part(&[
            source(true, "Listening."),
            source(false, "No Bluetooth adapter."),
        ]);
        assert_eq!(
            (part.status, part.text.as_str()),
            (Condition::Degraded, "No Bluetooth adapter.")
        );
        assert_eq!(
            straps_part(&[source(true, "Listening.")]).status,
            Condition::Ok
        );
        assert_eq!(straps_part(&[]).status, Condition::Off);
    }

    #[test]
    fn a_store_that_fails_or_lost_something_is_degraded() {
        let fine = StoreHealth::default();
        assert_eq!(store_part(&fine).status, Condition::Ok);
        let failing = StoreHealth {
            failing: true,
            waiting_rows: 12,
            last_error: Some("disk full".into()),
            advice: "Free some space.".into(),
            ..fine.clone()
        };
        let part = store_part(&failing);
        assert_eq!(
            part.text,
            "Nothing can be written at present (disk full). Free some space. 12 rows wait in memory; \
             consents and erasures are refused. The hub tries again by itself."
        );
        let lost = StoreHealth {
            dropped: 3,
            ..fine.clone()
        };
        assert_eq!(store_part(&lost).status, Condition::Degraded);
        let damaged = StoreHealth {
            set_aside: Some("/var/lib/x/hub.db.corrupt-1 (malformed)".into()),
            ..fine
        };
        let part = store_part(&damaged);
        assert_eq!(part.status, Condition::Degraded);
        for said in ["hub.db.corrupt-1", "kept for a week"] {
            assert!(part.text.contains(said), "{}", part.text);
        }
    }
}
