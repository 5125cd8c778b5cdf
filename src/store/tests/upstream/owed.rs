//! More waits than one transaction can empty: what is promised to who withdraws, and how it is redeemed.

use std::future::Future;
use std::pin::pin;

use super::*;
use crate::record::Ack;
use crate::room::rows::Row;
use crate::store::keeper::Message as Asked;

const MINUTES: i64 = 60;

/// An hour of two people who consented, queued: the event, two consents, then rr, coherence and group in
/// each minute.
fn an_hour() -> Bench {
    let bench = Bench::with_people();
    bench
        .durably(vec![research(1, true, 500), research(2, true, 500)])
        .unwrap();
    for minute in 0..MINUTES {
        let begin = minute * MINUTE_MS;
        for n in 1..=2_u8 {
            let id = minute * 100 + i64::from(n) * 10;
            bench
                .store
                .commit(beats(id, n.into(), begin + 5_000, begin + 8_000));
            bench.store.commit(vec![samples::score(
                SESSION,
                n.into(),
                Some(person(n)),
                begin + 5_000,
            )]);
        }
    }
    bench.queue_all(MINUTES * MINUTE_MS + 15_000);
    bench
}

/// Hands these rows in, and asks `next` of the store before it has a moment to itself.
fn right_after<T>(
    bench: &Bench,
    rows: Vec<Row>,
    next: impl Future<Output = Result<T, StoreError>>,
) -> T {
    let (go, wait) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    let held = Asked::Ask(Box::new(move |_| wait.recv().unwrap()));
    assert!(bench.store.inbox.try_send(held).is_ok());
    bench
        .store
        .commit_then(rows, Box::new(move |result| tell.send(result).unwrap()));
    let mut next = pin!(next);
    bench.runtime.block_on(async {
        // Polled once, it stands in the inbox.
        assert!(futures_util::poll!(next.as_mut()).is_pending());
        go.send(()).unwrap();
        let answer = next.await.unwrap();
        told.recv().unwrap().unwrap();
        answer
    })
}

/// A look at the database, as one that asks.
async fn look<T: Send + 'static>(
    store: &Store,
    what: impl FnOnce(&Connection) -> T + Send + 'static,
) -> Result<T, StoreError> {
    store
        .send_ask("testing", move |keeper| Ok(what(&keeper.conn)))
        .await
}

fn owed(conn: &Connection) -> i64 {
    conn.query_row("SELECT count(*) FROM owed", [], |row| row.get(0))
        .unwrap()
}

/// Messages in which somebody's series stands.
fn with_series(conn: &Connection, n: i64) -> i64 {
    conn.query_row(
        "SELECT count(*) FROM outbox_subject WHERE participant_no = ?1",
        [n],
        |row| row.get(0),
    )
    .unwrap()
}

/// Until nothing is owed any more. Between two looks the store has a moment to itself.
fn redeemed(bench: &Bench) {
    for _ in 0..10_000 {
        if bench.on_connection(owed) == 0 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("it is never done");
}

fn erase(n: u8) -> Row {
    Row::Erase {
        participant: person(n),
        at: samples::at(MINUTES * MINUTE_MS + 20_000),
    }
}

#[test]
fn a_withdrawal_is_answered_before_all_is_emptied_and_nothing_leaves_meanwhile() {
    let bench = an_hour();
    let before: Vec<i64> = bench.leaving().iter().map(|m| m.seq).collect();
    assert_eq!(
        bench.on_connection(|conn| with_series(conn, 1)),
        2 * MINUTES
    );
    let withdrawal = vec![research(1, false, MINUTES * MINUTE_MS + 20_000)];
    let look = look(&bench.store, |conn| {
        (owed(conn), with_series(conn, 1), with_series(conn, 2))
    });
    let (is_owed, left, others) = right_after(&bench, withdrawal, look);
    assert_eq!(is_owed, 1);
    assert!((1..2 * MINUTES).contains(&left), "a step was done: {left}");
    assert_eq!(others, 2 * MINUTES, "the other's wait as before");
    redeemed(&bench);
    assert!(!bench.series_on_disk().contains(pseudonym(1).as_str()));
    assert!(bench.series_on_disk().contains(pseudonym(2).as_str()));
    assert_eq!(bench.count("owed_pseudonym"), 0);
    let after: Vec<i64> = bench.leaving().iter().map(|m| m.seq).collect();
    assert_eq!(after[..before.len()], before, "numbers stay");
}

#[test]
fn what_is_read_before_all_is_emptied_holds_nothing_of_who_was_erased() {
    let bench = an_hour();
    // The middle of what waits, where the first step did not reach.
    let read = bench.store.outbox_after(MINUTES, 64);
    let messages = right_after(&bench, vec![erase(1)], read);
    let said: String = messages
        .iter()
        .map(|message| format!("{:?}", Message::from_gzip(&message.body).unwrap().record))
        .collect();
    assert!(said.contains(pseudonym(2).as_str()));
    assert!(!said.contains(pseudonym(1).as_str()), "{said}");
    assert_eq!(bench.rr_series().len() as i64, MINUTES);
}

#[test]
fn a_hub_that_is_stopped_in_the_middle_goes_on_at_the_next_start() {
    let bench = an_hour();
    right_after(
        &bench,
        vec![erase(1), erase(2)],
        bench.store.clone().close(),
    );
    let Bench { dir, runtime, .. } = bench;
    let path = dir.path().join("hub.db");
    let left = Connection::open(&path).map(|conn| with_series(&conn, 1) + with_series(&conn, 2));
    assert!(left.unwrap() > 0);
    let (store, _) = open(&path, boot("b", 0)).unwrap();
    let bench = Bench {
        dir,
        runtime,
        store,
    };
    redeemed(&bench);
    assert_eq!(
        bench.on_connection(|conn| with_series(conn, 1) + with_series(conn, 2)),
        0
    );
    let on_disk = bench.series_on_disk();
    assert!(!on_disk.contains(pseudonym(1).as_str()) && !on_disk.contains(pseudonym(2).as_str()));
}

#[test]
fn who_consents_again_meanwhile_keeps_what_comes_after() {
    let bench = an_hour();
    let end = MINUTES * MINUTE_MS;
    let again = vec![
        research(1, false, end + 20_000),
        research(1, true, end + 61_000),
    ];
    assert_eq!(right_after(&bench, again, look(&bench.store, owed)), 1);
    bench
        .store
        .commit(beats(90_001, 1, end + 62_000, end + 65_000));
    bench.queue_all(end + 2 * MINUTE_MS + 15_000);
    redeemed(&bench);
    let of_first = |series: &RrSeries| series.pseudonym == pseudonym(1);
    let rr: Vec<RrSeries> = bench.rr_series().into_iter().filter(of_first).collect();
    assert_eq!(rr.len(), 1);
    assert_eq!(arrivals(&rr[0]), [end + 62_000, end + 63_000, end + 64_000]);
}

#[test]
fn who_acknowledges_what_was_never_handed_out_speaks_of_another_life() {
    let bench = an_hour();
    let (epoch, last) = (bench.state().epoch, bench.state().last_seq);
    let ack = |epoch, upto| Ack {
        epoch,
        upto,
        ..Ack::default()
    };
    // Nothing was read yet: these numbers are another life's.
    let early = bench.acknowledge(ack(epoch, 3));
    assert_eq!((early.ahead, early.deleted), (true, 0));
    assert_eq!(bench.leaving().last().unwrap().seq, last);
    let heard = bench.acknowledge(ack(epoch, 3));
    assert_eq!((heard.ahead, heard.deleted), (false, 3));
    // What was queued since was not handed out either.
    bench.store.commit(beats(
        90_001,
        1,
        MINUTES * MINUTE_MS + 1_000,
        MINUTES * MINUTE_MS + 4_000,
    ));
    bench.queue_all((MINUTES + 1) * MINUTE_MS + 15_000);
    let next = bench.state().last_seq;
    assert!(next > last);
    assert!(bench.acknowledge(ack(epoch, next)).ahead);
    let fresh = bench
        .runtime
        .block_on(bench.store.outbox_new_epoch(samples::at(0)))
        .unwrap();
    assert!(
        bench.acknowledge(ack(fresh, 3)).ahead,
        "of the new epoch nothing was handed out"
    );
}
