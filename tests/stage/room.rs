//! The room's stage: its pacer, who leads it, what is refused.

use std::time::Duration;

use serde_json::json;

use crate::support::phone::Phone;
use crate::{code, facilitator, hub_with, join, position, version};

#[tokio::test(flavor = "multi_thread")]
async fn every_socket_sees_the_rooms_pacer_whether_it_has_joined_or_not() {
    let (_dir, hub) = hub_with("").await;
    let mut wall = Phone::connect(&hub).await;
    let state = wall.wait_for("session_state").await;
    let seen = wall.wait_for("snapshot").await;
    let session = &state["session"];
    assert_eq!(seen["sessionId"], session["id"]);
    assert_eq!(
        (&seen["tempo"], &seen["turnMs"]),
        (&json!(6.0), &json!(10_000))
    );
    assert_eq!(
        (&seen["scene"], &seen["message"]),
        (&json!("stage"), &json!(null))
    );
    assert!(seen.get("names").is_none());
    // It plays from where the session began, without anybody.
    let begin = session["startsAt"].as_i64().expect("Unix ms");
    assert_eq!(position(&seen, begin + 7_000), 7_000.0);

    let mut phone = Phone::connect(&hub).await;
    let first = phone.wait_for("snapshot").await;
    assert_eq!(first["anchor"], seen["anchor"]);
    let joined = phone
        .ask(json!({"type": "join_session", "role": "leader"}))
        .await;
    assert_eq!(
        joined["role"], "follower",
        "asked for the lead, and told what it became"
    );
    let again = phone.wait_for("snapshot").await;
    assert_eq!(again["anchor"], seen["anchor"], "after it joined");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_facilitator_leads_the_room_and_all_see_what_was_done() {
    let (_dir, hub) = hub_with("").await;
    let mut wall = Phone::connect(&hub).await;
    let mut before = version(&wall.wait_for("snapshot").await);
    let (mut phone, _) = join(&hub, Some("Noor"), None).await;
    let wishes = [
        json!({"type": "set_tempo", "tempo": 5.5}),
        json!({"type": "pause"}),
        json!({"type": "play"}),
        json!({"type": "seek", "positionMs": 20_000}),
        json!({"type": "update_message", "message": "Let the breath come."}),
        json!({"type": "set_role", "role": "leader"}),
    ];
    let mut stranger = Phone::connect(&hub).await;
    for wish in &wishes {
        assert_eq!(code(&mut phone, wish.clone()).await, "not_leader", "{wish}");
        assert_eq!(
            code(&mut stranger, wish.clone()).await,
            "not_leader",
            "{wish}"
        );
    }
    let (mut lead, _) = facilitator(&hub).await;
    let seen = wall
        .wait_where("snapshot", |seen| seen["leaders"] == 1)
        .await;
    assert!(
        version(&seen) > before,
        "refusals changed nothing, the new leader did"
    );
    before = version(&seen);
    let named = lead
        .wait_where("snapshot", |seen| seen.get("names").is_some())
        .await;
    assert_eq!(named["names"]["followers"], json!(["Noor"]));

    for wish in &wishes[..5] {
        let answer = lead.ask(wish.clone()).await;
        assert_eq!(answer["type"], "snapshot", "{wish}: {answer}");
        assert!(version(&answer) > before, "{wish}: {answer}");
        assert!(answer.get("names").is_some());
        before = version(&answer);
        let seen = wall
            .wait_where("snapshot", |seen| version(seen) >= before)
            .await;
        assert!(seen.get("names").is_none(), "{seen}");
        for field in ["tempo", "scene", "message"] {
            assert_eq!(seen[field], answer[field], "{wish}");
        }
    }
    let last = phone
        .wait_where("snapshot", |seen| version(seen) >= before)
        .await;
    assert_eq!(
        (&last["tempo"], &last["message"]),
        (&json!(5.5), &json!("Let the breath come."))
    );
    assert!(last["messageAt"].is_i64());

    // Who lays the lead down follows, until they take it again.
    lead.ask(json!({"type": "set_role", "role": "follower"}))
        .await;
    assert_eq!(
        code(&mut lead, json!({"type": "pause"})).await,
        "not_leader"
    );
    let again = lead
        .ask(json!({"type": "set_role", "role": "leader"}))
        .await;
    assert_eq!(again["leaders"], 1);
    assert_eq!(
        lead.ask(json!({"type": "pause"})).await["anchor"]["state"],
        "paused"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_tempo_takes_effect_at_the_next_breath_and_the_position_never_jumps() {
    let (_dir, hub) = hub_with("").await;
    let (mut lead, _) = facilitator(&hub).await;
    let before = lead
        .ask(json!({"type": "seek", "positionMs": 18_500}))
        .await;
    let asked = lead.ask(json!({"type": "set_tempo", "tempo": 8})).await;
    assert_eq!(
        (&asked["tempo"], &asked["anchor"]["rate"]),
        (&json!(8.0), &json!(1.0))
    );
    let done = lead
        .wait_where("snapshot", |seen| seen["anchor"]["rate"] != 1.0)
        .await;
    assert!(version(&done) > version(&asked));
    let at = done["anchor"]["at"].as_i64().expect("Unix ms");
    let there = position(&done, at);
    assert_eq!(there, position(&before, at));
    assert!((there - 20_000.0).abs() <= 1.0, "a breath begins: {there}");
    // 8 breaths a minute: 7.5 s each.
    assert!((position(&done, at + 7_500) - there - 10_000.0).abs() < 1e-6);
}

#[tokio::test(flavor = "multi_thread")]
async fn rest_now_pauses_the_pacer_and_shows_another_scene_until_it_plays() {
    let (_dir, hub) = hub_with("").await;
    let mut wall = Phone::connect(&hub).await;
    let (mut lead, _) = facilitator(&hub).await;
    lead.ask(json!({"type": "pause", "scene": "rest"})).await;
    let resting = wall
        .wait_where("snapshot", |seen| seen["scene"] == "rest")
        .await;
    assert_eq!(resting["anchor"]["state"], "paused");
    let session = hub.get("/api/sessions/current").await;
    assert_ne!(
        session["session"]["phase"], "complete",
        "nobody stops the session clock"
    );
    lead.ask(json!({"type": "play"})).await;
    let plays = wall
        .wait_where("snapshot", |seen| seen["scene"] == "stage")
        .await;
    assert_eq!(
        plays["anchor"]["positionMs"],
        resting["anchor"]["positionMs"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_values_are_refused_with_words_and_the_borders_are_not() {
    let (_dir, hub) = hub_with("").await;
    let (mut lead, _) = facilitator(&hub).await;
    let kept = lead.ask(json!({"type": "pause"})).await;
    for frame in [
        json!({"type": "set_tempo"}),
        json!({"type": "set_tempo", "tempo": "6"}),
        json!({"type": "set_tempo", "tempo": 3.9}),
        json!({"type": "set_tempo", "tempo": 8.01}),
        json!({"type": "seek"}),
        json!({"type": "seek", "positionMs": -1}),
        json!({"type": "pause", "scene": "party"}),
        json!({"type": "set_role", "role": "king"}),
        json!({"type": "update_message"}),
        json!({"type": "update_message", "message": 7}),
        json!({"type": "update_message", "message": "a\u{7}b"}),
        json!({"type": "update_message", "message": "ä".repeat(501)}),
        json!({"type": "subscribe_ticks", "intervalMs": 15}),
        json!({"type": "subscribe_ticks", "intervalMs": "fast"}),
        json!({"type": "sync_request"}),
    ] {
        assert_eq!(code(&mut lead, frame.clone()).await, "bad_value", "{frame}");
    }
    assert_eq!(
        lead.ask(json!({"type": "pause"})).await,
        kept,
        "nothing of it took effect"
    );
    let message = "ä".repeat(500);
    for frame in [
        json!({"type": "set_tempo", "tempo": 4}),
        json!({"type": "set_tempo", "tempo": 8, "unknown": [1, {"deep": null}]}),
        json!({"type": "seek", "positionMs": 0}),
        json!({"type": "update_message", "message": message}),
    ] {
        assert_eq!(lead.ask(frame.clone()).await["type"], "snapshot", "{frame}");
    }
    let cleared = lead
        .ask(json!({"type": "update_message", "message": null}))
        .await;
    assert_eq!(
        (&cleared["message"], &cleared["messageAt"]),
        (&json!(null), &json!(null))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_is_not_changed_faster_than_people_can_look() {
    let (_dir, hub) = hub_with("").await;
    let (mut lead, _) = facilitator(&hub).await;
    let mut refused = 0;
    for n in 0..60 {
        let answer = lead.ask(json!({"type": "seek", "positionMs": n})).await;
        refused += i32::from(answer["code"] == "rate_limited");
    }
    assert!(refused > 0);
    // It passes by itself.
    let mut answer = json!({"type": "error", "code": "rate_limited"});
    while answer["type"] == "error" {
        assert_eq!(answer["code"], "rate_limited");
        // Slower than the socket's own limit of frames.
        tokio::time::sleep(Duration::from_millis(50)).await;
        answer = lead.ask(json!({"type": "seek", "positionMs": 5})).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_here_is_told_to_all_and_not_more_than_twice_a_second() {
    let (_dir, hub) = hub_with("").await;
    let mut wall = Phone::connect(&hub).await;
    wall.wait_for("snapshot").await;
    let begin = std::time::Instant::now();
    let mut phones = Vec::new();
    for _ in 0..20 {
        phones.push(join(&hub, None, None).await.0);
    }
    let mut told = 0_u32;
    let mut followers = json!(0);
    while followers != 20 {
        let stats = wall.wait_for("room_stats").await;
        assert_eq!(
            stats["participants"], stats["followers"],
            "nobody leads: {stats}"
        );
        followers = stats["followers"].clone();
        told += 1;
    }
    // One at once, then one in each half second.
    let most = begin.elapsed().as_millis() / 500 + 2;
    assert!(u128::from(told) <= most, "{told} in {:?}", begin.elapsed());
    let (mut lead, _) = facilitator(&hub).await;
    let stats = wall
        .wait_where("room_stats", |stats| stats["leaders"] == 1)
        .await;
    assert_eq!(
        (&stats["participants"], &stats["followers"]),
        (&json!(20), &json!(20))
    );
    lead.ask(json!({"type": "heartbeat"})).await;
}
