//! The people in the room while strangers do their worst: phones on sockets that behave, some of them
//! joined and handing in beats. Each notes every update of the grid that reaches it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio::time::{Instant, interval_at, timeout};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use crate::ground::join_frame;
use crate::support::DEADLINE;

/// Beats are handed in this often.
const BEATS_EVERY: Duration = Duration::from_secs(1);

/// All of them, on a thread and a runtime of their own: what keeps the test busy must not look like
/// a hub that is late.
pub struct People {
    thread: JoinHandle<Vec<Diary>>,
    /// They stay until they have this grid point.
    until_at: Arc<AtomicI64>,
}

/// What one phone saw.
#[derive(Debug, Default)]
pub struct Diary {
    /// The `at` of every `group_metrics_update`, in the order in which they came.
    pub grid: Vec<i64>,
    pub handed_in: usize,
    pub answered: usize,
    /// Anything else that should not have been.
    pub complaints: Vec<String>,
}

impl People {
    /// So many phones, of which so many join and hand in beats.
    pub fn come(hub: SocketAddr, phones: u8, joined: u8) -> People {
        let until_at = Arc::new(AtomicI64::new(i64::MAX));
        let until = Arc::clone(&until_at);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            let phone = |n: u8| {
                let from = Ipv4Addr::new(127, 0, 1, n + 1);
                phone(hub, from, n < joined, Arc::clone(&until))
            };
            let all = futures_util::future::join_all((0..phones).map(phone));
            runtime.block_on(all)
        });
        People { thread, until_at }
    }

    /// They go when they have this grid point; what they saw.
    pub fn go_at(self, at: i64) -> Vec<Diary> {
        self.until_at.store(at, Ordering::Relaxed);
        self.thread.join().expect("the people's thread ends well")
    }
}

async fn phone(hub: SocketAddr, from: Ipv4Addr, joins: bool, until: Arc<AtomicI64>) -> Diary {
    let mut diary = Diary::default();
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind(SocketAddr::new(IpAddr::V4(from), 0))
        .expect("all of 127/8 is ours");
    let stream = socket
        .connect(hub)
        .await
        .expect("the hub takes connections");
    let (mut socket, _) = client_async(format!("ws://{hub}/ws"), stream)
        .await
        .expect("the hub takes phones");
    if joins {
        socket
            .send(Message::text(join_frame()))
            .await
            .expect("the socket is open");
    }
    // Not all at the same moment.
    let first = Instant::now() + BEATS_EVERY.mul_f64(f64::from(from.octets()[3]) / 64.0);
    let mut beats = interval_at(first, BEATS_EVERY);
    loop {
        tokio::select! {
            message = timeout(DEADLINE, socket.next()) => match message {
                Ok(Some(Ok(Message::Text(text)))) => {
                    let frame = serde_json::from_str(&text).expect("frames are JSON");
                    diary.note(&frame);
                }
                Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => {}
                other => {
                    diary.complaints.push(format!("{from}: {other:?}"));
                    return diary;
                }
            },
            _ = beats.tick(), if joins => {
                diary.handed_in += 1;
                let frame = json!({"type": "update_coherence", "rr": [990, 1010], "id": diary.handed_in});
                if let Err(error) = socket.send(Message::text(frame.to_string())).await {
                    diary.complaints.push(format!("{from}: {error}"));
                    return diary;
                }
            }
        }
        let has_all = diary
            .grid
            .last()
            .is_some_and(|at| *at >= until.load(Ordering::Relaxed));
        if has_all && diary.answered >= diary.handed_in {
            return diary;
        }
    }
}

impl Diary {
    fn note(&mut self, frame: &Value) {
        match frame["type"].as_str().unwrap_or_default() {
            "group_metrics_update" => self.grid.push(frame["at"].as_i64().expect("Unix ms")),
            "personal_feedback" if frame.get("re").is_some() => self.answered += 1,
            "personal_feedback" | "session_joined" | "session_state" | "participant_update"
            | "snapshot" | "room_stats" | "beat" => {}
            _ => self.complaints.push(frame.to_string()),
        }
    }

    /// What is wrong with the updates of the grid, if anything is.
    pub fn holes(&self) -> Vec<String> {
        const GRID_MS: i64 = 5_000;
        let mut wrong = self.complaints.clone();
        wrong.extend(
            self.grid
                .iter()
                .filter(|at| *at % GRID_MS != 0)
                .map(|at| format!("{at} is off the grid")),
        );
        wrong.extend(
            self.grid
                .windows(2)
                .filter(|pair| pair[1] - pair[0] != GRID_MS)
                .map(|pair| format!("{} came after {}", pair[1], pair[0])),
        );
        wrong
    }
}
