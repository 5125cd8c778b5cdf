//! How much hearts move together, where saying it would tell of nobody who did not consent.

use super::*;
use crate::record::GroupRecord;

/// The same point, in which only so many hearts could be compared.
fn compared(row: Row, hearts: u32) -> Row {
    match row {
        Row::Group(row) => Row::Group(GroupRow {
            synchrony: row.synchrony.map(|synchrony| SynchronyRow {
                hearts,
                ..synchrony
            }),
            ..row
        }),
        row => row,
    }
}

/// Synchrony and chance of the minute that was queued last.
fn told(bench: &Bench) -> Vec<Option<(f64, f64)>> {
    let Some(Record::Group(GroupRecord { series, .. })) = bench.of_stream(Stream::Group).pop()
    else {
        panic!("no group: {:?}", bench.records())
    };
    assert_eq!(series.len(), 1);
    let figures = series[0].synchrony.iter().zip(&series[0].chance_high);
    figures
        .map(|(index, chance)| Some((index.as_ref()?.get(), chance.as_ref()?.get())))
        .collect()
}

#[test]
fn synchrony_leaves_with_its_chance_where_enough_hearts_were_compared() {
    let bench = Bench::with_people();
    bench.queue_all(0);
    bench.store.commit(vec![
        group_of(5_000, 2, 2),
        group_of(10_000, 4, 4),
        compared(group_of(15_000, 4, 4), 2),
        compared(group_of(20_000, 4, 4), 3),
    ]);
    bench.queue_all(100_000);
    let shown = Some((34.25, 17.5));
    assert_eq!(told(&bench), [None, shown, None, shown]);
}

#[test]
fn synchrony_stays_here_where_it_would_tell_of_those_who_did_not_consent() {
    let bench = Bench::with_people();
    bench.queue_all(0);
    bench
        .durably(vec![research(1, true, 500), research(2, true, 500)])
        .unwrap();
    let score = |n: u8, mono_ms| samples::score(SESSION, n.into(), Some(person(n)), mono_ms);
    bench.store.commit(vec![
        // Three others hide each other; two others don't.
        score(1, 5_000),
        group_of(5_000, 4, 4),
        score(1, 10_000),
        score(2, 10_000),
        group_of(10_000, 4, 4),
        // Of four three were compared: beside the one who is told there are two for certain.
        score(1, 15_000),
        compared(group_of(15_000, 4, 4), 3),
        compared(group_of(20_000, 4, 4), 3),
    ]);
    bench.queue_all(100_000);
    let shown = Some((34.25, 17.5));
    assert_eq!(told(&bench), [shown, None, None, shown]);
}
