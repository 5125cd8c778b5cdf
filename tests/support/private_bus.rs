//! A D-Bus daemon of the test's own, in a temporary folder. No BlueZ here (see `fake_bluez`).
#![allow(dead_code, reason = "each test binary uses a part")]

use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What Debian's default policy for `org.bluez` comes to: everybody may own, send and hear.
const CONFIG: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=SOCKET</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="false"/>
    <allow receive_sender="*"/>
    <allow own="*"/>
    <allow user="*"/>
  </policy>
</busconfig>
"#;

/// Runs until it is dropped.
pub struct PrivateBus {
    folder: PathBuf,
    daemon: Option<Child>,
    /// The folder is removed with this, unless the test brought its own.
    _own_folder: Option<tempfile::TempDir>,
}

impl PrivateBus {
    /// A bus with nobody on it.
    pub fn start() -> Self {
        let own = tempfile::tempdir().expect("a temporary folder can be made");
        let mut bus = Self::start_in(own.path());
        bus._own_folder = Some(own);
        bus
    }

    /// A bus whose address is known beforehand: [`PrivateBus::address_in`] the same folder.
    pub fn start_in(folder: &Path) -> Self {
        let mut bus = PrivateBus {
            folder: folder.into(),
            daemon: None,
            _own_folder: None,
        };
        bus.revive();
        bus
    }

    pub fn address_in(folder: &Path) -> String {
        format!("unix:path={}", folder.join("bus").display())
    }

    /// For `DBUS_SYSTEM_BUS_ADDRESS`.
    pub fn address(&self) -> String {
        Self::address_in(&self.folder)
    }

    /// The daemon dies; its clients lose their connections.
    pub fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon
                .kill()
                .expect("a child that was not waited for can be killed");
            daemon.wait().expect("a killed child can be waited for");
        }
        let _ = std::fs::remove_file(self.folder.join("bus"));
    }

    /// Starts the daemon (again) at the same address; returns once it listens.
    pub fn revive(&mut self) {
        self.kill();
        let config = self.folder.join("bus.conf");
        let socket = self.folder.join("bus");
        std::fs::write(
            &config,
            CONFIG.replace("SOCKET", &socket.display().to_string()),
        )
        .expect("the temporary folder is writable");
        let spawned = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", config.display()))
            .args(["--nofork", "--nopidfile", "--print-address=1"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        let mut daemon = match spawned {
            Ok(daemon) => daemon,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                panic!("dbus-daemon is missing: install Debian's package dbus-daemon")
            }
            Err(e) => panic!("dbus-daemon does not start: {e}"),
        };
        let stdout = daemon.stdout.take().expect("stdout is piped");
        self.daemon = Some(daemon);
        let mut address = String::new();
        BufReader::new(stdout)
            .read_line(&mut address)
            .expect("dbus-daemon's output is readable");
        assert!(
            address.starts_with("unix:"),
            "dbus-daemon ended before it listened"
        );
    }
}

impl Drop for PrivateBus {
    fn drop(&mut self) {
        self.kill();
    }
}
