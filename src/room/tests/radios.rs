//! One person, two radios: told by the intervals, counted once, carried by one radio at a time.

use coherence_hal::{BeatItem, Beats, Link, Origin, SourceEvent, StrapEvent, StrapNews, Wish};

use super::super::rows::{RrRow, TwinsRow};
use super::*;

/// A heart that both radios of one strap hear.
struct Dual {
    chance: u64,
    beat_ms: f64,
    held: Vec<u16>,
}

fn ant() -> StrapId {
    StrapId::new("ant", "70001")
}

fn ble() -> StrapId {
    StrapId::new("ble", "D0:5F:B8:00:00:01")
}

fn say(room: &mut Room, strap: StrapId, at_ms: i64, news: StrapNews) {
    let name = if strap.transport() == "ant" {
        "ant"
    } else {
        "ble"
    };
    let event = StrapEvent { strap, at_ms, news };
    room.source_event(name, SourceEvent::Strap(event));
}

fn measurement(ticks: &[u16]) -> StrapNews {
    StrapNews::Measurement(Measurement {
        hr_bpm: 68,
        contact: None,
        energy_kj: None,
        rr_flag: true,
        rr: ticks.iter().map(|ticks| Rr::Ticks(*ticks)).collect(),
        reserved_flags: 0,
        trailing_bytes: 0,
    })
}

fn beats(ticks: u16) -> StrapNews {
    StrapNews::Beats(Beats {
        items: vec![BeatItem::Rr(Rr::Ticks(ticks))],
        origin: Origin::Electrical,
        counted: true,
    })
}

impl Dual {
    fn new(seed: u64) -> Self {
        Dual {
            chance: seed,
            beat_ms: 0.0,
            held: Vec::new(),
        }
    }

    fn next(&mut self) -> u16 {
        self.chance = self
            .chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let unit = (self.chance >> 40) as f64 / f64::from(1 << 24);
        let swing = 40.0 * (self.beat_ms * 0.000_628).sin();
        (880.0 + swing + 60.0 * (unit - 0.5)) as u16
    }

    /// Lets time pass: ANT+ brings each beat soon, BLE those of each second together.
    fn until(&mut self, rig: &mut Rig, end_ms: i64, ant_on: bool, ble_on: bool) {
        while rig.now_ms < end_ms {
            let second = rig.now_ms + 1_000;
            loop {
                let mut ahead = Dual {
                    held: Vec::new(),
                    ..*self
                };
                let ticks = ahead.next();
                let at_ms = self.beat_ms + f64::from(ticks) * 1_000.0 / 1_024.0;
                if at_ms + 120.0 > second as f64 {
                    break;
                }
                self.chance = ahead.chance;
                self.beat_ms = at_ms;
                if ant_on {
                    say(&mut rig.room, ant(), at_ms as i64 + 120, beats(ticks));
                }
                self.held.push(ticks);
            }
            let held = std::mem::take(&mut self.held);
            if ble_on {
                say(&mut rig.room, ble(), second, measurement(&held));
            }
            rig.until(second);
        }
    }
}

fn rr(rig: &Rig) -> Vec<&RrRow> {
    let rows = rig.rows.iter();
    rows.filter_map(|row| match row {
        Row::Rr(row) => Some(row),
        _ => None,
    })
    .collect()
}

fn labels(rig: &Rig) -> Vec<(String, Vec<String>)> {
    let views = rig.room.strap_views(rig.now_ms).into_iter();
    views.map(|view| (view.label, view.radios)).collect()
}

#[test]
fn one_strap_over_two_radios_is_one_heart_within_a_minute_and_ant_carries_it() {
    let mut rig = Rig::new(0);
    let mut dual = Dual::new(1);
    dual.until(&mut rig, 6_000, true, true);
    assert_eq!(labels(&rig).len(), 2, "not told yet");
    dual.until(&mut rig, 60_000, true, true);
    let radios = vec!["ant".to_owned(), "ble".to_owned()];
    assert_eq!(labels(&rig), [("strap 1".to_owned(), radios)]);
    assert!(rig.room.take_wishes().contains(&Wish::Release(ble())));
    dual.until(&mut rig, 150_000, true, false);
    let group = rig.room.exact_group().expect("a grid point");
    assert_eq!((group.scored, group.hearts), (1, 1), "counted once");
    let found = rig.rows.iter().any(|row| {
        matches!(row, Row::Twins(TwinsRow { low, high, one: true, .. }) if (low.0, high.0) == (1, 2))
    });
    assert!(found, "it is remembered");
}

#[test]
fn a_claim_on_either_label_is_a_claim_on_the_one() {
    let mut rig = Rig::new(0);
    let mut dual = Dual::new(2);
    dual.until(&mut rig, 40_000, true, true);
    rig.join(1, Some("strap 2"))
        .expect("joins by the other label");
    assert_eq!(rig.feedback(1).strap.as_deref(), Some("strap 1"));
    assert_eq!(
        refused(rig.join(2, Some("strap 1"))),
        RefusalCode::StrapTaken
    );
    assert_eq!(
        refused(rig.join(2, Some("strap 2"))),
        RefusalCode::StrapTaken
    );
}

#[test]
fn who_wears_one_of_the_two_keeps_the_label_and_the_beats_go_on_without_a_doubled_one() {
    let mut rig = Rig::new(0);
    let mut dual = Dual::new(3);
    // BLE first: strap 1. Somebody wears it; ANT+ comes later as strap 2.
    dual.until(&mut rig, 20_000, false, true);
    rig.join(1, Some("1")).expect("joins");
    dual.until(&mut rig, 90_000, true, true);
    assert_eq!(labels(&rig)[0].0, "strap 1");
    let own: Vec<&RrRow> = rr(&rig)
        .into_iter()
        .filter(|row| row.heart == HeartKey::Strap(StrapNo(1)))
        .collect();
    let taken_over = own.iter().position(|row| row.via == Some(StrapNo(2)));
    let taken_over = taken_over.expect("ANT+ carries it in the end");
    assert!(
        own[taken_over..]
            .iter()
            .all(|row| row.via == Some(StrapNo(2)))
    );
    assert!(own[..taken_over].iter().all(|row| row.via.is_none()));
    let breaks = own.iter().skip(1).filter(|row| row.gap_ms > 0.0).count();
    assert_eq!(breaks, 0, "it goes on where the other stopped");
    // The same number of beats as time says: none twice, none lost.
    let heard: f64 = own.iter().map(|row| row.rr_ms).sum();
    let last = own.last().expect("beats").beat_mono_ms;
    let first = own[0].beat_mono_ms - own[0].rr_ms;
    assert!((heard - (last - first)).abs() < 2.0);
    assert!(
        (last - dual.beat_ms).abs() < 1_100.0,
        "{last} {}",
        dual.beat_ms
    );
}

#[test]
fn when_ant_falls_silent_ble_is_taken_up_and_there_is_one_break() {
    let mut rig = Rig::new(0);
    let mut dual = Dual::new(4);
    dual.until(&mut rig, 60_000, true, true);
    dual.until(&mut rig, 80_000, true, false);
    rig.room.take_wishes();
    dual.until(&mut rig, 88_000, false, false);
    assert!(rig.room.take_wishes().contains(&Wish::TakeUp(ble())));
    let before = rr(&rig).len();
    dual.until(&mut rig, 120_000, false, true);
    let after: Vec<&RrRow> = rr(&rig)[before..].to_vec();
    assert!(after.len() > 25);
    let breaks: Vec<f64> = after
        .iter()
        .map(|row| row.gap_ms)
        .filter(|gap_ms| *gap_ms > 0.0)
        .collect();
    assert_eq!(breaks.len(), 1, "{breaks:?}");
    assert!((6_000.0..10_000.0).contains(&breaks[0]), "{breaks:?}");
    assert_eq!(after[0].via, Some(StrapNo(2)));
    // Back again: at once where both are heard, and BLE is let go.
    dual.until(&mut rig, 160_000, true, true);
    assert!(rig.room.take_wishes().contains(&Wish::Release(ble())));
    let newest = *rr(&rig).last().expect("beats");
    assert_eq!(newest.via, None, "strap 1 is the one heard over ANT+");
    let last = newest.beat_mono_ms;
    assert!(
        (last - dual.beat_ms).abs() < 1_300.0,
        "{last} {}",
        dual.beat_ms
    );
}

#[test]
fn where_both_are_heard_all_along_ble_fills_in_what_ant_no_longer_brings() {
    let mut rig = Rig::new(0);
    let mut dual = Dual::new(5);
    dual.until(&mut rig, 60_000, true, true);
    dual.until(&mut rig, 90_000, false, true);
    let rows = rr(&rig);
    let own: Vec<&&RrRow> = rows
        .iter()
        .filter(|row| row.heart == HeartKey::Strap(StrapNo(1)))
        .collect();
    let breaks: Vec<f64> = own
        .iter()
        .skip(1)
        .map(|row| row.gap_ms)
        .filter(|gap_ms| *gap_ms > 0.0)
        .collect();
    assert_eq!(breaks, Vec::<f64>::new(), "nothing is lost");
    let heard: f64 = own.iter().skip(1).map(|row| row.rr_ms).sum();
    assert!((heard - (own[own.len() - 1].beat_mono_ms - own[0].beat_mono_ms)).abs() < 2.0);
}

#[test]
fn a_link_that_is_let_go_is_no_break_of_the_heart() {
    let mut rig = Rig::new(0);
    let mut dual = Dual::new(6);
    dual.until(&mut rig, 60_000, true, true);
    let before = rr(&rig).len();
    let down = Link::Down {
        why: "let go".into(),
    };
    say(&mut rig.room, ble(), 60_000, StrapNews::Link(down));
    dual.until(&mut rig, 80_000, true, false);
    assert!(rr(&rig)[before..].iter().all(|row| row.gap_ms == 0.0));
    let view = &rig.room.strap_views(rig.now_ms)[0];
    assert_eq!(
        (view.state, view.transport.as_str()),
        (StrapState::Streaming, "ant")
    );
}

#[test]
fn after_a_restart_they_are_one_at_once() {
    let mut rig = Rig::new(0);
    let mut dual = Dual::new(7);
    dual.until(&mut rig, 60_000, true, true);
    let past = rig.remembered();
    let mut rig = Rig::at(0, 60_000, past);
    dual.until(&mut rig, 64_000, true, true);
    assert_eq!(labels(&rig).len(), 1);
}

#[test]
fn what_the_facilitator_says_holds_until_they_say_otherwise() {
    let mut rig = Rig::new(0);
    let mut dual = Dual::new(8);
    dual.until(&mut rig, 60_000, true, true);
    let strap = || "strap 1".to_owned();
    rig.apply(Command::PartStrap { strap: strap() })
        .expect("they are two");
    dual.until(&mut rig, 120_000, true, true);
    assert_eq!(labels(&rig).len(), 2, "not found anew");
    let past = rig.remembered();
    let other = "strap 2".to_owned();
    rig.apply(Command::UniteStraps {
        strap: strap(),
        other,
    })
    .expect("they are one");
    assert_eq!(labels(&rig).len(), 1);
    let mut rig = Rig::at(0, 120_000, past);
    dual.until(&mut rig, 180_000, true, true);
    assert_eq!(labels(&rig).len(), 2, "nor after a restart");
    let strap = "strap 1".to_owned();
    let refusal = rig
        .apply(Command::PartStrap { strap })
        .expect_err("it has one radio");
    assert_eq!(refusal.code, RefusalCode::BadValue);
}

#[test]
fn two_people_who_wear_the_two_labels_are_not_made_one() {
    let mut rig = Rig::new(0);
    let mut dual = Dual::new(9);
    dual.until(&mut rig, 5_000, true, true);
    rig.join(1, Some("1")).expect("joins");
    rig.join(2, Some("2")).expect("joins");
    dual.until(&mut rig, 60_000, true, true);
    assert_eq!(labels(&rig).len(), 2);
    rig.apply(Command::ReleaseStrap {
        participant: person(1),
    })
    .expect("takes it off");
    dual.until(&mut rig, 65_000, true, true);
    assert_eq!(labels(&rig).len(), 1);
    assert_eq!(rig.feedback(2).strap.as_deref(), Some("strap 2"));
}

#[test]
fn a_pair_that_turns_out_to_be_two_people_is_undone() {
    let mut rig = Rig::new(0);
    let mut dual = Dual::new(10);
    dual.until(&mut rig, 60_000, true, true);
    assert_eq!(labels(&rig).len(), 1);
    // The registry was wrong: from now on each radio brings a heart of its own.
    let mut other = Dual::new(77);
    other.beat_ms = dual.beat_ms;
    while rig.now_ms < 120_000 {
        let end = rig.now_ms + 1_000;
        let ticks = other.next();
        say(&mut rig.room, ble(), rig.now_ms, measurement(&[ticks]));
        dual.until(&mut rig, end, true, false);
    }
    assert_eq!(labels(&rig).len(), 2);
    let parted = rig
        .rows
        .iter()
        .any(|row| matches!(row, Row::Twins(row) if !row.one));
    assert!(parted, "it is remembered");
}

#[test]
fn a_strap_that_is_forgotten_is_forgotten_over_both_radios_and_comes_back_as_a_stranger() {
    let mut rig = Rig::new(0);
    let mut dual = Dual::new(4);
    dual.until(&mut rig, 60_000, true, true);
    assert_eq!(labels(&rig).len(), 1);
    rig.room.take_wishes();
    let outcome = rig.apply(Command::ForgetStrap {
        strap: "strap 1".to_owned(),
    });
    let forgotten = outcome.expect("it is known").durable;
    assert_eq!(forgotten.len(), 2);
    let wishes = rig.room.take_wishes();
    for id in [ant(), ble()] {
        assert!(wishes.contains(&Wish::Forget(id)), "{wishes:?}");
    }
    assert!(labels(&rig).is_empty());
    // Still on: two strangers, told anew for what they are by their intervals.
    dual.until(&mut rig, 66_000, true, true);
    assert_eq!(labels(&rig).len(), 2);
    dual.until(&mut rig, 130_000, true, true);
    assert_eq!(labels(&rig).len(), 1);
    assert!(
        labels(&rig)[0].0 != "strap 1",
        "a number that rows name rests"
    );
}

#[test]
fn when_one_radios_entry_is_dropped_the_other_stands_alone() {
    let mut rig = Rig::new(0);
    let mut dual = Dual::new(5);
    dual.until(&mut rig, 60_000, true, true);
    rig.room.forget_radio(StrapNo(1));
    let alone: Vec<_> = labels(&rig).into_iter().map(|(_, radios)| radios).collect();
    assert_eq!(alone, [vec!["ant".to_owned()], vec!["ble".to_owned()]]);
}
