//! Power cuts: the hub is killed without warning, again and again, and nobody's phone can tell.

mod support;

use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use support::hub::Hub;
use support::phone::Phone;

const KILLS: usize = 20;

/// What of a session must survive everything.
fn identity(session: &Value) -> (Value, Value, Value) {
    (
        session["id"].clone(),
        session["startsAt"].clone(),
        session["endsAt"].clone(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_twenty_times_the_hub_comes_back_as_it_was() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let mut hub = Hub::demo(dir.path(), &["--people", "12", "--seed", "3"]).await;
    let mut phone = Phone::connect(&hub).await;
    let mut session = identity(&phone.wait_for("session_state").await["session"]);
    phone
        .send(json!({"type": "join_session", "name": "Mira", "strap": "strap 2"}))
        .await;
    let joined = phone.wait_for("session_joined").await;
    let (participant, token) = (
        joined["participantId"].clone(),
        joined["resumeToken"].clone(),
    );
    // Some kills come in mid-interval, some right behind a commit.
    phone.wait_for("personal_feedback").await;
    let mut back_at_once = 0;
    let mut kills_at_ms = Vec::new();
    for kill in 0..KILLS {
        if kill % 3 == 0 {
            phone.wait_for("group_metrics_update").await;
        }
        kills_at_ms.push(
            hub.get("/api/time").await["serverTime"]
                .as_i64()
                .expect("Unix ms"),
        );
        hub.kill();
        check_database(&dir.path().join("hub.db"));
        hub = Hub::demo(dir.path(), &["--people", "12", "--seed", "3"]).await;
        phone = Phone::connect(&hub).await;
        let state = phone.wait_for("session_state").await["session"].clone();
        let now = hub.get("/api/time").await["serverTime"]
            .as_i64()
            .expect("Unix ms");
        assert!(
            (state["startsAt"].as_i64()..state["endsAt"].as_i64()).contains(&Some(now)),
            "{state} at {now}"
        );
        if now < session.2.as_i64().expect("Unix ms") {
            assert_eq!(
                identity(&state),
                session,
                "kill {kill}: the session goes on"
            );
        }
        session = identity(&state);
        assert_eq!(
            state["participants"], 1,
            "kill {kill}: nobody was forgotten"
        );
        phone
            .send(json!({"type": "join_session", "resumeToken": token}))
            .await;
        let joined = phone.wait_for("session_joined").await;
        assert_eq!(
            joined["participantId"], participant,
            "kill {kill}: the same participant"
        );
        assert_eq!(joined["strap"], "strap 2", "kill {kill}: the same strap");
        if kill % 3 == 0 {
            let feedback = phone.wait_for("personal_feedback").await;
            match feedback["reason"].as_str() {
                None => back_at_once += 1,
                Some("warming_up") => assert!(feedback["leftMs"].as_i64() > Some(0), "{feedback}"),
                // The strap itself may be one that has its troubles.
                Some(reason) => assert!(
                    ["silent", "poor_signal", "off_body"].contains(&reason),
                    "{feedback}"
                ),
            }
        }
        let health = hub.get("/health").await;
        assert_eq!(
            health["parts"]["store"]["status"], "ok",
            "kill {kill}: {health}"
        );
    }
    println!(
        "{back_at_once} of {} restarts had the score back at the next grid point",
        KILLS.div_ceil(3)
    );
    assert!(
        back_at_once > 0,
        "a hole of at most 5 s is bridged at the next grid point"
    );
    let (status, log) = hub.stop().await;
    assert!(status.success(), "{log}");
    check_holes(&dir.path().join("hub.db"), &kills_at_ms);
}

/// The database opens clean after a kill.
fn check_database(path: &Path) {
    let db = Connection::open(path).expect("it opens");
    let verdict: String = db
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("it can be checked");
    assert_eq!(verdict, "ok");
}

/// At most one grid interval of R-R is missing at each kill, of every strap that was streaming then:
/// what had arrived since the last commit.
fn check_holes(path: &Path, kills_at_ms: &[i64]) {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .expect("the hub's database");
    let (mut longest, mut looked_at) = (0, 0);
    for kill_ms in kills_at_ms {
        // Streaming: beats in the ten seconds before the last commit.
        let newest: Vec<i64> = db
            .prepare("SELECT max(wall_ms) FROM rr WHERE wall_ms BETWEEN ?1 - 16000 AND ?1 GROUP BY strap_no")
            .and_then(|mut query| query.query_map([kill_ms], |row| row.get(0))?.collect())
            .expect("the R-R rows");
        // A strap of the virtual room may itself have fallen silent just then: most have not.
        let mut holes: Vec<i64> = newest.iter().map(|at_ms| kill_ms - at_ms).collect();
        holes.sort_unstable();
        let well = holes.len() * 3 / 4;
        looked_at += well;
        longest = longest.max(
            holes[..well]
                .last()
                .copied()
                .expect("straps were streaming"),
        );
    }
    println!("the longest stretch of a strap's R-R lost to a kill: {longest} ms");
    assert!(
        looked_at >= 6 * kills_at_ms.len(),
        "too few straps were streaming"
    );
    assert!(longest <= 5_000 + BEAT_MS, "R-R of {longest} ms is missing");
}

/// The newest notification before a grid point came up to this long before it, ms.
const BEAT_MS: i64 = 1_500;
