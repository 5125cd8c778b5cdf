//! Bluetooth Low Energy straps through BlueZ: scan, connect, subscribe, and the ladder back up
//! after every kind of loss.
//!
//! Here: what the hub sees of it ([`BleSource`]) and the numbers of the Bluetooth SIG. `radio` finds
//! the bus, the daemon and the adapters; `adapter` hears with one of them; `strap` follows one strap.
//! PURE: `plan` decides who is carried by which adapter, `watchdog` when an adapter is shaken,
//! `identity` which strap it is. `deck` is what they all share; `bus` knows whether the D-Bus connection
//! lives; `fault` reads BlueZ's errors; `about` what a strap says of itself; `pace` is the time. Bytes
//! are decoded in [`crate::decode::ble`]. Nothing here logs: whatever happens leaves as an event.

mod about;
mod adapter;
mod bus;
mod deck;
mod fault;
mod identity;
mod pace;
mod plan;
mod radio;
mod shared;
mod strap;
mod turn;
mod watchdog;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

use self::deck::Deck;
use self::pace::Pace;
use crate::{SourceClock, SourceEvent, StrapSource, Wish};

/// Events waiting for the hub; a hub that is slower than that makes the tasks here wait.
const EVENTS_WAITING: usize = 1024;
/// Rest before everything is started again after a task here ended, which only a defect can cause.
const RESTART_AFTER: Duration = Duration::from_secs(1);
/// How long letting go of all straps may take; `radio` stays below it.
const CLOSE_LIMIT: Duration = Duration::from_secs(4);

const HEART_RATE_SERVICE: Uuid = assigned_number(0x180d);
const HEART_RATE_MEASUREMENT: Uuid = assigned_number(0x2a37);
const BODY_SENSOR_LOCATION: Uuid = assigned_number(0x2a38);
const BATTERY_LEVEL: Uuid = assigned_number(0x2a19);
const MANUFACTURER_NAME: Uuid = assigned_number(0x2a29);
const MODEL_NUMBER: Uuid = assigned_number(0x2a24);
const SERIAL_NUMBER: Uuid = assigned_number(0x2a25);
const FIRMWARE_REVISION: Uuid = assigned_number(0x2a26);

/// The Bluetooth SIG's short number as a whole UUID.
const fn assigned_number(short: u16) -> Uuid {
    Uuid::from_u128(0x0000_0000_0000_1000_8000_0080_5f9b_34fb | ((short as u128) << 96))
}

/// What an admin may choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BleOptions {
    /// `hci0` or addresses like `00:1B:DC:00:00:01`; empty: every adapter that is there, also
    /// one that is plugged in later.
    pub adapters: Vec<String>,
    /// How many straps each adapter may carry at the same time. Chips differ (5 to 10 are common)
    /// and say nothing clear when they are full.
    pub max_links: usize,
}

impl Default for BleOptions {
    fn default() -> Self {
        BleOptions {
            adapters: Vec::new(),
            max_links: 5,
        }
    }
}

/// Hears heart-rate straps with Bluetooth adapters, for ever.
///
/// The work is done by tasks of its own, started by the first [`StrapSource::next_event`] (which
/// therefore needs a tokio runtime with IO and time) and ended by [`StrapSource::close`], or rudely
/// when this is dropped: BlueZ then keeps every link. It is meant to live as long as the process:
/// btleplug never closes its connection to the bus.
pub struct BleSource {
    pace: Pace,
    options: BleOptions,
    deck: Arc<Deck>,
    running: Option<Running>,
}

impl BleSource {
    pub fn new(clock: SourceClock, options: BleOptions) -> Self {
        BleSource {
            pace: Pace(clock),
            deck: Arc::new(Deck::new(options.max_links)),
            options,
            running: None,
        }
    }
}

impl StrapSource for BleSource {
    fn name(&self) -> &'static str {
        "ble"
    }

    async fn next_event(&mut self) -> Option<SourceEvent> {
        loop {
            let running = self.running.get_or_insert_with(|| {
                Running::start(self.pace.clone(), self.options.clone(), self.deck.clone())
            });
            if let Some(event) = running.events.recv().await {
                return Some(event);
            }
            tokio::time::sleep(RESTART_AFTER).await;
            self.running = None;
        }
    }

    fn wish(&mut self, wish: &Wish) {
        self.deck.wish(wish, self.pace.now_ms());
    }

    async fn close(&mut self) {
        if let Some(running) = self.running.take() {
            running.close().await;
        }
    }
}

struct Running {
    events: mpsc::Receiver<SourceEvent>,
    stop: watch::Sender<bool>,
    radio: JoinHandle<()>,
    deck: Arc<Deck>,
}

impl Running {
    fn start(pace: Pace, options: BleOptions, deck: Arc<Deck>) -> Self {
        let (sender, events) = mpsc::channel(EVENTS_WAITING);
        let (stop, stopped) = watch::channel(false);
        let radio = radio::Radio::new(pace, options, sender, deck.clone());
        let radio = tokio::spawn(radio.run(stopped));
        Running {
            events,
            stop,
            radio,
            deck,
        }
    }

    async fn close(mut self) {
        self.events.close(); // nobody waits for the hub any more
        self.stop.send_replace(true);
        let _ = timeout(CLOSE_LIMIT, &mut self.radio).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.radio.abort(); // the adapters' tasks are in a JoinSet of the radio's and go with it
        drop(self.deck.end("the source was dropped")); // and the straps' with this one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assigned_numbers_become_the_sigs_uuids() {
        assert_eq!(
            HEART_RATE_MEASUREMENT.to_string(),
            "00002a37-0000-1000-8000-00805f9b34fb"
        );
    }
}
