//! Every metric by name, with what it means. Counting happens where things happen.
//!
//! No metric has a participant, a session or a strap as a label: their number would grow for
//! ever, and `/metrics` would tell who is in the room.

use std::sync::Mutex;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::TelemetryError;

/// Counter.
pub const RR_RECEIVED: &str = "coherence_rr_received_total";
/// Counter, by `reason` (the mark of the R-R interval).
pub const RR_REJECTED: &str = "coherence_rr_rejected_total";
/// Counter.
pub const MEASUREMENTS_MALFORMED: &str = "coherence_measurements_malformed_total";
/// Counter.
pub const DUPLICATES: &str = "coherence_measurements_duplicate_total";
/// Counter.
pub const TRAILING_BYTES: &str = "coherence_measurement_trailing_bytes_total";
/// Counter.
pub const GAPS: &str = "coherence_rr_gaps_total";
/// Counter.
pub const GRID_SKIPPED: &str = "coherence_grid_points_skipped_total";
/// Gauge, by `transport` and `state`.
pub const STRAPS: &str = "coherence_straps";
/// Gauge.
pub const PARTICIPANTS: &str = "coherence_participants";
/// Gauge: open sockets.
pub const PHONES: &str = "coherence_phones";
/// Gauge.
pub const SCORED_HEARTS: &str = "coherence_scored_hearts";
/// Histogram, seconds.
pub const COMPUTE_SECONDS: &str = "coherence_compute_seconds";
/// Histogram, seconds.
pub const STORE_COMMIT_SECONDS: &str = "coherence_store_commit_seconds";
/// Counter.
pub const STORE_ROWS_DROPPED: &str = "coherence_store_rows_dropped_total";
/// Counter.
pub const STORE_COMMITS_FAILED: &str = "coherence_store_commits_failed_total";
/// Counter.
pub const FRAMES_DROPPED: &str = "coherence_frames_dropped_total";
/// Gauge, 0 or 1.
pub const CLOCK_SYNCED: &str = "coherence_clock_synced";
/// Counter.
pub const WS_FRAMES_RECEIVED: &str = "coherence_ws_frames_received_total";
/// Counter, by `route` (the pattern, not the path) and `status`.
pub const HTTP_REQUESTS: &str = "coherence_http_requests_total";

/// Gauge.
pub const OUTBOX_ROWS: &str = "coherence_outbox_rows";
/// Gauge, seconds.
pub const OUTBOX_OLDEST_SECONDS: &str = "coherence_outbox_oldest_seconds";
/// Gauge.
pub const OUTBOX_DEAD_LETTERS: &str = "coherence_outbox_dead_letters";
/// Counter.
pub const OUTBOX_THINNED: &str = "coherence_outbox_thinned_total";
/// Gauge: 0 off, 1 not connected, 2 connected.
pub const UPLINK_STATE: &str = "coherence_uplink_state";
/// Counter.
pub const UPLINK_PUBLISHED: &str = "coherence_uplink_published_total";
/// Counter.
pub const UPLINK_ACKNOWLEDGED: &str = "coherence_uplink_acknowledged_total";
/// Counter.
pub const UPLINK_REFUSED: &str = "coherence_uplink_refused_total";
/// Gauge, seconds.
pub const E2E_ACK_LAG_SECONDS: &str = "coherence_e2e_ack_lag_seconds";

/// Upper bounds in seconds. A grid point's computation should take milliseconds and must not
/// take 5 s; a commit on an SD card takes anything from one millisecond to seconds.
const SECONDS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// Makes this process's recorder, once; later calls get the same one. Whoever holds the handle
/// must call `run_upkeep` every few seconds, or histograms grow.
pub fn install() -> Result<PrometheusHandle, TelemetryError> {
    // A process has one recorder, but tests run several hubs in one process.
    static HANDLE: Mutex<Option<PrometheusHandle>> = Mutex::new(None);
    let mut handle = HANDLE
        .lock()
        .expect("nothing below panics while holding the lock");
    if let Some(handle) = &*handle {
        return Ok(handle.clone());
    }
    let made = builder()?.install_recorder()?;
    describe();
    *handle = Some(made.clone());
    Ok(made)
}

fn builder() -> Result<PrometheusBuilder, TelemetryError> {
    Ok(PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(COMPUTE_SECONDS.into()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Full(STORE_COMMIT_SECONDS.into()), &SECONDS)?)
}

/// Says what each metric is, and lets counters without labels start at zero: an alert on a
/// counter that first appears with its first failure would miss that failure.
fn describe() {
    describe_counter!(
        RR_RECEIVED,
        Unit::Count,
        "R-R intervals heard from straps and phones"
    );
    describe_counter!(
        RR_REJECTED,
        Unit::Count,
        "R-R intervals that did not enter a tachogram, by reason"
    );
    describe_counter!(
        MEASUREMENTS_MALFORMED,
        Unit::Count,
        "strap messages that are no heart rate measurement"
    );
    describe_counter!(
        DUPLICATES,
        Unit::Count,
        "strap messages that arrived twice within 20 ms; one was dropped"
    );
    describe_counter!(
        TRAILING_BYTES,
        Unit::Count,
        "bytes in strap messages that belong to no field"
    );
    describe_counter!(GAPS, Unit::Count, "gaps and breaks found on arrival");
    describe_counter!(
        GRID_SKIPPED,
        Unit::Count,
        "grid points that were not scored because scoring took too long"
    );
    describe_gauge!(STRAPS, Unit::Count, "known straps, by transport and state");
    describe_gauge!(PARTICIPANTS, Unit::Count, "people present in the room");
    describe_gauge!(PHONES, Unit::Count, "open WebSocket connections");
    describe_gauge!(
        SCORED_HEARTS,
        Unit::Count,
        "hearts with a score at the last grid point"
    );
    describe_histogram!(
        COMPUTE_SECONDS,
        Unit::Seconds,
        "time to score all hearts at one grid point"
    );
    describe_histogram!(
        STORE_COMMIT_SECONDS,
        Unit::Seconds,
        "time of one database commit"
    );
    describe_counter!(
        STORE_ROWS_DROPPED,
        Unit::Count,
        "rows not stored because the database was too slow"
    );
    describe_counter!(
        STORE_COMMITS_FAILED,
        Unit::Count,
        "database commits that failed"
    );
    describe_counter!(
        FRAMES_DROPPED,
        Unit::Count,
        "frames that a slow phone did not get because a newer one replaced them"
    );
    describe_gauge!(
        CLOCK_SYNCED,
        "1 if the wall clock is known to be right, else 0"
    );
    describe_counter!(
        WS_FRAMES_RECEIVED,
        Unit::Count,
        "WebSocket frames received from phones"
    );
    describe_counter!(
        HTTP_REQUESTS,
        Unit::Count,
        "HTTP requests, by route and status"
    );
    describe_gauge!(
        OUTBOX_ROWS,
        Unit::Count,
        "messages that wait until the central store has them"
    );
    describe_gauge!(
        OUTBOX_OLDEST_SECONDS,
        Unit::Seconds,
        "how long the oldest of them has waited"
    );
    describe_gauge!(
        OUTBOX_DEAD_LETTERS,
        Unit::Count,
        "messages set aside for good: too large for the broker, or rejected by the collector"
    );
    describe_counter!(
        OUTBOX_THINNED,
        Unit::Count,
        "messages dropped because too much waited, or for too long"
    );
    describe_gauge!(
        UPLINK_STATE,
        "the way to the broker: 0 off, 1 not connected, 2 connected"
    );
    describe_counter!(
        UPLINK_PUBLISHED,
        Unit::Count,
        "messages given to the broker, repetitions included"
    );
    describe_counter!(
        UPLINK_ACKNOWLEDGED,
        Unit::Count,
        "messages that the collector acknowledged and the hub deleted"
    );
    describe_counter!(
        UPLINK_REFUSED,
        Unit::Count,
        "messages that the broker refused; they are tried again"
    );
    describe_gauge!(
        E2E_ACK_LAG_SECONDS,
        Unit::Seconds,
        "from giving the newest acknowledged message to the broker until the collector's word"
    );
    for name in [
        OUTBOX_THINNED,
        UPLINK_PUBLISHED,
        UPLINK_ACKNOWLEDGED,
        UPLINK_REFUSED,
        RR_RECEIVED,
        MEASUREMENTS_MALFORMED,
        DUPLICATES,
        TRAILING_BYTES,
        GAPS,
        GRID_SKIPPED,
        STORE_ROWS_DROPPED,
        STORE_COMMITS_FAILED,
        FRAMES_DROPPED,
        WS_FRAMES_RECEIVED,
    ] {
        counter!(name).increment(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_start_at_zero_and_are_explained() {
        let recorder = builder().unwrap().build_recorder();
        let text = metrics::with_local_recorder(&recorder, || {
            describe();
            recorder.handle().render()
        });
        assert!(
            text.contains("# HELP coherence_rr_received_total R-R intervals heard"),
            "{text}"
        );
        assert!(
            text.contains("\ncoherence_store_rows_dropped_total 0\n"),
            "{text}"
        );
    }

    #[test]
    fn what_is_counted_is_rendered() {
        let recorder = builder().unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            describe();
            counter!(RR_REJECTED, "reason" => "off_body").increment(2);
            metrics::gauge!(STRAPS, "transport" => "ble", "state" => "up").set(3.0);
            metrics::histogram!(COMPUTE_SECONDS).record(0.004);
        });
        let text = recorder.handle().render();
        for line in [
            "coherence_rr_rejected_total{reason=\"off_body\"} 2\n",
            "coherence_straps{transport=\"ble\",state=\"up\"} 3\n",
            "coherence_compute_seconds_bucket{le=\"0.0025\"} 0\n",
            "coherence_compute_seconds_bucket{le=\"0.005\"} 1\n",
        ] {
            assert!(text.contains(line), "no {line} in {text}");
        }
    }

    #[test]
    fn installing_twice_gives_the_same_recorder() {
        let (first, second) = (install().unwrap(), install().unwrap());
        counter!(RR_REJECTED, "reason" => "only_here").increment(1);
        assert!(first.render().contains("only_here"));
        assert!(second.render().contains("only_here"));
    }
}
