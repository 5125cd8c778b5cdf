//! Straps that are heard over two radios: they are one heart, counted once, shown under one label. Which
//! radio carries it, and when that changes. Not here: how it is told that two are one (`twins`).
//!
//! ANT+ is preferred: it counts beats and takes no link. A radio takes over where its newest intervals
//! continue those of the other, so nothing is lost or doubled; where nothing can be laid side by side, the
//! other must have been silent, and there is one break.

use std::collections::{BTreeMap, BTreeSet};

use coherence_hal::{BeatItem, Rr, StrapNews, Wish};

use super::command::{Refusal, RefusalCode, Reply};
use super::rows::{Row, TwinsRow};
use super::twins::{Tail, are_one, are_two, newer_in};
use super::{HeartKey, Note, Outcome, Room, StrapNo, arrival};

/// A radio that brought no beat for so long is silent, ms.
const SILENT_MS: i64 = 5_000;
/// A radio that carries a heart must have done so for so long before the other is let go, ms.
const SETTLED_MS: i64 = 10_000;
const ANT: &str = "ant";

/// What is known of straps with two radios.
#[derive(Clone, Debug, Default)]
pub struct Radios {
    tails: BTreeMap<StrapNo, Tail>,
    /// By the number under which the strap is known.
    bonds: BTreeMap<StrapNo, Bond>,
    /// The number under which the other one is known.
    leads: BTreeMap<StrapNo, StrapNo>,
    /// Said to be two: lower number first.
    parted: BTreeSet<(StrapNo, StrapNo)>,
    /// One, as is remembered from before; lower number first.
    remembered: BTreeSet<(StrapNo, StrapNo)>,
}

#[derive(Clone, Copy, Debug)]
struct Bond {
    other: StrapNo,
    carrier: StrapNo,
    carries_since_ms: i64,
    /// The radio that needs a link was let go.
    released: bool,
}

impl Radios {
    pub fn remembered(rows: Vec<TwinsRow>) -> Self {
        let mut radios = Radios::default();
        for row in rows {
            if row.one {
                radios.remembered.insert((row.low, row.high));
            } else {
                radios.parted.insert((row.low, row.high));
            }
        }
        radios
    }

    /// The number under which a strap is known.
    pub fn lead(&self, no: StrapNo) -> StrapNo {
        self.leads.get(&no).copied().unwrap_or(no)
    }

    /// The entry whose radio carries the heart of a strap.
    pub fn carrier(&self, lead: StrapNo) -> StrapNo {
        self.bonds.get(&lead).map_or(lead, |bond| bond.carrier)
    }

    /// The other entry of a strap.
    pub fn other(&self, lead: StrapNo) -> Option<StrapNo> {
        self.bonds.get(&lead).map(|bond| bond.other)
    }

    fn is_silent(&self, no: StrapNo, now_ms: i64) -> bool {
        let last_ms = self.tails.get(&no).and_then(Tail::last_ms);
        last_ms.is_none_or(|last_ms| now_ms - last_ms > SILENT_MS)
    }

    /// Notes the intervals of one entry, in the unit in which they came.
    pub fn hear(&mut self, no: StrapNo, at_ms: i64, news: &StrapNews) {
        let tail = self.tails.entry(no).or_default();
        let mut hear = |rr: Rr| match rr {
            Rr::Ticks(ticks) if rr.plausible() => tail.hear(ticks, at_ms),
            // Nothing that could be equal to the tick.
            Rr::Ticks(_) | Rr::Ms(_) => tail.tear(),
        };
        match news {
            StrapNews::Measurement(measurement) => {
                let marks = arrival::marks(measurement);
                for (rr, mark) in measurement.rr.iter().zip(marks) {
                    if mark.on_tachogram() {
                        hear(*rr);
                    }
                }
            }
            StrapNews::Beats(beats) => {
                for item in &beats.items {
                    match item {
                        BeatItem::Rr(rr) if beats.origin.is_heard() => hear(*rr),
                        BeatItem::Rr(_) | BeatItem::Missing { .. } | BeatItem::Gap => {
                            hear(Rr::Ms(0.0));
                        }
                    }
                }
            }
            _ => {}
        }
    }

    /// Something may be missing before the next interval.
    pub fn tear(&mut self, no: StrapNo) {
        if let Some(tail) = self.tails.get_mut(&no) {
            tail.tear();
        }
    }

    /// What was heard so far is another's than what comes.
    pub fn tear_all(&mut self, lead: StrapNo) {
        for no in [Some(lead), self.other(lead)].into_iter().flatten() {
            self.tear(no);
        }
    }

    /// Nothing is known of this entry any more; the bond in which it was, by its lead.
    fn forget(&mut self, no: StrapNo) -> Option<(StrapNo, Bond)> {
        self.tails.remove(&no);
        let of_others = |pair: &(StrapNo, StrapNo)| pair.0 != no && pair.1 != no;
        self.parted.retain(of_others);
        self.remembered.retain(of_others);
        let lead = self.lead(no);
        let bond = self.bonds.remove(&lead)?;
        self.leads.remove(&bond.other);
        Some((lead, bond))
    }
}

impl Room {
    /// A strap leaves the registry: what was its other radio stands alone.
    pub(super) fn forget_radio(&mut self, no: StrapNo) {
        let Some((lead, bond)) = self.radios.forget(no) else {
            return;
        };
        if bond.carrier != lead {
            self.begin_anew(HeartKey::Strap(lead));
        }
        if bond.released {
            self.take_up(lead, bond.other);
        }
    }

    /// Whether beats that this entry brings now are the heart's: not those that the other radio has brought.
    /// Takes over where that is due; what the other radio has not brought is then placed here.
    pub(super) fn carries(&mut self, no: StrapNo, at_ms: i64) -> bool {
        let lead = self.radios.lead(no);
        let Some(bond) = self.radios.bonds.get(&lead).copied() else {
            return true;
        };
        if bond.carrier == no {
            return true;
        }
        let silent = self.radios.is_silent(bond.carrier, at_ms);
        if !silent && self.transport(no) != Some(ANT) {
            return false;
        }
        let tails = (
            self.radios.tails.get(&bond.carrier),
            self.radios.tails.get(&no),
        );
        let newer = match tails {
            (Some(carrier), Some(tail)) => newer_in(carrier, tail)
                .map(|newer| (tail.newest_ms(newer).collect(), tail.is_whole(newer))),
            _ => None,
        };
        if newer.is_none() && !silent {
            // Not yet to be told what it would double.
            return false;
        }
        // What is held still came over the other radio.
        let key = HeartKey::Strap(lead);
        let mut placed = std::mem::take(&mut self.placed);
        if let Some(heart) = self.hearts.get_mut(&key) {
            heart.settle(i64::MAX, &mut placed);
        }
        self.keep(key, placed);
        if let Some(bond) = self.radios.bonds.get_mut(&lead) {
            (bond.carrier, bond.carries_since_ms) = (no, at_ms);
        }
        self.changes.links = true;
        let mut placed = std::mem::take(&mut self.placed);
        let heart = self.hearts.entry(key).or_default();
        heart.pass_on();
        let (newer_ms, whole): (Vec<f64>, bool) = newer.unwrap_or_default();
        if whole {
            heart.go_on(at_ms, &newer_ms, &mut placed);
        } else {
            heart.break_off(&mut placed);
        }
        self.keep(key, placed);
        !whole
    }

    /// After beats of this entry: is there another radio that brings the same?
    pub(super) fn look_for_twin(&mut self, no: StrapNo, at_ms: i64) {
        let lead = self.radios.lead(no);
        if let Some(bond) = self.radios.bonds.get(&lead) {
            let tails = &self.radios.tails;
            if let (Some(a), Some(b)) = (tails.get(&lead), tails.get(&bond.other))
                && are_two(a, b)
            {
                self.part(lead, at_ms);
            }
            return;
        }
        let is_ant = self.transport(no) == Some(ANT);
        let twin = self.radios.tails.keys().copied().find(|other| {
            let pair = (no.min(*other), no.max(*other));
            let free = self.radios.lead(*other) == *other && self.radios.other(*other).is_none();
            let tails = &self.radios.tails;
            *other != no
                && free
                && (self.transport(*other) == Some(ANT)) != is_ant
                && !self.radios.parted.contains(&pair)
                && (self.radios.remembered.contains(&pair)
                    || (!self.radios.is_silent(*other, at_ms)
                        && tails
                            .get(&no)
                            .zip(tails.get(other))
                            .is_some_and(|(a, b)| are_one(a, b))))
        });
        if let Some(other) = twin {
            self.unite(no, other, at_ms);
        }
    }

    /// From now on these two are one strap. False where two people wear them: they must say first whose it is.
    fn unite(&mut self, a: StrapNo, b: StrapNo, at_ms: i64) -> bool {
        let pair = (a.min(b), a.max(b));
        let (lead, other) = match (self.people.wearer(a), self.people.wearer(b)) {
            (Some(_), Some(_)) => return false,
            (Some(_), None) => (a, b),
            (None, Some(_)) => (b, a),
            (None, None) => pair,
        };
        // What the other had in hand is kept as its own.
        let key = HeartKey::Strap(other);
        let mut placed = std::mem::take(&mut self.placed);
        if let Some(heart) = self.hearts.get_mut(&key) {
            heart.settle(i64::MAX, &mut placed);
        }
        self.keep(key, placed);
        self.hearts.remove(&key);
        let bond = Bond {
            other,
            carrier: lead,
            carries_since_ms: at_ms,
            released: false,
        };
        self.radios.bonds.insert(lead, bond);
        self.radios.leads.insert(other, lead);
        self.radios.parted.remove(&pair);
        if self.radios.remembered.insert(pair) {
            self.keep_twins(pair, true, at_ms);
        }
        let labels = self.label(lead).zip(self.label(other));
        if let Some((label, other)) = labels {
            self.notes.push(Note::TwinsFound { label, other });
        }
        self.changes.links = true;
        true
    }

    /// They are two after all.
    fn part(&mut self, lead: StrapNo, at_ms: i64) {
        let Some(bond) = self.radios.bonds.remove(&lead) else {
            return;
        };
        self.radios.leads.remove(&bond.other);
        let pair = (lead.min(bond.other), lead.max(bond.other));
        self.radios.remembered.remove(&pair);
        self.radios.parted.insert(pair);
        self.keep_twins(pair, false, at_ms);
        if bond.carrier != lead {
            // What was heard last was not this one's heart.
            self.begin_anew(HeartKey::Strap(lead));
        }
        if bond.released {
            self.take_up(lead, bond.other);
        }
        if let Some((label, other)) = self.label(lead).zip(self.label(bond.other)) {
            self.notes.push(Note::TwinsParted { label, other });
        }
        self.changes.links = true;
    }

    /// What time alone brings: a radio is let go, or taken up again.
    pub(super) fn tend_radios(&mut self, now_ms: i64) {
        let leads: Vec<StrapNo> = self.radios.bonds.keys().copied().collect();
        for lead in leads {
            let Some(bond) = self.radios.bonds.get(&lead).copied() else {
                continue;
            };
            let ant_carries = self.transport(bond.carrier) == Some(ANT);
            let silent = self.radios.is_silent(bond.carrier, now_ms);
            if bond.released && (silent || !ant_carries) {
                self.take_up(lead, bond.other);
                self.set_released(lead, false);
            } else if !bond.released
                && ant_carries
                && !silent
                && now_ms - bond.carries_since_ms >= SETTLED_MS
            {
                let idle = if bond.carrier == lead {
                    bond.other
                } else {
                    lead
                };
                self.wishes
                    .extend(self.straps.id_of(idle).map(Wish::Release));
                self.set_released(lead, true);
            }
        }
    }

    fn set_released(&mut self, lead: StrapNo, released: bool) {
        if let Some(bond) = self.radios.bonds.get_mut(&lead) {
            bond.released = released;
        }
    }

    /// Whichever of the two needs a link is wanted again.
    fn take_up(&mut self, lead: StrapNo, other: StrapNo) {
        for no in [lead, other] {
            if self.transport(no) != Some(ANT) {
                self.wishes.extend(self.straps.id_of(no).map(Wish::TakeUp));
            }
        }
    }

    /// The facilitator says that two are one.
    pub(super) fn unite_straps(
        &mut self,
        strap: &str,
        other: &str,
        now_ms: i64,
    ) -> Result<Outcome, Refusal> {
        let (a, b) = (self.strap_called(strap)?, self.strap_called(other)?);
        let bound = [a, b].iter().any(|no| self.radios.other(*no).is_some());
        if a == b || bound {
            let message = format!("{strap:?} or {other:?} has two radios already.");
            return Err(Refusal::new(RefusalCode::BadValue, message));
        }
        if (self.transport(a) == Some(ANT)) == (self.transport(b) == Some(ANT)) {
            let message = "One of the two must be heard over ANT+, the other over another radio.";
            return Err(Refusal::new(RefusalCode::BadValue, message));
        }
        if !self.unite(a, b, now_ms) {
            let message = "Two people wear them. One of them must take theirs off first.";
            return Err(Refusal::new(RefusalCode::StrapTaken, message));
        }
        Ok(Outcome::of(Reply::Done))
    }

    /// The facilitator says that what was taken for one strap are two.
    pub(super) fn part_strap(&mut self, strap: &str, now_ms: i64) -> Result<Outcome, Refusal> {
        let lead = self.strap_called(strap)?;
        if self.radios.other(lead).is_none() {
            let message = format!("{strap:?} is heard over one radio only.");
            return Err(Refusal::new(RefusalCode::BadValue, message));
        }
        self.part(lead, now_ms);
        Ok(Outcome::of(Reply::Done))
    }

    pub(super) fn transport(&self, no: StrapNo) -> Option<&str> {
        self.straps.get(no).map(|strap| strap.transport())
    }

    fn label(&self, no: StrapNo) -> Option<String> {
        self.straps.get(no).map(|strap| strap.row.label.clone())
    }

    fn keep_twins(&mut self, (low, high): (StrapNo, StrapNo), one: bool, at_ms: i64) {
        let at = self.clock.stamp(at_ms);
        self.facts.push(Row::Twins(TwinsRow { low, high, one, at }));
    }
}
