//! Erasing and forgetting: what is gone, and what must not come after.

use std::path::Path;

use super::*;

fn erase(n: u8, mono_ms: i64) -> Row {
    Row::Erase {
        participant: person(n),
        at: samples::at(mono_ms),
    }
}

/// All bytes of the database and its log.
fn bytes_of(path: &Path) -> Vec<u8> {
    let wal = path.with_extension("db-wal");
    [
        std::fs::read(path).unwrap(),
        std::fs::read(wal).unwrap_or_default(),
    ]
    .concat()
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

#[test]
fn an_erased_person_leaves_no_trace_in_any_table_or_byte() {
    let bench = Bench::with_people();
    bench.store.commit(vec![
        samples::rr(1, 1, 900), // before the claim: nobody's
        samples::rr(2, 1, 1_000),
        samples::rr(3, 2, 1_000),
        samples::rr_of(4, HeartKey::Phone(person(1)), 1_100),
        samples::rr_of(5, HeartKey::Phone(person(2)), 1_100),
        samples::score(SESSION, 1, Some(person(1)), 5_000),
        samples::score(SESSION, 1, None, 5_000),
        samples::score(SESSION, 2, Some(person(2)), 5_000),
        samples::group(SESSION, 5_000, Some(50.0)),
        samples::participant(3, "Cem"),
        samples::pair(SESSION, 1, 2, 60_000),
        samples::pair(SESSION, 2, 3, 60_000),
        samples::pair(SESSION, 3, 1, 60_000),
    ]);
    bench
        .durably(vec![samples::consent(1, "research", true)])
        .unwrap();
    let id = person(1).to_string();
    assert!(
        contains(&bytes_of(&bench.path()), "Wilhelmina"),
        "the search finds what is there"
    );

    bench.durably(vec![erase(1, 9_000)]).unwrap();
    for (table, left) in [
        ("participant", 2),
        ("participation", 1),
        ("claim", 1),
        ("consent", 0),
        ("pair", 1),
        ("rr", 3),
        ("score", 1),
        ("group_score", 1),
        ("erasure", 1),
    ] {
        assert_eq!(bench.count(table), left, "{table}");
    }
    let bytes = bytes_of(&bench.path());
    for trace in ["Wilhelmina", "Quist", &id] {
        assert!(!contains(&bytes, trace), "{trace}");
    }
    bench.durably(vec![erase(1, 9_500)]).unwrap();
    assert_eq!(
        bench.count("erasure"),
        1,
        "the second time there is nothing to do"
    );
    let path = bench.path();
    let _dir = bench.close();
    let (_store, memory) = open(&path, boot("a", 10_000)).unwrap();
    assert_eq!(memory.past.participants.len(), 2);
    assert_eq!(memory.past.next_claim_no, 3);
    assert_eq!(memory.past.next_rr_id, 6);
}

#[test]
fn what_is_still_on_its_way_when_somebody_is_erased_is_not_written_after_them() {
    let bench = Bench::with_people();
    bench.pragma("PRAGMA query_only = 1");
    bench
        .store
        .commit(vec![samples::rr(1, 1, 2_000), samples::rr(2, 2, 2_000)]);
    bench
        .store
        .commit(vec![samples::score(SESSION, 1, Some(person(1)), 5_000)]);
    let refused = bench.durably(vec![erase(1, 6_000)]);
    assert!(refused.is_err());
    assert_eq!(
        bench.health().waiting_rows,
        3,
        "an erasure that failed purges nothing"
    );

    // The rows of the backlog fail once more, the erasure does not: as on a disk with a little room.
    bench.on_connection(|conn| {
        conn.execute_batch(
            "PRAGMA query_only = 0;
             CREATE TEMP TRIGGER full BEFORE INSERT ON main.rr BEGIN SELECT json('not json'); END",
        )
        .unwrap();
    });
    bench.durably(vec![erase(1, 6_000)]).unwrap();
    assert_eq!(
        bench.store.health().waiting_rows,
        1,
        "only the other's beat still waits"
    );
    bench.pragma("DROP TRIGGER temp.full");
    // The room held these until the grid point.
    bench.store.commit(vec![
        samples::rr(3, 1, 5_900),
        samples::rr(4, 1, 6_100),
        samples::rr(5, 2, 5_900),
        samples::pair(SESSION, 2, 1, 5_900),
    ]);
    let kept: Vec<i64> = bench.on_connection(|conn| {
        read::collect(conn, "SELECT rr_id FROM rr", &[], |row| row.get(0)).unwrap()
    });
    assert_eq!(
        kept,
        [2, 4, 5],
        "the strap's beats after the erasure are nobody's"
    );
    assert_eq!((bench.count("score"), bench.count("pair")), (0, 0));
    let late = bench.durably(vec![samples::participant(1, "Wilhelmina Quist")]);
    assert!(matches!(late, Err(StoreError::Refused(_))), "{late:?}");
}

#[test]
fn forgetting_takes_old_hearts_and_absent_people_and_leaves_the_group() {
    let bench = Bench::with_people();
    bench.store.commit(vec![
        samples::rr(1, 1, 2_000),
        samples::rr(2, 2, 800_000),
        samples::rr(3, 2, 1_000_000),
        samples::score(SESSION, 1, Some(person(1)), 5_000),
        samples::pair(SESSION, 1, 2, 60_000),
        samples::pair(SESSION, 1, 2, 900_000),
        samples::group(SESSION, 5_000, Some(50.0)),
        Row::Session(samples::session("20261120T1000Z", 900_000)),
        samples::participation("20261120T1000Z", 2, 900_000),
    ]);
    bench
        .runtime
        .block_on(bench.store.forget_old(
            samples::at(850_000),
            samples::at(850_000 + 86_400_000),
            true,
        ))
        .unwrap();
    for (table, left) in [
        ("rr", 1),
        ("score", 0),
        ("pair", 1),
        ("participant", 1),
        ("participation", 1),
        ("claim", 1),
        ("session", 2),
        ("group_score", 1),
    ] {
        assert_eq!(bench.count(table), left, "{table}");
    }
    assert!(!contains(&bytes_of(&bench.path()), "Wilhelmina"));
    let path = bench.path();
    let _dir = bench.close();
    let (_store, memory) = open(&path, boot("a", 1_000_000)).unwrap();
    assert_eq!(memory.past.next_rr_id, 4);
}

#[test]
fn forgetting_goes_on_beyond_one_step() {
    let bench = Bench::with_people();
    bench
        .store
        .commit((1..=25_000).map(|id| samples::rr(id, 1, id)).collect());
    bench
        .runtime
        .block_on(bench.store.forget_old(
            samples::at(24_001),
            samples::at(24_001 + 86_400_000),
            true,
        ))
        .unwrap();
    assert_eq!(bench.count("rr"), 1_000);
}
