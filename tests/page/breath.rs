//! Whether all breathe at once: two pages behind a slow line, beside each other and beside the hub.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::browser::Browser;
use crate::support::hub::Hub;
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

#[tokio::test(flavor = "multi_thread")]
async fn two_pages_behind_a_slow_line_breathe_within_20_ms_of_each_other_and_of_the_hub() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let hub = Hub::demo(dir.path(), &["--people", "8"]).await;
    let wire = Wire::to(hub.address, 5..30).await;
    let mut phone = Browser::open(&wire.url("/"), 390, 844).await;
    let mut wall = Browser::open(&wire.url("/wall"), 960, 540).await;
    for page in [&mut phone, &mut wall] {
        page.wait_until("room.clock.exchanges >= 16").await;
    }
    let (mut worst, mut apart) = (0.0_f64, 0.0_f64);
    for _ in 0..5 {
        let truth = hub_offset_ms(&hub).await;
        let (of_phone, of_wall) = (
            page_offset_ms(&mut phone).await,
            page_offset_ms(&mut wall).await,
        );
        worst = worst
            .max((of_phone - truth).abs())
            .max((of_wall - truth).abs());
        apart = apart.max((of_phone - of_wall).abs());
        tokio::time::sleep(Duration::from_millis(500)).await; // another moment of the same clocks
    }
    println!("furthest from the hub {worst:.1} ms, from each other {apart:.1} ms");
    assert!(worst <= 20.0, "{worst} ms from the hub");
    assert!(apart <= 20.0, "{apart} ms from each other");
    // And what they draw is computed from that clock and the same anchor.
    let breath = "JSON.stringify([room.room.stage.anchor, room.room.stage.tempo])";
    phone.wait_until("room.room.stage !== null").await;
    wall.wait_until("room.room.stage !== null").await;
    assert_eq!(phone.ask(breath).await, wall.ask(breath).await);
}
