//! SIGHUP: what was changed in the file is in force, and nobody was disconnected.

mod support;

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use support::hub::{Hub, PROGRAM, quiet};
use support::phone::Phone;

/// Three calm hearts, played so fast that there are scores after a few seconds and for minutes more.
fn config(dir: &Path, more: &str) -> String {
    let mut files = Vec::new();
    for heart in 0..3 {
        let file = dir.join(format!("heart{heart}.csv"));
        let mut at_s = f64::from(heart);
        let mut text = String::from("rr_ms\n");
        for _ in 0..4_000 {
            let rr_ms = 850.0 + 60.0 * (at_s * 0.1 * std::f64::consts::TAU).sin();
            at_s += rr_ms / 1000.0;
            text.push_str(&format!("{rr_ms:.0}\n"));
        }
        std::fs::write(&file, text).expect("the test's own directory");
        files.push(file);
    }
    format!(
        "[straps]\nble = false\nreplay = {files:?}\n[clock]\ntrust = \"always\"\n\
         [test]\nclock_speed = 20.0\n{more}\n"
    )
}

fn write(dir: &Path, text: &str) {
    std::fs::write(dir.join("hub.toml"), text).expect("the test's own directory");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_stays_through_reloads_and_sees_what_was_changed() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let before = "[privacy]\nmin_group_live = 2\n[room]\nmax_participants = 1";
    let hub = Hub::run(dir.path(), &config(dir.path(), before), None).await;
    let mut phone = Phone::connect(&hub).await;
    phone.send(json!({"type": "join_session"})).await;
    phone.wait_for("session_joined").await;
    phone
        .wait_where("group_metrics_update", |group| group["average"].is_u64())
        .await;
    let mut second = Phone::connect(&hub).await;
    second.send(json!({"type": "join_session"})).await;
    assert_eq!(second.wait_for("error").await["code"], "room_full");

    // A good one: what can change has changed, what can't is named, and secrets are not told.
    let after = "[privacy]\nmin_group_live = 50\nmin_distribution_live = 50\n\
                 [room]\nmax_participants = 2\n[session]\nlength_min = 10\n\
                 [access]\nroom_code = \"tulip\"\n[log]\nlevel = \"debug\"";
    write(dir.path(), &config(dir.path(), after));
    hub.signal("-HUP");
    hub.says(
        "now in force: access.room_code, log.level, privacy.min_distribution_live, \
         privacy.min_group_live, room.max_participants",
        1,
    )
    .await;
    hub.says(
        "needs a restart: session.length_min; the old values stay in force",
        1,
    )
    .await;
    assert!(!hub.log().contains("tulip"), "{}", hub.log());
    for _ in 0..2 {
        phone
            .wait_where("group_metrics_update", |group| {
                group["suppressed"] == "too_few"
            })
            .await;
    }
    let session = hub.get("/health").await["session"].clone();
    let lasts = session["endsAt"].as_i64().zip(session["startsAt"].as_i64());
    assert_eq!(lasts.map(|(end, start)| end - start), Some(900_000));

    // A bad one: said once, with its place; everything is as it was.
    write(
        dir.path(),
        &config(dir.path(), "[privacy]\nmin_grup_live = 1"),
    );
    hub.signal("-HUP");
    hub.says("the old configuration stays in force", 1).await;
    let log = hub.log();
    let line = log
        .lines()
        .find(|line| line.contains("the old configuration stays in force"))
        .expect("just seen");
    for part in ["hub.toml:9:1", "min_grup_live", "did you mean", "ERROR"] {
        assert!(line.contains(part), "{part} is not in: {line}");
    }
    phone
        .wait_where("group_metrics_update", |group| {
            group["suppressed"] == "too_few"
        })
        .await;

    // The same as at first: everything goes back, and the phone is still the same socket.
    write(dir.path(), &config(dir.path(), before));
    hub.signal("-HUP");
    hub.says("now in force:", 2).await;
    phone
        .wait_where("group_metrics_update", |group| group["average"].is_u64())
        .await;
    phone.send(json!({"type": "heartbeat"})).await;
    phone.wait_for("heartbeat_response").await;
    let (status, log) = hub.stop().await;
    assert!(status.success(), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_of_the_hub_and_its_certificate_follow_a_reload() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let quiet = "[straps]\nble = false\n";
    let hub = Hub::run(dir.path(), quiet, None).await;
    let client = reqwest::Client::new();
    let call = |name: &'static str| {
        let asked = client.get(hub.url("/api/time")).header("host", name).send();
        async { asked.await.expect("the hub answers").status().as_u16() }
    };
    assert_eq!(call("hub.example.org").await, 421);
    write(
        dir.path(),
        &format!("{quiet}[web]\nhosts = [\"hub.example.org\"]\n"),
    );
    hub.signal("-HUP");
    hub.says("now in force: web.hosts", 1).await;
    assert_eq!(call("hub.example.org").await, 200);
    assert_eq!(call("evil.example").await, 421);

    // A certificate that can't be used changes nothing, names included.
    write(
        dir.path(),
        &format!("{quiet}[web]\ntls_cert = \"/nonexistent/a\"\ntls_key = \"/nonexistent/b\"\n"),
    );
    hub.signal("-HUP");
    hub.says("the old configuration stays in force", 1).await;
    assert_eq!(call("hub.example.org").await, 200);

    let made = rcgen::generate_simple_self_signed(vec!["hub.example.org".into()]);
    let made = made.expect("a certificate for the test");
    let (cert, key) = (dir.path().join("hub.crt"), dir.path().join("hub.key"));
    std::fs::write(&cert, made.cert.pem()).expect("the test's own directory");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("the test's own directory");
    write(
        dir.path(),
        &format!("{quiet}[web]\ntls_cert = {cert:?}\ntls_key = {key:?}\n"),
    );
    hub.signal("-HUP");
    hub.says("now in force: web.hosts, web.tls_cert, web.tls_key", 1)
        .await;
    // Plain HTTP is now told so, on a connection of its own.
    let fresh = reqwest::Client::new();
    let asked = fresh.get(hub.url("/api/time")).send().await;
    let told = asked.expect("the hub answers").text().await.expect("text");
    assert!(told.contains("https_needed"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_that_is_told_to_reload_says_that_it_has_nothing_to_read() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let hub = Hub::demo(dir.path(), &["--people", "3"]).await;
    hub.signal("-HUP");
    hub.says("no configuration to read again", 1).await;
    assert_eq!(hub.get("/health").await["parts"]["store"]["status"], "ok");
    assert!(hub.stop().await.0.success());
}

#[test]
fn check_config_marks_what_waits_for_a_restart() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    write(dir.path(), "");
    let output = quiet(&mut Command::new(PROGRAM))
        .arg("check-config")
        .arg(dir.path().join("hub.toml"))
        .output()
        .expect("the program was built for this test");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let line = |key: &str| {
        text.lines()
            .find(|line| line.starts_with(key))
            .unwrap_or_else(|| panic!("no {key} in {text}"))
    };
    assert!(line("web.listen =").ends_with("# built in; needs a restart"));
    assert!(line("web.hosts =").ends_with("# built in"));
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_hears_of_readiness_reloads_life_and_the_end() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    write(dir.path(), "[straps]\nble = false\n");
    let mut command = Command::new(PROGRAM);
    quiet(&mut command)
        .args(["run", "--listen", "127.0.0.1:0", "--config"])
        .arg(dir.path().join("hub.toml"))
        .arg("--data-dir")
        .arg(dir.path())
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "30000000");
    let hub = Hub::start(&mut command).await;
    socket.set_nonblocking(true).expect("its own socket");
    let mut heard = String::new();
    let mut hears = async |what: &str, times: usize| {
        let listen = || {
            let mut buffer = [0; 4096];
            while let Ok(length) = socket.recv(&mut buffer) {
                heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
            heard.matches(what).count() >= times
        };
        support::wait_until(&format!("{what} is heard"), listen).await;
    };
    hears("READY=1", 1).await;
    hears("WATCHDOG=1", 1).await;
    hub.signal("-HUP");
    hears("RELOADING=1\nMONOTONIC_USEC=", 1).await;
    hears("READY=1", 2).await;
    // A reload that came to nothing is over all the same: systemctl waits for that word.
    write(dir.path(), "[straps]\nblue = false\n");
    hub.signal("-HUP");
    hears("RELOADING=1", 2).await;
    hears("READY=1", 3).await;
    let (status, _) = hub.stop().await;
    assert!(status.success());
    hears("STOPPING=1", 1).await;
}
