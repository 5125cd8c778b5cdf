//! A serial port that may be missing, taken or pulled out, and is opened again for ever.
//!
//! Here: opening, reading with the time of reading, writing within a bound, and saying in words why a
//! port can't be used. What the bytes mean is not known here. Nothing here logs.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_serial::{ErrorKind, SerialPortBuilderExt, SerialStream};

use crate::SourceClock;

/// A lost port is tried this often …
const TRY_EVERY_MS: i64 = 1_000;
/// … for so long, and then …
const TRY_SOON_FOR_MS: i64 = 10_000;
/// … this often.
const TRY_LATER_EVERY_MS: i64 = 5_000;
/// A port that takes nothing for so long is broken. By the kernel's time, whatever clock the hub lives by.
const WRITE_LIMIT: Duration = Duration::from_secs(1);
/// More than a fast sensor sends between two looks.
const CHUNK_BYTES: usize = 4_096;

/// What happens at a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortNews {
    /// It is open; bytes may come. Whatever was half received before is void.
    Opened { at_ms: i64 },
    /// So many bytes, with the time at which they were read.
    Bytes { at_ms: i64, bytes: Vec<u8> },
    /// It can't be opened, or is no longer there. Said once for each new trouble; the port goes on trying.
    Shut { at_ms: i64, trouble: Trouble },
}

/// Why a port can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// `no_port`, `no_permission`, `port_in_use`, `not_a_port`, `port_failed`, `port_gone`.
    pub code: &'static str,
    /// One sentence: what is, and what to do about it.
    pub text: String,
}

/// One serial port, 8 data bits, no parity, 1 stop bit.
pub struct Port {
    path: String,
    baud: u32,
    clock: SourceClock,
    stage: Stage,
    /// When it failed for the first time since bytes came.
    failing_since_ms: Option<i64>,
    /// The trouble that was told and still holds.
    told: Option<&'static str>,
    /// Found while writing, to be told by the next look.
    owed: Option<Trouble>,
    chunk: Box<[u8; CHUNK_BYTES]>,
}

enum Stage {
    Open(SerialStream),
    Shut { try_at_ms: i64 },
}

impl Port {
    /// Opens nothing yet: the first [`Port::next`] does.
    pub fn new(path: impl Into<String>, baud: u32, clock: SourceClock) -> Self {
        let try_at_ms = clock.now_ms();
        Port {
            path: path.into(),
            baud,
            clock,
            stage: Stage::Shut { try_at_ms },
            failing_since_ms: None,
            told: None,
            owed: None,
            chunk: Box::new([0; CHUNK_BYTES]),
        }
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open(_))
    }

    /// Waits for news; needs a tokio runtime with IO. Cancel-safe: a call that was dropped lost nothing.
    pub async fn next(&mut self) -> PortNews {
        loop {
            if let Some(trouble) = self.owed.take().filter(|trouble| self.is_news(trouble)) {
                self.told = Some(trouble.code);
                let at_ms = self.clock.now_ms();
                return PortNews::Shut { at_ms, trouble };
            }
            match &mut self.stage {
                Stage::Open(stream) => match stream.read(&mut self.chunk[..]).await {
                    Ok(length) if length > 0 => {
                        self.failing_since_ms = None;
                        return PortNews::Bytes {
                            at_ms: self.clock.now_ms(),
                            bytes: self.chunk[..length].to_vec(),
                        };
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    // A port that was pulled out reads as an end, again and again without waiting.
                    Ok(_) => self.lose(self.gone()),
                    Err(error) => self.lose(self.lost_by(&error)),
                },
                Stage::Shut { try_at_ms } => {
                    let try_at_ms = *try_at_ms;
                    if self.clock.now_ms() < try_at_ms {
                        self.clock.sleep_until(try_at_ms).await;
                    }
                    match self.open() {
                        Ok(stream) => {
                            self.stage = Stage::Open(stream);
                            self.told = None;
                            let at_ms = self.clock.now_ms();
                            return PortNews::Opened { at_ms };
                        }
                        Err(trouble) => self.lose(trouble),
                    }
                }
            }
        }
    }

    /// Hands all of `bytes` to the kernel, within a second. False where that failed: the port is then
    /// shut, and [`Port::next`] says why. Not cancel-safe: a part may have been written.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        let Stage::Open(stream) = &mut self.stage else {
            return false;
        };
        let trouble = match tokio::time::timeout(WRITE_LIMIT, stream.write_all(bytes)).await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => self.lost_by(&error),
            Err(_) => Trouble {
                code: "port_failed",
                text: format!(
                    "{} takes no more bytes: unplug the device and plug it in again.",
                    self.path
                ),
            },
        };
        self.lose(trouble);
        false
    }

    /// Closes the port; [`Port::next`] opens it again a second later. Not told as trouble, unless that fails.
    pub fn reopen(&mut self) {
        self.shut();
    }

    fn lose(&mut self, trouble: Trouble) {
        self.shut();
        self.owed = Some(trouble);
    }

    /// Closes first: as long as the old descriptor is open, the kernel gives a device that comes back another name.
    fn shut(&mut self) {
        let now_ms = self.clock.now_ms();
        let since_ms = *self.failing_since_ms.get_or_insert(now_ms);
        let rest_ms = if now_ms - since_ms < TRY_SOON_FOR_MS {
            TRY_EVERY_MS
        } else {
            TRY_LATER_EVERY_MS
        };
        self.stage = Stage::Shut {
            try_at_ms: now_ms + rest_ms,
        };
    }

    /// What is gone is missing: that needs no second word.
    fn is_news(&self, trouble: &Trouble) -> bool {
        match self.told {
            Some("port_gone") => !["port_gone", "no_port"].contains(&trouble.code),
            told => told != Some(trouble.code),
        }
    }

    fn open(&self) -> Result<SerialStream, Trouble> {
        let opened = tokio_serial::new(&self.path, self.baud).open_native_async();
        opened.map_err(|error| self.refused_by(&error))
    }

    fn refused_by(&self, error: &tokio_serial::Error) -> Trouble {
        let (path, baud) = (&self.path, self.baud);
        let (code, text) = match error.kind() {
            ErrorKind::Io(io::ErrorKind::NotFound) => (
                "no_port",
                format!(
                    "There is no {path}: is the device plugged in? `ls -l /dev/serial/by-id` shows what is."
                ),
            ),
            ErrorKind::Io(io::ErrorKind::PermissionDenied) => (
                "no_permission",
                format!("The hub may not open {path}: its user must be in the group dialout."),
            ),
            ErrorKind::NoDevice => (
                "port_in_use",
                format!(
                    "{path} is in use by another program: end that program (often a serial monitor)."
                ),
            ),
            _ if !self.is_character_device() => (
                "not_a_port",
                format!(
                    "{path} is no serial port: name a device such as /dev/ttyUSB0 or one in /dev/serial/by-id."
                ),
            ),
            _ => (
                "port_failed",
                format!(
                    "{path} can't be opened at {baud} baud ({error}): is it a serial port, and does it know this speed?"
                ),
            ),
        };
        Trouble { code, text }
    }

    fn is_character_device(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|node| node.file_type().is_char_device())
    }

    fn lost_by(&self, error: &io::Error) -> Trouble {
        match error.raw_os_error() {
            Some(EIO | ENXIO | ENODEV) => self.gone(),
            _ => Trouble {
                code: "port_failed",
                text: format!("{} fails ({error}); it is opened again.", self.path),
            },
        }
    }

    fn gone(&self) -> Trouble {
        Trouble {
            code: "port_gone",
            text: format!(
                "{} is gone: plug the device in again. It is looked for every few seconds.",
                self.path
            ),
        }
    }
}

// Linux' numbers for a device that is no longer there; the same on every architecture.
const EIO: i32 = 5;
const ENXIO: i32 = 6;
const ENODEV: i32 = 19;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::sync::{Arc, Mutex};

    use super::*;

    fn port(path: &str) -> Port {
        let clock = SourceClock::new(|| 0, |_| Box::pin(std::future::pending()));
        Port::new(path, 115_200, clock)
    }

    #[test]
    fn every_refusal_names_the_port_and_what_to_do() {
        let no_permission = ErrorKind::Io(io::ErrorKind::PermissionDenied);
        for (path, kind, code, advice) in [
            (
                "/dev/x",
                ErrorKind::Io(io::ErrorKind::NotFound),
                "no_port",
                "plugged in",
            ),
            ("/dev/x", no_permission, "no_permission", "group dialout"),
            (
                "/dev/x",
                ErrorKind::NoDevice,
                "port_in_use",
                "end that program",
            ),
            (
                "/etc/passwd",
                ErrorKind::Unknown,
                "not_a_port",
                "/dev/serial/by-id",
            ),
            (
                "/dev/null",
                ErrorKind::Unknown,
                "port_failed",
                "115200 baud",
            ),
        ] {
            let trouble = port(path).refused_by(&tokio_serial::Error::new(kind, "-"));
            assert_eq!(trouble.code, code);
            assert!(trouble.text.contains(path), "{}", trouble.text);
            assert!(trouble.text.contains(advice), "{}", trouble.text);
        }
    }

    #[test]
    fn every_number_for_a_vanished_device_means_gone() {
        for number in [EIO, ENXIO, ENODEV] {
            let error = io::Error::from_raw_os_error(number);
            assert_eq!(port("/dev/x").lost_by(&error).code, "port_gone");
        }
        let other = io::Error::from_raw_os_error(22);
        assert_eq!(port("/dev/x").lost_by(&other).code, "port_failed");
    }

    /// A clock on which every wait is over at once, until it has shown enough.
    fn hasty_clock(end_ms: i64) -> (Arc<Mutex<Vec<i64>>>, SourceClock) {
        let hand = Arc::new(AtomicI64::new(0));
        let waits: Arc<Mutex<Vec<i64>>> = Arc::default();
        let (read, noted) = (hand.clone(), waits.clone());
        let clock = SourceClock::new(
            move || read.load(Ordering::SeqCst),
            move |at_ms| {
                if at_ms > end_ms {
                    return Box::pin(std::future::pending());
                }
                noted.lock().unwrap().push(at_ms);
                hand.store(at_ms, Ordering::SeqCst);
                Box::pin(std::future::ready(()))
            },
        );
        (waits, clock)
    }

    #[test]
    fn a_missing_port_is_tried_every_second_for_ten_and_then_every_five_and_told_once() {
        let (waits, clock) = hasty_clock(31_000);
        let mut port = Port::new("/dev/no-such-port", 115_200, clock);
        let mut task = std::task::Context::from_waker(std::task::Waker::noop());
        let mut told = 0;
        while std::pin::pin!(port.next()).poll(&mut task).is_ready() {
            told += 1;
        }
        assert_eq!(told, 1);
        let seconds: Vec<i64> = waits.lock().unwrap().iter().map(|ms| ms / 1_000).collect();
        assert_eq!(seconds, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30]);
    }
}
