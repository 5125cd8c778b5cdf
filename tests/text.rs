//! Text sensors through the running hub, on pseudo-terminals: beats arrive and are scored, a sensor is pulled
//! out and put back, a wrong speed is told.

#![cfg(feature = "serial")]

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use support::hub::Hub;
use support::pty::Device;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// So much faster than the world do hub and hearts live.
const SPEED: u32 = 8;

/// What an Uno prints when its port is opened, in the middle of a line first.
const BOOT: &str = "it.\r\nPulse v2\r\n\r\nrst cause:2\r\nready\r\n";

/// A hub with these sensors, each as name, profile and the link at which it is plugged in.
async fn hub(folder: &Path, sensors: &[(&str, &str)]) -> (Hub, Vec<PathBuf>) {
    let mut config = format!(
        "[straps]\nble = false\n[clock]\ntrust = \"always\"\n[test]\nclock_speed = {SPEED}.0\n"
    );
    let mut links = Vec::new();
    for (name, profile) in sensors {
        let link = folder.join(name);
        config +=
            &format!("[[serial]]\nname = \"{name}\"\nport = {link:?}\nprofile = \"{profile}\"\n");
        links.push(link);
    }
    let mut hub = Hub::run(folder, &config, None).await;
    hub.become_facilitator().await;
    (hub, links)
}

/// A heart that breathes, written line by line at `device`, for ever. Aborting it pulls the device out.
fn heart(mut device: Device) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut beat_at = Instant::now();
        for k in 0.. {
            let ibi_ms = 850.0 + 60.0 * (f64::from(k) * 0.53).sin();
            beat_at += Duration::from_secs_f64(ibi_ms / 1_000.0) / SPEED;
            tokio::time::sleep_until(beat_at).await;
            device.send(format!("IBI:{ibi_ms:.1}\r\n")).await;
        }
    })
}

async fn pull_out(heart: JoinHandle<()>) {
    heart.abort();
    assert!(heart.await.expect_err("it beats for ever").is_cancelled());
}

fn source(straps: &Value) -> &Value {
    &straps["sources"][0]
}

fn only_strap(straps: &Value) -> &Value {
    let all = straps["straps"].as_array().expect("a list");
    assert!(all.len() <= 1, "one sensor is one strap: {straps:#}");
    all.first().unwrap_or(&Value::Null)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sensor_is_scored_goes_and_comes_back_as_itself() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let (hub, links) = hub(folder.path(), &[("ear-clip", "ibi-lines")]).await;
    let missing = |straps: &Value| source(straps)["code"] == "no_port";
    let straps = hub.until("/api/straps", "the missing port", missing).await;
    assert_eq!(source(&straps)["name"], "text");
    assert!(only_strap(&straps).is_null(), "{straps:#}");

    let mut device = Device::plugged_in_at(&links[0]);
    device.send(BOOT).await;
    let beating = heart(device);
    let scored = |straps: &Value| {
        let strap = only_strap(straps);
        strap["state"] == "streaming" && strap["reason"].is_null()
    };
    let straps = hub.until("/api/straps", "a score", scored).await;
    let strap = only_strap(&straps);
    assert_eq!(strap["transport"], "text");
    assert_eq!(strap["origin"], "pulse");
    assert_eq!(source(&straps)["code"], "listening", "{straps:#}");
    let text = source(&straps)["text"].as_str().expect("a sentence");
    assert!(text.starts_with("ear-clip: listening"), "{text}");
    let bad = "coherence_source_lost_total{what=\"bad_lines\"}";
    assert_eq!(hub.metric(bad).await, Some(3.0), "the boot text");

    pull_out(beating).await;
    let gone = |straps: &Value| {
        source(straps)["code"] == "port_gone" && only_strap(straps)["link"].is_string()
    };
    let straps = hub.until("/api/straps", "that it is gone", gone).await;
    let before = only_strap(&straps)["beatsAccepted"].as_u64();
    let gaps = hub.metric("coherence_rr_gaps_total").await.unwrap_or(0.0);

    let beating = heart(Device::plugged_in_at(&links[0]));
    let back = |straps: &Value| {
        let strap = only_strap(straps);
        strap["state"] == "streaming"
            && strap["link"].is_null()
            && strap["beatsAccepted"].as_u64() > before.map(|before| before + 3)
    };
    let straps = hub.until("/api/straps", "the same sensor", back).await;
    assert_eq!(source(&straps)["code"], "listening");
    let gaps_now = hub.metric("coherence_rr_gaps_total").await;
    assert!(
        gaps_now > Some(gaps),
        "a break is marked: {gaps_now:?}, {gaps}"
    );
    let steps = "coherence_recovery_steps_total{rung=\"reopen_port\"}";
    assert_eq!(hub.metric(steps).await, Some(2.0));
    let (status, log) = hub.stop().await;
    assert!(status.success(), "{log}");
    beating.abort();
    assert_eq!(log.matches("port_gone").count(), 1, "told once:\n{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_speed_is_told_beside_a_sensor_that_is_heard_and_withdrawn_when_it_is_right() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let sensors = [("desk", "pulsesensor"), ("ear-clip", "ibi-lines")];
    let (hub, links) = hub(folder.path(), &sensors).await;
    let mut desk = Device::plugged_in_at(&links[0]);
    let ear = heart(Device::plugged_in_at(&links[1]));
    // What 115200 baud look like at 9600: few ends of lines, little ASCII.
    let garbage: Vec<u8> = (0..60_u32).map(|k| (k * 89 + 128) as u8 | 0x80).collect();
    let sending = async {
        loop {
            desk.send(&garbage).await;
            desk.send("\n").await;
            tokio::time::sleep(Duration::from_millis(200) / SPEED).await;
        }
    };
    let told = |straps: &Value| source(straps)["code"] == "wrong_profile";
    let straps = tokio::select! {
        straps = hub.until("/api/straps", "the complaint", told) => straps,
        () = sending => unreachable!("it never ends"),
    };
    let text = source(&straps)["text"].as_str().expect("a sentence");
    assert!(
        text.starts_with("desk: wrong baud rate or profile"),
        "{text}"
    );
    assert!(text.contains("ear-clip: listening"), "{text}");
    let heard = straps["straps"].as_array().expect("a list").iter();
    let heard: u64 = heard
        .filter_map(|strap| strap["beatsAccepted"].as_u64())
        .sum();
    assert!(
        heard > 5,
        "the other one is heard all the while: {straps:#}"
    );

    let sending = async {
        loop {
            desk.send("S512\r\nB70\r\nQ856\r\n").await;
            tokio::time::sleep(Duration::from_millis(856) / SPEED).await;
        }
    };
    let well = |straps: &Value| {
        let all = straps["straps"].as_array().expect("a list");
        source(straps)["code"] == "listening"
            && all
                .iter()
                .filter(|strap| strap["state"] == "streaming")
                .count()
                == 2
    };
    tokio::select! {
        _ = hub.until("/api/straps", "two hearts", well) => {}
        () = sending => unreachable!("it never ends"),
    }
    ear.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sensor_that_plays_a_heart_is_shown_as_simulated_and_has_no_beat() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let (hub, links) = hub(folder.path(), &[("coach", "psws")]).await;
    let mut coach = Device::plugged_in_at(&links[0]);
    let sending = async {
        for k in 0.. {
            let line = format!("PSWS,1,SIM,{k},{},512,74,812,1,90,OK\n", k * 812);
            coach.send(line).await;
            tokio::time::sleep(Duration::from_millis(812) / SPEED).await;
        }
    };
    let simulated = |straps: &Value| only_strap(straps)["origin"] == "simulated";
    let straps = tokio::select! {
        straps = hub.until("/api/straps", "the simulation", simulated) => straps,
        () = sending => unreachable!("it never ends"),
    };
    let strap = only_strap(&straps);
    assert_eq!(strap["beatsAccepted"], 0, "{strap:#}");
    assert_eq!(strap["beatsRejected"], 0, "{strap:#}");
    assert_ne!(strap["state"], "streaming");
}
