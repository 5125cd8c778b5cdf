//! Power cuts: the hub is killed without warning, again and again, and nobody's phone can tell.

mod support;

use std::collections::HashSet;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use support::dice::Dice;
use support::from_environment;
use support::hub::Hub;
use support::phone::Phone;

/// Unless `COHERENCE_KILLS` says otherwise: a long run takes 200.
const KILLS: usize = 20;

/// Between two grid points, and so between two commits, ms.
const GRID_MS: i64 = 5_000;

async fn hub_time(hub: &Hub) -> i64 {
    let time = hub.get("/api/time").await;
    time["serverTime"].as_i64().expect("Unix ms")
}

/// Waits for the next moment that lies so far behind a grid point.
async fn until_in_interval(hub: &Hub, behind_ms: i64) {
    let begin = hub_time(hub).await;
    let at = begin - (begin - behind_ms).rem_euclid(GRID_MS) + GRID_MS;
    hub.until("/api/time", "the moment to kill", |time| {
        time["serverTime"].as_i64() >= Some(at)
    })
    .await;
}

/// What of a session must survive everything.
fn identity(session: &Value) -> (Value, Value, Value) {
    (
        session["id"].clone(),
        session["startsAt"].clone(),
        session["endsAt"].clone(),
    )
}

/// What the hub said yes to.
#[derive(Default)]
struct Acknowledged {
    /// By the versions of the texts, each of them used once.
    consents: Vec<String>,
    erased: Option<String>,
}

/// Gives consents as fast as the hub takes them, until it is killed under them.
fn agree_until_killed(
    hub: &Hub,
    participant: &str,
    token: &str,
    life: usize,
) -> tokio::task::JoinHandle<Vec<String>> {
    let url = hub.url(&format!("/api/participants/{participant}/consent"));
    let token = token.to_owned();
    tokio::spawn(async move {
        let client = reqwest::Client::new();
        let mut acknowledged = Vec::new();
        for nth in 0.. {
            let version = format!("{life}-{nth}");
            let scopes = if nth % 2 == 0 { vec!["store"] } else { vec![] };
            let request = client
                .put(&url)
                .bearer_auth(&token)
                .json(&json!({"textVersion": version, "scopes": scopes}));
            match request.send().await {
                Ok(answer) if answer.status() == reqwest::StatusCode::NO_CONTENT => {
                    acknowledged.push(version)
                }
                Ok(answer) => panic!("a consent was refused: {:?}", answer.text().await),
                Err(_) => break,
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        acknowledged
    })
}

/// Somebody comes, agrees, and has themselves erased.
async fn come_and_be_erased(hub: &Hub) -> String {
    let mut phone = Phone::connect(hub).await;
    phone
        .send(json!({"type": "join_session", "name": "Goes-Again", "consent": {"textVersion": "of the erased", "scopes": ["store"]}}))
        .await;
    let joined = phone.wait_for("session_joined").await;
    let text = |key: &str| joined[key].as_str().expect("text").to_owned();
    let id = text("participantId");
    let answer = reqwest::Client::new()
        .delete(hub.url(&format!("/api/participants/{id}")))
        .bearer_auth(text("resumeToken"))
        .send()
        .await
        .expect("the hub answers");
    assert!(answer.status().is_success(), "{:?}", answer.text().await);
    id
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
    // The kills are spread over the whole interval between two commits, or fall as the dice do.
    let kills = from_environment("COHERENCE_KILLS").map_or(KILLS, |kills| kills as usize);
    let seed = from_environment("COHERENCE_SEED");
    println!("COHERENCE_KILLS={kills} COHERENCE_SEED={seed:?}");
    let mut dice = seed.map(Dice);
    let mut acknowledged = Acknowledged::default();
    phone.wait_for("personal_feedback").await;
    let mut back_at_once = 0;
    let mut lives_ms = Vec::new();
    let mut began_ms = hub_time(&hub).await;
    for kill in 0..kills {
        let agreeing = agree_until_killed(
            &hub,
            participant.as_str().expect("text"),
            token.as_str().expect("text"),
            kill,
        );
        if kill == kills / 2 {
            acknowledged.erased = Some(come_and_be_erased(&hub).await);
        }
        let behind_ms = match &mut dice {
            Some(dice) => dice.below(GRID_MS),
            None => kill as i64 * GRID_MS / kills as i64,
        };
        until_in_interval(&hub, behind_ms).await;
        lives_ms.push((began_ms, hub_time(&hub).await));
        hub.kill();
        acknowledged
            .consents
            .extend(agreeing.await.expect("it ends with the hub"));
        check_database(&dir.path().join("hub.db"), &acknowledged);
        hub = Hub::demo(dir.path(), &["--people", "12", "--seed", "3"]).await;
        phone = Phone::connect(&hub).await;
        let state = phone.wait_for("session_state").await["session"].clone();
        let now = hub_time(&hub).await;
        began_ms = now;
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
        kills.div_ceil(3)
    );
    assert!(
        back_at_once > 0,
        "a hole of at most 5 s is bridged at the next grid point"
    );
    println!(
        "{} consents were acknowledged, and none is missing",
        acknowledged.consents.len()
    );
    assert!(acknowledged.consents.len() >= kills && acknowledged.erased.is_some());
    let (status, log) = hub.stop().await;
    assert!(status.success(), "{log}");
    check_holes(&dir.path().join("hub.db"), &lives_ms);
}

/// The database opens clean after a kill, and nothing that was acknowledged is missing from it.
fn check_database(path: &Path, acknowledged: &Acknowledged) {
    let db = Connection::open(path).expect("it opens");
    let verdict: String = db
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("it can be checked");
    assert_eq!(verdict, "ok");
    let kept: HashSet<String> = db
        .prepare("SELECT DISTINCT text_version FROM consent")
        .and_then(|mut query| query.query_map([], |row| row.get(0))?.collect())
        .expect("the consents");
    let missing: Vec<&String> = acknowledged
        .consents
        .iter()
        .filter(|version| !kept.contains(*version))
        .collect();
    assert!(missing.is_empty(), "acknowledged and not kept: {missing:?}");
    if let Some(erased) = &acknowledged.erased {
        let people: i64 = db
            .query_row(
                "SELECT count(*) FROM participant WHERE participant_id = ?1",
                [erased],
                |row| row.get(0),
            )
            .expect("the participants");
        assert_eq!(people, 0, "who was erased is back");
        assert!(!kept.contains("of the erased"));
    }
}

/// At most one grid interval of R-R is missing at each kill, of every strap that was streaming then:
/// what had arrived since the last commit. `lives_ms`: from when to when each process served.
fn check_holes(path: &Path, lives_ms: &[(i64, i64)]) {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .expect("the hub's database");
    let (mut longest, mut looked_at) = (0, 0);
    for (began_ms, killed_ms) in lives_ms {
        // Streaming: it had beats within three intervals before the kill.
        let newest: Vec<i64> = db
            .prepare("SELECT max(wall_ms) FROM rr WHERE wall_ms BETWEEN ?1 - 15000 AND ?1 GROUP BY strap_no")
            .and_then(|mut query| query.query_map([killed_ms], |row| row.get(0))?.collect())
            .expect("the R-R rows");
        // What came before this process began was lost to the kill before it, if it was lost.
        let hole = |newest_ms: &i64| killed_ms - newest_ms.max(began_ms);
        let mut holes: Vec<i64> = newest.iter().map(hole).collect();
        holes.sort_unstable();
        // A strap of the virtual room may itself have fallen silent just then: most have not.
        let well = holes.len() * 3 / 4;
        looked_at += well;
        longest = longest.max(holes[..well].last().copied().unwrap_or(0));
    }
    println!("the longest stretch of a strap's R-R lost to a kill: {longest} ms");
    assert!(
        looked_at >= 6 * lives_ms.len(),
        "too few straps were streaming"
    );
    assert!(
        longest <= GRID_MS + BEAT_MS,
        "R-R of {longest} ms is missing"
    );
}

/// The newest notification before a grid point came up to this long before it, ms.
const BEAT_MS: i64 = 1_500;
