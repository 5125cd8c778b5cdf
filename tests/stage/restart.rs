//! What a restart and a kill keep of the stages, and what ends by itself.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use crate::support::hub::{HEARS_NOTHING, Hub};
use crate::support::phone::Phone;
use crate::support::wait_until;
use crate::{facilitator, hub_with, join, version};

/// What is kept of a stage, if it is.
fn kept(dir: &Path, name: &str) -> Option<i64> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let conn = Connection::open_with_flags(dir.join("hub.db"), flags).ok()?;
    let sql = "SELECT version FROM stage WHERE name = ?1";
    conn.query_row(sql, [name], |row| row.get(0)).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_and_a_kill_keep_the_stages_as_they_were() {
    let (dir, hub) = hub_with("").await;
    let (mut lead, token) = facilitator(&hub).await;
    lead.ask(json!({"type": "seek", "positionMs": 1_234.5}))
        .await;
    lead.ask(json!({"type": "update_message", "message": "Stay with this."}))
        .await;
    lead.ask(json!({"type": "pause", "scene": "rest"})).await;
    let room = lead.ask(json!({"type": "set_tempo", "tempo": 8})).await;
    let (mut ada, joined) = join(&hub, None, Some("jam")).await;
    ada.ask(json!({"type": "set_tempo", "tempo": 90})).await;
    let jam = ada.ask(json!({"type": "play"})).await;
    let (_, _) = hub.stop().await;

    for _life in 0..2 {
        let hub = Hub::run(dir.path(), HEARS_NOTHING, None).await;
        let mut wall = Phone::connect(&hub).await;
        let seen = wall.wait_for("snapshot").await;
        for field in ["positionMs", "rate", "at", "state"] {
            assert_eq!(seen["anchor"][field], room["anchor"][field], "{field}");
        }
        assert_eq!(
            (&seen["tempo"], &seen["message"]),
            (&room["tempo"], &room["message"])
        );
        assert_eq!(
            (&seen["messageAt"], &seen["scene"]),
            (&room["messageAt"], &json!("rest"))
        );
        // Somebody else is here first, and the leader is still awaited.
        let (mut other, follows) = join(&hub, None, Some("jam")).await;
        assert_eq!(follows["role"], "follower");
        let seen = other
            .wait_where("snapshot", |seen| seen["sessionId"] == "jam")
            .await;
        for field in ["positionMs", "rate", "at", "state"] {
            assert_eq!(seen["anchor"][field], jam["anchor"][field], "{field}");
        }
        let mut ada = Phone::connect(&hub).await;
        let back = ada
            .ask(json!({"type": "join_session", "sessionId": "jam", "resumeToken": joined["resumeToken"]}))
            .await;
        assert_eq!(back["role"], "leader");
        let mut lead = Phone::connect(&hub).await;
        lead.ask(json!({"type": "auth", "token": token})).await;
        let led = lead
            .wait_where("snapshot", |seen| seen["leaders"] == 1)
            .await;
        let wanted = i64::try_from(version(&led)).expect("few");
        wait_until("the stage is on the disk", || {
            kept(dir.path(), "") >= Some(wanted)
        })
        .await;
        let wanted = hub.get("/sessions/jam").await;
        let wanted = i64::try_from(version(&wanted)).expect("few");
        wait_until("the session is on the disk", || {
            kept(dir.path(), "jam") >= Some(wanted)
        })
        .await;
        hub.kill();
    }
    assert!(kept(dir.path(), "jam").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_session_to_which_nobody_comes_back_is_gone_after_two_minutes() {
    // Sixty times as fast as the world.
    let (dir, hub) = hub_with("[test]\nclock_speed = 60.0\n").await;
    let (phone, _) = join(&hub, None, Some("jam")).await;
    drop(phone);
    hub.until("/sessions/jam", "the session is freed", |stage| {
        stage["code"] == "unknown_session"
    })
    .await;
    wait_until("nothing of it is kept", || {
        kept(dir.path(), "").is_some() && kept(dir.path(), "jam").is_none()
    })
    .await;
}
