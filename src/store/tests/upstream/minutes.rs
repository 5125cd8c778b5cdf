//! When a minute closes, what is told of it, and with which times.

use super::*;
use crate::record::{GroupRecord, HubEvent, Num, SessionRecord, TimeKnown};

fn unsynced(row: Row) -> Row {
    let wrong = |at: Stamp| Stamp {
        wall_ms: at.mono_ms + 5,
        synced: false,
        ..at
    };
    match row {
        Row::Rr(row) => Row::Rr(RrRow {
            arrived: wrong(row.arrived),
            ..row
        }),
        Row::Score(row) => Row::Score(ScoreRow {
            at: wrong(row.at),
            ..row
        }),
        Row::Consent(row) => Row::Consent(ConsentRow {
            at: wrong(row.at),
            ..row
        }),
        Row::Session(mut row) => {
            row.synced = false;
            Row::Session(row)
        }
        row => row,
    }
}

fn at_wrong_clock(mono_ms: i64) -> Stamp {
    Stamp {
        mono_ms,
        wall_ms: mono_ms + 5,
        synced: false,
    }
}

#[test]
fn each_step_queues_one_minute_and_only_when_it_lies_safely_back() {
    let bench = Bench::with_people();
    bench.durably(vec![research(1, true, 500)]).unwrap();
    bench.store.commit(beats(1, 1, 5_000, 130_000));
    let minutes = |bench: &Bench| {
        let ends = |record| match record {
            Record::Rr(record) => Some(record.minute.until - samples::OFFSET_MS),
            _ => None,
        };
        let records = bench.of_stream(Stream::Rr);
        records.into_iter().filter_map(ends).collect::<Vec<_>>()
    };
    let started = bench.step(&rules(), 74_999);
    assert_eq!(
        (started.messages, started.more),
        (1, false),
        "that the hub started"
    );
    assert!(minutes(&bench).is_empty());
    let first = bench.step(&rules(), 200_000);
    assert_eq!((first.messages, first.more), (2, true), "consent and rr");
    assert_eq!(minutes(&bench), [MINUTE_MS]);
    assert!(bench.step(&rules(), 200_000).more);
    assert!(!bench.step(&rules(), 200_000).more);
    assert_eq!(minutes(&bench), [MINUTE_MS, 2 * MINUTE_MS, 3 * MINUTE_MS]);
    let told: usize = bench.rr_series().iter().map(|series| series.rr.len()).sum();
    assert_eq!(told, 125);
}

#[test]
fn when_there_is_nothing_to_do_nothing_is_written() {
    let bench = Bench::with_people();
    bench.durably(vec![research(1, true, 500)]).unwrap();
    bench.store.commit(beats(1, 1, 5_000, 8_000));
    bench.queue_all(200_000);
    let changes = |bench: &Bench| bench.on_connection(|conn| conn.total_changes());
    let before = changes(&bench);
    for _ in 0..5 {
        assert_eq!(bench.step(&rules(), 201_000), Queued::default());
    }
    assert_eq!(changes(&bench), before);
}

#[test]
fn a_minute_waits_for_rows_that_the_disk_has_not_taken() {
    let bench = Bench::with_people();
    bench.durably(vec![research(1, true, 500)]).unwrap();
    bench.queue_all(10_000);
    bench.pragma(
        "CREATE TEMP TRIGGER full BEFORE INSERT ON main.rr BEGIN SELECT json('not json'); END",
    );
    bench.store.commit(beats(1, 1, 5_000, 8_000));
    bench
        .store
        .commit(vec![samples::score(SESSION, 1, Some(person(1)), 5_000)]);
    bench.queue_all(200_000);
    assert_eq!(bench.records(), []);
    bench.pragma("DROP TRIGGER temp.full");
    bench.store.commit(vec![samples::strap(2)]);
    bench.runtime.block_on(bench.store.ping()).unwrap();
    bench.queue_all(200_000);
    assert_eq!(bench.rr_series()[0].rr.len(), 3);
}

#[test]
fn a_row_that_is_written_late_is_told_with_a_later_minute() {
    let bench = Bench::with_people();
    bench.durably(vec![research(1, true, 500)]).unwrap();
    bench.store.commit(beats(1, 1, 5_000, 8_000));
    bench.queue_all(200_000);
    bench.store.commit(vec![samples::rr(9, 1, 8_000)]);
    bench.store.commit(vec![samples::rr(10, 1, 230_000)]);
    bench.queue_all(400_000);
    let told: Vec<Vec<i64>> = bench.rr_series().iter().map(arrivals).collect();
    assert_eq!(told.concat(), [5_000, 6_000, 7_000, 8_000, 230_000]);
}

#[test]
fn scores_and_consents_that_get_the_numbers_of_the_erased_are_told_as_well() {
    let bench = Bench::with_people();
    bench.durably(vec![research(1, true, 500)]).unwrap();
    bench.store.commit(
        (1..=5)
            .map(|n| samples::score(SESSION, 1, Some(person(1)), n * 5_000))
            .collect(),
    );
    bench.queue_all(100_000);
    bench
        .durably(vec![Row::Erase {
            participant: person(1),
            at: samples::at(101_000),
        }])
        .unwrap();
    bench.durably(vec![research(2, true, 102_000)]).unwrap();
    bench
        .store
        .commit(vec![samples::score(SESSION, 2, Some(person(2)), 105_000)]);
    bench.queue_all(200_000);
    let series = bench.coherence_series();
    assert_eq!(series.len(), 1);
    assert_eq!(series[0].pseudonym, pseudonym(2));
}

#[test]
fn the_series_say_what_is_stored() {
    let bench = Bench::with_people();
    bench.durably(vec![research(1, true, 500)]).unwrap();
    let odd = |row: Row, rr_ms, gap_ms, begins, mark| match row {
        Row::Rr(row) => Row::Rr(RrRow {
            rr_ms,
            gap_ms,
            begins,
            mark,
            ..row
        }),
        row => row,
    };
    use crate::room::rows::RrMark;
    bench.store.commit(vec![
        odd(
            samples::rr(1, 1, 5_000),
            852.0 * 1000.0 / 1024.0,
            0.0,
            true,
            RrMark::Accepted,
        ),
        odd(
            samples::rr(2, 1, 6_000),
            0.1 + 0.2,
            1_000.5,
            false,
            RrMark::Suspect,
        ),
        samples::score(SESSION, 1, Some(person(1)), 10_000),
        samples::score(SESSION, 1, Some(person(1)), 15_000),
    ]);
    bench.queue_all(200_000);
    let rr = bench.rr_series().remove(0);
    let bits = |column: &[Num]| {
        column
            .iter()
            .map(|num| num.get().to_bits())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        bits(&rr.rr),
        [832.03125_f64.to_bits(), (0.1_f64 + 0.2).to_bits()]
    );
    assert_eq!(bits(&rr.gap), [0.0_f64.to_bits(), 1_000.5_f64.to_bits()]);
    assert_eq!(rr.begins, [0]);
    assert_eq!(
        serde_json::to_string(&rr.mark).unwrap(),
        r#"["accepted","suspect"]"#
    );
    let score = bench.coherence_series().remove(0);
    assert_eq!(
        (score.algorithm, score.beats.clone()),
        (Some(1), vec![70, 70])
    );
    assert_eq!(score.score[0].unwrap().get(), 61.25);
    assert_eq!(
        score.last_rr_at,
        [Some(rr.t0), Some(rr.t0)],
        "the proof is found in the R-R"
    );
    assert!(
        score.reason.is_empty(),
        "a column that says nothing is left out"
    );
}

#[test]
fn figures_of_few_hearts_and_what_would_tell_of_those_who_did_not_consent_stay_here() {
    let bench = Bench::with_people();
    bench.queue_all(0);
    bench.store.commit(vec![
        group_of(5_000, 2, 2),
        group_of(10_000, 4, 4),
        group_of(15_000, 5, 5),
    ]);
    bench.queue_all(100_000);
    let shown = |bench: &Bench| {
        let Some(Record::Group(GroupRecord { series, .. })) = bench.of_stream(Stream::Group).pop()
        else {
            panic!("no group: {:?}", bench.records())
        };
        assert_eq!(series.len(), 1);
        let series = series[0].clone();
        let average = series
            .average
            .iter()
            .map(|a| a.map(Num::get))
            .collect::<Vec<_>>();
        (average, series.low, series.scored, series.participants)
    };
    let (average, low, scored, participants) = shown(&bench);
    assert_eq!(average, [None, Some(51.23), Some(51.23)]);
    assert_eq!(
        low,
        [None, None, Some(1)],
        "five are needed to tell the levels"
    );
    assert_eq!(scored, [None, Some(4), Some(5)]);
    assert_eq!(
        participants,
        [None, Some(7), Some(7)],
        "not even how many few are"
    );

    // One of four consents: three others hide each other. Two of four do: two others don't.
    bench
        .durably(vec![research(1, true, 110_000), research(2, true, 110_000)])
        .unwrap();
    bench.store.commit(vec![
        samples::score(SESSION, 1, Some(person(1)), 120_000),
        group_of(120_000, 4, 4),
        samples::score(SESSION, 1, Some(person(1)), 125_000),
        samples::score(SESSION, 2, Some(person(2)), 125_000),
        group_of(125_000, 4, 4),
    ]);
    bench.queue_all(200_000);
    assert_eq!(shown(&bench).0, [Some(51.23), None]);

    // A minute of which nothing may be said is not told.
    let before = bench.leaving().len();
    bench
        .store
        .commit(vec![group_of(185_000, 2, 2), group_of(190_000, 0, 0)]);
    bench.queue_all(300_000);
    assert_eq!(bench.leaving().len(), before);
}

#[test]
fn a_minute_of_more_beats_than_go_into_a_message_comes_in_several_and_the_group_is_judged_as_ever()
{
    let bench = Bench::with_people();
    bench
        .durably(vec![research(1, true, 500), research(2, true, 500)])
        .unwrap();
    let beats = |n| samples::rr(n, 1 + (n % 2) as u32, 2_000 + n / 1_000);
    bench.store.commit((1..=45_000).map(beats).collect());
    bench.store.commit(vec![
        samples::score(SESSION, 1, Some(person(1)), 30_000),
        samples::score(SESSION, 2, Some(person(2)), 30_000),
        group_of(30_000, 4, 4),
        group_of(35_000, 4, 4),
    ]);
    bench.queue_all(200_000);
    let told: Vec<usize> = bench
        .rr_series()
        .iter()
        .map(|series| series.rr.len())
        .collect();
    assert_eq!(told, [10_000, 10_000, 10_000, 10_000, 2_500, 2_500]);
    assert_eq!(bench.coherence_series().len(), 2);
    match &bench.of_stream(Stream::Group)[..] {
        [Record::Group(group)] => assert_eq!(group.series[0].suppressed, [true, false]),
        other => panic!("{other:?}"),
    }
    let largest = bench
        .leaving()
        .iter()
        .map(|message| message.body.len())
        .max();
    assert!(largest < Some(128 << 10), "{largest:?}");
}

#[test]
fn a_session_is_told_when_it_has_ended_if_anybody_may_know_of_it() {
    let bench = Bench::with_people();
    bench.store.commit(vec![
        group_of(5_000, 4, 4),
        group_of(10_000, 2, 2),
        Row::Session(samples::session("20261120T1000Z", 900_000)),
        group_of(905_000, 2, 2),
        Row::Session(samples::session("20261120T1015Z", 1_800_000)),
        samples::participation("20261120T1015Z", 1, 1_800_000),
        group_of(1_805_000, 1, 1),
    ]);
    bench.durably(vec![research(1, true, 1_810_000)]).unwrap();
    bench.queue_all(900_000);
    assert_eq!(bench.of_stream(Stream::Session), []);
    bench.queue_all(3_000_000);
    let told: Vec<(String, bool, Option<u32>, u32)> = bench
        .of_stream(Stream::Session)
        .into_iter()
        .map(|record| match record {
            Record::Session(SessionRecord {
                session,
                suppressed,
                scored,
                grid_points,
                ..
            }) => (session.as_str().to_owned(), suppressed, scored, grid_points),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        told,
        [
            (SESSION.to_owned(), false, Some(4), 1),
            ("20261120T1015Z".to_owned(), true, None, 0),
        ],
        "of the one in between two unknown people are all there is to tell"
    );
}

#[test]
fn a_hub_that_does_not_know_the_time_waits_and_then_tells_the_right_one() {
    let dir = tempfile::tempdir().unwrap();
    let start = Boot {
        boot_id: "a".to_owned(),
        start: at_wrong_clock(0),
    };
    let (store, _) = open(&dir.path().join("hub.db"), start).unwrap();
    let bench = Bench {
        dir,
        runtime: Runtime::new().unwrap(),
        store,
    };
    bench.store.commit(vec![
        unsynced(Row::Session(samples::session(SESSION, 0))),
        samples::strap(1),
        samples::participant(1, "Wilhelmina Quist"),
        samples::claim(1, person(1), 1, 1_000, None),
        unsynced(research(1, true, 2_000)),
        unsynced(samples::rr(1, 1, 5_000)),
        unsynced(samples::score(SESSION, 1, Some(person(1)), 10_000)),
    ]);
    let waits = bench.step_at(&rules(), at_wrong_clock(200_000)).unwrap();
    assert!(waits.waiting_for_clock);
    assert_eq!(bench.leaving(), []);

    // The first row with a right time tells by how much the others are wrong.
    bench.store.commit(vec![samples::rr(2, 1, 190_000)]);
    bench.queue_all(200_000);
    let messages = bench.messages();
    let fixed = messages.iter().find_map(|message| match &message.record {
        Record::Event(event) => match event.event {
            HubEvent::ClockFixed { by_ms } => Some((by_ms, event.clock)),
            _ => None,
        },
        _ => None,
    });
    assert_eq!(fixed, Some((samples::OFFSET_MS - 5, TimeKnown::Synced)));
    assert_eq!(arrivals(&bench.rr_series()[0]), [5_000]);
    let score = bench.coherence_series().remove(0);
    assert_eq!(score.at, [10_000 + samples::OFFSET_MS]);
    assert_eq!(score.last_rr_at, [Some(bench.rr_series()[0].t0)]);
    let consent = serde_json::to_value(messages.iter().find_map(|message| match &message.record {
        Record::Consent(consent) => Some(consent),
        _ => None,
    }));
    assert_eq!(consent.unwrap()["at"], 2_000 + samples::OFFSET_MS);
}

#[test]
fn what_a_boot_measured_that_never_knew_the_time_is_told_as_such_by_the_next() {
    let bench = Bench::new();
    bench.store.commit(vec![
        unsynced(Row::Session(samples::session(SESSION, 0))),
        samples::strap(1),
        samples::participant(1, "Wilhelmina Quist"),
        samples::claim(1, person(1), 1, 1_000, None),
        unsynced(research(1, true, 2_000)),
        unsynced(samples::rr(1, 1, 5_000)),
    ]);
    bench.queue_all(200_000);
    let path = bench.path();
    let dir = bench.close();
    let (store, _) = open(&path, boot("b", 0)).unwrap();
    let bench = Bench {
        dir,
        runtime: Runtime::new().unwrap(),
        store,
    };
    bench.step_at(&rules(), at_wrong_clock(1_000)).unwrap();
    match &bench.records()[..] {
        [Record::Consent(consent), Record::Rr(rr)] => {
            assert_eq!(consent.clock, TimeKnown::Unknown);
            assert_eq!(rr.minute.clock, TimeKnown::Unknown);
            assert_eq!(rr.series[0].t0, 5_000 - 12 + 5);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_start_and_a_database_set_aside_are_told_once() {
    let bench = Bench::with_people();
    bench.queue_all(20_000);
    bench.queue_all(40_000);
    let path = bench.path();
    let _dir = bench.close();
    std::fs::write(&path, "no database at all, but long enough to be looked at").unwrap();
    let (store, memory) = open(&path, boot("a", 50_000)).unwrap();
    assert!(memory.set_aside.is_some());
    let bench = Bench {
        dir: _dir,
        runtime: Runtime::new().unwrap(),
        store,
    };
    bench
        .store
        .commit(vec![samples::rr(1, 1, 0), samples::strap(1)]);
    bench.store.commit(vec![samples::rr(1, 1, 60_000)]);
    bench.queue_all(70_000);
    bench.queue_all(80_000);
    let events: Vec<String> = bench
        .messages()
        .iter()
        .map(|message| serde_json::from_str::<serde_json::Value>(&message.to_json()).unwrap())
        .filter_map(|message| message["event"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(events, ["database_set_aside", "hub_started"]);
}

#[test]
fn a_database_set_aside_after_the_start_is_told_too() {
    let bench = Bench::new();
    let path = bench.path();
    let dir = bench.close();
    // It can't be opened at first, and is rubbish when it can.
    let in_the_way = path.with_file_name("hub.db-wal");
    std::fs::create_dir(&in_the_way).unwrap();
    let (store, _) = open(&path, boot("a", 50_000)).unwrap();
    assert!(store.health().away);
    std::fs::write(&path, "no database at all, but long enough to be looked at").unwrap();
    std::fs::remove_dir(&in_the_way).unwrap();
    let bench = Bench {
        dir,
        runtime: Runtime::new().unwrap(),
        store,
    };
    let begin = std::time::Instant::now();
    while bench.store.health().away {
        assert!(begin.elapsed() < std::time::Duration::from_secs(30));
        bench.store.commit(vec![samples::strap(1)]);
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(bench.health().set_aside.is_some());
    bench.store.commit(vec![samples::rr(1, 1, 60_000)]);
    bench.queue_all(70_000);
    bench.queue_all(80_000);
    let told = bench.messages().iter().any(|message| {
        let json: serde_json::Value = serde_json::from_str(&message.to_json()).unwrap();
        json["event"] == "database_set_aside"
    });
    assert!(told);
}

#[test]
fn a_broker_that_comes_late_gets_what_is_still_stored_and_the_empty_years_are_passed_over() {
    let bench = Bench::with_people();
    bench.durably(vec![research(1, true, 500)]).unwrap();
    let days = 40 * 86_400_000_i64;
    bench.store.commit(beats(1, 1, 5_000, 8_000));
    bench.store.commit(beats(11, 1, days, days + 3_000));
    bench
        .runtime
        .block_on(bench.store.forget_old(
            samples::at(3_600_000),
            samples::at(3_600_000 + 86_400_000),
            true,
        ))
        .unwrap();
    let mut steps = 0;
    while bench.step(&rules(), days + 200_000).more {
        steps += 1;
    }
    assert!(steps < 3, "{steps}");
    let told: Vec<Vec<i64>> = bench.rr_series().iter().map(arrivals).collect();
    assert_eq!(told, [vec![days, days + 1_000, days + 2_000]]);
}

#[test]
fn who_has_data_waiting_is_not_forgotten() {
    let bench = Bench::with_people();
    bench.durably(vec![research(1, true, 500)]).unwrap();
    bench.store.commit(vec![
        samples::claim(1, person(1), 1, 1_000, Some(20_000)),
        samples::claim(2, person(2), 2, 1_000, Some(20_000)),
        Row::Session(samples::session("20261120T1000Z", 900_000)),
    ]);
    bench.store.commit(beats(1, 1, 5_000, 8_000));
    bench.queue_all(200_000);
    let forget = |before_ms| {
        bench
            .runtime
            .block_on(
                bench
                    .store
                    .forget_old(samples::at(before_ms), samples::at(1_000_000), true),
            )
            .unwrap();
    };
    forget(59_000);
    assert_eq!((bench.count("participant"), bench.count("rr")), (1, 0));
    assert_eq!(
        bench.rr_series().len(),
        1,
        "still under a consent that holds"
    );
    // When it is as old itself it goes as well, whether or not anything is queued any more.
    forget(60_001);
    assert_eq!(bench.rr_series(), []);
    assert_eq!(bench.state().thinned, 1);
    assert_eq!(bench.of_stream(Stream::Gap).len(), 1);
    assert_eq!(bench.count("participant"), 0);
    assert_eq!(bench.count("subject"), 0);
}

#[test]
fn dead_letters_age_like_all_else() {
    let bench = Bench::with_people();
    bench.durably(vec![research(1, true, 500)]).unwrap();
    bench.store.commit(beats(1, 1, 5_000, 8_000));
    bench.queue_all(200_000);
    let forget = |before_ms| {
        let now = samples::at(1_000_000);
        let forgotten = bench.store.forget_old(samples::at(before_ms), now, true);
        bench.runtime.block_on(forgotten).unwrap();
        bench.state().dead_letters
    };
    let seqs: Vec<i64> = bench.leaving().iter().map(|m| m.seq).collect();
    for seq in seqs {
        let aside = bench
            .store
            .outbox_give_up(seq, "refused".to_owned(), samples::at(300_000));
        bench.runtime.block_on(aside).unwrap();
    }
    assert_eq!(forget(59_000), 3);
    assert_eq!(forget(60_001), 2, "the beats are from before");
    assert_eq!(forget(300_001), 0);
    assert_eq!(bench.count("outbox_subject"), 0);
}
