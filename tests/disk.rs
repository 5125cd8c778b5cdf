//! A disk that is full, read-only, or both for a while: the room goes on, nothing that was
//! acknowledged is lost, and the health says what to do.

mod support;

use reqwest::StatusCode;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use support::hub::Hub;
use support::phone::Phone;
use support::small_disk::SmallDisk;

struct Person {
    id: String,
    token: String,
}

async fn join(hub: &Hub, request: Value) -> Person {
    let mut phone = Phone::connect(hub).await;
    phone.send(request).await;
    let joined = phone.wait_for("session_joined").await;
    let text = |key: &str| joined[key].as_str().expect("text").to_owned();
    Person {
        id: text("participantId"),
        token: text("resumeToken"),
    }
}

/// Says what is agreed to; the status and the body of the answer.
async fn consent(hub: &Hub, person: &Person, version: &str) -> (StatusCode, String) {
    let answer = reqwest::Client::new()
        .put(hub.url(&format!("/api/participants/{}/consent", person.id)))
        .bearer_auth(&person.token)
        .json(&json!({"textVersion": version, "scopes": ["store"]}))
        .send()
        .await
        .expect("the hub answers");
    (answer.status(), answer.text().await.expect("text"))
}

async fn store_is(hub: &Hub, status: &str) -> String {
    let health = hub
        .until("/health", status, |health| {
            health["parts"]["store"]["status"] == status
        })
        .await;
    let text = &health["parts"]["store"]["text"];
    text.as_str().expect("words").to_owned()
}

/// Waits for some grid points more.
async fn grid_points(hub: &Hub, count: usize) {
    let mut phone = Phone::connect(hub).await;
    // The newest one comes at once, on connecting.
    for _ in 0..=count {
        phone.wait_for("group_metrics_update").await;
    }
}

/// A copy of the database: SQLite does not find its way to a disk in another namespace.
fn database(disk: &SmallDisk) -> (Connection, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let copy = dir.path().join("hub.db");
    std::fs::copy(disk.outside().join("hub.db"), &copy).expect("the hub's database");
    let db = Connection::open_with_flags(copy, OpenFlags::SQLITE_OPEN_READ_ONLY);
    (db.expect("it is a database"), dir)
}

fn column<T: rusqlite::types::FromSql>(db: &Connection, sql: &str) -> Vec<T> {
    db.prepare(sql)
        .and_then(|mut query| query.query_map([], |row| row.get(0))?.collect())
        .expect("it can be read")
}

/// The file is sound, and neither an R-R nor a grid point between the first and the last is missing.
fn nothing_is_missing(db: &Connection) {
    assert_eq!(column::<String>(db, "PRAGMA integrity_check"), ["ok"]);
    let rr: Vec<i64> = column(db, "SELECT rr_id FROM rr ORDER BY rr_id");
    assert!(rr.len() > 50, "{} R-R", rr.len());
    assert!(
        rr.windows(2).all(|pair| pair[1] - pair[0] == 1),
        "R-R are missing"
    );
    let grid: Vec<i64> = column(db, "SELECT mono_ms FROM group_score ORDER BY mono_ms");
    let steps: Vec<i64> = grid.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // Between two sessions the step may be shorter.
    assert!(
        steps.len() >= 3 && steps.iter().all(|step| (1..=5_000).contains(step)),
        "{steps:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_delays_what_is_kept_and_refuses_what_is_promised() {
    let disk = SmallDisk::new(8).await;
    let hub = Hub::start(&mut disk.demo()).await;
    let person = join(&hub, json!({"type": "join_session", "name": "Mira"})).await;
    let yes = consent(&hub, &person, "before").await;
    assert_eq!(yes.0, StatusCode::NO_CONTENT, "{}", yes.1);
    grid_points(&hub, 1).await;

    disk.fill();
    let text = store_is(&hub, "degraded").await;
    assert!(
        text.contains("full") && text.contains("Free some space"),
        "{text}"
    );
    let refused = consent(&hub, &person, "while full").await;
    assert_eq!(refused.0, StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.1.contains("not_stored"), "{}", refused.1);
    grid_points(&hub, 1).await;

    disk.free();
    assert_eq!(store_is(&hub, "ok").await, "Everything is written.");
    let yes = consent(&hub, &person, "after").await;
    assert_eq!(yes.0, StatusCode::NO_CONTENT, "{}", yes.1);
    let (status, log) = hub.stop().await;
    assert!(status.success(), "{log}");
    assert!(log.contains("takes rows again"), "{log}");
    let (db, _dir) = database(&disk);
    nothing_is_missing(&db);
    let kept: Vec<String> = column(&db, "SELECT text_version FROM consent ORDER BY consent_no");
    assert!(
        kept.contains(&"before".into()) && kept.contains(&"after".into()),
        "{kept:?}"
    );
    assert!(!kept.contains(&"while full".into()), "{kept:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_read_only_disk_the_hub_comes_back_with_its_people_and_writes_when_it_can() {
    let disk = SmallDisk::new(16).await;
    let hub = Hub::start(&mut disk.demo()).await;
    let person = join(
        &hub,
        json!({"type": "join_session", "name": "Mira", "strap": "strap 2"}),
    )
    .await;
    grid_points(&hub, 1).await;
    let before = hub.get("/health").await;
    // A power cut, after which the card can only be read.
    hub.kill();
    disk.remount("ro");

    let hub = Hub::start(&mut disk.demo()).await;
    let health = hub.get("/health").await;
    assert_eq!(health["hubId"], before["hubId"], "{health}");
    let now = hub.get("/api/time").await["serverTime"].as_i64();
    if now < before["session"]["endsAt"].as_i64() {
        assert_eq!(
            health["session"]["id"], before["session"]["id"],
            "the session goes on"
        );
    }
    let text = store_is(&hub, "degraded").await;
    assert!(
        text.contains("can't be opened") && text.contains("writable"),
        "{text}"
    );
    let again = join(
        &hub,
        json!({"type": "join_session", "resumeToken": person.token}),
    )
    .await;
    assert_eq!(again.id, person.id, "nobody was forgotten");
    let refused = consent(&hub, &person, "read-only").await;
    assert_eq!(refused.0, StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.1.contains("not_stored"), "{}", refused.1);
    grid_points(&hub, 1).await;

    disk.remount("rw");
    assert_eq!(store_is(&hub, "ok").await, "Everything is written.");
    let yes = consent(&hub, &person, "writable again").await;
    assert_eq!(yes.0, StatusCode::NO_CONTENT, "{}", yes.1);
    let (status, log) = hub.stop().await;
    assert!(status.success(), "{log}");
    let (db, _dir) = database(&disk);
    nothing_is_missing(&db);
    let kept: Vec<String> = column(&db, "SELECT DISTINCT text_version FROM consent");
    assert_eq!(kept, ["writable again"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_start_on_a_full_disk_serves_and_keeps_everything_once_there_is_space() {
    let disk = SmallDisk::new(8).await;
    disk.fill();
    let hub = Hub::start(&mut disk.demo()).await;
    let text = store_is(&hub, "degraded").await;
    assert!(
        text.contains("full") && text.contains("Free some space"),
        "{text}"
    );
    assert!(
        hub.log().contains("pin="),
        "the facilitator gets in: {}",
        hub.log()
    );
    let before = hub.get("/health").await;
    let person = join(&hub, json!({"type": "join_session", "name": "Mira"})).await;
    grid_points(&hub, 1).await;

    disk.free();
    assert_eq!(store_is(&hub, "ok").await, "Everything is written.");
    hub.kill();
    let hub = Hub::start(&mut disk.demo()).await;
    let health = hub.get("/health").await;
    assert_eq!(health["hubId"], before["hubId"], "the same hub");
    let again = join(
        &hub,
        json!({"type": "join_session", "resumeToken": person.token}),
    )
    .await;
    assert_eq!(again.id, person.id);
    let (status, log) = hub.stop().await;
    assert!(status.success(), "{log}");
    let (db, _dir) = database(&disk);
    assert_eq!(column::<String>(&db, "PRAGMA integrity_check"), ["ok"]);
}
