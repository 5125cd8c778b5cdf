//! What the log and the metrics are told of the room. When is the task's business.

use std::collections::BTreeSet;

use super::Published;
use crate::room::rows::RrMark;
use crate::room::view::{Phase, StrapState, StrapView};
use crate::room::{CAUSES, Counts, Note};
use crate::telemetry::metric;

/// What is at present.
pub(super) fn gauges(published: &Published, clock_synced: bool) {
    let one_if = |is: bool| if is { 1.0 } else { 0.0 };
    let session = &published.session;
    metrics::gauge!(metric::SESSION_ACTIVE).set(one_if(session.phase == Phase::Active));
    metrics::gauge!(metric::PARTICIPANTS).set(session.participants);
    metrics::gauge!(metric::SCORED_HEARTS).set(session.scored);
    metrics::gauge!(metric::CLOCK_SYNCED).set(one_if(clock_synced));
    let straps = &published.straps;
    causes(straps);
    let transports: BTreeSet<&str> = straps
        .iter()
        .map(|strap| strap.transport.as_str())
        .collect();
    for transport in transports {
        let mut connected = 0;
        for state in StrapState::ALL {
            let here = straps
                .iter()
                .filter(|strap| strap.transport == transport && strap.state == state)
                .count();
            if matches!(state, StrapState::Streaming | StrapState::OffBody) {
                connected += here;
            }
            let transport = transport.to_owned();
            metrics::gauge!(metric::STRAPS, "transport" => transport, "state" => state.word())
                .set(here as f64);
        }
        let transport = transport.to_owned();
        metrics::gauge!(metric::STRAPS_CONNECTED, "transport" => transport).set(connected as f64);
    }
}

/// Straps without a score, by the code of the cause.
fn causes(straps: &[StrapView]) {
    for code in CAUSES {
        let is_it = |strap: &&StrapView| strap.cause.as_ref().is_some_and(|c| c.code == code);
        let n = straps.iter().filter(is_it).count();
        metrics::gauge!(metric::STRAPS_UNSCORED, "cause" => code).set(n as f64);
    }
}

/// What came in since the last time.
pub(super) fn counts(counts: Counts) {
    for mark in RrMark::ALL {
        let n = counts.rr.get(&mark).copied().unwrap_or(0);
        metrics::counter!(metric::RR_RECEIVED).increment(n);
        if !mark.on_tachogram() {
            metrics::counter!(metric::RR_REJECTED, "reason" => mark.word()).increment(n);
        }
    }
    metrics::counter!(metric::MEASUREMENTS_MALFORMED).increment(counts.malformed);
    metrics::counter!(metric::DUPLICATES).increment(counts.duplicates);
    metrics::counter!(metric::TRAILING_BYTES).increment(counts.trailing_bytes);
    metrics::counter!(metric::STRAPS_FORGOTTEN).increment(counts.straps_forgotten);
    metrics::counter!(metric::GAPS).increment(counts.gaps);
    metrics::counter!(metric::BEATS_MISSING).increment(counts.missing);
    for (what, n) in counts.of_sources {
        metrics::counter!(metric::SOURCE_LOST, "what" => what).increment(n);
    }
    for (rung, n) in counts.steps {
        metrics::counter!(metric::RECOVERY_STEPS, "rung" => rung).increment(n);
    }
}

/// A change that is worth a line.
pub(super) fn log(note: Note) {
    match note {
        Note::SessionBegan { id } => tracing::info!(session_id = %id, "session began"),
        Note::StrapNew { label } => {
            tracing::info!(strap = %label, "a strap was heard for the first time")
        }
        Note::StrapStreaming { label } => tracing::info!(strap = %label, "beats arrive"),
        Note::StrapSilent {
            label,
            code,
            why,
            advice,
        } => tracing::warn!(strap = %label, code, why, advice, "no beats"),
        Note::StrapScored { label } => tracing::info!(strap = %label, "its beats give a score"),
        Note::StrapUnscored { label, code, why } => {
            tracing::info!(strap = %label, code, why, "its beats give no score")
        }
        Note::StrapBatteryLow { label, percent } => {
            tracing::warn!(strap = %label, percent, "battery low")
        }
        Note::TwinsFound { label, other } => {
            tracing::info!(strap = %label, other = %other, "two radios carry one heart")
        }
        Note::TwinsParted { label, other } => {
            tracing::warn!(strap = %label, other = %other, "two radios do not carry one heart after all")
        }
        Note::Recovery {
            source,
            rung,
            strap,
            why,
        } => tracing::info!(source, rung, strap, why, "a step to hear again"),
        Note::SourceChanged { name, state } if state.up => {
            tracing::info!(source = name, state = state.code, "{}", state.text)
        }
        Note::SourceChanged { name, state } => {
            tracing::warn!(source = name, state = state.code, "{}", state.text)
        }
    }
}
