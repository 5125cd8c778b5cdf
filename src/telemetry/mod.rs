//! How the hub speaks about itself: a log and a set of metrics.
//!
//! Log: `tracing` everywhere, into the journal under systemd (`journal`), in lines for
//! people (`lines`) otherwise. Metrics: the names in [`metric`], counted where things happen, rendered for
//! `/metrics`; [`tally`] keeps some of them for the hub itself, and [`load`] says whether it keeps up. Neither ever carries a participant, a name or a radio address.

mod journal;
mod lines;
pub mod load;
pub mod metric;
mod process;
mod report;
pub mod tally;

use std::io::{self, IsTerminal};

use metrics_exporter_prometheus::BuildError;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, reload};

pub use metric::install as install_metrics;
pub use metrics_exporter_prometheus::PrometheusHandle;
pub use process::Process;
pub use report::{Condition, Report};

#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("log level: {0}")]
    Level(#[from] tracing_subscriber::filter::ParseError),
    #[error("log level: {0}")]
    Reload(#[from] reload::Error),
    #[error("cannot write to the journal: {0}")]
    Journal(#[source] io::Error),
    #[error("logging was already set up")]
    Twice,
    #[error("metrics: {0}")]
    Metrics(#[from] BuildError),
}

/// Changes how much is said, while the process runs.
pub struct LogLevel(reload::Handle<Targets, Registry>);

impl LogLevel {
    /// `level` as for [`install_log`].
    ///
    /// # Errors
    /// It is no level; then nothing has changed.
    pub fn set(&self, level: &str) -> Result<(), TelemetryError> {
        self.0.reload(level.parse::<Targets>()?)?;
        Ok(())
    }
}

/// Sets up logging for the whole process, once: into the journal of systemd, with fields, or as lines
/// on standard error. `level` as in the configuration: `info`, or `info,coherence_hub::web=debug`.
pub fn install_log(level: &str) -> Result<LogLevel, TelemetryError> {
    let (filter, handle) = reload::Layer::new(level.parse::<Targets>()?);
    // True only if standard error itself is the journal's stream: a shell that was started from
    // a service inherits the variable, but its output may go elsewhere.
    if systemd_journal_logger::connected_to_journal() {
        let layer = journal::Journal::connect()
            .map_err(TelemetryError::Journal)?
            .with_filter(filter);
        set(tracing_subscriber::registry().with(layer))?;
    } else {
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(io::stderr().is_terminal())
            .with_writer(io::stderr)
            .event_format(lines::Lines)
            .with_filter(filter);
        set(tracing_subscriber::registry().with(layer))?;
    }
    Ok(LogLevel(handle))
}

fn set(subscriber: impl tracing::Subscriber + Send + Sync) -> Result<(), TelemetryError> {
    tracing::subscriber::set_global_default(subscriber).map_err(|_| TelemetryError::Twice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_that_the_configuration_allows_is_understood() {
        for level in [
            "off",
            "trace",
            "info,coherence_hub::web=debug",
            "info, a=off",
        ] {
            level.parse::<Targets>().unwrap();
        }
    }

    #[test]
    fn the_level_can_be_changed_and_a_bad_one_changes_nothing() {
        let (filter, handle) = reload::Layer::new("warn".parse::<Targets>().unwrap());
        let level = LogLevel(handle);
        let silent = tracing_subscriber::fmt::layer().with_writer(io::sink);
        let subscriber = tracing_subscriber::registry().with(silent.with_filter(filter));
        tracing::subscriber::with_default(subscriber, || {
            assert!(!tracing::enabled!(tracing::Level::INFO));
            level.set("info").unwrap();
            assert!(tracing::enabled!(tracing::Level::INFO));
            assert!(level.set("a=loud").is_err());
            assert!(tracing::enabled!(tracing::Level::INFO));
        });
    }

    #[test]
    fn one_part_of_the_program_can_say_more_than_the_rest() {
        let targets: Targets = "info,coherence_hub::web=debug".parse().unwrap();
        let debug = tracing::Level::DEBUG;
        assert!(targets.would_enable("coherence_hub::web::ws", &debug));
        assert!(!targets.would_enable("coherence_hub::store", &debug));
    }
}
