//! A virtual stick behind a pseudo-terminal: plugged in, unplugged, and plugged in again under another
//! number, while its path stays the same, as `/dev/serial/by-id` keeps it.

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::select;
use tokio::task::JoinHandle;
use tokio_serial::{SerialPort, SerialStream};

use super::VirtualStick;
use crate::SourceClock;
use crate::virtual_room::chance::Chance;

/// A stick that nobody reads keeps so much, bytes, and loses what is more.
const KEEPS: usize = 2_048;

/// The place where a stick is plugged in.
pub struct Plug {
    stick: Arc<Mutex<VirtualStick>>,
    clock: SourceClock,
    path: PathBuf,
    wired: Option<JoinHandle<()>>,
}

impl Plug {
    /// The stick will be found at `path`, once it is plugged in.
    pub fn new(stick: VirtualStick, clock: SourceClock, path: PathBuf) -> Self {
        Plug {
            stick: Arc::new(Mutex::new(stick)),
            clock,
            path,
            wired: None,
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The stick, to look at it and to give it faults. It says nothing while this is held.
    pub fn stick(&self) -> MutexGuard<'_, VirtualStick> {
        lock(&self.stick)
    }

    /// Plugs it in. Must be called inside a runtime.
    pub async fn plug_in(&mut self) -> io::Result<()> {
        self.unplug().await;
        let (ours, theirs) = SerialStream::pair()?;
        let device = theirs.name().ok_or(io::ErrorKind::NotFound)?;
        symlink(device, &self.path)?;
        self.stick().power_on();
        let wire = Wire {
            stick: Arc::clone(&self.stick),
            clock: self.clock.clone(),
            ours,
            _theirs: theirs,
        };
        self.wired = Some(tokio::spawn(wire.run()));
        Ok(())
    }

    /// Pulls it out: who reads it reads an end.
    pub async fn unplug(&mut self) {
        if let Some(wired) = self.wired.take() {
            wired.abort();
            let _ = wired.await; // it was told to end
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Drop for Plug {
    fn drop(&mut self) {
        if let Some(wired) = &self.wired {
            wired.abort();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

fn lock(stick: &Mutex<VirtualStick>) -> MutexGuard<'_, VirtualStick> {
    stick.lock().expect("a virtual stick does not panic")
}

struct Wire {
    stick: Arc<Mutex<VirtualStick>>,
    clock: SourceClock,
    ours: SerialStream,
    /// Held open: otherwise reading fails while nobody has the other end.
    _theirs: SerialStream,
}

impl Wire {
    async fn run(self) {
        let (mut from_host, mut to_host) = tokio::io::split(self.ours);
        let mut chance = Chance::new(1);
        let mut said: Vec<u8> = Vec::new();
        let mut read = [0; 256];
        let mut full = false;
        loop {
            let (due_ms, piece) = {
                let mut stick = lock(&self.stick);
                let now_ms = self.clock.now_ms();
                if said.len() < KEEPS {
                    stick.speak(now_ms, &mut said);
                } else {
                    stick.lose(now_ms);
                    full = true;
                }
                if full && said.is_empty() {
                    stick.overflow(now_ms);
                    full = false;
                }
                let piece = match stick.faults.pieces {
                    true => said.len().min(chance.whole(1, 24) as usize),
                    false => said.len(),
                };
                (stick.due_ms().unwrap_or(i64::MAX), piece)
            };
            let done = select! {
                heard = from_host.read(&mut read) => heard.map(|n| {
                    lock(&self.stick).hear(self.clock.now_ms(), &read[..n]);
                }),
                taken = to_host.write(&said[..piece]), if piece > 0 => {
                    taken.map(|n| drop(said.drain(..n)))
                }
                () = self.clock.sleep_until(due_ms) => Ok(()),
            };
            if done.is_err() {
                return;
            }
        }
    }
}
