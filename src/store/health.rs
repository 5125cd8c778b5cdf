//! How the store is doing, told without asking its thread: atomics that the thread and the handles
//! write and anybody may read.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use super::error::StoreError;
use crate::telemetry::tally;

/// A picture of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreHealth {
    /// Commits that reached the file.
    pub commits: u64,
    /// Commits that failed.
    pub failed: u64,
    /// Rows that were written.
    pub rows: u64,
    /// Rows lost: the disk was too slow or took none for too long.
    pub dropped: u64,
    /// Rows not kept because they did not fit what is stored.
    pub refused: u64,
    /// Rows in memory that wait for the disk, or for room in the inbox.
    pub waiting_rows: u64,
    /// Whether the last attempt to write failed.
    pub failing: bool,
    /// What the last failure said; stays after the recovery.
    pub last_error: Option<String>,
    /// What a person can do about it; may be empty.
    pub advice: String,
    /// The database can't be opened at all.
    pub away: bool,
    /// Where a damaged database was moved to in the life of this process, and why.
    pub set_aside: Option<String>,
    /// Messages in the inbox.
    pub queue_len: usize,
}

/// The live counters behind it.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    pub commits: AtomicU64,
    pub failed: AtomicU64,
    pub rows: AtomicU64,
    pub dropped: AtomicU64,
    pub refused: AtomicU64,
    pub waiting_rows: AtomicU64,
    pub failing: AtomicBool,
    pub away: AtomicBool,
    /// The data directory, for the advice.
    dir: PathBuf,
    last_error: Mutex<Option<(String, String)>>,
    set_aside: Mutex<Option<String>>,
}

impl Gauges {
    pub fn of(database: &Path) -> Gauges {
        Gauges {
            dir: data_dir(database).to_owned(),
            ..Gauges::default()
        }
    }

    pub fn committed(&self, rows: usize, took: Duration) {
        tally::committed(took);
        add(&self.commits, 1);
        add(&self.rows, rows);
    }

    pub fn failed(&self, error: &StoreError) {
        add(&self.failed, 1);
        self.told(error);
    }

    /// Notes what is wrong; nothing was tried.
    pub fn told(&self, error: &StoreError) {
        *lock(&self.last_error) = Some((error.to_string(), error.advice(&self.dir)));
    }

    pub fn was_set_aside(&self, text: Option<String>) {
        if text.is_some() {
            *lock(&self.set_aside) = text;
        }
    }

    /// What was set aside is no longer said to be there when it is not.
    pub fn copies_are_gone(&self, names: &[String]) {
        let mut aside = lock(&self.set_aside);
        let is_it = |text: &String| {
            names
                .iter()
                .any(|name| text.contains(&format!("/{name} (")))
        };
        if aside.as_ref().is_some_and(is_it) {
            *aside = None;
        }
    }

    pub fn picture(&self, queue_len: usize) -> StoreHealth {
        let get = |gauge: &AtomicU64| gauge.load(Ordering::Relaxed);
        let (last_error, advice) = lock(&self.last_error).clone().unzip();
        StoreHealth {
            commits: get(&self.commits),
            failed: get(&self.failed),
            rows: get(&self.rows),
            dropped: get(&self.dropped),
            refused: get(&self.refused),
            waiting_rows: get(&self.waiting_rows),
            failing: self.failing.load(Ordering::Relaxed),
            last_error,
            advice: advice.unwrap_or_default(),
            away: self.away.load(Ordering::Relaxed),
            set_aside: lock(&self.set_aside).clone(),
            queue_len,
        }
    }
}

/// Where the database lies.
pub(super) fn data_dir(database: &Path) -> &Path {
    let dir = database.parent().filter(|dir| !dir.as_os_str().is_empty());
    dir.unwrap_or(Path::new("."))
}

/// A poisoned lock only means that somebody panicked beside an intact text.
fn lock<T>(text: &Mutex<T>) -> MutexGuard<'_, T> {
    text.lock().unwrap_or_else(|e| e.into_inner())
}

pub(super) fn add(gauge: &AtomicU64, count: usize) {
    gauge.fetch_add(count as u64, Ordering::Relaxed);
}
