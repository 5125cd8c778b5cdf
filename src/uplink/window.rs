//! PURE. Which message goes to the broker when, and which again: windows, patience, streams that the
//! broker denies. Time is passed in. Not here: bodies of messages, the network, and deletion (only
//! the collector's acknowledgement deletes, and that is the store's business).
//!
//! A message is *in flight* until the broker takes it (PUBACK), then *unanswered* until the collector
//! acknowledges it. The broker's word sets nothing but the pace: brokers take messages that they then
//! lose. What is unanswered for long goes again; at a new connection everything does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::record::Stream;

/// Messages on their way to the broker at a time. Counted from the oldest that it has not taken, so
/// that packet ids, of which there are more, never meet.
pub(super) const IN_FLIGHT: usize = 16;
/// Messages that the broker took and the collector has not acknowledged. Beyond it only old ones go
/// again: a dead collector must not make the broker swallow all that the hub has.
pub(super) const UNANSWERED: usize = 2_000;
/// So many a second at most: a week's backlog (some 30,000) leaves within a quarter of an hour, and
/// the store has time for the live path in between.
pub(super) const PER_SECOND: i64 = 50;

const MINUTE_MS: i64 = 60_000;
/// How long the collector may take before a message goes again; doubles each time, up to the cap.
pub(super) const PATIENCE_MS: i64 = 15 * MINUTE_MS;
const PATIENCE_CAP_MS: i64 = 6 * 60 * MINUTE_MS;
/// A message that the broker could give to nobody goes again sooner; doubles up to that patience.
const NOBODY_MS: i64 = MINUTE_MS;
/// A message that was sent so long before another is not merely overtaken by it.
const OVERTAKEN_MS: i64 = MINUTE_MS;
/// How long a denied stream rests; doubles each time, up to the cap.
const DENIED_MS: i64 = MINUTE_MS;
const DENIED_CAP_MS: i64 = 30 * MINUTE_MS;
/// A connection on which the broker takes nothing for so long is dead.
pub(super) const STALLED_MS: i64 = 90_000;
/// When there was nothing to send, the outbox is looked at again so soon, without being told to.
const LOOK_AGAIN_MS: i64 = 10_000;
/// So many connections in a row that end while the same message is the first in flight: from then on
/// messages go one at a time, and after as many again that one is set aside.
const STRIKES: u32 = 2;
/// Messages set aside at a time.
const ASIDE: usize = 16;

/// What the window wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// The outbox's next `limit` messages after this one; to be handed to [`Window::choose`].
    Read { after: i64, limit: usize, why: Why },
    /// Nothing before this moment, unless something is heard.
    Wait { until_ms: i64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Going through the outbox.
    Scan,
    /// The collector has been silent about these for too long.
    Again,
    /// Whether this stream is still denied.
    Probe(Stream),
}

#[derive(Debug)]
pub(super) struct Window {
    /// `None`: no connection.
    size: Option<usize>,
    /// Every message up to here was looked at since the connection stands.
    scanned: i64,
    /// The end of the outbox was reached; it is read again at this moment.
    idle_until_ms: Option<i64>,
    /// In the order in which they were published.
    in_flight: VecDeque<Flight>,
    unanswered: BTreeMap<i64, Unanswered>,
    denied: BTreeMap<Stream, Denied>,
    aside: BTreeMap<i64, Rest>,
    /// The message that was first in flight when connections ended, and how many in a row.
    strikes: Option<(i64, u32)>,
    /// What the pace still allows, in thousandths of a message, and when that was reckoned.
    allowance: i64,
    reckoned_ms: i64,
    /// When the broker last took something, or got something to take while nothing was in flight.
    progress_ms: i64,
    /// Everything up to here was acknowledged, as far as was heard.
    acknowledged_upto: i64,
    /// Since when the collector owes an answer.
    owing_since_ms: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    seq: i64,
    stream: Stream,
    sent_ms: i64,
    /// How often it went before.
    tries: u32,
    /// The broker answered, or the collector did.
    over: bool,
    /// The collector acknowledged it before the broker said that it took it.
    acknowledged: bool,
}

#[derive(Debug)]
struct Unanswered {
    sent_ms: i64,
    tries: u32,
    due_ms: i64,
}

#[derive(Debug)]
struct Denied {
    /// The lowest message of the stream that waits.
    from: i64,
    tries: u32,
    until_ms: i64,
    /// The message that is on its way to see.
    probe: Option<i64>,
}

#[derive(Debug)]
struct Rest {
    /// `None`: it is being tried again.
    until_ms: Option<i64>,
    tries: u32,
}

impl Rest {
    fn is_over(&self, now_ms: i64) -> bool {
        self.until_ms.is_some_and(|until_ms| until_ms <= now_ms)
    }
}

impl Window {
    pub fn new() -> Self {
        Window {
            size: None,
            scanned: 0,
            idle_until_ms: None,
            in_flight: VecDeque::new(),
            unanswered: BTreeMap::new(),
            denied: BTreeMap::new(),
            aside: BTreeMap::new(),
            strikes: None,
            allowance: 0,
            reckoned_ms: 0,
            progress_ms: 0,
            acknowledged_upto: 0,
            owing_since_ms: None,
        }
    }

    /// A connection stands, without a session: whatever is not acknowledged is due again, from the
    /// first. `most`: how many messages the broker takes at a time.
    pub fn connected(&mut self, most: usize, now_ms: i64) {
        self.size = Some(most.clamp(1, IN_FLIGHT));
        self.scanned = 0;
        self.idle_until_ms = None;
        self.unanswered.clear();
        self.denied.clear();
        self.progress_ms = now_ms;
    }

    /// The connection is gone, and with it what was in flight.
    pub fn disconnected(&mut self, now_ms: i64) {
        self.size = None;
        let first = self.in_flight.iter().find(|flight| !flight.over);
        if let Some(first) = first.map(|flight| flight.seq) {
            let count = match self.strikes {
                Some((seq, count)) if seq == first => count + 1,
                _ => 1,
            };
            self.strikes = Some((first, count));
            if count > 2 * STRIKES {
                self.set_aside(first, now_ms);
            }
        }
        self.in_flight.clear();
    }

    /// The broker ended the connection over a message in flight, without saying which. That one, if it was
    /// alone; else the next connection sends them one at a time. To be asked before
    /// [`Window::disconnected`].
    pub fn culprit(&mut self) -> Option<i64> {
        let mut open = self.in_flight.iter().filter(|flight| !flight.over);
        let first = open.next()?.seq;
        if open.next().is_none() {
            return Some(first);
        }
        self.strikes = Some((first, STRIKES));
        None
    }

    /// The outbox has something new.
    pub fn filled(&mut self) {
        self.idle_until_ms = None;
    }

    /// The outbox counts from the beginning: its database was put back, or made anew.
    pub fn new_epoch(&mut self) {
        self.scanned = 0;
        self.idle_until_ms = None;
        self.unanswered.clear();
        self.aside.clear();
        self.strikes = None;
        self.acknowledged_upto = 0;
        self.owing_since_ms = None;
        for flight in &mut self.in_flight {
            flight.acknowledged = true; // of the old epoch: nobody waits for an answer
        }
    }

    /// What to do next.
    pub fn want(&mut self, now_ms: i64) -> Want {
        let Some(size) = self.size else {
            return Want::Wait { until_ms: i64::MAX };
        };
        self.reckon(now_ms);
        let size = if self.suspects() { 1 } else { size };
        let room = size.saturating_sub(self.in_flight.len());
        if room == 0 {
            return Want::Wait {
                until_ms: self.progress_ms + STALLED_MS,
            };
        }
        let allowed = usize::try_from(self.allowance / 1_000).unwrap_or(0);
        if allowed == 0 {
            let missing = 1_000 - self.allowance;
            return Want::Wait {
                until_ms: now_ms + missing.div_euclid(PER_SECOND) + 1,
            };
        }
        let limit = room.min(allowed);
        let due = |(_, it): &(&i64, &Unanswered)| it.due_ms <= now_ms;
        if let Some((seq, _)) = self.unanswered.iter().find(due) {
            return Want::Read {
                after: seq - 1,
                limit,
                why: Why::Again,
            };
        }
        let rested = |(_, it): &(&Stream, &Denied)| it.probe.is_none() && it.until_ms <= now_ms;
        if let Some((stream, it)) = self.denied.iter().find(rested) {
            return Want::Read {
                after: it.from - 1,
                limit: 1,
                why: Why::Probe(*stream),
            };
        }
        self.take_up_again(now_ms);
        while self.is_known(self.scanned + 1) {
            self.scanned += 1;
        }
        let ahead = UNANSWERED.saturating_sub(self.unanswered.len() + self.in_flight.len());
        if ahead > 0 && self.idle_until_ms.is_none_or(|until| until <= now_ms) {
            return Want::Read {
                after: self.scanned,
                limit: limit.min(ahead),
                why: Why::Scan,
            };
        }
        let moments = self
            .unanswered
            .values()
            .map(|it| it.due_ms)
            .chain(
                self.denied
                    .values()
                    .filter(|it| it.probe.is_none())
                    .map(|it| it.until_ms),
            )
            .chain(self.aside.values().filter_map(|it| it.until_ms))
            .chain(self.idle_until_ms.filter(|_| ahead > 0))
            .chain((!self.in_flight.is_empty()).then_some(self.progress_ms + STALLED_MS));
        Want::Wait {
            until_ms: moments.min().unwrap_or(now_ms + LOOK_AGAIN_MS),
        }
    }

    /// Of the messages that were read for [`Want::Read`], those to be published now: they are in flight
    /// from here on.
    pub fn choose(
        &mut self,
        (after, limit, why): (i64, usize, Why),
        read: &[(i64, Stream)],
        now_ms: i64,
    ) -> BTreeSet<i64> {
        let mut chosen = BTreeSet::new();
        match why {
            Why::Scan => {
                for &(seq, stream) in read {
                    self.scanned = seq;
                    if self.is_known(seq) {
                        continue;
                    }
                    match self.denied.get_mut(&stream) {
                        Some(denied) => denied.from = denied.from.min(seq),
                        None => {
                            self.publish(seq, stream, 0, now_ms);
                            chosen.insert(seq);
                        }
                    }
                }
                let end = read.len() < limit;
                self.idle_until_ms = end.then_some(now_ms + LOOK_AGAIN_MS);
                // A suspect that is no longer there, or rests with its stream, is none.
                if let Some((seq, _)) = self.strikes
                    && (end || self.scanned >= seq)
                    && !self.in_flight.iter().any(|flight| flight.seq == seq)
                {
                    self.strikes = None;
                }
            }
            Why::Again => {
                // What no longer is in the outbox needs no answer.
                let last = read.last().filter(|_| read.len() == limit);
                let beyond = last.map_or(i64::MAX, |(seq, _)| *seq);
                let there = |seq| read.iter().any(|(read, _)| *read == seq);
                self.unanswered
                    .retain(|seq, _| *seq <= after || *seq > beyond || there(*seq));
                if self.unanswered.is_empty() {
                    self.owing_since_ms = None;
                }
                for &(seq, stream) in read {
                    let Some(it) = self.unanswered.get_mut(&seq) else {
                        continue;
                    };
                    if it.due_ms > now_ms {
                        continue;
                    }
                    if let Some(denied) = self.denied.get(&stream) {
                        it.due_ms = denied.until_ms.max(now_ms + DENIED_MS);
                        continue;
                    }
                    let tries = it.tries + 1;
                    self.unanswered.remove(&seq);
                    self.publish(seq, stream, tries, now_ms);
                    chosen.insert(seq);
                }
            }
            Why::Probe(stream) => match read.first() {
                Some(&(seq, of)) if of == stream && seq == after + 1 => {
                    if let Some(denied) = self.denied.get_mut(&stream) {
                        denied.probe = Some(seq);
                    }
                    self.publish(seq, stream, 0, now_ms);
                    chosen.insert(seq);
                }
                // That message is gone: the next one of the stream will tell.
                _ => self.allow(stream),
            },
        }
        chosen
    }

    /// The broker took it; `listened`: and has somebody to give it to.
    pub fn taken(&mut self, seq: i64, listened: bool, now_ms: i64) {
        self.progress_ms = now_ms;
        if self.strikes.is_some_and(|(struck, _)| struck == seq) {
            self.strikes = None;
        }
        self.aside.remove(&seq);
        let Some(flight) = self.land(seq) else {
            return;
        };
        if !flight.acknowledged {
            let due_ms = now_ms
                + if listened {
                    doubled(PATIENCE_MS, flight.tries, PATIENCE_CAP_MS)
                } else {
                    doubled(NOBODY_MS, flight.tries, PATIENCE_MS)
                };
            self.unanswered.insert(
                seq,
                Unanswered {
                    sent_ms: flight.sent_ms,
                    tries: flight.tries,
                    due_ms,
                },
            );
            self.owing_since_ms.get_or_insert(now_ms);
        }
        if self
            .denied
            .get(&flight.stream)
            .is_some_and(|it| it.probe == Some(seq))
        {
            self.allow(flight.stream);
        }
    }

    /// The broker refused it: its stream, which is said, rests; the others go on.
    pub fn refused(&mut self, seq: i64, now_ms: i64) -> Option<Stream> {
        self.progress_ms = now_ms;
        if self.strikes.is_some_and(|(struck, _)| struck == seq) {
            self.strikes = None;
        }
        let flight = self.land(seq)?;
        let denied = self.denied.entry(flight.stream).or_insert(Denied {
            from: seq,
            tries: 0,
            until_ms: now_ms + DENIED_MS,
            probe: None,
        });
        denied.from = denied.from.min(seq);
        // Others of the stream may have been on their way.
        if denied.probe == Some(seq) {
            denied.probe = None;
            denied.tries += 1;
            denied.until_ms = now_ms + doubled(DENIED_MS, denied.tries, DENIED_CAP_MS);
        }
        Some(flight.stream)
    }

    /// It left the outbox by another way than the collector's acknowledgement, unpublished.
    pub fn withdrawn(&mut self, seq: i64) {
        self.land(seq);
        self.aside.remove(&seq);
    }

    /// The collector is done with everything up to `upto` and with `also`. Says how long the newest of
    /// them took from here to there and back.
    pub fn acknowledged(
        &mut self,
        upto: i64,
        also: impl IntoIterator<Item = i64>,
        now_ms: i64,
    ) -> Option<i64> {
        let mut newest_sent_ms = None;
        let mut note = |sent_ms: i64| newest_sent_ms = newest_sent_ms.max(Some(sent_ms));
        let later = self.unanswered.split_off(&upto.saturating_add(1));
        for it in std::mem::replace(&mut self.unanswered, later).values() {
            note(it.sent_ms);
        }
        self.aside = self.aside.split_off(&upto.saturating_add(1));
        let also: BTreeSet<i64> = also.into_iter().collect();
        for seq in &also {
            if let Some(it) = self.unanswered.remove(seq) {
                note(it.sent_ms);
            }
            self.aside.remove(seq);
        }
        for flight in &mut self.in_flight {
            let meant = flight.seq <= upto || also.contains(&flight.seq);
            if meant && !flight.over && !flight.acknowledged {
                flight.acknowledged = true;
                note(flight.sent_ms);
            }
        }
        if newest_sent_ms.is_some() || upto > self.acknowledged_upto {
            let was_silent = self.silent_since(now_ms).is_some();
            self.hurry(newest_sent_ms, was_silent, now_ms);
            self.acknowledged_upto = self.acknowledged_upto.max(upto);
            self.owing_since_ms = (!self.unanswered.is_empty()).then_some(now_ms);
        }
        newest_sent_ms.map(|sent_ms| now_ms - sent_ms)
    }

    /// The broker has taken nothing for too long: this connection is dead.
    pub fn stalled(&self, now_ms: i64) -> bool {
        self.size.is_some() && !self.in_flight.is_empty() && now_ms >= self.progress_ms + STALLED_MS
    }

    /// Nothing is in flight, or the broker took something lately.
    pub fn moves(&self, now_ms: i64) -> bool {
        self.in_flight.is_empty() || now_ms - self.progress_ms < STALLED_MS / 3
    }

    /// Since when the collector has been silent, if that is longer than it may be.
    pub fn silent_since(&self, now_ms: i64) -> Option<i64> {
        self.owing_since_ms
            .filter(|since_ms| now_ms - since_ms > PATIENCE_MS)
    }

    /// A message that ended one connection after the other and rests.
    pub fn set_aside_seq(&self) -> Option<i64> {
        let resting = |(_, rest): &(&i64, &Rest)| rest.until_ms.is_some();
        self.aside.iter().find(resting).map(|(seq, _)| *seq)
    }

    /// Streams that rest because the broker refused one of their messages.
    pub fn is_denied(&self, stream: Stream) -> bool {
        self.denied.contains_key(&stream)
    }

    fn is_known(&self, seq: i64) -> bool {
        self.unanswered.contains_key(&seq)
            || self.aside.get(&seq).is_some_and(|it| it.until_ms.is_some())
            || self.in_flight.iter().any(|flight| flight.seq == seq)
    }

    fn publish(&mut self, seq: i64, stream: Stream, tries: u32, now_ms: i64) {
        if self.in_flight.is_empty() {
            self.progress_ms = now_ms;
        }
        self.allowance -= 1_000;
        self.in_flight.push_back(Flight {
            seq,
            stream,
            sent_ms: now_ms,
            tries,
            over: false,
            acknowledged: false,
        });
    }

    /// What the collector acknowledges tells of what it does not: something that was sent a while before
    /// something that it has is lost. And when it breaks a silence, its broker may have dropped anything.
    fn hurry(&mut self, newest_sent_ms: Option<i64>, was_silent: bool, now_ms: i64) {
        for it in self.unanswered.values_mut() {
            if newest_sent_ms.is_some_and(|newest_ms| it.sent_ms + OVERTAKEN_MS < newest_ms) {
                it.due_ms = now_ms;
            } else if was_silent {
                it.due_ms = it.due_ms.min(now_ms + OVERTAKEN_MS);
                it.tries = 0;
            }
        }
    }

    /// Takes it out of flight; the window moves on when the oldest is over.
    fn land(&mut self, seq: i64) -> Option<Flight> {
        let flight = self
            .in_flight
            .iter_mut()
            .find(|flight| flight.seq == seq && !flight.over)?;
        flight.over = true;
        let landed = *flight;
        while self.in_flight.front().is_some_and(|flight| flight.over) {
            self.in_flight.pop_front();
        }
        Some(landed)
    }

    /// The stream rests no longer; what was passed over is looked at again.
    fn allow(&mut self, stream: Stream) {
        if let Some(denied) = self.denied.remove(&stream) {
            self.scanned = self.scanned.min(denied.from - 1);
            self.idle_until_ms = None;
        }
    }

    fn suspects(&self) -> bool {
        self.strikes.is_some_and(|(_, count)| count >= STRIKES)
    }

    fn set_aside(&mut self, seq: i64, now_ms: i64) {
        self.strikes = None;
        let tries = self.aside.get(&seq).map_or(0, |rest| rest.tries + 1);
        let until_ms = Some(now_ms + doubled(PATIENCE_MS, tries, PATIENCE_CAP_MS));
        self.aside.insert(seq, Rest { until_ms, tries });
        if self.aside.len() > ASIDE {
            self.aside.pop_first();
        }
    }

    /// What rested long enough goes again, alone: if it ends this connection too, it rests longer.
    fn take_up_again(&mut self, now_ms: i64) {
        let rested = |(_, rest): &(&i64, &mut Rest)| rest.is_over(now_ms);
        let Some((seq, rest)) = self.aside.iter_mut().find(rested) else {
            return;
        };
        rest.until_ms = None;
        self.strikes = Some((*seq, 2 * STRIKES));
        self.scanned = self.scanned.min(seq - 1);
        self.idle_until_ms = None;
    }

    fn reckon(&mut self, now_ms: i64) {
        let elapsed_ms = (now_ms - self.reckoned_ms).clamp(0, 1_000);
        self.reckoned_ms = now_ms;
        let most = IN_FLIGHT as i64 * 1_000;
        self.allowance = (self.allowance + elapsed_ms * PER_SECOND).min(most);
    }
}

/// Twice as long for each try, up to the cap.
fn doubled(first_ms: i64, tries: u32, cap_ms: i64) -> i64 {
    first_ms.saturating_mul(1 << tries.min(20)).min(cap_ms)
}

#[cfg(test)]
mod tests;
