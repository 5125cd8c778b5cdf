//! One heartbeat through the whole hub: bytes in, figures out on real sockets, rows in real SQLite,
//! and the proof that what was shown can be computed again from what was kept.

mod support;

use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use support::hub::Hub;
use support::phone::Phone;

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shows_scores_from_the_first_update_on_and_every_five_seconds() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let hub = Hub::demo(dir.path(), &["--people", "24", "--seed", "7"]).await;
    let mut wall = Phone::connect(&hub).await;
    let session = wall.wait_for("session_state").await["session"].clone();
    let begin = session["startsAt"].as_i64().expect("Unix ms");
    assert_eq!(
        begin % 900_000,
        0,
        "sessions begin on multiples of 15 minutes of UTC"
    );
    assert_eq!(session["endsAt"].as_i64(), Some(begin + 900_000));

    let mut last_at = 0;
    for n in 0..3 {
        let group = wall.wait_for("group_metrics_update").await;
        let at = group["at"].as_i64().expect("Unix ms");
        assert_eq!(
            (at - begin) % 5_000,
            0,
            "on the grid of the session: {group}"
        );
        assert!(
            n == 0 || at == last_at + 5_000,
            "every grid point, none twice: {group}"
        );
        last_at = at;
        assert!(
            group["scored"].as_u64() >= Some(12),
            "update {n} has no scores: {group}"
        );
        assert!(
            group["average"].is_u64() && group["peak"].is_u64(),
            "{group}"
        );
        assert!(group["peak"].as_u64() >= group["average"].as_u64());
        let levels = &group["distribution"];
        let sum: u64 = ["low", "medium", "high"]
            .iter()
            .filter_map(|level| levels[level].as_u64())
            .sum();
        assert_eq!(
            Some(sum),
            group["scored"].as_u64(),
            "every scored heart has one level: {group}"
        );
    }
    let straps = hub.get("/api/straps").await;
    assert!(
        straps["straps"]
            .as_array()
            .is_some_and(|straps| straps.len() >= 20),
        "{straps}"
    );
    assert_eq!(straps["sources"][0]["name"], "virtual");
}

/// Every session of a hub, computed again by the program: number of evaluations that are equal, and of
/// those that have a score.
fn recompute(data_dir: &Path) -> (usize, usize) {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let db = Connection::open_with_flags(data_dir.join("hub.db"), flags).expect("the database");
    let sessions: Vec<String> = db
        .prepare(
            "SELECT DISTINCT session_id FROM session JOIN score USING (session_no) WHERE status IS NOT NULL",
        )
        .and_then(|mut query| query.query_map([], |row| row.get(0))?.collect())
        .expect("the sessions");
    let (mut all, mut scored) = (0, 0);
    for session in sessions {
        let again = support::recompute::score_session(data_dir, &session);
        let (equal, scores) = again.all_equal();
        all += equal;
        scored += scores;
    }
    (all, scored)
}

/// A configuration that plays these recordings, `speed` times as fast as they were.
fn replaying(files: &[String], speed: f64) -> String {
    format!(
        "[straps]\nble = false\nreplay = {files:?}\n[clock]\ntrust = \"always\"\n[test]\nclock_speed = {speed}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn live_scores_equal_a_recomputation_from_the_stored_rr_bit_for_bit() {
    let real = support::shared("signal/real");
    let folder = real
        .clone()
        .unwrap_or_else(|| support::root().join("tests/data/signal/synthetic"));
    let mut files: Vec<String> = std::fs::read_dir(&folder)
        .expect("the recordings")
        .map(|entry| {
            entry
                .expect("an entry")
                .path()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|path| path.ends_with(".rr.csv"))
        .collect();
    files.sort();
    files.truncate(8);
    assert_eq!(files.len(), 8, "a group of eight");

    let dir = tempfile::tempdir().expect("a directory for the test");
    let hub = Hub::run(dir.path(), &replaying(&files, 40.0), None).await;
    let finished = |answer: &Value| answer["sources"][0]["code"] == "finished";
    hub.until("/api/straps", "the end of the recordings", finished)
        .await;
    let (status, log) = hub.stop().await;
    assert!(status.success(), "{log}");

    let (all, scored) = recompute(dir.path());
    println!(
        "{} of {}: {scored} scores and {all} evaluations equal, bit for bit",
        files.len(),
        folder.display()
    );
    let (least_all, least_scored) = if real.is_some() {
        (1_000, 500)
    } else {
        (200, 100)
    };
    assert!(
        all >= least_all && scored >= least_scored,
        "too little was compared: {all}, {scored}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_bluetooth_and_bus_the_hub_starts_serves_and_says_what_is_missing() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let hub = Hub::run(dir.path(), "", None).await;
    let health = hub
        .until("/health", "the reason", |health| {
            health["parts"]["straps"]["text"]
                .as_str()
                .is_some_and(|text| text.contains("D-Bus"))
        })
        .await;
    assert_eq!(health["status"], "degraded");
    let page = reqwest::get(hub.url("/"))
        .await
        .expect("the page is served");
    assert!(page.status().is_success());
    let straps = hub.get("/api/straps").await;
    assert_eq!(straps["sources"][0]["code"], "no_bus", "{straps}");
    let mut phone = Phone::connect(&hub).await;
    let group = phone.wait_for("group_metrics_update").await;
    assert_eq!(group["suppressed"], "too_few");
    let (status, _) = hub.stop().await;
    assert_eq!(status.code(), Some(0), "SIGTERM ends it cleanly");
}
