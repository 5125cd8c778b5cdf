//! ANT+ straps through a USB stick that is seen as a serial port. One stick in scan mode hears every strap
//! around, without pairing and without places to fill.
//!
//! Here belongs [`AntSource`], which joins a port and the conversation with a stick (`stick.rs`). What a stick
//! says is decoded in [`crate::decode::ant`]; straps are kept apart in `straps.rs`, sentences are in `words.rs`.

mod key;
mod stick;
mod straps;
mod words;

use std::path::PathBuf;
use std::time::Duration;

use tokio::select;

use crate::port::{Port, PortError, PortNews};
use crate::{SourceClock, SourceEvent, StrapSource};

pub use key::{NetworkKey, NoKey};
use stick::Stick;

/// How long a stick may take to hear that it may rest, when the hub stops.
const GOODBYE: Duration = Duration::from_millis(500);

/// Where the stick is.
#[derive(Clone, Debug)]
pub struct AntOptions {
    /// Best one that stays the same: `/dev/serial/by-id/…`.
    pub port: PathBuf,
    /// Of sticks with a real serial line: 115200. Others don't care.
    pub baud: u32,
    /// The network key, or why there is none, as a sentence.
    pub key: Result<NetworkKey, String>,
}

/// Hears ANT+ straps.
pub struct AntSource {
    clock: SourceClock,
    path: PathBuf,
    work: Work,
}

enum Work {
    Stick {
        port: Port,
        stick: Box<Stick>,
    },
    /// There is no key: why, until it was said.
    Keyless(Option<String>),
}

impl AntSource {
    pub fn new(clock: SourceClock, options: AntOptions) -> Self {
        let AntOptions { port, baud, key } = options;
        let work = match key {
            Ok(key) => Work::Stick {
                port: Port::new(port.clone(), baud, clock.clone()),
                stick: Box::new(Stick::new(key)),
            },
            Err(why) => Work::Keyless(Some(why)),
        };
        AntSource {
            clock,
            path: port,
            work,
        }
    }
}

impl StrapSource for AntSource {
    fn name(&self) -> &'static str {
        "ant"
    }

    async fn next_event(&mut self) -> Option<SourceEvent> {
        let (port, stick) = match &mut self.work {
            Work::Stick { port, stick } => (port, stick),
            Work::Keyless(why) => {
                if let Some(why) = why.take() {
                    return Some(SourceEvent::State(words::no_key(&why)));
                }
                return std::future::pending().await;
            }
        };
        loop {
            if let Some(event) = stick.next_event() {
                return Some(event);
            }
            let news = select! {
                news = port.next(stick.outgoing()) => Some(news),
                () = self.clock.sleep_until(stick.due_ms()) => None,
            };
            let now_ms = self.clock.now_ms();
            match news {
                None => stick.tick(now_ms),
                Some(PortNews::Opened) => stick.opened(now_ms),
                Some(PortNews::Read { at_ms, bytes }) => stick.bytes(at_ms, &bytes),
                Some(PortNews::Written(bytes)) => stick.written(bytes),
                Some(PortNews::Lost) => stick.closed(now_ms, "the ANT+ stick is gone"),
                Some(PortNews::Failed(error)) => stick.say(match error {
                    PortError::Missing => words::no_port(&self.path),
                    PortError::Denied => words::no_permission(&self.path),
                    PortError::Held => words::port_in_use(&self.path),
                    PortError::Other(why) => words::port_trouble(&self.path, &why),
                }),
            }
            if stick.stuck() {
                port.close();
                stick.closed(now_ms, "the ANT+ stick does not answer");
            }
        }
    }

    async fn close(&mut self) {
        let Work::Stick { port, stick } = &mut self.work else {
            return;
        };
        stick.close();
        let farewell = async {
            while !stick.outgoing().is_empty() {
                match port.next(stick.outgoing()).await {
                    PortNews::Written(bytes) => stick.written(bytes),
                    PortNews::Read { .. } => {}
                    PortNews::Opened | PortNews::Lost | PortNews::Failed(_) => return,
                }
            }
        };
        // A stick that takes nothing stops by losing its host.
        let _ = tokio::time::timeout(GOODBYE, farewell).await;
    }
}
