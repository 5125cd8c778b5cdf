//! The log as lines for people: time, level, place, message, fields.

use std::fmt;

use jiff::Timestamp;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// `09:45:00.123Z INFO  web: listening address=0.0.0.0:8080`
pub(super) struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let meta = event.metadata();
        let (on, off) = match (writer.has_ansi_escapes(), *meta.level()) {
            (false, _) => ("", ""),
            (true, Level::ERROR) => ("\x1b[31m", "\x1b[0m"),
            (true, Level::WARN) => ("\x1b[33m", "\x1b[0m"),
            (true, Level::INFO) => ("\x1b[32m", "\x1b[0m"),
            (true, _) => ("\x1b[2m", "\x1b[0m"),
        };
        let time = Timestamp::now().strftime("%H:%M:%S.%3fZ");
        let place = short(meta.target());
        write!(writer, "{time} {on}{:<5}{off} {place}: ", meta.level())?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// Our own parts go by their own name.
fn short(target: &str) -> &str {
    target.strip_prefix("coherence_hub::").unwrap_or(target)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(ansi: bool) -> String {
        let page = Page::default();
        let writer = page.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(ansi)
            .with_writer(move || writer.clone())
            .event_format(Lines);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::warn!(target: "coherence_hub::web::ws", phones = 3, "too many");
        });
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_has_time_level_place_message_and_fields() {
        let line = written(false);
        let (time, rest) = line.split_once(' ').unwrap();
        assert_eq!(time.len(), "09:45:00.123Z".len(), "{time}");
        assert_eq!(rest, "WARN  web::ws: too many phones=3\n");
    }

    #[test]
    fn a_terminal_gets_colours() {
        assert!(written(true).contains("\x1b[33mWARN \x1b[0m"));
    }
}
