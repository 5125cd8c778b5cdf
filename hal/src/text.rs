//! Text sensors at serial ports that were configured: makers' pulse sensors that print lines.
//!
//! Here belongs [`TextSource`], which looks at all ports in turn and says how they are. What arrives at one port
//! becomes events in `listener`, whether it makes sense is judged in `judge`; lines are read in
//! [`crate::decode::serial`]. Ports that are not configured are never opened: that alone restarts many boards.

mod judge;
mod listener;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Poll;

use crate::decode::serial::Profile;
use crate::port::{Port, PortNews};
use crate::{SourceClock, SourceEvent, SourceState, StrapSource};
use listener::Listener;

/// Where a text sensor is, and how it writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextPort {
    /// By which its hearts are recognised, whatever port it is plugged into.
    pub name: String,
    pub path: String,
    pub baud: u32,
    pub profile: Profile,
}

/// Hears text sensors at any number of ports, for ever.
pub struct TextSource {
    ports: Vec<(Port, Listener)>,
    /// Who is looked at first, so that a port that never rests does not keep the others waiting.
    turn: usize,
    waiting: VecDeque<SourceEvent>,
    said: Option<SourceState>,
}

impl TextSource {
    /// Opens nothing yet: the first [`StrapSource::next_event`] does, and needs a tokio runtime with IO.
    pub fn new(clock: SourceClock, ports: Vec<TextPort>) -> Self {
        let listen = |settings: TextPort| {
            let port = Port::new(settings.path.clone(), settings.baud, clock.clone());
            (port, Listener::new(settings))
        };
        TextSource {
            ports: ports.into_iter().map(listen).collect(),
            turn: 0,
            waiting: VecDeque::new(),
            said: None,
        }
    }

    /// The next news of any port, and of which. Cancel-safe, as each port is.
    async fn news(&mut self) -> (usize, PortNews) {
        let (count, first) = (self.ports.len(), self.turn);
        let looks = self.ports.iter_mut().map(|(port, _)| Box::pin(port.next()));
        let mut looks: Vec<_> = looks.collect();
        let (at, news) = poll_fn(|task| {
            for at in (0..count).map(|step| (first + step) % count) {
                if let Poll::Ready(news) = looks[at].as_mut().poll(task) {
                    return Poll::Ready((at, news));
                }
            }
            Poll::Pending
        })
        .await;
        self.turn = at + 1;
        (at, news)
    }

    /// All ports in one sentence each, those that need somebody first. None as long as one was not tried.
    fn state(&self) -> Option<SourceState> {
        let states = self.ports.iter().map(|(_, listener)| listener.state());
        let mut states: Vec<_> = states.collect::<Option<_>>()?;
        states.sort_by_key(|state| state.up);
        let texts: Vec<&str> = states.iter().map(|state| state.text.as_str()).collect();
        let text = texts.join(" ");
        let worst = states.first()?;
        Some(SourceState {
            up: worst.up,
            code: worst.code,
            text,
        })
    }
}

impl StrapSource for TextSource {
    fn name(&self) -> &'static str {
        "text"
    }

    async fn next_event(&mut self) -> Option<SourceEvent> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            let (at, news) = self.news().await;
            self.ports[at].1.hear(news, &mut self.waiting);
            if let Some(state) = self
                .state()
                .filter(|state| self.said.as_ref() != Some(state))
            {
                // How the source is comes before what it heard.
                self.waiting.push_front(SourceEvent::State(state.clone()));
                self.said = Some(state);
            }
        }
    }
}
