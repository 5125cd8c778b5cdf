//! The web on a real socket, with a real room and a real store behind it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::*;
use crate::room::rows::Stamp;
use crate::room::{ClockReading, Remembered, Room, SessionPlan, Settings, StageRules};
use crate::room_task::{self, Parts};
use crate::store::{self, Boot};

const PIN: &str = "042137";
const SUPPRESSION: Suppression = Suppression {
    min_group: 3,
    min_distribution: 5,
};

mod gate;
mod http;
mod https;
mod socket;

struct Hub {
    address: SocketAddr,
    http: reqwest::Client,
    live: Arc<Live>,
    guard: Arc<Guard>,
    stop: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

async fn hub() -> Hub {
    hub_with(guard(&crate::config::Web::default())).await
}

fn guard(web: &crate::config::Web) -> Guard {
    Guard::new(Rules::of(web).unwrap(), web.max_connections)
}

async fn hub_with(guard: Guard) -> Hub {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::system(crate::config::Trust::Always);
    let reading = ClockReading {
        mono_ms: clock.mono_ms(),
        wall_ms: clock.wall_ms(),
        known: true,
    };
    let start = Stamp {
        mono_ms: reading.mono_ms,
        wall_ms: reading.wall_ms,
        synced: true,
    };
    let boot = Boot {
        boot_id: "test".into(),
        start,
    };
    let (store, mut memory) = store::open(&dir.path().join("hub.db"), boot).unwrap();
    memory.pin = PIN.into();
    let plan = SessionPlan {
        length_ms: 900_000,
        preparation_ms: 30_000,
        integration_ms: 120_000,
    };
    let settings = Settings {
        plan,
        suppression: SUPPRESSION,
        max_participants: 100,
        keep_ms: 30 * 86_400_000,
        stage: StageRules::default(),
    };
    let room = Room::new(settings, "test", reading, Remembered::default());
    let Parts { task, handle, .. } =
        room_task::prepare(room, clock.clone(), store.clone(), Vec::new());
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(task.run(stopped.clone()));
    let live: Arc<Live> = Arc::default();
    let guard = Arc::new(guard);
    let state = WebState {
        room: handle,
        store: store.clone(),
        clock,
        hub_id: Uuid::from_u128(7),
        gate: Arc::new(Gate::new(store.clone(), &memory, reading.mono_ms)),
        metrics: crate::telemetry::install_metrics().unwrap(),
        started_mono_ms: reading.mono_ms,
        version: "0.0.0",
        config: watch::channel(Arc::default()).1,
        uplink: watch::channel(Report::off("No broker.")).1,
        load: watch::channel(Report::ok("Everything is on time.")).1,
        live: Arc::clone(&live),
        guard: Arc::clone(&guard),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(serve(listener, state, stopped));
    Hub {
        address,
        http: reqwest::Client::new(),
        live,
        guard,
        stop,
        serving,
        _dir: dir,
    }
}

impl Hub {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = self.http.request(method, self.url(path));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let (status, bytes) = (answer.status(), answer.bytes().await.unwrap());
        (
            status,
            serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        )
    }

    async fn join(&self, body: Value) -> (String, String) {
        let (status, joined) = self
            .ask(Method::POST, "/api/participants", None, Some(body))
            .await;
        assert_eq!(status, 201, "{joined}");
        let text = |name: &str| joined[name].as_str().unwrap().to_owned();
        (text("participantId"), text("resumeToken"))
    }

    async fn phone(&self) -> Phone {
        let (socket, _) = connect_async(format!("ws://{}/ws", self.address))
            .await
            .unwrap();
        let mut phone = Phone(socket);
        assert_eq!(phone.frame().await["type"], "session_state");
        assert_eq!(phone.frame().await["type"], "group_metrics_update");
        phone
    }
}

struct Phone(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Phone {
    async fn message(&mut self) -> Message {
        let next = tokio::time::timeout(Duration::from_secs(20), self.0.next());
        next.await
            .expect("the hub answers")
            .expect("the socket is open")
            .unwrap()
    }

    async fn frame(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.message().await {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    /// The next frame of this type; what everybody gets comes in between.
    async fn wait_for(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.frame().await;
            if frame["type"] == kind {
                return frame;
            }
            let expected = [
                "session_state",
                "group_metrics_update",
                "participant_update",
                "personal_feedback",
                "snapshot",
                "room_stats",
            ];
            let got = frame["type"].as_str().unwrap();
            assert!(expected.contains(&got), "waited for {kind}, got {frame}");
        }
    }

    async fn closed(&mut self) -> u16 {
        loop {
            if let Message::Close(frame) = self.message().await {
                return frame.unwrap().code.into();
            }
        }
    }

    async fn say(&mut self, frame: Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    async fn ask(&mut self, frame: Value, kind: &str) -> Value {
        self.say(frame).await;
        self.wait_for(kind).await
    }
}
