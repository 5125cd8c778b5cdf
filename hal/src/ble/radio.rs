//! The bus, bluetoothd, the adapter and the air: finds them, says which of them is missing, starts
//! the scan and keeps it alive. What the scan hears is for `air`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use btleplug::api::{Central, CentralEvent, CentralState, Manager as _, ScanFilter};
use btleplug::platform::Adapter;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::air::Air;
use super::bus::{Bus, Kept, Pulse};
use super::fault::{Fault, Trouble, within, without_addresses};
use super::{BleOptions, HEART_RATE_SERVICE};
use crate::{SourceClock, SourceEvent, SourceState};

const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(15);
/// After a loss, so many tries are called recovery; then the state names what is missing.
const TRIES_CALLED_RECOVERY: u32 = 2;

const CALL_LIMIT: Duration = Duration::from_secs(10);
/// How often bus, daemon and adapter are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// As long as a scan of the kernel lasts, 10 s.
const SCAN_TRIES: u32 = 24;
const SCAN_TRY_AGAIN: Duration = Duration::from_millis(500);
/// Scans have been seen to go silent after hours without an error.
const SILENT_SCAN: Duration = Duration::from_secs(60);

pub(super) struct Radio {
    clock: SourceClock,
    options: BleOptions,
    events: mpsc::Sender<SourceEvent>,
    said: Option<&'static str>,
    has_listened: bool,
    failed_tries: u32,
}

/// What there is to let go of when the hub stops.
struct OnAir {
    air: Air,
    /// The adapter that scans.
    adapter: Option<Adapter>,
}

/// Why listening ended: `code` and sentence for the admin, `why` for each strap.
struct Ending {
    code: &'static str,
    text: String,
    why: String,
}

impl Radio {
    pub(super) fn new(
        clock: SourceClock,
        options: BleOptions,
        events: mpsc::Sender<SourceEvent>,
    ) -> Self {
        Radio {
            clock,
            options,
            events,
            said: None,
            has_listened: false,
            failed_tries: 0,
        }
    }

    /// Hears straps until `stop` says so, and then lets go of them.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut on_air = None;
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => {}
            () = self.work(&mut on_air) => {}
        }
        if let Some(OnAir { air, adapter }) = &mut on_air {
            air.let_all_go(adapter.as_ref()).await;
        }
    }

    /// Never ends by itself.
    async fn work(&mut self, on_air: &mut Option<OnAir>) {
        loop {
            match Bus::open().await {
                Ok(bus) => {
                    let bus = Arc::new(bus);
                    let air = Air::new(
                        self.clock.clone(),
                        &self.options,
                        self.events.clone(),
                        bus.clone(),
                    );
                    let adapter = None;
                    self.on_bus(bus, on_air.insert(OnAir { air, adapter }))
                        .await;
                    *on_air = None;
                    self.missing("no_bus", "The D-Bus system bus is gone.".into())
                        .await;
                }
                Err(error) => {
                    let error = without_addresses(&error);
                    let text = format!(
                        "The D-Bus system bus cannot be reached, so no Bluetooth strap is heard: \
                         is dbus running? ({error})"
                    );
                    self.missing("no_bus", text).await;
                }
            }
            self.rest(None).await;
        }
    }

    /// Works on one connection to the bus until that dies.
    async fn on_bus(&mut self, bus: Arc<Bus>, on_air: &mut OnAir) {
        let OnAir {
            air,
            adapter: scanning,
        } = on_air;
        // Kept over losses of the adapter, see `Kept`.
        let mut streams = HashMap::new();
        loop {
            let (code, text) = match self.find_adapter(&bus).await {
                Ok(Some((name, adapter))) => {
                    let adapter = scanning.insert(adapter);
                    let ending = self.listen(&bus, &name, adapter, &mut streams, air).await;
                    *scanning = None;
                    if bus.pulse() != Pulse::Dead {
                        air.lose_radio(&ending.why);
                    }
                    (ending.code, ending.text)
                }
                Ok(None) => {
                    let text = match &self.options.adapter {
                        Some(wanted) => format!(
                            "There is no Bluetooth adapter {wanted}: plug it in or change the configuration."
                        ),
                        None => "There is no Bluetooth adapter: plug one in.".into(),
                    };
                    ("no_adapter", text)
                }
                Err(trouble) => {
                    let text = format!(
                        "bluetoothd does not answer, so no Bluetooth strap is heard: is the \
                         bluetooth service installed and running? ({trouble})"
                    );
                    ("no_bluetoothd", text)
                }
            };
            if bus.pulse() == Pulse::Dead {
                return air.end("the D-Bus system bus is gone").await;
            }
            self.missing(code, text).await;
            self.rest(Some(&bus)).await;
            for stream in streams.values_mut() {
                while stream.next_waiting().is_some() {}
            }
        }
    }

    /// The adapter asked for, else the first one, powered ones first.
    async fn find_adapter(&self, bus: &Bus) -> Result<Option<(String, Adapter)>, Trouble> {
        let mut found = Vec::new();
        for adapter in within(CALL_LIMIT, bus.manager.adapters()).await? {
            // One that is being unplugged at this moment answers no more.
            let Ok(info) = within(CALL_LIMIT, adapter.adapter_info()).await else {
                continue;
            };
            let name = info.split(' ').next().unwrap_or_default().to_owned();
            let address = within(CALL_LIMIT, adapter.adapter_address())
                .await
                .ok()
                .flatten();
            let wanted = self.options.adapter.as_ref().is_none_or(|wanted| {
                *wanted == name
                    || address.is_some_and(|a| wanted.eq_ignore_ascii_case(&a.to_string()))
            });
            if wanted {
                let off = is_off(&adapter).await;
                found.push((off, name, adapter));
            }
        }
        found.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        Ok(found
            .into_iter()
            .next()
            .map(|(_, name, adapter)| (name, adapter)))
    }

    /// Scans and hands on what is heard until daemon or adapter fail.
    async fn listen(
        &mut self,
        bus: &Arc<Bus>,
        name: &str,
        adapter: &Adapter,
        streams: &mut HashMap<String, Kept<CentralEvent>>,
        air: &mut Air,
    ) -> Ending {
        bus.pulse(); // what was before is of no interest
        if !streams.contains_key(name) {
            match within(CALL_LIMIT, adapter.events()).await {
                Ok(stream) => streams.insert(name.to_owned(), Kept::new(stream, bus.clone())),
                Err(trouble) => return ending(name, &trouble),
            };
        }
        let stream = streams.get_mut(name).expect("inserted above if missing");
        if let Err(trouble) = start_scan(adapter).await {
            return ending(name, &trouble);
        }
        self.failed_tries = 0;
        self.has_listened = true;
        self.say(
            true,
            "listening",
            format!("Listening for straps on {name}."),
        )
        .await;
        air.look_around(adapter).await;
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_event = Instant::now();
        loop {
            tokio::select! {
                event = stream.next() => {
                    last_event = Instant::now();
                    if matches!(event, CentralEvent::StateUpdate(CentralState::PoweredOff)) {
                        // An unplugged adapter goes off, too.
                        return match within(CALL_LIMIT, adapter.adapter_info()).await {
                            Ok(_) => switched_off(name, ""),
                            Err(trouble) => ending(name, &trouble),
                        };
                    }
                    air.hear(adapter, event).await;
                }
                _ = look.tick() => {
                    match bus.pulse() {
                        Pulse::Alive => {}
                        // Of a dead bus `on_bus` hears by itself.
                        Pulse::BluezChangedHands | Pulse::Dead => {
                            let trouble = Trouble::new(Fault::DaemonGone, "it left the bus");
                            return ending(name, &trouble);
                        }
                    }
                    if let Err(trouble) = within(CALL_LIMIT, adapter.adapter_info()).await {
                        return ending(name, &trouble);
                    }
                    if is_off(adapter).await {
                        return switched_off(name, "");
                    }
                    if last_event.elapsed() >= SILENT_SCAN {
                        last_event = Instant::now();
                        let _ = within(CALL_LIMIT, adapter.stop_scan()).await;
                        if let Err(trouble) = start_scan(adapter).await {
                            return ending(name, &trouble);
                        }
                        air.look_around(adapter).await;
                    }
                    air.tidy();
                }
            }
        }
    }

    /// Something the radio needs is not there. Right after a loss that is called recovery.
    async fn missing(&mut self, code: &'static str, text: String) {
        self.failed_tries += 1;
        let daemon_or_bus = matches!(code, "no_bus" | "no_bluetoothd");
        if daemon_or_bus && self.has_listened && self.failed_tries <= TRIES_CALLED_RECOVERY {
            self.say(
                false,
                "recovering",
                format!("Bluetooth is being started again. {text}"),
            )
            .await;
        } else {
            self.say(false, code, text).await;
        }
    }

    async fn say(&mut self, up: bool, code: &'static str, text: String) {
        if self.said.replace(code) != Some(code) {
            let _ = self
                .events
                .send(SourceEvent::State(SourceState { up, code, text }))
                .await;
        }
    }

    /// Waits before the next try; shorter when the bus dies or bluetoothd comes.
    async fn rest(&self, bus: Option<&Bus>) {
        let doublings = self.failed_tries.saturating_sub(1).min(4);
        let until = Instant::now() + (FIRST_BACK_OFF * 2u32.pow(doublings)).min(LONGEST_BACK_OFF);
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            sleep(left.min(LOOK_EVERY)).await;
            if bus.is_some_and(|bus| bus.pulse() != Pulse::Alive) {
                return;
            }
        }
    }
}

/// "In progress" BlueZ says of two things: of our own scan, which then is made anew, and of one that
/// the kernel still does for a bluetoothd that was killed. That one ends soon, but nothing starts
/// ours in its place.
pub(super) async fn start_scan(adapter: &Adapter) -> Result<(), Trouble> {
    for _ in 0..SCAN_TRIES {
        let filter = ScanFilter {
            services: vec![HEART_RATE_SERVICE],
        };
        match within(CALL_LIMIT, adapter.start_scan(filter)).await {
            Err(trouble) if trouble.fault == Fault::InProgress => {}
            result => return result,
        }
        let _ = within(CALL_LIMIT, adapter.stop_scan()).await; // fails if it was not ours
        sleep(SCAN_TRY_AGAIN).await;
    }
    Ok(()) // if this was wrong, `SILENT_SCAN` brings another chance
}

/// btleplug calls an adapter off that does not answer at all: ask for its `adapter_info` first.
async fn is_off(adapter: &Adapter) -> bool {
    matches!(
        within(CALL_LIMIT, adapter.adapter_state()).await,
        Ok(CentralState::PoweredOff)
    )
}

fn switched_off(name: &str, words: &str) -> Ending {
    Ending {
        code: "adapter_off",
        text: format!(
            "The Bluetooth adapter {name} is switched off; `rfkill unblock \
             bluetooth` may help.{words}"
        ),
        why: "the adapter was switched off".into(),
    }
}

fn ending(name: &str, trouble: &Trouble) -> Ending {
    match trouble.fault {
        Fault::ObjectGone => Ending {
            code: "no_adapter",
            text: format!("The Bluetooth adapter {name} is gone: plug it in again."),
            why: "adapter gone".into(),
        },
        Fault::DaemonGone | Fault::TimedOut => Ending {
            code: "no_bluetoothd",
            text: format!(
                "bluetoothd does not answer: is the bluetooth service running? ({trouble})"
            ),
            why: "bluetoothd is gone".into(),
        },
        _ => switched_off(name, &format!(" ({trouble})")),
    }
}
