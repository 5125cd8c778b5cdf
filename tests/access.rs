//! Who may do what, of the real program over real sockets: the PIN and those who guess it, the room's
//! code, tokens for programs, what leaves the hub and what gets into its log.

mod support;

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::hub::{Hub, PROGRAM, quiet};
use support::phone::Phone;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Of a hub that hears nothing and lives slowly: no wait is over before the test is.
const SLOW: &str =
    "[straps]\nble = false\n[clock]\ntrust = \"always\"\n[test]\nclock_speed = 0.2\n";

/// Two grid points of a hub that lives ten times as fast.
const A_WHILE: Duration = Duration::from_millis(1_200);

/// The program, asked as the admin asks it.
fn admin(data_dir: &Path, args: &[&str]) -> Output {
    quiet(&mut Command::new(PROGRAM))
        .args(args)
        .arg("--data-dir")
        .arg(data_dir)
        .output()
        .expect("the program was built for this test")
}

/// What it printed, when it went well.
fn printed(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn wrong_one(pin: &str) -> &'static str {
    if pin == "000000" { "000001" } else { "000000" }
}

/// Tries a PIN from an address of this machine; the answer's code (or `auth_ok`) and wait.
async fn try_pin(hub: &Hub, from: &str, pin: &str) -> (String, i64) {
    let mut phone = Phone::connect_from(hub, from).await;
    let answer = phone.ask(json!({"type": "auth", "pin": pin})).await;
    let code = answer["code"].as_str().unwrap_or("auth_ok");
    (
        code.to_owned(),
        answer["retryAfterMs"].as_i64().unwrap_or(0),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guesser_is_locked_out_over_a_kill_and_a_stop_until_the_admin_forgives() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let hub = Hub::run(dir.path(), SLOW, None).await;
    let pin = printed(&admin(dir.path(), &["pin"]));
    let wrong = wrong_one(&pin);
    for _ in 0..4 {
        assert_eq!(try_pin(&hub, "127.0.0.2", wrong).await.0, "wrong_pin");
    }
    let (code, wait_ms) = try_pin(&hub, "127.0.0.2", wrong).await;
    assert_eq!((code.as_str(), wait_ms), ("pin_locked", 30_000));
    let locked = Instant::now();
    hub.kill();

    let hub = Hub::run(dir.path(), SLOW, None).await;
    // Some time on the hub's slow clock.
    let a_while = || locked.elapsed() > Duration::from_millis(100);
    support::wait_until("a while", a_while).await;
    let (code, later_ms) = try_pin(&hub, "127.0.0.2", &pin).await;
    assert_eq!(code, "pin_locked", "a kill frees nobody");
    assert!(
        (1..wait_ms).contains(&later_ms),
        "the wait goes on: {later_ms}"
    );
    assert_eq!(try_pin(&hub, "127.0.0.3", &pin).await.0, "auth_ok");
    let (status, log) = hub.stop().await;
    assert!(status.success(), "{log}");

    let hub = Hub::run(dir.path(), SLOW, None).await;
    let (code, still_ms) = try_pin(&hub, "127.0.0.2", &pin).await;
    assert_eq!(code, "pin_locked");
    assert!((1..=later_ms).contains(&still_ms), "{still_ms}");
    let forgiven = printed(&admin(dir.path(), &["pin", "--unlock"]));
    assert_eq!(forgiven, "1 address had to wait and may try again");
    assert_eq!(try_pin(&hub, "127.0.0.2", &pin).await.0, "auth_ok");
    hub.kill();

    // And the forgiving survives as well; also on a database whose hub is off.
    let hub = Hub::run(dir.path(), SLOW, None).await;
    assert_eq!(try_pin(&hub, "127.0.0.2", &pin).await.0, "auth_ok");
    for _ in 0..5 {
        try_pin(&hub, "127.0.0.4", wrong).await;
    }
    hub.kill();
    printed(&admin(dir.path(), &["pin", "--unlock"]));
    let hub = Hub::run(dir.path(), SLOW, None).await;
    assert_eq!(try_pin(&hub, "127.0.0.4", &pin).await.0, "auth_ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_pin_puts_out_who_came_in_with_the_old_one() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let hub = Hub::run(dir.path(), SLOW, None).await;
    let old = printed(&admin(dir.path(), &["pin"]));
    let mut phone = Phone::connect(&hub).await;
    let token = phone.ask(json!({"type": "auth", "pin": old})).await["token"].clone();
    let ask = json!({"type": "auth", "token": token});
    assert_eq!(phone.ask(ask.clone()).await["type"], "auth_ok");
    let joined = phone.ask(json!({"type": "join_session"})).await;

    let new = printed(&admin(dir.path(), &["pin", "--new"]));
    assert!(new.len() == 6 && new != old, "{new}");
    assert_eq!(phone.ask(ask).await["code"], "bad_token");
    assert_eq!(try_pin(&hub, "127.0.0.2", &old).await.0, "wrong_pin");
    assert_eq!(try_pin(&hub, "127.0.0.2", &new).await.0, "auth_ok");
    let (status, _) = hub.stop().await;
    assert!(status.success());
    assert_eq!(printed(&admin(dir.path(), &["pin"])), new);

    let newest = printed(&admin(dir.path(), &["pin", "--new"]));
    let hub = Hub::run(dir.path(), SLOW, None).await;
    assert_eq!(try_pin(&hub, "127.0.0.2", &newest).await.0, "auth_ok");
    let mut phone = Phone::connect(&hub).await;
    let back = json!({"type": "join_session", "resumeToken": joined["resumeToken"]});
    let back = phone.ask(back).await;
    assert_eq!(
        back["participantId"], joined["participantId"],
        "people stay"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_know_the_rooms_code_stays_out_and_who_was_in_comes_back_without() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let config = format!("[access]\nroom_code = \"blue heron\"\n{SLOW}");
    let hub = Hub::run(dir.path(), &config, None).await;
    let client = reqwest::Client::new();
    let join = async |body: Value| {
        let request = client.post(hub.url("/api/participants")).json(&body);
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        let wait = answer.headers().get("retry-after").cloned();
        let body: Value = answer.json().await.expect("JSON");
        (status, body, wait)
    };
    let (status, refused, _) = join(json!({"name": "Mira"})).await;
    assert_eq!((status, &refused["code"]), (403, &json!("room_code")));
    let (status, refused, _) = join(json!({"roomCode": "Blue heron"})).await;
    assert_eq!((status, &refused["code"]), (403, &json!("room_code")));
    let (status, joined, _) = join(json!({"roomCode": " blue heron "})).await;
    assert_eq!(status, 201, "{joined}");
    let token = joined["resumeToken"].clone();
    let (status, back, _) = join(json!({"resumeToken": token})).await;
    assert_eq!(
        (status, &back["participantId"]),
        (201, &joined["participantId"])
    );

    let mut phone = Phone::connect(&hub).await;
    let refused = phone.ask(json!({"type": "join_session"})).await;
    assert_eq!(refused["code"], "room_code");
    let refused =
        json!({"type": "join_session", "resumeToken": "nonsense", "roomCode": "blue heron"});
    assert_eq!(phone.ask(refused).await["code"], "bad_token");
    let welcome = json!({"type": "join_session", "roomCode": "blue heron"});
    assert_eq!(phone.ask(welcome.clone()).await["type"], "session_joined");
    let known = phone.ask(json!({"type": "join_session"})).await;
    assert_eq!(
        known["type"], "session_joined",
        "this socket is somebody already"
    );

    // Guessing ends in waiting, for whoever is at that address and has no token.
    let mut guesser = Phone::connect_from(&hub, "127.0.0.2").await;
    for n in 0..14 {
        let guess = json!({"type": "join_session", "roomCode": format!("{n:04}")});
        assert_eq!(guesser.ask(guess).await["code"], "room_code", "{n}");
    }
    let guess = json!({"type": "join_session", "roomCode": "0014"});
    assert_eq!(guesser.ask(guess).await["code"], "room_code_locked");
    assert_eq!(
        guesser.ask(welcome.clone()).await["code"],
        "room_code_locked"
    );
    let back = json!({"type": "join_session", "resumeToken": token});
    assert_eq!(guesser.ask(back).await["type"], "session_joined");
    for _ in 0..15 {
        join(json!({"roomCode": "no"})).await;
    }
    let (status, locked, wait) = join(json!({"roomCode": "blue heron"})).await;
    assert_eq!((status, &locked["code"]), (429, &json!("room_code_locked")));
    let wait: u32 = wait
        .expect("Retry-After")
        .to_str()
        .expect("text")
        .parse()
        .expect("s");
    assert!((1..=5).contains(&wait), "{wait}");
    // The PIN has counters of its own.
    let pin = printed(&admin(dir.path(), &["pin"]));
    assert_eq!(try_pin(&hub, "127.0.0.2", &pin).await.0, "auth_ok");
    let mut other = Phone::connect_from(&hub, "127.0.0.3").await;
    assert_eq!(other.ask(welcome).await["type"], "session_joined");

    let file = dir.path().join("hub.toml");
    for show in [&[][..], &["--show"][..]] {
        let mut command = Command::new(PROGRAM);
        let output = quiet(&mut command)
            .arg("check-config")
            .arg(&file)
            .args(show)
            .output();
        let text = printed(&output.expect("it runs"));
        assert!(!text.contains("heron"), "{text}");
        assert!(
            text.contains("room_code"),
            "that there is one is shown: {text}"
        );
    }

    // Another code holds from the reload on; a mistake in that line is told without the code.
    for (code, said) in [
        ("= \"grey heron\"", "now in force: access.room_code"),
        ("= 31415", "the old configuration stays in force"),
    ] {
        let config = format!("[access]\nroom_code {code}\n{SLOW}");
        std::fs::write(&file, config).expect("the test's own directory");
        hub.signal("-HUP");
        hub.says(said, 1).await;
    }
    for (code, welcome) in [("blue heron", false), ("grey heron", true)] {
        let mut newcomer = Phone::connect_from(&hub, "127.0.0.5").await;
        let ask = json!({"type": "join_session", "roomCode": code});
        let answer = newcomer.ask(ask).await;
        assert_eq!(answer["type"] == "session_joined", welcome, "{answer}");
    }
    let (_, log) = hub.stop().await;
    assert!(!log.contains("heron") && !log.contains("31415"), "{log}");
}

/// An address of this machine that is not loopback, so that the hub meets a phone from elsewhere.
fn own_address() -> Option<std::net::IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Sends nothing: it only asks which address would be used.
    socket.connect("198.51.100.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

/// A hub for everybody, and where it is found from elsewhere; none, told loudly, on a machine that
/// has no address but loopback.
async fn hub_for_everybody(data_dir: &Path) -> Option<(Hub, SocketAddr)> {
    let Some(own) = own_address() else {
        eprintln!(
            "ABSENT: this machine has no address but loopback, so what a phone from elsewhere may see was NOT tested"
        );
        return None;
    };
    let mut command = Command::new(PROGRAM);
    quiet(&mut command)
        .args([
            "demo",
            "--people",
            "3",
            "--listen",
            "0.0.0.0:0",
            "--data-dir",
        ])
        .arg(data_dir);
    let mut hub = Hub::start(&mut command).await;
    let port = hub.address.port();
    hub.address = SocketAddr::from(([127, 0, 0, 1], port));
    Some((hub, SocketAddr::from((own, port))))
}

async fn get(from: SocketAddr, path: &str, token: Option<&str>) -> (u16, Value) {
    let mut request = reqwest::Client::new().get(format!("http://{from}{path}"));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.expect("an answer");
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("a body");
    (
        status,
        serde_json::from_str(&text).unwrap_or(Value::String(text)),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_shows_its_token_and_one_that_was_taken_back_opens_nothing() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let Some((hub, elsewhere)) = hub_for_everybody(dir.path()).await else {
        return;
    };
    let new = |name: &str| {
        let args = ["token", "new", "--scope", "metrics", "--name", name];
        admin(dir.path(), &args)
    };
    let token = printed(&new("prometheus"));
    assert!(token.starts_with("chub_") && token.len() == 69, "{token}");
    let again = new("prometheus");
    assert!(!again.status.success());
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(
        said.contains("there is a token \"prometheus\" already"),
        "{said}"
    );

    let metrics = async |token| {
        let (status, body) = get(elsewhere, "/metrics", token).await;
        (status, body["code"].as_str().map(str::to_owned))
    };
    let no = |status, code: &str| (status, Some(code.to_owned()));
    assert_eq!(metrics(Some(&token)).await, (200, None));
    assert_eq!(metrics(None).await, no(401, "unauthorized"));
    assert_eq!(metrics(Some("chub_00")).await, no(401, "bad_token"));
    assert_eq!(get(hub.address, "/metrics", None).await.0, 200, "at home");
    let mut phone = Phone::connect(&hub).await;
    let joined = phone.ask(json!({"type": "join_session"})).await;
    let participant = joined["resumeToken"].as_str().expect("a token");
    assert_eq!(metrics(Some(participant)).await, no(403, "forbidden"));
    let pin = printed(&admin(dir.path(), &["pin"]));
    let facilitator = phone.ask(json!({"type": "auth", "pin": pin})).await;
    let facilitator = facilitator["token"].as_str().expect("a token");
    assert_eq!(metrics(Some(facilitator)).await, (200, None));
    // It opens nothing else, and everybody may ask how the hub is.
    let refused = phone.ask(json!({"type": "auth", "token": token})).await;
    assert_eq!(refused["code"], "forbidden");
    let id = joined["participantId"].as_str().expect("an id");
    let data = format!("/api/participants/{id}/data");
    assert_eq!(get(elsewhere, &data, Some(&token)).await.0, 403);
    assert_eq!(get(elsewhere, "/health", None).await.0, 200);

    let list = printed(&admin(dir.path(), &["token", "list"]));
    let row = list.lines().find(|line| line.starts_with("prometheus"));
    let row = row.unwrap_or_else(|| panic!("{list}"));
    assert!(
        row.contains("metrics") && !row.contains("never"),
        "used just now: {list}"
    );
    assert!(!list.contains(&token[5..20]), "its text is shown once");
    let file = std::fs::read(dir.path().join("hub.db-wal")).expect("the log of the database");
    let kept = file
        .windows(20)
        .any(|window| window == &token.as_bytes()[5..25]);
    assert!(!kept, "its text is nowhere");
    hub.kill();

    // While no hub runs, the same on the database; then with the hub again.
    let second = printed(&new("second"));
    let list = printed(&admin(dir.path(), &["token", "list"]));
    assert_eq!(list.lines().count(), 3, "{list}");
    let Some((_hub, elsewhere)) = hub_for_everybody(dir.path()).await else {
        panic!("it was there before");
    };
    assert_eq!(get(elsewhere, "/metrics", Some(&second)).await.0, 200);
    assert_eq!(get(elsewhere, "/metrics", Some(&token)).await.0, 200);
    printed(&admin(dir.path(), &["token", "revoke", "prometheus"]));
    assert_eq!(get(elsewhere, "/metrics", Some(&token)).await.0, 401);
    assert_eq!(get(elsewhere, "/metrics", Some(&second)).await.0, 200);
    let nobodys = admin(dir.path(), &["token", "revoke", "prometheus"]);
    assert_eq!(nobodys.status.code(), Some(70));
}

#[tokio::test(flavor = "multi_thread")]
async fn beats_do_not_leave_over_plain_http_and_the_rest_does() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let Some((hub, elsewhere)) = hub_for_everybody(dir.path()).await else {
        return;
    };
    let mut phone = Phone::connect(&hub).await;
    let joined = phone
        .ask(json!({"type": "join_session", "name": "Mira"}))
        .await;
    phone
        .send(json!({"type": "update_coherence", "rr": [801, 802, 803]}))
        .await;
    let token = joined["resumeToken"].as_str();
    let path = format!(
        "/api/participants/{}/data",
        joined["participantId"].as_str().expect("an id")
    );
    let mut at_home = Value::Null;
    support::wait_until_async("the beats are on the card", async || {
        at_home = get(hub.address, &path, token).await.1;
        at_home["rr"].as_array().is_some_and(|rr| rr.len() == 3)
    })
    .await;
    assert!(at_home.get("rrWithheld").is_none());
    let (status, away) = get(elsewhere, &path, token).await;
    assert_eq!((status, &away["rr"]), (200, &Value::Null));
    assert!(
        away["rrWithheld"]
            .as_str()
            .is_some_and(|why| why.contains("HTTPS")),
        "{away}"
    );
    assert_eq!(away["name"], "Mira");
    assert_eq!(away["participations"], at_home["participations"]);
}

/// One request over HTTPS, trusting this certificate alone; the body of the answer.
async fn ask_https(to: SocketAddr, cert: &Path, request: String) -> Value {
    let mut roots = RootCertStore::empty();
    let cert = CertificateDer::from_pem_file(cert).expect("a certificate");
    roots.add(cert).expect("a certificate");
    let provider = tokio_rustls::rustls::crypto::ring::default_provider();
    let config = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .expect("they are")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = tokio::net::TcpStream::connect(to)
        .await
        .expect("it listens");
    let name = ServerName::try_from("localhost").expect("a name");
    let connector = TlsConnector::from(std::sync::Arc::new(config));
    let mut stream = connector.connect(name, stream).await.expect("TLS");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let (_, body) = answer.split_once("\r\n\r\n").expect("head and body");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn over_https_beats_leave_for_everywhere() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("made");
    let (cert, key) = (dir.path().join("hub.crt"), dir.path().join("hub.key"));
    std::fs::write(&cert, made.cert.pem()).expect("the test's own directory");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("the test's own directory");
    let config = format!("[web]\ntls_cert = {cert:?}\ntls_key = {key:?}\n{SLOW}");
    let file = dir.path().join("hub.toml");
    std::fs::write(&file, config).expect("the test's own directory");
    let mut command = Command::new(PROGRAM);
    quiet(&mut command)
        .args(["run", "--listen", "0.0.0.0:0", "--config"])
        .arg(&file)
        .arg("--data-dir")
        .arg(dir.path());
    let Some(own) = own_address() else {
        eprintln!(
            "ABSENT: this machine has no address but loopback, so HTTPS from elsewhere was NOT tested"
        );
        return;
    };
    let hub = Hub::start(&mut command).await;
    let elsewhere = SocketAddr::from((own, hub.address.port()));
    let head = "Host: localhost\r\nConnection: close\r\n";
    let join = format!(
        "POST /api/participants HTTP/1.1\r\n{head}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    let joined = ask_https(elsewhere, &cert, join).await;
    let text = |field: &str| joined[field].as_str().expect("text").to_owned();
    let (id, token) = (text("participantId"), text("resumeToken"));
    let read = format!(
        "GET /api/participants/{id}/data HTTP/1.1\r\n{head}Authorization: Bearer {token}\r\n\r\n"
    );
    support::wait_until_async("the data with its beats", async || {
        let data = ask_https(elsewhere, &cert, read.clone()).await;
        data["rr"].is_array() && data.get("rrWithheld").is_none()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_and_comes_back_by_another_way_is_heard_on_the_same_socket() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    // A grid point, and with it feedback, every half second.
    let quick = SLOW.replace("0.2", "10.0");
    let hub = Hub::run(dir.path(), &quick, None).await;
    let mut phone = Phone::connect(&hub).await;
    let joined = phone.ask(json!({"type": "join_session"})).await;
    let token = joined["resumeToken"].as_str().expect("a token");
    phone.wait_for("personal_feedback").await;
    let client = reqwest::Client::new();
    let leave = format!(
        "/api/participants/{}/leave",
        joined["participantId"].as_str().expect("an id")
    );
    let left = client.post(hub.url(&leave)).bearer_auth(token).send().await;
    assert_eq!(left.expect("an answer").status(), 204);
    phone
        .wait_where("participant_update", |update| update["change"] == "left")
        .await;
    let silent = phone.hears_nothing("personal_feedback", A_WHILE).await;
    assert!(silent, "who has left is told nothing");
    let back = client
        .post(hub.url("/api/participants"))
        .json(&json!({"resumeToken": token}));
    assert_eq!(back.send().await.expect("an answer").status(), 201);
    let feedback = phone.wait_for("personal_feedback").await;
    assert_eq!(feedback["reason"], "no_strap");

    // Who leaves over the socket itself hears nothing there until it joins there.
    assert_eq!(
        phone.ask(json!({"type": "leave_session"})).await["type"],
        "session_left"
    );
    let back = client
        .post(hub.url("/api/participants"))
        .json(&json!({"resumeToken": token}));
    assert_eq!(back.send().await.expect("an answer").status(), 201);
    assert!(phone.hears_nothing("personal_feedback", A_WHILE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_goodbye_holds_over_a_restart() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let hub = Hub::run(dir.path(), SLOW, None).await;
    let mut phone = Phone::connect(&hub).await;
    let left = phone.ask(json!({"type": "join_session"})).await;
    phone.ask(json!({"type": "leave_session"})).await;
    let mut other = Phone::connect(&hub).await;
    let stays = other.ask(json!({"type": "join_session"})).await;
    // Neither waits for the disk: let it have them before the power goes.
    for (who, has_left) in [(&left, true), (&stays, false)] {
        let id = who["participantId"].as_str().expect("an id");
        let path = format!("/api/participants/{id}/data");
        support::wait_until_async("it is on the card", async || {
            let data = get(hub.address, &path, who["resumeToken"].as_str()).await.1;
            let part = &data["participations"][0];
            part.is_object() && part["leftAt"].is_i64() == has_left
        })
        .await;
    }
    hub.kill();
    let hub = Hub::run(dir.path(), SLOW, None).await;
    let post = async |who: &Value| {
        let path = format!(
            "/api/participants/{}/rr",
            who["participantId"].as_str().expect("an id")
        );
        let request = reqwest::Client::new()
            .post(hub.url(&path))
            .json(&json!({"rr": [800]}));
        let request = request.bearer_auth(who["resumeToken"].as_str().expect("a token"));
        request.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(post(&left).await, 409, "only joining brings them back");
    assert_eq!(post(&stays).await, 200);
    let mut phone = Phone::connect(&hub).await;
    phone
        .ask(json!({"type": "join_session", "resumeToken": left["resumeToken"]}))
        .await;
    assert_eq!(post(&left).await, 200);
}

#[cfg(feature = "ble")]
#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_and_nobody_gets_into_the_log() {
    let bluez = support::fake_bluez::FakeBluez::start(2).await;
    let dir = tempfile::tempdir().expect("a directory for the test");
    let config = "[access]\nroom_code = \"kingfisher-43\"\n[log]\nlevel = \"trace\"\n";
    let hub = Hub::run(dir.path(), config, Some(&bluez.bus_address())).await;
    let streams = |straps: &Value| {
        let all = straps["straps"].as_array();
        all.is_some_and(|all| all.len() == 2 && all.iter().all(|s| s["state"] == "streaming"))
    };
    hub.until("/api/straps", "two straps", streams).await;
    let pin = printed(&admin(dir.path(), &["pin"]));
    let client = reqwest::Client::new();
    let mut secrets = vec!["kingfisher".to_owned(), "Zebedee".into(), "serenity".into()];

    let mut phone = Phone::connect(&hub).await;
    let who = json!({"name": "Zebedee Quux", "intention": "serenity above all", "strap": "1", "roomCode": "kingfisher-43",
        "consent": {"textVersion": "1", "scopes": ["research"]}});
    let mut frame = who.clone();
    frame["type"] = "join_session".into();
    let joined = phone.ask(frame.clone()).await;
    assert_eq!(joined["type"], "session_joined", "{joined}");
    secrets.push(joined["resumeToken"].as_str().expect("a token").to_owned());
    for wrong in [
        json!({"type": "join_session", "roomCode": "kingfisher-44", "name": "Zebedee Quux"}),
        json!({"type": "join_session", "name": ["Zebedee Quux"]}),
        json!({"type": "join_session", "intention": "serenity\u{7}"}),
        json!({"type": "serenity"}),
        json!({"type": "auth", "pin": wrong_one(&pin)}),
        json!({"type": "auth", "token": "f99999999999999.serenity"}),
        json!({"type": "update_coherence", "rr": ["serenity"]}),
    ] {
        let mut guest = Phone::connect(&hub).await;
        assert_eq!(guest.ask(wrong.clone()).await["type"], "error", "{wrong}");
    }
    let known = phone.ask(json!({"type": "auth", "pin": pin})).await;
    secrets.push(known["token"].as_str().expect("a token").to_owned());
    let mut taken = who.clone();
    taken["name"] = "Zebedee Quux".into();
    for (body, status) in [(taken, 409), (json!({"roomCode": "kingfisher-45"}), 403)] {
        let answer = client
            .post(hub.url("/api/participants"))
            .json(&body)
            .send()
            .await;
        assert_eq!(answer.expect("an answer").status().as_u16(), status);
    }
    let id = joined["participantId"].as_str().expect("an id").to_owned();
    secrets.push(id.clone());
    let own = |end: &str| hub.url(&format!("/api/participants/{id}{end}"));
    let token = joined["resumeToken"].as_str().expect("a token");
    for (request, status) in [
        (client.get(own("/data")).bearer_auth(token), 200),
        (client.get(own("/data")).bearer_auth("serenity"), 401),
        (client.get(own("/nothing?name=Zebedee")), 404),
        (
            client.post(own("/rr")).bearer_auth(token).body("Zebedee"),
            415,
        ),
        (client.post(own("/leave")).bearer_auth(token), 204),
        (client.delete(own("")).bearer_auth(token), 204),
    ] {
        assert_eq!(
            request.send().await.expect("an answer").status().as_u16(),
            status
        );
    }
    let args = ["token", "new", "--scope", "metrics", "--name", "grafana"];
    let metrics = printed(&admin(dir.path(), &args));
    assert_eq!(get(hub.address, "/metrics", Some(&metrics)).await.0, 200);
    secrets.push(metrics[5..].to_owned());
    let new_pin = printed(&admin(dir.path(), &["pin", "--new"]));
    printed(&admin(dir.path(), &["pin", "--unlock"]));
    printed(&admin(dir.path(), &["token", "revoke", "grafana"]));
    // A change is told once it has lasted for some seconds.
    support::wait_until("the log tells of beats", || {
        hub.log().contains("beats arrive")
    })
    .await;
    bluez.vanish(1);
    let gone = |straps: &Value| {
        let all = straps["straps"].as_array();
        all.is_some_and(|all| all.iter().any(|strap| strap["state"] != "streaming"))
    };
    hub.until("/api/straps", "a strap that is gone", gone).await;
    let (status, log) = hub.stop().await;
    assert!(status.success(), "{log}");

    let db = rusqlite::Connection::open(dir.path().join("hub.db")).expect("the hub's database");
    let key: Vec<u8> = db
        .query_row("SELECT hub_key FROM meta", [], |row| row.get(0))
        .expect("a key");
    secrets.push(key.iter().map(|byte| format!("{byte:02x}")).collect());
    use base64::Engine;
    secrets.push(base64::engine::general_purpose::STANDARD_NO_PAD.encode(&key));
    secrets.push(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&key));
    secrets.push(format!("{key:?}").trim_matches(['[', ']']).to_owned());
    for strap in 0..2 {
        let address = bluez.address(strap);
        secrets.push(address.replace(':', "_"));
        secrets.push(address.replace(':', ""));
        secrets.push(address);
    }
    // That what would be found is found: the log is there, and the one line that may hold the PIN.
    let said = log.to_lowercase();
    for line in [
        "a wrong try",
        "the facilitator's pin was changed",
        "beats arrive",
    ] {
        assert!(said.contains(line), "{line}\n{log}");
    }
    let first_start = format!("pin={pin}");
    assert_eq!(log.matches(&first_start).count(), 1, "{log}");
    let rest = log.replacen(&first_start, "", 1);
    secrets.extend([pin, new_pin]);
    for secret in secrets {
        let found = said_in(&rest, &secret);
        assert!(
            found.is_none(),
            "{secret:?} is in the log: {}",
            found.unwrap_or_default()
        );
    }
}

/// The first line that holds it, in whatever case.
#[cfg(feature = "ble")]
fn said_in<'a>(log: &'a str, secret: &str) -> Option<&'a str> {
    let secret = secret.to_lowercase();
    log.lines()
        .find(|line| line.to_lowercase().contains(&secret))
}
