//! The D-Bus connection as a thing that can die: a canary beside btleplug's own connection, and
//! streams that survive their bus. No BlueZ objects here.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use btleplug::platform::Manager;
use dbus::Message;
use dbus::channel::{BusType, Channel};
use futures_util::{FutureExt, Stream, StreamExt};

const BLUEZ_CHANGES_HANDS: &str =
    "type='signal',interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='org.bluez'";

/// A connection to the system bus.
///
/// btleplug throws the handle away that would tell of its connection's end, and every call then
/// waits 30 s for nothing. So a second connection is kept: it ends when the bus does, and it also
/// hears bluetoothd come and go. btleplug's connection is never closed before the bus ends, so a
/// new `Bus` is only opened once the old one is dead.
pub(super) struct Bus {
    pub(super) manager: Manager,
    canary: Mutex<Channel>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pulse {
    Alive,
    /// bluetoothd appeared on or left the bus since the last look.
    BluezChangedHands,
    Dead,
}

impl Bus {
    /// The error is a sentence.
    pub(super) async fn open() -> Result<Self, String> {
        let canary = Channel::get_private(BusType::System).map_err(|e| e.to_string())?;
        let add_match = Message::new_method_call(
            "org.freedesktop.DBus",
            "/org/freedesktop/DBus",
            "org.freedesktop.DBus",
            "AddMatch",
        )?;
        // A failure shows at the first look at the pulse.
        let _ = canary.send(add_match.append1(BLUEZ_CHANGES_HANDS));
        let manager = Manager::new().await.map_err(|e| e.to_string())?;
        Ok(Bus {
            manager,
            canary: Mutex::new(canary),
        })
    }

    pub(super) fn pulse(&self) -> Pulse {
        let canary = self.canary.lock().unwrap_or_else(PoisonError::into_inner);
        if canary.read_write(Some(Duration::ZERO)).is_err() || !canary.is_connected() {
            return Pulse::Dead;
        }
        let mut pulse = Pulse::Alive;
        while let Some(message) = canary.pop_message() {
            if message.member().as_deref() == Some("NameOwnerChanged") {
                pulse = Pulse::BluezChangedHands;
            }
        }
        pulse
    }

    pub(super) fn is_dead(&self) -> bool {
        let canary = self.canary.lock().unwrap_or_else(PoisonError::into_inner);
        canary.read_write(Some(Duration::ZERO)).is_err() || !canary.is_connected()
    }
}

/// One of btleplug's streams.
///
/// Dropping such a stream spawns a task that takes its match rule off the bus, and that task
/// panics when there is no bus, or when a message arrives in the same instant. Where a panic ends
/// the process (release builds) that must not happen with straps in the room. So a stream is kept
/// for as long as its object may come back; [`Kept::close`] is for a quiet one; and a `Kept` that
/// is dropped, because the bus or the whole source ended, leaves its stream behind.
pub(super) struct Kept<T> {
    stream: Option<Pin<Box<dyn Stream<Item = T> + Send>>>,
    bus: Arc<Bus>,
}

impl<T> Kept<T> {
    pub(super) fn new(stream: Pin<Box<dyn Stream<Item = T> + Send>>, bus: Arc<Bus>) -> Self {
        Kept {
            stream: Some(stream),
            bus,
        }
    }

    /// Waits for the next item. Cancel-safe. btleplug's streams never end; if one did, this waits.
    pub(super) async fn next(&mut self) -> T {
        match self
            .stream
            .as_mut()
            .expect("only close and drop take it")
            .next()
            .await
        {
            Some(item) => item,
            None => std::future::pending().await,
        }
    }

    /// An item that is already there.
    pub(super) fn next_waiting(&mut self) -> Option<T> {
        self.next().now_or_never()
    }

    /// Takes the match rule off the bus, if there is a bus.
    pub(super) fn close(mut self) {
        if !self.bus.is_dead() {
            drop(self.stream.take());
        }
    }
}

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        std::mem::forget(self.stream.take());
    }
}
