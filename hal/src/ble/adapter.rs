//! One adapter: scans, hears who is in the air, finds out which of them are heart-rate straps and
//! starts a task (`strap`) for each, and climbs the ladder when it falls silent. Presence is an
//! advertisement or an RSSI, never BlueZ's memory. The other adapters are none of its business.

use std::sync::Arc;
use std::time::Duration;

use btleplug::api::{Central, CentralEvent, CentralState, Peripheral as _, ScanFilter};
use btleplug::platform::{Adapter, PeripheralId};
use futures_util::future::join_all;
use tokio::sync::watch;

use super::HEART_RATE_SERVICE;
use super::bus::Kept;
use super::fault::{Fault, Trouble};
use super::identity::{clean, strap_id};
use super::pace::Pace;
use super::shared::Shared;
use super::strap::{Strap, Way};
use super::turn::Turn;
use super::watchdog::{Rung, Watchdog};
use crate::StrapNews;

pub(super) const CALL_LIMIT: Duration = Duration::from_secs(10);
const LOOKUP_LIMIT: Duration = Duration::from_secs(2);
/// BlueZ waits 2 s before it ends a link.
const LET_GO_LIMIT: Duration = Duration::from_secs(4);
/// How often the adapter is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// As long as a scan of the kernel lasts, 10 s: BlueZ calls that one "in progress" after a bluetoothd
/// that was killed.
const SCAN_TRIES: u32 = 24;
const SCAN_TRY_AGAIN: Duration = Duration::from_millis(500);
/// The kernel takes a moment to switch a chip off or on.
const POWER_LIMIT: Duration = Duration::from_secs(5);

pub(super) const BUS_GONE: &str = "the D-Bus system bus is gone";

/// Listens with one adapter until that, the daemon or the hub ends.
pub(super) struct Listener {
    pub(super) name: String,
    pub(super) adapter: Adapter,
    pub(super) shared: Shared,
    /// Set when it shall end, with the reason for each strap.
    pub(super) stop: watch::Receiver<Option<&'static str>>,
    turn: Arc<Turn>,
}

/// Why listening ended: `code` and sentence for the admin, `why` for each strap.
pub(super) struct Ending {
    pub(super) code: &'static str,
    pub(super) text: String,
    pub(super) why: String,
}

impl Listener {
    pub(super) fn new(
        name: String,
        adapter: Adapter,
        shared: Shared,
        stop: watch::Receiver<Option<&'static str>>,
    ) -> Self {
        Listener {
            name,
            adapter,
            shared,
            stop,
            turn: Arc::default(),
        }
    }

    /// The stream is given back: it is kept over losses of the adapter, see `Kept`.
    pub(super) async fn run(
        mut self,
        mut stream: Option<Kept<CentralEvent>>,
    ) -> (String, Option<Kept<CentralEvent>>, Ending) {
        let mut stop = self.stop.clone();
        let ending = tokio::select! {
            ending = self.listen(&mut stream) => ending,
            why = stopped(&mut stop) => self.ending(&Trouble::new(Fault::DaemonGone, why)),
        };
        let Shared {
            pace, deck, bus, ..
        } = &self.shared;
        // A dying bus fails calls as a missing daemon does.
        let why = match bus.is_dead() {
            true => BUS_GONE,
            false => &ending.why,
        };
        deck.adapter_went(&self.name, why, pace.now_ms());
        (self.name, stream, ending)
    }

    async fn listen(&mut self, stream: &mut Option<Kept<CentralEvent>>) -> Ending {
        let pace = self.shared.pace.clone();
        let stream = match stream {
            Some(stream) => {
                while stream.next_waiting().is_some() {} // of before
                stream
            }
            None => match pace.within(CALL_LIMIT, self.adapter.events()).await {
                Ok(opened) => stream.insert(Kept::new(opened, self.shared.bus.clone())),
                Err(trouble) => return self.ending(&trouble),
            },
        };
        let stuck = match scan(&self.adapter, &pace).await {
            Ok(stuck) => stuck,
            Err(trouble) => return self.ending(&trouble),
        };
        self.shared.deck.adapter_came(&self.name, pace.now_ms());
        self.note_scan(stuck);
        self.look_around().await;
        let mut watchdog = Watchdog::new();
        let mut heard_ms = pace.now_ms();
        let mut look = Box::pin(pace.sleep(LOOK_EVERY));
        loop {
            tokio::select! {
                event = stream.next() => {
                    if matches!(event, CentralEvent::StateUpdate(CentralState::PoweredOff)) {
                        // An unplugged adapter goes off, too.
                        return match pace.within(CALL_LIMIT, self.adapter.adapter_info()).await {
                            Ok(_) => self.switched_off(""),
                            Err(trouble) => self.ending(&trouble),
                        };
                    }
                    if !matches!(
                        event,
                        CentralEvent::DeviceDisconnected(_)
                            | CentralEvent::DeviceConnected(_)
                            | CentralEvent::StateUpdate(_)
                    ) {
                        heard_ms = pace.now_ms();
                    }
                    self.hear(event).await;
                }
                () = &mut look => {
                    let alive = pace.within(CALL_LIMIT, self.adapter.adapter_info()).await;
                    if let Err(trouble) = alive {
                        return self.ending(&trouble);
                    }
                    if is_off(&self.adapter, &pace).await {
                        return self.switched_off("");
                    }
                    let now_ms = pace.now_ms();
                    let signs = self.shared.deck.signs(&self.name, heard_ms, now_ms);
                    match watchdog.look(now_ms, signs) {
                        Some((Rung::RestartDiscovery, why)) => {
                            self.shared.step("restart_discovery", None, why).await;
                            if let Err(trouble) = self.restart_discovery().await {
                                return self.ending(&trouble);
                            }
                        }
                        Some((Rung::PowerCycle, why)) => {
                            self.shared.step("power_cycle", None, why).await;
                            if let Err(trouble) = self.power_cycle(stream).await {
                                return self.ending(&trouble);
                            }
                        }
                        Some((Rung::Report, why)) => {
                            self.shared.step("report", None, why).await;
                            self.shared.deck.report(&self.name, Some(why));
                        }
                        None if watchdog.has_reported() => {}
                        None => self.shared.deck.report(&self.name, None),
                    }
                    look = Box::pin(pace.sleep(LOOK_EVERY));
                }
            }
        }
    }

    /// A scan that can't be started, and nobody says why, is no reason to end.
    fn note_scan(&self, stuck: bool) {
        let Shared { pace, deck, .. } = &self.shared;
        deck.scan_stuck(&self.name, stuck, pace.now_ms());
    }

    async fn restart_discovery(&self) -> Result<(), Trouble> {
        let pace = &self.shared.pace;
        let _ = pace.within(CALL_LIMIT, self.adapter.stop_scan()).await;
        self.note_scan(scan(&self.adapter, pace).await?);
        self.look_around().await;
        Ok(())
    }

    /// Off and on again: what a stick does that is pulled and plugged in. Every link is gone then, so
    /// this is only for an adapter over which nothing comes.
    async fn power_cycle(&self, stream: &mut Kept<CentralEvent>) -> Result<(), Trouble> {
        let Shared {
            pace, deck, bus, ..
        } = &self.shared;
        deck.adapter_went(
            &self.name,
            "the adapter is switched off and on again",
            pace.now_ms(),
        );
        for on in [false, true] {
            pace.within(CALL_LIMIT, bus.set_powered(&self.name, on))
                .await?;
            let until_ms = pace.now_ms() + super::pace::ms(POWER_LIMIT);
            while is_off(&self.adapter, pace).await == on && pace.now_ms() < until_ms {
                pace.sleep(Duration::from_millis(100)).await;
            }
        }
        while stream.next_waiting().is_some() {} // among them that it went off
        deck.adapter_came(&self.name, pace.now_ms());
        self.restart_discovery().await
    }

    async fn hear(&self, event: CentralEvent) {
        let deck = &self.shared.deck;
        match event {
            CentralEvent::RssiUpdate { id, rssi } => self.heard(id, true, Some(rssi)).await,
            CentralEvent::ManufacturerDataAdvertisement { id, .. }
            | CentralEvent::ServiceDataAdvertisement { id, .. } => {
                self.heard(id, true, None).await;
            }
            // Also said of devices that BlueZ only remembers: in the air is what has an RSSI.
            CentralEvent::DeviceDiscovered(id) => self.heard(id, false, None).await,
            CentralEvent::ServicesAdvertisement { id, services } => {
                if services.contains(&HEART_RATE_SERVICE) {
                    deck.forget_stranger(&id);
                }
                self.heard(id, false, None).await;
            }
            CentralEvent::DeviceDisconnected(id) => deck.disconnected(&id),
            _ => {} // DeviceConnected is not always delivered: connect()'s result counts
        }
    }

    /// `in_air`: this was an advertisement.
    async fn heard(&self, id: PeripheralId, in_air: bool, rssi: Option<i16>) {
        let Shared { pace, deck, .. } = &self.shared;
        if !deck.heard(&id, in_air, rssi, pace.now_ms()) {
            return;
        }
        let Ok(peripheral) = pace
            .within(LOOKUP_LIMIT, self.adapter.peripheral(&id))
            .await
        else {
            return;
        };
        let Ok(Some(about)) = pace.within(LOOKUP_LIMIT, peripheral.properties()).await else {
            return;
        };
        if !deck.is_route(&id) && !about.services.contains(&HEART_RATE_SERVICE) {
            return deck.note_stranger(id, pace.now_ms());
        }
        let rssi_dbm = rssi.or(about.rssi);
        if !in_air && rssi_dbm.is_none() {
            return;
        }
        let name = about.advertisement_name.map(|name| clean(&name));
        let name = name.filter(|name| !name.is_empty());
        let strap = strap_id(about.address, about.address_type, name.as_deref());
        let now_ms = pace.now_ms();
        let (strap, loudest, task) =
            deck.meet(strap, &self.name, &peripheral, &id, rssi_dbm, now_ms);
        if loudest {
            let news = StrapNews::Seen { name, rssi_dbm };
            self.shared.news(&strap, news).await;
        }
        if let Some((route, hints)) = task {
            let way = Way {
                id: strap,
                route,
                adapter: self.adapter.clone(),
                peripheral,
                adapter_name: self.name.clone(),
                turn: self.turn.clone(),
            };
            let task = Strap::new(way, self.shared.clone(), hints).run();
            deck.spawn(task);
        }
    }

    /// Asks BlueZ for all it knows: who is in the air, and whose link was left by a crash (such a
    /// strap does not advertise until it is let go).
    async fn look_around(&self) {
        let Shared { pace, deck, .. } = &self.shared;
        let Ok(peripherals) = pace.within(CALL_LIMIT, self.adapter.peripherals()).await else {
            return;
        };
        let mut left_linked = Vec::new();
        let mut in_air = Vec::new();
        for peripheral in peripherals {
            let id = peripheral.id();
            let Ok(Some(about)) = pace.within(LOOKUP_LIMIT, peripheral.properties()).await else {
                continue;
            };
            if about.rssi.is_some() {
                in_air.push((id.clone(), about.rssi));
            }
            if !deck.is_route(&id)
                && about.services.contains(&HEART_RATE_SERVICE)
                && matches!(
                    pace.within(LOOKUP_LIMIT, peripheral.is_connected()).await,
                    Ok(true)
                )
            {
                left_linked.push(peripheral);
            }
        }
        // BlueZ takes 2 s over each: all at once, or a full room would wait half a minute.
        let let_go = left_linked.iter();
        join_all(let_go.map(|strap| pace.within(LET_GO_LIMIT, strap.disconnect()))).await;
        for (id, rssi) in in_air {
            self.heard(id, false, rssi).await;
        }
    }

    fn switched_off(&self, words: &str) -> Ending {
        Ending {
            code: "adapter_off",
            text: format!(
                "The Bluetooth adapter {} is switched off; `rfkill unblock \
                 bluetooth` may help.{words}",
                self.name
            ),
            why: "the adapter was switched off".into(),
        }
    }

    fn ending(&self, trouble: &Trouble) -> Ending {
        match trouble.fault {
            Fault::ObjectGone => Ending {
                code: "no_adapter",
                text: format!(
                    "The Bluetooth adapter {} is gone: plug it in again.",
                    self.name
                ),
                why: "adapter gone".into(),
            },
            Fault::DaemonGone | Fault::TimedOut => Ending {
                code: "no_bluetoothd",
                text: format!(
                    "bluetoothd does not answer: is the bluetooth service running? ({trouble})"
                ),
                why: "bluetoothd is gone".into(),
            },
            _ => self.switched_off(&format!(" ({trouble})")),
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<Option<&'static str>>) -> &'static str {
    match stop.wait_for(Option::is_some).await {
        Ok(why) => why.unwrap_or_default(),
        Err(_radio_ended) => "the source ended",
    }
}

/// Starts the scan; true when it can't be started, and nobody says why.
pub(super) async fn scan(adapter: &Adapter, pace: &Pace) -> Result<bool, Trouble> {
    match start_scan(adapter, pace).await {
        Ok(()) => Ok(false),
        Err(trouble) if trouble.fault == Fault::InProgress => Ok(true),
        Err(trouble) => Err(trouble),
    }
}

/// "In progress" BlueZ says of two things: of our own scan, which then is made anew, and of one that
/// the kernel still does for a bluetoothd that was killed. That one ends soon, but nothing starts
/// ours in its place.
async fn start_scan(adapter: &Adapter, pace: &Pace) -> Result<(), Trouble> {
    let mut refused = Ok(());
    for _ in 0..SCAN_TRIES {
        let filter = ScanFilter {
            services: vec![HEART_RATE_SERVICE],
        };
        refused = pace.within(CALL_LIMIT, adapter.start_scan(filter)).await;
        if !matches!(&refused, Err(trouble) if trouble.fault == Fault::InProgress) {
            break;
        }
        let _ = pace.within(CALL_LIMIT, adapter.stop_scan()).await; // fails if it was not ours
        pace.sleep(SCAN_TRY_AGAIN).await;
    }
    refused
}

/// btleplug calls an adapter off that does not answer at all: ask for its `adapter_info` first.
pub(super) async fn is_off(adapter: &Adapter, pace: &Pace) -> bool {
    matches!(
        pace.within(CALL_LIMIT, adapter.adapter_state()).await,
        Ok(CentralState::PoweredOff)
    )
}
