//! The bus, bluetoothd and the adapters: finds them, says which of them is missing, gives each adapter
//! a task (`adapter`), and says what is so: the state of the source, who is carried and who waits.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use btleplug::api::{Central, CentralEvent, Manager as _, Peripheral as _};
use btleplug::platform::{Adapter, Peripheral, PeripheralId};
use futures_util::future::join_all;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::BleOptions;
use super::adapter::{BUS_GONE, CALL_LIMIT, Ending, Listener, is_off};
use super::bus::{Bus, Kept, Pulse};
use super::deck::Deck;
use super::fault::{Trouble, without_addresses};
use super::identity::{clean, strap_id};
use super::pace::{Pace, ms};
use super::shared::Shared;
use crate::{Link, Links, SourceEvent, SourceState, StrapId, StrapNews};

const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(5);
/// After a loss, so many tries are called recovery; then the state names what is missing.
const TRIES_CALLED_RECOVERY: u32 = 2;
/// How often bus and daemon are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often adapters are looked for while at least one listens. BlueZ answers with all it knows.
const LOOK_FOR_ADAPTERS: Duration = Duration::from_secs(5);

/// When the hub stops, on the system's clock: what the tasks get to put down what they are doing,
/// then what BlueZ gets for all links at once, then for forgetting them. Together less than
/// `CLOSE_LIMIT`.
const PUT_DOWN_LIMIT: Duration = Duration::from_millis(500);
const LET_ALL_GO_LIMIT: Duration = Duration::from_millis(2500);
const FORGET_ALL_LIMIT: Duration = Duration::from_millis(700);

pub(super) struct Radio {
    pace: Pace,
    options: BleOptions,
    events: mpsc::Sender<SourceEvent>,
    deck: Arc<Deck>,
    said: Option<SourceState>,
    said_links: Links,
    has_listened: bool,
    failed_tries: u32,
}

/// One connection to the bus, and what there is to let go of when the hub stops.
struct OnBus {
    shared: Shared,
    listening: BTreeMap<String, Seat>,
    tasks: JoinSet<(String, Option<Kept<CentralEvent>>, Ending)>,
    /// Of adapters that do not listen now, see `Kept`.
    streams: HashMap<String, Kept<CentralEvent>>,
    /// Adapters that failed: what is wrong, and when to try again; also those that listen again.
    failed: BTreeMap<String, Failed>,
    /// Has BlueZ forget straps.
    forgetting: Option<JoinHandle<()>>,
}

struct Seat {
    adapter: Adapter,
    stop: watch::Sender<Option<&'static str>>,
    began_ms: i64,
}

struct Failed {
    ending: Ending,
    tries: u32,
    again_ms: i64,
}

/// What a look for adapters found.
type Found = Result<Vec<(String, Adapter)>, Trouble>;

impl Radio {
    pub(super) fn new(
        pace: Pace,
        options: BleOptions,
        events: mpsc::Sender<SourceEvent>,
        deck: Arc<Deck>,
    ) -> Self {
        Radio {
            pace,
            options,
            events,
            deck,
            said: None,
            said_links: Links::default(),
            has_listened: false,
            failed_tries: 0,
        }
    }

    /// Hears straps until `stop` says so, and then lets go of them.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut on_bus = None;
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => {}
            () = self.work(&mut on_bus) => {}
        }
        if let Some(on_bus) = on_bus {
            on_bus.let_all_go().await;
        }
    }

    /// Never ends by itself.
    async fn work(&mut self, on_bus: &mut Option<OnBus>) {
        loop {
            self.deck.clear(self.pace.now_ms());
            match Bus::open().await {
                Ok(bus) => {
                    let shared = Shared {
                        pace: self.pace.clone(),
                        events: self.events.clone(),
                        deck: self.deck.clone(),
                        bus: Arc::new(bus),
                    };
                    self.listen(on_bus.insert(OnBus::new(shared))).await;
                    *on_bus = None;
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
            self.pace.sleep(back_off(self.failed_tries)).await;
        }
    }

    /// Works on one connection to the bus until that dies.
    async fn listen(&mut self, on_bus: &mut OnBus) {
        let shared = on_bus.shared.clone();
        let mut finding = Box::pin(find(shared.clone(), self.options.clone(), Duration::ZERO));
        shared.bus.pulse(); // what was before is of no interest
        loop {
            let mut look_again = None;
            tokio::select! {
                found = &mut finding => {
                    let nothing = self.take_up(on_bus, found).await;
                    let rest = match nothing {
                        true => back_off(self.failed_tries),
                        false => LOOK_FOR_ADAPTERS,
                    };
                    look_again = Some(rest.min(on_bus.next_try(self.pace.now_ms())));
                }
                Some(Ok((name, stream, ending))) = on_bus.tasks.join_next() => {
                    if let Some(stream) = stream {
                        on_bus.streams.insert(name.clone(), stream);
                    }
                    let now_ms = self.pace.now_ms();
                    on_bus.note_failed(name, ending, now_ms);
                    if shared.bus.pulse() != Pulse::Dead && on_bus.listening.is_empty() {
                        let ending = &on_bus.failed.values().next().expect("just noted").ending;
                        let (code, text) = (ending.code, ending.text.clone());
                        self.missing(code, text).await;
                    }
                    look_again = Some(FIRST_BACK_OFF);
                }
                () = self.deck.changed.notified() => {}
                () = self.pace.sleep(LOOK_EVERY) => {}
            }
            match shared.bus.pulse() {
                Pulse::Alive => {}
                Pulse::BluezChangedHands => {
                    on_bus.stop_listening("bluetoothd is gone");
                    look_again.get_or_insert(LOOK_EVERY);
                }
                Pulse::Dead => {
                    on_bus.stop_listening(BUS_GONE);
                    let (mut straps, _) = self.deck.end(BUS_GONE);
                    while straps.join_next().await.is_some() {}
                    while on_bus.tasks.join_next().await.is_some() {}
                    return;
                }
            }
            for stream in on_bus.streams.values_mut() {
                while stream.next_waiting().is_some() {}
            }
            on_bus.forget();
            self.tell(on_bus).await;
            if let Some(rest) = look_again {
                finding = Box::pin(find(shared.clone(), self.options.clone(), rest));
            }
        }
    }

    /// Gives each adapter that was found a task. True when nothing listens.
    async fn take_up(&mut self, on_bus: &mut OnBus, found: Found) -> bool {
        let now_ms = self.pace.now_ms();
        let wanted = match found {
            Ok(found) => found,
            Err(trouble) => {
                if on_bus.listening.is_empty() {
                    let text = format!(
                        "bluetoothd does not answer, so no Bluetooth strap is heard: is the \
                         bluetooth service installed and running? ({trouble})"
                    );
                    self.missing("no_bluetoothd", text).await;
                }
                return on_bus.listening.is_empty();
            }
        };
        on_bus
            .failed
            .retain(|name, _| wanted.iter().any(|(found, _)| found == name));
        if wanted.is_empty() && on_bus.listening.is_empty() {
            let text = match self.options.adapters.as_slice() {
                [] => "There is no Bluetooth adapter: plug one in.".into(),
                names => format!(
                    "There is no Bluetooth adapter {}: plug it in or change the configuration.",
                    names.join(" or ")
                ),
            };
            self.missing("no_adapter", text).await;
            return true;
        }
        for (name, adapter) in wanted {
            let rests = on_bus
                .failed
                .get(&name)
                .is_some_and(|f| now_ms < f.again_ms);
            if !on_bus.listening.contains_key(&name) && !rests {
                on_bus.start(name, adapter, now_ms);
            }
        }
        on_bus.listening.is_empty()
    }

    /// Says what is so, where it has changed.
    async fn tell(&mut self, on_bus: &mut OnBus) {
        let now_ms = self.pace.now_ms();
        let picture = self.deck.picture(now_ms);
        let names: Vec<&str> = picture
            .links
            .adapters
            .iter()
            .map(|adapter| adapter.name.as_str())
            .filter(|name| on_bus.listening.contains_key(*name))
            .collect();
        for strap in picture.newly_waiting {
            let why = "it waits for a link: every adapter that hears it is full".into();
            on_bus
                .shared
                .news(&strap, StrapNews::Link(Link::Down { why }))
                .await;
        }
        if self.said_links != picture.links {
            self.said_links = picture.links.clone();
            let links = SourceEvent::Links(picture.links.clone());
            let _ = self.events.send(links).await;
        }
        if names.is_empty() {
            return; // what is missing was said where it was missed
        }
        self.failed_tries = 0;
        self.has_listened = true;
        let mut text = format!("Listening for straps on {}.", names.join(" and "));
        if let Some(sentence) = picture.sentence {
            text += &format!(" {sentence}.");
        }
        for failed in on_bus.out_of_order() {
            text += &format!(" {}", failed.ending.text);
        }
        for (name, why) in &picture.reported {
            text += &format!(
                " {name} seems to be stuck ({why}), also after it was switched off and on: unplug it \
                 and plug it in again, or start this machine anew."
            );
        }
        let all_stuck = names
            .iter()
            .all(|name| picture.reported.contains_key(*name));
        let code = if all_stuck { "recovering" } else { "listening" };
        self.say(!all_stuck, code, text).await;
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
        let state = SourceState { up, code, text };
        // A sentence on what is missing may differ from try to try, in words that nobody needs.
        let known = match &self.said {
            Some(said) if up => *said == state,
            Some(said) => said.code == code && !said.up,
            None => false,
        };
        if !known {
            self.said = Some(state.clone());
            let _ = self.events.send(SourceEvent::State(state)).await;
        }
    }
}

fn back_off(tries: u32) -> Duration {
    let doublings = tries.saturating_sub(1).min(4);
    (FIRST_BACK_OFF * 2u32.pow(doublings)).min(LONGEST_BACK_OFF)
}

impl OnBus {
    fn new(shared: Shared) -> Self {
        OnBus {
            shared,
            listening: BTreeMap::new(),
            tasks: JoinSet::new(),
            streams: HashMap::new(),
            failed: BTreeMap::new(),
            forgetting: None,
        }
    }

    /// Goes on until BlueZ was told of every strap that is to be forgotten.
    fn forget(&mut self) {
        if self
            .forgetting
            .as_ref()
            .is_some_and(|task| !task.is_finished())
        {
            return;
        }
        let straps = self.shared.deck.take_forgotten();
        self.forgetting = (!straps.is_empty()).then(|| {
            let shared = self.shared.clone();
            tokio::spawn(async move {
                if forget(&shared, &straps).await.is_err() {
                    shared.deck.forget_later(straps);
                    shared.pace.sleep(LOOK_FOR_ADAPTERS).await;
                }
            })
        });
    }

    fn start(&mut self, name: String, adapter: Adapter, now_ms: i64) {
        let (stop, stopped) = watch::channel(None);
        let stream = self.streams.remove(&name);
        let listener = Listener::new(name.clone(), adapter.clone(), self.shared.clone(), stopped);
        self.tasks.spawn(listener.run(stream));
        let seat = Seat {
            adapter,
            stop,
            began_ms: now_ms,
        };
        self.listening.insert(name, seat);
    }

    fn stop_listening(&self, why: &'static str) {
        for seat in self.listening.values() {
            seat.stop.send_replace(Some(why));
        }
    }

    fn note_failed(&mut self, name: String, ending: Ending, now_ms: i64) {
        let seat = self.listening.remove(&name);
        let lasted = seat.is_some_and(|seat| now_ms - seat.began_ms >= ms(LONGEST_BACK_OFF));
        let before = match self.failed.get(&name) {
            Some(failed) if !lasted => failed.tries,
            _ => 0,
        };
        let tries = before + 1;
        let again_ms = now_ms + ms(back_off(tries));
        let failed = Failed {
            ending,
            tries,
            again_ms,
        };
        self.failed.insert(name, failed);
    }

    /// Adapters that do not listen now. How often one failed is remembered while it listens again.
    fn out_of_order(&self) -> impl Iterator<Item = &Failed> {
        let failed = self.failed.iter();
        failed
            .filter(|(name, _)| !self.listening.contains_key(*name))
            .map(|(_, failed)| failed)
    }

    /// How long until an adapter that failed is to be tried again.
    fn next_try(&self, now_ms: i64) -> Duration {
        let next_ms = self.out_of_order().map(|failed| failed.again_ms).min();
        next_ms.map_or(LOOK_FOR_ADAPTERS, |at_ms| {
            Duration::from_millis((at_ms - now_ms).max(100) as u64)
        })
    }

    /// The hub stops: ends the tasks, the scans and every link, so that a watch can have the strap
    /// and its battery rests, and leaves no strap's address on the disk. BlueZ does none of this by
    /// itself when a program ends.
    async fn let_all_go(mut self) {
        self.stop_listening("the hub stops");
        let (mut tasks, straps) = self.shared.deck.end("the hub stops");
        let put_down = async {
            while tasks.join_next().await.is_some() {}
            while self.tasks.join_next().await.is_some() {}
        };
        if timeout(PUT_DOWN_LIMIT, put_down).await.is_err() {
            tasks.detach_all(); // they end when what they wait for ends
            self.tasks.detach_all();
        }
        let bus = &self.shared.bus;
        if bus.is_dead() {
            return; // and every call would wait in vain
        }
        let adapters = self.listening.values().map(|seat| &seat.adapter);
        let stop_scans = adapters.map(|adapter| timeout(LET_ALL_GO_LIMIT, adapter.stop_scan()));
        // Also those without a link: BlueZ may be about to make one. It says so at once.
        let let_go = straps
            .iter()
            .map(|strap| timeout(LET_ALL_GO_LIMIT, strap.disconnect()));
        tokio::join!(join_all(stop_scans), join_all(let_go));
        let devices: Vec<PeripheralId> = straps.iter().map(|strap| strap.id()).collect();
        let _ = timeout(FORGET_ALL_LIMIT, bus.remove(&devices)).await;
    }
}

/// The adapters that are there and wanted, after a rest. One that is asked for by its address or name
/// may be plugged in at any time.
async fn find(shared: Shared, options: BleOptions, rest: Duration) -> Found {
    let (pace, bus) = (&shared.pace, &shared.bus);
    pace.sleep(rest).await;
    let mut found = Vec::new();
    for adapter in pace.within(CALL_LIMIT, bus.manager.adapters()).await? {
        // One that is being unplugged at this moment answers no more.
        let Ok(info) = pace.within(CALL_LIMIT, adapter.adapter_info()).await else {
            continue;
        };
        let name = info.split(' ').next().unwrap_or_default().to_owned();
        let address = pace
            .within(CALL_LIMIT, adapter.adapter_address())
            .await
            .ok()
            .flatten();
        let asked_for = |wanted: &String| {
            *wanted == name || address.is_some_and(|a| wanted.eq_ignore_ascii_case(&a.to_string()))
        };
        if options.adapters.is_empty() || options.adapters.iter().any(asked_for) {
            let off = is_off(&adapter, pace).await;
            found.push((off, name, adapter));
        }
    }
    found.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    Ok(found
        .into_iter()
        .map(|(_, name, adapter)| (name, adapter))
        .collect())
}

/// Has BlueZ forget straps on every adapter, also those that are not in the air.
async fn forget(shared: &Shared, straps: &[StrapId]) -> Result<(), Trouble> {
    let (pace, bus) = (&shared.pace, &shared.bus);
    let mut devices = Vec::new();
    for adapter in pace.within(CALL_LIMIT, bus.manager.adapters()).await? {
        for peripheral in pace.within(CALL_LIMIT, adapter.peripherals()).await? {
            let known = known_as(&peripheral, pace).await;
            if known.is_some_and(|strap| straps.contains(&strap)) {
                devices.push(peripheral.id());
            }
        }
    }
    pace.within(CALL_LIMIT, bus.remove(&devices)).await
}

/// As whom a device is known; None where BlueZ says nothing of it.
async fn known_as(peripheral: &Peripheral, pace: &Pace) -> Option<StrapId> {
    let about = pace.within(CALL_LIMIT, peripheral.properties()).await;
    let about = about.ok().flatten()?;
    let name = about.advertisement_name.map(|name| clean(&name));
    Some(strap_id(about.address, about.address_type, name.as_deref()))
}
