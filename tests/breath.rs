//! The hub's time and the breath in real pages: the two modules they are drawn from, alone and together over
//! a line that is slow and uneven.

mod support;

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use support::browser::Browser;
use support::hub::Hub;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Of a hub that hears nothing and begins a session at midnight only.
const QUIET: &str =
    "[straps]\nble = false\n[clock]\ntrust = \"always\"\n[session]\nlength_min = 1440\n";

/// A page of a hub, with a function of our own in it.
async fn page(url: &str) -> Browser {
    let mut page = Browser::open(url, 390, 844).await;
    page.wait_until("document.readyState === 'complete'").await;
    page
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hubs_time_is_found_by_the_quickest_ways_and_kept_until_it_is_known_better() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let hub = Hub::run(dir.path(), QUIET, None).await;
    let mut page = page(&hub.url("/")).await;
    let found = page
        .ask(
            r#"(async () => {
            const { HubClock, ROUND, exchange, best } = await import('/clock.js');
            let now = 0;
            const clock = new HubClock(() => now), seen = { round: ROUND, before: clock.now() };
            // The hub is 1,000,000 ms ahead; each way takes its own time.
            const meet = (up, down, offset = 1e6) => { const sent = now, there = sent + up + offset; now += up + down; clock.learn(sent, there, there, now); now += 200; };
            const error = (offset = 1e6) => clock.now() - now - offset;
            meet(100, 20); seen.first = error();
            meet(4, 60); seen.second = error();
            for (let n = 2; n < ROUND; n++) meet(50 + n, 50);
            seen.whole = error();
            clock.begin(); meet(10, 400); seen.kept = error();
            for (let n = 1; n < ROUND; n++) meet(9, 9);
            seen.renewed = error();
            // Set by an hour: no travel explains that, so it counts at once and more are asked for.
            meet(10, 10, 4.6e6); seen.set = error(4.6e6); seen.due = clock.due;
            seen.slow = exchange(0, 9000, 9000, 9001); seen.liar = exchange(0, 0, 50, 40);
            seen.fine = best([exchange(0, 100, 101, 0.5)]);
            return seen;
        })()"#,
        )
        .await;
    let expected = json!({
        "round": 16, "before": null, "first": 40.0, "second": -8.0, "whole": -8.0, "kept": -8.0,
        "renewed": 0.0, "set": 0.0, "due": true, "slow": null, "liar": null,
        "fine": {"offset": 100.25, "travel": 0.0, "at": 0.5},
    });
    for (what, value) in expected.as_object().expect("an object") {
        let same = match (value.as_f64(), found[what].as_f64()) {
            (Some(wanted), Some(found)) => (wanted - found).abs() < 1e-6,
            _ => what == "fine" || *value == found[what],
        };
        assert!(same, "{what}: {found:#}");
    }
    assert_eq!(found["fine"]["travel"], 0, "{found:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_breath_follows_from_the_anchor_alone() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let hub = Hub::run(dir.path(), QUIET, None).await;
    let mut page = page(&hub.url("/")).await;
    let found = page
        .ask(
            r#"(async () => {
            const { IN, TURN_MS, positionAt, turnsAt, breathAt } = await import('/pacer.js');
            const playing = { state: 'playing', positionMs: 5000, rate: 0.8, at: 100_000, version: 1 };
            const around = (at) => { const a = breathAt(at - 0.5), b = breathAt(at + 0.5); return Math.abs(a.fill - b.fill); };
            let jump = 0;
            for (let at = -20_000; at < 40_000; at += 1) jump = Math.max(jump, around(at));
            return {
                playing: positionAt(playing, 110_000), before: positionAt(playing, 99_000),
                paused: positionAt({ ...playing, state: 'paused' }, 110_000),
                turns: turnsAt({ anchor: playing, turnMs: 1000 }, 110_000),
                begin: breathAt(0), top: breathAt(IN * TURN_MS).fill, topTurn: breathAt(IN * TURN_MS).turn,
                into: breathAt(1000).into, out: breathAt(7000).into, next: breathAt(TURN_MS).fill, jump,
            };
        })()"#,
        )
        .await;
    assert_eq!(
        (&found["playing"], &found["before"], &found["paused"]),
        (&json!(13_000), &json!(4_200), &json!(5_000))
    );
    assert_eq!(found["turns"], 13);
    assert_eq!(found["begin"], json!({"turn": 0, "fill": 0, "into": true}));
    assert_eq!(found["top"], 1);
    let top_turn = found["topTurn"].as_f64().expect("a number");
    assert!((top_turn - 0.5).abs() < 1e-9, "{top_turn}");
    assert_eq!(
        (&found["into"], &found["out"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(found["next"], 0);
    assert!(
        found["jump"].as_f64() < Some(0.001),
        "it never jumps: {found:#}"
    );
}

/// A line to the hub that holds up what passes for 5 to 30 ms, each way by its own lot.
async fn uneven_line(hub: SocketAddr, seed: u64) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let mut seed = seed;
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = TcpStream::connect(hub).await else {
                continue;
            };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            seed += 2;
            tokio::spawn(pass_on(near_in, far_out, seed));
            tokio::spawn(pass_on(far_in, near_out, seed + 1));
        }
    });
    address
}

async fn pass_on(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut lot: u64) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        // A linear congruence (Knuth's MMIX): uneven is all it has to be.
        lot = lot
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        tokio::time::sleep(Duration::from_millis(5 + (lot >> 33) % 26)).await;
        if to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}

/// Hub time minus this machine's, ms.
async fn ahead(hub: &Hub) -> f64 {
    let now = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.expect("after 1970").as_secs_f64() * 1_000.0
    };
    let mut ways = Vec::new();
    for _ in 0..10 {
        let sent = now();
        let time = hub.get("/api/time").await["serverTime"].as_f64();
        let back = now();
        let time = time.expect("Unix ms") + 0.5;
        ways.push((back - sent, time - (sent + back) / 2.0));
    }
    let quickest = ways.into_iter().min_by(|a, b| a.0.total_cmp(&b.0));
    quickest.expect("ten").1
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pages_on_uneven_lines_breathe_together_and_with_the_hub() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let hub = Hub::run(dir.path(), QUIET, None).await;
    let mut pages = Vec::new();
    for seed in [1, 1_000] {
        let line = uneven_line(hub.address, seed).await;
        let mut page = page(&format!("http://{line}/")).await;
        page.ask(
            r#"(async () => {
            const { Link } = await import('/link.js');
            Object.assign(window, await import('/clock.js'), await import('/pacer.js'));
            new Link(`ws://${location.host}/ws`, hubClock, (frame) => { if (frame.type === 'snapshot') window.stage = frame; }, () => {});
        })()"#,
        )
        .await;
        pages.push(page);
    }
    let mut found = Vec::new();
    for page in &mut pages {
        page.wait_until("window.stage && hubClock.known && !hubClock.young")
            .await;
        let seen = page
            .ask("(() => { const here = Date.now() + 0.5, now = hubNow(); return { ahead: now - here, position: positionAt(stage.anchor, now) - here }; })()")
            .await;
        found.push(seen);
    }
    let ms = |seen: &Value, what: &str| seen[what].as_f64().expect("a number");
    let hub_ahead = ahead(&hub).await;
    for seen in &found {
        let off = ms(seen, "ahead") - hub_ahead;
        assert!(off.abs() < 20.0, "{off} ms from the hub: {found:?}");
    }
    let apart = ms(&found[0], "position") - ms(&found[1], "position");
    assert!(apart.abs() < 20.0, "{apart} ms apart: {found:?}");
    println!(
        "two pages are {apart:.1} ms apart, {:.1} and {:.1} ms from the hub",
        ms(&found[0], "ahead") - hub_ahead,
        ms(&found[1], "ahead") - hub_ahead
    );
}
