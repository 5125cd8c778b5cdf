//! Tapping along in the virtual room: its straps with their faults, through decoder and room; people
//! whose hands waver by 30 to 60 ms and drift, who at times miss a beat or touch twice.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::net::IpAddr;

use coherence_hal::script::Scripted;
use coherence_hal::virtual_room::VirtualRoom;
use coherence_hal::{SourceClock, SourceEvent};
use coherence_hub::room::command::{Command, HeartSign, Join, Reply};
use coherence_hub::room::rows::Row;
use coherence_hub::room::view::HeartFoundView;
use coherence_hub::room::{
    ClockReading, HeartKey, ParticipantId, Remembered, Room, SessionPlan, Settings, StageRules,
    Suppression,
};
use uuid::Uuid;

use crate::random::Random;

/// The first tapping, the time from one to the next, and how long a room is listened to, ms.
const FIRST_MS: i64 = 60_000;
const EVERY_MS: i64 = 30_000;
const LONG_MS: i64 = 600_000;
/// The wall clock where the monotonic clock shows 0, ms.
const BEGIN_MS: i64 = 1_795_167_900_000;

/// What came of many tappings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub tappings: usize,
    pub right: usize,
    pub wrong: usize,
    /// By how certain the hub was of the best strap: below 0.5, 0.8, 0.95, 0.98, and above; how often,
    /// the sum of the certainties, and how often it was the right one.
    pub bins: [(usize, f64, usize); 5],
}

/// A room of `straps`, whose people tap `touches` times each.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub straps: usize,
    pub touches: usize,
    /// The tapper's own strap is not heard here at all.
    pub elsewhere: bool,
}

/// The table that the documents quote.
pub fn table(tappings: usize, seed: u64) -> String {
    let mut out = String::from(
        "Tapping along: what the hub proposes\n\n\
         | taps | straps | own strap | right | wrong | none | wrong of proposals |\n\
         |---|---|---|---|---|---|---|\n",
    );
    let mut bins = Counts::default();
    for touches in [8, 12, 20] {
        for (straps, elsewhere) in [(2, false), (8, false), (24, false), (24, true)] {
            let plan = Plan {
                straps,
                touches,
                elsewhere,
            };
            let counts = counted(plan, tappings, seed);
            let share = |n: usize, of: usize| 100.0 * n as f64 / of.max(1) as f64;
            let all = counts.tappings;
            let _ = writeln!(
                out,
                "| {touches} | {straps} | {} | {:.1} % | {:.2} % | {:.1} % | {:.2} % |",
                if elsewhere { "absent" } else { "there" },
                share(counts.right, all),
                share(counts.wrong, all),
                share(all - counts.right - counts.wrong, all),
                share(counts.wrong, counts.right + counts.wrong),
            );
            if touches == 12 && !elsewhere {
                for (sum, bin) in bins.bins.iter_mut().zip(counts.bins) {
                    *sum = (sum.0 + bin.0, sum.1 + bin.1, sum.2 + bin.2);
                }
            }
        }
    }
    out.push_str("\nHow certain the hub was of the best strap (12 taps), and how often it was right\n\n| said | was | of |\n|---|---|---|\n");
    for (n, said, right) in bins.bins.into_iter().filter(|bin| bin.0 > 0) {
        let n_f = n as f64;
        let _ = writeln!(
            out,
            "| {:.3} | {:.3} | {n} |",
            said / n_f,
            right as f64 / n_f
        );
    }
    out
}

/// Lets the people of one room after the other tap, until there are enough tappings.
pub fn counted(plan: Plan, tappings: usize, seed: u64) -> Counts {
    let mut counts = Counts::default();
    let mut room = 0;
    while counts.tappings < tappings {
        let of_room = seed * 1_000_003 + room;
        one_room(plan, of_room, tappings, &mut counts);
        room += 1;
    }
    counts
}

fn one_room(plan: Plan, seed: u64, enough: usize, counts: &mut Counts) {
    let events = events(plan.straps, seed);
    let own = beats(&events, seed);
    // Whose strap is elsewhere taps along with a heart of another room.
    let tapped = match plan.elsewhere {
        true => beats(&self::events(plan.straps, seed ^ 0x5555_0000), seed + 1),
        false => own,
    };
    let mut room = room();
    let people: Vec<ParticipantId> = (0..plan.straps)
        .map(|n| ParticipantId(Uuid::from_u128(n as u128 + 1)))
        .collect();
    let mut events = VecDeque::from(events);
    let mut now_ms = FIRST_MS;
    while now_ms < LONG_MS && counts.tappings < enough {
        while let Some(event) = events.pop_front_if(|event| at_ms(event) <= now_ms) {
            room.source_event("virtual", event);
        }
        room.tick(now_ms);
        room.take_rows(now_ms);
        if now_ms == FIRST_MS {
            for id in &people {
                room.apply(Command::Join(join(*id)), now_ms)
                    .expect("there is room for all");
            }
        }
        for (n, id) in people.iter().enumerate() {
            let Some(beats) = tapped.get(&(n as u32 + 1)) else {
                continue;
            };
            let mut random = Random::of(seed, n as u64, now_ms as u64);
            let Some(touches) = touches(beats, now_ms, plan.touches, &mut random) else {
                continue;
            };
            let sign = HeartSign::Tapped {
                at_ms: touches.iter().map(|at| at + BEGIN_MS as f64).collect(),
            };
            let command = Command::FindHeart {
                participant: *id,
                sign,
            };
            let outcome = room.apply(command, now_ms).expect("is compared");
            let Reply::HeartFound(found) = outcome.reply else {
                panic!("an answer to another question");
            };
            let label = (!plan.elsewhere).then(|| format!("strap {}", n + 1));
            counts.note(&found, label.as_deref());
        }
        now_ms += EVERY_MS;
    }
}

impl Counts {
    fn note(&mut self, found: &HeartFoundView, own: Option<&str>) {
        self.tappings += 1;
        match found.proposal.as_deref() {
            None => {}
            proposal if proposal == own => self.right += 1,
            Some(_) => self.wrong += 1,
        }
        if let Some(best) = found.candidates.first() {
            let edges = [0.5, 0.8, 0.95, 0.98];
            let bin = edges.iter().filter(|edge| best.certainty >= **edge).count();
            let bin = &mut self.bins[bin];
            *bin = (
                bin.0 + 1,
                bin.1 + best.certainty,
                bin.2 + usize::from(own == Some(&best.label)),
            );
        }
    }
}

/// Touches for the last beats before `now_ms`, by a hand of its own; none where the heart was not heard
/// all the while.
fn touches(beats: &[f64], now_ms: i64, n: usize, random: &mut Random) -> Option<Vec<f64>> {
    let delay_ms = random.between(80.0, 350.0);
    let white_ms = random.between(20.0, 50.0);
    let slow_ms = random.between(10.0, 35.0);
    let lean_ms = random.between(-3.0, 3.0);
    let mut slow = slow_ms * random.normal_pair().0;
    let last = beats.partition_point(|at| at + delay_ms < now_ms as f64);
    let made_for = &beats[last.checked_sub(n + 1)?..last];
    if made_for.windows(2).any(|pair| pair[1] - pair[0] > 1_900.0)
        || now_ms as f64 - made_for[n] > 2_500.0
    {
        return None;
    }
    let missed = random.chance(0.15).then(|| 1 + random.below(n - 2));
    let doubled = random.chance(0.07).then(|| 1 + random.below(n - 2));
    let mut touches = Vec::new();
    for (k, at) in made_for.iter().enumerate() {
        let (white, other) = random.normal_pair();
        slow = 0.8 * slow + 0.6 * slow_ms * other;
        if missed == Some(k) {
            continue;
        }
        let touch = at + delay_ms + white_ms * white + slow + lean_ms * k as f64;
        touches.push(touch.min(now_ms as f64));
        if doubled == Some(k) {
            touches.push(touch + random.between(120.0, 300.0));
        }
    }
    touches.retain(|at| *at <= now_ms as f64);
    touches.sort_by(f64::total_cmp);
    touches.dedup();
    let spare = touches.len().checked_sub(n)?;
    Some(touches.split_off(spare))
}

/// When each strap's heart beat, ms: as the room places it, less the unknown time by which that is late.
fn beats(events: &[SourceEvent], seed: u64) -> BTreeMap<u32, Vec<f64>> {
    let mut room = room();
    for event in events {
        room.source_event("virtual", event.clone());
        room.tick(at_ms(event));
    }
    room.tick(LONG_MS + 10_000);
    let mut beats: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for row in room.take_rows(LONG_MS + 10_000) {
        if let Row::Rr(row) = row
            && row.mark.on_tachogram()
            && let HeartKey::Strap(no) = row.heart
        {
            beats.entry(no.0).or_default().push(row.beat_mono_ms);
        }
    }
    for (no, beats) in &mut beats {
        let late_ms = Random::of(seed, 77, u64::from(*no)).between(0.0, 900.0);
        beats.iter_mut().for_each(|at| *at -= late_ms);
    }
    beats
}

/// All that the virtual room says; the sessions of both rooms begin at 0. Its straps in order, so that
/// `virtual:7` is strap 7.
fn events(straps: usize, seed: u64) -> Vec<SourceEvent> {
    let clock = SourceClock::new(|| LONG_MS, |_| Box::pin(std::future::pending()));
    let script = VirtualRoom::new(straps, seed);
    let mut source = Scripted::new("virtual", script, 0, clock, "A room.");
    let mut events: Vec<SourceEvent> = (1..=straps)
        .map(|n| {
            SourceEvent::Strap(coherence_hal::StrapEvent {
                strap: coherence_hal::StrapId::new("virtual", &n.to_string()),
                at_ms: 0,
                news: coherence_hal::StrapNews::Battery(80),
            })
        })
        .collect();
    events.extend(source.past_events(LONG_MS));
    events
}

fn at_ms(event: &SourceEvent) -> i64 {
    match event {
        SourceEvent::Strap(event) => event.at_ms,
        _ => 0,
    }
}

fn room() -> Room {
    let settings = Settings {
        plan: SessionPlan::default(),
        suppression: Suppression {
            min_group: 3,
            min_distribution: 5,
        },
        max_participants: 1_000,
        keep_ms: i64::MAX,
        stage: StageRules::default(),
    };
    let reading = ClockReading {
        mono_ms: 0,
        wall_ms: BEGIN_MS,
        known: true,
    };
    let past = Remembered {
        next_rr_id: 1,
        next_claim_no: 1,
        ..Remembered::default()
    };
    Room::new(settings, "0fe1", reading, past)
}

fn join(participant: ParticipantId) -> Join {
    Join {
        participant,
        resumed: false,
        session_id: None,
        name: None,
        intention: None,
        strap: None,
        consent: None,
        role: None,
        socket: None,
        facilitator: false,
        peer: IpAddr::from([10, 0, 0, 1]),
    }
}
