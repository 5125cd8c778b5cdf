//! What is bad because there is so much of it, or because it goes on for so long. Each says what was
//! not as documented.

use std::net::Ipv4Addr;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::ground::{Ground, MAX_PARTICIPANTS, ROOM_CODE, join_frame};
use crate::line::{CLOSE, Line, PING, TEXT, frame, frame_head, upgrade};

pub type Flood<'a> = (&'static str, BoxFuture<'a, Result<(), String>>);

/// Those that can go on at the same time. In each round they come from other addresses.
pub fn together(ground: &Ground, round: u8) -> Vec<Flood<'_>> {
    vec![
        (
            "1000 joins over each of ten sockets",
            joins(ground, round).boxed(),
        ),
        (
            "join and leave, as fast as can be",
            join_leave(ground, round).boxed(),
        ),
        ("5000 pings", pings(ground, round).boxed()),
        (
            "500 connections that come and go",
            come_and_go(ground, round).boxed(),
        ),
        ("100 sockets that vanish", vanish(ground, round).boxed()),
        ("20 phones with one token", one_token(ground, round).boxed()),
    ]
}

/// Those that leave nobody else room.
pub fn alone(ground: &Ground, round: u8) -> Vec<Flood<'_>> {
    vec![(
        "people until the room is full",
        full_room(ground, round).boxed(),
    )]
}

/// Those that leave the hub on its guard for longer than a test takes.
pub fn once(ground: &Ground) -> Vec<Flood<'_>> {
    vec![
        ("PINs guessed from one address", guess(ground).boxed()),
        (
            "PINs guessed from several addresses",
            guess_together(ground).boxed(),
        ),
        (
            "room codes guessed from one address",
            guess_room_code(ground).boxed(),
        ),
    ]
}

/// Connections that are bad as long as they last.
pub struct Held {
    silent: Vec<Line>,
    heads: Vec<Line>,
    bodies: Vec<Line>,
    _frames: Vec<Line>,
    busy: Vec<JoinHandle<()>>,
}

/// How many kinds of them there are.
pub const HELD_KINDS: usize = 7;

/// After so long nobody may be waiting for the rest of a request any more.
pub const HELD_AT_LEAST: Duration = Duration::from_secs(20);

impl Held {
    pub async fn hold(ground: &Ground) -> Held {
        let host = ground.host();
        let half_head = format!("GET / HTTP/1.1\r\nHost: {host}\r\nX: ");
        let half_body = format!(
            "POST /api/participants HTTP/1.1\r\nHost: {host}\r\n\
             Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{"
        );
        let mut held = Held {
            silent: Vec::new(),
            heads: Vec::new(),
            bodies: Vec::new(),
            _frames: Vec::new(),
            busy: Vec::new(),
        };
        for n in 0..40 {
            held.silent
                .push(Line::open(ground.hub, from(90, 0, n)).await);
            held.heads
                .push(half_said(ground, from(90, 1, n), &half_head).await);
            held.bodies
                .push(half_said(ground, from(90, 2, n), &half_body).await);
            let mut half_frame = socket(ground, from(90, 3, n)).await;
            half_frame.send(&frame_head(0x80 | TEXT, true, 4000)).await;
            held._frames.push(half_frame);
        }
        for n in 0..10 {
            for half in [&half_head, &half_body] {
                // The rest, byte by byte: whoever waits for it waits for ever.
                let mut line = half_said(ground, from(90, 4, n), half).await;
                held.busy.push(tokio::spawn(async move {
                    loop {
                        sleep(Duration::from_secs(1)).await;
                        line.send(b" ").await;
                    }
                }));
            }
            // A reader that does not read, and asks all the time.
            let ask = json!({"type": "sync_request", "clientTime": 1}).to_string();
            let ask = frame(TEXT, ask.as_bytes()).repeat(40);
            let mut line = Line::open(ground.hub, from(90, 5, n)).await;
            line.send(&upgrade(&host, "/ws", &[])).await;
            held.busy.push(tokio::spawn(async move {
                loop {
                    line.send(&ask).await;
                    sleep(Duration::from_millis(500)).await;
                }
            }));
        }
        held
    }

    /// What was not as documented, once [`HELD_AT_LEAST`] has passed.
    pub async fn let_go(mut self) -> Vec<String> {
        let mut wrong = Vec::new();
        for line in self.silent.iter_mut().chain(&mut self.heads) {
            if let Some(answer) = line.answer().await {
                wrong.push(format!("a head that does not come: {answer:?}"));
            }
        }
        for line in &mut self.bodies {
            let answer = line.answer().await;
            let told = answer.as_ref().map(|answer| (answer.status, answer.code()));
            if told != Some((408, Some("too_slow".into()))) {
                wrong.push(format!("a body that does not come: {answer:?}"));
            }
        }
        wrong
    }
}

async fn half_said(ground: &Ground, from: Ipv4Addr, half: &str) -> Line {
    let mut line = Line::open(ground.hub, from).await;
    line.send(half.as_bytes()).await;
    line
}

impl Drop for Held {
    fn drop(&mut self) {
        for task in &self.busy {
            task.abort();
        }
    }
}

fn from(round: u8, flood: u8, n: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 100 + round, flood, n + 1)
}

async fn socket(ground: &Ground, from: Ipv4Addr) -> Line {
    Line::open_socket(ground.hub, from).await
}

/// Reads on until an answer of which `wanted` says yes.
async fn until(line: &mut Line, wanted: impl Fn(&Value) -> bool) -> Result<Value, String> {
    let read = async {
        while let Some(heard) = line.own_frame().await {
            let answer = heard.json().unwrap_or_default();
            if wanted(&answer) {
                return Ok(answer);
            }
        }
        Err("the socket was closed".to_owned())
    };
    let patience = Duration::from_secs(30);
    timeout(patience, read)
        .await
        .unwrap_or_else(|_| Err("no answer in time".into()))
}

/// An answer, which must be of this type.
async fn expect(line: &mut Line, text: &str, kind: &str) -> Result<Value, String> {
    let answer = line.ask(text).await;
    if answer["type"] == kind {
        return Ok(answer);
    }
    Err(format!("{text} was answered by {answer}"))
}

/// The same person all the time, and told to slow down.
async fn joins(ground: &Ground, round: u8) -> Result<(), String> {
    let sockets = (0..10).map(|n| async move {
        let mut line = socket(ground, from(round, 1, n)).await;
        let first = expect(&mut line, &join_frame(), "session_joined").await?;
        let id = &first["participantId"];
        line.send(&frame(TEXT, join_frame().as_bytes()).repeat(999))
            .await;
        let answer = until(&mut line, |answer| {
            let same = answer["participantId"] == *id || answer["code"] == "rate_limited";
            !same || answer["type"] == "rate_limit_exceeded"
        })
        .await?;
        if answer["type"] != "rate_limit_exceeded" {
            return Err(format!("another person: {answer}"));
        }
        leave(&mut line).await
    });
    join_all(sockets).await.into_iter().collect()
}

const LEAVE: &str = r#"{"type":"leave_session"}"#;

/// Leaves as soon as it is heard again.
async fn leave(line: &mut Line) -> Result<(), String> {
    for _ in 0..50 {
        line.send(&frame(TEXT, LEAVE.as_bytes())).await;
        let left = until(line, |answer| {
            answer["type"] == "session_left" || answer["code"] == "not_joined"
        });
        if let Ok(answer) = timeout(Duration::from_millis(1200), left).await {
            return answer.map(drop);
        }
    }
    Err("leaving is not answered".into())
}

/// Until they are told to wait, which they are.
async fn join_leave(ground: &Ground, round: u8) -> Result<(), String> {
    let sockets = (0..5).map(|n| async move {
        let mut line = socket(ground, from(round, 2, n)).await;
        for _ in 0..45 {
            let answer = line.ask(&join_frame()).await;
            if answer["code"] == "rate_limited" && answer["retryAfterMs"].is_u64() {
                return Ok(());
            }
            if answer["type"] != "session_joined" {
                return Err(format!("joining was answered by {answer}"));
            }
            expect(&mut line, LEAVE, "session_left").await?;
        }
        Err("who comes and goes all the time is never told to wait".into())
    });
    join_all(sockets).await.into_iter().collect()
}

async fn pings(ground: &Ground, round: u8) -> Result<(), String> {
    let mut line = socket(ground, from(round, 3, 0)).await;
    line.send(&frame(PING, b"hello").repeat(5000)).await;
    until(&mut line, |answer| answer["type"] == "rate_limit_exceeded").await?;
    // It is heard again, as one who has not joined.
    leave(&mut line).await
}

async fn come_and_go(ground: &Ground, round: u8) -> Result<(), String> {
    for n in 0..250 {
        drop(Line::open(ground.hub, from(round, 4, n)).await);
        let mut line = Line::open(ground.hub, from(round, 4, n)).await;
        line.send(b"GET /health HTTP/1.1\r\n").await;
    }
    Ok(())
}

async fn vanish(ground: &Ground, round: u8) -> Result<(), String> {
    for n in 0..50 {
        drop(socket(ground, from(round, 5, n)).await);
        let mut line = socket(ground, from(round, 5, n)).await;
        // Half of a good-bye.
        line.send(&frame(CLOSE, &1000_u16.to_be_bytes())[..3]).await;
    }
    Ok(())
}

/// The newest has the person; the older are closed with 4001.
async fn one_token(ground: &Ground, round: u8) -> Result<(), String> {
    let mut before = socket(ground, from(round, 6, 0)).await;
    let joined = expect(&mut before, &join_frame(), "session_joined").await?;
    let join = json!({"type": "join_session", "resumeToken": joined["resumeToken"]}).to_string();
    for n in 1..20 {
        let mut line = socket(ground, from(round, 6, n)).await;
        let again = expect(&mut line, &join, "session_joined").await?;
        if again["participantId"] != joined["participantId"] {
            return Err(format!("another person: {again}"));
        }
        match before.own_frame().await.and_then(|end| end.close_code()) {
            Some(4001) => before = line,
            other => return Err(format!("the older socket was closed by {other:?}")),
        }
    }
    leave(&mut before).await
}

/// 503 `room_full` from the last place on, and places again when people go.
async fn full_room(ground: &Ground, round: u8) -> Result<(), String> {
    let mut full = false;
    let join = json!({"roomCode": ROOM_CODE}).to_string();
    for n in 0..10 * MAX_PARTICIPANTS {
        let mut line = Line::open(ground.hub, from(round, 7, (n % 200) as u8)).await;
        let (status, answer) = ask(&mut line, ground, "POST /api/participants", "", &join).await?;
        if status == 503 && answer["code"] == "room_full" {
            full = true;
            break;
        }
        if status == 429 && answer["code"] == "rate_limited" {
            sleep(patience(&answer)).await;
            continue;
        }
        if status != 201 {
            return Err(format!("person {n}: {status} {answer}"));
        }
        ground.remember(answer);
    }
    erase_joined(ground, round).await?;
    full.then_some(())
        .ok_or_else(|| "the room is never full".into())
}

/// How long to wait, as we were told.
fn patience(answer: &Value) -> Duration {
    Duration::from_millis(answer["retryAfterMs"].as_u64().unwrap_or(1000))
}

/// Erases everybody who joined: 204, and their places are free.
async fn erase_joined(ground: &Ground, round: u8) -> Result<(), String> {
    for (n, person) in ground.take_joined().iter().enumerate() {
        let text = |name: &str| person[name].as_str().unwrap_or_default().to_owned();
        let path = format!("DELETE /api/participants/{}", text("participantId"));
        let mut line = Line::open(ground.hub, from(round, 8, (n % 200) as u8)).await;
        let (status, answer) = ask(&mut line, ground, &path, &text("resumeToken"), "").await?;
        if status != 204 {
            return Err(format!("erasing: {status} {answer}"));
        }
    }
    Ok(())
}

async fn ask(
    line: &mut Line,
    ground: &Ground,
    what: &str,
    token: &str,
    body: &str,
) -> Result<(u16, Value), String> {
    let (host, length) = (ground.host(), body.len());
    let request = format!(
        "{what} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    line.send(request.as_bytes()).await;
    let answer = line.answer().await.ok_or("closed without an answer")?;
    Ok((
        answer.status,
        serde_json::from_slice(&answer.body).unwrap_or_default(),
    ))
}

/// Six digits, none of them the right ones.
fn wrong_pin(ground: &Ground, n: u32) -> String {
    let right: u32 = ground.pin.parse().expect("six digits");
    let pin = format!("{:06}", (right + 1 + n) % 1_000_000);
    json!({"type": "auth", "pin": pin}).to_string()
}

/// Four are refused, the fifth locks the address out, and then not even the right one is looked at.
async fn guess(ground: &Ground) -> Result<(), String> {
    let right = json!({"type": "auth", "pin": ground.pin}).to_string();
    let tries = (0..8).map(|n| wrong_pin(ground, n)).chain([right]);
    for (n, pin) in tries.enumerate() {
        // Another socket is no other guesser.
        let mut line = socket(ground, from(91, 0, 0)).await;
        let answer = expect(&mut line, &pin, "error").await?;
        let code = if n < 4 { "wrong_pin" } else { "pin_locked" };
        if answer["code"] != code || (n >= 4 && answer["retryAfterMs"].as_i64() <= Some(0)) {
            return Err(format!("try {n}: {answer}"));
        }
    }
    Ok(())
}

/// Each address has its own tries; who knows the PIN gets in meanwhile.
async fn guess_together(ground: &Ground) -> Result<(), String> {
    for n in 0..10 {
        let mut line = socket(ground, from(91, 1, n)).await;
        for n in 0..3 {
            let answer = expect(&mut line, &wrong_pin(ground, n), "error").await?;
            if answer["code"] != "wrong_pin" {
                return Err(format!("{answer}"));
            }
        }
    }
    let mut line = socket(ground, from(91, 2, 0)).await;
    let right = json!({"type": "auth", "pin": ground.pin}).to_string();
    expect(&mut line, &right, "auth_ok").await.map(drop)
}

/// Fourteen are refused, the fifteenth locks the address out for joining.
async fn guess_room_code(ground: &Ground) -> Result<(), String> {
    for n in 0..20 {
        let code = if n < 17 { "guess" } else { ROOM_CODE };
        let join = json!({"roomCode": code}).to_string();
        let mut line = Line::open(ground.hub, from(91, 3, 0)).await;
        let (status, answer) = ask(&mut line, ground, "POST /api/participants", "", &join).await?;
        let wanted = if n < 14 {
            (403, "room_code")
        } else {
            (429, "room_code_locked")
        };
        if (status, answer["code"].as_str().unwrap_or_default()) != wanted {
            return Err(format!("try {n}: {status} {answer}"));
        }
    }
    Ok(())
}
