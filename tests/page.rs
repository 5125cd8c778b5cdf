//! The page, live, in a real Chromium: what a newcomer, a phone and the wall see of the demo.

mod support;

use std::path::PathBuf;

use serde_json::Value;
use support::browser::Browser;
use support::hub::Hub;

/// Where pictures go, to be looked at.
fn picture(name: &str) -> PathBuf {
    support::root().join("target/pictures").join(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_the_room_live_on_a_phone_and_on_the_wall() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let hub = Hub::demo(dir.path(), &["--people", "24", "--seed", "1"]).await;
    for (name, width, height, scheme) in [
        ("phone", 390, 844, "dark"),
        ("phone-light", 390, 844, "light"),
        ("wall", 1920, 1080, "dark"),
    ] {
        let mut page = Browser::open(&hub.url("/"), width, height).await;
        page.prefer(scheme, false).await;
        page.wait_until("/^\\d+$/.test(document.getElementById('average').textContent)")
            .await;
        page.wait_until("/^\\d+:\\d\\d$/.test(document.getElementById('left').textContent)")
            .await;
        page.wait_until("document.querySelectorAll('#list > *').length >= 20")
            .await;

        // What is shown is what the hub says.
        let shown = page
            .ask("document.getElementById('hearts').textContent")
            .await;
        let session = hub.get("/api/sessions/current").await;
        let near = session["session"]["scored"].as_i64().expect("a number");
        let shown: i64 = shown
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("a number");
        assert!(
            (shown - near).abs() <= 3,
            "{name}: {shown} hearts are shown, {near} are scored"
        );

        // A figure stands inside its error bar, or says why it has none.
        let honest = page
            .ask(
                "document.querySelector('#scale .span') ? /\\d/.test(document.getElementById('give').textContent)
                 : !document.getElementById('bar-why').hidden",
            )
            .await;
        assert_eq!(honest, true, "{name}");

        // Synchrony stands on the band of chance, and the words say on which side of it.
        let said = page
            .ask("document.getElementById('together-word').textContent")
            .await;
        let said = said.as_str().expect("a sentence");
        assert!(
            said.contains("beyond chance (0 to ") || said.contains("as by chance (0 to "),
            "{name}: {said}"
        );
        let within = page
            .ask("document.querySelector('#chance.beyond') === null && document.querySelector('#chance .hatch') !== null")
            .await;
        assert_eq!(within, said.contains("as by"), "{name}: {said}");

        // It is live: the clock runs, and the next grid point reaches the page.
        let left = page
            .ask("document.getElementById('left').textContent")
            .await;
        page.wait_until(&format!(
            "document.getElementById('left').textContent !== {left}"
        ))
        .await;

        let wide = page
            .ask("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            .await;
        assert_eq!(wide, 0, "{name}: nothing sticks out at {width} px");
        let foreign = page
            .ask("performance.getEntriesByType('resource').map(r => r.name).filter(n => !n.startsWith(location.origin))")
            .await;
        assert_eq!(
            foreign,
            Value::Array(Vec::new()),
            "{name}: nothing is asked of anybody else"
        );
        page.picture(&picture(&format!("{name}.png"))).await;
        assert_eq!(
            page.complaints,
            Vec::<String>::new(),
            "{name}: the page complained"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_says_when_the_hub_is_gone_and_heals_when_it_is_back() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let hub = Hub::demo(dir.path(), &["--people", "8"]).await;
    let address = hub.address.to_string();
    let mut page = Browser::open(&hub.url("/"), 390, 844).await;
    page.wait_until("/^\\d+$/.test(document.getElementById('average').textContent)")
        .await;
    hub.kill();
    page.wait_until("!document.getElementById('notice').hidden")
        .await;
    page.picture(&picture("phone-gone.png")).await;

    let mut again = std::process::Command::new(support::hub::PROGRAM);
    support::hub::quiet(&mut again)
        .args(["demo", "--people", "8", "--listen", &address, "--data-dir"])
        .arg(dir.path());
    let _hub = Hub::start(&mut again).await;
    page.wait_until("document.getElementById('notice').hidden")
        .await;
    page.wait_until("/^\\d+:\\d\\d$/.test(document.getElementById('left').textContent)")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_without_straps_is_told_so_in_words() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let hub = Hub::run(dir.path(), "", None).await;
    let mut page = Browser::open(&hub.url("/"), 390, 844).await;
    page.prefer("light", true).await;
    page.wait_until("document.getElementById('sources').textContent.includes('D-Bus')")
        .await;
    let shown = page.ask("!document.getElementById('figures').hidden").await;
    assert_eq!(shown, false, "no figure stands in for the missing ones");
    page.picture(&picture("phone-without-straps.png")).await;
}
