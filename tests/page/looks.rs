//! How the pages look, at the sizes and in the moments that matter: pictures to be looked at (in
//! `target/pictures`), nothing that sticks out, no fault that axe-core finds, and a light first view.
//! Where a moment must be exact, the hub's frames are written here: a picture of 76 points needs 76 points.

use serde_json::{Value, json};

use crate::support::browser::Browser;
use crate::support::hub::Hub;
use crate::support::root;
use crate::{HAS_SCORE, enter_pin, join, picture};

/// The program that judges pages; `tests/run` puts it there.
fn axe() -> String {
    let path = root().join("target/axe/node_modules/axe-core/axe.min.js");
    std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!(
            "axe-core is not in {} ({error}): tests/run installs it",
            path.display()
        )
    })
}

/// What axe-core finds wrong with what is shown, as `rule: element` lines.
async fn violations(page: &mut Browser) -> Vec<String> {
    if page.ask("typeof axe").await == "undefined" {
        page.ask(&format!("{}; true", axe())).await;
    }
    let found = page
        .ask(
            "axe.run(document, { resultTypes: ['violations'] }).then(result => result.violations.flatMap(v => v.nodes.map(n => v.id + ': ' + n.html.slice(0, 160) + ' ' + (n.any[0] ? n.any[0].message : ''))))",
        )
        .await;
    let found = found.as_array().expect("a list").iter();
    found
        .map(|line| line.as_str().expect("text").to_owned())
        .collect()
}

/// Judges a page as it stands.
async fn judge(page: &mut Browser, name: &str) {
    let wide = page
        .ask("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        .await;
    assert_eq!(wide, 0, "{name}: nothing sticks out");
    assert_eq!(violations(page).await, Vec::<String>::new(), "{name}");
    page.picture(&picture(&format!("{name}.png"))).await;
}

/// Buttons, links and fields that a finger must hit: at least 44 CSS pixels each way, unless they stand in a text.
const SMALL_TARGETS: &str = "[...document.querySelectorAll('button, a[href], select, input:not([type=radio]):not([type=checkbox]), label.strap, .chips label, label.choice, label.switch')].filter(e => e.offsetParent !== null && !e.classList.contains('only-read')).map(e => [e.id || e.textContent.trim().slice(0, 20), e.getBoundingClientRect()]).filter(([, r]) => r.height < 43.5 || r.width < 43.5).map(([n, r]) => n + ' ' + r.width.toFixed(0) + 'x' + r.height.toFixed(0))";

/// A hub in the page: answers a clock and says what `frames` says.
pub fn stage_set(frames: &Value) -> String {
    format!(
        "(() => {{
        const frames = {frames};
        class Line {{
            static get OPEN() {{ return 1; }}
            constructor() {{ this.readyState = 0; setTimeout(() => {{ this.readyState = 1; this.onopen && this.onopen(); for (const frame of frames) this.say(frame); }}, 20);
                setInterval(() => {{ for (const frame of frames) if (frame.type === 'group_metrics_update' || frame.type === 'personal_feedback') this.say({{ ...frame, at: Date.now() }}); }}, 4000); }}
            say(frame) {{ this.onmessage && this.onmessage({{ data: JSON.stringify(frame) }}); }}
            send(text) {{ const f = JSON.parse(text), now = Date.now();
                if (f.type === 'sync_request') this.say({{ type: 'sync_response', clientTime: f.clientTime, receivedAt: now, sentAt: now, re: f.id }}); }}
            close() {{}}
        }}
        window.WebSocket = Line;
        }})()"
    )
}

/// The frames of a moment: share of the session gone, phase, people and figures.
fn moment(share: f64, phase: &str, group: Value, message: &str) -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("after 1970").as_millis() as i64;
    let starts = now - (900_000.0 * share) as i64;
    let phase_ends = match phase {
        "preparation" => starts + 30_000,
        "active" => starts + 780_000,
        _ => starts + 900_000,
    };
    let (people, scored) = (group["participants"].clone(), group["scored"].clone());
    let session = json!({"id": "20261120T0945Z", "startsAt": starts, "endsAt": starts + 900_000, "phase": phase, "phaseEndsAt": phase_ends, "participants": people, "scored": scored});
    let mut update = json!({"type": "group_metrics_update", "sessionId": "20261120T0945Z", "at": now, "average": null, "standardError": null, "peak": null, "distribution": null, "synchrony": null});
    for (key, value) in group.as_object().expect("an object") {
        update[key] = value.clone();
    }
    json!([
        {"type": "session_state", "session": session},
        update,
        {"type": "snapshot", "sessionId": "20261120T0945Z", "anchor": {"state": "playing", "positionMs": 0, "rate": 1.0, "at": now - 3_300, "version": 1}, "tempo": 6.0, "turnMs": 10000, "message": message, "scene": "stage"},
    ])
}

/// The group's figures of a moment: average, how many hearts are at which level, synchrony.
fn figures(average: i64, low: i64, medium: i64, high: i64, index: f64) -> Value {
    json!({"average": average, "standardError": 2, "peak": average + 4, "distribution": {"low": low, "medium": medium, "high": high}, "participants": 18, "scored": low + medium + high, "synchrony": {"index": index, "chanceHigh": 16.4}})
}

/// As long as a facilitator's message may be.
const LONGEST_MESSAGE: &str = "Please take the seat whose number is on your strap, put your phone on silent, and let your shoulders come down before we begin together.";

/// A room in high coherence: the fullest figure there is.
pub fn high() -> Value {
    let message = "Stay with this. Listen to the quiet between two breaths.";
    moment(0.79, "active", figures(76, 1, 3, 13, 61.0), message)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wall_is_fit_to_be_shown_in_every_moment() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let config = "[straps]\nble = false\n[wall]\naddress = \"http://10.42.0.1:8080/\"\nwifi_name = \"Coherence Room\"\nwifi_password = \"breathe together\"\n";
    let hub = Hub::run(dir.path(), config, None).await;
    // The browser first: it may have to wait for its seat, and a moment does not.
    let mut page = Browser::blank("en", 1920, 1080).await;
    let moments = [
        (
            "wall-low",
            moment(
                0.12,
                "active",
                figures(33, 11, 4, 1, 11.0),
                "Let the breath come as it comes. Nothing needs to be done yet.",
            ),
        ),
        (
            "wall-medium",
            moment(
                0.48,
                "active",
                figures(52, 4, 7, 5, 34.0),
                "Follow the light as it turns: in on the way up, out on the way down.",
            ),
        ),
        ("wall-high", high()),
        (
            "wall-resting",
            moment(0.94, "integration", figures(71, 2, 4, 11, 52.0), ""),
        ),
        (
            "wall-arriving",
            moment(
                0.01,
                "preparation",
                json!({"participants": 6, "scored": 0, "suppressed": "too_few"}),
                "Let the breath come as it comes. Nothing needs to be done yet.",
            ),
        ),
        (
            "wall-few",
            moment(
                0.2,
                "active",
                json!({"participants": 2, "scored": 2, "suppressed": "too_few"}),
                LONGEST_MESSAGE,
            ),
        ),
        (
            "wall-empty",
            moment(
                0.7,
                "active",
                json!({"participants": 0, "scored": 0, "suppressed": "too_few"}),
                "Welcome. We begin at nine.",
            ),
        ),
    ];
    for (name, frames) in moments {
        page.prepare(&stage_set(&frames)).await; // the newest set stands
        page.go(&hub.url("/wall")).await;
        page.wait_until("/^\\d+:\\d\\d$/.test(document.getElementById('left').textContent)")
            .await;
        page.wait_until("[...document.images].every(i => i.hidden || i.offsetParent === null || i.complete && i.naturalWidth > 0)").await;
        page.wait_until("room.figure.picture && room.figure.picture.stats.frames > 3")
            .await;
        judge(&mut page, name).await;
        // Readable from ten metres: nothing under 34 px at 1920 pixels.
        let small = page
            .ask("[...document.querySelectorAll('#main *')].filter(e => e.offsetParent !== null && [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())).filter(e => parseFloat(getComputedStyle(e).fontSize) < 33.5).map(e => e.id || e.className || e.tagName)")
            .await;
        assert_eq!(small, json!([]), "{name}");
        let apart = page
            .ask("['left', 'right'].every(side => document.querySelector(`.${side}.top`).getBoundingClientRect().bottom <= document.querySelector(`.${side}.bottom`).getBoundingClientRect().top)")
            .await;
        assert_eq!(apart, true, "{name}: nothing lies over anything");
        let message = &frames[2]["message"];
        assert_eq!(&json!(page.text("#message").await), message, "{name}");
        // No number stands where there may be none.
        if ["wall-few", "wall-empty", "wall-arriving"].contains(&name) {
            assert_eq!(
                page.ask("document.getElementById('value').hidden").await,
                true,
                "{name}"
            );
        }
    }
    assert_eq!(page.complaints, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_phone_is_fit_to_be_shown_to_everybody_and_usable_by_everybody() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let hub = Hub::demo(dir.path(), &["--people", "24", "--session-min", "60"]).await;
    let mut page = Browser::open(&hub.url("/"), 390, 844).await;
    page.prefer("light", false).await;
    page.wait_until("document.querySelectorAll('#straps label').length > 9")
        .await;
    page.wait_until(
        "/left in this session/.test(document.getElementById('join-people').textContent)",
    )
    .await;
    judge(&mut page, "phone-join-light").await;
    page.prefer("dark", false).await;
    judge(&mut page, "phone-join").await;
    assert_eq!(page.ask(SMALL_TARGETS).await, json!([]), "join");

    // What it took to get here: the first view, and what came over the line for it.
    let weight = page
        .ask("Math.round((performance.getEntriesByType('navigation')[0].transferSize + performance.getEntriesByType('resource').filter(r => !/\\/api\\//.test(r.name)).reduce((all, r) => all + r.transferSize, 0)) / 1024)")
        .await;
    let weight = weight.as_i64().expect("a number");
    println!("the phone's first view weighs {weight} KB");
    assert!(weight < 150, "{weight} KB");

    page.click("#consent-more").await;
    page.wait_until("!document.getElementById('read').hidden")
        .await;
    judge(&mut page, "phone-consent").await;
    page.click("#read-back").await;
    join(&mut page, true).await;
    page.wait_until(HAS_SCORE).await;
    page.wait_until("document.querySelector('#curve .now')")
        .await;
    for (name, width, height, scheme) in [
        ("phone-session", 390, 844, "dark"),
        ("phone-session-light", 390, 844, "light"),
        ("phone-session-landscape", 844, 390, "dark"),
        ("phone-session-tablet", 768, 1024, "dark"),
        ("phone-session-narrow", 320, 640, "dark"),
    ] {
        page.resize(width, height).await;
        page.prefer(scheme, false).await;
        page.wait_until("room.live.figure.picture && room.live.figure.picture.stats.frames > 3")
            .await;
        judge(&mut page, name).await;
        assert_eq!(page.ask(SMALL_TARGETS).await, json!([]), "{name}");
    }
    page.resize(390, 844).await;
    let tall = page.ask("document.documentElement.scrollHeight").await;
    println!("the session takes {tall} of 844 px");
    page.click("#more").await;
    judge(&mut page, "phone-menu").await;
    assert_eq!(page.ask(SMALL_TARGETS).await, json!([]), "menu");
    page.click("#menu-choose").await;
    page.wait_until("document.querySelectorAll('#other-straps label').length > 3")
        .await;
    judge(&mut page, "phone-straps").await;
    assert_eq!(page.complaints, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_desk_is_fit_to_be_used_on_a_laptop_and_on_a_phone() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let hub = Hub::demo(dir.path(), &["--people", "24", "--session-min", "60"]).await;
    let mut page = Browser::open(&hub.url("/lead"), 1024, 768).await;
    page.prefer("dark", false).await;
    page.wait_until("!document.getElementById('gate').hidden")
        .await;
    judge(&mut page, "lead-pin").await;
    enter_pin(&mut page, &hub.pin()).await;
    page.wait_until("document.querySelectorAll('#well li').length > 9")
        .await;
    for (name, width, height, scheme) in [
        ("lead", 1024, 768, "dark"),
        ("lead-light", 1024, 768, "light"),
        ("lead-phone", 390, 844, "dark"),
    ] {
        page.resize(width, height).await;
        page.prefer(scheme, false).await;
        judge(&mut page, name).await;
        assert_eq!(page.ask(SMALL_TARGETS).await, json!([]), "{name}");
    }
    assert_eq!(page.complaints, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_hears_nothing_says_so_to_who_leads_and_to_who_comes() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let hub = Hub::run(dir.path(), "", None).await;
    let mut page = Browser::open(&hub.url("/"), 390, 844).await;
    page.wait_until("!document.getElementById('straps-none').hidden")
        .await;
    page.click("#join-go").await;
    page.wait_until("/without a strap/.test(document.getElementById('reason').textContent)")
        .await;
    judge(&mut page, "phone-alone").await;
    page.go(&hub.url("/lead")).await;
    page.wait_until("!document.getElementById('gate').hidden")
        .await;
    enter_pin(&mut page, &hub.pin()).await;
    page.wait_until("document.getElementById('sources').textContent.includes('D-Bus')")
        .await;
    judge(&mut page, "lead-no-radio").await;
}
