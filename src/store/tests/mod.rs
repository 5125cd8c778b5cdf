//! The store from inside: what needs a hand on its connection. What a user of the store sees is in
//! `tests/store.rs`.

mod copies;
mod damage;
mod doors;
mod leaving;
mod straps;
mod upstream;

use std::path::PathBuf;
use std::sync::mpsc;

use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::samples::{self, person};
use super::*;
use crate::room::{HeartKey, StrapNo};

const SESSION: &str = "20261120T0945Z";

fn boot(id: &str, mono_ms: i64) -> Boot {
    Boot {
        boot_id: id.to_owned(),
        start: samples::at(mono_ms),
    }
}

/// A store in a directory of its own.
struct Bench {
    dir: TempDir,
    runtime: Runtime,
    store: Store,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = open(&dir.path().join("hub.db"), boot("a", 0)).unwrap();
        Bench {
            dir,
            runtime: Runtime::new().unwrap(),
            store,
        }
    }

    /// With a session, two straps and two people, the first of whom wears strap 1 from 1 s on.
    fn with_people() -> Bench {
        let bench = Bench::new();
        bench.store.commit(vec![
            Row::Session(samples::session(SESSION, 0)),
            samples::strap(1),
            samples::strap(2),
            samples::participant(1, "Wilhelmina Quist"),
            samples::participant(2, "Bo"),
            samples::participation(SESSION, 1, 500),
            samples::participation(SESSION, 2, 500),
            samples::claim(1, person(1), 1, 1_000, None),
            samples::claim(2, person(2), 2, 1_000, None),
        ]);
        bench
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("hub.db")
    }

    /// Runs something on the store's connection, after all that was handed in before.
    fn on_connection<T: Send + 'static>(
        &self,
        what: impl FnOnce(&Connection) -> T + Send + 'static,
    ) -> T {
        self.runtime
            .block_on(
                self.store
                    .send_ask("testing", move |keeper| Ok(what(&keeper.conn))),
            )
            .unwrap()
    }

    fn pragma(&self, sql: &'static str) {
        self.on_connection(move |conn| conn.execute_batch(sql).unwrap());
    }

    fn count(&self, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        self.on_connection(move |conn| conn.query_row(&sql, [], |row| row.get(0)).unwrap())
    }

    fn durably(&self, rows: Vec<Row>) -> Result<(), StoreError> {
        let (tell, told) = mpsc::channel();
        self.store
            .commit_then(rows, Box::new(move |result| tell.send(result).unwrap()));
        told.recv().unwrap()
    }

    /// What the store says of itself once it has worked off what came before.
    fn health(&self) -> StoreHealth {
        self.runtime.block_on(self.store.ping()).unwrap();
        self.store.health()
    }

    fn close(self) -> TempDir {
        self.runtime.block_on(self.store.close()).unwrap();
        self.dir
    }
}

#[test]
fn the_connection_is_set_up_as_the_card_wants_it() {
    let bench = Bench::new();
    let settings = bench.on_connection(|conn| {
        let get = |name: &str| {
            conn.query_row(&format!("PRAGMA {name}"), [], |row| {
                row.get::<_, rusqlite::types::Value>(0)
            })
            .ok()
        };
        [
            "journal_mode",
            "synchronous",
            "foreign_keys",
            "auto_vacuum",
            "secure_delete",
            "mmap_size",
        ]
        .map(get)
    });
    use rusqlite::types::Value::{Integer, Text};
    assert_eq!(
        settings,
        [
            Some(Text("wal".to_owned())),
            Some(Integer(1)), // NORMAL
            Some(Integer(1)),
            Some(Integer(2)), // INCREMENTAL
            Some(Integer(1)),
            Some(Integer(0)),
        ]
    );
    assert_eq!(bench.durably(vec![samples::strap(1)]).ok(), Some(()));
    let synchronous: i64 = bench.on_connection(|conn| {
        conn.pragma_query_value(None, "synchronous", |row| row.get(0))
            .unwrap()
    });
    assert_eq!(
        synchronous, 1,
        "after a durable commit the others are cheap again"
    );
}

#[test]
fn rows_that_the_disk_refuses_are_held_and_written_later_in_their_order() {
    let bench = Bench::with_people();
    bench.pragma("PRAGMA query_only = 1");
    bench
        .store
        .commit(vec![samples::rr(1, 1, 2_000), samples::rr(2, 1, 2_800)]);
    bench
        .store
        .commit(vec![samples::score(SESSION, 1, Some(person(1)), 5_000)]);
    let health = bench.health();
    assert!(health.failing);
    assert_eq!(
        (health.waiting_rows, health.dropped, health.failed),
        (3, 0, 2)
    );
    assert!(
        health
            .last_error
            .is_some_and(|text| text.contains("readonly")),
        "it says why"
    );

    bench.pragma("PRAGMA query_only = 0");
    bench.store.commit(vec![samples::rr(3, 1, 3_600)]);
    let health = bench.health();
    assert!(!health.failing);
    assert_eq!((health.waiting_rows, health.dropped), (0, 0));
    assert_eq!((bench.count("rr"), bench.count("score")), (3, 1));
}

#[test]
fn a_full_disk_loses_nothing_that_fits_into_memory() {
    let bench = Bench::with_people();
    let pages: i64 = bench.on_connection(|conn| {
        let pages: i64 = conn
            .pragma_query_value(None, "page_count", |row| row.get(0))
            .unwrap();
        conn.execute_batch(&format!("PRAGMA max_page_count = {pages}"))
            .unwrap();
        pages
    });
    for batch in 0..20 {
        bench.store.commit(
            (0..100)
                .map(|n| samples::rr(batch * 100 + n + 1, 1, 2_000))
                .collect(),
        );
    }
    let health = bench.health();
    assert!(health.failing);
    assert!(health.waiting_rows >= 1_500, "{health:?}");
    assert!(health.last_error.is_some_and(|text| text.contains("full")));
    let refused = bench.durably(vec![samples::participant(3, &"long ".repeat(4_000))]);
    assert!(
        matches!(refused, Err(StoreError::Sql { .. })),
        "{refused:?}"
    );

    bench.on_connection(move |conn| {
        conn.execute_batch(&format!("PRAGMA max_page_count = {}", pages * 10))
            .unwrap()
    });
    bench.store.commit(vec![samples::rr(3_000, 1, 9_000)]);
    let health = bench.runtime.block_on(async {
        loop {
            bench.store.ping().await.unwrap();
            let health = bench.store.health();
            if health.waiting_rows == 0 {
                return health;
            }
        }
    });
    assert!(!health.failing);
    assert_eq!(bench.count("rr"), 2_001);
    assert_eq!(
        bench.count("participant"),
        2,
        "what was answered with no is not written later"
    );
}

#[test]
fn a_row_that_fits_nowhere_does_not_hold_up_the_others() {
    let bench = Bench::with_people();
    let nobody = HeartKey::Phone(person(99));
    bench.store.commit(vec![
        samples::rr(1, 1, 2_000),
        samples::rr(2, 77, 2_000),
        samples::rr_of(3, nobody, 2_000),
    ]);
    bench.store.commit(vec![
        samples::rr(1, 1, 2_800),
        samples::score("no such session", 1, None, 5_000),
    ]);
    bench.store.commit(vec![samples::rr(4, 1, 3_600)]);
    let health = bench.health();
    assert!(!health.failing);
    assert_eq!((health.refused, health.waiting_rows), (4, 0));
    assert_eq!(bench.count("rr"), 2);
}

#[test]
fn a_durable_commit_is_all_or_nothing() {
    let bench = Bench::with_people();
    let result = bench.durably(vec![
        samples::consent(1, "research", true),
        samples::consent(99, "research", true),
    ]);
    assert!(matches!(result, Err(StoreError::Refused(_))), "{result:?}");
    assert_eq!(bench.count("consent"), 0);
    bench
        .durably(vec![samples::consent(1, "research", true)])
        .unwrap();
    assert_eq!(bench.count("consent"), 1);
}

#[test]
fn asks_beyond_the_inbox_are_refused_at_once_and_beats_beyond_it_wait() {
    let bench = Bench::with_people();
    let (go, gate) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    let (at_work, working) = mpsc::channel();
    bench.store.commit_then(
        vec![samples::strap(3)],
        Box::new(move |_| {
            at_work.send(()).unwrap();
            gate.recv().unwrap();
        }),
    );
    working.recv().unwrap(); // the thread stands still from here on
    for n in 0..=DURABLE_AT_ONCE {
        let tell = tell.clone();
        bench.store.commit_then(
            vec![samples::consent(1, "store", true)],
            Box::new(move |result| tell.send((n, result)).unwrap()),
        );
    }
    let (n, busy) = told.recv().unwrap();
    assert_eq!(n, DURABLE_AT_ONCE);
    assert!(matches!(busy, Err(StoreError::Busy)), "{busy:?}");
    let free = (INBOX - DURABLE_AT_ONCE) as i64;
    let beats = free + 1_000;
    for n in 1..=beats {
        bench.store.commit(vec![samples::rr(n, 1, 2_000)]);
    }
    let health = bench.store.health();
    assert_eq!((health.queue_len, health.dropped), (INBOX, 0));
    assert_eq!(health.waiting_rows, 1_000);
    let commits = health.commits;
    let (tell_late, told_late) = mpsc::channel();
    let late = Box::new(move |result| tell_late.send(result).unwrap());
    bench
        .store
        .commit_then(vec![samples::consent(1, "store", false)], late);
    let late = told_late.recv().unwrap();
    assert!(
        matches!(late, Err(StoreError::Busy)),
        "nothing may overtake what waits: {late:?}"
    );
    go.send(()).unwrap();
    let answers: Vec<_> = told.iter().take(DURABLE_AT_ONCE).collect();
    assert!(answers.iter().all(|(_, result)| result.is_ok()));
    bench.health();
    bench.store.commit(vec![samples::rr(beats + 1, 1, 2_000)]);
    assert_eq!(bench.count("rr"), beats + 1);
    let health = bench.store.health();
    assert_eq!((health.waiting_rows, health.dropped), (0, 0));
    // One for each that was in the inbox, and one for all that waited.
    assert_eq!(health.commits - commits, INBOX as u64 + 1);
}

#[test]
fn what_waits_for_the_inbox_is_bounded_and_what_is_lost_is_counted() {
    let bench = Bench::with_people();
    let (go, gate) = mpsc::channel::<()>();
    let (at_work, working) = mpsc::channel();
    bench.store.commit_then(
        vec![samples::strap(3)],
        Box::new(move |_| {
            at_work.send(()).unwrap();
            gate.recv().unwrap();
        }),
    );
    working.recv().unwrap(); // the thread stands still from here on
    for n in 1..=INBOX as i64 {
        bench.store.commit(vec![samples::rr(n, 1, 2_000)]);
    }
    let first = INBOX as i64 + 1;
    let many = (first..=first + WAITING_ROWS_MAX as i64 + 9).map(|n| samples::rr(n, 1, 2_000));
    bench.store.commit(many.collect());
    let health = bench.store.health();
    assert_eq!(
        (health.waiting_rows, health.dropped),
        (WAITING_ROWS_MAX as u64, 10)
    );
    go.send(()).unwrap();
    let Bench { store, runtime, .. } = bench;
    runtime.block_on(store.close()).unwrap();
}

#[test]
fn a_stretch_of_time_is_found_by_halving_wherever_it_lies() {
    let bench = Bench::with_people();
    // Ids with holes, as erasures leave them.
    bench
        .store
        .commit((1..=500).map(|n| samples::rr(n * 7, 1, n * 100)).collect());
    let found = bench.on_connection(|conn| {
        let find = |boot_no, mono_ms| {
            moment::first_at_or_after(
                conn,
                moment::Appended::Rr,
                moment::Moment { boot_no, mono_ms },
            )
            .unwrap()
        };
        [
            find(1, 0),
            find(1, 100),
            find(1, 101),
            find(1, 25_000),
            find(1, 50_000),
            find(1, 50_001),
            find(2, 0),
            find(0, 9),
        ]
        .map(|first| {
            conn.query_row(
                "SELECT min(rr_id) FROM rr WHERE rr_id >= ?1",
                [first],
                |row| row.get::<_, Option<i64>>(0),
            )
            .unwrap()
        })
    });
    assert_eq!(
        found,
        [
            Some(7),
            Some(7),
            Some(14),
            Some(1_750),
            Some(3_500),
            None,
            None,
            Some(7)
        ]
    );
}

#[test]
fn a_row_written_again_after_a_reboot_keeps_the_boot_of_its_old_stamps() {
    let bench = Bench::with_people();
    let path = bench.path();
    let _dir = bench.close();
    let (store, memory) = open(&path, boot("b", 50)).unwrap();
    assert_eq!(memory.past.claims.len(), 2);
    let mut claim = memory.past.claims[0].clone();
    claim.until = Some(samples::at(70));
    store.commit(vec![Row::Claim(claim)]);
    let boots = Runtime::new()
        .unwrap()
        .block_on(store.send_ask("testing", |keeper| {
            keeper.conn.query_row(
                "SELECT from_boot_no, until_boot_no FROM claim WHERE claim_no = 1",
                [],
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
            )
        }));
    assert_eq!(boots.unwrap(), (1, 2));
}

#[test]
fn the_offset_of_a_boot_is_noted_once_its_clock_is_right() {
    let bench = Bench::new();
    let offset = |bench: &Bench| {
        bench.on_connection(|conn| {
            conn.query_row("SELECT synced_offset_ms FROM boot", [], |row| {
                row.get::<_, Option<i64>>(0)
            })
            .unwrap()
        })
    };
    bench.store.commit(vec![samples::strap(1)]);
    assert_eq!(offset(&bench), None);
    bench.store.commit(vec![samples::rr(1, 1, 2_000)]);
    assert_eq!(offset(&bench), Some(samples::OFFSET_MS));
}

#[test]
fn the_thread_ends_when_the_last_handle_goes_and_leaves_nothing_unwritten() {
    let Bench { dir, store, .. } = Bench::with_people();
    let thread = store.thread.lock().unwrap().take().unwrap();
    store.commit(vec![samples::rr(1, 1, 2_000)]);
    drop(store);
    thread.join().unwrap();
    assert!(
        !dir.path().join("hub.db-wal").exists(),
        "closed in good order"
    );
    let (_store, memory) = open(&dir.path().join("hub.db"), boot("a", 3_000)).unwrap();
    assert_eq!(memory.past.recent_rr.len(), 1);
    assert_eq!(memory.past.recent_rr[0].heart, HeartKey::Strap(StrapNo(1)));
}
