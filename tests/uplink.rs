//! The way upstream with a real broker, real certificates and a collector that has its bad days. The
//! oracle is the same everywhere: what the collector applied is what the hub keeps of those who
//! consented, each thing once, and whatever was wrong is said in one clear line.

mod support;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use support::backlog::{
    self, INTENTION, NAME, applied_is_what_is_kept, backlog, dead_letters, hub_id, waiting,
    waiting_seqs,
};
use support::broker::{Authority, Broker, Valid};
use support::collector::{Collector, Trouble};
use support::hub::Hub;
use support::wait_until;
use tempfile::TempDir;

/// A hub without straps that lives `speed` times as fast, with this way upstream.
fn config(broker: &str, speed: f64, more: &str) -> String {
    format!(
        "[straps]\nble = false\n[clock]\ntrust = \"always\"\n[test]\nclock_speed = {speed:?}\n\
         [uplink]\nbroker = {broker:?}\n{more}\n"
    )
}

fn room() -> TempDir {
    tempfile::tempdir().expect("a directory for the test")
}

/// Waits until nothing waits any more in the hub's outbox.
async fn drained(hub: &Hub) {
    hub.until("/health", "an empty outbox", |health| {
        uplink(health).contains("Nothing waits.")
    })
    .await;
}

fn uplink(health: &Value) -> &str {
    health["parts"]["uplink"]["text"]
        .as_str()
        .unwrap_or_default()
}

/// Waits until `/health` says this of the way upstream, and gives all that it says.
async fn says(hub: &Hub, what: &str) -> String {
    let health = hub
        .until("/health", what, |health| uplink(health).contains(what))
        .await;
    uplink(&health).to_owned()
}

/// One line of the log says so, and one only.
fn one_line(log: &str, what: &str) {
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(what)).collect();
    assert_eq!(lines.len(), 1, "{what:?} in the log:\n{log}");
}

/// The figure of a metric without labels.
async fn metric(hub: &Hub, name: &str) -> f64 {
    let answer = reqwest::get(hub.url("/metrics")).await.expect("metrics");
    let text = answer.text().await.expect("text");
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
        .unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_broker_nothing_leaves_and_the_log_is_quiet() {
    let dir = room();
    let hub = Hub::run(dir.path(), &config("", 1.0, ""), None).await;
    let health = hub.get("/health").await;
    assert_eq!(health["parts"]["uplink"]["status"], "off");
    assert!(uplink(&health).contains("nothing leaves this hub"));
    assert_eq!(metric(&hub, "coherence_uplink_state").await, 0.0);
    let (status, log) = hub.stop().await;
    assert!(status.success(), "{log}");
    assert!(!log.contains("uplink"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_reaches_the_collector_once_and_the_hub_announces_itself() {
    let dir = room();
    let messages = backlog(dir.path(), 4, 30).await;
    assert!(messages >= 60, "{messages}");
    let broker = Broker::open().await;
    let collector = Collector::running(&broker).await;
    let hub = Hub::run(dir.path(), &config(&broker.url(), 10.0, ""), None).await;
    drained(&hub).await;
    assert_eq!(metric(&hub, "coherence_uplink_state").await, 2.0);
    assert_eq!(metric(&hub, "coherence_outbox_rows").await, 0.0);
    let name = hub_id(dir.path());
    let status_topic = format!("coherence/v1/hub/{name}/status");
    let meta = collector.ledger().words[&format!("coherence/v1/hub/{name}/meta")].clone();
    assert_eq!(meta["schemas"]["rr"], json!([1]), "{meta}");
    assert_eq!(collector.ledger().words[&status_topic]["state"], "online");
    let (status, log) = hub.stop().await;
    assert!(status.success(), "{log}");
    wait_until("the hub says that it goes", || {
        collector.ledger().words[&status_topic]["state"] == "offline"
    })
    .await;
    one_line(&log, "connected");
    let ledger = collector.ledger();
    assert_eq!(ledger.again, 0, "a good connection repeats nothing");
    let compared = applied_is_what_is_kept(dir.path(), &ledger, &name);
    assert_eq!(compared, 3 * 30 * 60);
}
