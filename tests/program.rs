//! The program as an admin meets it: exit codes, messages, files, stopping.

mod support;

use std::process::{Command, Output};

use support::hub::{Hub, PROGRAM, quiet};

fn program(args: &[&str]) -> Output {
    quiet(&mut Command::new(PROGRAM))
        .args(args)
        .output()
        .expect("the program was built for this test")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn help_names_every_subcommand_and_no_arguments_show_help() {
    let help = program(&["--help"]);
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    for word in ["run", "demo", "score", "check-config", "pin", "token"] {
        assert!(text.contains(word), "{word} is missing in:\n{text}");
    }
    assert_eq!(help.status.code(), Some(0));
    assert_eq!(program(&[]).status.code(), Some(2));
    assert!(
        said(&program(&["dmeo"])).contains("demo"),
        "a slip of the finger is understood"
    );
}

#[test]
fn a_configuration_that_cant_be_used_ends_with_78_and_says_where() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let file = dir.path().join("hub.toml");
    std::fs::write(
        &file,
        "[web]\n\nlisten = \"0.0.0.0:8080\"\n[sesion]\nlength_min = 15\n",
    )
    .expect("writes");
    let path = file.to_str().expect("plain text");
    for args in [["run", "--config", path], ["check-config", path, "--show"]] {
        let output = program(&args);
        assert_eq!(output.status.code(), Some(78), "{}", said(&output));
        let text = said(&output);
        assert!(
            text.contains("sesion") && text.contains("session"),
            "the key and what was meant: {text}"
        );
        assert!(text.contains("hub.toml:4"), "the line: {text}");
    }
    assert_eq!(
        program(&["run", "--config", "/nonexistent/hub.toml"])
            .status
            .code(),
        Some(78)
    );
}

#[test]
fn a_certificate_that_cant_be_used_ends_with_78_and_says_which_file() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let file = dir.path().join("hub.toml");
    let config = "[web]\ntls_cert = \"/nonexistent/hub.crt\"\ntls_key = \"/nonexistent/hub.key\"\n";
    std::fs::write(&file, config).expect("writes");
    let path = file.to_str().expect("plain text");
    let data_dir = dir.path().to_str().expect("plain text");
    let output = program(&["run", "--config", path, "--data-dir", data_dir]);
    assert_eq!(output.status.code(), Some(78), "{}", said(&output));
    assert!(
        said(&output).contains("web.tls_cert /nonexistent/hub.crt: "),
        "{}",
        said(&output)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_data_directory_has_one_hub_and_one_port_one_listener() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let hub = Hub::demo(dir.path(), &["--people", "3"]).await;
    let data_dir = dir.path().to_str().expect("plain text");
    let second = program(&["demo", "--listen", "127.0.0.1:0", "--data-dir", data_dir]);
    assert_eq!(second.status.code(), Some(70));
    assert!(
        said(&second).contains("another hub is running"),
        "{}",
        said(&second)
    );
    let third = program(&["demo", "--listen", &hub.address.to_string()]);
    assert_eq!(third.status.code(), Some(70));
    assert!(
        said(&third).contains("--listen"),
        "says what to do: {}",
        said(&third)
    );
    let (status, log) = hub.stop().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("stopping"));
    assert!(
        !dir.path().join("hub.sock").exists(),
        "nothing is left behind but the data"
    );
    // The PIN can be read when no hub runs, and is the same.
    let pin = program(&["pin", "--data-dir", data_dir]);
    assert_eq!(pin.status.code(), Some(0), "{}", said(&pin));
    assert!(
        log.contains(String::from_utf8_lossy(&pin.stdout).trim()),
        "as shown at the first start"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_database_is_refused_with_78() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    Hub::demo(dir.path(), &["--people", "3"]).await.stop().await;
    let db = rusqlite::Connection::open(dir.path().join("hub.db")).expect("the hub's database");
    db.pragma_update(None, "user_version", 999)
        .expect("it can be written");
    drop(db);
    let output = program(&[
        "demo",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        dir.path().to_str().expect("plain text"),
    ]);
    assert_eq!(output.status.code(), Some(78), "{}", said(&output));
    assert!(said(&output).contains("999"), "{}", said(&output));
}

#[test]
fn the_pin_of_no_hub_is_an_error_in_words() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let output = program(&[
        "pin",
        "--data-dir",
        dir.path().to_str().expect("plain text"),
    ]);
    assert_ne!(output.status.code(), Some(0));
    assert!(said(&output).contains("PIN"), "{}", said(&output));
}
