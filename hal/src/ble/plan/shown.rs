//! What the plan shows: to the straps' tasks, to the watchdog and to people. Nothing is decided here.

use std::collections::BTreeSet;

use super::{DELIVERS, Plan, Route, Signs, Stage};
use crate::ble::pace::ms;
use crate::ble::watchdog::SAME_MOMENT;
use crate::{AdapterLinks, Links, StrapId};

impl Plan {
    /// Does this route hold its strap's place? Else why it was taken away, if it was.
    pub(in crate::ble) fn grant(&self, id: &StrapId, route: Route) -> Result<(), &'static str> {
        let place = self.straps.get(id).and_then(|strap| strap.place.as_ref());
        match place.filter(|place| place.route == route) {
            Some(place) => match place.stage {
                Stage::Leaving(why) => Err(why),
                _ => Ok(()),
            },
            None => Err(""),
        }
    }

    /// Of several routes the one that is told of: its adapter hears the strap best.
    pub(in crate::ble) fn is_loudest(&self, id: &StrapId, route: Route, now_ms: i64) -> bool {
        let Some(strap) = self.straps.get(id) else {
            return true;
        };
        let heard = strap.routes.iter().filter(|(_, s)| s.in_air(now_ms));
        let loudest = heard.max_by_key(|(_, s)| s.rssi_dbm);
        loudest.is_none_or(|(loudest, _)| *loudest == route)
    }

    /// Straps in the air for which no adapter has a place, who is served next first.
    pub(in crate::ble) fn waiting(&self, now_ms: i64) -> Vec<StrapId> {
        let mut waiting = self.queue(now_ms);
        waiting.retain(|id| {
            let hearing = self.hearing(id, now_ms);
            hearing.iter().all(|name| !self.has_room(name))
        });
        waiting
    }

    pub(in crate::ble) fn links(&self, now_ms: i64) -> Links {
        let adapters = self.adapters.iter().filter(|(_, adapter)| adapter.up);
        Links {
            adapters: adapters
                .map(|(name, adapter)| AdapterLinks {
                    name: name.clone(),
                    held: self.held_up(name) as u32,
                    limit: adapter.limit.links() as u32,
                })
                .collect(),
            waiting: self.waiting(now_ms),
        }
    }

    /// "23 of 24 carried, 1 waiting: hci0 full", or nothing when nobody waits.
    pub(in crate::ble) fn sentence(&self, now_ms: i64) -> Option<String> {
        let waiting = self.waiting(now_ms);
        if waiting.is_empty() {
            return None;
        }
        let carried = self.places().filter(|place| place.is_up()).count();
        let all = self.places().count() + waiting.len();
        let full: BTreeSet<String> = waiting
            .iter()
            .flat_map(|id| self.hearing(id, now_ms))
            .collect();
        let full: Vec<String> = full.into_iter().collect();
        let n = waiting.len();
        Some(format!(
            "{carried} of {all} carried, {n} waiting: {} full",
            full.join(" and ")
        ))
    }

    /// For the watchdog of one adapter, of which the advertisements are not known here.
    pub(in crate::ble) fn signs(&self, name: &str, heard_ms: i64, now_ms: i64) -> Signs {
        let (mut mute, mut missed, mut at_once) = (0, 0, 0);
        let value_ms = self.adapters.get(name).and_then(|adapter| adapter.value_ms);
        for (id, strap) in &self.straps {
            if !strap.delivered.contains(name)
                || strap.delivers(now_ms)
                || self.released.contains(id)
            {
                continue;
            }
            let place = strap.place.as_ref().filter(|place| place.adapter == name);
            let linked = place.is_some_and(|place| place.stage == Stage::Up);
            let routes = || strap.routes.values().filter(|s| s.adapter == name);
            let in_air = routes().any(|s| s.heard_ms.is_some_and(|at| now_ms - at < ms(DELIVERS)));
            if linked || (place.is_some() && in_air) {
                mute += 1;
            } else if !in_air
                && routes().next().is_some()
                && strap.place.is_none() == place.is_none()
            {
                missed += 1; // and no other adapter carries it
            } else {
                continue;
            }
            let pair = strap.value_ms.zip(value_ms);
            at_once += usize::from(pair.is_some_and(|(own, last)| last - own <= ms(SAME_MOMENT)));
        }
        Signs {
            heard_ms,
            value_ms,
            mute,
            missed,
            at_once,
            scan_stuck: self
                .adapters
                .get(name)
                .is_some_and(|adapter| adapter.scan_stuck),
        }
    }
}
