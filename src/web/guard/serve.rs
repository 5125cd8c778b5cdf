//! The door: accepts connections, gives each a seat and its time-outs, and ends them with the hub.
//! What is asked on them is `web`'s router's matter.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::conduit::Conduit;
use super::seats::{NoSeat, Seat};
use super::{Guard, Peer, Rules};
use crate::telemetry::metric;
use crate::web::problem::{Code, Problem, ProblemBody};

/// The first line and the headers of a request, bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// What hyper buffers for one connection.
const BUFFER_BYTES_MAX: usize = 32 * 1024;
/// How long whoever is turned away may take to read why.
const WORDS: Duration = Duration::from_secs(1);
/// How many at a time are told why; more than these are just hung up on.
const TOLD_AT_ONCE: usize = 256;
/// Before the next try when the system gives no more connections.
const OUT_OF_FILES: Duration = Duration::from_millis(200);
/// The first byte of a TLS handshake; no method of HTTP begins like that.
const TLS_HANDSHAKE: u8 = 0x16;

/// Accepts until `closing`, then lets everybody go. Whoever is still there after `farewell` is cut off
/// with the process.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    guard: Arc<Guard>,
    mut closing: watch::Receiver<bool>,
    farewell: Duration,
) {
    let door = Arc::new(Door {
        app: TowerToHyperService::new(app),
        guard,
        closing: closing.clone(),
        words: Semaphore::new(TOLD_AT_ONCE),
    });
    let mut troubled = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = over(&mut closing) => break,
        };
        match accepted {
            Ok((stream, address)) => {
                if std::mem::take(&mut troubled) {
                    tracing::info!("connections are accepted again");
                }
                door.open(stream, address);
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                metrics::counter!(metric::ACCEPTS_FAILED).increment(1);
                if !std::mem::replace(&mut troubled, true) {
                    tracing::error!(%error, "no connection can be accepted; trying again");
                }
                sleep(OUT_OF_FILES).await;
            }
        }
    }
    drop(listener);
    let _ = timeout(farewell, door.guard.seats.empty()).await;
}

/// Whoever it was is gone already.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

async fn over(closing: &mut watch::Receiver<bool>) {
    // A sender that is gone wants nothing served any more either.
    let _ = closing.wait_for(|closing| *closing).await;
}

struct Door {
    app: TowerToHyperService<Router>,
    guard: Arc<Guard>,
    closing: watch::Receiver<bool>,
    words: Semaphore,
}

impl Door {
    fn open(self: &Arc<Self>, stream: TcpStream, address: SocketAddr) {
        let rules = self.guard.rules();
        let peer = Peer {
            address,
            tls: rules.tls.is_some(),
        };
        let door = Arc::clone(self);
        match self.guard.seats.take(peer.ip()) {
            Ok(seat) => {
                tokio::spawn(async move { door.converse(stream, peer, seat, &rules).await });
            }
            Err(none) => {
                let (reason, detail) = match none {
                    NoSeat::All => (
                        "connections_full",
                        "The hub holds as many connections as it may. Try again in a moment.",
                    ),
                    NoSeat::OfThisAddress => (
                        "address_full",
                        "This address holds half of the hub's connections. Close some, or try again in a moment.",
                    ),
                };
                self.guard.refusals.note(reason, peer.ip());
                if peer.tls {
                    return;
                }
                let problem = Problem::new(Code::TooManyConnections, detail).retry_after(5_000);
                tokio::spawn(async move { door.turn_away(stream, problem).await });
            }
        }
    }

    async fn converse(&self, stream: TcpStream, peer: Peer, seat: Seat, rules: &Rules) {
        // Small frames must not wait for each other. A socket that is gone already is no matter.
        let _ = stream.set_nodelay(true);
        let patience = self.guard.times.write;
        let Some(tls) = &rules.tls else {
            return self.talk(Conduit::new(stream, seat, patience), peer).await;
        };
        // In boxes, so that plain connections need no memory for it.
        let handshake = Box::pin(async {
            let mut first = [0];
            // Nothing at all: gone again.
            if stream.peek(&mut first).await? == 0 {
                return Ok(None);
            }
            if first[0] != TLS_HANDSHAKE {
                self.guard
                    .refusals
                    .note(Code::HttpsNeeded.word(), peer.ip());
                let detail = "This hub speaks HTTPS: write https:// instead of http://.";
                self.turn_away(stream, Problem::new(Code::HttpsNeeded, detail))
                    .await;
                return Ok(None);
            }
            tls.acceptor().accept(stream).await.map(Some)
        });
        match timeout(self.guard.times.handshake, handshake).await {
            Ok(Ok(Some(stream))) => {
                let stream = Conduit::new(stream, seat, patience);
                Box::pin(self.talk(stream, peer)).await;
            }
            Ok(Ok(None)) => {}
            Ok(Err(error)) => {
                // Phones that do not trust the certificate end like this.
                tracing::debug!(%error, "a TLS handshake failed");
                self.guard.refusals.note("tls_handshake", peer.ip());
            }
            Err(_) => self.guard.refusals.note("tls_handshake", peer.ip()),
        }
    }

    async fn talk<S>(&self, stream: Conduit<S>, peer: Peer)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let heard = stream.heard();
        let app = &self.app;
        let service = service_fn(|mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            app.call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.guard.times.head)
            .max_header_size(HEAD_BYTES_MAX)
            .max_buf_size(BUFFER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let mut closing = self.closing.clone();
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = over(&mut closing) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        let Err(error) = ended else { return };
        tracing::debug!(%error, "a connection ended");
        if error.is_timeout() {
            if heard.load(Ordering::Relaxed) {
                self.guard.refusals.note("slow_head", peer.ip());
            }
        } else if error.is_parse() {
            self.guard.refusals.note("unreadable", peer.ip());
        }
    }

    /// Says why and hangs up, in a second at most.
    async fn turn_away(&self, mut stream: TcpStream, problem: Problem) {
        let Ok(_may_speak) = self.words.try_acquire() else {
            return;
        };
        let told = async {
            stream.write_all(&plain(problem)).await?;
            stream.shutdown().await?;
            // Closing with unread bytes would make the system throw away what we have just sent.
            let mut rest = [0; 1024];
            while stream.read(&mut rest).await? > 0 {}
            io::Result::Ok(())
        };
        // Whoever does not wait for the answer does not want it.
        let _ = timeout(WORDS, told).await;
    }
}

/// An answer where there is no conversation.
fn plain(problem: Problem) -> Vec<u8> {
    let status = problem.code.status();
    let wait = problem.retry_after_ms.map_or_else(String::new, |wait_ms| {
        format!("retry-after: {}\r\n", (wait_ms + 999) / 1000)
    });
    let body = serde_json::to_string(&ProblemBody::from(problem))
        .expect("strings and numbers always serialise");
    format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n{wait}\
         x-content-type-options: nosniff\r\ncache-control: no-store\r\nconnection: close\r\n\r\n{body}",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default(),
        body.len(),
    )
    .into_bytes()
}
