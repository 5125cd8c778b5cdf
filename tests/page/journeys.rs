//! The ways that people go through the pages.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::browser::Browser;
use crate::support::hub::{Hub, PROGRAM, quiet};
use crate::support::wait_until;
use crate::support::wire::Wire;
use crate::{HAS_SCORE, enter_pin, join, picture};

/// A demo whose session does not end under the test's hands, unless `more` says otherwise.
async fn demo(more: &[&str]) -> (TempDir, Hub) {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let more = match more.contains(&"--session-min") {
        true => more.to_vec(),
        false => [more, &["--session-min", "1440"]].concat(),
    };
    let hub = Hub::demo(dir.path(), &more).await;
    (dir, hub)
}

/// The one file in a directory, once it is whole.
async fn saved(directory: &Path, ending: &str) -> String {
    let mut found = None;
    wait_until("the file is saved", || {
        found = std::fs::read_dir(directory)
            .expect("the test's own directory")
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|name| name == ending))
            .and_then(|path| std::fs::read_to_string(path).ok())
            .filter(|text| !text.is_empty());
        found.is_some()
    })
    .await;
    found.expect("it was waited for")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_joins_with_a_strap_sees_their_heart_and_the_end_takes_their_data_and_is_erased() {
    // The browser first: it may have to wait for its seat, and a session does not.
    let mut page = Browser::blank("en", 390, 844).await;
    let (_dir, hub) = demo(&["--people", "8", "--session-min", "2"]).await;
    let saves = tempfile::tempdir().expect("a directory for the test");
    page.go(&hub.url("/")).await;
    page.downloads_to(saves.path()).await;
    // One that the stick hears: those have nothing the matter in the demo, whatever the moment.
    let well = |strap: &&Value| strap["transport"] == "ant" && strap["reason"].is_null();
    let find = |straps: &Value| {
        straps["straps"]
            .as_array()
            .and_then(|all| all.iter().find(well).cloned())
    };
    let straps = hub
        .until("/api/straps", "a strap that is well", |straps| {
            find(straps).is_some()
        })
        .await;
    let label = find(&straps).expect("just seen")["label"].clone();
    let choice = format!("document.querySelector('#straps input[value={label}]')");
    page.wait_until(&choice).await;
    page.ask(&format!("{choice}.click()")).await;
    page.click("#join-go").await;
    page.wait_until("!document.getElementById('live').hidden")
        .await;
    page.wait_until(HAS_SCORE).await;
    // A number inside its error bar, with its word; and one's own strap by its label.
    assert!(page.text("#give").await.contains("give or take"));
    let word = page.text("#word").await;
    assert!(
        ["Wandering", "Gathering", "In rhythm"].contains(&word.as_str()),
        "{word}"
    );
    assert!(page.text("#my-strap").await.starts_with("Strap "));
    page.wait_until("/beats a minute/.test(document.getElementById('rate').textContent)")
        .await;
    page.wait_until("document.getElementById('beat').classList.contains('now')")
        .await;
    page.wait_until("document.querySelector('#curve .me')")
        .await;
    let active = page.ask("document.activeElement.id").await;
    assert_eq!(active, "phase", "after joining the focus is at the phase");

    // The session ends, and is told.
    page.wait_until("!document.getElementById('summary').hidden")
        .await;
    page.wait_until("document.querySelector('#end-curve .them')")
        .await;
    assert_eq!(
        page.ask("document.querySelectorAll('#times li').length")
            .await,
        4
    );

    page.click("#end-data .pair .button:nth-child(1)").await;
    let csv = saved(saves.path(), "csv").await;
    let (head, first) = csv.split_once("\r\n").expect("lines");
    assert!(
        head.starts_with("sessionId,at,strap,score,standardError,level"),
        "{head}"
    );
    assert!(first.contains("Z,strap "), "{first}");
    page.click("#end-data .pair .button:nth-child(2)").await;
    let data: Value = serde_json::from_str(&saved(saves.path(), "json").await).expect("JSON");
    assert!(
        data["scores"]
            .as_array()
            .is_some_and(|scores| !scores.is_empty())
    );
    let id = data["participantId"].as_str().expect("an id").to_owned();

    page.ask("[...document.querySelectorAll('#end-data .danger')][0].click()")
        .await;
    page.wait_until("document.activeElement.textContent === 'Keep it'")
        .await;
    page.ask("[...document.querySelectorAll('#end-data .pair .danger')][0].click()")
        .await;
    page.wait_until("!document.getElementById('join').hidden")
        .await;
    assert!(
        page.text("#notice")
            .await
            .starts_with("Erased from this hub")
    );
    let kept = page.ask("localStorage.getItem('coherence.me')").await;
    assert_eq!(kept, Value::Null, "the phone forgets as well");
    let database = std::fs::read(_dir.path().join("hub.db")).expect("the hub's database");
    let needle = id.as_bytes();
    assert!(
        !database.windows(needle.len()).any(|bytes| bytes == needle),
        "nothing of them is left on the disk"
    );
    // The room is open to them as to anybody.
    join(&mut page, false).await;
    let kept = page
        .ask("JSON.parse(localStorage.getItem('coherence.me')).participantId")
        .await;
    assert_ne!(kept, Value::from(id), "somebody new");
    assert_eq!(page.complaints, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_without_a_strap_breathes_along_and_may_choose_one_later() {
    let (_dir, hub) = demo(&["--people", "8"]).await;
    let mut page = Browser::open(&hub.url("/"), 390, 844).await;
    page.wait_until("!document.getElementById('join').hidden")
        .await;
    page.click("#join-go").await; // one touch: none is assumed
    page.wait_until("document.getElementById('reason').textContent.includes('without a strap')")
        .await;
    page.wait_until("/^\\d+ /.test(document.getElementById('room-value').textContent)")
        .await;
    page.click("#choose").await;
    page.wait_until("document.querySelector('#other-straps label.strap:not(.silent) input')")
        .await;
    page.ask("document.querySelector('#other-straps label.strap:not(.silent) input').click()")
        .await;
    page.click("#strap-take").await;
    page.wait_until(HAS_SCORE).await;
    assert_eq!(page.complaints, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_the_pin_is_told_and_locked_out_and_the_right_one_opens_the_desk() {
    let (_dir, hub) = demo(&["--people", "8"]).await;
    let mut page = Browser::open(&hub.url("/lead"), 1024, 768).await;
    let pin = hub.pin();
    page.wait_until("!document.getElementById('gate').hidden")
        .await;
    enter_pin(&mut page, &pin).await;
    page.wait_until("document.querySelectorAll('#well li').length > 2")
        .await;
    page.wait_until("/of \\d+ straps/.test(document.getElementById('fact-heard').textContent)")
        .await;

    // Another, who does not know it.
    page.ask("sessionStorage.clear(), location.reload()").await;
    page.wait_until("!document.getElementById('gate').hidden")
        .await;
    let wrong = if pin == "000000" { "111111" } else { "000000" };
    for _ in 0..20 {
        enter_pin(&mut page, wrong).await;
        page.wait_until("!document.getElementById('pin-say').hidden")
            .await;
        if page.text("#pin-say").await.starts_with("Too many tries") {
            break;
        }
        page.wait_until("/(tries are|try is) left/.test(document.getElementById('pin-say').textContent) || /Too many/.test(document.getElementById('pin-say').textContent)").await;
    }
    page.wait_until("/Too many tries\\. You can try again in \\d+:\\d\\d/.test(document.getElementById('pin-say').textContent)").await;
    page.ask("document.getElementById('pin-say').textContent = ''")
        .await;
    enter_pin(&mut page, &pin).await;
    page.wait_until("/Too many tries/.test(document.getElementById('pin-say').textContent)")
        .await;
    assert_eq!(
        page.ask("document.getElementById('desk').hidden").await,
        true
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_restarts_in_mid_session_costs_a_phone_nothing() {
    let (dir, hub) = demo(&["--people", "8"]).await;
    let address = hub.address.to_string();
    let mut page = Browser::open(&hub.url("/"), 390, 844).await;
    join(&mut page, true).await;
    page.wait_until(HAS_SCORE).await;
    let strap = page.text("#my-strap").await;
    page.wait_until("document.querySelector('#curve .me')")
        .await;
    hub.kill();
    page.wait_until("!document.getElementById('notice').hidden")
        .await;
    assert!(page.text("#notice").await.contains("Finding the hub again"));
    page.wait_until("document.getElementById('score').textContent === '–'")
        .await;
    page.picture(&picture("phone-gone.png")).await;

    let mut again = std::process::Command::new(PROGRAM);
    quiet(&mut again)
        .args(["demo", "--people", "8", "--session-min", "1440"])
        .args(["--listen", &address, "--data-dir"])
        .arg(dir.path());
    let _hub = Hub::start(&mut again).await;
    page.wait_until("/Connected again/.test(document.getElementById('notice').textContent)")
        .await;
    page.wait_until("document.getElementById('notice').hidden")
        .await;
    page.wait_until(HAS_SCORE).await;
    page.wait_until(&format!(
        "document.getElementById('my-strap').textContent === {}",
        json!(strap)
    ))
    .await;
    page.wait_until("document.querySelector('#curve .me')")
        .await;
    assert_eq!(
        page.ask("document.getElementById('live').hidden").await,
        false
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_minute_without_a_network_heals_by_itself() {
    let (_dir, hub) = demo(&["--people", "8"]).await;
    let wire = Wire::to(hub.address, 0..1).await;
    let mut page = Browser::open(&wire.url("/"), 390, 844).await;
    join(&mut page, true).await;
    page.wait_until(HAS_SCORE).await;
    wire.cut();
    page.wait_until("!document.getElementById('notice').hidden")
        .await;
    let left = page.text("#left").await;
    tokio::time::sleep(Duration::from_secs(30)).await; // the time itself is what is tried
    assert_ne!(page.text("#left").await, left, "the clock goes on");
    assert_eq!(page.text("#score").await, "–", "no old number stays");
    wire.mend();
    page.wait_until(HAS_SCORE).await;
    page.wait_until("document.getElementById('notice').hidden")
        .await;
    let people = hub.get("/api/sessions/current").await;
    assert_eq!(
        people["session"]["participants"], 1,
        "still the same person"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_speak_the_language_of_the_browser_and_of_a_choice() {
    let (_dir, hub) = demo(&["--people", "8"]).await;
    let mut page = Browser::in_language("de", &hub.url("/"), 390, 844).await;
    page.wait_until("document.querySelector('#join h1').textContent === 'Atme mit dem Raum'")
        .await;
    assert_eq!(page.ask("document.documentElement.lang").await, "de");
    join(&mut page, true).await;
    page.wait_until(HAS_SCORE).await;
    assert!(page.text("#my-strap").await.starts_with("Gurt "));
    page.click("#more").await;
    page.ask("(s => { s.value = 'en'; s.dispatchEvent(new Event('change')); })(document.getElementById('menu-language'))").await;
    page.wait_until("document.getElementById('menu-title').textContent === 'My place here'")
        .await;
    page.wait_until("document.getElementById('my-strap').textContent.startsWith('Strap ')")
        .await;
    page.go(&hub.url("/lead")).await;
    page.wait_until("document.querySelector('#gate h1').textContent === 'Lead the session'")
        .await;
    assert_eq!(page.complaints, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_less_motion_gets_a_figure_that_stands_still() {
    let (_dir, hub) = demo(&["--people", "8"]).await;
    let mut page = Browser::open(&hub.url("/"), 390, 844).await;
    page.prefer("dark", true).await;
    join(&mut page, true).await;
    page.wait_until(HAS_SCORE).await;
    let still = "(c => { const key = () => c.toDataURL().length + c.style.transform; const a = key(); return new Promise(done => setTimeout(() => done(a === key()), 700)); })(document.getElementById('figure'))";
    let mut stood = false;
    for _ in 0..5 {
        // Drawn anew when its numbers change, so one look may fall on such a moment.
        stood |= page.ask(still).await == true;
    }
    assert!(stood);
    page.ask("document.getElementById('more').focus()").await;
    page.click("#more").await;
    page.key("Escape", 27).await;
    page.wait_until("document.getElementById('menu').hidden")
        .await;
    assert_eq!(
        page.ask("document.activeElement.id").await,
        "more",
        "focus comes back"
    );
    assert_eq!(page.complaints, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strap_that_goes_quiet_is_said_with_what_to_do_and_its_return_too() {
    // Strap 3 of this room loses its link 75 s after the beginning, and is back within half a minute.
    let mut page = Browser::blank("en", 390, 844).await;
    let (_dir, hub) = demo(&["--people", "8", "--seed", "15"]).await;
    page.go(&hub.url("/")).await;
    page.wait_until("document.querySelector('#straps input[value=\"strap 3\"]')")
        .await;
    page.ask("document.querySelector('#straps input[value=\"strap 3\"]').click()")
        .await;
    page.click("#join-go").await;
    page.wait_until(HAS_SCORE).await;
    // No old number stands in for the missing one.
    page.wait_until("document.getElementById('have').hidden && !document.getElementById('reason').hidden && /No score just now/.test(document.getElementById('reason').textContent)")
        .await;
    page.wait_until("document.querySelectorAll('#todo li').length > 0")
        .await;
    page.wait_until("/^No beat for 0:\\d\\d$/.test(document.getElementById('rate').textContent)")
        .await;
    page.picture(&picture("phone-quiet.png")).await;
    page.wait_until("/beats a minute/.test(document.getElementById('rate').textContent)")
        .await;
    page.wait_until(HAS_SCORE).await;
}
