//! A room of Bluetooth straps through the running hub: real D-Bus and real btleplug, with the radio
//! itself played by a fake bluetoothd.

#![cfg(feature = "ble")]

mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::fake_bluez::FakeBluez;
use support::hub::Hub;

const STRAPS: usize = 16;
/// More than the usual budget of an adapter.
const MANY_LINKS: &str = "[straps]\nmax_links = 16\n";

fn states(straps: &Value) -> Vec<&str> {
    let all = straps["straps"].as_array().into_iter().flatten();
    all.filter_map(|strap| strap["state"].as_str()).collect()
}

fn labelled<'a>(straps: &'a Value, label: &str) -> Option<&'a Value> {
    straps["straps"]
        .as_array()?
        .iter()
        .find(|strap| strap["label"] == label)
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_straps_stream_and_one_that_drops_says_why_and_comes_back_as_itself() {
    let bluez = FakeBluez::start(STRAPS).await;
    let dir = tempfile::tempdir().expect("a directory for the test");
    let mut hub = Hub::run(dir.path(), MANY_LINKS, Some(&bluez.bus_address())).await;
    let begin = Instant::now();
    let all_stream = |straps: &Value| states(straps) == ["streaming"; STRAPS];
    let straps = hub
        .until("/api/straps", "sixteen streaming straps", all_stream)
        .await;
    println!(
        "{STRAPS} straps stream {:.1} s after the hub serves",
        begin.elapsed().as_secs_f64()
    );
    assert_eq!(straps["sources"][0]["code"], "listening", "{straps}");
    let labels: BTreeSet<_> = straps["straps"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|s| s["label"].to_string())
        .collect();
    assert_eq!(labels.len(), STRAPS, "each has a label of its own");
    assert!(
        !straps.to_string().contains(&bluez.address(0)),
        "no address is shown"
    );

    hub.become_facilitator().await;
    bluez.set_battery(3, 41);
    // Out of range until the reason was seen: back at once, it would be shown too shortly for us.
    bluez.vanish(3);
    let begin = Instant::now();
    let dropped = |straps: &Value| {
        straps["straps"]
            .as_array()
            .is_some_and(|all| all.iter().any(|strap| strap["link"].is_string()))
    };
    let straps = hub.until("/api/straps", "the reason", dropped).await;
    let took = begin.elapsed();
    assert!(
        took.as_secs() < 8,
        "the reason is shown within 8 s: {took:?}"
    );
    let all = straps["straps"].as_array().expect("a list");
    let lost = all
        .iter()
        .find(|strap| strap["link"].is_string())
        .expect("just seen");
    println!(
        "dropped: {} after {:.1} s",
        lost["link"],
        took.as_secs_f64()
    );
    bluez.come_back(3);
    let label = lost["label"].as_str().expect("text").to_owned();
    let before = lost["beatsAccepted"].as_u64().expect("a number");

    let back = |straps: &Value| {
        labelled(straps, &label).is_some_and(|strap| {
            strap["state"] == "streaming"
                && strap["batteryPct"] == 41
                && strap["beatsAccepted"].as_u64() > Some(before + 2)
        })
    };
    let straps = hub.until("/api/straps", "the same strap again", back).await;
    assert_eq!(states(&straps).len(), STRAPS, "it is no seventeenth strap");
    let (status, log) = hub.stop().await;
    assert!(status.success(), "{log}");
    assert!(
        !log.contains(&bluez.address(3)),
        "no address in the log:\n{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_is_stopped_lets_go_of_every_strap() {
    let bluez = FakeBluez::start(6).await;
    (0..6).for_each(|strap| bluez.set_disconnect_time(strap, Duration::from_secs(2)));
    let dir = tempfile::tempdir().expect("a directory for the test");
    let hub = Hub::run(dir.path(), MANY_LINKS, Some(&bluez.bus_address())).await;
    let all_stream = |straps: &Value| states(straps) == ["streaming"; 6];
    hub.until("/api/straps", "six streaming straps", all_stream)
        .await;
    assert!((0..6).all(|strap| bluez.is_linked(strap)));
    let begin = Instant::now();
    let (status, log) = hub.stop().await;
    println!("stopped in {:?}", begin.elapsed());
    assert!(status.success(), "{log}");
    let linked: Vec<_> = (0..6).filter(|&strap| bluez.is_linked(strap)).collect();
    assert_eq!(linked, [0; 0], "{log}");
    assert!(!bluez.is_scanning());
    assert!(!log.contains("panicked"), "{log}");
    assert!(!log.contains("in time"), "{log}");
}
