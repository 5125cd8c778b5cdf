//! The files for systemd, judged by systemd's own tools. Whether the hub behaves under a running
//! systemd is another test's question.
//!
//! The tools need no running systemd, only the package; `tests/run` installs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const UNIT: &str = include_str!("../systemd/coherence-hub.service");

/// Exposure as `systemd-analyze security` counts it: 0 is a sealed box, 9.6 no protection at all.
const HIGHEST_EXPOSURE: f64 = 2.0;

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("systemd")
        .join(name)
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|e| {
        panic!("{command:?}: {e}; tests/run installs the Debian package it is in")
    })
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The unit as it would be installed, but with a program that exists on this machine.
fn installed(dir: &Path) -> PathBuf {
    let shipped_start = "ExecStart=/usr/bin/coherence-hub run\n";
    assert!(UNIT.contains(shipped_start));
    let start = format!("ExecStart={} run\n", env!("CARGO_BIN_EXE_coherence-hub"));
    let path = dir.join("coherence-hub.service");
    std::fs::write(&path, UNIT.replace(shipped_start, &start)).unwrap();
    path
}

/// The values of a key, in order.
fn values<'a>(key: &str) -> Vec<&'a str> {
    UNIT.lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| *name == key)
        .map(|(_, value)| value)
        .collect()
}

#[test]
fn the_hub_may_open_as_many_sockets_as_can_be_configured() {
    let files: u32 = values("LimitNOFILE")[0].parse().unwrap();
    assert!(files > 60_000, "{files}");
}

#[test]
fn systemd_has_nothing_to_say_against_the_unit() {
    let dir = tempfile::tempdir().unwrap();
    let unit = installed(dir.path());
    let output = run(Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&unit));
    // Complaints about other units of this machine are not ours.
    let complaints: Vec<String> = said(&output)
        .lines()
        .filter(|line| line.contains("coherence-hub"))
        .map(str::to_owned)
        .collect();
    assert_eq!(complaints, Vec::<String>::new());
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn the_verifier_would_have_complained() {
    let dir = tempfile::tempdir().unwrap();
    let unit = installed(dir.path());
    let broken = std::fs::read_to_string(&unit)
        .unwrap()
        .replace("WatchdogSec=30", "WatchdogSeconds=30");
    std::fs::write(&unit, broken).unwrap();
    let output = run(Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&unit));
    assert!(said(&output).contains("WatchdogSeconds"));
}

#[test]
fn the_unit_is_well_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let unit = installed(dir.path());
    let output = run(Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--no-pager"])
        .arg(&unit));
    let text = said(&output);
    let exposure: f64 = text
        .split_once("Overall exposure level for coherence-hub.service: ")
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .unwrap_or_else(|| panic!("no verdict in: {text}"))
        .parse()
        .expect("the level is a number");
    println!("exposure {exposure}");
    assert!(exposure <= HIGHEST_EXPOSURE, "{text}");
}

#[test]
fn with_every_credential_switched_on_the_unit_is_still_right() {
    let dir = tempfile::tempdir().unwrap();
    let unit = installed(dir.path());
    let text = std::fs::read_to_string(&unit).unwrap();
    assert!(text.matches("\n#LoadCredential=").count() >= 3);
    std::fs::write(
        &unit,
        text.replace("\n#LoadCredential=", "\nLoadCredential="),
    )
    .unwrap();
    let output = run(Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&unit));
    assert!(
        !said(&output).contains("coherence-hub"),
        "{}",
        said(&output)
    );
}

#[test]
fn the_account_can_be_made_and_may_open_serial_ports() {
    // A root of its own: accounts of this machine play no part, and what is made can be read.
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("etc")).unwrap();
    let output = run(Command::new("systemd-sysusers")
        .arg(format!("--root={}", root.path().display()))
        .arg(shipped("coherence-hub.sysusers")));
    assert!(output.status.success(), "{}", said(&output));

    let read = |name: &str| std::fs::read_to_string(root.path().join("etc").join(name)).unwrap();
    let passwd = read("passwd");
    let account = passwd
        .lines()
        .find(|line| line.starts_with("coherence-hub:"))
        .expect("the account is made");
    assert!(account.contains(":/var/lib/coherence-hub:"), "{account}");
    assert!(account.ends_with("/nologin"), "{account}");
    let group = read("group");
    assert!(
        group
            .lines()
            .any(|line| line.starts_with("dialout:") && line.ends_with(":coherence-hub")),
        "{group}"
    );
}

#[test]
fn the_unit_holds_what_the_hub_relies_on() {
    assert_eq!(values("Type"), ["notify"]);
    assert_eq!(values("User"), ["coherence-hub"]);
    assert_eq!(values("ExecReload"), ["/bin/kill -HUP $MAINPID"]);
    assert_eq!(values("Restart"), ["always"]);
    assert_eq!(values("RestartSec"), ["1"]);
    assert_eq!(values("StartLimitIntervalSec"), ["0"]);
    // A large database is checked and copied before the hub is ready.
    assert_eq!(values("TimeoutStartSec"), ["infinity"]);
    assert_eq!(
        values("RestartPreventExitStatus"),
        [coherence_hub::cli::EXIT_CONFIG.to_string()]
    );
    // The hub complains before systemd ends it.
    let memory_max = values("MemoryMax")[0].strip_suffix('M').expect("in MB");
    let complains_at = coherence_hub::config::Alerts::default().memory_mb;
    assert!(memory_max.parse::<u32>().expect("a number") >= 2 * complains_at);
    // The default data directory is the one that systemd makes and leaves writable.
    let data_dir = coherence_hub::config::Store::default().data_dir;
    assert_eq!(
        data_dir,
        Path::new("/var/lib").join(values("StateDirectory")[0])
    );
    let config_file = Path::new(coherence_hub::config::CONFIG_FILE);
    assert_eq!(
        config_file.parent().unwrap(),
        Path::new("/etc").join(values("ConfigurationDirectory")[0])
    );
}
