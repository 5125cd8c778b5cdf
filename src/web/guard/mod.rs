//! The guard in front of the web: who may connect, how fast, under which name and from which page.
//! What somebody may do once let in is decided where it is done.
//!
//! `serve` (the door: seats, time-outs, TLS) → [`front`] (names) → [`gate`] (pages, pace, bodies);
//! `headers` go on every answer, `refusals` counts every "no".

mod conduit;
mod headers;
mod names;
mod rates;
mod refusals;
mod rules;
mod seats;
mod serve;
mod tls;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequest, Request, State};
use axum::http::header::{
    ACCEPT, ALLOW, AUTHORIZATION, CONNECTION, CONTENT_TYPE, ETAG, EXPECT, IF_MATCH, IF_NONE_MATCH,
    RETRY_AFTER, TRANSFER_ENCODING,
};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt;
use governor::clock::DefaultClock;
use hyper::body::Body as _;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use tower_http::cors::Cors;

pub use self::headers::harden;
use self::names::Called;
#[cfg(test)]
pub use self::rates::Allowance;
pub use self::rates::Allowances;
use self::rates::{Rates, network};
use self::refusals::Refusals;
pub use self::rules::Rules;
use self::seats::Seats;
pub use self::serve::serve;
pub use self::tls::TlsError;
use super::problem::{Code, Problem};
use super::rest_participants::bearer;
use super::{BODY_BYTES_MAX, WebState};
use crate::room::ParticipantId;

/// A body that is too large is heard out up to this size, so that its sender hears why, bytes.
const UNREAD_BYTES_MAX: usize = 1 << 20;
/// The longest target of a request, bytes: what is served here has short names.
const TARGET_BYTES_MAX: usize = 2048;

const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// How long a page from elsewhere may remember what it may ask.
const PREFLIGHT: Duration = Duration::from_secs(600);

/// The other end of a connection: `ConnectInfo<Peer>` in every handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    pub address: SocketAddr,
    /// Whether what is said is encrypted.
    pub tls: bool,
}

impl Peer {
    /// One spelling of an address: IPv4 written as IPv6 is IPv4.
    pub fn ip(&self) -> IpAddr {
        self.address.ip().to_canonical()
    }

    /// What counts as one machine: a whole /64 of IPv6.
    pub fn network(&self) -> IpAddr {
        network(self.ip())
    }

    /// Nobody between here and there can read along.
    pub fn is_private(&self) -> bool {
        self.tls || self.ip().is_loopback()
    }
}

/// How long the other side may take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// For the first line and the headers; also how long a connection may idle between requests.
    pub head: Duration,
    pub body: Duration,
    /// For taking anything of what we say.
    pub write: Duration,
    pub handshake: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Times {
            head: Duration::from_secs(15),
            body: Duration::from_secs(15),
            write: Duration::from_secs(60),
            handshake: Duration::from_secs(10),
        }
    }
}

/// Everything by which the hub guards itself.
#[derive(Debug)]
pub struct Guard {
    rules: Mutex<Arc<Rules>>,
    rates: Rates,
    times: Times,
    seats: Arc<Seats>,
    /// Bytes that bodies being read may have together.
    bodies: Semaphore,
    refusals: Refusals,
}

impl Guard {
    /// With the limits that hold everywhere but in tests. `max_connections`: at the same time.
    pub fn new(rules: Rules, max_connections: u32) -> Self {
        Guard::with(
            rules,
            max_connections,
            Times::default(),
            Allowances::default(),
        )
    }

    pub fn with(rules: Rules, max_connections: u32, times: Times, allowed: Allowances) -> Self {
        Guard {
            rules: Mutex::new(Arc::new(rules)),
            bodies: Semaphore::new(allowed.bodies_bytes),
            rates: Rates::new(allowed, DefaultClock::default()),
            times,
            seats: Arc::new(Seats::new(max_connections as usize)),
            refusals: Refusals::default(),
        }
    }

    /// From now on these hold. Connections that are open keep their certificate.
    pub fn obey(&self, rules: Rules) {
        *self.rules.lock().expect("nobody panics while holding it") = Arc::new(rules);
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.lock().expect("nobody panics while holding it"))
    }

    /// Whether somebody may join from there now: somebody new, or who has proved to be known.
    pub fn join(&self, from: IpAddr, known: Option<ParticipantId>) -> Result<(), Problem> {
        let (tried, detail) = match known {
            None => (
                self.rates.join(from),
                "Too many people have joined from this address at once.",
            ),
            Some(id) => (
                self.rates.come_back(id),
                "You have come back too often at once.",
            ),
        };
        tried.map_err(|wait_ms| self.too_often(from, detail, wait_ms))
    }

    /// Whether a WebSocket may be opened from there now.
    pub fn socket(&self, from: IpAddr) -> Result<(), Problem> {
        let detail = "Too many WebSockets were opened from this address at once.";
        self.rates
            .socket(from)
            .map_err(|wait_ms| self.too_often(from, detail, wait_ms))
    }

    fn too_often(&self, from: IpAddr, detail: &str, wait_ms: i64) -> Problem {
        let seconds = (wait_ms + 999) / 1000;
        let detail = format!("{detail} Try again in {seconds} s.");
        self.refused(
            from,
            Problem::new(Code::RateLimited, detail).retry_after(wait_ms),
        )
    }

    /// Counts a refusal.
    pub fn refused(&self, from: IpAddr, problem: Problem) -> Problem {
        self.refusals.note(problem.code.word(), from);
        problem
    }
}

/// Tells browsers what pages of `web.origins` may do. Without any nothing is told, so that nothing is
/// allowed.
pub async fn share(State(web): State<Arc<WebState>>, request: Request, next: Next) -> Response {
    let origins = web.guard.rules().origins.clone();
    if origins.is_empty() {
        return next.run(request).await;
    }
    let shared = Cors::new(next)
        .allow_origin(origins)
        .allow_methods(METHODS)
        .allow_headers([ACCEPT, AUTHORIZATION, CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH])
        .expose_headers([ETAG, RETRY_AFTER])
        .max_age(PREFLIGHT);
    match TowerToHyperService::new(shared).call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Lets in what is meant for this hub: by its method, its target and the name it calls the hub.
pub async fn front(
    State(web): State<Arc<WebState>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let guard = &web.guard;
    let refuse = |problem| guard.refused(peer.ip(), problem).into_response();
    let chunked = request.headers().contains_key(TRANSFER_ENCODING);
    let target = request.uri();
    let length = target.path_and_query().map_or(0, |pq| pq.as_str().len());
    if !METHODS.contains(request.method()) {
        let allowed = METHODS.map(|method| method.to_string()).join(",");
        let detail = "This method is not understood here.";
        let refusal = refuse(Problem::new(Code::MethodNotAllowed, detail));
        return ([(ALLOW, allowed)], refusal).into_response();
    }
    if length > TARGET_BYTES_MAX {
        let detail = format!("The target of a request has at most {TARGET_BYTES_MAX} bytes.");
        return refuse(Problem::new(Code::UriTooLong, detail));
    }
    let called = match guard.rules().names.called(target, request.headers()) {
        Ok(called) => called,
        Err(problem) => return refuse(problem),
    };
    request.extensions_mut().insert(called);
    let mut response = next.run(request).await;
    if chunked {
        // A proxy that counts the body of such a request otherwise than we do must not be able to
        // put what it takes for a body before us as the next request.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    response
}

/// Lets in what the asker may ask from where it is: by the page it comes from, how often it asks, and
/// what it brings along, and how long that takes.
pub async fn gate(
    State(web): State<Arc<WebState>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    match examine(&web, peer, request).await {
        Ok(request) => next.run(request).await,
        Err(refusal) => refusal,
    }
}

async fn examine(web: &WebState, peer: Peer, request: Request) -> Result<Request, Response> {
    let guard = &web.guard;
    let refuse = |problem| guard.refused(peer.ip(), problem).into_response();
    let (parts, body) = request.into_parts();
    let safe = matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
    if !safe || parts.uri.path() == "/ws" {
        let called = parts.extensions.get::<Called>();
        let called = called.expect("`front` puts it there");
        guard
            .rules()
            .names
            .may_ask(&parts.headers, called, peer.tls)
            .map_err(refuse)?;
    }
    let token = bearer(&parts.headers).ok();
    let who = token.and_then(|token| web.who(token).ok());
    guard.rates.request(who, peer.ip()).map_err(|wait_ms| {
        let detail = "Too many requests.";
        guard.too_often(peer.ip(), detail, wait_ms).into_response()
    })?;
    if safe {
        return Ok(Request::from_parts(parts, body));
    }
    if !body.is_end_stream() && !is_json(&parts.headers) {
        let detail = "What is sent here is JSON: `Content-Type: application/json`.";
        return Err(refuse(Problem::new(Code::UnsupportedMediaType, detail)));
    }
    if parts.headers.contains_key(EXPECT) && body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        // Who asks first is told before it is sent.
        let detail = format!("A body has at most {BODY_BYTES_MAX} bytes.");
        return Err(refuse(Problem::new(Code::TooLarge, detail)));
    }
    let length = body
        .size_hint()
        .upper()
        .and_then(|most| usize::try_from(most).ok());
    if length.is_some_and(|length| length > BODY_BYTES_MAX) {
        if length.is_some_and(|length| length <= UNREAD_BYTES_MAX) {
            // Closing with unread bytes would make the system throw away what we answer.
            let mut rest = body.into_data_stream();
            let heard_out = async { while let Some(Ok(_)) = rest.next().await {} };
            let _ = tokio::time::timeout(guard.times.body, heard_out).await;
        }
        let detail = format!("A body has at most {BODY_BYTES_MAX} bytes.");
        return Err(refuse(Problem::new(Code::TooLarge, detail)));
    }
    let room = length.unwrap_or(BODY_BYTES_MAX).min(BODY_BYTES_MAX) as u32;
    let Ok(_room) = guard.bodies.try_acquire_many(room) else {
        let detail = "Too much is being sent to the hub at once. Try again in a moment.";
        let refusal = refuse(Problem::new(Code::Busy, detail).retry_after(1_000));
        return Err(([(CONNECTION, "close")], refusal).into_response());
    };
    let reading = Bytes::from_request(Request::from_parts(parts.clone(), body), &());
    match tokio::time::timeout(guard.times.body, reading).await {
        Ok(Ok(bytes)) => Ok(Request::from_parts(parts, Body::from(bytes))),
        Ok(Err(rejection)) => {
            let refusal = rejection.into_response();
            // Anything else is a body that broke off: nobody is left to be refused.
            if refusal.status() == Code::TooLarge.status() {
                guard.refusals.note(Code::TooLarge.word(), peer.ip());
            }
            Err(refusal)
        }
        Err(_) => {
            let seconds = guard.times.body.as_secs_f32();
            let detail = format!("The body of this request did not arrive within {seconds} s.");
            let refusal = refuse(Problem::new(Code::TooSlow, detail));
            Err(([(CONNECTION, "close")], refusal).into_response())
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_machine_is_one_whichever_address_of_its_network_it_takes() {
        let network = |address: &str| {
            let address = SocketAddr::new(address.parse().unwrap(), 1);
            Peer {
                address,
                tls: false,
            }
            .network()
        };
        assert_eq!(network("fd00::1"), network("fd00::2"));
        assert_ne!(network("fd00::1"), network("fd00:0:0:1::1"));
        assert_ne!(network("10.0.0.1"), network("10.0.0.2"));
    }
}
