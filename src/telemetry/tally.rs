//! What happens is counted here twice: for `/metrics`, which can be rendered but not read, and for the
//! hub's own eyes, which look every few seconds. One for the process, as the recorder of metrics is.
//!
//! What follows from the counts is decided in `load`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::load::{BUCKETS, Fault, Latency, Slice, bucket};
use super::metric;

struct Tally {
    faults: [AtomicU64; 4],
    frames_in: AtomicU64,
    frames_out: AtomicU64,
    latency: [AtomicU64; BUCKETS],
    latency_max_us: AtomicU64,
    commit_max_us: AtomicU64,
    compute_max_us: AtomicU64,
    connections: AtomicU64,
    outbox_rows: AtomicU64,
}

static TALLY: Tally = Tally {
    faults: [const { AtomicU64::new(0) }; 4],
    frames_in: AtomicU64::new(0),
    frames_out: AtomicU64::new(0),
    latency: [const { AtomicU64::new(0) }; BUCKETS],
    latency_max_us: AtomicU64::new(0),
    commit_max_us: AtomicU64::new(0),
    compute_max_us: AtomicU64::new(0),
    connections: AtomicU64::new(0),
    outbox_rows: AtomicU64::new(0),
};

/// So many things went wrong.
pub fn fault(kind: Fault, count: u64) {
    TALLY.faults[kind as usize].fetch_add(count, Relaxed);
    metrics::counter!(metric::ERRORS, "kind" => kind.word()).increment(count);
}

/// A frame came from a phone.
pub fn frame_in() {
    TALLY.frames_in.fetch_add(1, Relaxed);
    metrics::counter!(metric::WS_FRAMES_RECEIVED).increment(1);
}

/// Frames went to a phone.
pub fn frames_out(count: usize) {
    TALLY.frames_out.fetch_add(count as u64, Relaxed);
    metrics::counter!(metric::WS_FRAMES_SENT).increment(count as u64);
}

/// A phone's socket has taken the figures of a grid point, so long after it.
pub fn update_sent(late: Duration) {
    let us = micros(late);
    TALLY.latency[bucket(us)].fetch_add(1, Relaxed);
    TALLY.latency_max_us.fetch_max(us, Relaxed);
    metrics::histogram!(metric::UPDATE_LATENCY_SECONDS).record(late);
}

/// The database took so long for a commit.
pub fn committed(took: Duration) {
    TALLY.commit_max_us.fetch_max(micros(took), Relaxed);
    metrics::histogram!(metric::DB_COMMIT_SECONDS).record(took);
}

/// Scoring all hearts took so long.
pub fn computed(took: Duration) {
    TALLY.compute_max_us.fetch_max(micros(took), Relaxed);
    metrics::histogram!(metric::COMPUTE_SECONDS).record(took);
}

/// What waits for the central store, and for how long the oldest of it has.
pub fn outbox(rows: u64, oldest: Duration) {
    TALLY.outbox_rows.store(rows, Relaxed);
    metrics::gauge!(metric::OUTBOX_ROWS).set(rows as f64);
    metrics::gauge!(metric::OUTBOX_OLDEST_SECONDS).set(oldest);
}

/// An open connection; it is counted for as long as this lives.
#[derive(Debug)]
pub struct Connection(());

impl Connection {
    pub fn opened() -> Self {
        TALLY.connections.fetch_add(1, Relaxed);
        metrics::gauge!(metric::HTTP_CONNECTIONS).increment(1);
        Connection(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        TALLY.connections.fetch_sub(1, Relaxed);
        metrics::gauge!(metric::HTTP_CONNECTIONS).decrement(1);
    }
}

/// Connections that are open.
pub fn connections() -> u64 {
    TALLY.connections.load(Relaxed)
}

/// Rows that wait for the central store.
pub fn outbox_rows() -> u64 {
    TALLY.outbox_rows.load(Relaxed)
}

/// What was counted since the last time; processor and real time are the caller's to add.
pub fn take() -> Slice {
    let take = |count: &AtomicU64| count.swap(0, Relaxed);
    let ms = |us: &AtomicU64| take(us) as f64 / 1000.0;
    Slice {
        faults: std::array::from_fn(|i| take(&TALLY.faults[i])),
        frames_in: take(&TALLY.frames_in),
        frames_out: take(&TALLY.frames_out),
        latency: Latency {
            counts: std::array::from_fn(|i| take(&TALLY.latency[i])),
            max_us: take(&TALLY.latency_max_us),
        },
        commit_ms: ms(&TALLY.commit_max_us),
        compute_ms: ms(&TALLY.compute_max_us),
        cpu_ms: 0.0,
        lasted_ms: 0.0,
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
