//! "This is my heart" over real sockets: taps are made for the beats that the wearer's own data show.

mod support;

use serde_json::{Value, json};
use support::hub::Hub;
use support::phone::Phone;

/// Joins over the socket and returns participant id and token.
async fn join(phone: &mut Phone, strap: Value) -> (String, String) {
    phone
        .send(json!({"type": "join_session", "strap": strap}))
        .await;
    let joined = phone.wait_for("session_joined").await;
    let text = |field: &str| joined[field].as_str().expect("text").to_owned();
    (text("participantId"), text("resumeToken"))
}

/// The last beats that the hub keeps for somebody, Unix ms.
async fn beats(http: &reqwest::Client, hub: &Hub, (id, token): &(String, String)) -> Vec<f64> {
    let url = hub.url(&format!("/api/participants/{id}/data"));
    for _ in 0..200 {
        let asked = http.get(&url).bearer_auth(token).send().await;
        let data: Value = asked.expect("answers").json().await.expect("JSON");
        let rr = data["rr"].as_array().expect("a list");
        let on = rr.iter().filter(|row| row["mark"] == "accepted");
        let at: Vec<f64> = on.filter_map(|row| row["at"].as_f64()).collect();
        if at.len() >= 14 {
            return at[at.len() - 12..].to_vec();
        }
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
    panic!("no beats were kept within 50 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_that_a_heart_is_theirs_gets_its_strap_and_the_other_phone_is_told() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let hub = Hub::demo(dir.path(), &["--people", "8", "--seed", "5"]).await;
    let http = reqwest::Client::new();
    let mut wrong = Phone::connect(&hub).await;
    let wearer = join(&mut wrong, json!("strap 3")).await;
    let touched = |beats: Vec<f64>| -> Vec<f64> {
        let touch = |(k, at): (usize, f64)| at + 180.0 + ((k * 7_919) % 61) as f64;
        beats.into_iter().enumerate().map(touch).collect()
    };

    let mut right = Phone::connect(&hub).await;
    let (id, token) = join(&mut right, Value::Null).await;
    right
        .send(json!({"type": "claim_strap", "strap": 3, "id": 1}))
        .await;
    assert_eq!(right.wait_for("error").await["code"], "strap_taken");

    let taps = touched(beats(&http, &hub, &wearer).await);
    right
        .send(json!({"type": "find_my_heart", "method": "tap", "taps": taps, "id": 2}))
        .await;
    let found = right.wait_for("heart_found").await;
    assert_eq!(
        (&found["re"], &found["proposal"]),
        (&json!(2), &json!("strap 3")),
        "{found}"
    );
    assert_eq!(found["candidates"][0]["fit"], "fits_well");
    right
        .send(json!({"type": "claim_strap", "strap": "strap 3", "id": 3}))
        .await;
    assert_eq!(right.wait_for("strap_claimed").await["strap"], "strap 3");
    assert_eq!(wrong.wait_for("strap_moved").await["label"], "strap 3");
    let feedback = wrong.wait_for("personal_feedback").await;
    assert_eq!(
        (&feedback["strap"], &feedback["reason"]),
        (&Value::Null, &json!("no_strap"))
    );

    // The same by requests: taken off, found anew and put on again.
    let at = |path: &str| hub.url(&format!("/api/participants/{id}/{path}"));
    let asked = http.delete(at("strap")).bearer_auth(&token).send().await;
    assert_eq!(asked.expect("answers").status(), 204);
    let body = json!({"method": "tap", "taps": taps});
    let asked = http.post(at("heart")).bearer_auth(&token).json(&body);
    let answer = asked.send().await.expect("answers");
    assert_eq!(answer.status(), 200);
    let found: Value = answer.json().await.expect("JSON");
    assert!(found["candidates"].is_array(), "{found}");
    let body = json!({"strap": 3});
    let asked = http.put(at("strap")).bearer_auth(&token).json(&body);
    let answer = asked.send().await.expect("answers");
    assert_eq!(answer.status(), 200);
    let claimed: Value = answer.json().await.expect("JSON");
    assert_eq!(claimed, json!({"strap": "strap 3"}));
    let body = json!({"method": "tap", "taps": []});
    let asked = http.post(at("heart")).bearer_auth(&token).json(&body);
    let answer = asked.send().await.expect("answers");
    assert_eq!(answer.status(), 422);
    let problem: Value = answer.json().await.expect("JSON");
    assert_eq!(problem["field"], "taps");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn which_two_labels_are_one_strap_is_the_facilitators_to_say() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let hub = Hub::demo(dir.path(), &["--people", "4", "--seed", "5"]).await;
    let http = reqwest::Client::new();
    let straps = hub.get("/api/straps").await;
    let mut alike = straps["straps"].as_array().expect("a list").iter();
    let mut next = || {
        let strap = alike.find(|strap| strap["transport"] == "virtual");
        let label = strap.expect("two of four")["label"].as_str().expect("text");
        label.to_owned()
    };
    let (one, other) = (next(), next());
    let url = hub.url(&format!("/api/straps/{}/twin", one.replace(' ', "%20")));
    let body = json!({"strap": other});
    let asked = http.put(&url).json(&body).send().await;
    assert_eq!(asked.expect("answers").status(), 401);
    let mut phone = Phone::connect(&hub).await;
    let (_, token) = join(&mut phone, Value::Null).await;
    let asked = http.delete(&url).bearer_auth(&token).send().await;
    assert_eq!(asked.expect("answers").status(), 403);
    let mut desk = Phone::connect(&hub).await;
    desk.send(json!({"type": "auth", "pin": hub.pin()})).await;
    let token = desk.wait_for("auth_ok").await["token"].clone();
    let asked = http.put(&url).json(&body);
    let asked = asked
        .bearer_auth(token.as_str().expect("text"))
        .send()
        .await;
    let answer = asked.expect("answers");
    assert_eq!(
        answer.status(),
        422,
        "both are virtual: no strap has two such radios"
    );
    let problem: Value = answer.json().await.expect("JSON");
    assert_eq!(problem["code"], "bad_value");
    let straps = hub.get("/api/straps").await;
    let all = straps["straps"].as_array().expect("a list");
    let strap = all.iter().find(|strap| strap["label"] == one.as_str());
    assert_eq!(
        strap.expect("it is still there")["radios"],
        json!(["virtual"])
    );
    hub.stop().await;
}
