//! What the hub tells systemd: ready, reloading, stopping, alive, and one line for `systemctl status`.
//!
//! Without a service manager (`NOTIFY_SOCKET` unset) everything here does nothing. Whether the
//! hub *is* alive is judged by whoever calls [`feed_watchdog`].

use std::time::Duration;

use sd_notify::NotifyState;

/// The hub serves. `status` is shown by `systemctl status`.
pub fn ready(status: &str) {
    let status = one_line(status);
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// The configuration is being read again; [`reloaded`] must follow.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the service manager is not told of the reload"),
    }
}

/// The reload is over, whatever came of it.
pub fn reloaded() {
    tell(&[NotifyState::Ready]);
}

/// The hub was asked to end and is saving what it has.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("Stopping")]);
}

/// A new line for `systemctl status`.
pub fn status(text: &str) {
    tell(&[NotifyState::Status(&one_line(text))]);
}

/// How often [`feed_watchdog`] must be called: half the time after which systemd would kill us.
/// None if nobody watches.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

/// Sign of life. To be given only by somebody who has made sure.
pub fn feed_watchdog() {
    tell(&[NotifyState::Watchdog]);
}

/// A newline would begin another assignment.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

fn tell(news: &[NotifyState<'_>]) {
    // No reason to stop serving a room: systemd will act on the silence.
    if let Err(error) = sd_notify::notify(news) {
        tracing::warn!(%error, "cannot reach the service manager");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::process::Command;

    use super::*;

    /// Set in the child process of a test: it plays the hub.
    const CHILD: &str = "COHERENCE_TEST_NOTIFIES";

    /// Runs `hub` in a process of its own (a process's environment can't be changed safely while
    /// other tests run): the calling test once more. Returns what it said to systemd, datagram by
    /// datagram; nothing in the child itself.
    fn said(test: &str, watchdog: bool, hub: impl FnOnce()) -> Option<Vec<String>> {
        if std::env::var_os(CHILD).is_some() {
            hub();
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", &format!("systemd::tests::{test}")])
            .env(CHILD, "1")
            .env("NOTIFY_SOCKET", &path)
            .env_remove("WATCHDOG_PID")
            .env_remove("WATCHDOG_USEC");
        if watchdog {
            command.env("WATCHDOG_USEC", "30000000");
        }
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}");
        assert!(text.contains("1 passed"), "no such test: {text}");

        let mut buffer = [0; 4096];
        let datagrams = std::iter::from_fn(|| {
            let length = socket.recv(&mut buffer).ok()?;
            Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
        });
        Some(datagrams.collect())
    }

    #[test]
    fn systemd_hears_the_whole_life_of_the_hub() {
        let life = || {
            ready("Listening on port 8080");
            assert_eq!(watchdog_interval(), Some(Duration::from_secs(15)));
            feed_watchdog();
            status("12 hearts\nWATCHDOG=trigger");
            reloading();
            reloaded();
            stopping();
        };
        let Some(heard) = said("systemd_hears_the_whole_life_of_the_hub", true, life) else {
            return;
        };
        let timed = |news: &str| {
            Some(
                news.strip_prefix("RELOADING=1\nMONOTONIC_USEC=")?
                    .to_owned(),
            )
        };
        let reload = heard
            .iter()
            .find_map(|news| timed(news))
            .expect("it was told");
        assert!(reload.trim_end().parse::<u64>().is_ok(), "{reload}");
        let heard: Vec<&str> = heard
            .iter()
            .map(|news| news.split("MONOTONIC_USEC").next().unwrap())
            .collect();
        assert_eq!(
            heard,
            [
                "READY=1\nSTATUS=Listening on port 8080\n",
                "WATCHDOG=1\n",
                "STATUS=12 hearts WATCHDOG=trigger\n",
                "RELOADING=1\n",
                "READY=1\n",
                "STOPPING=1\nSTATUS=Stopping\n",
            ]
        );
    }

    #[test]
    fn nobody_watches_unless_asked() {
        let unwatched = || assert_eq!(watchdog_interval(), None);
        if let Some(heard) = said("nobody_watches_unless_asked", false, unwatched) {
            assert_eq!(heard, Vec::<String>::new());
        }
    }
}
