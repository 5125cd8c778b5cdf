//! What is dropped when too much waits, what the centre says back, and the new epoch.

use super::*;
use crate::record::{Ack, GapRecord, GapWhy, Lost, Rejected, SeqRange};

/// Minutes with consent, rr, coherence and group in each; numbers from 1: event, consent, then three a minute.
fn hours(minutes: i64) -> Bench {
    let bench = Bench::with_people();
    bench.durably(vec![research(1, true, 500)]).unwrap();
    for minute in 0..minutes {
        let begin = minute * MINUTE_MS;
        bench
            .store
            .commit(beats(minute * 100 + 1, 1, begin + 5_000, begin + 8_000));
        bench.store.commit(vec![
            samples::score(SESSION, 1, Some(person(1)), begin + 5_000),
            group_of(begin + 5_000, 6, 6),
        ]);
        bench.queue_all(begin + MINUTE_MS + 15_000);
    }
    bench
}

fn streams(bench: &Bench) -> Vec<(i64, Stream)> {
    let leaving = bench.leaving();
    leaving.iter().map(|m| (m.seq, m.stream)).collect()
}

fn gaps(bench: &Bench) -> Vec<GapRecord> {
    let gap = |record| match record {
        Record::Gap(gap) => Some(gap),
        _ => None,
    };
    bench.records().into_iter().filter_map(gap).collect()
}

fn ranges(pairs: &[(i64, i64)]) -> Vec<SeqRange> {
    pairs
        .iter()
        .map(|&(first, last)| SeqRange { first, last })
        .collect()
}

fn ack(bench: &Bench, upto: i64, also: &[i64]) -> Ack {
    Ack {
        epoch: bench.state().epoch,
        upto,
        also: also.to_vec(),
        rejected: Vec::new(),
    }
}

#[test]
fn when_too_much_waits_the_oldest_rr_goes_first_then_scores_then_the_group_and_never_the_rest() {
    let bench = hours(4);
    use Stream::{Coherence, Consent, Event, Gap, Group, Rr};
    let minute = |n| [(n, Rr), (n + 1, Coherence), (n + 2, Group)];
    let all = [
        vec![(1, Event), (2, Consent)],
        minute(3).into(),
        minute(6).into(),
        minute(9).into(),
        minute(12).into(),
    ]
    .concat();
    assert_eq!(streams(&bench), all);
    let bytes = |bench: &Bench| bench.state().bytes;

    let mut tight = rules();
    tight.outbox_bytes_max = bytes(&bench) - 1;
    let thinned = bench.step(&tight, 256_000);
    assert_eq!((thinned.thinned, thinned.messages), (1, 1));
    assert_eq!(
        streams(&bench)[..4],
        [(1, Event), (2, Consent), (4, Coherence), (5, Group)]
    );
    assert_eq!(gaps(&bench)[0].ranges, ranges(&[(3, 3)]));

    // Down to nothing: the order is kept, and one gap record tells of all, itself included.
    tight.outbox_bytes_max = 0;
    let thinned = bench.step(&tight, 256_000);
    assert_eq!(thinned.thinned, 11);
    assert_eq!(streams(&bench), [(1, Event), (2, Consent), (16, Gap)]);
    let told = &gaps(&bench)[0];
    assert_eq!(told.ranges, ranges(&[(3, 15)]));
    assert_eq!(
        (told.why, told.of_epoch),
        (GapWhy::Thinned, bench.state().epoch)
    );
    let lost = |stream| Lost {
        stream,
        messages: 4,
    };
    let all_lost = [lost(Group), lost(Coherence), lost(Rr)];
    assert_eq!(told.lost, all_lost);
    assert_eq!(bench.state().thinned, 12);
    assert_eq!(
        bench.step(&tight, 256_000),
        Queued::default(),
        "there is nothing left that may go"
    );
}

#[test]
fn the_streams_go_one_after_the_other_as_the_room_gets_tighter() {
    let bench = hours(3);
    let kinds = |bench: &Bench| {
        let mut kinds: Vec<Stream> = streams(bench)
            .into_iter()
            .map(|(_, stream)| stream)
            .collect();
        kinds.sort();
        kinds.dedup();
        kinds
    };
    use Stream::{Coherence, Consent, Event, Gap, Group, Rr};
    let sizes: Vec<(Stream, u32)> = {
        let sql = "SELECT stream, length(body) FROM outbox ORDER BY seq";
        bench
            .on_connection(move |conn| {
                read::collect(conn, sql, &[], |row| {
                    Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?))
                })
            })
            .unwrap()
            .into_iter()
            .map(|(word, size)| (Stream::of_word(&word).unwrap(), size))
            .collect()
    };
    let of = |stream| -> u32 {
        sizes
            .iter()
            .filter(|(s, _)| *s == stream)
            .map(|(_, n)| n)
            .sum()
    };
    let all: u32 = sizes.iter().map(|(_, n)| n).sum();
    for (left, expected) in [
        (all - of(Rr), vec![Group, Coherence, Consent, Gap, Event]),
        (
            all - of(Rr) - of(Coherence),
            vec![Group, Consent, Gap, Event],
        ),
        (0, vec![Consent, Gap, Event]),
    ] {
        let mut tight = rules();
        // The slack that is aimed at, and a little for the gap record.
        tight.outbox_bytes_max = u64::from(left) * 64 / 63;
        bench.step(&tight, 196_000);
        assert_eq!(kinds(&bench), expected, "{left}");
    }
}

#[test]
fn what_has_waited_too_long_goes_and_what_can_not_be_proved_old_stays() {
    let bench = hours(2);
    let mut impatient = rules();
    impatient.outbox_age_max_ms = 3_600_000;
    let queued_ms = MINUTE_MS; // it ages from its end
    assert_eq!(bench.step(&impatient, queued_ms + 3_600_000).thinned, 0);
    let thinned = bench.step(&impatient, queued_ms + 3_600_001);
    assert_eq!(
        thinned.thinned,
        3,
        "the first minute: {:?}",
        streams(&bench)
    );

    let path = bench.path();
    let dir = bench.close();
    let (store, _) = open(&path, boot("b", 0)).unwrap();
    let bench = Bench {
        dir,
        runtime: Runtime::new().unwrap(),
        store,
    };
    let years = samples::OFFSET_MS + 20 * 86_400_000;
    let unsure = Stamp {
        mono_ms: 1_000,
        wall_ms: years,
        synced: false,
    };
    assert_eq!(bench.step_at(&impatient, unsure).unwrap().thinned, 0);
    let sure = Stamp {
        synced: true,
        ..unsure
    };
    assert_eq!(bench.step_at(&impatient, sure).unwrap().thinned, 3);
}

#[test]
fn acknowledgements_only_ever_add_up() {
    let bench = hours(4);
    let all: Vec<i64> = streams(&bench).into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(all, (1..=14).collect::<Vec<_>>());
    let left = |bench: &Bench| {
        streams(bench)
            .into_iter()
            .map(|(seq, _)| seq)
            .collect::<Vec<_>>()
    };

    let done = bench.acknowledge(ack(&bench, 5, &[8, 9]));
    assert_eq!((done.deleted, bench.state().acked_upto), (7, 5));
    assert_eq!(left(&bench), [6, 7, 10, 11, 12, 13, 14]);
    for older in [
        ack(&bench, 5, &[8, 9]),
        ack(&bench, 3, &[]),
        ack(&bench, 0, &[8]),
    ] {
        assert_eq!(bench.acknowledge(older), Acknowledged::default());
    }
    assert_eq!(bench.state().acked_upto, 5);

    let other = Ack {
        epoch: bench.state().epoch + 1,
        ..ack(&bench, 14, &[])
    };
    assert!(bench.acknowledge(other).foreign_epoch);
    for ahead in [ack(&bench, 15, &[]), ack(&bench, 6, &[15])] {
        let done = bench.acknowledge(ahead);
        assert!(done.ahead && done.deleted == 0);
    }
    assert_eq!(left(&bench), [6, 7, 10, 11, 12, 13, 14]);

    let refused = Ack {
        rejected: vec![
            Rejected {
                seq: 7,
                why: "é".repeat(300),
            },
            Rejected {
                seq: 12,
                why: "schema".to_owned(),
            },
        ],
        ..ack(&bench, 10, &[])
    };
    let done = bench.acknowledge(refused.clone());
    assert_eq!((done.rejected, done.deleted), (vec![7, 12], 2));
    assert_eq!(bench.acknowledge(refused), Acknowledged::default());
    assert_eq!(left(&bench), [11, 13, 14]);
    let why: Vec<(i64, String)> = bench.on_connection(|conn| {
        let sql = "SELECT seq, why FROM dead_letter ORDER BY seq";
        read::collect(conn, sql, &[], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    });
    assert_eq!(why, [(7, "é".repeat(200)), (12, "schema".to_owned())]);
    let done = bench.acknowledge(ack(&bench, 14, &[]));
    assert_eq!(done.deleted, 3);
    let state = bench.state();
    assert_eq!(
        (state.rows, state.bytes, state.last_seq, state.dead_letters),
        (0, 0, 14, 2)
    );
    assert_eq!(state.oldest_wall_ms, None);
}

#[test]
fn many_rows_are_deleted_in_steps() {
    let bench = Bench::with_people();
    bench.pragma(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1700)
         INSERT INTO outbox (stream, body, boot_no, mono_ms, wall_ms, wall_synced) SELECT 'group', zeroblob(9), 1, 1, 1, 1 FROM n;
         UPDATE uplink SET waiting = 1700, waiting_bytes = 1700 * 9, handed_upto = 1700",
    );
    assert_eq!(bench.acknowledge(ack(&bench, 1_600, &[])).deleted, 1_600);
    let state = bench.state();
    assert_eq!(
        (state.rows, state.bytes, state.acked_upto),
        (100, 900, 1_600)
    );
}

#[test]
fn a_new_epoch_sends_what_waits_again_and_tells_first_what_will_not_come() {
    let bench = hours(3);
    assert_eq!(bench.leaving().len(), 11);
    bench.acknowledge(ack(&bench, 4, &[7]));
    let old = bench.state();
    let epoch = bench
        .runtime
        .block_on(bench.store.outbox_new_epoch(samples::at(500_000)))
        .unwrap();
    assert_ne!(epoch, old.epoch);
    assert!((1..1 << 53).contains(&epoch));
    let messages = bench.messages();
    assert!(messages.iter().all(|message| message.head.epoch == epoch));
    let seqs: Vec<i64> = messages.iter().map(|message| message.head.seq).collect();
    assert_eq!(seqs, [4, 5, 6, 8, 9, 10, 11]);
    let told = &gaps(&bench)[0];
    assert_eq!(told.ranges, ranges(&[(1, 3), (7, 7)]));
    assert_eq!((told.why, told.of_epoch), (GapWhy::NewEpoch, epoch));
    assert_eq!(bench.state().acked_upto, 0);
    let late = Ack {
        epoch: old.epoch,
        upto: 11,
        ..Ack::default()
    };
    assert!(
        bench.acknowledge(late).foreign_epoch,
        "the old epoch is over"
    );
    assert_eq!(bench.acknowledge(ack(&bench, 11, &[])).deleted, 7);
    let (state, counted) = (bench.state(), bench.count("outbox"));
    assert_eq!((state.rows as i64, state.bytes, counted), (0, 0, 0));

    // With nothing waiting, all numbers so far are told.
    bench
        .runtime
        .block_on(bench.store.outbox_new_epoch(samples::at(500_000)))
        .unwrap();
    assert_eq!(gaps(&bench)[0].ranges, ranges(&[(1, 10)]));
    assert_eq!(streams(&bench), [(11, Stream::Gap)]);
}

#[test]
fn a_message_that_can_not_be_read_any_more_does_not_hold_up_the_others() {
    let bench = hours(2);
    let before = streams(&bench).len();
    bench.pragma("UPDATE outbox SET body = x'00' WHERE seq = 3");
    assert_eq!(
        bench.leaving().len(),
        before,
        "all but the damaged one, and the gap"
    );
    let told = &gaps(&bench)[0];
    assert_eq!(
        (told.why, &told.ranges),
        (GapWhy::Damaged, &ranges(&[(3, 3)]))
    );
    assert_eq!(bench.state().dead_letters, 1);
}

#[test]
fn a_step_that_the_disk_refuses_does_nothing_and_is_done_later() {
    let bench = Bench::with_people();
    bench.durably(vec![research(1, true, 500)]).unwrap();
    bench.store.commit(beats(1, 1, 5_000, 8_000));
    bench.pragma(
        "CREATE TEMP TRIGGER full BEFORE INSERT ON main.outbox WHEN NEW.stream = 'rr'
         BEGIN SELECT json('not json'); END",
    );
    let refused = bench.step_at(&rules(), samples::at(200_000));
    assert!(
        matches!(refused, Err(StoreError::Sql { .. })),
        "{refused:?}"
    );
    assert_eq!(bench.leaving(), []);
    assert_eq!((bench.count("subject"), bench.state().rows), (0, 0));
    bench.pragma("DROP TRIGGER temp.full");
    bench.queue_all(200_000);
    assert_eq!(
        streams(&bench).len(),
        3,
        "the start, the consent, the beats"
    );
}

#[test]
fn of_dead_letters_the_newest_thousand_are_kept() {
    let bench = hours(1);
    bench.pragma(
        "WITH RECURSIVE n (n) AS (SELECT 101 UNION ALL SELECT n + 1 FROM n WHERE n < 1200)
         INSERT INTO dead_letter (seq, stream, body, why, boot_no, mono_ms, wall_ms, wall_synced)
         SELECT n, 'rr', zeroblob(9), 'schema', 1, 1, 1, 1 FROM n;
         INSERT INTO outbox_subject (seq, participant_no) VALUES (101, 1), (1200, 1)",
    );
    assert_eq!(bench.leaving().len(), 5);
    bench.acknowledge(ack(&bench, 1, &[]));
    assert_eq!(bench.state().dead_letters, 1_000);
    let kept: Vec<i64> = bench.on_connection(|conn| {
        let sql = "SELECT seq FROM outbox_subject WHERE seq > 100";
        read::collect(conn, sql, &[], |row| row.get(0)).unwrap()
    });
    assert_eq!(kept, [1_200]);
}

#[test]
fn the_scores_of_very_many_people_come_in_several_messages() {
    let bench = Bench::with_people();
    let people = 3_u8..=253;
    let mut rows: Vec<Row> = Vec::new();
    for n in people.clone() {
        rows.push(samples::participant(n, "Somebody"));
        rows.push(research(n, true, 100));
    }
    bench.store.commit(rows);
    for point in 0..24 {
        let score = |n| samples::score(SESSION, 1, Some(person(n)), 1_000 + point * 2_000);
        bench.store.commit(people.clone().map(score).collect());
    }
    bench.queue_all(200_000);
    let lengths: Vec<usize> = bench
        .of_stream(Stream::Coherence)
        .into_iter()
        .map(|record| match record {
            Record::Coherence(record) => record.series.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(lengths, [208, 43]);
}

#[test]
fn a_message_that_is_not_old_for_certain_does_not_shield_those_behind_it() {
    let bench = hours(2);
    bench.pragma("UPDATE outbox SET until_mono_ms = 9000000 WHERE seq = 3");
    let mut impatient = rules();
    impatient.outbox_age_max_ms = 3_600_000;
    let thinned = bench.step(&impatient, 2 * MINUTE_MS + 3_600_001);
    assert_eq!(thinned.thinned, 5, "{:?}", streams(&bench));
    assert_eq!(streams(&bench)[2], (3, Stream::Rr));
}

#[test]
fn a_message_that_the_hub_gives_up_makes_the_oldest_dead_letter_go() {
    let bench = hours(1);
    bench.pragma(
        "WITH RECURSIVE n (n) AS (SELECT 101 UNION ALL SELECT n + 1 FROM n WHERE n < 1200)
         INSERT INTO dead_letter (seq, stream, body, why, boot_no, mono_ms, wall_ms, wall_synced)
         SELECT n, 'rr', zeroblob(9), 'schema', 1, 1, 1, 1 FROM n",
    );
    let given_up = bench
        .store
        .outbox_give_up(3, "too large".to_owned(), samples::at(300_000));
    bench.runtime.block_on(given_up).unwrap();
    assert_eq!(bench.state().dead_letters, 1_000);
}
