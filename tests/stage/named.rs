//! Named sessions: who leads them, how many there are, how they may be called.

use std::time::Duration;

use serde_json::json;

use crate::support::phone::{End, Phone};
use crate::{code, hub_with, join};

#[tokio::test(flavor = "multi_thread")]
async fn a_named_session_is_led_by_who_came_first_and_then_by_who_came_next() {
    let (_dir, hub) = hub_with("").await;
    let mut wall = Phone::connect(&hub).await;
    let room = wall.wait_for("snapshot").await;
    let (mut first, joined) = join(&hub, Some("Ada"), Some("jam-1")).await;
    assert_eq!(
        (&joined["role"], &joined["group"]),
        (&json!("leader"), &json!(null))
    );
    assert_eq!(joined["session"]["id"], "jam-1");
    let opened = first
        .wait_where("snapshot", |seen| seen["sessionId"] == "jam-1")
        .await;
    assert_eq!(
        (&opened["tempo"], &opened["turnMs"]),
        (&json!(60.0), &json!(1_000))
    );
    assert_eq!(
        (&opened["anchor"]["state"], &opened["anchor"]["positionMs"]),
        (&json!("paused"), &json!(0.0))
    );

    let (mut second, joined) = join(&hub, Some("Ben"), Some("jam-1")).await;
    assert_eq!(
        (&joined["role"], &joined["session"]["participants"]),
        (&json!("follower"), &json!(2))
    );
    for frame in [
        json!({"type": "play"}),
        json!({"type": "set_role", "role": "leader"}),
    ] {
        assert_eq!(code(&mut second, frame).await, "not_leader");
    }
    assert_eq!(
        code(
            &mut second,
            json!({"type": "update_coherence", "coherence": 50})
        )
        .await,
        "not_joined"
    );
    let played = first.ask(json!({"type": "set_tempo", "tempo": 120})).await;
    assert_eq!(played["anchor"]["rate"], 2.0, "nothing moves: at once");
    assert_eq!(
        code(&mut first, json!({"type": "set_tempo", "tempo": 301})).await,
        "bad_value"
    );
    first.ask(json!({"type": "play"})).await;
    let seen = second
        .wait_where("snapshot", |seen| seen["anchor"]["state"] == "playing")
        .await;
    assert_eq!(seen["tempo"], 120.0);
    assert!(seen.get("names").is_none(), "a leader is no facilitator");
    let shown = hub.get("/sessions/jam-1").await;
    assert_eq!(
        (&shown["anchor"], &shown["followers"]),
        (&seen["anchor"], &json!(1))
    );
    assert!(shown["serverTime"].is_i64() && shown.get("names").is_none());

    first
        .send(json!({"type": "leave_session", "id": "bye"}))
        .await;
    assert_eq!(first.wait_for("session_left").await["re"], "bye");
    let back = first.wait_for("snapshot").await;
    assert_eq!(
        back["sessionId"], room["sessionId"],
        "back on the room's stage"
    );
    let passed = second.ask(json!({"type": "pause"})).await;
    assert_eq!(
        (&passed["type"], &passed["leaders"]),
        (&json!("snapshot"), &json!(1))
    );
    second.ask(json!({"type": "leave_session"})).await;
    assert_eq!(
        hub.get("/sessions/jam-1").await["code"],
        "unknown_session",
        "freed when empty"
    );

    assert!(
        wall.hears_nothing("snapshot", Duration::from_millis(300))
            .await,
        "it is nobody else's"
    );
    assert_eq!(
        hub.get("/health").await["participants"],
        0,
        "and nobody was in the room"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_lead_is_not_passed_on_nobody_leads_until_somebody_asks() {
    let (_dir, hub) =
        hub_with("[stage]\nleader_leaves = \"nobody\"\nroom_leader = \"first\"\n").await;
    for session in [None, Some("jam")] {
        let (mut first, _) = join(&hub, None, session).await;
        let (mut second, _) = join(&hub, None, session).await;
        assert_eq!(
            first.ask(json!({"type": "pause"})).await["leaders"],
            1,
            "{session:?}"
        );
        first.ask(json!({"type": "leave_session"})).await;
        assert_eq!(
            code(&mut second, json!({"type": "play"})).await,
            "not_leader"
        );
        second
            .ask(json!({"type": "set_role", "role": "leader"}))
            .await;
        assert_eq!(
            second.ask(json!({"type": "play"})).await["anchor"]["state"],
            "playing"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_line_broke_comes_back_as_one_and_who_stays_away_is_followed() {
    // Ten times as fast as the world: a leader is waited for 1.5 s.
    let (_dir, hub) = hub_with("[test]\nclock_speed = 10.0\n").await;
    let (first, joined) = join(&hub, None, Some("jam")).await;
    let (mut second, _) = join(&hub, None, Some("jam")).await;
    drop(first);
    second
        .wait_where("snapshot", |seen| seen["leaders"] == 0)
        .await;
    let token = joined["resumeToken"].clone();
    let mut back = Phone::connect(&hub).await;
    let again = back
        .ask(json!({"type": "join_session", "sessionId": "jam", "resumeToken": token}))
        .await;
    assert_eq!(
        (&again["role"], &again["participantId"]),
        (&json!("leader"), &joined["participantId"])
    );
    drop(back);
    second
        .wait_where("snapshot", |seen| seen["leaders"] == 0)
        .await;
    second
        .wait_where("snapshot", |seen| seen["leaders"] == 1)
        .await;
    assert_eq!(
        second.ask(json!({"type": "play"})).await["type"],
        "snapshot"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_socket_of_the_same_person_takes_their_place_on_the_stage() {
    let (_dir, hub) = hub_with("").await;
    let (mut older, joined) = join(&hub, None, Some("jam")).await;
    let mut newer = Phone::connect(&hub).await;
    let again = newer
        .ask(json!({"type": "join_session", "sessionId": "jam", "resumeToken": joined["resumeToken"]}))
        .await;
    assert_eq!(
        (&again["role"], &again["session"]["participants"]),
        (&json!("leader"), &json!(1))
    );
    assert_eq!(older.wait_for_close().await, End::Closed(4001));
    assert_eq!(newer.ask(json!({"type": "play"})).await["leaders"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn named_sessions_are_few_and_an_empty_one_makes_room() {
    let (_dir, hub) = hub_with("[stage]\nnamed_max = 2\n").await;
    let (mut one, _) = join(&hub, None, Some("one")).await;
    let (two, _) = join(&hub, None, Some("two")).await;
    let mut late = Phone::connect(&hub).await;
    let frame = json!({"type": "join_session", "sessionId": "three"});
    assert_eq!(code(&mut late, frame.clone()).await, "sessions_full");
    // In one at a time, and the room has a place for everybody.
    assert_eq!(code(&mut one, frame.clone()).await, "already_joined");
    assert_eq!(
        code(&mut one, json!({"type": "join_session"})).await,
        "already_joined"
    );
    assert_eq!(
        late.ask(json!({"type": "join_session"})).await["type"],
        "session_joined"
    );
    late.ask(json!({"type": "leave_session"})).await;

    // A line that broke leaves its session waiting, which gives way to somebody who is here.
    drop(two);
    hub.until("/sessions/two", "the session is empty", |stage| {
        stage["followers"] == 0 && stage["leaders"] == 0
    })
    .await;
    assert_eq!(late.ask(frame.clone()).await["role"], "leader");
    assert_eq!(hub.get("/sessions/two").await["code"], "unknown_session");
    one.ask(json!({"type": "leave_session"})).await;
    let (_four, joined) = join(&hub, None, Some("four")).await;
    assert_eq!(joined["role"], "leader", "freed at once by a goodbye");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_can_not_be_named_as_the_rooms_are_nor_to_do_harm() {
    let (_dir, hub) = hub_with("").await;
    let mut phone = Phone::connect(&hub).await;
    for (name, wanted) in [
        ("../../etc/passwd", "bad_value"),
        ("a b", "bad_value"),
        ("Ⅷ", "bad_value"),
        ("'; DROP TABLE stage; --", "bad_value"),
        (&"x".repeat(65), "bad_value"),
        ("Jam", "unknown_session"),
        ("19700101T0000Z", "unknown_session"),
        ("b0fe122aa-17", "unknown_session"),
        ("b0fe122aa-17-2", "unknown_session"),
    ] {
        let frame = json!({"type": "join_session", "sessionId": name});
        assert_eq!(code(&mut phone, frame).await, wanted, "{name}");
    }
    for more in [
        json!({"strap": "strap 1"}),
        json!({"consent": {"textVersion": "1", "scopes": []}}),
    ] {
        let mut frame = json!({"type": "join_session", "sessionId": "jam"});
        frame
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        assert_eq!(
            code(&mut phone, frame.clone()).await,
            "bad_value",
            "{frame}"
        );
    }
    for path in [
        "/sessions/%2e%2e%2fetc",
        "/sessions/jam",
        "/sessions/%00",
        "/sessions/19700101T0000Z",
    ] {
        assert_eq!(hub.get(path).await["code"], "unknown_session", "{path}");
    }
    let posted = reqwest::Client::new()
        .post(hub.url("/api/participants"))
        .json(&json!({"sessionId": "jam"}))
        .send()
        .await
        .expect("an answer");
    assert_eq!(posted.status(), 404, "a stage needs a socket");
    let longest = "a-9".repeat(21) + "z";
    let (_phone, joined) = join(&hub, Some("<script>alert(1)</script>"), Some(&longest)).await;
    assert_eq!(joined["session"]["id"], longest);
}
