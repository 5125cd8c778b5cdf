//! A serial port that comes and goes: opened when it is there, read and written, closed at once when the
//! device is gone, and opened again for ever.
//!
//! Not here: what the bytes mean.

use std::io;
use std::path::PathBuf;

use tokio::select;
use tokio::task::JoinHandle;
use tokio_serial::{SerialPortBuilderExt, SerialStream};

use crate::SourceClock;

/// A port that is not there is tried this often at first, and after [`PATIENT_AFTER_MS`] more rarely.
const RETRY_MS: i64 = 1_000;
const PATIENT_AFTER_MS: i64 = 10_000;
const PATIENT_RETRY_MS: i64 = 5_000;
/// What is read at once, bytes: a fraction of a second of a busy port.
const READ: usize = 4_096;

/// One configured port.
pub(crate) struct Port {
    path: PathBuf,
    baud: u32,
    clock: SourceClock,
    state: State,
    /// Since when it could not be opened, and why, as it was last told.
    failing: Option<(i64, PortError)>,
    next_try_ms: i64,
}

enum State {
    Closed,
    /// What the kernel still holds for the device is waited for elsewhere: it may take many seconds.
    Closing(JoinHandle<()>),
    Open(SerialStream),
}

/// What happened to a port.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PortNews {
    Opened,
    /// Bytes, read at this moment.
    Read {
        at_ms: i64,
        bytes: Vec<u8>,
    },
    /// So many of the outgoing bytes are on their way.
    Written(usize),
    /// The device is gone.
    Lost,
    /// It can't be opened; told when the reason changes.
    Failed(PortError),
}

/// Why a port can't be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PortError {
    Missing,
    Denied,
    /// Another program has it.
    Held,
    Other(String),
}

impl Port {
    pub(crate) fn new(path: PathBuf, baud: u32, clock: SourceClock) -> Self {
        let next_try_ms = clock.now_ms();
        Port {
            path,
            baud,
            clock,
            state: State::Closed,
            failing: None,
            next_try_ms,
        }
    }

    /// Waits for news while `outgoing` is written as far as the device takes it. A call that is dropped
    /// before it is ready has read and written nothing.
    pub(crate) async fn next(&mut self, outgoing: &[u8]) -> PortNews {
        loop {
            match &mut self.state {
                State::Closing(closing) => {
                    let _ = closing.await; // it can only end
                    self.state = State::Closed;
                }
                State::Closed => {
                    if let Some(news) = self.open().await {
                        return news;
                    }
                }
                State::Open(stream) => {
                    let mut bytes = vec![0; READ];
                    let done = select! {
                        ready = stream.readable() => ready
                            .and_then(|()| stream.try_read(&mut bytes))
                            .map(|read| {
                                bytes.truncate(read);
                                // A device that is gone reads as an end, again and again.
                                (read > 0).then(|| PortNews::Read { at_ms: self.clock.now_ms(), bytes })
                            }),
                        ready = stream.writable(), if !outgoing.is_empty() => ready
                            .and_then(|()| stream.try_write(outgoing))
                            .map(|written| Some(PortNews::Written(written))),
                    };
                    match done {
                        Ok(Some(news)) => return news,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        // Whatever the error is called: the device is gone or of no use.
                        Ok(None) | Err(_) => {
                            self.close();
                            return PortNews::Lost;
                        }
                    }
                }
            }
        }
    }

    /// Closes it; it is opened anew by [`Port::next`]. As long as it is open, the kernel gives the same
    /// device another number when it comes back.
    pub(crate) fn close(&mut self) {
        if let State::Open(stream) = std::mem::replace(&mut self.state, State::Closed) {
            self.state = State::Closing(tokio::task::spawn_blocking(move || drop(stream)));
        }
        self.next_try_ms = self.clock.now_ms();
    }

    /// One attempt, when it is time for one.
    async fn open(&mut self) -> Option<PortNews> {
        let now_ms = self.clock.now_ms();
        if now_ms < self.next_try_ms {
            self.clock.sleep_until(self.next_try_ms).await;
            return None;
        }
        let opened = tokio_serial::new(self.path.to_string_lossy(), self.baud).open_native_async();
        match opened {
            Ok(stream) => {
                self.state = State::Open(stream);
                self.failing = None;
                Some(PortNews::Opened)
            }
            Err(error) => {
                let error = PortError::of(error);
                let since_ms = self
                    .failing
                    .as_ref()
                    .map_or(now_ms, |(since_ms, _)| *since_ms);
                let pause_ms = match now_ms - since_ms < PATIENT_AFTER_MS {
                    true => RETRY_MS,
                    false => PATIENT_RETRY_MS,
                };
                self.next_try_ms = now_ms + pause_ms;
                let before = self.failing.replace((since_ms, error.clone()));
                let told = before.is_some_and(|(_, before)| before == error);
                (!told).then_some(PortNews::Failed(error))
            }
        }
    }
}

impl PortError {
    fn of(error: tokio_serial::Error) -> Self {
        match error.kind() {
            tokio_serial::ErrorKind::Io(io::ErrorKind::NotFound) => PortError::Missing,
            tokio_serial::ErrorKind::Io(io::ErrorKind::PermissionDenied) => PortError::Denied,
            tokio_serial::ErrorKind::Io(io::ErrorKind::ResourceBusy) => PortError::Held,
            // Said for a lock that another program holds, and for a device that has just gone.
            tokio_serial::ErrorKind::NoDevice if error.description.contains("lock") => {
                PortError::Held
            }
            tokio_serial::ErrorKind::NoDevice => PortError::Missing,
            _ => PortError::Other(error.description),
        }
    }
}
