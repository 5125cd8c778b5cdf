//! One imagined strap: what it sends of a heart's beats, and what goes wrong with it.
//!
//! Here belongs everything between a heart and the hub: detection, 1 Hz notifications, link,
//! battery and the strap's [`Temperament`]. A strap lives from notification slot to notification
//! slot and is asked for cues only when the room needs the next one.

use std::collections::VecDeque;

use super::chance::Chance;
use super::heart::Heart;
use crate::decode::ble::{HrFormat, Measurement, encode_as, rr_capacity};
use crate::script::{Act, Cue, RecentRate};
use crate::{Link, Rr, StrapId};

/// What is out of the ordinary with a strap or its heart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Temperament {
    Well,
    /// Put on after the others.
    Late,
    /// One beat in thirty comes early, and the next waits until its own time.
    Ectopic,
    /// Slips off the skin now and then and goes on counting something regular.
    OffBody,
    /// A heart with next to no variability.
    Still,
    /// Loses its link now and then.
    Silent,
    /// Overlooks a beat now and then.
    Deaf,
    /// The battery ends within minutes, and is changed.
    FlatBattery,
}

/// The order in which a room hands them out: neighbours differ in what they cost, so that the
/// three of a small room can't all fall silent together.
pub(super) const TROUBLES: [Temperament; 7] = [
    Temperament::Late,
    Temperament::Ectopic,
    Temperament::OffBody,
    Temperament::Still,
    Temperament::Silent,
    Temperament::Deaf,
    Temperament::FlatBattery,
];

/// Times between the starts of two episodes (off the body, silent) of one strap.
pub(super) const EPISODE_EVERY_MS: i64 = 240_000;
/// The first one comes when the late have arrived and there are scores to lose.
const FIRST_EPISODE_MS: i64 = 85_000;
const BATTERY_CHANGE_MS: i64 = 180_000;
const ECTOPIC: f64 = 1.0 / 30.0;
const OVERLOOKED: f64 = 1.0 / 60.0;

/// Where a strap is at the moment.
#[derive(Clone, Copy, Debug)]
enum Presence {
    /// Not heard until then.
    Away { back_ms: i64 },
    /// Heard; beats before `up_ms` went unheard.
    Here { up_ms: i64 },
    /// Heard, but off the skin. The next ghost of a beat comes at `ghost_s`.
    Off { until_ms: i64, ghost_s: f64 },
}

#[derive(Debug)]
pub(super) struct Strap {
    id: StrapId,
    name: String,
    temperament: Temperament,
    heart: Heart,
    chance: Chance,
    /// The cues of the current slot that were not taken yet.
    queue: VecDeque<Cue>,

    phase_ms: i64,
    slot: i64,
    presence: Presence,
    next_episode_ms: i64,

    /// The heart's next beat as the strap will detect it, and the one before it.
    beat_s: f64,
    beat_before_s: f64,
    /// The last beat was out of order; the next is an honest one.
    disturbed: bool,
    last_tick: Option<i64>,
    waiting: VecDeque<u16>,
    rate: RecentRate,
    ghost_s: f64,

    contact_supported: bool,
    format: HrFormat,
    energy: Option<f64>,
    sent: u64,
    rssi_dbm: i64,
    battery: u8,
    drain_every_ms: i64,
    next_drain_ms: i64,
}

/// A heart without its strap: the times of its beats in seconds, for ever.
#[derive(Clone, Debug)]
pub struct Beats {
    next_s: f64,
    heart: Heart,
}

impl Iterator for Beats {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        let next_s = self.next_s;
        self.next_s = self.heart.next_beat_s();
        Some(next_s)
    }
}

impl Strap {
    /// The `index`th strap of the room. `stagger` from 0 to 1 spreads the episodes of different
    /// straps over time, so that they don't all fail at once.
    pub(super) fn new(
        index: usize,
        seed: u64,
        temperament: Temperament,
        talent: f64,
        stagger: f64,
    ) -> Self {
        let mut chance = Chance::stream(seed, index as u64);
        let heart = Heart::new(&mut chance, talent, temperament == Temperament::Still);
        let number = index + 1;
        let flat = temperament == Temperament::FlatBattery;
        let back_ms = match temperament {
            Temperament::Late => chance.whole(40_000, 68_000),
            _ => chance.whole(0, 2_500),
        };
        let drain_every_ms = if flat {
            chance.whole(57_000, 62_000)
        } else {
            chance.whole(1_200_000, 2_400_000)
        };
        let mut strap = Strap {
            id: StrapId::new("virtual", &number.to_string()),
            name: format!("Virtual strap {number}"),
            temperament,
            heart,
            queue: VecDeque::new(),
            phase_ms: chance.whole(5, 990),
            slot: 0,
            presence: Presence::Away { back_ms },
            next_episode_ms: FIRST_EPISODE_MS + (stagger * EPISODE_EVERY_MS as f64) as i64,
            beat_s: 0.0,
            beat_before_s: 0.0,
            disturbed: true, // there is no interval yet to disturb
            last_tick: None,
            waiting: VecDeque::new(),
            rate: RecentRate::default(),
            ghost_s: chance.between(0.7, 0.9),
            contact_supported: index % 6 != 3 || temperament == Temperament::OffBody,
            format: if index % 13 == 4 {
                HrFormat::U16
            } else {
                HrFormat::Shortest
            },
            energy: (index % 4 == 1).then(|| chance.between(0.0, 40.0)),
            sent: 0,
            rssi_dbm: chance.whole(-84, -48),
            battery: if flat {
                chance.whole(6, 10)
            } else {
                chance.whole(40, 100)
            } as u8,
            drain_every_ms,
            next_drain_ms: back_ms + drain_every_ms,
            chance,
        };
        strap.beat_s = strap.heart.next_beat_s();
        strap
    }

    /// Whether nothing is the matter with it.
    pub(super) fn is_well(&self) -> bool {
        self.temperament == Temperament::Well
    }

    /// The beats alone, for a strap of another kind: seconds since the script began.
    pub(super) fn into_beats(self) -> Beats {
        Beats {
            next_s: self.beat_s,
            heart: self.heart,
        }
    }

    /// When the next cue is due. Cues never run dry.
    pub(super) fn next_at_ms(&mut self) -> i64 {
        while self.queue.is_empty() {
            self.live_one_slot();
        }
        self.queue[0].at_ms
    }

    pub(super) fn next_cue(&mut self) -> Cue {
        self.next_at_ms();
        self.queue.pop_front().expect("next_at_ms fills the queue")
    }

    fn cue(&mut self, at_ms: i64, act: Act) {
        self.queue.push_back(Cue {
            at_ms,
            strap: self.id.clone(),
            act,
        });
    }

    fn live_one_slot(&mut self) {
        let at_ms = self.phase_ms + self.slot * 1000 + self.chance.whole(-4, 4);
        self.slot += 1;

        if let Presence::Away { back_ms } = self.presence {
            if at_ms >= back_ms {
                self.arrive(at_ms);
            }
            return;
        }
        if at_ms >= self.next_drain_ms && !self.drain(at_ms) {
            return;
        }
        if at_ms >= self.next_episode_ms {
            self.next_episode_ms += EPISODE_EVERY_MS;
            match self.temperament {
                Temperament::Silent => {
                    let back_ms = at_ms + self.chance.whole(8_000, 23_000);
                    return self.leave(at_ms, back_ms, "connection lost");
                }
                Temperament::OffBody => {
                    let until_ms = at_ms + self.chance.whole(20_000, 40_000);
                    let ghost_s = self.beat_before_s + self.ghost_s;
                    self.presence = Presence::Off { until_ms, ghost_s };
                }
                _ => {}
            }
        }
        match self.presence {
            Presence::Off { until_ms, .. } if at_ms >= until_ms => {
                self.presence = Presence::Here { up_ms: i64::MIN };
            }
            _ => {}
        }
        self.detect_until(at_ms);
        let bytes = self.notification();
        self.cue(at_ms, Act::Bytes(bytes));
    }

    fn arrive(&mut self, at_ms: i64) {
        let up_ms = at_ms + self.chance.whole(250, 700);
        let rssi = self.rssi_dbm + self.chance.whole(-4, 4);
        let name = Some(self.name.clone());
        self.cue(
            at_ms,
            Act::Seen {
                name,
                rssi_dbm: i16::try_from(rssi).ok(),
            },
        );
        self.cue(at_ms + 40, Act::Link(Link::Connecting));
        self.cue(up_ms, Act::Link(Link::Up));
        self.cue(up_ms + 20, Act::Battery(self.battery));
        self.presence = Presence::Here { up_ms };
    }

    fn leave(&mut self, at_ms: i64, back_ms: i64, why: &str) {
        // What was not sent by now is lost: a strap resends nothing.
        self.waiting.clear();
        self.presence = Presence::Away { back_ms };
        self.cue(
            at_ms,
            Act::Link(Link::Down {
                why: why.to_owned(),
            }),
        );
    }

    /// One percent less. Says whether the strap goes on.
    fn drain(&mut self, at_ms: i64) -> bool {
        self.next_drain_ms += self.drain_every_ms;
        self.battery -= 1;
        if self.battery == 0 {
            self.battery = 100;
            self.drain_every_ms = self.chance.whole(1_200_000, 2_400_000);
            let back_ms = at_ms + BATTERY_CHANGE_MS;
            self.next_drain_ms = back_ms + self.drain_every_ms;
            self.leave(at_ms, back_ms, "battery");
            return false;
        }
        self.cue(at_ms, Act::Battery(self.battery));
        true
    }

    /// Everything the strap's electronics take for a beat until now.
    fn detect_until(&mut self, at_ms: i64) {
        let now_s = at_ms as f64 / 1000.0;
        while self.beat_s <= now_s {
            let beat_s = self.beat_s;
            self.advance_heart();
            match self.presence {
                Presence::Off { .. } => {} // the heart is out of its reach
                Presence::Here { up_ms } => {
                    let overlooked = self.temperament == Temperament::Deaf
                        && !self.disturbed
                        && self.chance.happens(OVERLOOKED);
                    self.disturbed = overlooked;
                    if !overlooked {
                        self.count_beat(beat_s, beat_s * 1000.0 >= up_ms as f64);
                    }
                }
                Presence::Away { .. } => {}
            }
        }
        if let Presence::Off {
            until_ms,
            mut ghost_s,
        } = self.presence
        {
            while ghost_s <= now_s {
                self.count_beat(ghost_s, true);
                ghost_s += self.ghost_s;
            }
            self.presence = Presence::Off { until_ms, ghost_s };
        }
    }

    fn advance_heart(&mut self) {
        let before_s = self.beat_s;
        self.beat_before_s = before_s;
        self.beat_s = self.heart.next_beat_s();
        if self.temperament == Temperament::Ectopic {
            // Early by a good quarter; the beat after it keeps its time: the compensatory pause.
            self.disturbed = !self.disturbed && self.chance.happens(ECTOPIC);
            if self.disturbed {
                self.beat_s -= (self.beat_s - before_s) * self.chance.between(0.25, 0.35);
            }
        }
    }

    /// Ticks come from the beat's own time, rounded, so that their sum never drifts.
    fn count_beat(&mut self, beat_s: f64, heard: bool) {
        /// No detector takes two beats this close for two.
        const REFRACTORY_TICKS: i64 = 250;
        let tick = (beat_s * 1024.0).round() as i64;
        if let Some(last) = self.last_tick {
            if tick - last < REFRACTORY_TICKS {
                return;
            }
            let ticks = u16::try_from(tick - last).unwrap_or(u16::MAX);
            if heard {
                self.rate.push(ticks);
                self.waiting.push_back(ticks);
            }
        }
        self.last_tick = Some(tick);
    }

    fn notification(&mut self) -> Vec<u8> {
        self.sent += 1;
        let energy_kj = self
            .energy
            .as_mut()
            .filter(|_| self.sent.is_multiple_of(10))
            .map(|kj| {
                *kj += 0.9; // sitting, for ten seconds
                kj.min(f64::from(u16::MAX)) as u16
            });
        let off = matches!(self.presence, Presence::Off { .. });
        let fits = self
            .waiting
            .len()
            .min(rr_capacity(self.format, energy_kj.is_some()));
        let rr: Vec<Rr> = self.waiting.drain(..fits).map(Rr::Ticks).collect();
        let value = Measurement {
            hr_bpm: self.rate.bpm(),
            contact: self.contact_supported.then_some(!off),
            energy_kj,
            rr_flag: !rr.is_empty(),
            rr,
            reserved_flags: 0,
            trailing_bytes: 0,
        };
        encode_as(&value, self.format)
    }
}
