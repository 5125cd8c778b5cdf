//! The live connection.

use super::*;

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
        (&synced["clientTime"], &synced["anchor"]["state"]),
        (&json!(12.25), &json!("playing"))
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
async fn who_was_erased_elsewhere_joins_as_somebody_new_on_the_same_connection() {
    let hub = hub().await;
    let mut phone = hub.phone().await;
    let frame = json!({"type": "join_session"});
    let joined = phone.ask(frame.clone(), "session_joined").await;
    let (id, token) = (&joined["participantId"], joined["resumeToken"].clone());
    let path = format!("/api/participants/{}", id.as_str().unwrap());
    let (status, _) = hub.ask(Method::DELETE, &path, token.as_str(), None).await;
    assert_eq!(status, 204);
    let back = json!({"type": "join_session", "resumeToken": token});
    let refused = phone.ask(back, "error").await;
    assert_eq!(refused["code"], "unknown_participant");

    let mut other = hub.phone().await;
    let joined = other.ask(frame.clone(), "session_joined").await;
    let path = format!(
        "/api/participants/{}",
        joined["participantId"].as_str().unwrap()
    );
    let token = joined["resumeToken"].as_str();
    hub.ask(Method::DELETE, &path, token, None).await;
    let anew = other.ask(frame, "session_joined").await;
    assert_ne!(anew["participantId"], joined["participantId"]);
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
    hub.serving.await.unwrap();
}
