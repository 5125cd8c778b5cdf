//! What all tasks here share: the plan, who is in the air, and how to reach each strap's tasks.
//! Short work under one lock; nothing waits here and nothing speaks with BlueZ.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use btleplug::platform::{Peripheral, PeripheralId};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::pace::ms;
use super::plan::{Ended, Plan, Route};
use super::watchdog::Signs;
use crate::{Links, StrapId, Wish};

const SEEN_EVERY: Duration = Duration::from_secs(5);
/// A device that was no strap may say later what it offers.
const LOOK_AGAIN_AT_STRANGERS: Duration = Duration::from_secs(30);
const FORGET_STRANGERS: Duration = Duration::from_secs(600);

/// What is told to a strap's task. Only the latest counts, so it can never be full.
#[derive(Clone, Debug, Default)]
pub(super) struct Hints {
    /// May it hold a link?
    pub(super) granted: bool,
    /// Why its link was taken away, if it was.
    pub(super) taken: &'static str,
    pub(super) heard_ms: Option<i64>,
    /// The adapter can't scan: nobody will be heard.
    pub(super) scan_stuck: bool,
    /// How often BlueZ said that the link ended.
    pub(super) disconnects: u64,
    /// How often adapter or daemon went away, and how that reads.
    pub(super) radio_losses: u64,
    pub(super) radio_loss: String,
    /// The strap was removed from the hub: the task shall end and leave nothing.
    pub(super) forgotten: bool,
    /// The bus is dead or the hub stops: the task shall end.
    pub(super) over: bool,
}

pub(super) struct Deck {
    state: Mutex<State>,
    /// Something may have to be said.
    pub(super) changed: Notify,
}

struct State {
    plan: Plan,
    routes: BTreeMap<Route, Seat>,
    by_device: HashMap<PeripheralId, Route>,
    /// Devices that are no straps, and when that was looked up.
    strangers: HashMap<PeripheralId, i64>,
    next_route: Route,
    tasks: JoinSet<()>,
    to_forget: Vec<StrapId>,
    waiting: HashSet<StrapId>,
    /// Adapters that were reported to the admin.
    reported: BTreeMap<String, &'static str>,
}

struct Seat {
    strap: StrapId,
    adapter: String,
    peripheral: Peripheral,
    looked_up_ms: i64,
    hints: watch::Sender<Hints>,
}

/// What there is to say.
pub(super) struct Picture {
    pub(super) links: Links,
    pub(super) sentence: Option<String>,
    pub(super) reported: BTreeMap<String, &'static str>,
    /// Straps that wait and did not before.
    pub(super) newly_waiting: Vec<StrapId>,
}

impl Deck {
    pub(super) fn new(max_links: usize) -> Self {
        Deck {
            state: Mutex::new(State {
                plan: Plan::new(max_links),
                routes: BTreeMap::new(),
                by_device: HashMap::new(),
                strangers: HashMap::new(),
                next_route: 0,
                tasks: JoinSet::new(),
                to_forget: Vec::new(),
                waiting: HashSet::new(),
                reported: BTreeMap::new(),
            }),
            changed: Notify::new(),
        }
    }

    fn look<R>(&self, at: impl FnOnce(&mut State) -> R) -> R {
        at(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes something, decides what follows and tells the tasks.
    fn change<R>(&self, now_ms: i64, what: impl FnOnce(&mut State) -> R) -> R {
        let result = self.decide(now_ms, what);
        self.changed.notify_one();
        result
    }

    fn decide<R>(&self, now_ms: i64, what: impl FnOnce(&mut State) -> R) -> R {
        self.look(|state| {
            let result = what(state);
            state.plan.settle(now_ms);
            for (route, seat) in &state.routes {
                let grant = state.plan.grant(&seat.strap, *route);
                seat.hints.send_if_modified(|hints| {
                    let before = (hints.granted, hints.taken);
                    hints.granted = grant.is_ok();
                    hints.taken = grant.err().unwrap_or_default();
                    before != (hints.granted, hints.taken)
                });
            }
            result
        })
    }

    // What the adapters hear.

    /// An advertisement (`in_air`), or BlueZ's memory of one. True when the device is to be looked up.
    pub(super) fn heard(
        &self,
        device: &PeripheralId,
        in_air: bool,
        rssi_dbm: Option<i16>,
        now_ms: i64,
    ) -> bool {
        let known = self.look(|state| {
            if let Some(route) = state.by_device.get(device) {
                let seat = &state.routes[route];
                return Some((*route, now_ms - seat.looked_up_ms >= ms(SEEN_EVERY)));
            }
            None
        });
        match known {
            Some((route, due)) => {
                if in_air {
                    self.mark_heard(route, rssi_dbm, now_ms);
                }
                due
            }
            None => self.look(|state| {
                let looked_up = state.strangers.get(device);
                looked_up.is_none_or(|at| now_ms - at >= ms(LOOK_AGAIN_AT_STRANGERS))
            }),
        }
    }

    fn mark_heard(&self, route: Route, rssi_dbm: Option<i16>, now_ms: i64) {
        self.change(now_ms, |state| {
            let Some(seat) = state.routes.get(&route) else {
                return;
            };
            state
                .plan
                .heard(&seat.strap, route, &seat.adapter, rssi_dbm, now_ms);
            seat.hints
                .send_modify(|hints| hints.heard_ms = Some(now_ms));
        });
    }

    /// A device says that it is a strap, whatever it passed for so far.
    pub(super) fn forget_stranger(&self, device: &PeripheralId) {
        self.look(|state| state.strangers.remove(device));
    }

    pub(super) fn is_route(&self, device: &PeripheralId) -> bool {
        self.look(|state| state.by_device.contains_key(device))
    }

    pub(super) fn note_stranger(&self, device: PeripheralId, now_ms: i64) {
        self.look(|state| state.strangers.insert(device, now_ms));
    }

    /// A strap was heard and looked up: as whom it is known (a device keeps its first id, whatever
    /// name it says later), whether this adapter hears it best, and what its task needs if it has none.
    pub(super) fn meet(
        &self,
        strap: StrapId,
        adapter: &str,
        peripheral: &Peripheral,
        device: &PeripheralId,
        rssi_dbm: Option<i16>,
        now_ms: i64,
    ) -> (StrapId, bool, Option<(Route, watch::Receiver<Hints>)>) {
        let (strap, route, new) = self.look(|state| {
            state.strangers.remove(device);
            if let Some(route) = state.by_device.get(device).copied() {
                let seat = state.routes.get_mut(&route).expect("both maps agree");
                seat.looked_up_ms = now_ms;
                // Its task ended, which only a defect can cause: it gets another.
                if !seat.hints.is_closed() {
                    return (seat.strap.clone(), route, None);
                }
            }
            let route = state.by_device.get(device).copied().unwrap_or_else(|| {
                state.next_route += 1;
                state.next_route
            });
            let (hints, receiver) = watch::channel(Hints::default());
            let seat = Seat {
                strap: strap.clone(),
                adapter: adapter.to_owned(),
                peripheral: peripheral.clone(),
                looked_up_ms: now_ms,
                hints,
            };
            state.routes.insert(route, seat);
            state.by_device.insert(device.clone(), route);
            (strap, route, Some((route, receiver)))
        });
        self.mark_heard(route, rssi_dbm, now_ms);
        let loudest = self.look(|state| state.plan.is_loudest(&strap, route, now_ms));
        (strap, loudest, new)
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.look(|state| {
            while state.tasks.try_join_next().is_some() {}
            state.tasks.spawn(task);
        });
    }

    pub(super) fn disconnected(&self, device: &PeripheralId) {
        self.look(|state| {
            let route = state.by_device.get(device);
            if let Some(seat) = route.and_then(|route| state.routes.get(route)) {
                seat.hints.send_modify(|hints| hints.disconnects += 1);
            }
        });
    }

    pub(super) fn adapter_came(&self, name: &str, now_ms: i64) {
        self.change(now_ms, |state| state.plan.adapter_came(name));
    }

    /// The adapter or the daemon is gone: its straps are down until they are heard again.
    pub(super) fn adapter_went(&self, name: &str, why: &str, now_ms: i64) {
        self.change(now_ms, |state| {
            state.plan.adapter_went(name);
            state.reported.remove(name);
            for seat in state.routes.values().filter(|seat| seat.adapter == name) {
                seat.lose(why, false);
            }
        });
    }

    /// Whether the adapter's scan can't be started, though its links live.
    pub(super) fn scan_stuck(&self, adapter: &str, stuck: bool, now_ms: i64) {
        self.change(now_ms, |state| {
            state.plan.scan_stuck(adapter, stuck);
            for seat in state.routes.values().filter(|seat| seat.adapter == adapter) {
                seat.hints.send_if_modified(|hints| {
                    std::mem::replace(&mut hints.scan_stuck, stuck) != stuck
                });
            }
        });
    }

    pub(super) fn report(&self, adapter: &str, why: Option<&'static str>) {
        self.look(|state| match why {
            Some(why) => drop(state.reported.insert(adapter.to_owned(), why)),
            None => drop(state.reported.remove(adapter)),
        });
        self.changed.notify_one();
    }

    pub(super) fn signs(&self, adapter: &str, heard_ms: i64, now_ms: i64) -> Signs {
        self.look(|state| state.plan.signs(adapter, heard_ms, now_ms))
    }

    // What the straps' tasks tell.

    pub(super) fn begin(&self, strap: &StrapId, route: Route, now_ms: i64) -> bool {
        self.change(now_ms, |state| state.plan.begin(strap, route, now_ms))
    }

    pub(super) fn up(&self, strap: &StrapId, route: Route, now_ms: i64) -> bool {
        self.change(now_ms, |state| state.plan.up(strap, route, now_ms))
    }

    pub(super) fn value(&self, strap: &StrapId, route: Route, now_ms: i64) {
        self.look(|state| state.plan.value(strap, route, now_ms));
    }

    pub(super) fn ended(&self, strap: &StrapId, route: Route, how: Ended, now_ms: i64) {
        self.change(now_ms, |state| state.plan.ended(strap, route, how, now_ms));
    }

    pub(super) fn rest(&self, strap: &StrapId, route: Route, until_ms: i64, now_ms: i64) {
        self.change(now_ms, |state| {
            state.plan.rest(strap, route, until_ms, now_ms);
        });
    }

    /// The task of a route ends for good.
    pub(super) fn gone(&self, strap: &StrapId, route: Route, now_ms: i64) {
        self.change(now_ms, |state| {
            state.plan.gone(strap, route);
            state.routes.remove(&route);
            state.by_device.retain(|_, of| *of != route);
        });
    }

    // What the hub wants.

    pub(super) fn wish(&self, wish: &Wish, now_ms: i64) {
        self.change(now_ms, |state| match wish {
            Wish::SessionBegins { wanted } => state.plan.session_begins(wanted, now_ms),
            Wish::Release(strap) => state.plan.release(strap, now_ms),
            Wish::TakeUp(strap) => state.plan.take_up(strap),
            Wish::Forget(strap) => {
                state.plan.forget(strap, now_ms);
                for seat in state.routes.values().filter(|seat| seat.strap == *strap) {
                    seat.hints.send_modify(|hints| hints.forgotten = true);
                }
                state.to_forget.push(strap.clone());
            }
        });
    }

    /// Straps of which BlueZ shall keep nothing.
    pub(super) fn take_forgotten(&self) -> Vec<StrapId> {
        self.look(|state| std::mem::take(&mut state.to_forget))
    }

    /// BlueZ could not be told: it is told again.
    pub(super) fn forget_later(&self, straps: Vec<StrapId>) {
        self.look(|state| state.to_forget.extend(straps));
    }

    // What the radio says and ends.

    /// Time has passed: decides what that decides, and shows what is so.
    pub(super) fn picture(&self, now_ms: i64) -> Picture {
        self.decide(now_ms, |state| {
            state
                .strangers
                .retain(|_, at| now_ms - *at < ms(FORGET_STRANGERS));
        });
        self.look(|state| {
            let links = state.plan.links(now_ms);
            let mut newly_waiting = links.waiting.clone();
            newly_waiting.retain(|strap| !state.waiting.contains(strap));
            state.waiting = links.waiting.iter().cloned().collect();
            Picture {
                links,
                sentence: state.plan.sentence(now_ms),
                reported: state.reported.clone(),
                newly_waiting,
            }
        })
    }

    /// The bus is dead or the hub stops: the tasks are told to end. Gives them, and whom BlueZ may
    /// hold or know of.
    pub(super) fn end(&self, why: &str) -> (JoinSet<()>, Vec<Peripheral>) {
        self.look(|state| {
            state.strangers.clear();
            let seats = state.routes.values();
            let straps = seats
                .map(|seat| {
                    seat.lose(why, true);
                    seat.peripheral.clone()
                })
                .collect();
            (std::mem::take(&mut state.tasks), straps)
        })
    }

    /// All tasks have ended: nobody is in the air. What the adapters taught is kept.
    pub(super) fn clear(&self, now_ms: i64) {
        self.change(now_ms, |state| {
            for (route, seat) in std::mem::take(&mut state.routes) {
                state.plan.gone(&seat.strap, route);
            }
            state.by_device.clear();
        });
    }
}

impl Seat {
    fn lose(&self, why: &str, over: bool) {
        self.hints.send_modify(|hints| {
            hints.radio_losses += 1;
            hints.radio_loss = why.into();
            hints.heard_ms = None;
            hints.over |= over;
        });
    }
}
