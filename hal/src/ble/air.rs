//! Who is in the air: devices heard by the scan, which of them are heart-rate straps, and a task
//! (`strap`) for each of these. Presence is an advertisement or an RSSI, never BlueZ's memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use btleplug::api::{Central, CentralEvent, Peripheral as _};
use btleplug::platform::{Adapter, Peripheral, PeripheralId};
use futures_util::future::join_all;
use tokio::sync::{Mutex, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::bus::Bus;
use super::fault::within;
use super::strap::{Hints, Shared, Strap};
use super::{BleOptions, HEART_RATE_SERVICE};
use crate::{SourceClock, SourceEvent, StrapEvent, StrapId, StrapNews};

const CALL_LIMIT: Duration = Duration::from_secs(10);
const LOOKUP_LIMIT: Duration = Duration::from_secs(2);
/// BlueZ waits 2 s before it ends a link.
const LET_GO_LIMIT: Duration = Duration::from_secs(4);
/// When the hub stops: what the straps' tasks get to put down what they are doing, and then what
/// BlueZ gets for all links at once. Together less than `CLOSE_LIMIT`.
const PUT_DOWN_LIMIT: Duration = Duration::from_millis(500);
const LET_ALL_GO_LIMIT: Duration = Duration::from_secs(3);
const SEEN_EVERY: Duration = Duration::from_secs(5);
/// A device that was no strap may say later what it offers.
const LOOK_AGAIN_AT_STRANGERS: Duration = Duration::from_secs(30);
const FORGET_STRANGERS: Duration = Duration::from_secs(600);

/// The devices of one bus connection and the tasks of those that are straps.
pub(super) struct Air {
    shared: Shared,
    bus: Arc<Bus>,
    devices: HashMap<PeripheralId, Device>,
    tasks: JoinSet<PeripheralId>,
}

struct Device {
    looked_up: Instant,
    /// None for what is no heart-rate strap.
    strap: Option<(Peripheral, watch::Sender<Hints>)>,
}

impl Air {
    pub(super) fn new(
        clock: SourceClock,
        options: &BleOptions,
        events: mpsc::Sender<SourceEvent>,
        bus: Arc<Bus>,
    ) -> Self {
        let max_links = options.max_links;
        let places = Arc::new(Semaphore::new(max_links));
        let shared = Shared {
            clock,
            events,
            turn: Arc::new(Mutex::new(())),
            places,
            max_links,
        };
        Air {
            shared,
            bus,
            devices: HashMap::new(),
            tasks: JoinSet::new(),
        }
    }

    pub(super) async fn hear(&mut self, adapter: &Adapter, event: CentralEvent) {
        match event {
            CentralEvent::RssiUpdate { id, rssi } => {
                self.heard(adapter, id, true, Some(rssi)).await
            }
            CentralEvent::ManufacturerDataAdvertisement { id, .. }
            | CentralEvent::ServiceDataAdvertisement { id, .. } => {
                self.heard(adapter, id, true, None).await
            }
            // Also said of devices that BlueZ only remembers: in the air is what has an RSSI.
            CentralEvent::DeviceDiscovered(id) => self.heard(adapter, id, false, None).await,
            CentralEvent::ServicesAdvertisement { id, services } => {
                let strange = self
                    .devices
                    .get(&id)
                    .is_some_and(|device| device.strap.is_none());
                if strange && services.contains(&HEART_RATE_SERVICE) {
                    self.devices.remove(&id);
                }
                self.heard(adapter, id, false, None).await
            }
            CentralEvent::DeviceDisconnected(id) => {
                if let Some((_, hints)) = self.devices.get(&id).and_then(|d| d.strap.as_ref()) {
                    hints.send_modify(|hints| hints.disconnects += 1);
                }
            }
            _ => {} // DeviceConnected is not always delivered: connect()'s result counts
        }
    }

    /// `in_air`: this was an advertisement.
    async fn heard(
        &mut self,
        adapter: &Adapter,
        id: PeripheralId,
        in_air: bool,
        rssi: Option<i16>,
    ) {
        let now = Instant::now();
        if let Some(device) = self.devices.get(&id) {
            let good_for = match &device.strap {
                Some((_, hints)) => {
                    if in_air {
                        hints.send_modify(|hints| hints.last_heard = Some(now));
                    }
                    SEEN_EVERY
                }
                None => LOOK_AGAIN_AT_STRANGERS,
            };
            if now.duration_since(device.looked_up) < good_for {
                return;
            }
        }
        let Ok(peripheral) = within(LOOKUP_LIMIT, adapter.peripheral(&id)).await else {
            return;
        };
        let Ok(Some(about)) = within(LOOKUP_LIMIT, peripheral.properties()).await else {
            return;
        };
        let strange = self
            .devices
            .get(&id)
            .is_none_or(|device| device.strap.is_none());
        if strange && !about.services.contains(&HEART_RATE_SERVICE) {
            self.devices.insert(
                id,
                Device {
                    looked_up: now,
                    strap: None,
                },
            );
            return;
        }
        let rssi_dbm = rssi.or(about.rssi);
        if !in_air && rssi_dbm.is_none() {
            return;
        }
        let strap_id = StrapId::new("ble", &about.address.to_string());
        let news = StrapNews::Seen {
            name: about.advertisement_name,
            rssi_dbm,
        };
        let at_ms = self.shared.clock.now_ms();
        let event = StrapEvent {
            strap: strap_id.clone(),
            at_ms,
            news,
        };
        let _ = self.shared.events.send(SourceEvent::Strap(event)).await;
        if strange {
            let (hints, receiver) = watch::channel(Hints::default());
            let strap = Strap::new(
                strap_id,
                adapter.clone(),
                peripheral.clone(),
                self.shared.clone(),
                receiver,
            );
            let (bus, finished) = (self.bus.clone(), id.clone());
            self.tasks.spawn(async move {
                strap.run(bus).await;
                finished
            });
            let device = Device {
                looked_up: now,
                strap: Some((peripheral, hints)),
            };
            self.devices.insert(id.clone(), device);
        }
        if let Some(device) = self.devices.get_mut(&id) {
            device.looked_up = now;
            if let Some((_, hints)) = &device.strap {
                hints.send_modify(|hints| hints.last_heard = Some(now));
            }
        }
    }

    /// Asks BlueZ for all it knows: who is in the air, and whose link was left by a crash (such a
    /// strap does not advertise until it is let go).
    pub(super) async fn look_around(&mut self, adapter: &Adapter) {
        let Ok(peripherals) = within(CALL_LIMIT, adapter.peripherals()).await else {
            return;
        };
        let mut left_linked = Vec::new();
        let mut in_air = Vec::new();
        for peripheral in peripherals {
            let id = peripheral.id();
            let ours = self
                .devices
                .get(&id)
                .is_some_and(|device| device.strap.is_some());
            let Ok(Some(about)) = within(LOOKUP_LIMIT, peripheral.properties()).await else {
                continue;
            };
            if about.rssi.is_some() {
                in_air.push((id, about.rssi));
            }
            if !ours
                && about.services.contains(&HEART_RATE_SERVICE)
                && matches!(
                    within(LOOKUP_LIMIT, peripheral.is_connected()).await,
                    Ok(true)
                )
            {
                left_linked.push(peripheral);
            }
        }
        // BlueZ takes 2 s over each: all at once, or a full room would wait half a minute.
        let let_go = left_linked.iter();
        join_all(let_go.map(|strap| within(LET_GO_LIMIT, strap.disconnect()))).await;
        for (id, rssi) in in_air {
            self.heard(adapter, id, false, rssi).await;
        }
    }

    /// Forgets whom nobody hears any more.
    pub(super) fn tidy(&mut self) {
        while let Some(finished) = self.tasks.try_join_next() {
            match finished {
                Ok(id) => drop(self.devices.remove(&id)),
                // A strap's task panicked: its receiver is gone, heard again it gets a new one.
                Err(_) => self.devices.retain(|_, device| {
                    device
                        .strap
                        .as_ref()
                        .is_none_or(|(_, hints)| !hints.is_closed())
                }),
            }
        }
        self.devices.retain(|_, device| {
            device.strap.is_some() || device.looked_up.elapsed() < FORGET_STRANGERS
        });
    }

    /// The adapter or the daemon is gone: every strap is down until it is heard again.
    pub(super) fn lose_radio(&mut self, why: &str) {
        self.tell_loss(why, false);
    }

    /// The bus is dead: says so for each strap and ends the tasks.
    pub(super) async fn end(&mut self, why: &str) {
        self.tell_loss(why, true);
        while self.tasks.join_next().await.is_some() {}
    }

    /// The hub stops: ends the tasks, the scan and every link, so that a watch can have the strap
    /// and its battery rests. BlueZ does not do so by itself when a program ends.
    pub(super) async fn let_all_go(&mut self, scanning: Option<&Adapter>) {
        let put_down = self.end("the hub stops");
        if timeout(PUT_DOWN_LIMIT, put_down).await.is_err() {
            self.tasks.detach_all(); // aborted in mid-call they would drop btleplug's streams
        }
        if self.bus.is_dead() {
            return; // and every call would wait in vain
        }
        let stop_scan = async {
            if let Some(adapter) = scanning {
                let _ = within(LET_ALL_GO_LIMIT, adapter.stop_scan()).await;
            }
        };
        // Also those without a link: BlueZ may be about to make one. It says so at once.
        let straps = self.devices.values().filter_map(|d| d.strap.as_ref());
        let let_go = straps.map(|(strap, _)| within(LET_ALL_GO_LIMIT, strap.disconnect()));
        tokio::join!(stop_scan, join_all(let_go));
    }

    fn tell_loss(&self, why: &str, over: bool) {
        for (_, hints) in self
            .devices
            .values()
            .filter_map(|device| device.strap.as_ref())
        {
            hints.send_modify(|hints| {
                hints.radio_losses += 1;
                hints.radio_loss = why.into();
                hints.last_heard = None;
                hints.over = over;
            });
        }
    }
}
