//! The web on a real socket, with a real room and a real store behind it.

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
use crate::room::{ClockReading, Remembered, Room, SessionPlan, Settings};
use crate::room_task::{self, Parts};
use crate::store::{self, Boot};

const PIN: &str = "042137";
const SUPPRESSION: Suppression = Suppression {
    min_group: 3,
    min_distribution: 5,
};

struct Hub {
    address: SocketAddr,
    http: reqwest::Client,
    live: Arc<Live>,
    stop: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<io::Result<()>>,
    _dir: tempfile::TempDir,
}

async fn hub() -> Hub {
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
    let (store, _) = store::open(&dir.path().join("hub.db"), boot).unwrap();
    let plan = SessionPlan {
        length_ms: 900_000,
        preparation_ms: 30_000,
        integration_ms: 120_000,
    };
    let settings = Settings {
        plan,
        suppression: SUPPRESSION,
        max_participants: 100,
    };
    let room = Room::new(settings, "test", reading, Remembered::default());
    let Parts { task, handle, .. } =
        room_task::prepare(room, clock.clone(), store.clone(), Vec::new());
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(task.run(stopped.clone()));
    let live: Arc<Live> = Arc::default();
    let state = WebState {
        room: handle,
        store,
        clock,
        hub_id: Uuid::from_u128(7),
        hub_key: [7; 32],
        pin: PIN.into(),
        metrics: crate::telemetry::install_metrics().unwrap(),
        started_mono_ms: reading.mono_ms,
        version: "0.0.0",
        suppression: SUPPRESSION,
        live: Arc::clone(&live),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(serve(listener, state, stopped));
    Hub {
        address,
        http: reqwest::Client::new(),
        live,
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

#[tokio::test]
async fn every_error_over_http_is_a_problem_with_its_code() {
    let hub = hub().await;
    let (id, _) = hub.join(json!({})).await;
    let own = format!("/api/participants/{id}/rr");
    let json_type = Some("application/json");
    let big = format!("{{\"name\":\"{}\"}}", "x".repeat(70_000));
    let cases: &[(&str, &str, Option<&str>, &str, u16, &str)] = &[
        ("GET", "/nowhere", None, "", 404, "not_found"),
        ("GET", "/api/nowhere", None, "", 404, "not_found"),
        ("POST", "/", None, "", 405, "method_not_allowed"),
        ("POST", "/health", None, "", 405, "method_not_allowed"),
        ("DELETE", "/api/straps", None, "", 405, "method_not_allowed"),
        (
            "GET",
            "/api/sessions?limit=many",
            None,
            "",
            400,
            "bad_request",
        ),
        ("GET", "/api/sessions?limit=0", None, "", 422, "bad_value"),
        (
            "GET",
            "/api/sessions/20200101T0000Z",
            None,
            "",
            404,
            "unknown_session",
        ),
        ("GET", "/api/sessions/%ff", None, "", 400, "bad_request"),
        ("GET", "/ws", None, "", 426, "upgrade_required"),
        (
            "POST",
            "/api/participants",
            None,
            "{}",
            415,
            "unsupported_media_type",
        ),
        (
            "POST",
            "/api/participants",
            Some("text/plain"),
            "{}",
            415,
            "unsupported_media_type",
        ),
        ("POST", "/api/participants", json_type, "{", 400, "bad_json"),
        (
            "POST",
            "/api/participants",
            json_type,
            "[]",
            422,
            "bad_json",
        ),
        (
            "POST",
            "/api/participants",
            json_type,
            &big,
            413,
            "too_large",
        ),
        (
            "POST",
            "/api/participants",
            json_type,
            "{\"name\":5}",
            422,
            "bad_value",
        ),
        (
            "POST",
            "/api/participants",
            json_type,
            "{\"strap\":\"99\"}",
            404,
            "unknown_strap",
        ),
        (
            "POST",
            "/api/participants",
            json_type,
            "{\"sessionId\":\"other\"}",
            404,
            "unknown_session",
        ),
        (
            "POST",
            "/api/participants",
            json_type,
            "{\"resumeToken\":\"x\"}",
            401,
            "bad_token",
        ),
        (
            "POST",
            &own,
            json_type,
            "{\"rr\":[800]}",
            401,
            "unauthorized",
        ),
    ];
    for (method, path, kind, body, status, code) in cases {
        let mut request = hub
            .http
            .request(method.parse().unwrap(), hub.url(path))
            .body((*body).to_owned());
        if let Some(kind) = kind {
            request = request.header("content-type", *kind);
        }
        let answer = request.send().await.unwrap();
        let case = format!("{method} {path} {body:.20}");
        assert_eq!(answer.status(), *status, "{case}");
        assert_eq!(
            answer.headers()["content-type"],
            "application/problem+json",
            "{case}"
        );
        if *status == 405 {
            assert!(answer.headers().contains_key("allow"), "{case}");
        }
        let length: usize = answer.headers()["content-length"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        let bytes = answer.bytes().await.unwrap();
        assert_eq!(bytes.len(), length, "{case}");
        let problem: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(problem["code"], *code, "{case}");
        assert_eq!(
            problem["type"],
            format!("urn:coherence-hub:problem:{code}"),
            "{case}"
        );
        assert_eq!(problem["status"], *status, "{case}");
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|detail| !detail.is_empty()),
            "{case}"
        );
    }
}

#[tokio::test]
async fn every_described_route_is_served_and_nothing_of_it_is_missing() {
    let hub = hub().await;
    let (_, document) = hub.ask(Method::GET, "/api/openapi.json", None, None).await;
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let path = path.replace("{id}", "x");
            let (status, body) = hub.ask(method.clone(), &path, None, None).await;
            assert_ne!(status, 405, "{method} {path}");
            assert_ne!(body["code"], "not_found", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_person_joins_hands_in_beats_reads_its_data_and_is_erased() {
    let hub = hub().await;
    let (id, token) = hub
        .join(json!({"name": "Noor", "consent": {"textVersion": "1", "scopes": ["store"]}}))
        .await;
    let (other, _) = hub.join(json!({})).await;
    let own = |end: &str| format!("/api/participants/{id}{end}");
    let token = Some(token.as_str());

    let (status, feedback) = hub
        .ask(
            Method::POST,
            &own("/rr"),
            token,
            Some(json!({"rr": [800, 810.5]})),
        )
        .await;
    assert_eq!(
        (status.as_u16(), &feedback["reason"]),
        (200, &json!("warming_up"))
    );
    let (status, _) = hub
        .ask(
            Method::POST,
            &own("/coherence"),
            token,
            Some(json!({"coherence": 61})),
        )
        .await;
    assert_eq!(status, 200);
    let withdrawn = json!({"textVersion": "1", "scopes": []});
    let (status, _) = hub
        .ask(Method::PUT, &own("/consent"), token, Some(withdrawn))
        .await;
    assert_eq!(status, 204);
    let (status, data) = hub.ask(Method::GET, &own("/data"), token, None).await;
    assert_eq!((status.as_u16(), &data["name"]), (200, &json!("Noor")));
    let of_store = |consent: &&Value| consent["scope"] == "store";
    let consents = data["consents"].as_array().unwrap();
    let granted: Vec<_> = consents
        .iter()
        .filter(of_store)
        .map(|consent| &consent["granted"])
        .collect();
    assert_eq!(granted, [&json!(true), &json!(false)]);

    // Nobody else's, and not with another's token.
    let foreign = format!("/api/participants/{other}/data");
    let (status, problem) = hub.ask(Method::GET, &foreign, token, None).await;
    assert_eq!(
        (status.as_u16(), &problem["code"]),
        (403, &json!("forbidden"))
    );
    let (status, problem) = hub
        .ask(Method::GET, &own("/data"), Some("no.token"), None)
        .await;
    assert_eq!(
        (status.as_u16(), &problem["code"]),
        (401, &json!("bad_token"))
    );

    let (status, _) = hub.ask(Method::POST, &own("/leave"), token, None).await;
    assert_eq!(status, 204);
    let (status, _) = hub.ask(Method::DELETE, &own(""), token, None).await;
    assert_eq!(status, 204);
    let (status, problem) = hub.ask(Method::GET, &own("/data"), token, None).await;
    assert_eq!(
        (status.as_u16(), &problem["code"]),
        (404, &json!("unknown_participant"))
    );
    let again = json!({"resumeToken": token.unwrap()});
    let (status, problem) = hub
        .ask(Method::POST, "/api/participants", None, Some(again))
        .await;
    assert_eq!(
        (status.as_u16(), &problem["code"]),
        (404, &json!("unknown_participant"))
    );
}

#[tokio::test]
async fn health_sessions_straps_and_time_are_there_for_everybody() {
    let hub = hub().await;
    let (status, health) = hub.ask(Method::GET, "/health", None, None).await;
    assert_eq!((status.as_u16(), &health["status"]), (200, &json!("ok")));
    assert_eq!(health["parts"]["uplink"]["status"], "off");
    let (_, current) = hub
        .ask(Method::GET, "/api/sessions/current", None, None)
        .await;
    let id = current["session"]["id"].as_str().unwrap();
    assert_eq!(health["session"]["id"], id);
    let (_, same) = hub
        .ask(Method::GET, &format!("/api/sessions/{id}"), None, None)
        .await;
    assert_eq!(same["session"]["endsAt"], current["session"]["endsAt"]);
    let (_, list) = hub
        .ask(Method::GET, "/api/sessions?limit=1", None, None)
        .await;
    assert_eq!(list["sessions"].as_array().unwrap().len(), 1);
    let (_, straps) = hub.ask(Method::GET, "/api/straps", None, None).await;
    assert_eq!(straps, json!({"straps": [], "sources": []}));
    let (_, time) = hub.ask(Method::GET, "/api/time", None, None).await;
    assert!(time["serverTime"].is_i64() && time["clockSynced"] == true);
    let metrics = hub.http.get(hub.url("/metrics")).send().await.unwrap();
    assert_eq!(
        metrics.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
}

#[tokio::test]
async fn a_phone_joins_over_the_socket_leaves_and_comes_back_as_the_same() {
    let hub = hub().await;
    let mut phone = hub.phone().await;
    let refused = phone
        .ask(
            json!({"type": "update_coherence", "rr": [800], "id": 1}),
            "error",
        )
        .await;
    assert_eq!(
        (&refused["code"], &refused["re"]),
        (&json!("not_joined"), &json!(1))
    );

    let joined = phone
        .ask(
            json!({"type": "join_session", "name": "Noor", "id": "j"}),
            "session_joined",
        )
        .await;
    assert_eq!(joined["re"], "j");
    assert_eq!(joined["session"]["participants"], 1);
    let update = phone.wait_for("participant_update").await;
    assert_eq!(
        (&update["participants"], &update["change"]),
        (&json!(1), &json!("joined"))
    );
    let beat = json!({"type": "update_coherence", "rr": [800, 805]});
    let feedback = phone.ask(beat, "personal_feedback").await;
    assert_eq!(feedback["reason"], "warming_up");
    let alive = phone
        .ask(json!({"type": "heartbeat"}), "heartbeat_response")
        .await;
    assert!(alive["serverTime"].is_i64());
    let synced = phone
        .ask(
            json!({"type": "sync_request", "clientTime": 12.25}),
            "sync_response",
        )
        .await;
    assert_eq!(
        (&synced["clientTime"], &synced["anchor"]),
        (&json!(12.25), &Value::Null)
    );
    assert!(synced["receivedAt"].as_i64() <= synced["sentAt"].as_i64());

    let token = joined["resumeToken"].clone();
    let mut second = hub.phone().await;
    let known = second
        .ask(json!({"type": "auth", "token": token}), "auth_ok")
        .await;
    assert_eq!(
        (&known["role"], &known["expiresAt"]),
        (&json!("participant"), &Value::Null)
    );
    let again = second
        .ask(json!({"type": "join_session"}), "session_joined")
        .await;
    assert_eq!(again["participantId"], joined["participantId"]);
    // The older socket gives way.
    assert_eq!(phone.closed().await, 4001);

    let (_, other) = hub.join(json!({})).await;
    let refused = second
        .ask(
            json!({"type": "join_session", "resumeToken": other}),
            "error",
        )
        .await;
    assert_eq!(refused["code"], "already_joined");
    second
        .ask(json!({"type": "leave_session"}), "session_left")
        .await;
    let refused = second.ask(json!({"type": "leave_session"}), "error").await;
    assert_eq!(refused["code"], "not_joined");
    let back = second
        .ask(json!({"type": "join_session"}), "session_joined")
        .await;
    assert_eq!(back["participantId"], joined["participantId"]);
}

#[tokio::test]
async fn what_is_wrong_is_answered_and_the_connection_lives_on() {
    let hub = hub().await;
    let mut phone = hub.phone().await;
    for (text, code) in [
        ("{", "bad_json"),
        ("[]", "bad_json"),
        ("{\"type\":\"dance\"}", "unknown_type"),
        ("{\"type\":\"join_session\",\"name\":1}", "bad_value"),
        ("{\"type\":\"auth\",\"token\":\"x.y\"}", "bad_token"),
    ] {
        phone.0.send(Message::text(text)).await.unwrap();
        assert_eq!(phone.wait_for("error").await["code"], code, "{text}");
    }
    phone.0.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert_eq!(phone.wait_for("error").await["code"], "not_text");
    phone.0.send(Message::Ping(vec![7].into())).await.unwrap();
    assert_eq!(phone.message().await, Message::Pong(vec![7].into()));
    phone
        .ask(json!({"type": "heartbeat"}), "heartbeat_response")
        .await;
}

#[tokio::test]
async fn a_frame_may_have_four_kibibytes_and_one_that_has_more_ends_the_connection() {
    let hub = hub().await;
    let frame = |bytes: usize| {
        let bare = json!({"type": "heartbeat", "x": ""}).to_string().len();
        json!({"type": "heartbeat", "x": "y".repeat(bytes - bare)})
    };
    let mut phone = hub.phone().await;
    phone.ask(frame(4096), "heartbeat_response").await;
    for bytes in [4097, 20_000, 1_000_000] {
        let mut phone = hub.phone().await;
        // The hub may close while this is still being sent.
        let _ = phone.0.send(Message::text(frame(bytes).to_string())).await;
        assert_eq!(
            phone.wait_for("error").await["code"],
            "too_large",
            "{bytes}"
        );
        assert_eq!(phone.closed().await, 1009, "{bytes}");
    }
}

#[tokio::test]
async fn a_flood_is_told_once_a_second_and_the_connection_lives_on() {
    let hub = hub().await;
    let mut phone = hub.phone().await;
    for n in 0..150 {
        phone
            .0
            .feed(Message::text(
                json!({"type": "heartbeat", "id": n}).to_string(),
            ))
            .await
            .unwrap();
    }
    phone.0.flush().await.unwrap();
    let (mut answers, mut told) = (0, 0);
    while answers + told < 101 {
        let frame = phone.frame().await;
        match frame["type"].as_str().unwrap() {
            "heartbeat_response" => answers += 1,
            "rate_limit_exceeded" => {
                told += 1;
                assert!(frame["retryAfterMs"].as_i64().unwrap() <= 1000);
            }
            _ => {}
        }
    }
    assert_eq!((answers, told), (100, 1));
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let answer = phone
        .ask(
            json!({"type": "heartbeat", "id": "later"}),
            "heartbeat_response",
        )
        .await;
    assert_eq!(answer["re"], "later");
}

#[tokio::test]
async fn the_pin_makes_a_facilitator_and_guessing_it_is_stopped() {
    let hub = hub().await;
    let mut phone = hub.phone().await;
    let known = phone
        .ask(json!({"type": "auth", "pin": PIN}), "auth_ok")
        .await;
    assert_eq!(known["role"], "facilitator");
    let token = known["token"].clone();
    for _ in 0..4 {
        let wrong = phone
            .ask(json!({"type": "auth", "pin": "000000"}), "error")
            .await;
        assert_eq!(wrong["code"], "wrong_pin");
    }
    let locked = phone
        .ask(json!({"type": "auth", "pin": "000000"}), "error")
        .await;
    assert_eq!(
        (&locked["code"], &locked["retryAfterMs"]),
        (&json!("pin_locked"), &json!(30_000))
    );
    // Another socket from the same address is locked out as well; the token still works.
    let mut other = hub.phone().await;
    assert_eq!(
        other
            .ask(json!({"type": "auth", "pin": PIN}), "error")
            .await["code"],
        "pin_locked"
    );
    let again = other
        .ask(json!({"type": "auth", "token": token}), "auth_ok")
        .await;
    assert_eq!(
        (&again["role"], &again["expiresAt"]),
        (&known["role"], &known["expiresAt"])
    );
}

#[tokio::test]
async fn the_subprotocol_is_echoed_when_it_is_asked_for() {
    let hub = hub().await;
    for (asked, echoed) in [
        (None, None),
        (Some("coherence.v1"), Some("coherence.v1")),
        (Some("other, coherence.v1"), Some("coherence.v1")),
    ] {
        let mut request = format!("ws://{}/ws", hub.address)
            .into_client_request()
            .unwrap();
        if let Some(asked) = asked {
            request
                .headers_mut()
                .insert("sec-websocket-protocol", asked.parse().unwrap());
        }
        let (_, response) = connect_async(request).await.unwrap();
        let protocol = response
            .headers()
            .get("sec-websocket-protocol")
            .map(|value| value.to_str().unwrap());
        assert_eq!(protocol, echoed);
    }
}

#[tokio::test]
async fn open_sockets_are_counted_and_closed_when_the_hub_stops() {
    let hub = hub().await;
    let mut phone = hub.phone().await;
    let second = hub.phone().await;
    let (_, health) = hub.ask(Method::GET, "/health", None, None).await;
    assert_eq!(health["connections"], 2);
    drop(second);
    let deadline = Instant::now() + Duration::from_secs(10);
    while hub.live.sockets() > 1 {
        assert!(
            Instant::now() < deadline,
            "a socket that is gone is still counted"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    hub.stop.send_replace(true);
    assert_eq!(phone.closed().await, 1001);
    hub.serving.await.unwrap().unwrap();
}
