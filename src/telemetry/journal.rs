//! The log as entries of systemd's journal: each field of an event is a field of the entry, to be
//! searched, and also stands in its message: of an entry `journalctl` shows nothing else.
//!
//! The journal's crate speaks `log`, we speak `tracing`, and installed side by side both claim
//! the process's one logger. So an event is turned into a `log::Record` here and handed over.
//! Spans are not carried: what an entry needs to say is in the event's own fields.

use std::fmt::{self, Write};
use std::io;

use log::kv::{Error, Key, Source, Value, VisitSource};
use systemd_journal_logger::JournalLog;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Hands each event to `send` as a record.
pub(super) struct Journal<S> {
    send: S,
}

impl Journal<fn(&log::Record<'_>)> {
    /// The machine's journal.
    pub(super) fn connect() -> io::Result<Journal<impl Fn(&log::Record<'_>)>> {
        let journal = JournalLog::new()?.with_syslog_identifier("coherence-hub".into());
        Ok(Journal {
            // A journal that is full or restarting must not stop the hub, and there is no other
            // place to complain.
            send: move |record: &log::Record<'_>| drop(journal.journal_send(record)),
        })
    }
}

impl<T, S> Layer<T> for Journal<S>
where
    T: Subscriber,
    S: Fn(&log::Record<'_>) + 'static,
{
    fn on_event(&self, event: &Event<'_>, _: Context<'_, T>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let meta = event.metadata();
        let mut record = log::Record::builder();
        record
            .level(level(*meta.level()))
            .target(meta.target())
            .module_path(meta.module_path())
            .file(meta.file())
            .line(meta.line())
            .key_values(&fields);
        // One expression, since the arguments live no longer than it.
        (self.send)(
            &record
                .args(format_args!("{}", fields.line().trim_start()))
                .build(),
        );
    }
}

fn level(level: Level) -> log::Level {
    match level {
        Level::ERROR => log::Level::Error,
        Level::WARN => log::Level::Warn,
        Level::INFO => log::Level::Info,
        Level::DEBUG => log::Level::Debug,
        Level::TRACE => log::Level::Trace,
    }
}

/// What an event says.
#[derive(Default)]
struct Fields {
    message: String,
    /// ` name=value` of all others.
    tail: String,
    /// Names as the journal writes them.
    others: Vec<(String, String)>,
}

impl Fields {
    /// `shown` is the value in the message.
    fn add(&mut self, field: &Field, value: impl fmt::Display, shown: impl fmt::Display) {
        if field.name() == "message" {
            write!(self.message, "{value}").expect("a String takes everything");
        } else {
            write!(self.tail, " {}={shown}", field.name()).expect("a String takes everything");
            let name = field.name().to_ascii_uppercase().replace('.', "_");
            self.others.push((name, value.to_string()));
        }
    }

    /// The message and what belongs to it, as in `lines`.
    fn line(&self) -> String {
        format!("{}{}", self.message, self.tail)
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value, format_args!("{value:?}"));
    }

    /// Numbers, truth values and `%value` arrive here too: their debug form is their plain one.
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format_args!("{value:?}"), format_args!("{value:?}"));
    }
}

impl Source for Fields {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), Error> {
        for (name, value) in &self.others {
            visitor.visit_pair(Key::from_str(name), Value::from(value.as_str()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// Each record as text: level, target, message, then its key-values; and that its line and
    /// module are known.
    fn records(speak: impl FnOnce()) -> Vec<String> {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ear = heard.clone();
        let layer = Journal {
            send: move |record: &log::Record<'_>| {
                struct Pairs(String);
                impl<'kvs> VisitSource<'kvs> for Pairs {
                    fn visit_pair(&mut self, k: Key<'kvs>, v: Value<'kvs>) -> Result<(), Error> {
                        write!(self.0, " {k}={v}").map_err(Error::from)
                    }
                }
                let mut pairs = Pairs(String::new());
                record.key_values().visit(&mut pairs).unwrap();
                assert!(record.line().is_some() && record.module_path().is_some());
                let (level, target) = (record.level(), record.target());
                let text = format!(
                    "{level} {target} {:?}{}",
                    record.args().to_string(),
                    pairs.0
                );
                ear.lock().unwrap().push(text);
            },
        };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), speak);
        let heard = heard.lock().unwrap();
        heard.clone()
    }

    #[test]
    fn an_event_becomes_a_record_with_a_field_for_each_of_its_fields() {
        let heard = records(|| {
            let error = io::Error::from(io::ErrorKind::NotFound);
            tracing::warn!(
                target: "coherence_hub::store",
                session_id = "20261120T0945Z",
                hearts = 12_u64,
                lag_ms = -1.5,
                full = true,
                strap.no = 7,
                %error,
                "rows of {} lost",
                "beats"
            );
        });
        assert_eq!(
            heard,
            [
                "WARN coherence_hub::store \"rows of beats lost session_id=\\\"20261120T0945Z\\\" \
              hearts=12 lag_ms=-1.5 full=true strap.no=7 error=entity not found\" \
              SESSION_ID=20261120T0945Z HEARTS=12 LAG_MS=-1.5 FULL=true STRAP_NO=7 \
              ERROR=entity not found"
            ]
        );
    }

    #[test]
    fn each_level_has_its_counterpart() {
        let heard = records(|| {
            tracing::error!("a");
            tracing::info!("b");
            tracing::debug!("c");
            tracing::trace!("d");
        });
        let levels: Vec<_> = heard
            .iter()
            .map(|text| text.split(' ').next().unwrap())
            .collect();
        assert_eq!(levels, ["ERROR", "INFO", "DEBUG", "TRACE"]);
    }

    #[test]
    fn an_event_without_a_message_still_speaks() {
        let heard = records(|| tracing::info!(target: "t", a = "one\ntwo"));
        assert_eq!(heard, ["INFO t \"a=\\\"one\\\\ntwo\\\"\" A=one\ntwo"]);
    }
}
