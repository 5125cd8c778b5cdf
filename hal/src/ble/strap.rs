//! One route to a strap: wait until it is heard and has a place, connect, subscribe, deliver, notice
//! every loss, start again. Nothing here knows the other straps, except through the turn to connect
//! and the plan.
//!
//! One `Peripheral` and one stream of values, opened before the first connect and kept over all
//! reconnects: opened later it loses the beats that BlueZ delivers while it still connects.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use btleplug::api::{Characteristic, Peripheral as _, ValueNotification};
use btleplug::platform::{Adapter, Peripheral};
use tokio::sync::watch;

use super::bus::Kept;
use super::deck::Hints;
use super::fault::{Fault, Trouble, held_by_another};
use super::pace::ms;
use super::plan::{Ended, Route};
use super::shared::Shared;
use super::turn::Turn;
use super::{HEART_RATE_MEASUREMENT, about};
use crate::decode::ble::Deduplicator;
use crate::{Link, SourceEvent, StrapId, StrapNews};

mod linking;

/// Without a value for so long the link is looked at.
const SILENT_CHECK: Duration = Duration::from_secs(5);
/// How often it is looked at while the silence lasts.
const SILENT_CHECK_EVERY: Duration = Duration::from_secs(1);
/// Connected and silent for so long: the subscription is renewed.
const SILENT_RESUBSCRIBE: Duration = Duration::from_secs(12);
/// Still silent: the link is cut and made anew.
const SILENT_RECONNECT: Duration = Duration::from_secs(17);

const FIRST_BACK_OFF: Duration = Duration::from_millis(500);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(20);
/// The longest rest after a link that delivered: some straps leave every 30 s, and each rest is a
/// gap in somebody's beats.
const LONGEST_REST_AFTER_A_LINK: Duration = Duration::from_secs(4);
/// Delivering for so long makes the next loss a first one again.
const LIVE_RESETS_REST: Duration = Duration::from_secs(60);

const CALL_LIMIT: Duration = Duration::from_secs(10);
const IS_CONNECTED_LIMIT: Duration = Duration::from_secs(2);
/// "In progress" so often in a row never ends by itself; a device that BlueZ forgets begins anew.
const IN_PROGRESS_BEFORE_REMOVAL: u32 = 2;
/// Heard and not linked so often in a row: somebody else holds it.
const UNANSWERED_BEFORE_BLAMING: u32 = 3;
/// Bluetooth went down so often in a row while this strap was asked for its link: some kernels crash,
/// and bluetoothd with them, when a strap advertises and does not accept. Each time all others lose
/// their links, so it is asked ever more seldom.
const DOWNFALLS_BEFORE_RESTING: u32 = 2;
const FIRST_LONG_REST: Duration = Duration::from_secs(60);
const LONGEST_LONG_REST: Duration = Duration::from_secs(30 * 60);

/// How often a strap that is waited for is asked whether BlueZ linked it after all.
const OLD_LINK_CHECK_EVERY: Duration = Duration::from_secs(5);
/// How long a strap is waited for that can't be heard, because the adapter can't scan. BlueZ links a device
/// that it knows without that.
const UNHEARD_WAIT: Duration = Duration::from_secs(5);
/// A strap not heard for so long is forgotten, by BlueZ's disk, too; heard again it is a new one with
/// the same id.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// The way to a strap over one adapter.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) id: StrapId,
    pub(super) route: Route,
    pub(super) adapter: Adapter,
    pub(super) adapter_name: String,
    pub(super) peripheral: Peripheral,
    pub(super) turn: Arc<Turn>,
}

pub(super) struct Strap {
    way: Way,
    shared: Shared,
    hints: watch::Receiver<Hints>,
    repeats: Deduplicator,
    /// BlueZ was asked to connect, in the present attempt.
    asked: AtomicBool,
}

/// What a waiting strap was called for.
enum Call {
    Connect {
        heard: bool,
    },
    /// It was not heard for [`FORGET_AFTER`], or the hub wants nothing of it.
    GiveUp,
    Over,
}

/// Why a link ended, and whether that was said already.
struct Loss {
    why: String,
    said: bool,
    /// Is a new link a step of recovery?
    recover: bool,
}

impl Strap {
    pub(super) fn new(way: Way, shared: Shared, hints: watch::Receiver<Hints>) -> Self {
        Strap {
            way,
            shared,
            hints,
            repeats: Deduplicator::new(),
            asked: AtomicBool::new(false),
        }
    }

    /// Follows the strap until it is given up or all is over.
    pub(super) async fn run(mut self) {
        let mut values = None;
        if matches!(self.follow(&mut values).await, Call::GiveUp) {
            let device = self.way.peripheral.id();
            // One that was forgotten may be in the air, and its stream is not quiet.
            if let Some(values) = values.filter(|_| !self.hints.borrow().forgotten) {
                Kept::close(values);
            }
            // Its address shall not stay on the disk. Where this fails, the hub's end tries again.
            let _ = self
                .shared
                .pace
                .within(CALL_LIMIT, self.shared.bus.remove(&[device]))
                .await;
        }
        let now_ms = self.now_ms();
        self.shared.deck.gone(&self.way.id, self.way.route, now_ms);
    }

    /// Returns why it ends: never with [`Call::Connect`].
    async fn follow(&mut self, values: &mut Option<Kept<ValueNotification>>) -> Call {
        // What follows a connect that failed, and what follows a link that was lost.
        let (mut back_off, mut after_a_link) = (FIRST_BACK_OFF, FIRST_BACK_OFF);
        let mut lost_ms = None;
        let (mut in_progress, mut unanswered, mut downfalls) = (0, 0, 0);
        loop {
            let heard = match self.called(lost_ms).await {
                Call::Connect { heard } => heard,
                end => return end,
            };
            let stream = match values {
                Some(stream) => stream,
                None => match self.open_values().await {
                    Ok(stream) => values.insert(stream),
                    Err(trouble) => {
                        self.say_down(trouble.why()).await;
                        if self.rest(LONGEST_BACK_OFF).await.is_err() {
                            return Call::Over;
                        }
                        continue;
                    }
                },
            };
            if !self.begin() {
                continue;
            }
            let mut up_ms = None;
            let radio_losses = self.hints.borrow().radio_losses;
            self.asked.store(false, Relaxed);
            let how = match self.make_link(unanswered).await {
                Ok(battery) => {
                    (in_progress, unanswered, downfalls) = (0, 0, 0);
                    up_ms = Some(self.now_ms());
                    let loss = self.deliver(stream, battery, radio_losses).await;
                    while let Some(value) = stream.next_waiting() {
                        self.read(value).await;
                    }
                    if !loss.said {
                        self.say_down(loss.why.clone()).await;
                    }
                    if loss.recover {
                        self.step("reconnect", &loss.why).await;
                    }
                    Ended::Lost
                }
                Err(trouble) => {
                    let (mut why, how) = (trouble.why(), ended(trouble.fault));
                    match trouble.fault {
                        Fault::InProgress => in_progress += 1,
                        Fault::NoAnswer | Fault::Refused | Fault::TimedOut | Fault::CutShort => {
                            in_progress = 0;
                            unanswered += u32::from(heard);
                            if unanswered >= UNANSWERED_BEFORE_BLAMING {
                                why = held_by_another(&trouble.to_string());
                            }
                        }
                        _ => in_progress = 0,
                    }
                    self.say_down(why).await;
                    match how {
                        Ended::Failed if !heard => Ended::Blameless, // it may not even be there
                        how => how,
                    }
                }
            };
            if self.hints.borrow().over {
                return Call::Over;
            }
            lost_ms = Some(self.now_ms());
            // Also cancels an attempt that BlueZ goes on with after our limit.
            self.disconnect().await;
            while let Some(value) = stream.next_waiting() {
                self.read(value).await; // what the old link had still delivered
            }
            if in_progress >= IN_PROGRESS_BEFORE_REMOVAL {
                (in_progress, back_off) = (0, FIRST_BACK_OFF);
                self.step("remove_device", "an earlier attempt to connect never ends")
                    .await;
                let device = self.way.peripheral.id();
                let removing = self.shared.bus.remove(std::slice::from_ref(&device));
                let _ = self.shared.pace.within(CALL_LIMIT, removing).await;
            }
            let now_ms = self.now_ms();
            let deck = &self.shared.deck;
            deck.ended(&self.way.id, self.way.route, how, now_ms);
            let (wait, longest) = match up_ms {
                Some(up_ms) => {
                    back_off = FIRST_BACK_OFF;
                    if now_ms - up_ms >= ms(LIVE_RESETS_REST) {
                        after_a_link = FIRST_BACK_OFF;
                    }
                    (&mut after_a_link, LONGEST_REST_AFTER_A_LINK)
                }
                None => (&mut back_off, LONGEST_BACK_OFF),
            };
            let rest = *wait;
            *wait = (rest * 2).min(longest);
            if self.rest(rest).await.is_err() {
                return Call::Over;
            }
            // After the rest: the word that Bluetooth went down may come later than the failure.
            let went_down = self.hints.borrow().radio_losses != radio_losses;
            if up_ms.is_none() && went_down && self.asked.load(Relaxed) {
                downfalls += 1;
                if downfalls >= DOWNFALLS_BEFORE_RESTING && self.rest_long(downfalls).await.is_err()
                {
                    return Call::Over;
                }
            }
        }
    }

    /// Leaves its place to others for a while. Err when all was over meanwhile.
    async fn rest_long(&mut self, downfalls: u32) -> Result<(), ()> {
        let doublings = (downfalls - DOWNFALLS_BEFORE_RESTING).min(8);
        let time = (FIRST_LONG_REST * 2u32.pow(doublings)).min(LONGEST_LONG_REST);
        let why = format!(
            "Bluetooth went down {downfalls} times while it was being connected: the next try is in {} min",
            time.as_secs() / 60
        );
        let now_ms = self.now_ms();
        let (deck, way) = (&self.shared.deck, &self.way);
        deck.rest(&way.id, way.route, now_ms + ms(time), now_ms);
        self.step("report", &why).await;
        self.say_down(why).await;
        let pace = self.shared.pace.clone();
        let called = self.hints.wait_for(|hints| hints.over || hints.forgotten);
        match pace.limit(time, called).await {
            Some(Ok(hints)) if !hints.over => Ok(()),
            Some(_over_or_gone) => Err(()),
            None => Ok(()),
        }
    }

    /// Waits for a place and for an advertisement newer than `since_ms`: without one a connect only
    /// blocks the others' turn. Where none can come it is tried all the same.
    async fn called(&mut self, since_ms: Option<i64>) -> Call {
        let began_ms = self.now_ms();
        let mut silent_from_ms = began_ms;
        let mut look_ms = began_ms + ms(OLD_LINK_CHECK_EVERY);
        loop {
            let hints = self.hints.borrow_and_update().clone();
            let now_ms = self.now_ms();
            silent_from_ms = silent_from_ms.max(hints.heard_ms.unwrap_or(i64::MIN));
            if hints.over {
                return Call::Over;
            }
            if hints.forgotten || now_ms - silent_from_ms >= ms(FORGET_AFTER) {
                return Call::GiveUp;
            }
            let heard = hints
                .heard_ms
                .is_some_and(|heard| since_ms.is_none_or(|since| heard > since));
            let in_vain = hints.scan_stuck && now_ms - began_ms >= ms(UNHEARD_WAIT);
            if hints.granted && (heard || in_vain) {
                return Call::Connect { heard };
            }
            if now_ms >= look_ms {
                look_ms = now_ms + ms(OLD_LINK_CHECK_EVERY);
                // Linked after its connect had failed, it would never advertise.
                if hints.granted && self.is_connected().await == Some(true) {
                    self.disconnect().await;
                }
            }
            let wait = Duration::from_millis((look_ms - now_ms).max(0) as u64);
            let pace = self.shared.pace.clone();
            if let Some(Err(_radio_ended)) = pace.limit(wait, self.hints.changed()).await {
                return Call::Over;
            }
        }
    }

    fn begin(&self) -> bool {
        let deck = &self.shared.deck;
        deck.begin(&self.way.id, self.way.route, self.now_ms())
    }

    async fn open_values(&self) -> Result<Kept<ValueNotification>, Trouble> {
        let opening = self.way.peripheral.notifications();
        let stream = self.shared.pace.within(CALL_LIMIT, opening).await?;
        Ok(Kept::new(stream, self.shared.bus.clone()))
    }

    /// Connects and subscribes; the battery's characteristic if the strap has one.
    async fn make_link(&mut self, tries: u32) -> Result<Option<Characteristic>, Trouble> {
        let mut hints = self.hints.clone();
        let losses = hints.borrow_and_update().radio_losses;
        let gone = tokio::select! {
            linked = self.connect_and_subscribe(tries) => return linked,
            gone = hints.wait_for(|hints| hints.over || hints.radio_losses != losses) => gone,
        };
        let why = match gone {
            Ok(hints) => hints.radio_loss.clone(),
            Err(_radio_ended) => String::new(),
        };
        Err(Trouble::new(Fault::RadioGone, why))
    }

    async fn disconnect(&self) {
        let pace = &self.shared.pace;
        let _ = pace
            .within(IS_CONNECTED_LIMIT, self.way.peripheral.disconnect())
            .await;
    }

    /// Delivers values until the link is lost or somebody else gets it. `radio_losses` as they were before the
    /// link was made: a radio that went away since then took it along.
    async fn deliver(
        &mut self,
        values: &mut Kept<ValueNotification>,
        battery: Option<Characteristic>,
        radio_losses: u64,
    ) -> Loss {
        let pace = self.shared.pace.clone();
        let mut hints = self.hints.clone();
        let first = hints.borrow_and_update().clone();
        let lost = |why: &str, said| Loss {
            why: why.into(),
            said,
            recover: true,
        };
        let gone = |hints: &Hints, said| Loss {
            recover: false,
            ..lost(&hints.radio_loss, said)
        };
        if first.radio_losses != radio_losses {
            return gone(&first, false);
        }
        let wanted = self
            .shared
            .deck
            .up(&self.way.id, self.way.route, pace.now_ms());
        if !wanted {
            return leaving(&self.hints.borrow(), false);
        }
        self.say(Link::Up).await;
        let mut disconnects = first.disconnects;
        let mut last_value_ms = pace.now_ms();
        let mut look_ms = last_value_ms + ms(SILENT_CHECK);
        let mut silent = false; // Down was said, the subscription renewed, nothing came yet
        let mut telling = about::tell(self.way.peripheral.clone(), pace.clone(), battery);
        let mut look = Box::pin(pace.0.sleep_until(look_ms));
        loop {
            tokio::select! {
                biased;
                value = values.next() => if value.uuid == HEART_RATE_MEASUREMENT {
                    if std::mem::take(&mut silent) {
                        self.say(Link::Up).await;
                    }
                    self.read(value).await;
                    last_value_ms = pace.now_ms();
                    look_ms = last_value_ms + ms(SILENT_CHECK);
                },
                changed = hints.changed() => {
                    let now = hints.borrow_and_update().clone();
                    if changed.is_err() || now.over || now.radio_losses != radio_losses {
                        return gone(&now, silent);
                    }
                    if !now.granted {
                        return leaving(&now, silent);
                    }
                    if now.disconnects != disconnects {
                        disconnects = now.disconnects;
                        // Not every word of BlueZ's is about this link: ask.
                        if !matches!(self.is_connected().await, Some(true)) {
                            return lost("the link broke", silent);
                        }
                    }
                }
                () = &mut look => {
                    let now_ms = pace.now_ms();
                    if now_ms >= look_ms {
                        look_ms = now_ms + ms(SILENT_CHECK_EVERY);
                        if self.is_connected().await == Some(false) {
                            return lost("the link broke", silent);
                        }
                        let quiet_ms = now_ms - last_value_ms;
                        if quiet_ms >= ms(SILENT_RECONNECT) {
                            return lost("no data although linked", silent);
                        }
                        if quiet_ms >= ms(SILENT_RESUBSCRIBE) && !silent {
                            silent = true;
                            let why = format!("no data for {} s", quiet_ms / 1000);
                            self.say_down(why.clone()).await;
                            self.step("resubscribe", &why).await;
                            self.resubscribe().await;
                        }
                    }
                    look = Box::pin(pace.0.sleep_until(look_ms));
                }
                (news, next) = &mut telling => {
                    if let Some(news) = news {
                        self.shared.news(&self.way.id, news).await;
                    }
                    telling = next.0;
                }
            }
        }
    }

    async fn read(&mut self, value: ValueNotification) {
        // The stream also carries the answers to our own reads.
        if value.uuid == HEART_RATE_MEASUREMENT {
            let at_ms = self.now_ms();
            let way = &self.way;
            self.shared.deck.value(&way.id, way.route, at_ms);
            let event = self.repeats.event(&way.id, at_ms, &value.value);
            let _ = self.shared.events.send(SourceEvent::Strap(event)).await;
        }
    }

    /// None when BlueZ does not say.
    async fn is_connected(&self) -> Option<bool> {
        let asked = self.way.peripheral.is_connected();
        match self.shared.pace.within(IS_CONNECTED_LIMIT, asked).await {
            Ok(connected) => Some(connected),
            Err(trouble) if trouble.fault == Fault::TimedOut => None,
            Err(_) => Some(false),
        }
    }

    async fn resubscribe(&self) {
        let (pace, strap) = (&self.shared.pace, &self.way.peripheral);
        let services = strap.services();
        let mut characteristics = services.iter().flat_map(|service| &service.characteristics);
        if let Some(values) = characteristics.find(|c| c.uuid == HEART_RATE_MEASUREMENT) {
            let _ = pace
                .within(IS_CONNECTED_LIMIT, strap.unsubscribe(values))
                .await;
            let _ = pace
                .within(IS_CONNECTED_LIMIT, strap.subscribe(values))
                .await;
        }
    }

    /// Err when all was over meanwhile.
    async fn rest(&mut self, time: Duration) -> Result<(), ()> {
        let pace = self.shared.pace.clone();
        let over = self.hints.wait_for(|hints| hints.over);
        match pace.limit(time, over).await {
            Some(_over_or_gone) => Err(()),
            None => Ok(()),
        }
    }

    fn now_ms(&self) -> i64 {
        self.shared.pace.now_ms()
    }

    async fn step(&self, rung: &'static str, why: &str) {
        self.shared.step(rung, Some(&self.way.id), why).await;
    }

    async fn say_down(&self, why: String) {
        self.say(Link::Down { why }).await;
    }

    async fn say(&self, link: Link) {
        self.shared.news(&self.way.id, StrapNews::Link(link)).await;
    }
}

fn leaving(hints: &Hints, said: bool) -> Loss {
    Loss {
        why: hints.taken.into(),
        said,
        recover: false,
    }
}

/// What a failed connect says of the place it was made on.
fn ended(fault: Fault) -> Ended {
    match fault {
        Fault::LinksFull => Ended::Full,
        Fault::ObjectGone
        | Fault::DaemonGone
        | Fault::AdapterOff
        | Fault::RadioGone
        | Fault::CutShort => Ended::Blameless,
        Fault::InProgress
        | Fault::NoAnswer
        | Fault::Refused
        | Fault::NeedsPairing
        | Fault::TimedOut
        | Fault::Other => Ended::Failed,
    }
}
