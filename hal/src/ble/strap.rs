//! One strap: wait until it is heard, connect, subscribe, deliver, notice every loss, start again.
//! Nothing here knows the other straps, except through the turn to connect and the link budget.
//!
//! One `Peripheral` and one stream of values, opened before the first connect and kept over all
//! reconnects: opened later it loses the beats that BlueZ delivers while it still connects.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use btleplug::api::{Central as _, Characteristic, Peripheral as _, ValueNotification};
use btleplug::platform::{Adapter, Peripheral};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::bus::{Bus, Kept};
use super::fault::{Fault, Trouble, within};
use super::radio::start_scan;
use super::{BATTERY_LEVEL, HEART_RATE_MEASUREMENT};
use crate::decode::ble::Deduplicator;
use crate::{Link, SourceClock, SourceEvent, StrapEvent, StrapId, StrapNews};

/// Without a value for so long the link is looked at.
const SILENT_CHECK: Duration = Duration::from_secs(5);
/// How often it is looked at while the silence lasts.
const SILENT_CHECK_EVERY: Duration = Duration::from_secs(1);
/// Connected and silent for so long: the subscription is renewed.
const SILENT_RESUBSCRIBE: Duration = Duration::from_secs(12);
/// Still silent: the link is cut and made anew.
const SILENT_RECONNECT: Duration = Duration::from_secs(17);

const FIRST_BACK_OFF: Duration = Duration::from_millis(500);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);
/// The longest rest after a link that delivered: some straps leave every 30 s, and each rest is a
/// gap in somebody's beats.
const LONGEST_REST_AFTER_A_LINK: Duration = Duration::from_secs(4);
/// Delivering for so long makes a later failure a first one again.
const LIVE_RESETS_BACK_OFF: Duration = Duration::from_secs(60);

/// The kernel gives up after some 20 s; services of a strap never met before take seconds more.
const CONNECT_LIMIT: Duration = Duration::from_secs(35);
/// A connect that takes longer goes on beside the scan, so that others are heard meanwhile.
const SCAN_PAUSE: Duration = Duration::from_secs(5);
const CALL_LIMIT: Duration = Duration::from_secs(10);
const IS_CONNECTED_LIMIT: Duration = Duration::from_secs(2);
/// How long a link that BlueZ still shows is waited for to end.
const OLD_LINK_LIMIT: Duration = Duration::from_secs(3);

const BATTERY_EVERY: Duration = Duration::from_secs(600);
/// How often a strap that is waited for is asked whether BlueZ linked it after all.
const OLD_LINK_CHECK_EVERY: Duration = Duration::from_secs(5);
/// A lost strap keeps its place in the link budget for so long.
const PLACE_KEPT: Duration = Duration::from_secs(60);
/// A strap not heard for so long is forgotten; heard again it is a new one with the same id.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// What the radio tells a strap's task. Only the latest counts, so it can never be full.
#[derive(Clone, Debug, Default)]
pub(super) struct Hints {
    pub(super) last_heard: Option<Instant>,
    /// How often BlueZ said that the link ended.
    pub(super) disconnects: u64,
    /// How often adapter or daemon went away, and how that reads.
    pub(super) radio_losses: u64,
    pub(super) radio_loss: String,
    /// The bus is dead or the hub stops: the task shall end.
    pub(super) over: bool,
}

/// What all straps of one adapter share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) clock: SourceClock,
    pub(super) events: mpsc::Sender<SourceEvent>,
    /// Held while connecting: BlueZ and most chips do one at a time.
    pub(super) turn: Arc<Mutex<()>>,
    pub(super) places: Arc<Semaphore>,
    pub(super) max_links: usize,
}

pub(super) struct Strap {
    id: StrapId,
    adapter: Adapter,
    peripheral: Peripheral,
    shared: Shared,
    hints: watch::Receiver<Hints>,
    repeats: Deduplicator,
}

/// Why a link ended, and whether that was said already.
struct Loss {
    why: String,
    said: bool,
}

impl Strap {
    pub(super) fn new(
        id: StrapId,
        adapter: Adapter,
        peripheral: Peripheral,
        shared: Shared,
        hints: watch::Receiver<Hints>,
    ) -> Self {
        Strap {
            id,
            adapter,
            peripheral,
            shared,
            hints,
            repeats: Deduplicator::new(),
        }
    }

    /// Follows the strap until it was not heard for [`FORGET_AFTER`] or all is over.
    pub(super) async fn run(mut self, bus: Arc<Bus>) {
        let mut values = loop {
            match within(CALL_LIMIT, self.peripheral.notifications()).await {
                Ok(stream) => break Kept::new(stream, bus),
                Err(trouble) => self.say_down(trouble.why()).await,
            }
            if self.rest(LONGEST_BACK_OFF).await.is_err() {
                return;
            }
        };
        let mut place = None;
        let mut back_off = FIRST_BACK_OFF;
        let mut lost_at = None;
        loop {
            if !self.heard_since(lost_at, &mut place).await {
                if !self.hints.borrow().over {
                    values.close();
                }
                return;
            }
            if place.is_none() {
                let heard_first = Instant::now();
                let Some(got) = self.take_place().await else {
                    return;
                };
                place = Some(got);
                if heard_first.elapsed() > PLACE_KEPT {
                    continue; // by now it may be out of range: hear it again first
                }
            }
            let up_at = match self.make_link().await {
                Ok(battery) => {
                    self.say(Link::Up).await;
                    let up_at = Instant::now();
                    let loss = self.deliver(&mut values, battery).await;
                    lost_at = Some(Instant::now());
                    while let Some(value) = values.next_waiting() {
                        self.read(value).await;
                    }
                    if !loss.said {
                        self.say_down(loss.why).await;
                    }
                    Some(up_at)
                }
                Err(trouble) => {
                    lost_at = Some(Instant::now());
                    self.say_down(trouble.why()).await;
                    None
                }
            };
            if self.hints.borrow().over {
                return;
            }
            // Also cancels an attempt that BlueZ goes on with after our limit.
            let _ = within(IS_CONNECTED_LIMIT, self.peripheral.disconnect()).await;
            if up_at.is_some_and(|at| at.elapsed() >= LIVE_RESETS_BACK_OFF) {
                back_off = FIRST_BACK_OFF;
            }
            let longest = if up_at.is_some() {
                LONGEST_REST_AFTER_A_LINK
            } else {
                LONGEST_BACK_OFF
            };
            if self.rest(back_off.min(longest)).await.is_err() {
                return;
            }
            back_off = (back_off * 2).min(LONGEST_BACK_OFF);
        }
    }

    /// Waits for an advertisement newer than `since`: without one a connect only blocks the
    /// others' turn. False when the strap is to be forgotten or all is over.
    async fn heard_since(
        &mut self,
        since: Option<Instant>,
        place: &mut Option<OwnedSemaphorePermit>,
    ) -> bool {
        let waiting_from = Instant::now();
        let losses = self.hints.borrow().radio_losses;
        let mut look_at = waiting_from + OLD_LINK_CHECK_EVERY;
        loop {
            let hints = self.hints.borrow_and_update().clone();
            if hints.over || waiting_from.elapsed() >= FORGET_AFTER {
                return false;
            }
            if hints
                .last_heard
                .is_some_and(|heard| since.is_none_or(|since| heard > since))
            {
                return true;
            }
            if waiting_from.elapsed() >= PLACE_KEPT || hints.radio_losses != losses {
                *place = None;
            }
            match timeout_at(look_at, self.hints.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_radio_ended)) => return false,
                Err(_) => {
                    // Linked after its connect had failed, it would never advertise.
                    if self.is_connected().await == Some(true) {
                        let _ = within(IS_CONNECTED_LIMIT, self.peripheral.disconnect()).await;
                    }
                    look_at = Instant::now() + OLD_LINK_CHECK_EVERY;
                }
            }
        }
    }

    /// A place in the link budget; says once when there is none. None when all is over.
    async fn take_place(&mut self) -> Option<OwnedSemaphorePermit> {
        let places = self.shared.places.clone();
        if let Ok(place) = places.clone().try_acquire_owned() {
            return Some(place);
        }
        self.say_down(format!(
            "the adapter's {} links are taken",
            self.shared.max_links
        ))
        .await;
        let mut hints = self.hints.clone();
        tokio::select! {
            place = places.acquire_owned() => Some(place.expect("the semaphore is never closed")),
            _ = hints.wait_for(|hints| hints.over) => None,
        }
    }

    /// Connects and subscribes; the battery's characteristic if the strap has one.
    async fn make_link(&mut self) -> Result<Option<Characteristic>, Trouble> {
        let mut hints = self.hints.clone();
        let losses = hints.borrow_and_update().radio_losses;
        let mut linking = Box::pin(self.connect_and_subscribe());
        let gone = tokio::select! {
            linked = &mut linking => return linked,
            gone = hints.wait_for(|hints| hints.over || hints.radio_losses != losses) => gone,
        };
        let (why, over) = match gone {
            Ok(hints) => (hints.radio_loss.clone(), hints.over),
            Err(_radio_ended) => (String::new(), true),
        };
        if over {
            // connect() holds one of btleplug's streams, which must not be dropped on a dead bus or
            // while messages come (see `Kept`). The turn goes with it; nobody takes it any more.
            std::mem::forget(linking);
        }
        Err(Trouble::new(Fault::RadioGone, why))
    }

    async fn connect_and_subscribe(&self) -> Result<Option<Characteristic>, Trouble> {
        let strap = &self.peripheral;
        {
            let _turn = self.shared.turn.lock().await;
            self.say(Link::Connecting).await;
            self.end_old_link().await?;
            self.connect_in_silence().await?;
        }
        within(CALL_LIMIT, strap.discover_services()).await?;
        let characteristics: Vec<_> = strap
            .services()
            .into_iter()
            .flat_map(|service| service.characteristics)
            .collect();
        let find = |uuid| {
            characteristics
                .iter()
                .find(|c: &&Characteristic| c.uuid == uuid)
        };
        let Some(measurement) = find(HEART_RATE_MEASUREMENT) else {
            return Err(Trouble::new(
                Fault::Other,
                "it has no heart-rate measurement",
            ));
        };
        within(CALL_LIMIT, strap.subscribe(measurement)).await?;
        Ok(find(BATTERY_LEVEL).cloned())
    }

    /// Connects with the scan paused. The kernel links a strap when it hears it advertise, and a
    /// scan that filters duplicates lets it hear each strap once: the next chance would be the
    /// next scan, up to 10 s away.
    ///
    /// Given up in the middle because the radio was lost, it leaves the scan paused; whoever
    /// finds the radio again starts it.
    async fn connect_in_silence(&self) -> Result<(), Trouble> {
        let _ = within(CALL_LIMIT, self.adapter.stop_scan()).await; // not scanning is as good
        let mut linking = Box::pin(within(CONNECT_LIMIT, self.peripheral.connect()));
        let soon = timeout(SCAN_PAUSE, &mut linking).await;
        let _ = start_scan(&self.adapter).await; // trouble is met by `radio`, which looks often
        match soon {
            Ok(linked) => linked,
            Err(_not_yet) => linking.await,
        }
    }

    /// A link left by a crash, or one that came up after its connect had failed, is half-made:
    /// it is ended before a new one is asked for.
    async fn end_old_link(&self) -> Result<(), Trouble> {
        let until = Instant::now() + OLD_LINK_LIMIT;
        while within(IS_CONNECTED_LIMIT, self.peripheral.is_connected()).await? {
            if Instant::now() >= until {
                return Err(Trouble::new(Fault::InProgress, "an old link does not end"));
            }
            let _ = within(IS_CONNECTED_LIMIT, self.peripheral.disconnect()).await;
            sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    /// Delivers values until the link is lost.
    async fn deliver(
        &mut self,
        values: &mut Kept<ValueNotification>,
        battery: Option<Characteristic>,
    ) -> Loss {
        let mut hints = self.hints.clone();
        let first = hints.borrow_and_update().clone();
        let mut disconnects = first.disconnects;
        let mut last_value = Instant::now();
        let mut look_at = last_value + SILENT_CHECK;
        let mut silent = false; // Down was said, the subscription renewed, nothing came yet
        let mut battery_level = battery_level(&self.peripheral, battery.as_ref(), Duration::ZERO);
        let lost = |why: &str, said| Loss {
            why: why.into(),
            said,
        };
        loop {
            tokio::select! {
                biased;
                value = values.next() => if value.uuid == HEART_RATE_MEASUREMENT {
                    if std::mem::take(&mut silent) {
                        self.say(Link::Up).await;
                    }
                    self.read(value).await;
                    last_value = Instant::now();
                    look_at = last_value + SILENT_CHECK;
                },
                changed = hints.changed() => {
                    let now = hints.borrow_and_update().clone();
                    if changed.is_err() || now.over || now.radio_losses != first.radio_losses {
                        return lost(&now.radio_loss, silent);
                    }
                    if now.disconnects != disconnects {
                        disconnects = now.disconnects;
                        // Not every word of BlueZ's is about this link: ask.
                        if !matches!(self.is_connected().await, Some(true)) {
                            return lost("the link broke", silent);
                        }
                    }
                }
                _ = sleep_until(look_at) => {
                    look_at = Instant::now() + SILENT_CHECK_EVERY;
                    if self.is_connected().await == Some(false) {
                        return lost("the link broke", silent);
                    }
                    let quiet = last_value.elapsed();
                    if quiet >= SILENT_RECONNECT {
                        return lost("no data although linked", silent);
                    }
                    if quiet >= SILENT_RESUBSCRIBE && !silent {
                        silent = true;
                        self.say_down(format!("no data for {} s", quiet.as_secs())).await;
                        self.resubscribe().await;
                    }
                }
                (level, characteristic) = &mut battery_level => {
                    self.tell(level.map(StrapNews::Battery)).await;
                    battery_level =
                        self::battery_level(&self.peripheral, Some(&characteristic), BATTERY_EVERY);
                }
            }
        }
    }

    async fn read(&mut self, value: ValueNotification) {
        // The stream also carries the answers to our own reads.
        if value.uuid == HEART_RATE_MEASUREMENT {
            let at_ms = self.shared.clock.now_ms();
            let event = self.repeats.event(&self.id, at_ms, &value.value);
            let _ = self.shared.events.send(SourceEvent::Strap(event)).await;
        }
    }

    /// None when BlueZ does not say.
    async fn is_connected(&self) -> Option<bool> {
        match within(IS_CONNECTED_LIMIT, self.peripheral.is_connected()).await {
            Ok(connected) => Some(connected),
            Err(trouble) if trouble.fault == Fault::TimedOut => None,
            Err(_) => Some(false),
        }
    }

    async fn resubscribe(&self) {
        let services = self.peripheral.services();
        let mut characteristics = services.iter().flat_map(|service| &service.characteristics);
        if let Some(values) = characteristics.find(|c| c.uuid == HEART_RATE_MEASUREMENT) {
            let _ = within(IS_CONNECTED_LIMIT, self.peripheral.unsubscribe(values)).await;
            let _ = within(IS_CONNECTED_LIMIT, self.peripheral.subscribe(values)).await;
        }
    }

    /// Err when all was over meanwhile.
    async fn rest(&mut self, time: Duration) -> Result<(), ()> {
        match timeout(time, self.hints.wait_for(|hints| hints.over)).await {
            Ok(_over_or_gone) => Err(()),
            Err(_time_is_up) => Ok(()),
        }
    }

    async fn say_down(&self, why: String) {
        self.say(Link::Down { why }).await;
    }

    async fn say(&self, link: Link) {
        self.tell(Some(StrapNews::Link(link))).await;
    }

    /// Waits while the hub is busy. A hub that dropped the source ends this task anyway.
    async fn tell(&self, news: Option<StrapNews>) {
        if let Some(news) = news {
            let at_ms = self.shared.clock.now_ms();
            let event = SourceEvent::Strap(StrapEvent {
                strap: self.id.clone(),
                at_ms,
                news,
            });
            let _ = self.shared.events.send(event).await;
        }
    }
}

type BatteryLevel = Pin<Box<dyn Future<Output = (Option<u8>, Characteristic)> + Send>>;

/// The battery's level in percent, read after `delay`; never ready for a strap without one.
fn battery_level(
    strap: &Peripheral,
    battery: Option<&Characteristic>,
    delay: Duration,
) -> BatteryLevel {
    let (strap, battery) = (strap.clone(), battery.cloned());
    Box::pin(async move {
        let Some(battery) = battery else {
            return std::future::pending().await;
        };
        sleep(delay).await;
        let level = within(CALL_LIMIT, strap.read(&battery)).await.ok();
        (
            level
                .and_then(|bytes| bytes.first().copied())
                .filter(|percent| *percent <= 100),
            battery,
        )
    })
}
