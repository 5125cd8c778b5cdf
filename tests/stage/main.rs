//! The stage over real sockets of the real program: who leads (`room`), what everybody sees, ticks (`ticks`),
//! named sessions (`named`), and what a restart keeps (`restart`).

mod named;
mod restart;
mod room;
#[path = "../support/mod.rs"]
mod support;
mod ticks;

use serde_json::{Value, json};
use support::hub::{HEARS_NOTHING, Hub};
use support::phone::Phone;
use tempfile::TempDir;

pub async fn hub_with(more: &str) -> (TempDir, Hub) {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let hub = Hub::run(dir.path(), &format!("{HEARS_NOTHING}{more}"), None).await;
    (dir, hub)
}

/// A phone that is a facilitator's, and its token.
pub async fn facilitator(hub: &Hub) -> (Phone, String) {
    let mut phone = Phone::connect(hub).await;
    let ok = phone.ask(json!({"type": "auth", "pin": hub.pin()})).await;
    let token = ok["token"].as_str().expect("a token").to_owned();
    (phone, token)
}

pub async fn join(hub: &Hub, name: Option<&str>, session: Option<&str>) -> (Phone, Value) {
    let mut phone = Phone::connect(hub).await;
    let joined = phone
        .ask(json!({"type": "join_session", "name": name, "sessionId": session}))
        .await;
    assert_eq!(joined["type"], "session_joined", "{joined}");
    (phone, joined)
}

pub fn version(snapshot: &Value) -> u64 {
    snapshot["anchor"]["version"].as_u64().expect("a version")
}

/// The position that everybody computes.
pub fn position(snapshot: &Value, at: i64) -> f64 {
    let anchor = &snapshot["anchor"];
    let from = anchor["positionMs"].as_f64().expect("ms");
    match anchor["state"].as_str() {
        Some("playing") => {
            let since = at - anchor["at"].as_i64().expect("Unix ms");
            from + since as f64 * anchor["rate"].as_f64().expect("a rate")
        }
        Some("paused") => from,
        other => panic!("no such state: {other:?}"),
    }
}

pub async fn code(phone: &mut Phone, frame: Value) -> Value {
    let answer = phone.ask(frame.clone()).await;
    assert_eq!(answer["type"], "error", "{frame}: {answer}");
    let says = answer["message"].as_str().expect("a sentence");
    assert!(says.len() > 20, "says why: {answer}");
    answer["code"].clone()
}
