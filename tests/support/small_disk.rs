//! A small file system of the test's own, which can be filled and made read-only: a tmpfs in a
//! namespace of its own, which needs no privilege where the kernel lets users make namespaces.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::hub::{PROGRAM, quiet};
use super::wait_until;

pub struct SmallDisk {
    /// Keeps the namespace; killed when dropped, and with it the disk is gone.
    holder: Child,
    own_user_namespace: bool,
    mount_point: tempfile::TempDir,
}

impl SmallDisk {
    pub async fn new(megabytes: u32) -> SmallDisk {
        let works = |args: &[&str]| {
            let tried = Command::new("unshare")
                .args(args)
                .args(["mount", "-t", "tmpfs", "none", "/mnt"])
                .output();
            tried.is_ok_and(|output| output.status.success())
        };
        let own_user_namespace = works(&["--user", "--map-root-user", "--mount"]);
        assert!(
            own_user_namespace || works(&["--mount"]),
            "this test needs a small disk of its own: let users make namespaces (sysctl \
             kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0), or run it as root"
        );
        let mount_point = tempfile::tempdir().expect("a directory for the test");
        let mut command = Command::new("unshare");
        if own_user_namespace {
            command.args(["--user", "--map-root-user"]);
        }
        let holder = command
            .args(["--mount", "sh", "-c"])
            .arg("mount -t tmpfs -o size=\"$0\",mode=0700 none \"$1\" && touch \"$1/mounted\" && exec sleep 3600")
            .arg(format!("{megabytes}m"))
            .arg(mount_point.path())
            .stdin(Stdio::null())
            .spawn()
            .expect("it was just tried");
        let disk = SmallDisk {
            holder,
            own_user_namespace,
            mount_point,
        };
        wait_until("the small disk is there", || {
            disk.outside().join("mounted").exists()
        })
        .await;
        disk
    }

    /// As the hub sees it.
    pub fn inside(&self) -> &Path {
        self.mount_point.path()
    }

    /// As the test sees it.
    pub fn outside(&self) -> PathBuf {
        let inside = self.inside().strip_prefix("/").expect("it is absolute");
        Path::new(&format!("/proc/{}/root", self.holder.id())).join(inside)
    }

    /// A command that sees the disk.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().to_string()]);
        if self.own_user_namespace {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.args(["--mount", "--"]).arg(program);
        command
    }

    /// `coherence-hub demo` with its data on this disk.
    pub fn demo(&self) -> Command {
        let mut command = self.command(PROGRAM);
        quiet(&mut command)
            .args(["demo", "--listen", "127.0.0.1:0", "--people", "6"])
            .arg("--data-dir")
            .arg(self.inside());
        command
    }

    /// Leaves not a byte free.
    pub fn fill(&self) {
        let mut ballast = fs::File::create(self.outside().join("ballast")).expect("it can be made");
        for size in [65_536, 4_096, 1] {
            while ballast.write_all(&vec![0xA5; size]).is_ok() {}
        }
    }

    pub fn free(&self) {
        fs::remove_file(self.outside().join("ballast")).expect("it was filled");
    }

    /// `mount -o remount,ro` or `rw`; nothing on it may be open for writing.
    pub fn remount(&self, how: &str) {
        let output = self
            .command("mount")
            .args(["-o", &format!("remount,{how}")])
            .arg(self.inside())
            .output()
            .expect("mount is everywhere");
        assert!(output.status.success(), "{output:?}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Already gone is fine.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
