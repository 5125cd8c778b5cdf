//! How the store is doing, told without asking its thread: atomics that the thread and the handles
//! write and anybody may read.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

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
    /// Rows lost: the inbox was full, or the disk took none for too long.
    pub dropped: u64,
    /// Rows not kept because they did not fit what is stored.
    pub refused: u64,
    /// Rows in memory that wait for the disk.
    pub waiting_rows: u64,
    /// Whether the last attempt to write failed.
    pub failing: bool,
    /// What the last failure said; stays after the recovery.
    pub last_error: Option<String>,
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
    last_error: Mutex<Option<String>>,
}

impl Gauges {
    pub fn committed(&self, rows: usize, took: Duration) {
        tally::committed(took);
        add(&self.commits, 1);
        add(&self.rows, rows);
    }

    pub fn failed(&self, error: &dyn std::fmt::Display) {
        add(&self.failed, 1);
        // A poisoned lock only means that somebody panicked beside an intact text.
        *self.last_error.lock().unwrap_or_else(|e| e.into_inner()) = Some(error.to_string());
    }

    pub fn picture(&self, queue_len: usize) -> StoreHealth {
        let get = |gauge: &AtomicU64| gauge.load(Ordering::Relaxed);
        StoreHealth {
            commits: get(&self.commits),
            failed: get(&self.failed),
            rows: get(&self.rows),
            dropped: get(&self.dropped),
            refused: get(&self.refused),
            waiting_rows: get(&self.waiting_rows),
            failing: self.failing.load(Ordering::Relaxed),
            last_error: self
                .last_error
                .lock()
                .unwrap_or_else(|e| e.into_inner())
                .clone(),
            queue_len,
        }
    }
}

pub(super) fn add(gauge: &AtomicU64, count: usize) {
    gauge.fetch_add(count as u64, Ordering::Relaxed);
}
