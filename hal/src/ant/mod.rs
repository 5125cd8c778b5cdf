//! ANT+ straps through a USB stick that is seen as a serial port. One stick in scan mode hears every strap
//! around, without pairing and without places to fill.
//!
//! Here belongs [`AntSource`], which joins a port and the conversation with a stick (`stick.rs`). What a stick
//! says is decoded in [`crate::decode::ant`]; straps are kept apart in `straps.rs`, sentences are in `words.rs`.

mod stick;
mod straps;
mod words;

use tokio::select;

use crate::decode::ant::NetworkKey;
use crate::port::{Port, PortNews};
use crate::{SourceClock, SourceEvent, SourceState, StrapSource};

use stick::Stick;

/// Where the stick is.
#[derive(Clone, Debug)]
pub struct AntOptions {
    /// Best one that stays the same: `/dev/serial/by-id/…`.
    pub port: String,
    /// Of sticks with a real serial line: 115200. Others don't care.
    pub baud: u32,
    /// The network key, or why there is none, as a sentence.
    pub key: Result<NetworkKey, String>,
}

/// Hears ANT+ straps.
pub struct AntSource {
    clock: SourceClock,
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
                port: Port::new(port, baud, clock.clone()),
                stick: Box::new(Stick::new(key)),
            },
            Err(why) => Work::Keyless(Some(why)),
        };
        AntSource { clock, work }
    }
}

impl AntSource {
    /// The conversation by itself, to be led without a port; none where there is no key.
    pub(crate) fn rehearsing(&mut self) -> Option<&mut Stick> {
        match &mut self.work {
            Work::Stick { stick, .. } => Some(stick),
            Work::Keyless(_) => None,
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
            // A call that is dropped here sends the same commands again: a stick bears that.
            if port.is_open() && !stick.outgoing().is_empty() {
                port.write(stick.outgoing()).await;
                stick.written();
            }
            let news = select! {
                news = port.next() => Some(news),
                () = self.clock.sleep_until(stick.due_ms()) => None,
            };
            match news {
                None => stick.tick(self.clock.now_ms()),
                Some(PortNews::Opened { at_ms }) => stick.opened(at_ms),
                Some(PortNews::Bytes { at_ms, bytes }) => stick.bytes(at_ms, &bytes),
                Some(PortNews::Shut { at_ms, trouble }) => {
                    stick.closed(at_ms, "the ANT+ stick is gone");
                    stick.say(SourceState {
                        up: false,
                        code: trouble.code,
                        text: trouble.text,
                    });
                }
            }
            if stick.stuck() {
                port.reopen();
                stick.closed(self.clock.now_ms(), "the ANT+ stick does not answer");
            }
        }
    }

    async fn close(&mut self) {
        if let Work::Stick { port, stick } = &mut self.work
            && stick.rest()
        {
            port.write(stick.outgoing()).await;
        }
    }
}
