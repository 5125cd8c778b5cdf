//! What the tasks of all straps have in common: the time, the deck, the bus, and the way to the hub.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::bus::Bus;
use super::deck::Deck;
use super::pace::Pace;
use crate::{RecoveryStep, SourceEvent, StrapEvent, StrapId, StrapNews};

/// What all straps share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) pace: Pace,
    pub(super) events: mpsc::Sender<SourceEvent>,
    pub(super) deck: Arc<Deck>,
    pub(super) bus: Arc<Bus>,
}

impl Shared {
    pub(super) async fn step(&self, rung: &'static str, strap: Option<&StrapId>, why: &str) {
        let step = RecoveryStep {
            rung,
            strap: strap.cloned(),
            why: why.to_owned(),
        };
        let _ = self.events.send(SourceEvent::Step(step)).await;
    }

    pub(super) async fn news(&self, strap: &StrapId, news: StrapNews) {
        let event = StrapEvent {
            strap: strap.clone(),
            at_ms: self.pace.now_ms(),
            news,
        };
        // Waits while the hub is busy. A hub that dropped the source ends this task anyway.
        let _ = self.events.send(SourceEvent::Strap(event)).await;
    }
}
