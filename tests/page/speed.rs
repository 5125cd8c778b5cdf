//! `tests/load page`: how long a page takes until something is seen, and how long its scripts take for a frame.
//! Figures, not verdicts: they are those of the machine, which should be calm.

use serde_json::Value;

use crate::looks::{high, stage_set};
use crate::support::browser::Browser;
use crate::support::from_environment;
use crate::support::hub::Hub;
use crate::{HAS_SCORE, join};

/// Notes what all scripts of each frame take, and when something was painted for the first time.
const WATCH: &str = "(() => {
    const real = window.requestAnimationFrame.bind(window), frames = window.frames_ = [];
    let last = 0;
    window.requestAnimationFrame = (step) => real((now) => {
        const began = performance.now();
        try { return step(now) } finally {
            if (now !== last) { last = now; frames.push(0); }
            frames[frames.length - 1] += performance.now() - began;
        }
    });
})()";

/// A browser that can't draw with the graphics chip's language.
const WITHOUT_WEBGL: &str = "(() => {
    const real = HTMLCanvasElement.prototype.getContext;
    HTMLCanvasElement.prototype.getContext = function (kind, ...more) { return /webgl/.test(kind) ? null : real.call(this, kind, ...more); };
})()";

/// When something was seen, what had come by then, and from where.
const FIRST_VIEW: &str = "(() => {
    const paint = performance.getEntriesByName('first-contentful-paint')[0];
    const loaded = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')].filter((e) => !/\\/api\\//.test(e.name));
    return {
        paintMs: paint ? Math.round(paint.startTime) : null,
        wholeMs: Math.round(performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd),
        requests: loaded.length, kb: Math.round(loaded.reduce((all, e) => all + e.transferSize, 0) / 1024),
    };
})()";

async fn first_view(name: &str, url: &str, width: u32, height: u32, slower: u32) {
    let mut seen: Vec<Value> = Vec::new();
    for _ in 0..5 {
        let mut page = Browser::blank("en", width, height).await;
        page.slow_down(slower).await;
        page.go(url).await;
        page.wait_until("performance.getEntriesByName('first-contentful-paint').length && performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
            .await;
        seen.push(page.ask(FIRST_VIEW).await);
    }
    seen.sort_by_key(|view| view["paintMs"].as_i64());
    println!(
        "{name}, {slower}-fold slower: {} (median of five; all {:?})",
        seen[2],
        seen.iter().map(|view| &view["paintMs"]).collect::<Vec<_>>()
    );
}

async fn frames(name: &str, page: &mut Browser, picture: &str, seconds: u64) {
    page.wait_until(&format!("{picture} && {picture}.stats.frames > 10"))
        .await;
    page.ask("frames_.length = 0; true").await;
    tokio::time::sleep(std::time::Duration::from_secs(seconds)).await; // what is measured is this time
    let told = page
        .ask(&format!(
            "(() => {{
                const all = [...frames_].sort((a, b) => a - b), at = (share) => all[Math.floor((all.length - 1) * share)].toFixed(2);
                return `${{{picture}.stats.renderer}}, ${{all.length}} frames: script ms median ${{at(0.5)}}, 95th percentile ${{at(0.95)}}, 99th ${{at(0.99)}}, most ${{at(1)}}`;
            }})()"
        ))
        .await;
    println!(
        "{name}: {} in {seconds} s",
        told.as_str().unwrap_or("nothing was drawn")
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "figures of a calm machine and the release build: tests/load page"]
async fn load_of_the_pages() {
    let seconds = from_environment("COHERENCE_SECONDS").unwrap_or(30);
    let dir = tempfile::tempdir().expect("a directory for the test");
    let hub = Hub::demo(dir.path(), &["--people", "30", "--session-min", "60"]).await;
    for slower in [1, 4] {
        first_view("phone", &hub.url("/"), 390, 844, slower).await;
        first_view("wall", &hub.url("/wall"), 1920, 1080, slower).await;
    }
    let mut wall = Browser::blank("en", 1920, 1080).await;
    wall.prepare(WATCH).await;
    wall.go(&hub.url("/wall")).await;
    frames(
        "wall of the demo",
        &mut wall,
        "room.figure.picture",
        seconds,
    )
    .await;
    // The fullest figure there is.
    wall.prepare(&stage_set(&high())).await;
    wall.go(&hub.url("/wall")).await;
    frames("wall, high", &mut wall, "room.figure.picture", seconds).await;
    wall.prepare(WITHOUT_WEBGL).await;
    wall.go(&hub.url("/wall")).await;
    frames("wall, high", &mut wall, "room.figure.picture", seconds).await;
    drop(wall);
    for slower in [1, 4] {
        let mut phone = Browser::blank("en", 390, 844).await;
        phone.prepare(WATCH).await;
        phone.slow_down(slower).await;
        phone.go(&hub.url("/")).await;
        join(&mut phone, true).await;
        phone.wait_until(HAS_SCORE).await;
        let name = format!("phone, {slower}-fold slower");
        frames(&name, &mut phone, "room.live.figure.picture", seconds).await;
    }
}
