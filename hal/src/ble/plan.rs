//! The radio planner: which strap is carried by which adapter, and who waits (PURE: time is handed
//! in, nothing is done here).
//!
//! A link is a place in an adapter's budget. A strap that has a place keeps it for the session;
//! places pass on only when a session begins, when the hub asks for it, or when the strap does not
//! make use of it (gone, or refusing every link). One strap heard by several adapters, or under
//! several addresses, has a [`Route`] for each and is carried by one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::pace::ms;
use super::watchdog::{DELIVERS, Signs};
use crate::StrapId;
use limit::Limit;

mod limit;
mod shown;
#[cfg(test)]
mod tests;

/// A strap as one adapter hears it under one address.
pub(super) type Route = u32;

/// Heard within this time a strap counts as in the air; it says so about once a second.
const IN_AIR: Duration = Duration::from_secs(30);
/// A strap that is lost keeps its place for so long.
const PLACE_KEPT: Duration = Duration::from_secs(60);
/// With several adapters the first one to hear a strap waits so long for the others' ears.
const COMPARE: Duration = Duration::from_secs(2);
/// So many connects that failed in a row, and a strap's place goes to somebody who waits.
const FAILS_BEFORE_YIELDING: u32 = 3;
/// So many on one adapter, and another one that hears the strap is tried.
const FAILS_BEFORE_ANOTHER_ADAPTER: u32 = 2;

pub(super) struct Plan {
    max_links: usize,
    adapters: BTreeMap<String, Adapter>,
    straps: BTreeMap<StrapId, Strap>,
    /// Straps that another radio carries; also those that are not in the air.
    released: BTreeSet<StrapId>,
    wanted: BTreeSet<StrapId>,
}

struct Adapter {
    up: bool,
    /// Nobody is heard who is not linked.
    scan_stuck: bool,
    limit: Limit,
    value_ms: Option<i64>,
}

struct Strap {
    routes: BTreeMap<Route, Sighting>,
    place: Option<Place>,
    first_heard_ms: i64,
    waits_from_ms: i64,
    /// On which adapters it has delivered.
    delivered: BTreeSet<String>,
    value_ms: Option<i64>,
}

struct Sighting {
    adapter: String,
    /// None once the adapter was lost.
    heard_ms: Option<i64>,
    rssi_dbm: i16,
    fails: u32,
    /// It is not asked for its link before.
    rests_until_ms: i64,
}

struct Place {
    route: Route,
    adapter: String,
    stage: Stage,
    since_ms: i64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// No link; the strap is waited for.
    Free,
    Connecting,
    Up,
    /// Shall be let go.
    Leaving(&'static str),
}

/// How the use of a place ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The link was up.
    Lost,
    /// The link was never up.
    Failed,
    /// The adapter said that it has no link left.
    Full,
    /// The adapter, the daemon or the bus went away, the strap may not have been there, or the try was cut
    /// short: it says nothing of strap and adapter.
    Blameless,
}

/// Weaker than any strap that is heard.
const UNKNOWN_RSSI: i16 = -127;

impl Plan {
    pub(super) fn new(max_links: usize) -> Self {
        Plan {
            max_links: max_links.max(1),
            adapters: BTreeMap::new(),
            straps: BTreeMap::new(),
            released: BTreeSet::new(),
            wanted: BTreeSet::new(),
        }
    }

    // What happens.

    pub(super) fn adapter_came(&mut self, name: &str) {
        let max_links = self.max_links;
        let adapter = self
            .adapters
            .entry(name.to_owned())
            .or_insert_with(|| Adapter {
                up: true,
                scan_stuck: false,
                limit: Limit::new(max_links),
                value_ms: None,
            });
        adapter.limit.begins_anew();
        adapter.up = true;
    }

    /// What it taught is kept: it is most likely the same one that comes back.
    pub(super) fn adapter_went(&mut self, name: &str) {
        if let Some(adapter) = self.adapters.get_mut(name) {
            adapter.up = false;
        }
        for strap in self.straps.values_mut() {
            for sighting in strap.routes.values_mut().filter(|s| s.adapter == name) {
                sighting.heard_ms = None;
            }
            strap
                .place
                .take_if(|place| place.adapter == name && place.stage == Stage::Free);
        }
    }

    pub(super) fn scan_stuck(&mut self, name: &str, stuck: bool) {
        if let Some(adapter) = self.adapters.get_mut(name) {
            adapter.scan_stuck = stuck;
        }
    }

    pub(super) fn heard(
        &mut self,
        id: &StrapId,
        route: Route,
        adapter: &str,
        rssi_dbm: Option<i16>,
        now_ms: i64,
    ) {
        let strap = self.straps.entry(id.clone()).or_insert_with(|| Strap {
            routes: BTreeMap::new(),
            place: None,
            first_heard_ms: now_ms,
            waits_from_ms: now_ms,
            delivered: BTreeSet::new(),
            value_ms: None,
        });
        let long_silent = strap.routes.values().all(|s| !s.in_air(now_ms));
        if strap.place.is_none() && long_silent {
            (strap.first_heard_ms, strap.waits_from_ms) = (now_ms, now_ms);
        }
        let sighting = strap.routes.entry(route).or_insert_with(|| Sighting {
            adapter: adapter.to_owned(),
            heard_ms: None,
            rssi_dbm: UNKNOWN_RSSI,
            fails: 0,
            rests_until_ms: i64::MIN,
        });
        sighting.heard_ms = Some(now_ms);
        sighting.rssi_dbm = rssi_dbm.unwrap_or(sighting.rssi_dbm);
    }

    /// The route is given up.
    pub(super) fn gone(&mut self, id: &StrapId, route: Route) {
        let Some(strap) = self.straps.get_mut(id) else {
            return;
        };
        strap.routes.remove(&route);
        strap.place.take_if(|place| place.route == route);
        if strap.routes.is_empty() {
            self.straps.remove(id);
        }
    }

    /// The route is not asked for its link for a while, and meanwhile keeps nobody from one.
    pub(super) fn rest(&mut self, id: &StrapId, route: Route, until_ms: i64, now_ms: i64) {
        if let Some(sighting) = self.sighting_of(id, route) {
            sighting.rests_until_ms = until_ms;
        }
        if self.place_of(id, route).is_some() {
            self.take(id, "it rests", now_ms);
        }
    }

    /// May this route connect now? If so it does.
    pub(super) fn begin(&mut self, id: &StrapId, route: Route, now_ms: i64) -> bool {
        let place = self.place_of(id, route);
        let Some(place) = place.filter(|place| place.stage == Stage::Free) else {
            return false;
        };
        (place.stage, place.since_ms) = (Stage::Connecting, now_ms);
        true
    }

    /// The link is there and subscribed. False when it is no longer wanted.
    pub(super) fn up(&mut self, id: &StrapId, route: Route, now_ms: i64) -> bool {
        let Some(place) = self.place_of(id, route) else {
            return false;
        };
        let name = place.adapter.clone();
        let stays = place.stage == Stage::Connecting;
        if stays {
            (place.stage, place.since_ms) = (Stage::Up, now_ms);
        }
        if let Some(sighting) = self.sighting_of(id, route) {
            sighting.fails = 0;
        }
        let (up, held) = (self.held_up(&name), self.held(&name));
        if let Some(adapter) = self.adapters.get_mut(&name) {
            adapter.limit.granted(up, held, now_ms);
        }
        stays
    }

    pub(super) fn value(&mut self, id: &StrapId, route: Route, now_ms: i64) {
        let Some(strap) = self.straps.get_mut(id) else {
            return;
        };
        strap.value_ms = Some(now_ms);
        let Some(place) = strap.place.as_ref().filter(|place| place.route == route) else {
            return;
        };
        if !strap.delivered.contains(&place.adapter) {
            strap.delivered.insert(place.adapter.clone());
        }
        if let Some(adapter) = self.adapters.get_mut(&place.adapter) {
            adapter.value_ms = Some(now_ms);
        }
    }

    /// The route connects or delivers no longer, and BlueZ holds no link for it.
    pub(super) fn ended(&mut self, id: &StrapId, route: Route, how: Ended, now_ms: i64) {
        let Some(place) = self.place_of(id, route) else {
            return;
        };
        let name = place.adapter.clone();
        let leaves = matches!(place.stage, Stage::Leaving(_)) || matches!(how, Ended::Full);
        (place.stage, place.since_ms) = (Stage::Free, now_ms);
        let up = self.adapters.get(&name).is_some_and(|adapter| adapter.up);
        let strap = self.straps.get_mut(id).expect("its place was found");
        if leaves || !up {
            strap.place = None;
            strap.waits_from_ms = now_ms;
        }
        if matches!(how, Ended::Failed | Ended::Full)
            && let Some(sighting) = strap.routes.get_mut(&route)
        {
            sighting.fails += 1;
        }
        let (up, in_use) = (self.held_up(&name), self.in_use(&name));
        if let Some(adapter) = self.adapters.get_mut(&name) {
            match how {
                Ended::Full => adapter.limit.refused(in_use, now_ms),
                Ended::Failed => adapter.limit.failed(id, up, in_use, now_ms),
                Ended::Lost | Ended::Blameless => {}
            }
        }
    }

    // What the hub wants.

    /// The one moment at which links pass from one strap to another: worn straps come first, and a
    /// link that gives no beats goes to somebody who waits.
    pub(super) fn session_begins(&mut self, wanted: &[StrapId], now_ms: i64) {
        self.wanted = wanted.iter().cloned().collect();
        self.settle(now_ms);
        for candidate in self.waiting(now_ms) {
            let worn = self.wanted.contains(&candidate);
            let hearing = self.hearing(&candidate, now_ms);
            let gives_way = self
                .straps
                .iter()
                .filter_map(|(id, strap)| {
                    let place = strap.place.as_ref()?;
                    if matches!(place.stage, Stage::Leaving(_)) || !hearing.contains(&place.adapter)
                    {
                        return None;
                    }
                    let rank = match (strap.delivers(now_ms), self.wanted.contains(id)) {
                        (false, false) => 0,
                        (false, true) if worn => 1,
                        (true, false) if worn => 2,
                        _ => return None,
                    };
                    Some((rank, strap.value_ms, id.clone()))
                })
                .min();
            if let Some((rank, _, id)) = gives_way {
                let why = match rank {
                    2 => "its link goes to a strap that is worn",
                    _ => "it gave no beats: its link goes to a strap that waits",
                };
                self.take(&id, why, now_ms);
            }
        }
    }

    /// Its link is worth more to somebody else, until `take_up`.
    pub(super) fn release(&mut self, id: &StrapId, now_ms: i64) {
        self.released.insert(id.clone());
        self.take(id, "another radio hears this heart", now_ms);
    }

    pub(super) fn take_up(&mut self, id: &StrapId) {
        self.released.remove(id);
    }

    /// All that was told of it is over. Its routes end by themselves.
    pub(super) fn forget(&mut self, id: &StrapId, now_ms: i64) {
        self.released.remove(id);
        self.wanted.remove(id);
        self.take(id, "the strap was removed from this hub", now_ms);
    }

    fn take(&mut self, id: &StrapId, why: &'static str, now_ms: i64) {
        if let Some(strap) = self.straps.get_mut(id)
            && let Some(place) = &mut strap.place
        {
            match place.stage {
                Stage::Free => strap.place = None,
                _ => place.stage = Stage::Leaving(why),
            }
            strap.waits_from_ms = now_ms;
        }
    }

    // What is decided.

    /// Decides all that can be decided now.
    pub(super) fn settle(&mut self, now_ms: i64) {
        for strap in self.straps.values_mut() {
            strap.place.take_if(|place| {
                let adapter = self.adapters.get(&place.adapter);
                if adapter.is_some_and(|adapter| adapter.scan_stuck) {
                    return false; // it is looked for without being heard
                }
                let heard = strap.routes.get(&place.route).and_then(|s| s.heard_ms);
                let last = heard.map_or(place.since_ms, |heard| heard.max(place.since_ms));
                place.stage == Stage::Free && now_ms - last >= ms(PLACE_KEPT)
            });
        }
        self.ask_for_more_again(now_ms);
        self.move_what_is_free(now_ms);
        self.let_the_failing_yield(now_ms);
        for id in self.queue(now_ms) {
            let strap = &self.straps[&id];
            if let Some(route) = self.best_route(strap, now_ms, |s| self.has_room(&s.adapter)) {
                let adapter = strap.routes[&route].adapter.clone();
                let strap = self.straps.get_mut(&id).expect("taken from there");
                strap.place = Some(Place {
                    route,
                    adapter,
                    stage: Stage::Free,
                    since_ms: now_ms,
                });
            }
        }
    }

    /// A limit that was learned is tried once more, if somebody would gain by it.
    fn ask_for_more_again(&mut self, now_ms: i64) {
        for id in self.queue(now_ms) {
            for name in self.hearing(&id, now_ms) {
                let held = self.held(&name);
                if let Some(adapter) = self.adapters.get_mut(&name) {
                    adapter.limit.ask_again(held, now_ms);
                }
            }
        }
    }

    /// A strap without a link moves to another address, or to another adapter that has room.
    fn move_what_is_free(&mut self, now_ms: i64) {
        let ids: Vec<StrapId> = self.straps.keys().cloned().collect();
        for id in ids {
            let strap = &self.straps[&id];
            let Some(place) = strap.place.as_ref().filter(|p| p.stage == Stage::Free) else {
                continue;
            };
            let since_ms = place.since_ms;
            let here = strap.routes.get(&place.route);
            let heard_here = here.is_some_and(|s| s.heard_ms.is_some_and(|at| at > since_ms));
            let fails_here = here.map_or(0, |s| s.fails);
            let better = self.best_route(strap, now_ms, |s| {
                let heard = s.heard_ms.is_some_and(|at| at > since_ms);
                (heard || fails_here >= FAILS_BEFORE_ANOTHER_ADAPTER)
                    && (s.adapter == place.adapter || self.has_room(&s.adapter))
            });
            let Some(better) = better.filter(|route| *route != place.route) else {
                continue;
            };
            let there = &strap.routes[&better];
            let heard_there = there.heard_ms.is_some_and(|at| at > since_ms);
            let fails_less = there.fails / FAILS_BEFORE_ANOTHER_ADAPTER
                < fails_here / FAILS_BEFORE_ANOTHER_ADAPTER;
            if (!heard_here && heard_there && now_ms - since_ms >= ms(COMPARE)) || fails_less {
                let adapter = there.adapter.clone();
                let strap = self.straps.get_mut(&id).expect("taken from there");
                strap.place = Some(Place {
                    route: better,
                    adapter,
                    stage: Stage::Free,
                    since_ms,
                });
            }
        }
    }

    /// A strap that takes no link keeps nobody else from one.
    fn let_the_failing_yield(&mut self, now_ms: i64) {
        for waiting in self.waiting(now_ms) {
            let hearing = self.hearing(&waiting, now_ms);
            let fails = self.straps[&waiting].fails();
            let failing = self.straps.values_mut().find(|strap| {
                strap.place.as_ref().is_some_and(|place| {
                    place.stage == Stage::Free && hearing.contains(&place.adapter)
                }) && strap.fails() >= FAILS_BEFORE_YIELDING
                    && strap.fails() > fails
            });
            if let Some(strap) = failing {
                strap.place = None;
                strap.waits_from_ms = now_ms;
            }
        }
    }

    /// Straps that want a place, in the order in which they get one.
    fn queue(&self, now_ms: i64) -> Vec<StrapId> {
        let several = self.adapters.values().filter(|a| a.up).count() > 1;
        let mut queue: Vec<_> = self
            .straps
            .iter()
            .filter(|(id, strap)| {
                strap.place.is_none()
                    && !self.released.contains(*id)
                    && !self.hearing(id, now_ms).is_empty()
                    && (!several || now_ms - strap.first_heard_ms >= ms(COMPARE))
            })
            .map(|(id, strap)| {
                let fails = strap.fails() / FAILS_BEFORE_YIELDING;
                (
                    !self.wanted.contains(id),
                    fails,
                    strap.waits_from_ms,
                    id.clone(),
                )
            })
            .collect();
        queue.sort();
        queue.into_iter().map(|(.., id)| id).collect()
    }

    /// The adapters that hear a strap now, and may ask it for its link.
    fn hearing(&self, id: &StrapId, now_ms: i64) -> BTreeSet<String> {
        let routes = self
            .straps
            .get(id)
            .into_iter()
            .flat_map(|s| s.routes.values());
        routes
            .filter(|s| s.may_link(now_ms) && self.is_up(&s.adapter))
            .map(|s| s.adapter.clone())
            .collect()
    }

    fn best_route(
        &self,
        strap: &Strap,
        now_ms: i64,
        may: impl Fn(&Sighting) -> bool,
    ) -> Option<Route> {
        let routes = strap.routes.iter();
        routes
            .filter(|(_, s)| s.may_link(now_ms) && self.is_up(&s.adapter) && may(s))
            .min_by_key(|(route, s)| {
                // Of two addresses on one adapter the one heard last is the one in use.
                let fails = s.fails / FAILS_BEFORE_ANOTHER_ADAPTER;
                let quiet_s = s
                    .heard_ms
                    .map_or(i64::MAX, |at| (now_ms - at) / ms(PRESENT));
                (fails, quiet_s, -s.rssi_dbm, **route)
            })
            .map(|(route, _)| *route)
    }

    fn place_of(&mut self, id: &StrapId, route: Route) -> Option<&mut Place> {
        let place = self.straps.get_mut(id)?.place.as_mut()?;
        (place.route == route).then_some(place)
    }

    fn sighting_of(&mut self, id: &StrapId, route: Route) -> Option<&mut Sighting> {
        self.straps.get_mut(id)?.routes.get_mut(&route)
    }

    fn is_up(&self, name: &str) -> bool {
        self.adapters.get(name).is_some_and(|adapter| adapter.up)
    }

    fn has_room(&self, name: &str) -> bool {
        let adapter = self.adapters.get(name);
        let limit = adapter.map_or(0, |adapter| adapter.limit.links());
        self.held(name) < limit
    }

    /// Places taken.
    fn held(&self, name: &str) -> usize {
        self.places().filter(|place| place.adapter == name).count()
    }

    /// Links that are there or being made.
    fn in_use(&self, name: &str) -> usize {
        let here = self.places().filter(|place| place.adapter == name);
        here.filter(|place| place.stage != Stage::Free).count()
    }

    /// Links that are there.
    fn held_up(&self, name: &str) -> usize {
        self.places()
            .filter(|place| place.adapter == name && place.is_up())
            .count()
    }

    fn places(&self) -> impl Iterator<Item = &Place> {
        self.straps
            .values()
            .filter_map(|strap| strap.place.as_ref())
    }
}

/// Heard within the same while, two routes are equally present and their strength decides.
const PRESENT: Duration = Duration::from_secs(5);

impl Strap {
    fn delivers(&self, now_ms: i64) -> bool {
        self.place.as_ref().is_some_and(Place::is_up)
            && self.value_ms.is_some_and(|at| now_ms - at < ms(DELIVERS))
    }

    /// How often it has failed in a row, where it has done best.
    fn fails(&self) -> u32 {
        self.routes.values().map(|s| s.fails).min().unwrap_or(0)
    }
}

impl Sighting {
    fn in_air(&self, now_ms: i64) -> bool {
        self.heard_ms.is_some_and(|at| now_ms - at < ms(IN_AIR))
    }

    fn may_link(&self, now_ms: i64) -> bool {
        self.in_air(now_ms) && now_ms >= self.rests_until_ms
    }
}

impl Place {
    fn is_up(&self) -> bool {
        matches!(self.stage, Stage::Up | Stage::Leaving(_))
    }
}
