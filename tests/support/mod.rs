//! What the tests of the whole hub share: the real program as a child process, phones on real
//! sockets, and the data they are fed with. Not here: assertions about the hub.

#![allow(dead_code)] // each test binary uses its own part

pub mod backlog;
pub mod broker;
pub mod browser;
pub mod collector;
pub mod dice;
pub mod fake_bluez;
pub mod heart;
pub mod hub;
pub mod phone;
pub mod private_bus;
#[path = "../../hal/tests/support/pty.rs"]
pub mod pty;
pub mod recompute;
pub mod small_disk;
pub mod wire;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long anything in a test may take before it has failed. Generous: the machine may be busy.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The project's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder beside the project that holds what is not ours to ship; says loudly when it is absent.
pub fn shared(folder: &str) -> Option<PathBuf> {
    let path = root().join("../shared").join(folder);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!(
        "ABSENT: ../shared/{folder} is not beside the project, so what needs it was NOT tested"
    );
    None
}

/// A number that whoever starts a long run may set; panics when it is none.
pub fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// Waits until `condition` holds, looking often; panics with `what` when it does not in time.
pub async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < DEADLINE, "did not happen in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// As [`wait_until`], for a condition that must itself be waited for.
pub async fn wait_until_async(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !condition().await {
        assert!(begin.elapsed() < DEADLINE, "did not happen in time: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
