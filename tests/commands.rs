//! What phones ask, over real sockets, of the real program: the same wishes as frames and as
//! requests, the documented answer to each, and the "no" in the same form everywhere.

mod support;

use std::time::Duration;

use futures_util::SinkExt;
use serde_json::{Value, json};
use support::hub::{Hub, PROGRAM, quiet};
use support::phone::{End, Phone};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Message;

async fn demo() -> (TempDir, Hub) {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let hub = Hub::demo(dir.path(), &["--people", "8", "--seed", "5"]).await;
    (dir, hub)
}

/// Joins over the socket and returns participant id and token.
async fn join(phone: &mut Phone, frame: Value) -> (String, String) {
    phone.send(frame).await;
    let joined = phone.wait_for("session_joined").await;
    let text = |field: &str| joined[field].as_str().expect("text").to_owned();
    (text("participantId"), text("resumeToken"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_joins_with_a_strap_hears_its_own_heart_and_leaves() {
    let (_dir, hub) = demo().await;
    let mut wall = Phone::connect(&hub).await;
    wall.wait_for("session_state").await;
    let mut phone = Phone::connect(&hub).await;
    phone.send(json!({"type": "join_session", "id": 7, "name": "Mira", "intention": "calm", "strap": "3"})).await;
    let joined = phone.wait_for("session_joined").await;
    assert_eq!(joined["re"], 7);
    assert_eq!(joined["strap"], "strap 3");
    assert_eq!(
        joined["session"]["participants"], 1,
        "the asker sees its own write"
    );
    assert!(joined["group"]["scored"].is_u64() && joined["serverTime"].is_i64());
    let update = wall.wait_for("participant_update").await;
    assert_eq!(
        (&update["change"], &update["participants"]),
        (&json!("joined"), &json!(1))
    );

    let beat = phone.wait_for("beat").await;
    assert!(beat["at"].is_i64() && beat["rrMs"].is_number(), "{beat}");
    let feedback = phone.wait_for("personal_feedback").await;
    let (score, reason) = (&feedback["score"], &feedback["reason"]);
    assert!(
        score.is_number() != reason.is_string(),
        "a score or a reason, never both: {feedback}"
    );
    assert!(feedback["quality"]["coverage"].is_number());
    assert!(
        wall.hears_nothing("personal_feedback", Duration::from_millis(300))
            .await,
        "own figures are one's own"
    );
    assert!(
        wall.hears_nothing("beat", Duration::from_millis(300)).await,
        "own beats are one's own"
    );

    let straps = hub
        .until("/api/straps", "the claim", |straps| {
            straps["straps"][2]["claimed"] == true
        })
        .await;
    assert!(
        !straps.to_string().contains("Mira"),
        "nobody's name is shown"
    );

    phone
        .send(json!({"type": "leave_session", "id": "bye"}))
        .await;
    assert_eq!(phone.wait_for("session_left").await["re"], "bye");
    assert_eq!(wall.wait_for("participant_update").await["change"], "left");
    phone
        .send(json!({"type": "update_coherence", "coherence": 50}))
        .await;
    assert_eq!(phone.wait_for("error").await["code"], "not_joined");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tells_a_heart_rate_is_for_the_facilitator() {
    let (_dir, mut hub) = demo().await;
    let all = |straps: &Value| straps["straps"].as_array().expect("a list").clone();
    for strap in all(&hub.get("/api/straps").await) {
        assert!(strap.get("beatsAccepted").is_none() && strap.get("beatsRejected").is_none());
        assert_eq!(
            strap["lastBeatAgeMs"].as_i64().unwrap_or(0) % 1_000,
            0,
            "{strap}"
        );
    }
    hub.become_facilitator().await;
    let straps = all(&hub.get("/api/straps").await);
    assert!(
        straps
            .iter()
            .any(|strap| strap["beatsAccepted"].as_u64() > Some(60))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strap_has_one_wearer_and_a_participant_one_socket() {
    let (_dir, hub) = demo().await;
    let mut first = Phone::connect(&hub).await;
    let (id, token) = join(
        &mut first,
        json!({"type": "join_session", "strap": "strap 1"}),
    )
    .await;
    let mut second = Phone::connect(&hub).await;
    second
        .send(json!({"type": "join_session", "strap": "strap 1"}))
        .await;
    assert_eq!(second.wait_for("error").await["code"], "strap_taken");
    second
        .send(json!({"type": "join_session", "strap": "strap 99"}))
        .await;
    assert_eq!(second.wait_for("error").await["code"], "unknown_strap");
    // The same person on another phone: the older socket is closed, nothing else changes.
    let (again, _) = join(
        &mut second,
        json!({"type": "join_session", "resumeToken": token}),
    )
    .await;
    assert_eq!(again, id);
    assert_eq!(first.wait_for_close().await, End::Closed(4001));
    assert_eq!(hub.get("/health").await["participants"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_without_a_strap_posts_its_own_beats_or_score() {
    let (_dir, hub) = demo().await;
    let mut phone = Phone::connect(&hub).await;
    join(&mut phone, json!({"type": "join_session"})).await;
    phone
        .send(json!({"type": "update_coherence", "coherence": 61.5, "id": 1}))
        .await;
    let feedback = phone
        .wait_where("personal_feedback", |frame| frame["re"] == 1)
        .await;
    assert_eq!(
        (&feedback["score"], &feedback["level"]),
        (&json!(61.5), &json!("high"))
    );
    let grid = phone
        .wait_where("personal_feedback", |frame| frame["re"].is_null())
        .await;
    assert_eq!(grid["score"], 61.5, "again at the grid point");
    assert!(grid["contribution"].is_number());

    phone
        .send(json!({"type": "update_coherence", "rr": [812.5, 830, 845], "id": 2}))
        .await;
    let feedback = phone
        .wait_where("personal_feedback", |frame| frame["re"] == 2)
        .await;
    assert!(feedback["reason"].is_string() || feedback["score"].is_number());
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_gets_its_answer_and_the_connection_lives_on() {
    let (_dir, hub) = demo().await;
    let mut phone = Phone::connect(&hub).await;
    for (frame, code) in [
        ("{", "bad_json"),
        ("[]", "bad_json"),
        (r#"{"type":"dance","id":1}"#, "unknown_type"),
        (
            r#"{"type":"update_coherence","coherence":50}"#,
            "not_joined",
        ),
        (r#"{"type":"join_session","name":7}"#, "bad_value"),
        (
            r#"{"type":"join_session","sessionId":"19700101T0000Z"}"#,
            "unknown_session",
        ),
        (
            r#"{"type":"join_session","resumeToken":"x.y"}"#,
            "bad_token",
        ),
        (
            r#"{"type":"join_session","consent":{"textVersion":"1","scopes":["all"]}}"#,
            "bad_value",
        ),
        (r#"{"type":"update_coherence","rr":[1e999]}"#, "bad_json"),
    ] {
        phone.send_text(frame).await;
        let error = phone.wait_for("error").await;
        assert_eq!(error["code"], code, "{frame}: {error}");
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|message| message.len() > 10),
            "says why: {error}"
        );
    }
    phone
        .socket
        .send(Message::binary(vec![1, 2, 3]))
        .await
        .expect("the socket is open");
    assert!(phone.wait_for("error").await["message"].is_string());
    phone
        .send(json!({"type": "heartbeat", "id": "still"}))
        .await;
    assert_eq!(phone.wait_for("heartbeat_response").await["re"], "still");
    assert_eq!(
        hub.get("/health").await["participants"],
        0,
        "nothing of it took effect"
    );

    phone
        .send_text(format!(
            r#"{{"type":"heartbeat","padding":"{}"}}"#,
            "x".repeat(5_000)
        ))
        .await;
    assert_eq!(phone.wait_for_close().await, End::Closed(1009));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_told_to_wait_and_others_do_not_notice() {
    let (_dir, hub) = demo().await;
    let mut flood = Phone::connect(&hub).await;
    for _ in 0..300 {
        flood
            .socket
            .feed(Message::text(r#"{"type":"heartbeat"}"#))
            .await
            .expect("the socket is open");
    }
    flood.socket.flush().await.expect("the socket is open");
    let slow_down = flood.wait_for("rate_limit_exceeded").await;
    assert!(
        (1..=1_000).contains(&slow_down["retryAfterMs"].as_i64().expect("ms")),
        "{slow_down}"
    );
    let mut calm = Phone::connect(&hub).await;
    calm.send(json!({"type": "heartbeat"})).await;
    calm.wait_for("heartbeat_response").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_finds_the_hubs_time_by_four_stamps() {
    let (_dir, hub) = demo().await;
    let mut phone = Phone::connect(&hub).await;
    let before = hub.get("/api/time").await["serverTime"]
        .as_i64()
        .expect("Unix ms");
    phone
        .send(json!({"type": "sync_request", "clientTime": 12.5}))
        .await;
    let sync = phone.wait_for("sync_response").await;
    let after = hub.get("/api/time").await["serverTime"]
        .as_i64()
        .expect("Unix ms");
    assert_eq!(sync["clientTime"], 12.5, "comes back as it was");
    let (received, sent) = (
        sync["receivedAt"].as_i64().expect("ms"),
        sync["sentAt"].as_i64().expect("ms"),
    );
    assert!(
        before <= received && received <= sent && sent <= after,
        "{before} {sync} {after}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn over_rest_a_person_joins_posts_consents_reads_and_is_erased() {
    let (_dir, hub) = demo().await;
    let client = reqwest::Client::new();
    let answer = client
        .post(hub.url("/api/participants"))
        .json(&json!({"name": "Ravindra-Unique", "strap": "strap 2", "consent": {"textVersion": "en-1", "scopes": ["store"]}}))
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 201);
    let joined: Value = answer.json().await.expect("JSON");
    let id = joined["participantId"].as_str().expect("an id").to_owned();
    let token = joined["resumeToken"].as_str().expect("a token").to_owned();
    let own = |path: &str| hub.url(&format!("/api/participants/{id}{path}"));

    for (answer, status) in [
        (
            client
                .post(own("/rr"))
                .bearer_auth(&token)
                .json(&json!({"rr": [800, 810.5]})),
            200,
        ),
        (
            client
                .post(own("/coherence"))
                .bearer_auth(&token)
                .json(&json!({"coherence": 44})),
            200,
        ),
        (
            client
                .post(own("/coherence"))
                .bearer_auth(&token)
                .json(&json!({"coherence": 101})),
            422,
        ),
        (client.post(own("/rr")).json(&json!({"rr": [800]})), 401),
        (
            client
                .post(own("/rr"))
                .bearer_auth("nonsense")
                .json(&json!({"rr": [800]})),
            401,
        ),
        (
            client
                .put(own("/consent"))
                .bearer_auth(&token)
                .json(&json!({"textVersion": "en-2", "scopes": ["store", "research"]})),
            200,
        ),
    ] {
        let answer = answer.send().await.expect("an answer");
        assert!(
            answer.status() == status || (status == 200 && answer.status() == 204),
            "{}: {}",
            answer.url().path().to_owned(),
            answer.text().await.expect("a body")
        );
    }
    let stranger: Value = client
        .post(hub.url("/api/participants"))
        .json(&json!({}))
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    let stranger = stranger["resumeToken"]
        .as_str()
        .expect("a token")
        .to_owned();
    let other = client
        .get(own("/data"))
        .bearer_auth(stranger)
        .send()
        .await
        .expect("an answer");
    assert_eq!(other.status(), 403, "nobody reads another's data");

    let data: Value = client
        .get(own("/data"))
        .bearer_auth(&token)
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert!(data.to_string().contains("Ravindra-Unique"), "{data}");
    assert!(
        data.to_string().contains("en-2"),
        "the consent that was given: {data}"
    );

    let gone = client
        .delete(own(""))
        .bearer_auth(&token)
        .send()
        .await
        .expect("an answer");
    assert!(gone.status().is_success(), "{}", gone.status());
    let after = client
        .get(own("/data"))
        .bearer_auth(&token)
        .send()
        .await
        .expect("an answer");
    assert!(
        [401, 404, 410].contains(&after.status().as_u16()),
        "{}",
        after.status()
    );
    let (status, _) = hub.stop().await;
    assert!(status.success());
    for entry in std::fs::read_dir(_dir.path()).expect("the data directory") {
        let path = entry.expect("an entry").path();
        let bytes = std::fs::read(&path).expect("readable");
        let found = bytes.windows(15).any(|window| window == b"Ravindra-Unique");
        assert!(
            !found,
            "a name that was erased is still in {}",
            path.display()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_no_is_a_problem_document() {
    let (_dir, hub) = demo().await;
    let client = reqwest::Client::new();
    let post = || client.post(hub.url("/api/participants"));
    let json_type = "application/json";
    for (what, request, status) in [
        ("no such page", client.get(hub.url("/nothing/here")), 404),
        ("wrong method", client.delete(hub.url("/health")), 405),
        (
            "no JSON",
            post().header("content-type", json_type).body("{"),
            400,
        ),
        (
            "no object",
            post().header("content-type", json_type).body("[1]"),
            400,
        ),
        (
            "wrong type",
            post().header("content-type", "text/plain").body("{}"),
            415,
        ),
        (
            "too large",
            post()
                .header("content-type", json_type)
                .body(" ".repeat(100_000)),
            413,
        ),
        (
            "bad value",
            post().json(&json!({"name": "x".repeat(65)})),
            422,
        ),
        (
            "bad query",
            client.get(hub.url("/api/sessions?limit=many")),
            400,
        ),
        (
            "no session",
            client.get(hub.url("/api/sessions/19700101T0000Z")),
            404,
        ),
        (
            "bad id",
            client
                .get(hub.url("/api/participants/nobody/data"))
                .bearer_auth("x"),
            401,
        ),
        ("no upgrade", client.get(hub.url("/ws")), 426),
    ] {
        let answer = request.send().await.expect("an answer");
        let got = answer.status().as_u16();
        let kind = answer
            .headers()
            .get("content-type")
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or("")
            .to_owned();
        let body = answer.text().await.expect("a body");
        assert_eq!(kind, "application/problem+json", "{what}: {got} {body}");
        let problem: Value = serde_json::from_str(&body).expect("JSON");
        assert!(
            problem["type"]
                .as_str()
                .is_some_and(|urn| urn.starts_with("urn:coherence-hub:problem:")),
            "{what}: {body}"
        );
        assert_eq!(problem["status"], got, "{what}: {body}");
        assert!(
            problem["title"].is_string() && problem["detail"].is_string(),
            "{what}: {body}"
        );
        assert_eq!(got, status, "{what}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pin_opens_the_facilitators_door_and_guessing_closes_it() {
    let (dir, hub) = demo().await;
    let shown = std::process::Command::new(PROGRAM);
    let mut shown = shown;
    let output = quiet(&mut shown)
        .args(["pin", "--data-dir"])
        .arg(dir.path())
        .output()
        .expect("it runs");
    let pin = String::from_utf8(output.stdout)
        .expect("digits")
        .trim()
        .to_owned();
    assert!(
        pin.len() == 6 && pin.bytes().all(|c| c.is_ascii_digit()),
        "{pin}"
    );

    let mut phone = Phone::connect(&hub).await;
    phone.send(json!({"type": "auth", "pin": pin})).await;
    let ok = phone.wait_for("auth_ok").await;
    assert_eq!(ok["role"], "facilitator");
    let hours = (ok["expiresAt"].as_i64().expect("ms")
        - hub.get("/api/time").await["serverTime"]
            .as_i64()
            .expect("ms"))
        / 3_600_000;
    assert!((11..=12).contains(&hours));
    let token = ok["token"].clone();

    let wrong = if pin == "000000" { "000001" } else { "000000" };
    let mut codes = Vec::new();
    for _ in 0..7 {
        phone.send(json!({"type": "auth", "pin": wrong})).await;
        codes.push(
            phone.wait_for("error").await["code"]
                .as_str()
                .expect("a code")
                .to_owned(),
        );
    }
    assert_eq!(codes[0], "wrong_pin");
    assert_eq!(codes[6], "pin_locked");
    phone.send(json!({"type": "auth", "pin": pin})).await;
    let locked = phone.wait_for("error").await;
    assert_eq!(
        locked["code"], "pin_locked",
        "even the right one waits: {locked}"
    );
    assert!(locked["retryAfterMs"].as_i64() > Some(0));
    phone.send(json!({"type": "auth", "token": token})).await;
    phone.wait_for("auth_ok").await;
}
