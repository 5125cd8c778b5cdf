//! The way upstream with a real broker, real certificates and a collector that has its bad days. The
//! oracle is the same everywhere: what the collector applied is what the hub keeps of those who
//! consented, each thing once, and whatever was wrong is said in one clear line.

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use support::backlog::{
    self, INTENTION, NAME, applied_is_what_is_kept, backlog, dead_letters, goes_on, hub_id,
    waiting, waiting_seqs,
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

/// A copy of the database, as somebody would keep it.
fn copied(data_dir: &Path) -> PathBuf {
    let copy = data_dir.join("copy.db");
    std::fs::copy(data_dir.join("hub.db"), &copy).expect("the test's own directory");
    copy
}

/// Puts that copy in the place of the database.
fn put_back(data_dir: &Path, copy: &Path) {
    std::fs::copy(copy, data_dir.join("hub.db")).expect("the test's own directory");
    for more in ["hub.db-wal", "hub.db-shm"] {
        let _ = std::fs::remove_file(data_dir.join(more));
    }
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

/// Recordings of so many calm hearts, as the hub's configuration names them.
fn hearts(dir: &Path, count: usize, beats: usize) -> String {
    let mut files = Vec::new();
    for heart in 0..count {
        let file = dir.join(format!("heart{heart}.csv"));
        let mut at_s = heart as f64;
        let mut text = String::from("rr_ms\n");
        for _ in 0..beats {
            let breath = (at_s * 0.1 * std::f64::consts::TAU).sin();
            let rr_ms = 830.0 + heart as f64 + 60.0 * breath;
            at_s += rr_ms / 1_000.0;
            text.push_str(&format!("{rr_ms:.3}\n"));
        }
        std::fs::write(&file, text).expect("the test's own directory");
        files.push(file);
    }
    format!("{files:?}")
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_broker_nothing_leaves_and_the_log_is_quiet() {
    let dir = room();
    let hub = Hub::run(dir.path(), &config("", 1.0, ""), None).await;
    let health = hub.get("/health").await;
    assert_eq!(health["parts"]["uplink"]["status"], "off");
    assert!(uplink(&health).contains("nothing leaves this hub"));
    assert_eq!(hub.metric("coherence_uplink_state").await, Some(0.0));
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
    assert_eq!(hub.metric("coherence_uplink_state").await, Some(2.0));
    assert_eq!(hub.metric("coherence_outbox_rows").await, Some(0.0));
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

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_dies_in_mid_stream_and_forgets_everything_costs_nothing() {
    let dir = room();
    backlog(dir.path(), 4, 150).await;
    let mut broker = Broker::open().await;
    let collector = Collector::running(&broker).await;
    let hub = Hub::run(dir.path(), &config(&broker.url(), 2.0, ""), None).await;
    let name = hub_id(dir.path());
    for part in [40, 160] {
        wait_until("a part has arrived", || {
            collector.ledger().applied.len() >= part
        })
        .await;
        broker.kill();
        says(&hub, "Not connected since").await;
        assert!(waiting(dir.path()) > 0, "it died too late to matter");
        broker.restart().await;
    }
    drained(&hub).await;
    let (status, log) = hub.stop().await;
    assert!(status.success(), "{log}");
    let ledger = collector.ledger();
    println!("{} came more than once", ledger.again);
    applied_is_what_is_kept(dir.path(), &ledger, &name);
    // However often it was tried: one line that it ended each time, and one that it is well again.
    assert_eq!(log.matches("the connection ended").count(), 2, "{log}");
    assert_eq!(log.matches("all is well again").count(), 2, "{log}");
    assert!(!log.contains("ERROR"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_took_and_dropped_is_sent_again() {
    let dir = room();
    let messages = backlog(dir.path(), 4, 60).await;
    // It takes everything for a collector that is away, and keeps twenty.
    let broker = Broker::start(
        "max_queued_messages 20\n---\nallow_anonymous true",
        None,
        &[],
    )
    .await;
    let mut collector = Collector::running(&broker).await;
    collector.stop();
    let hub = Hub::run(dir.path(), &config(&broker.url(), 150.0, ""), None).await;
    let name = hub_id(dir.path());
    let begin = std::time::Instant::now();
    while hub.metric("coherence_uplink_published_total").await < Some(messages as f64) {
        assert!(begin.elapsed() < support::DEADLINE, "it does not publish");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(waiting(dir.path()) as u64 >= messages, "nothing is deleted");
    // Fifteen minutes without a word: said aloud.
    says(&hub, "The collector has acknowledged nothing since").await;
    collector.start(&broker, Trouble::default()).await;
    drained(&hub).await;
    let (_, log) = hub.stop().await;
    let ledger = collector.ledger();
    applied_is_what_is_kept(dir.path(), &ledger, &name);
    one_line(&log, "the collector has acknowledged nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_the_broker_denies_is_named_and_holds_up_no_other() {
    let dir = room();
    backlog(dir.path(), 4, 30).await;
    let rule = |streams: &str| {
        let mut text = String::from(
            "pattern write coherence/v1/hub/%u/status\npattern write coherence/v1/hub/%u/meta\n\
             pattern read coherence/v1/hub/%u/down/#\n",
        );
        for stream in streams.split(' ') {
            text.push_str(&format!("pattern write coherence/v1/hub/%u/up/{stream}\n"));
        }
        text
    };
    let others = "session group coherence consent erasure gap event";
    let broker = Broker::start(
        "allow_anonymous false\npassword_file DIR/passwords\nacl_file DIR/rules",
        None,
        &[("passwords", ""), ("rules", &rule(others))],
    )
    .await;
    broker.password("hub-7", "geheim");
    broker.reload();
    let collector = Collector::running(&broker).await;
    let password = dir.path().join("password");
    std::fs::write(&password, "wrong\n").expect("the test's own directory");
    let more = format!("name = \"hub-7\"\nusername = \"hub-7\"\npassword_file = {password:?}");
    let hub = Hub::run(dir.path(), &config(&broker.url(), 60.0, &more), None).await;
    says(&hub, "does not let this hub in").await;
    std::fs::write(&password, "geheim\n").expect("the test's own directory");
    let denied = "coherence/v1/hub/hub-7/up/rr";
    let said = says(&hub, "denies publishing").await;
    assert!(said.contains(denied), "{said}");
    wait_until("all else has arrived", || {
        let left = waiting_seqs(dir.path()).len();
        left > 0 && left <= 30
    })
    .await;
    assert_eq!(collector.ledger().of_any("rr"), 0);

    std::fs::write(
        broker.dir.path().join("rules"),
        rule(&format!("{others} rr")),
    )
    .expect("the test's own directory");
    broker.reload();
    drained(&hub).await;
    let (_, log) = hub.stop().await;
    applied_is_what_is_kept(dir.path(), &collector.ledger(), "hub-7");
    one_line(&log, &format!("denies publishing on {denied}"));
    one_line(&log, "does not let this hub in");
    assert!(!log.contains("geheim") && !log.contains("wrong"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_thing_that_is_wrong_with_a_certificate_has_its_own_sentence() {
    let ours = Authority::new("our authority");
    let theirs = Authority::new("somebody else");
    let cases = [
        (ours.server("localhost", &Valid::Once), "has expired"),
        (ours.server("localhost", &Valid::Later), "is not valid yet"),
        (
            ours.server("elsewhere.example", &Valid::Now),
            "is not for localhost",
        ),
        (
            theirs.server("localhost", &Valid::Now),
            "Nobody in uplink.ca_file vouches",
        ),
    ];
    let dir = room();
    let messages = backlog(dir.path(), 3, 5).await;
    let authorities = dir.path().join("ca.pem");
    let name = hub_id(dir.path());
    let mut broker = Broker::start("allow_anonymous true", Some(&cases[0].0), &[]).await;
    let collector = Collector::running(&broker).await;
    let more = format!("ca_file = {authorities:?}");
    let hub = Hub::run(dir.path(), &config(&broker.url(), 20.0, &more), None).await;
    says(&hub, "ca.pem (uplink.ca_file) can't be used: No such file").await;
    std::fs::write(&authorities, ours.pem()).expect("the test's own directory");
    for (certificate, sentence) in &cases {
        certificate.write(broker.dir.path(), "server");
        broker.restart().await;
        says(&hub, sentence).await;
    }
    broker.kill();
    says(&hub, "Nobody listens at mqtts://localhost").await;
    assert_eq!(
        waiting(dir.path()) as u64,
        messages,
        "nothing was lost meanwhile"
    );
    ours.server("localhost", &Valid::Now)
        .write(broker.dir.path(), "server");
    broker.restart().await;
    drained(&hub).await;
    hub.says("all is well again", 1).await;
    let (_, log) = hub.stop().await;
    applied_is_what_is_kept(dir.path(), &collector.ledger(), &name);
    for (_, sentence) in &cases {
        one_line(&log, sentence.trim_start_matches("Nobody"));
    }
    one_line(&log, "all is well again");
}

/// The broker's rules as the README gives them.
const RULES: &str = "\
pattern write coherence/v1/hub/%u/up/#
pattern write coherence/v1/hub/%u/status
pattern write coherence/v1/hub/%u/meta
pattern read coherence/v1/hub/%u/down/#
";

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_with_its_own_certificate_writes_under_its_own_name_and_no_other() {
    let authority = Authority::new("our authority");
    let dir = room();
    backlog(dir.path(), 3, 5).await;
    let broker = Broker::start(
        "cafile DIR/ca.pem\nrequire_certificate true\nuse_identity_as_username true\nacl_file DIR/rules",
        Some(&authority.server("localhost", &Valid::Now)),
        &[("ca.pem", &authority.pem()), ("rules", RULES)],
    )
    .await;
    let collector = Collector::running(&broker).await;
    std::fs::write(dir.path().join("ca.pem"), authority.pem()).expect("the test's own directory");
    let file = |name: &str| dir.path().join(name);
    let with = |name: &str, certificate: bool| {
        let mut more = format!("name = {name:?}\nca_file = {:?}\n", file("ca.pem"));
        if certificate {
            let (cert, key) = (file("hub.pem"), file("hub.key"));
            more.push_str(&format!("cert_file = {cert:?}\nkey_file = {key:?}\n"));
        }
        config(&broker.url(), 20.0, &more)
    };

    let hub = Hub::run(dir.path(), &with("hub-7", false), None).await;
    says(&hub, "wants this hub's certificate").await;
    // What comes next is put in force without a restart.
    let reload = |config: String| {
        std::fs::write(file("hub.toml"), config).expect("the test's own directory");
        hub.signal("-HUP");
    };
    Authority::new("somebody else")
        .client("hub-7")
        .write(dir.path(), "hub");
    reload(with("hub-7", true));
    says(&hub, "does not accept this hub's certificate").await;
    authority.client("hub-7").write(dir.path(), "hub");
    reload(with("hub-8", true));
    says(&hub, "denies publishing on coherence/v1/hub/hub-8/up/").await;
    assert!(collector.ledger().applied.is_empty());
    assert!(collector.ledger().words.is_empty(), "not even a status");
    reload(with("hub-7", true));
    drained(&hub).await;
    let (_, log) = hub.stop().await;
    applied_is_what_is_kept(dir.path(), &collector.ledger(), "hub-7");
    one_line(&log, "wants this hub's certificate");
    one_line(&log, "does not accept this hub's certificate");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_dies_between_receiving_and_acknowledging_applies_everything_once() {
    let dir = room();
    backlog(dir.path(), 4, 60).await;
    let broker = Broker::open().await;
    let mut collector = Collector::new("coherence");
    let dies = |on_receipt, when_applied| Trouble {
        die_on_receipt: on_receipt,
        die_when_applied: when_applied,
        ..Trouble::default()
    };
    collector.start(&broker, dies(Some(20), None)).await;
    let hub = Hub::run(dir.path(), &config(&broker.url(), 5.0, ""), None).await;
    for trouble in [
        dies(None, Some(25)),
        dies(Some(3), None),
        dies(None, Some(1)),
    ] {
        wait_until("the collector dies", || collector.is_dead()).await;
        collector.start(&broker, trouble).await;
    }
    wait_until("the collector dies", || collector.is_dead()).await;
    assert!(waiting(dir.path()) > 0);
    collector.start(&broker, Trouble::default()).await;
    drained(&hub).await;
    hub.stop().await;
    let ledger = collector.ledger();
    assert!(
        ledger.again > 0,
        "it got again what it had not acknowledged"
    );
    applied_is_what_is_kept(dir.path(), &ledger, &hub_id(dir.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_is_killed_in_mid_stream_goes_on_where_it_was() {
    let dir = room();
    backlog(dir.path(), 4, 100).await;
    let broker = Broker::open().await;
    let collector = Collector::running(&broker).await;
    let config = config(&broker.url(), 2.0, "");
    for part in [20, 70, 120] {
        let hub = Hub::run(dir.path(), &config, None).await;
        wait_until("a part has arrived", || {
            collector.ledger().applied.len() >= part
        })
        .await;
        hub.kill();
        assert!(waiting(dir.path()) > 0, "it was killed too late to matter");
    }
    let name = hub_id(dir.path());
    wait_until("the broker tells of its death", || {
        collector
            .ledger()
            .states
            .iter()
            .any(|state| state == "offline")
    })
    .await;
    let hub = Hub::run(dir.path(), &config, None).await;
    drained(&hub).await;
    let (status, log) = hub.stop().await;
    assert!(status.success(), "{log}");
    applied_is_what_is_kept(dir.path(), &collector.ledger(), &name);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_put_back_begins_a_new_epoch_and_loses_nothing() {
    let dir = room();
    backlog(dir.path(), 3, 40).await;
    let copy = copied(dir.path());
    let broker = Broker::open().await;
    let collector = Collector::running(&broker).await;
    let config = config(&broker.url(), 20.0, "");
    let hub = Hub::run(dir.path(), &config, None).await;
    wait_until("the collector has more than the copy will have", || {
        collector.ledger().has_event("hub_started", 2)
    })
    .await;
    drained(&hub).await;
    hub.stop().await;
    let name = hub_id(dir.path());
    let before = collector.ledger().applied.len();

    // The morning's copy, in the evening.
    put_back(dir.path(), &copy);
    let hub = Hub::run(dir.path(), &config, None).await;
    wait_until("the start after is told as well", || {
        collector.ledger().has_event("hub_started", 3)
    })
    .await;
    drained(&hub).await;
    let (_, log) = hub.stop().await;
    one_line(&log, "its database was put back");
    let ledger = collector.ledger();
    applied_is_what_is_kept(dir.path(), &ledger, &name);
    assert!(
        ledger.applied.len() >= 2 * before - 5,
        "all of it came under the new epoch"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_put_back_and_used_offline_since_loses_nothing_new() {
    let dir = room();
    backlog(dir.path(), 3, 5).await;
    let copy = copied(dir.path());
    let broker = Broker::open().await;
    let collector = Collector::running(&broker).await;
    let config = config(&broker.url(), 20.0, "");
    // What the collector gets to know of the hub's first life.
    goes_on(dir.path(), 30).await;
    let hub = Hub::run(dir.path(), &config, None).await;
    drained(&hub).await;
    hub.stop().await;
    let name = hub_id(dir.path());
    let (old, groups) = {
        let ledger = collector.ledger();
        let seqs = ledger.applied.keys().map(|(_, _, seq)| *seq as i64);
        (seqs.max(), ledger.of_any("group"))
    };

    // The copy is put back and lives on without a network, until it has given more numbers than that.
    put_back(dir.path(), &copy);
    goes_on(dir.path(), 60).await;
    assert!(waiting_seqs(dir.path()).last() > old.as_ref());
    let hub = Hub::run(dir.path(), &config, None).await;
    drained(&hub).await;
    let (_, log) = hub.stop().await;
    one_line(&log, "its database was put back");
    let ledger = collector.ledger();
    applied_is_what_is_kept(dir.path(), &ledger, &name);
    assert!(
        ledger.of_any("group") >= groups + 60,
        "each minute lived since came, though its number had been another's"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_will_ever_take_is_set_aside_and_holds_up_nothing() {
    // Both ways in which a broker may limit what it takes: it says so at the beginning, or answers with
    // a code that ends the connection.
    for limit in ["max_packet_size 1500", "message_size_limit 900"] {
        let dir = room();
        let messages = backlog(dir.path(), 4, 15).await;
        let more = format!("{limit}\n---\nallow_anonymous true");
        let broker = Broker::start(&more, None, &[]).await;
        let mut collector = Collector::new("coherence");
        let rejects = Trouble {
            reject: Some("consent".to_owned()),
            ..Trouble::default()
        };
        collector.start(&broker, rejects).await;
        let hub = Hub::run(dir.path(), &config(&broker.url(), 20.0, ""), None).await;
        drained(&hub).await;
        says(&hub, "were set aside for good").await;
        let dead = dead_letters(dir.path());
        println!("{limit}: {dead} of {messages} are dead letters");
        assert!(dead > 3, "the consents, and what is too large: {dead}");
        assert!(
            (dead as u64) < messages,
            "not everything: {dead} of {messages}"
        );
        assert_eq!(
            hub.metric("coherence_outbox_dead_letters").await,
            Some(dead as f64)
        );
        let (_, log) = hub.stop().await;
        assert!(log.contains("messages were set aside for good"), "{log}");
        let name = hub_id(dir.path());
        let ledger = collector.ledger();
        let (_, epoch, _) = ledger.applied.keys().next().expect("something arrived");
        // No number is left open: applied, rejected, or told in a gap.
        let settled = ledger.settled(&name, *epoch);
        let last = *settled.last().expect("something arrived");
        let open: Vec<u64> = (1..=last)
            .filter(|seq| {
                let key = (name.clone(), *epoch, *seq);
                !settled.contains(seq) && !ledger.rejected.contains_key(&key)
            })
            .collect();
        assert!(open.is_empty(), "{limit}: {open:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_room_arrives_once_and_nothing_outside_tells_who_was_there() {
    let dir = room();
    let mut broker = Broker::open().await;
    let collector = Collector::running(&broker).await;
    let replay = hearts(dir.path(), 5, 240);
    let config = config(&broker.url(), 20.0, "facility = \"house-3\"")
        .replace("ble = false", &format!("ble = false\nreplay = {replay}"));
    let hub = Hub::run(dir.path(), &config, None).await;
    hub.until("/api/straps", "all straps", |answer| {
        answer["straps"]
            .as_array()
            .is_some_and(|all| all.len() == 5)
    })
    .await;
    let mut secret = vec![NAME.to_owned(), INTENTION.to_owned(), "heart".to_owned()];
    for n in 1..=4 {
        let mut join = json!({
            "name": format!("{NAME} {n}"),
            "intention": INTENTION,
            "strap": format!("strap {n}"),
        });
        if n < 4 {
            join["consent"] = json!({"textVersion": "1.2", "scopes": ["research"]});
        }
        let answer = reqwest::Client::new()
            .post(hub.url("/api/participants"))
            .json(&join)
            .send()
            .await
            .expect("the hub answers");
        let joined: Value = answer.json().await.expect("JSON");
        secret.push(format!("strap {n}"));
        for key in ["participantId", "resumeToken"] {
            let text = joined[key].as_str().unwrap_or_else(|| panic!("{joined}"));
            secret.push(text.to_owned());
            secret.push(text.replace('-', ""));
        }
    }
    wait_until("the first minute has arrived", || {
        collector.ledger().of_any("rr") > 0
    })
    .await;
    broker.restart().await;
    hub.until("/api/straps", "the end of the recordings", |answer| {
        answer["sources"][0]["code"] == "finished"
    })
    .await;
    wait_until("everything is queued", || {
        backlog::everything_is_queued(dir.path())
    })
    .await;
    drained(&hub).await;
    let (_, log) = hub.stop().await;
    let ledger = collector.ledger();
    let compared = applied_is_what_is_kept(dir.path(), &ledger, &hub_id(dir.path()));
    println!(
        "{compared} intervals of a live room, {} publications",
        ledger.traffic.len()
    );
    // Who joins a moment later has fewer beats to tell of.
    assert!(compared > 3 * 100, "{compared}");
    for stream in ["rr", "coherence", "consent", "event"] {
        assert!(ledger.of_any(stream) > 0, "no {stream}");
    }
    assert!(ledger.traffic.iter().any(|line| line.contains("house-3")));
    for secret in &secret {
        let seen = ledger.traffic.iter().find(|line| line.contains(secret));
        assert!(seen.is_none(), "{secret} left the building: {seen:?}");
        assert!(!log.contains(NAME) && !log.contains(INTENTION), "{log}");
    }
}

/// A backlog leaves while a room is alive: no grid point may be late, and memory stays where it was.
async fn drains_beside_a_room(people: usize, minutes: i64, times: i64) {
    let dir = room();
    backlog(dir.path(), people, minutes).await;
    backlog::multiply(dir.path(), times);
    let messages = waiting(dir.path());
    let broker = Broker::open().await;
    let mut collector = Collector::new("coherence");
    collector.keep_numbers_only();
    collector.start(&broker, Trouble::default()).await;
    let replay = hearts(dir.path(), people, 3_000);
    let config = config(&broker.url(), 1.0, "")
        .replace("ble = false", &format!("ble = false\nreplay = {replay}"));
    let begin = std::time::Instant::now();
    let hub = Hub::run(dir.path(), &config, None).await;
    let (before, _) = backlog::grid(dir.path());
    let memory_mb = hub.peak_memory_mb();
    let limit = Duration::from_secs(30 + messages as u64 / 25);
    while collector.ledger().applied.len() < messages as usize {
        assert!(begin.elapsed() < limit, "it does not drain: {}", hub.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let took = begin.elapsed();
    drained(&hub).await;
    let skipped = hub.metric("coherence_grid_points_skipped_total").await;
    let dropped = hub.metric("coherence_store_rows_dropped_total").await;
    let peak_mb = hub.peak_memory_mb();
    hub.stop().await;
    let (points, holes) = backlog::grid(dir.path());
    println!(
        "{messages} messages beside {people} hearts in {took:?}; {} grid points, holes {holes:?}, \
         memory {memory_mb} to {peak_mb} MB",
        points - before
    );
    assert!(
        points - before >= took.as_secs() as i64 / 5 - 1,
        "grid points are missing"
    );
    assert!(holes.is_empty(), "{holes:?}");
    assert_eq!((skipped, dropped), (Some(0.0), Some(0.0)));
    assert!(peak_mb < memory_mb + 100, "{memory_mb} to {peak_mb} MB");
    assert!(
        took.as_secs_f64() > messages as f64 / 60.0,
        "faster than the pace"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_leaves_beside_a_live_room_without_costing_it_a_grid_point() {
    drains_beside_a_room(10, 20, 10).await;
}

/// Ten minutes; by hand: `cargo test --release --test uplink -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes ten minutes"]
async fn a_weeks_backlog_of_forty_people_leaves_beside_a_live_room_of_forty() {
    drains_beside_a_room(40, 60, 168).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_centre_where_nobody_listens_is_said_to_be_one_and_waited_for() {
    let dir = room();
    let messages = backlog(dir.path(), 3, 5).await;
    let broker = Broker::open().await;
    let hub = Hub::run(dir.path(), &config(&broker.url(), 30.0, ""), None).await;
    says(&hub, "The collector is not subscribed").await;
    assert!(waiting(dir.path()) as u64 >= messages, "nothing is deleted");
    let collector = Collector::running(&broker).await;
    drained(&hub).await;
    let (_, log) = hub.stop().await;
    applied_is_what_is_kept(dir.path(), &collector.ledger(), &hub_id(dir.path()));
    one_line(&log, "the collector is not subscribed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_takes_nothing_gets_a_window_and_is_left_after_ninety_seconds() {
    let dir = room();
    backlog(dir.path(), 3, 20).await;
    let deaf = support::broker::Deaf::listen().await;
    let hub = Hub::run(dir.path(), &config(&deaf.url(), 30.0, ""), None).await;
    let said = says(&hub, "took no message for a minute and a half").await;
    assert!(said.contains("Not connected since"), "{said}");
    // Status, meta, and sixteen messages: nothing on top of what is not taken.
    assert_eq!(deaf.most_publications(), 2 + 16);
    wait_until("it is tried again and again", || deaf.connections() >= 3).await;
    let (status, log) = hub.stop().await;
    assert!(status.success(), "{log}");
    one_line(&log, "took no message for a minute and a half");
}
