//! One's place in the room: two tabs of one phone, leaving and coming again, a return that the hub refuses at first.

use serde_json::{Value, json};

use crate::support::browser::Browser;
use crate::support::hub::Hub;
use crate::{join, picture};

const ME: &str = "JSON.parse(localStorage.getItem('coherence.me'))";

/// Who this phone is to the hub.
async fn who(page: &mut Browser) -> String {
    let id = page.ask(&format!("({ME} || {{}}).participantId")).await;
    id.as_str().expect("it has joined").to_owned()
}

/// Opens the page as the phone that `me` was kept on.
async fn open_as(hub: &Hub, me: &Value) -> Browser {
    let mut page = Browser::blank("en", 390, 844).await;
    page.prepare(&format!(
        "if (!localStorage.getItem('tried')) {{ localStorage.setItem('tried', 'yes'); localStorage.setItem('coherence.me', JSON.stringify({me})); }}"
    ))
    .await;
    page.go(&hub.url("/")).await;
    page
}

const HERE: &str =
    "document.getElementById('notice').hidden && !document.getElementById('live').hidden";
const ELSEWHERE: &str = "/another tab or window/.test(document.getElementById('notice').textContent) && !document.getElementById('notice').hidden";

#[tokio::test(flavor = "multi_thread")]
async fn of_two_tabs_the_one_that_was_opened_last_has_the_place_until_the_other_is_wanted() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let hub = Hub::run(dir.path(), "", None).await;
    let mut first = Browser::open(&hub.url("/"), 390, 844).await;
    join(&mut first, false).await;
    let me = first.ask(ME).await;
    let mut second = open_as(&hub, &me).await;
    second.wait_until(HERE).await;
    first.wait_until(ELSEWHERE).await;
    // It stays so: the other hears the room's next two figures on one line.
    second
        .ask("(window.heard_ = room.room.groupAt, true)")
        .await;
    for _ in 0..2 {
        second.wait_until("room.room.groupAt !== heard_").await;
        second.ask("(heard_ = room.room.groupAt, true)").await;
        assert_eq!(second.ask(HERE).await, true);
        assert_eq!(first.ask(ELSEWHERE).await, true);
    }
    first.picture(&picture("phone-elsewhere.png")).await;
    first.click("#notice-here").await;
    first
        .wait_until("/Connected again/.test(document.getElementById('notice').textContent)")
        .await;
    second.wait_until(ELSEWHERE).await;
    first.wait_until(HERE).await;
    let room = hub.get("/api/sessions/current").await;
    assert_eq!(room["session"]["participants"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_is_gone_until_they_join_and_their_strap_is_free() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let more = ["--people", "8", "--session-min", "1440"];
    let hub = Hub::demo(dir.path(), &more).await;
    let mut page = Browser::open(&hub.url("/"), 390, 844).await;
    join(&mut page, true).await;
    let me = who(&mut page).await;
    let straps = hub.get("/api/straps").await;
    let claimed = |straps: &Value| {
        let all = straps["straps"].as_array().expect("a list").iter();
        all.filter(|strap| strap["claimed"] == true).count()
    };
    assert_eq!(claimed(&straps), 1);
    page.click("#more").await;
    page.click("#menu-leave").await;
    page.wait_until("!document.getElementById('join').hidden")
        .await;
    hub.until("/api/straps", "the strap is free", |straps| {
        claimed(straps) == 0
    })
    .await;

    // Opened again it asks, and takes nobody's place by itself.
    page.ask("location.reload()").await;
    page.wait_until(
        "room.room.session && room.clock.known && !document.getElementById('join-before').hidden",
    )
    .await;
    let room = hub.get("/api/sessions/current").await;
    assert_eq!(room["session"]["participants"], 0);
    page.picture(&picture("phone-again.png")).await;
    join(&mut page, false).await;
    assert_eq!(who(&mut page).await, me, "the same person, as it was said");
    assert_eq!(page.text("#my-strap").await, "No strap");
    assert_eq!(claimed(&hub.get("/api/straps").await), 0);

    // Somebody else takes the phone.
    page.click("#more").await;
    page.click("#menu-leave").await;
    page.wait_until("!document.getElementById('join').hidden")
        .await;
    page.click("#join-anew").await;
    page.wait_until("document.getElementById('join-before').hidden")
        .await;
    join(&mut page, false).await;
    assert_ne!(who(&mut page).await, me);
    assert_eq!(page.complaints, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_that_is_refused_says_why_and_is_tried_again() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let hub = Hub::run(dir.path(), "[room]\nmax_participants = 1\n", None).await;
    let join = async |body: Value| {
        let (status, answer) = hub
            .ask(reqwest::Method::POST, "/api/participants", Some(body))
            .await;
        assert_eq!(status, 201, "{answer}");
        answer
    };
    let leave = async |who: &Value| {
        let text = |name: &str| who[name].as_str().expect("as it was told").to_owned();
        let path = format!("/api/participants/{}/leave", text("participantId"));
        let request = reqwest::Client::new()
            .post(hub.url(&path))
            .bearer_auth(text("resumeToken"));
        let answer = request.send().await.expect("the hub answers");
        assert!(answer.status().is_success(), "{answer:?}");
    };
    let person = join(json!({})).await;
    leave(&person).await;
    let other = join(json!({})).await;
    let me = json!({"participantId": person["participantId"], "token": person["resumeToken"]});
    let mut page = open_as(&hub, &me).await;
    page.wait_until("/The room is full/.test(document.getElementById('notice').textContent)")
        .await;
    leave(&other).await;
    page.wait_until(HERE).await;
    assert_eq!(
        Value::from(who(&mut page).await),
        person["participantId"],
        "the person who was here before"
    );
}
