//! Ticks, and the anchor for those who compute the position themselves.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::hub::Hub;
use crate::support::phone::Phone;
use crate::{hub_with, position};

#[tokio::test(flavor = "multi_thread")]
async fn ticks_tell_the_position_until_they_are_not_wanted_any_more() {
    let (_dir, hub) = hub_with("").await;
    let mut phone = Phone::connect(&hub).await;
    let stage = phone.wait_for("snapshot").await;
    phone
        .send(json!({"type": "subscribe_ticks", "id": "go"}))
        .await;
    let first = phone.wait_for("scroll_tick").await;
    assert_eq!(first["re"], "go");
    let mut last = first["at"].as_i64().expect("Unix ms") - 1;
    for _ in 0..100 {
        let tick = phone.wait_for("scroll_tick").await;
        let at = tick["at"].as_i64().expect("Unix ms");
        assert!(at > last, "each is newer: {last} {tick}");
        last = at;
        let there = tick["positionMs"].as_f64().expect("ms");
        assert!(
            (there - position(&stage, at)).abs() < 1e-3,
            "{tick} {stage}"
        );
        assert_eq!(tick["version"], stage["anchor"]["version"]);
    }
    // Slower, and of another stage where the phone goes there.
    phone
        .ask(json!({"type": "subscribe_ticks", "intervalMs": 20}))
        .await;
    phone
        .send(json!({"type": "join_session", "sessionId": "jam"}))
        .await;
    phone.wait_for("session_joined").await;
    phone
        .wait_where("scroll_tick", |tick| tick["positionMs"] == 0.0)
        .await;
    let end = phone.ask(json!({"type": "unsubscribe_ticks"})).await;
    assert_eq!(end["type"], "scroll_tick", "the last one is the answer");
    assert!(
        phone
            .hears_nothing("scroll_tick", Duration::from_millis(200))
            .await
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_a_sync_request_carries_the_anchor_of_the_stage_one_is_on() {
    let (_dir, hub) = hub_with("").await;
    let mut phone = Phone::connect(&hub).await;
    let room = phone.wait_for("snapshot").await;
    let ask = json!({"type": "sync_request", "clientTime": 12.5});
    let sync = phone.ask(ask.clone()).await;
    assert_eq!(
        (&sync["anchor"], &sync["clientTime"]),
        (&room["anchor"], &json!(12.5))
    );
    assert!(sync["receivedAt"].as_i64() <= sync["sentAt"].as_i64());
    phone
        .ask(json!({"type": "join_session", "sessionId": "jam"}))
        .await;
    let named = phone.ask(json!({"type": "play"})).await;
    assert_eq!(phone.ask(ask).await["anchor"], named["anchor"]);
}

/// Processor time of a process so far, s.
fn processor_s(hub: &Hub) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", hub.pid())).expect("it runs");
    // After the name, which is in brackets: the 12th and 13th field, in hundredths of a second.
    let (_, rest) = stat.rsplit_once(") ").expect("as proc(5) says");
    let fields: Vec<f64> = rest
        .split(' ')
        .filter_map(|field| field.parse().ok())
        .collect();
    let from_state = 10;
    (fields[from_state] + fields[from_state + 1]) / 100.0
}

/// Ticks that come to one phone until `end`.
async fn count(mut phone: Phone, end: Instant) -> u64 {
    let mut ticks = 0;
    while let Ok(Some(Ok(message))) = tokio::time::timeout_at(end.into(), phone.socket.next()).await
    {
        if let Message::Text(text) = message {
            ticks += u64::from(text.starts_with("{\"type\":\"scroll_tick\""));
        }
    }
    ticks
}

/// `tests/load ticks`: 300 phones with ticks of 16 ms, side by side with a hub whose 300 phones want none.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a figure is measured, which takes a calm machine and the release build"]
async fn three_hundred_phones_get_their_ticks_of_sixteen_ms() {
    const PHONES: u32 = 300;
    const EVERY_MS: u32 = 16;
    let during_s: u64 = match std::env::var("COHERENCE_SECONDS") {
        Ok(text) => text.parse().expect("COHERENCE_SECONDS is a number"),
        Err(_) => 30,
    };
    let ((_ticking_dir, ticking), (_idle_dir, idle)) = (hub_with("").await, hub_with("").await);
    let (mut wanting, mut looking) = (Vec::new(), Vec::new());
    for _ in 0..PHONES {
        looking.push(Phone::connect(&idle).await);
        let mut phone = Phone::connect(&ticking).await;
        let first = phone
            .ask(json!({"type": "subscribe_ticks", "intervalMs": EVERY_MS}))
            .await;
        assert_eq!(first["type"], "scroll_tick");
        wanting.push(phone);
    }
    // What came while the others connected is read first.
    let begin = Instant::now() + Duration::from_secs(2);
    let mut warm = tokio::task::JoinSet::new();
    for mut phone in wanting {
        warm.spawn(async move {
            while tokio::time::timeout_at(begin.into(), phone.socket.next())
                .await
                .is_ok()
            {}
            phone
        });
    }
    let wanting = warm.join_all().await;
    let end = begin + Duration::from_secs(during_s);
    let before = (processor_s(&ticking), processor_s(&idle));
    let mut counting = tokio::task::JoinSet::new();
    for phone in wanting.into_iter().chain(looking) {
        counting.spawn(count(phone, end));
    }
    let ticks: u64 = counting.join_all().await.into_iter().sum();
    let took_s = begin.elapsed().as_secs_f64();
    let percent = |since: f64, now: f64| (now - since) / took_s * 100.0;
    let wanted = f64::from(PHONES) * took_s * 1_000.0 / f64::from(EVERY_MS);
    let share = ticks as f64 / wanted * 100.0;
    println!(
        "{PHONES} phones, ticks of {EVERY_MS} ms, {took_s:.1} s: {ticks} of {wanted:.0} came ({share:.2} %); \
         processor {:.1} % of a core, an idle hub with as many phones {:.1} %",
        percent(before.0, processor_s(&ticking)),
        percent(before.1, processor_s(&idle)),
    );
    assert!(ticks > 0, "nothing came");
}
