//! The registry of straps on disk: what is kept of a strap, and what is left of one that was forgotten.

use coherence_hal::{About, Origin};

use super::*;
use crate::room::rows::{Battery, StrapRow, TwinsRow};

fn forget(no: u32, rests: bool, mono_ms: i64) -> Row {
    Row::ForgetStrap {
        strap: StrapNo(no),
        rests,
        at: samples::at(mono_ms),
    }
}

fn known_again(bench: Bench, mono_ms: i64) -> crate::room::Remembered {
    let path = bench.path();
    let _dir = bench.close();
    let (_store, memory) = open(&path, boot("a", mono_ms)).unwrap();
    memory.past
}

fn forget_old(bench: &Bench, before_ms: i64) {
    let forgetting = bench.store.forget_old(
        samples::at(before_ms),
        samples::at(before_ms + 86_400_000),
        true,
    );
    bench.runtime.block_on(forgetting).unwrap();
}

#[test]
fn a_strap_comes_back_as_it_was_written_and_keeps_its_first_day() {
    let bench = Bench::new();
    let first = StrapRow::new(StrapNo(3), "ble:AA", samples::at(500));
    let whole = StrapRow {
        label: "mine".to_owned(),
        name: Some("Polar H10 1A2B3C4D".to_owned()),
        about: About {
            manufacturer: Some("Polar".to_owned()),
            model: Some("H10".to_owned()),
            serial: Some("1A2B".to_owned()),
            firmware: Some("5.0".to_owned()),
            location: Some("ear_lobe"),
        },
        origin: Some(Origin::Pulse),
        battery: Some(Battery {
            pct: 41,
            at: samples::at(800),
        }),
        first_seen: samples::at(700),
        last_seen: samples::at(900),
        used: true,
        ..first.clone()
    };
    bench.store.commit(vec![Row::Strap(first.clone())]);
    bench.store.commit(vec![Row::Strap(whole.clone())]);
    let expected = StrapRow {
        first_seen: first.first_seen,
        ..whole
    };
    assert_eq!(known_again(bench, 1_000).straps, [expected]);
}

#[test]
fn of_a_forgotten_strap_no_byte_is_left_but_its_number_and_its_beats() {
    let bench = Bench::with_people();
    bench.store.commit(vec![samples::rr(1, 1, 2_000)]);
    bench.durably(vec![forget(1, true, 3_000)]).unwrap();
    let file = [
        std::fs::read(bench.path()).unwrap(),
        std::fs::read(bench.path().with_extension("db-wal")).unwrap_or_default(),
    ]
    .concat();
    let address = b"AA:BB:CC:00:00:01";
    assert!(!file.windows(address.len()).any(|bytes| bytes == address));
    assert_eq!(bench.count("rr"), 1);
    let data = bench
        .runtime
        .block_on(bench.store.participant_data(person(1), true))
        .unwrap()
        .expect("she is known");
    assert_eq!(data.claims[0].until, Some(samples::at(3_000)));
    assert_eq!(data.rr.len(), 1, "what she delivered is hers");
    assert_eq!(data.straps, [(StrapNo(1), "strap 1".to_owned())]);
    let past = known_again(bench, 4_000);
    assert_eq!(past.resting.into_iter().collect::<Vec<_>>(), [StrapNo(1)]);
    assert_eq!(past.straps.len(), 1);
}

#[test]
fn a_number_that_nothing_names_is_the_next_strangers_from_the_first_day_on() {
    let bench = Bench::new();
    bench.store.commit(vec![samples::strap(1)]);
    bench.store.commit(vec![forget(1, false, 3_000)]);
    let other = StrapRow::new(StrapNo(1), "ble:OTHER", samples::at(5_000));
    bench.store.commit(vec![Row::Strap(other.clone())]);
    let past = known_again(bench, 6_000);
    assert!(past.resting.is_empty());
    assert_eq!(past.straps, [other]);
}

#[test]
fn straps_that_were_not_heard_are_forgotten_with_their_rows_unless_they_are_labelled_or_worn() {
    let bench = Bench::with_people();
    let strap = |no: u32, label: &str, seen_ms: i64| {
        let row = StrapRow::new(StrapNo(no), format!("ble:{no}"), samples::at(0));
        Row::Strap(StrapRow {
            label: label.to_owned(),
            last_seen: samples::at(seen_ms),
            used: true,
            ..row
        })
    };
    bench.store.commit(vec![
        strap(3, "strap 3", 5_000),
        strap(4, "Anna's belt", 5_000),
        strap(5, "strap 5", 900_000),
        samples::rr(1, 3, 4_000),
        samples::rr(2, 5, 900_000),
        samples::participation(SESSION, 1, 860_000),
        samples::participation(SESSION, 2, 860_000),
    ]);
    bench.durably(vec![forget(5, true, 901_000)]).unwrap();
    forget_old(&bench, 850_000);
    assert_eq!(bench.count("rr"), 1);
    let resting = bench.on_connection(|conn| registry::resting_straps(conn).unwrap());
    assert_eq!(resting.into_iter().collect::<Vec<_>>(), [StrapNo(5)]);
    let known = bench.on_connection(|conn| registry::straps(conn).unwrap());
    let known: Vec<_> = known.iter().map(|strap| strap.no.0).collect();
    assert_eq!(known, [1, 2, 4], "two are worn, one is labelled");
    forget_old(&bench, 950_000);
    assert!(known_again(bench, 951_000).resting.is_empty());
}

/// That they are one strap.
fn twins(low: u32, high: u32, mono_ms: i64) -> Row {
    Row::Twins(TwinsRow {
        low: StrapNo(low),
        high: StrapNo(high),
        one: true,
        at: samples::at(mono_ms),
    })
}

#[test]
fn that_two_were_one_is_forgotten_with_either() {
    let bench = Bench::with_people();
    bench.durably(vec![twins(1, 2, 1_000)]).unwrap();
    assert_eq!(bench.count("twins"), 1);
    bench.durably(vec![forget(2, true, 2_000)]).unwrap();
    assert_eq!(bench.count("twins"), 0);
}

#[test]
fn an_erasure_takes_what_came_over_the_other_radio_too_unless_somebody_else_wore_that() {
    for (other_is_worn, left) in [(false, 1), (true, 2)] {
        let bench = Bench::new();
        bench.store.commit(vec![
            samples::strap(1),
            samples::strap(2),
            samples::participant(1, "Ada"),
            samples::participant(2, "Bo"),
            samples::claim(1, samples::person(1), 1, 1_000, None),
            twins(1, 2, 3_000),
            samples::rr(1, 1, 2_000),
            samples::rr(2, 2, 2_000),
            samples::rr(3, 2, 900), // before she wore it
        ]);
        if other_is_worn {
            bench.store.commit(vec![samples::claim(
                2,
                samples::person(2),
                2,
                1_500,
                Some(2_500),
            )]);
        }
        bench
            .durably(vec![Row::Erase {
                participant: samples::person(1),
                at: samples::at(9_000),
            }])
            .unwrap();
        assert_eq!(
            bench.count("rr"),
            left,
            "the other one worn: {other_is_worn}"
        );
    }
}
