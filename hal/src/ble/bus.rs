//! The D-Bus connection as a thing that can die: a canary beside btleplug's own connection, streams
//! that survive their bus, and the few calls to BlueZ that btleplug does not make (or not safely).

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use btleplug::platform::{Manager, PeripheralId};
use dbus::arg::{PropMap, prop_cast};
use dbus::channel::{BusType, Channel};
use dbus::nonblock::stdintf::org_freedesktop_dbus::Properties;
use dbus::nonblock::{Proxy, SyncConnection};
use dbus::{Message, Path};
use futures_util::{FutureExt, Stream, StreamExt};
use tokio::task::JoinHandle;

use super::fault::Trouble;

const BLUEZ_CHANGES_HANDS: &str =
    "type='signal',interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='org.bluez'";

const BLUEZ: &str = "org.bluez";
const ADAPTER1: &str = "org.bluez.Adapter1";
const DEVICE1: &str = "org.bluez.Device1";
/// Longer than whatever our own limits are: those end a call first.
const OWN_CALL_LIMIT: Duration = Duration::from_secs(60);

/// A connection to the system bus.
///
/// btleplug throws the handle away that would tell of its connection's end, and every call then
/// waits 30 s for nothing. So a second connection is kept: it ends when the bus does, and it also
/// hears bluetoothd come and go. btleplug's connection is never closed before the bus ends, so a
/// new `Bus` is only opened once the old one is dead.
pub(super) struct Bus {
    pub(super) manager: Manager,
    canary: Mutex<Channel>,
    /// For our own calls. It has no match rules, so nothing of it can be dropped at a bad moment.
    own: Arc<SyncConnection>,
    own_work: JoinHandle<()>,
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
        let (work, own) = dbus_tokio::connection::new_system_sync().map_err(|e| e.to_string())?;
        let own_work = tokio::spawn(async move {
            let _ = work.await; // ends with the bus, of which the canary tells
        });
        Ok(Bus {
            manager,
            canary: Mutex::new(canary),
            own,
            own_work,
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

// What is asked of BlueZ directly. A call that is dropped leaves nothing behind on our side.
impl Bus {
    /// Links a device. Not btleplug's `connect`: that one holds a stream of its own, which it drops
    /// while messages come (see [`Kept`]).
    pub(super) async fn connect(&self, device: &PeripheralId) -> Result<(), Trouble> {
        let device = self.proxy(path_of(device));
        Ok(device.method_call(DEVICE1, "Connect", ()).await?)
    }

    /// Are the services of a linked device known?
    pub(super) async fn services_resolved(&self, device: &PeripheralId) -> Result<bool, Trouble> {
        let device = self.proxy(path_of(device));
        Ok(device.get(DEVICE1, "ServicesResolved").await?)
    }

    pub(super) async fn set_powered(&self, adapter: &str, on: bool) -> Result<(), Trouble> {
        let adapter = self.proxy(format!("/org/bluez/{adapter}"));
        Ok(adapter.set(ADAPTER1, "Powered", on).await?)
    }

    /// Has BlueZ forget devices, also on its disk. Those that an admin has paired stay: nobody here
    /// could pair them again.
    pub(super) async fn remove(&self, devices: &[PeripheralId]) -> Result<(), Trouble> {
        type Objects = HashMap<Path<'static>, HashMap<String, PropMap>>;
        let root = self.proxy("/".into());
        let (known,): (Objects,) = root
            .method_call(
                "org.freedesktop.DBus.ObjectManager",
                "GetManagedObjects",
                (),
            )
            .await?;
        let removing = devices.iter().filter_map(|device| {
            let path = Path::from(path_of(device));
            let about = known.get(&path)?.get(DEVICE1)?;
            let paired = prop_cast::<bool>(about, "Paired").copied().unwrap_or(false);
            let adapter = path.rsplit_once('/')?.0.to_owned();
            (!paired).then_some(async move {
                let adapter = self.proxy(adapter);
                let removed: Result<(), dbus::Error> =
                    adapter.method_call(ADAPTER1, "RemoveDevice", (path,)).await;
                removed
            })
        });
        for removed in futures_util::future::join_all(removing).await {
            removed?;
        }
        Ok(())
    }

    fn proxy(&self, path: String) -> Proxy<'static, Arc<SyncConnection>> {
        Proxy::new(BLUEZ, path, OWN_CALL_LIMIT, self.own.clone())
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.own_work.abort();
    }
}

/// BlueZ's name for a device. btleplug shows it without the beginning.
fn path_of(device: &PeripheralId) -> String {
    format!("/org/bluez/{device}")
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
