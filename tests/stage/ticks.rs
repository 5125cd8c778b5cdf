//! Ticks, and the anchor for those who compute the position themselves.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::from_environment;
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

#[tokio::test(flavor = "multi_thread")]
async fn ticks_that_could_not_be_sent_in_time_are_skipped_and_counted_and_never_made_up_for() {
    const PAUSE: Duration = Duration::from_millis(800);
    let (_dir, hub) = hub_with("").await;
    let mut phone = Phone::connect(&hub).await;
    phone
        .send(json!({"type": "subscribe_ticks", "intervalMs": 16}))
        .await;
    let first = phone.wait_for("scroll_tick").await;
    // The hub stands still, as for a phone that takes nothing: what lies in the past is of no use to it.
    hub.signal("-STOP");
    tokio::time::sleep(PAUSE).await;
    hub.signal("-CONT");
    let mut at = vec![first["at"].as_i64().expect("Unix ms")];
    while at.len() < 120 {
        let tick = phone.wait_for("scroll_tick").await;
        at.push(tick["at"].as_i64().expect("Unix ms"));
    }
    let pause = (1..at.len()).find(|n| at[*n] - at[n - 1] >= PAUSE.as_millis() as i64 / 2);
    let pause = pause.unwrap_or_else(|| panic!("ticks of the pause: {at:?}"));
    // The first comes at once and the next in its turn: what is left is no more than time has passed.
    let behind = &at[pause..];
    let took_ms = behind[behind.len() - 1] - behind[0];
    let at_most = took_ms / 16 + 2;
    assert!(
        behind.len() as i64 <= at_most,
        "{} ticks in {took_ms} ms: {behind:?}",
        behind.len()
    );
    let skipped = hub.metric("coherence_ticks_skipped_total").await;
    assert!(skipped >= Some(30.0), "{skipped:?}");
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
    let during_s = from_environment("COHERENCE_SECONDS").unwrap_or(30);
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
    let before = (ticking.processor_s(), idle.processor_s());
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
        percent(before.0, ticking.processor_s()),
        percent(before.1, idle.processor_s()),
    );
    assert!(ticks > 0, "nothing came");
}
