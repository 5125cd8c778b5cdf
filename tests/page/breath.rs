//! Whether all breathe at once: the two modules that pages draw the breath from, and two pages behind a slow
//! line, beside each other and beside the hub.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::support::browser::{Browser, alone_with};
use crate::support::hub::{HEARS_NOTHING, Hub};
use crate::support::wire::Wire;

/// The hub's clock minus this machine's, ms, from the quickest of several exchanges.
async fn hub_offset_ms(hub: &Hub) -> f64 {
    let now_ms = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.expect("after 1970").as_secs_f64() * 1000.0
    };
    let (mut quickest, mut offset) = (f64::MAX, 0.0);
    for _ in 0..30 {
        let sent = now_ms();
        let answer = hub.get("/api/time").await;
        let back = now_ms();
        let server = answer["serverTime"].as_f64().expect("a number");
        if back - sent < quickest {
            (quickest, offset) = (back - sent, server - (sent + back) / 2.0);
        }
    }
    // serverTime is cut to whole milliseconds.
    offset + 0.5
}

/// The page's idea of the hub's clock minus this machine's clock, ms.
async fn page_offset_ms(page: &mut Browser) -> f64 {
    let asked = page
        .ask("room.clock.now() - (performance.timeOrigin + performance.now())")
        .await;
    asked.as_f64().expect("the page knows the hub's time")
}

/// How far two pages' clocks are, at most, in some moments of a few seconds, ms.
#[derive(Debug, Default)]
struct Far {
    from_the_hub: f64,
    from_each_other: f64,
}

impl Far {
    async fn measured(hub: &Hub, phone: &mut Browser, wall: &mut Browser) -> Far {
        let mut far = Far::default();
        for _ in 0..5 {
            let truth = hub_offset_ms(hub).await;
            let (of_phone, of_wall) = (page_offset_ms(phone).await, page_offset_ms(wall).await);
            let from_the_hub = (of_phone - truth).abs().max((of_wall - truth).abs());
            far.from_the_hub = far.from_the_hub.max(from_the_hub);
            far.from_each_other = far.from_each_other.max((of_phone - of_wall).abs());
            tokio::time::sleep(Duration::from_millis(500)).await; // another moment of the same clocks
        }
        far
    }

    fn is_near(&self) -> bool {
        self.from_the_hub <= 20.0 && self.from_each_other <= 20.0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pages_behind_a_slow_line_breathe_within_20_ms_of_each_other_and_of_the_hub() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let hub = Hub::demo(dir.path(), &["--people", "8", "--session-min", "60"]).await;
    let wire = Wire::to(hub.address, 5..30).await;
    let _alone = alone_with(2).await;
    // Figures that stand still: drawn without a graphics chip, moving ones leave a page no time to look at its clock.
    let mut phone = Browser::blank("en", 390, 844).await;
    phone.prefer("dark", true).await;
    phone.go(&wire.url("/")).await;
    let mut wall = Browser::blank("en", 960, 540).await;
    wall.prefer("dark", true).await;
    wall.go(&wire.url("/wall")).await;
    let whole = "room.clock.known && !room.clock.due && !room.clock.doubtful && !room.clock.young";
    let mut found: Vec<Far> = Vec::new();
    loop {
        for page in [&mut phone, &mut wall] {
            page.wait_until(whole).await; // a round of sixteen
        }
        found.push(Far::measured(&hub, &mut phone, &mut wall).await);
        if found.len() == 4 || found.last().is_some_and(Far::is_near) {
            break;
        }
        // A machine that is busy elsewhere made a way long for a whole round: the pages ask again at once,
        // as they do by themselves every other minute.
        for page in [&mut phone, &mut wall] {
            page.ask("room.clock.doubt()").await;
        }
    }
    println!("{found:?}");
    assert!(found.last().is_some_and(Far::is_near), "{found:?}");
    // And what they draw is computed from that clock and the same anchor.
    let breath = "JSON.stringify([room.room.stage.anchor, room.room.stage.tempo])";
    phone.wait_until("room.room.stage !== null").await;
    wall.wait_until("room.room.stage !== null").await;
    assert_eq!(phone.ask(breath).await, wall.ask(breath).await);
}

/// A page of a hub, with a function of our own in it.
async fn page(url: &str) -> Browser {
    let mut page = Browser::open(url, 390, 844).await;
    page.wait_until("document.readyState === 'complete'").await;
    page
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hubs_time_is_found_by_the_quickest_ways_and_kept_until_it_is_known_better() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let hub = Hub::run(dir.path(), HEARS_NOTHING, None).await;
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
    let hub = Hub::run(dir.path(), HEARS_NOTHING, None).await;
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
