//! One socket: what a phone sends goes to the room, what is new goes to the phone. A socket holds no
//! queue of what everybody gets, only the versions it has sent: a slow phone skips to the newest.
//!
//! Everything of a socket happens in one task, one thing after the other, so answers keep their
//! order. It ends when the phone goes, is silent for 60 s, or takes nothing for as long.

mod answer;
mod stage;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::SinkExt;
use serde_json::{Number, Value};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::WebState;
use super::guard::Peer;
use super::problem::{Code, Problem, ProblemBody};
use super::wire::{FRAME_BYTES_MAX, SUBPROTOCOL, ServerFrame};
use crate::room::ParticipantId;
use crate::room::stage_view::AnchorView;
use crate::room_task::{Frame, PhoneLine, Published, ToPhone};
use crate::telemetry::{metric, tally};

const PING_EVERY: Duration = Duration::from_secs(15);
/// Neither a frame nor a pong for this long: the phone is gone.
const SILENCE: Duration = Duration::from_secs(60);
/// Frames of one socket in one second.
const FRAMES_PER_SECOND: u32 = 100;
/// Beyond this the rest of the second is not even read.
const FRAMES_READ_PER_SECOND: u32 = 1000;
/// Frames for this phone alone that may wait.
const OUTBOX: usize = 32;
const BUFFER_BYTES: usize = 4096;
/// Room for one message more than the buffer and for a few pongs.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// How long a phone gets to answer a close.
const GOODBYE: Duration = Duration::from_secs(1);
const SECOND: Duration = Duration::from_secs(1);
/// RFC 6455: a message too big to process.
const TOO_BIG: u16 = 1009;
const STOPPING: End = Some((1001, "the hub stops"));

/// The live connection: JSON text frames, each a flat object with `type`.
///
/// Every socket gets `session_state`, `group_metrics_update` and the `snapshot` of a stage (the room's, or its
/// named session's) at once and at each change. A phone may send `auth`, `join_session`, `update_coherence`,
/// `find_my_heart`, `claim_strap`, `release_strap`,
/// `leave_session`, `set_role`, `set_tempo`, `play`, `pause`, `seek`, `update_message`, `subscribe_ticks`,
/// `unsubscribe_ticks`, `heartbeat` and `sync_request`; its `id` comes back as `re`. The subprotocol
/// `coherence.v1` is optional.
#[utoipa::path(
    get, path = "/ws", tag = "room",
    responses(
        (status = 101, description = "JSON text frames of at most 4 KiB"),
        (status = 400, description = "bad_request: another version of the protocol", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "foreign_origin: a page from elsewhere", body = ProblemBody, content_type = "application/problem+json"),
        (status = 426, description = "upgrade_required", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "rate_limited", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn upgrade(
    State(web): State<Arc<WebState>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    use WebSocketUpgradeRejection as Rejection;
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(
            Rejection::InvalidConnectionHeader(_)
            | Rejection::InvalidUpgradeHeader(_)
            | Rejection::ConnectionNotUpgradable(_),
        ) => {
            let detail =
                "This is a WebSocket: open it as ws://…/ws. For plain requests there is /api.";
            return Problem::new(Code::UpgradeRequired, detail).into_response();
        }
        Err(other) => return Problem::new(Code::BadRequest, other.body_text()).into_response(),
    };
    if let Err(problem) = web.guard.socket(peer.ip()) {
        return problem.into_response();
    }
    upgrade
        .protocols([SUBPROTOCOL])
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_write_buffer_size(BUFFER_BYTES_MAX)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_message_size(FRAME_BYTES_MAX)
        .on_upgrade(move |socket| Phone::new(web, peer).run(socket))
}

/// One connected client.
struct Phone {
    web: Arc<WebState>,
    peer: Peer,
    line: PhoneLine,
    own: mpsc::Receiver<ToPhone>,
    /// Proved by a token or by joining.
    participant: Option<ParticipantId>,
    joined: bool,
    on: stage::On,
    sent: Sent,
    pace: Pace,
    /// What leaves with the next write.
    pending: Vec<Pending>,
    /// The grid point (monotonic, ms) whose figures are in it, if they are news.
    due_ms: Option<i64>,
}

/// What leaves with the next write.
#[derive(Debug)]
enum Pending {
    Frame(Message),
    /// The answer to a `sync_request`: written and stamped when it leaves.
    Sync {
        client_time: Number,
        received_at: i64,
        anchor: AnchorView,
        re: Option<Value>,
    },
}

impl Pending {
    fn message(self, web: &WebState) -> Message {
        match self {
            Pending::Frame(message) => message,
            Pending::Sync {
                client_time,
                received_at,
                anchor,
                re,
            } => {
                let frame = ServerFrame::SyncResponse {
                    client_time,
                    received_at,
                    sent_at: web.hub_now_ms(),
                    anchor,
                };
                text(frame.write(re.as_ref()))
            }
        }
    }
}

/// The versions that this phone has.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    ended: u64,
    session: u64,
    group: u64,
    people: u64,
}

/// The frames of the present second.
#[derive(Debug)]
struct Pace {
    began: Instant,
    frames: u32,
}

/// How a socket ends: code and reason; none if the phone is going by itself.
type End = Option<(u16, &'static str)>;

impl Phone {
    fn new(web: Arc<WebState>, peer: Peer) -> Self {
        let (outbox, own) = mpsc::channel(OUTBOX);
        let socket = web.live.next_socket.fetch_add(1, Ordering::Relaxed);
        web.live.sockets.fetch_add(1, Ordering::Relaxed);
        metrics::gauge!(metric::WS_CLIENTS).increment(1);
        let web_stage = web.room.stage();
        Phone {
            web,
            peer,
            line: PhoneLine { socket, outbox },
            own,
            participant: None,
            joined: false,
            on: stage::On::room(web_stage),
            sent: Sent::default(),
            pace: Pace {
                began: Instant::now(),
                frames: 0,
            },
            pending: Vec::new(),
            due_ms: None,
        }
    }

    async fn run(mut self, mut socket: WebSocket) {
        let Err(end) = self.serve(&mut socket).await;
        self.web.room.detach(self.line.socket).await;
        let goodbye = async {
            if let Some((code, reason)) = end {
                let reason = Utf8Bytes::from_static(reason);
                let _ = socket
                    .send(Message::Close(Some(CloseFrame { code, reason })))
                    .await;
            }
            // Until the phone has answered; what it still says is not heard any more.
            while let Some(Ok(_)) = socket.recv().await {}
            if end.is_some_and(|(code, _)| code == TOO_BIG) {
                // The rest of that frame can't be read, and closing with unread bytes would make
                // the system throw away what we have just sent.
                tokio::time::sleep(GOODBYE).await;
            }
        };
        let _ = timeout(GOODBYE, goodbye).await;
    }

    async fn serve(&mut self, socket: &mut WebSocket) -> Result<Infallible, End> {
        let mut published = self.web.room.published();
        let mut closing = self.web.live.closing.subscribe();
        let mut heard = Instant::now();
        let mut next_ping = heard + PING_EVERY;
        {
            // Who came and which session ended before is no news to this phone.
            let now = published.borrow_and_update();
            self.sent.ended = version(now.ended_frame.as_ref());
            self.sent.people = version(now.people_frame.as_ref());
        }
        loop {
            let newest = Arc::clone(&published.borrow_and_update());
            self.collect(&newest);
            self.collect_stage();
            self.write(socket).await?;
            let reading = self.pace.frames < FRAMES_READ_PER_SECOND;
            let mut wake = next_ping.min(heard + SILENCE).min(self.on.next_tick());
            if !reading {
                wake = wake.min(self.pace.began + SECOND);
            }
            tokio::select! {
                message = socket.recv(), if reading => {
                    // As near to the socket as can be: a phone finds the hub's time by it.
                    let received_at = self.web.hub_now_ms();
                    heard = Instant::now();
                    match message {
                        Some(Ok(message)) => self.heard(message, heard, received_at).await?,
                        Some(Err(error)) => return Err(self.unreadable(socket, &error).await),
                        None => return Err(None),
                    }
                }
                // Never without a sender: `self.line` holds one.
                Some(own) = self.own.recv() => self.own_frame(own)?,
                changed = published.changed() => changed.map_err(|_| STOPPING)?,
                ended = self.on.changed() => if ended { self.off_stage() },
                () = stopped(&mut closing) => return Err(STOPPING),
                () = sleep_until(wake) => {
                    let now = Instant::now();
                    if now >= heard + SILENCE && reading {
                        return Err(Some((4000, "nothing was heard for 60 s")));
                    }
                    if now >= next_ping {
                        next_ping = now + PING_EVERY;
                        self.pending.push(Pending::Frame(Message::Ping(Bytes::new())));
                    }
                    self.tick(now);
                    self.pace.renew(now);
                }
            }
            while let Ok(own) = self.own.try_recv() {
                self.own_frame(own)?;
            }
        }
    }

    /// Takes what is new for everybody.
    fn collect(&mut self, newest: &Published) {
        if sent_before(self.sent.group, newest) {
            self.due_ms = newest.group_due_ms;
        }
        let Phone { sent, pending, .. } = self;
        let mut take = |frame: Option<&Frame>, sent: &mut u64| {
            if let Some(frame) = frame
                && frame.version > *sent
            {
                *sent = frame.version;
                pending.push(Pending::Frame(text(frame.json.clone())));
            }
        };
        take(newest.ended_frame.as_ref(), &mut sent.ended);
        take(Some(&newest.session_frame), &mut sent.session);
        take(Some(&newest.group_frame), &mut sent.group);
        take(newest.people_frame.as_ref(), &mut sent.people);
    }

    /// Everything that is pending, in one write.
    async fn write(&mut self, socket: &mut WebSocket) -> Result<(), End> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let frames = self.pending.len();
        let (web, pending) = (&self.web, &mut self.pending);
        let sending = async {
            for pending in pending.drain(..) {
                socket.feed(pending.message(web)).await?;
            }
            socket.flush().await
        };
        match timeout(SILENCE, sending).await {
            Ok(Ok(())) => {
                tally::frames_out(frames);
                if let Some(due_ms) = self.due_ms.take() {
                    tally::update_sent(self.web.clock.since(due_ms));
                }
                Ok(())
            }
            Ok(Err(_)) => Err(None),
            Err(_) => Err(Some((4000, "nothing was taken for 60 s"))),
        }
    }

    fn own_frame(&mut self, own: ToPhone) -> Result<(), End> {
        match own {
            ToPhone::Text(json) => {
                self.pending.push(Pending::Frame(text(json)));
                Ok(())
            }
            ToPhone::Close { code, reason } => Err(Some((code, reason))),
        }
    }

    async fn heard(&mut self, message: Message, now: Instant, received_at: i64) -> Result<(), End> {
        tally::frame_in();
        self.pace.renew(now);
        self.pace.frames += 1;
        if self.pace.frames > FRAMES_PER_SECOND {
            metrics::counter!(metric::WS_FRAMES_FLOODED).increment(1);
            // Told once a second: an answer to each would double the flood.
            if self.pace.frames == FRAMES_PER_SECOND + 1 {
                let wait = (self.pace.began + SECOND).saturating_duration_since(now);
                let retry_after_ms = wait.as_millis() as i64;
                self.tell(&ServerFrame::RateLimitExceeded { retry_after_ms }, None);
            }
            return Ok(());
        }
        match message {
            Message::Text(frame) => self.answer(&frame, received_at).await,
            Message::Binary(_) => {
                let problem =
                    Problem::new(Code::NotText, "Frames are JSON text; this one was binary.");
                self.tell(&ServerFrame::from(&problem), None);
            }
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Close(_) => return Err(None),
        }
        Ok(())
    }

    /// What can't be read is the end of a socket; if it can be said why, it is.
    async fn unreadable(&mut self, socket: &mut WebSocket, error: &axum::Error) -> End {
        let error = error.to_string();
        if error.contains("too long") {
            let detail = format!("A frame has at most {FRAME_BYTES_MAX} bytes.");
            self.tell(
                &ServerFrame::from(&Problem::new(Code::TooLarge, detail)),
                None,
            );
            if let Err(end) = self.write(socket).await {
                return end;
            }
            return Some((TOO_BIG, "a frame has at most 4096 bytes"));
        }
        tracing::debug!(%error, "a socket ended");
        if error.to_lowercase().contains("utf-8") {
            return Some((1007, "text frames are UTF-8"));
        }
        Some((1002, "this is not the WebSocket protocol"))
    }

    /// Hands a frame to the next write.
    fn tell(&mut self, frame: &ServerFrame<'_>, re: Option<&Value>) {
        self.pending.push(Pending::Frame(text(frame.write(re))));
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        self.web.live.sockets.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!(metric::WS_CLIENTS).decrement(1);
    }
}

impl Pace {
    fn renew(&mut self, now: Instant) {
        if now >= self.began + SECOND {
            *self = Pace {
                began: now,
                frames: 0,
            };
        }
    }
}

async fn stopped(closing: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and that is the end as well.
    let _ = closing.wait_for(|closing| *closing).await;
}

/// Whether the newest group figures are news to a phone that had older ones: what it is greeted with
/// may be seconds old.
fn sent_before(version: u64, newest: &Published) -> bool {
    (1..newest.group_frame.version).contains(&version)
}

fn version(frame: Option<&Frame>) -> u64 {
    frame.map_or(0, |frame| frame.version)
}

fn text(json: Bytes) -> Message {
    Message::Text(Utf8Bytes::try_from(json).expect("serde_json writes UTF-8"))
}
