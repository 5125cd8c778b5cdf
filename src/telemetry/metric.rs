//! Every metric by name, with what it means: one table, and a constant for each row. Counting happens
//! where things happen.
//!
//! No metric has a participant, a session or a strap as a label: their number would grow for
//! ever, and `/metrics` would tell who is in the room.

use std::sync::Mutex;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::TelemetryError;

/// How a metric counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// What is said of a metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    unit: Unit,
    text: &'static str,
    pub labels: &'static [&'static str],
    /// The values of its one label, where all are known: each starts at zero.
    values: &'static [&'static str],
}

macro_rules! metrics {
    ($($ident:ident $name:literal $kind:ident $unit:ident
        [$($label:literal $(: $($value:literal)|+)?),*] $text:literal)*) => {
        $(#[doc = $text] pub const $ident: &str = $name;)*

        /// All there are.
        pub const ALL: &[Metric] = &[$(Metric {
            name: $name,
            kind: Kind::$kind,
            unit: Unit::$unit,
            text: $text,
            labels: &[$($label),*],
            values: &[$($($($value,)+)?)*],
        }),*];
    };
}

metrics! {
    RR_RECEIVED "coherence_rr_received_total" Counter Count []
        "R-R intervals heard from straps and phones"
    RR_REJECTED "coherence_rr_rejected_total" Counter Count ["reason"]
        "R-R intervals that did not enter a tachogram, by reason"
    MEASUREMENTS_MALFORMED "coherence_measurements_malformed_total" Counter Count []
        "strap messages that are no heart rate measurement"
    DUPLICATES "coherence_measurements_duplicate_total" Counter Count []
        "strap messages that arrived twice within 20 ms; one was dropped"
    TRAILING_BYTES "coherence_measurement_trailing_bytes_total" Counter Bytes []
        "bytes in strap messages that belong to no field"
    GAPS "coherence_rr_gaps_total" Counter Count []
        "gaps and breaks found on arrival"
    BEATS_MISSING "coherence_beats_missing_total" Counter Count []
        "beats that straps counted and the hub did not hear"
    SOURCE_LOST "coherence_source_lost_total" Counter Count ["what": "skipped_bytes" | "bad_checksum" | "bad_length"
        | "stray" | "overflow" | "serial_error" | "bad_lines" | "long_lines" | "fillers"]
        "what a source of straps lost or refused where no strap can be named, by what it was"
    RECOVERY_STEPS "coherence_recovery_steps_total" Counter Count ["rung": "resubscribe" | "reconnect"
        | "restart_discovery" | "power_cycle" | "remove_device" | "restart_stick" | "reopen_port" | "report"]
        "steps that sources took to hear straps again, by rung of the ladder"
    GRID_SKIPPED "coherence_grid_points_skipped_total" Counter Count []
        "grid points that were not scored because scoring took too long"
    SESSION_ACTIVE "coherence_session_active" Gauge Count []
        "sessions in their active phase: 1, or 0 during preparation and integration"
    PARTICIPANTS "coherence_participants" Gauge Count []
        "people present in the room"
    SCORED_HEARTS "coherence_scored_hearts" Gauge Count []
        "hearts with a score at the last grid point"
    STRAPS "coherence_straps" Gauge Count ["transport", "state"]
        "known straps, by transport and state"
    STRAPS_UNSCORED "coherence_straps_unscored" Gauge Count ["cause": "warming_up" | "poor_signal" | "flat" | "off_body"
        | "silent" | "link_down" | "battery_empty" | "waiting_for_link" | "connecting" | "seen" | "not_heard" | "computed"
        | "simulated"]
        "known straps that give no score, by cause"
    STRAPS_FORGOTTEN "coherence_straps_forgotten_total" Counter Count []
        "straps that the hub forgot because they were not heard for long"
    STRAPS_CONNECTED "coherence_straps_connected" Gauge Count ["transport"]
        "straps that are heard, on or off the body, by transport"
    COMPUTE_SECONDS "coherence_compute_seconds" Histogram Seconds []
        "time to score all hearts at one grid point"
    UPDATE_LATENCY_SECONDS "coherence_update_latency_seconds" Histogram Seconds []
        "time from a grid point to the moment at which a phone's socket has taken its figures"
    WS_CLIENTS "coherence_ws_clients" Gauge Count []
        "open WebSocket connections"
    NAMED_SESSIONS "coherence_named_sessions" Gauge Count []
        "named sessions that are open"
    TICKS_SKIPPED "coherence_ticks_skipped_total" Counter Count []
        "ticks of a stage that a slow phone did not get because a newer one replaced them"
    WS_FRAMES_RECEIVED "coherence_ws_frames_received_total" Counter Count []
        "WebSocket frames received from phones"
    WS_FRAMES_SENT "coherence_ws_frames_sent_total" Counter Count []
        "WebSocket frames sent to phones"
    FRAMES_DROPPED "coherence_frames_dropped_total" Counter Count []
        "frames that a slow phone did not get because a newer one replaced them"
    HTTP_CONNECTIONS "coherence_http_connections" Gauge Count []
        "open connections of phones and tools, WebSockets among them"
    HTTP_REQUESTS "coherence_http_requests_total" Counter Count ["route", "status"]
        "HTTP requests, by route (its pattern, not its path) and status"
    REFUSED "coherence_refused_total" Counter Count ["reason": "address_full" | "bad_host" | "connections_full"
        | "foreign_origin" | "https_needed" | "method_not_allowed" | "misdirected" | "rate_limited" | "slow_head"
        | "tls_handshake" | "too_large" | "too_slow" | "unreadable" | "unsupported_media_type" | "uri_too_long"]
        "connections, requests and sockets that the guard of the web turned away, by reason"
    ACCEPTS_FAILED "coherence_accepts_failed_total" Counter Count []
        "connections that the system would not give, because files or memory ran out"
    WS_FRAMES_FLOODED "coherence_ws_frames_flooded_total" Counter Count []
        "WebSocket frames dropped because a phone sent more than 100 in a second"
    WRONG_TRIES "coherence_wrong_tries_total" Counter Count ["door": "pin" | "room_code"]
        "wrong PINs and room codes, by door"
    ERRORS "coherence_errors_total" Counter Count ["kind": "answer" | "commit" | "row" | "grid_point"]
        "what the hub failed to do, by kind: answer (a request got a 5xx, a full hub aside), commit, row (lost), grid_point (not scored)"
    DB_COMMIT_SECONDS "coherence_db_commit_seconds" Histogram Seconds []
        "time of one database commit"
    DB_QUERY_SECONDS "coherence_db_query_seconds" Histogram Seconds []
        "time of one question to the database, without the wait for its turn"
    STORE_ROWS_DROPPED "coherence_store_rows_dropped_total" Counter Count []
        "rows not stored because the database was too slow or the disk took none"
    STORE_ROWS_REFUSED "coherence_store_rows_refused_total" Counter Count []
        "rows not stored because they did not fit what is stored"
    STORE_ROWS_WAITING "coherence_store_rows_waiting" Gauge Count []
        "rows in memory that wait for the disk"
    STORE_COMMITS_FAILED "coherence_store_commits_failed_total" Counter Count []
        "database commits that failed"
    SD_BYTES_WRITTEN "coherence_sd_bytes_written_total" Counter Bytes []
        "bytes that this process caused to be written to the disk or card, as the kernel counts them (write_bytes of /proc/self/io)"
    OUTBOX_ROWS "coherence_outbox_rows" Gauge Count []
        "messages that wait until the central store has them"
    OUTBOX_OLDEST_SECONDS "coherence_outbox_oldest_seconds" Gauge Seconds []
        "how long the oldest of them has waited; 0 when there is none"
    OUTBOX_DEAD_LETTERS "coherence_outbox_dead_letters" Gauge Count []
        "messages set aside for good: too large for the broker, or rejected by the collector"
    OUTBOX_THINNED "coherence_outbox_thinned_total" Counter Count []
        "messages dropped because too much waited, or for too long"
    UPLINK_STATE "coherence_uplink_state" Gauge Count []
        "the way to the broker: 0 off, 1 not connected, 2 connected"
    UPLINK_PUBLISHED "coherence_uplink_published_total" Counter Count []
        "messages given to the broker, repetitions included"
    UPLINK_ACKNOWLEDGED "coherence_uplink_acknowledged_total" Counter Count []
        "messages that the collector acknowledged and the hub deleted"
    UPLINK_REFUSED "coherence_uplink_refused_total" Counter Count []
        "messages that the broker refused; they are tried again"
    E2E_ACK_LAG_SECONDS "coherence_e2e_ack_lag_seconds" Gauge Seconds []
        "from giving the newest acknowledged message to the broker until the collector's word"
    CLOCK_SYNCED "coherence_clock_synced" Gauge Count []
        "1 if the wall clock is known to be right, else 0"
    MEMORY_BYTES "process_resident_memory_bytes" Gauge Bytes []
        "memory that the process occupies"
    CPU_SECONDS "process_cpu_seconds_total" Counter Seconds []
        "processor time that the process has used, whole seconds"
}

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
    let mut builder = PrometheusBuilder::new();
    for metric in ALL.iter().filter(|metric| metric.kind == Kind::Histogram) {
        builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.into()), &SECONDS)?;
    }
    Ok(builder)
}

/// Says what each metric is, and lets those without labels start at zero: an alert on a counter that
/// first appears with its first failure would miss that failure. Labels whose values are known start too.
fn describe() {
    for metric in ALL {
        let &Metric {
            name, unit, text, ..
        } = metric;
        match metric.kind {
            Kind::Counter => describe_counter!(name, unit, text),
            Kind::Gauge => describe_gauge!(name, unit, text),
            Kind::Histogram => describe_histogram!(name, unit, text),
        }
        match metric.kind {
            Kind::Counter if metric.labels.is_empty() => counter!(name).increment(0),
            Kind::Gauge if metric.labels.is_empty() => gauge!(name).increment(0.0),
            _ => {}
        }
        for value in metric.values {
            if let (Kind::Counter, Some(label)) = (metric.kind, metric.labels.first()) {
                counter!(name, *label => *value).increment(0);
            }
        }
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
        for kind in crate::telemetry::load::Fault::ALL {
            let line = format!("\ncoherence_errors_total{{kind=\"{}\"}} 0\n", kind.word());
            assert!(text.contains(&line), "no {line} in {text}");
        }
    }

    #[test]
    fn what_is_counted_is_rendered() {
        let recorder = builder().unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            describe();
            counter!(RR_REJECTED, "reason" => "off_body").increment(2);
            gauge!(STRAPS, "transport" => "ble", "state" => "up").set(3.0);
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
