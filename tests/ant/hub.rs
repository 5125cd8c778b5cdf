//! The running hub with a stick: heard, pulled out and put back, and in the demo.

use coherence_hal::SourceClock;
use coherence_hal::virtual_stick::{MADE_UP_KEY, Plug, VirtualStick, VirtualStrap};
use serde_json::Value;

use crate::support::heart::heart;
use crate::support::hub::Hub;

/// So much faster than the world do hub, hearts and stick live.
const SPEED: f64 = 4.0;

fn fast_clock() -> SourceClock {
    let begin = tokio::time::Instant::now();
    SourceClock::new(
        move || (begin.elapsed().as_secs_f64() * 1_000.0 * SPEED) as i64,
        move |at_ms| {
            let at_s = (at_ms.min(1 << 40) as f64 / 1_000.0 / SPEED).max(0.0);
            Box::pin(tokio::time::sleep_until(
                begin + std::time::Duration::from_secs_f64(at_s),
            ))
        },
    )
}

fn of_ant<'a>(straps: &'a Value, key: &str) -> Vec<&'a Value> {
    let straps = straps["straps"].as_array().expect("a list").iter();
    let ant = straps.filter(|strap| strap["transport"] == "ant");
    ant.map(|strap| &strap[key]).collect()
}

#[tokio::test]
async fn failure_16_a_hub_hears_its_straps_again_after_the_stick_was_pulled_out() {
    let folder = tempfile::tempdir().unwrap();
    let straps = (1..=3).map(|n| VirtualStrap::new(n, heart(n.into(), 64.0, 80.0).0));
    let stick = VirtualStick::new(0, 1, straps.collect());
    let path = folder.path().join("stick");
    let mut plug = Plug::new(stick, fast_clock(), path.clone());
    plug.plug_in().await.unwrap();
    let key_file = folder.path().join("ant.key");
    std::fs::write(&key_file, MADE_UP_KEY).unwrap();
    let config = format!(
        "[straps]\nble = false\n[clock]\ntrust = \"always\"\n[test]\nclock_speed = {SPEED:?}\n\
         [ant]\nport = {path:?}\nkey_file = {key_file:?}\n"
    );
    let mut hub = Hub::run(folder.path(), &config, None).await;
    hub.become_facilitator().await;
    let streaming = |straps: &Value| {
        let states = of_ant(straps, "state");
        states.len() == 3 && states.iter().all(|state| **state == "streaming")
    };
    let seen = hub.until("/api/straps", "three straps", streaming).await;
    assert!(
        of_ant(&seen, "origin")
            .iter()
            .all(|origin| **origin == "electrical")
    );
    plug.unplug().await;
    hub.until("/api/straps", "an absent stick", |straps| {
        straps["sources"][0]["up"] == false
    })
    .await;
    plug.plug_in().await.unwrap();
    let seen = hub
        .until("/api/straps", "the straps again", |straps| {
            straps["sources"][0]["code"] == "listening" && streaming(straps)
        })
        .await;
    let missing = of_ant(&seen, "beatsMissing");
    assert!(
        missing.iter().all(|missing| missing.as_u64() > Some(0)),
        "{seen}"
    );
    assert!(!hub.log().contains(MADE_UP_KEY));
}

#[tokio::test]
async fn a_third_of_the_demo_is_heard_through_a_stick_and_is_scored_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::demo(folder.path(), &["--people", "12", "--seed", "3"]).await;
    let seen = hub
        .until("/api/straps", "straps of both kinds", |straps| {
            of_ant(straps, "reason")
                .iter()
                .all(|reason| reason.is_null())
                && straps["sources"][1]["code"] == "listening"
        })
        .await;
    assert_eq!(of_ant(&seen, "state").len(), 4);
    assert_eq!(seen["straps"].as_array().map(Vec::len), Some(12));
}

/// `tests/load ant`: what sixty straps cost, on the world's own clock.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a minute and a half: tests/load ant"]
async fn load_of_sixty_straps() {
    const SECONDS: u64 = 60;
    let folder = tempfile::tempdir().unwrap();
    let begin = tokio::time::Instant::now();
    let clock = SourceClock::new(
        move || begin.elapsed().as_millis() as i64,
        move |at_ms| {
            let at = std::time::Duration::from_millis(at_ms.clamp(0, 1 << 40) as u64);
            Box::pin(tokio::time::sleep_until(begin + at))
        },
    );
    let straps = (1..=60).map(|n| VirtualStrap::new(n, heart(n.into(), 75.0, 80.0).0));
    let mut stick = VirtualStick::new(0, 1, straps.collect());
    stick.faults.loss = 0.04;
    let path = folder.path().join("stick");
    let mut plug = Plug::new(stick, clock, path.clone());
    plug.plug_in().await.unwrap();
    let key_file = folder.path().join("ant.key");
    std::fs::write(&key_file, MADE_UP_KEY).unwrap();
    let config = format!(
        "[straps]\nble = false\n[clock]\ntrust = \"always\"\n[ant]\nport = {path:?}\nkey_file = {key_file:?}\n"
    );
    let hub = Hub::run(folder.path(), &config, None).await;
    hub.until("/api/straps", "all straps", |straps| {
        let states = of_ant(straps, "state");
        states.len() == 60 && states.iter().all(|state| **state == "streaming")
    })
    .await;
    let before_s = hub.processor_s();
    tokio::time::sleep(std::time::Duration::from_secs(SECONDS)).await;
    let used_s = hub.processor_s() - before_s;
    println!(
        "60 straps for {SECONDS} s: {:.2} % of one core",
        100.0 * used_s / SECONDS as f64
    );
    println!("peak memory {} MB", hub.peak_memory_mb());
}
