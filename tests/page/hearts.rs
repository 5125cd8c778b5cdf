//! "This is my heart": somebody who does not know which strap is theirs finds it by their pulse.

use crate::support::browser::Browser;
use crate::support::hub::Hub;
use crate::{HAS_SCORE, join};

/// Somebody feels the pulse of who wears a strap and touches the page with each beat: a fifth of a second
/// behind it, with an unsteady hand. The page learns of a beat later than a hand, so each touch is dated back.
const TAP_ALONG: &str = "(label) => new Promise((done) => {
    const pulse = new WebSocket(`ws://${location.host}/ws`), tapper = document.getElementById('tapper');
    let k = 0;
    pulse.onopen = () => pulse.send(JSON.stringify({ type: 'join_session', strap: label }));
    pulse.onmessage = ({ data }) => {
        const frame = JSON.parse(data);
        if (frame.type !== 'beat') return;
        const at = frame.at + 180 + (k++ * 7919) % 61, touch = new PointerEvent('pointerdown', { bubbles: true, cancelable: true });
        Object.defineProperty(touch, 'timeStamp', { value: performance.now() - (room.clock.now() - at) });
        tapper.dispatchEvent(touch);
        if (!document.getElementById('claim-yes').hidden || k === 60) { pulse.close(); done(k); }
    };
})";

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_know_their_strap_taps_along_with_their_pulse_and_wears_it() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let people = ["--people", "8", "--seed", "5", "--session-min", "1440"];
    let hub = Hub::demo(dir.path(), &people).await;
    let mut page = Browser::open(&hub.url("/"), 390, 844).await;
    join(&mut page, false).await;
    page.wait_until("room.clock.known && !room.clock.young")
        .await;
    page.click("#choose").await;
    page.click("#strap-find").await;
    page.wait_until("!document.getElementById('claim').hidden")
        .await;
    let touches = page.ask(&format!("({TAP_ALONG})('strap 3')")).await;
    let touches = touches.as_u64().expect("how often it was touched");
    assert!(
        (8..60).contains(&touches),
        "{touches}: nothing was proposed"
    );
    assert_eq!(page.text("#claim-yes").await, "Strap 3 is my heart");
    assert!(page.text("#found").await.contains("Strap 3"));
    page.click("#claim-yes").await;
    page.wait_until("document.getElementById('my-strap').textContent.startsWith('Strap 3')")
        .await;
    page.wait_until(HAS_SCORE).await;
    assert_eq!(page.complaints, Vec::<String>::new());
}
