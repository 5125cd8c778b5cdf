//! Everything bad that strangers can send, row by row, with the answer that is documented for it, while
//! the people in the room notice nothing: no update of the grid is missing, and the hub does not grow.
//!
//! What is documented, beside the codes of the OpenAPI document and of `ARCHITECTURE.md`:
//!
//! | what comes | the answer |
//! |---|---|
//! | bytes that are no HTTP/1.1 request | 400, 414 or 431 without a body, or not a word; closed |
//! | a request under a name that is not the hub's | 421 `misdirected`; no name, or two: 400 `bad_host` |
//! | a page of another origin that opens a socket or changes something | 403 `foreign_origin` |
//! | a request that could be read as two | refused, or answered once and closed |
//! | a body larger than 16 KiB | 413 `too_large`; who asks first (`Expect`) is told before it is sent |
//! | a head that does not come within 15 s | closed |
//! | a body that does not come within 15 s | 408 `too_slow` |
//! | a target of more than 2048 bytes | 414 `uri_too_long` |
//! | more requests, joins or sockets than allowed | 429 `rate_limited` with `Retry-After` |
//! | a text frame that holds nothing acceptable | `error` with a code; the socket lives on |
//! | a binary frame | `error` `not_text`; the socket lives on |
//! | a frame or message larger than 4 KiB | `error` `too_large`, close 1009 |
//! | a frame that RFC 6455 forbids | close 1002; text that is no UTF-8: close 1007 |
//! | more than 100 frames in a second | `rate_limit_exceeded`, once a second; the rest is not heard |
//! | a wrong PIN | `wrong_pin`; from the fifth on `pin_locked` |
//! | joining without the room's code, or with a wrong one | `room_code`; from the 15th wrong one on `room_code_locked` |
//!
//! `COHERENCE_ROUNDS` says how often the table is run (3).

mod floods;
mod frames;
mod ground;
mod http;
mod line;
mod names;
mod people;
mod row;
#[path = "../support/mod.rs"]
mod support;
mod words;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use floods::{Flood, HELD_AT_LEAST, HELD_KINDS, Held};
use futures_util::{StreamExt, stream};
use ground::{Ground, MAX_PARTICIPANTS, ROOM_CODE};
use people::{Diary, People};
use row::Row;
use support::hub::Hub;

/// Phones of well-behaved people, and those of them that join.
const PHONES: u8 = 50;
const JOINED: u8 = 25;

/// Rows at the same time.
const AT_ONCE: usize = 12;

/// Rounds that newcomers' allowance is enough for (`guard/rates.rs`), and how long each one after them
/// must last so that it fills up again.
const ROUNDS_AT_ONCE: u8 = 3;
const ROUND_AT_LEAST: Duration = Duration::from_secs(16);

/// What the hub may grow by after the first round, KiB.
const GROWTH_KIB_MAX: i64 = 8 * 1024;

fn rows(ground: &Ground) -> Vec<Row> {
    let mut rows = words::rows(ground);
    rows.extend(frames::rows());
    rows.extend(http::rows(ground));
    rows.extend(names::rows(ground));
    rows
}

/// An address for each row.
fn address(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 2, (n / 200) as u8, (n % 200 + 1) as u8)
}

/// What the system says the hub has in memory, KiB.
fn resident_kib(hub: &Hub) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", hub.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .expect("Linux says so");
    kib.parse().expect("a number")
}

async fn all(floods: Vec<Flood<'_>>) -> Vec<String> {
    let done = floods.into_iter().map(|(name, flood)| async move {
        flood.await.err().map(|wrong| format!("{name}: {wrong}"))
    });
    futures_util::future::join_all(done)
        .await
        .into_iter()
        .flatten()
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_strangers_send_has_its_answer_and_nobody_in_the_room_notices() {
    let rounds = support::from_environment("COHERENCE_ROUNDS").map_or(3, |rounds| {
        u8::try_from(rounds).expect("at most 255 rounds")
    });
    let dir = tempfile::tempdir().expect("a directory for the test");
    let config = format!(
        "[straps]\nble = false\n[clock]\ntrust = \"always\"\n[room]\nmax_participants = {MAX_PARTICIPANTS}\n[access]\nroom_code = \"{ROOM_CODE}\"\n"
    );
    let hub = Hub::run(dir.path(), &config, None).await;
    let ground = Ground::of(&hub, dir.path()).await;
    let begin = Instant::now();
    let people = People::come(hub.address, PHONES, JOINED);
    let held = Held::hold(&ground).await;
    let mut wrong = all(floods::once(&ground)).await;
    let rows = rows(&ground);
    let kinds = rows.len()
        + HELD_KINDS
        + floods::once(&ground).len()
        + floods::together(&ground, 0).len()
        + floods::alone(&ground, 0).len();
    assert!(kinds >= 100, "only {kinds} kinds of hostile input");

    let mut resident = Vec::new();
    for round in 0..rounds {
        let round_began = Instant::now();
        let ground = &ground;
        // Addresses are used again after so many rounds.
        let from = round % 80;
        let answers = stream::iter(rows.iter().enumerate())
            .map(|(n, row)| row.run(ground, address(n)))
            .buffer_unordered(AT_ONCE);
        let answers: Vec<_> = answers.collect().await;
        wrong.extend(answers.into_iter().filter_map(Result::err));
        wrong.extend(all(floods::together(ground, from)).await);
        wrong.extend(all(floods::alone(ground, from)).await);
        resident.push(resident_kib(&hub));
        println!(
            "round {round}: {:?} since the beginning, {} KiB",
            begin.elapsed(),
            resident[resident.len() - 1]
        );
        assert!(
            wrong.is_empty(),
            "{} rows:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
        if rounds > ROUNDS_AT_ONCE {
            tokio::time::sleep(ROUND_AT_LEAST.saturating_sub(round_began.elapsed())).await;
        }
    }
    tokio::time::sleep(HELD_AT_LEAST.saturating_sub(begin.elapsed())).await;

    let now = hub.get("/api/time").await["serverTime"]
        .as_i64()
        .expect("Unix ms");
    // The next grid point, so that the last ones are looked at too.
    let diaries = tokio::task::spawn_blocking(move || people.go_at(now + 1))
        .await
        .expect("they go");
    let wrong = held.let_go().await;
    assert!(
        wrong.is_empty(),
        "{} lines:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    let health = hub.get("/health").await;
    assert_eq!(health["status"], "ok", "{health:#}\n{}", hub.log());
    println!(
        "{kinds} kinds of hostile input, {rounds} rounds in {:?}",
        begin.elapsed()
    );
    judge(&diaries, &resident);
    let log = hub.log();
    for secret in [
        &ground.token,
        ROOM_CODE,
        "DROP TABLE",
        "<script>",
        "session=admin",
    ] {
        assert!(!log.contains(secret), "the log repeats {secret:?}");
    }
    let (status, log) = hub.stop().await;
    assert!(status.success(), "{log}");
}

fn judge(diaries: &[Diary], resident: &[i64]) {
    let wrong: Vec<String> = diaries.iter().flat_map(Diary::holes).collect();
    assert!(
        wrong.is_empty(),
        "the people noticed:\n{}",
        wrong.join("\n")
    );
    let least = diaries
        .iter()
        .map(|diary| diary.grid.len())
        .min()
        .expect("there are people");
    let beats: usize = diaries.iter().map(|diary| diary.answered).sum();
    println!(
        "{} phones had at least {least} updates each, none missing; {beats} hand-ins answered",
        diaries.len()
    );
    assert!(least >= 4 && beats > 0, "{least} updates, {beats} hand-ins");
    let growth = resident[resident.len() - 1] - resident[0];
    println!("resident after each round, KiB: {resident:?}");
    assert!(
        growth <= GROWTH_KIB_MAX,
        "the hub grew by {growth} KiB: {resident:?}"
    );
}
