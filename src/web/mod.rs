//! The web: one port for phones, the wall, tools and the page. Both the socket and REST turn what is
//! asked into the room's commands; what the room decides is not decided again here.
//!
//! `fields` (what may be asked) → `wire` + `ws` (the socket) and `rest` + `health` +
//! `history` + `invite` + `rest_participants` + `rest_straps` + `my_data` (HTTP) → `problem` (every "no"); `openapi` (what is served, told by
//! the code that serves it), `page` (the files of the page). Who asks is proved at the `gate`.

pub mod fields;
mod guard;
mod handout;
mod health;
mod history;
mod invite;
mod my_data;
mod openapi;
mod page;
mod problem;
mod rest;
mod rest_claims;
mod rest_participants;
mod rest_straps;
#[cfg(test)]
mod tests;
pub mod wire;
mod ws;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, MatchedPath, Request};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::{Extension, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::watch;
use uuid::Uuid;

pub use self::guard::{Guard, Rules, TlsError};
use self::problem::{Code, Problem};
use crate::access::{Refusal, Who};
use crate::clock::Clock;
use crate::config;
use crate::gate::Gate;
use crate::room::Suppression;
use crate::room::rows::Stamp;
use crate::room_task::RoomHandle;
use crate::store::Store;
use crate::telemetry::{Report, metric};

/// The largest body of a request, bytes.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// At the end, how long requests and sockets may take to say good-bye.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the web needs of the rest.
#[derive(Clone)]
pub struct WebState {
    pub room: RoomHandle,
    pub store: Store,
    pub clock: Clock,
    pub hub_id: Uuid,
    /// Who is asking.
    pub gate: Arc<Gate>,
    pub metrics: PrometheusHandle,
    pub started_mono_ms: i64,
    pub version: &'static str,
    /// What is in force at present; a reload changes it.
    pub config: config::Live,
    /// The way upstream, and how the hub keeps up, as they speak of themselves.
    pub uplink: watch::Receiver<Report>,
    pub load: watch::Receiver<Report>,
    /// The web's own; `Default`.
    pub live: Arc<Live>,
    pub guard: Arc<Guard>,
}

/// What the web itself knows while it runs.
#[derive(Debug)]
pub struct Live {
    next_socket: AtomicU64,
    sockets: AtomicUsize,
    closing: watch::Sender<bool>,
    /// Where people are handed their data.
    desk: Arc<handout::Desk>,
}

impl Default for Live {
    fn default() -> Self {
        Live {
            next_socket: AtomicU64::new(1),
            sockets: AtomicUsize::new(0),
            closing: watch::Sender::new(false),
            desk: Arc::default(),
        }
    }
}

impl Live {
    /// Open sockets.
    pub fn sockets(&self) -> usize {
        self.sockets.load(Ordering::Relaxed)
    }
}

impl WebState {
    /// Unix ms of the hub's clock.
    fn hub_now_ms(&self) -> i64 {
        self.clock.mono_ms() + self.room.published().borrow().offset_ms
    }

    /// The present moment on both clocks.
    fn now(&self) -> Stamp {
        let mono_ms = self.clock.mono_ms();
        self.room.published().borrow().stamp(mono_ms)
    }

    /// The room's rule, for figures of past sessions.
    fn suppression(&self) -> Suppression {
        let privacy = &self.config.borrow().privacy;
        Suppression {
            min_group: privacy.min_group_live,
            min_distribution: privacy.min_distribution_live,
        }
    }

    /// Whom a token names.
    fn who(&self, token: &str) -> Result<Who, Problem> {
        self.gate.who(token, self.now()).ok_or_else(|| {
            let detail = "This token is not of this hub, or has expired. Join again, or enter the PIN again.";
            Problem::new(Code::BadToken, detail)
        })
    }

    /// A facilitator's token and its expiry (hub time), for the right PIN.
    async fn facilitator(&self, peer: IpAddr, pin: &str) -> Result<(String, i64), Problem> {
        let tried = self.gate.facilitator(peer, pin, self.now()).await;
        tried.map_err(|refusal| match refusal {
            Refusal::Wrong { tries_left } => {
                let detail =
                    format!("That PIN is not right. Tries left before a pause: {tries_left}.");
                Problem::new(Code::WrongPin, detail)
            }
            Refusal::Locked { retry_after_ms } => {
                let seconds = (retry_after_ms + 999) / 1000;
                let detail = format!("Too many wrong PINs. Try again in {seconds} s.");
                Problem::new(Code::PinLocked, detail).retry_after(retry_after_ms)
            }
        })
    }

    /// Whether somebody new may come in. Who comes back with a token is not asked.
    async fn may_join(&self, peer: IpAddr, given: Option<&str>) -> Result<(), Problem> {
        let code = self.config.borrow().access.room_code.clone();
        if code.is_empty() {
            return Ok(());
        }
        let Some(given) = given else {
            let detail =
                "Joining this room takes its code, in `roomCode`. It is shown in the room.";
            return Err(Problem::new(Code::RoomClosed, detail));
        };
        let tried = self.gate.room_code(peer, &code, given, self.now()).await;
        tried.map_err(|refusal| match refusal {
            Refusal::Wrong { .. } => {
                let detail = "That is not the code of this room. It is shown in the room.";
                Problem::new(Code::RoomClosed, detail)
            }
            Refusal::Locked { retry_after_ms } => {
                let seconds = (retry_after_ms + 999) / 1000;
                let detail = format!("Too many wrong room codes. Try again in {seconds} s.");
                Problem::new(Code::RoomCodeLocked, detail).retry_after(retry_after_ms)
            }
        })
    }
}

/// Everything that is served.
pub fn router(state: WebState) -> Router {
    let (routes, document) = openapi::routes().split_for_parts();
    let state = Arc::new(state);
    let guarded = Arc::clone(&state);
    routes
        .with_state(state)
        .fallback(page::serve)
        .layer(Extension(openapi::Document::of(&document)))
        .layer(middleware::from_fn_with_state(guarded.clone(), guard::gate))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(
            guarded.clone(),
            guard::share,
        ))
        .layer(middleware::from_fn_with_state(guarded, guard::front))
        .layer(middleware::map_response(problem::rewrite))
        .layer(middleware::from_fn(guard::harden))
        .layer(middleware::from_fn(count))
}

/// Serves until `shutdown` says so; then sockets are closed with 1001 and everybody gets two seconds
/// to end.
pub async fn serve(listener: TcpListener, state: WebState, mut shutdown: watch::Receiver<bool>) {
    let live = Arc::clone(&state.live);
    let guard = Arc::clone(&state.guard);
    let closing = live.closing.subscribe();
    let serving = guard::serve(listener, router(state), guard, closing, FAREWELL);
    let stopping = async {
        // A sender that is gone wants nothing served any more either.
        let _ = shutdown.wait_for(|stop| *stop).await;
        live.closing.send_replace(true);
    };
    tokio::join!(serving, stopping);
}

/// Counts requests by the pattern of their route, never by their path: that may name a person.
async fn count(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("page", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    let status = response.status().as_str().to_owned();
    metrics::counter!(metric::HTTP_REQUESTS, "route" => route, "status" => status).increment(1);
    response
}
