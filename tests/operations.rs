//! What who looks after the hub sees of it: metrics, complaints, a day of history.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use coherence_hub::telemetry::metric::{self, Kind};
use serde_json::json;
use support::hub::Hub;
use support::phone::Phone;

const RULES: &str = include_str!("../systemd/prometheus-rules.yml");

/// One line of `/metrics` that is a value: name, labels, value.
fn sample(line: &str) -> (String, Vec<(String, String)>, f64) {
    let (series, value) = line.rsplit_once(' ').expect("a series and a value");
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}').expect("closed")),
        None => (series, ""),
    };
    let label = |text: &str| {
        let (key, value) = text.split_once("=\"").expect("key=\"value\"");
        let value = value.trim_end_matches('"');
        (key.to_owned(), value.to_owned())
    };
    let labels = labels
        .split("\",")
        .filter(|text| !text.is_empty())
        .map(label)
        .collect();
    (name.to_owned(), labels, value.parse().expect("a number"))
}

/// The name of the metric that a series belongs to.
fn family(series: &str) -> &str {
    let histogram = metric::ALL
        .iter()
        .find(|metric| metric.kind == Kind::Histogram && series.starts_with(metric.name));
    histogram.map_or(series, |metric| metric.name)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_there_explained_well_formed_and_names_nobody() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let hub = Hub::demo(dir.path(), &["--people", "6", "--seed", "2"]).await;
    let mut phone = Phone::connect(&hub).await;
    phone
        .send(json!({"type": "join_session", "name": "Mira", "strap": "strap 2"}))
        .await;
    let joined = phone.wait_for("session_joined").await;
    for _ in 0..3 {
        phone.wait_for("group_metrics_update").await;
    }
    hub.get("/health").await;
    // Gauges are set once a second, the process is looked at every five.
    let value = |text: &str, name: &str| {
        text.lines()
            .filter(|line| line.starts_with(name) && !line.starts_with('#'))
            .map(|line| sample(line).2)
            .sum::<f64>()
    };
    let scrape = async || hub.text("/metrics").await;
    let mut text = scrape().await;
    let begin = std::time::Instant::now();
    while [
        "process_resident",
        "coherence_straps_connected",
        "coherence_http_requests",
    ]
    .iter()
    .any(|name| value(&text, name) == 0.0)
    {
        assert!(begin.elapsed() < support::DEADLINE, "{text}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        text = scrape().await;
    }

    let known: BTreeMap<&str, _> = metric::ALL.iter().map(|m| (m.name, m)).collect();
    let (mut helped, mut typed, mut seen) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let nobody = [
        joined["participantId"].as_str().expect("an id"),
        joined["session"]["id"].as_str().expect("an id"),
        "Mira",
        "strap 2",
        "virtual:",
    ];
    for line in text.lines().filter(|line| !line.is_empty()) {
        for name in nobody {
            assert!(!line.contains(name), "{name} in: {line}");
        }
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next()) {
            (Some("#"), Some("HELP")) => {
                let name = words.next().expect("a name");
                assert!(words.next().is_some_and(|text| text.len() > 10), "{line}");
                helped.insert(name.to_owned());
            }
            (Some("#"), Some("TYPE")) => {
                let name = words.next().expect("a name");
                let kind = known.get(name).map(|metric| metric.kind);
                let word = match kind.unwrap_or_else(|| panic!("not in the table: {line}")) {
                    Kind::Counter => "counter",
                    Kind::Gauge => "gauge",
                    Kind::Histogram => "histogram",
                };
                assert_eq!(words.next(), Some(word), "{line}");
                typed.insert(name.to_owned());
            }
            _ => {
                let (series, labels, value) = sample(line);
                let name = family(&series);
                let metric = known
                    .get(name)
                    .unwrap_or_else(|| panic!("not in the table: {line}"));
                assert!(value >= 0.0 && value.is_finite(), "{line}");
                let keys: Vec<&str> = labels
                    .iter()
                    .map(|(key, _)| key.as_str())
                    .filter(|key| *key != "le")
                    .collect();
                assert_eq!(keys, metric.labels, "{line}");
                seen.insert(name.to_owned());
            }
        }
    }
    for metric in metric::ALL {
        for (what, names) in [("explained", &helped), ("typed", &typed), ("there", &seen)] {
            assert!(names.contains(metric.name), "not {what}: {}", metric.name);
        }
        let end = match metric.kind {
            Kind::Counter => "_total",
            Kind::Histogram => "_seconds",
            Kind::Gauge => "",
        };
        assert!(metric.name.ends_with(end), "{}", metric.name);
    }
    // And they count: what has surely happened is not zero.
    for name in [
        "coherence_participants",
        "coherence_rr_received_total",
        "coherence_scored_hearts",
        "coherence_compute_seconds_count",
        "coherence_update_latency_seconds_count",
        "coherence_ws_clients",
        "coherence_http_connections",
        "coherence_ws_frames_received_total",
        "coherence_ws_frames_sent_total",
        "coherence_http_requests_total",
        "coherence_db_commit_seconds_count",
        "coherence_clock_synced",
    ] {
        assert!(value(&text, name) > 0.0, "{name} is 0 in {text}");
    }
    for line in text.lines().filter(|line| {
        ["update_latency_seconds_sum", "update_latency_seconds_count"]
            .iter()
            .any(|name| line.contains(name))
    }) {
        println!("{line}");
    }
}

#[test]
fn every_metric_of_the_alert_rules_exists() {
    let mut named = 0;
    for line in RULES.lines() {
        let Some(expression) = line.trim_start().strip_prefix("expr: ") else {
            continue;
        };
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        for word in expression.split(|c: char| !is_part(c)) {
            if !word.starts_with("coherence_") && !word.starts_with("process_") {
                continue;
            }
            let name = word.strip_suffix("_bucket").unwrap_or(word);
            let known = metric::ALL.iter().find(|metric| metric.name == name);
            let kind = known.unwrap_or_else(|| panic!("{word} is no metric")).kind;
            assert_eq!(kind == Kind::Histogram, word != name, "{word}");
            named += 1;
        }
    }
    assert!(named >= 10, "the rules were not read: {named}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_beyond_its_limits_says_so_once_and_what_to_do() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let config = |memory_mb: u32| {
        format!(
            "[straps]\nble = false\n[test]\nclock_speed = 10.0\n[clock]\ntrust = \"always\"\n\
             [alerts]\nmemory_mb = {memory_mb}\n"
        )
    };
    let hub = Hub::run(dir.path(), &config(10), None).await;
    let health = hub
        .until("/health", "the complaint", |health| {
            health["parts"]["load"]["status"] == "degraded"
        })
        .await;
    assert_eq!(health["status"], "degraded");
    let text = health["parts"]["load"]["text"].as_str().expect("text");
    for part in ["MB of memory", "alerts.memory_mb = 10", "restart"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    // Some looks later it is still one line.
    let then = health["uptimeMs"].as_i64().expect("ms");
    hub.until("/health", "time to pass", |health| {
        health["uptimeMs"].as_i64() > Some(then + 15_000)
    })
    .await;
    assert_eq!(hub.log().matches("MB of memory").count(), 1);
    std::fs::write(dir.path().join("hub.toml"), config(10_000)).expect("the test's directory");
    hub.signal("-HUP");
    hub.until("/health", "relief", |health| {
        health["parts"]["load"]["status"] == "ok"
    })
    .await;
    hub.says("The hub takes less memory again", 1).await;
    let (_, log) = hub.stop().await;
    assert_eq!(log.matches("MB of memory").count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_has_a_row_a_minute_and_survives_a_restart() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    // A minute a second.
    let config = "[straps]\nble = false\n[test]\nclock_speed = 60.0\nclock_anchor_ms = 1700000000000\n\
                  [clock]\ntrust = \"always\"\n";
    let hub = Hub::run(dir.path(), config, None).await;
    let mut phone = Phone::connect(&hub).await;
    phone.send(json!({"type": "join_session"})).await;
    let rows = |history: &serde_json::Value| {
        let minutes = history["minutes"].as_array().cloned();
        minutes.unwrap_or_default()
    };
    let history = hub
        .until("/api/history", "three minutes", |history| {
            rows(history).len() >= 3
        })
        .await;
    assert_eq!(history["stepMs"], 60_000);
    let minutes = rows(&history);
    let at = |minute: &serde_json::Value| minute["at"].as_i64().expect("Unix ms");
    for pair in minutes.windows(2) {
        assert!(at(&pair[0]) < at(&pair[1]), "oldest first: {history:#}");
    }
    let last = minutes.last().expect("three");
    assert_eq!(last["participants"], 1, "{last}");
    for key in ["framesIn", "framesOut", "memoryBytes", "updateLatencyMaxMs"] {
        let told = minutes
            .iter()
            .any(|minute| minute[key].as_f64() > Some(0.0));
        assert!(told, "{key}: {history:#}");
    }
    let first = at(&minutes[0]);
    hub.kill();
    let hub = Hub::run(dir.path(), config, None).await;
    let history = hub.get("/api/history").await;
    assert_eq!(at(&rows(&history)[0]), first);
    hub.until("/api/history", "the next minute", |history| {
        rows(history).len() > minutes.len()
    })
    .await;
}
