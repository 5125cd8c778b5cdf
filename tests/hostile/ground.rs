//! What the rows are made of: a hub, somebody who is in its room, and tokens that are not good.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;

use hmac::{Hmac, KeyInit, Mac};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::hub::Hub;

/// What joining takes.
pub const ROOM_CODE: &str = "quiet-pond-7";

/// More than the people and the rows need, and few enough to be filled in a moment.
pub const MAX_PARTICIPANTS: usize = 120;

pub struct Ground {
    pub hub: SocketAddr,
    /// Somebody in the room, with a good token.
    pub id: String,
    pub token: String,
    /// Somebody else.
    pub other: String,
    /// What it is, and the token.
    pub forged: Vec<(&'static str, String)>,
    pub pin: String,
    /// The answers to joins whose people are still in the room.
    joined: Mutex<Vec<Value>>,
}

impl Ground {
    pub async fn of(hub: &Hub, data_dir: &Path) -> Ground {
        let (id, token) = join(hub).await;
        let (other, _) = join(hub).await;
        let (key, pin) = secrets(&data_dir.join("hub.db"));
        let now_ms = hub.get("/api/time").await["serverTime"]
            .as_i64()
            .expect("Unix ms");
        let (claim, tag) = token.split_once('.').expect("a claim and its proof");
        let other_hub = [7; 32];
        let forged = vec![
            (
                "a token that is cut short",
                token[..token.len() - 2].to_owned(),
            ),
            ("a token without its proof", claim.to_owned()),
            ("a token with an empty proof", format!("{claim}.")),
            (
                "a token with a proof of zeros",
                format!("{claim}.{}", "0".repeat(tag.len())),
            ),
            (
                "a token with another's proof",
                format!("{}.{tag}", other.replace('-', "")),
            ),
            ("a token in capitals", token.to_uppercase()),
            ("a token with a tail", format!("{token}.{tag}")),
            (
                "a token of another hub",
                facilitator(&other_hub, &pin, now_ms + 1_000_000),
            ),
            (
                "a token that has expired",
                facilitator(&key, &pin, now_ms - 1000),
            ),
            ("a token with a later expiry", {
                let good = facilitator(&key, &pin, now_ms + 1000);
                format!("f{}.{}", now_ms + 99_000_000, &good[good.len() - 32..])
            }),
            (
                "a token for a PIN that is no more",
                facilitator(&key, "not it", now_ms + 1_000_000),
            ),
            (
                "a token signed with \"none\"",
                "eyJhbGciOiJub25lIn0.eyJyb2xlIjoiZmFjaWxpdGF0b3IifQ.".into(),
            ),
        ];
        Ground {
            hub: hub.address,
            id,
            token,
            other,
            forged,
            pin,
            joined: Mutex::default(),
        }
    }

    /// Somebody joined, and will be forgotten at the end of the round.
    pub fn remember(&self, joined: Value) {
        self.joined
            .lock()
            .expect("nobody panics while holding it")
            .push(joined);
    }

    /// Everybody who joined since the last time.
    pub fn take_joined(&self) -> Vec<Value> {
        std::mem::take(&mut self.joined.lock().expect("nobody panics while holding it"))
    }

    /// The name under which the hub is called.
    pub fn host(&self) -> String {
        self.hub.to_string()
    }
}

/// The frame of somebody who joins and knows the room's code.
pub fn join_frame() -> String {
    json!({"type": "join_session", "roomCode": ROOM_CODE}).to_string()
}

async fn join(hub: &Hub) -> (String, String) {
    let answer = reqwest::Client::new()
        .post(hub.url("/api/participants"))
        .json(&json!({"roomCode": ROOM_CODE}))
        .send();
    let joined: Value = answer
        .await
        .expect("the hub answers")
        .json()
        .await
        .expect("JSON");
    let text = |name: &str| {
        joined[name]
            .as_str()
            .unwrap_or_else(|| panic!("{joined}"))
            .to_owned()
    };
    (text("participantId"), text("resumeToken"))
}

/// A facilitator's token as the hub with this key would make it.
fn facilitator(key: &[u8], pin: &str, expires_at_ms: i64) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("keys of any length");
    mac.update(b"facilitator");
    mac.update(&expires_at_ms.to_be_bytes());
    mac.update(pin.as_bytes());
    let proof = mac.finalize().into_bytes();
    let hex: String = proof[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("f{expires_at_ms}.{hex}")
}

/// The hub's own key and the PIN, which nobody outside has.
fn secrets(database: &Path) -> (Vec<u8>, String) {
    let db = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .expect("the hub's database");
    db.query_row("SELECT hub_key, pin FROM meta", [], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
    .expect("the hub's own row")
}
