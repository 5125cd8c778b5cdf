//! The pages, live, in a real Chromium: what phones, the wall and the facilitator see and do. `journeys`,
//! `hearts` and `places` walk the ways that people go, `looks` takes pictures and has them judged for everybody's eyes and
//! hands, `breath` measures whether all breathe at once, `pieces` tries the pages' pure parts, `lint` reads their
//! sources; `speed` is a load run.

#[path = "../support/mod.rs"]
mod support;

mod breath;
mod hearts;
mod journeys;
mod lint;
mod looks;
mod pieces;
mod places;
mod speed;

use std::path::PathBuf;

use support::browser::Browser;

/// Where pictures go, to be looked at.
fn picture(name: &str) -> PathBuf {
    support::root().join("target/pictures").join(name)
}

/// Joins on an open phone page; with the first strap that is heard, or without one.
async fn join(page: &mut Browser, with_strap: bool) {
    let choice = if with_strap {
        "#straps label.strap:not(.silent) input"
    } else {
        "#strap-none"
    };
    page.wait_until(&format!("document.querySelector('{choice}')"))
        .await;
    page.ask(&format!("document.querySelector('{choice}').click()"))
        .await;
    page.click("#join-go").await;
    page.wait_until("!document.getElementById('live').hidden")
        .await;
}

/// Enters a PIN at the desk.
async fn enter_pin(page: &mut Browser, pin: &str) {
    let pin = serde_json::json!(pin);
    page.ask(&format!("(document.getElementById('pin').value = {pin}, document.getElementById('pin-form').requestSubmit())"))
        .await;
}

const HAS_SCORE: &str = "!document.getElementById('have').hidden && /^\\d+$/.test(document.getElementById('score').textContent)";
