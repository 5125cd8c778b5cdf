//! Who may be told of, from when, until when; and what of nobody.

use super::*;
use crate::record::{Ack, ConsentRecord, ErasureRecord, Origin, Rejected, TimeKnown};
use crate::room::rows::{ParticipantRow, StrapRow};

#[test]
fn what_was_measured_leaves_from_the_consent_on_and_of_nobody_else() {
    let bench = Bench::with_people();
    bench.durably(vec![research(1, true, 30_000)]).unwrap();
    bench
        .durably(vec![samples::consent(2, "sync", true)])
        .unwrap();
    bench.store.commit(beats(1, 1, 25_000, 35_000));
    bench.store.commit(beats(11, 2, 25_000, 35_000));
    bench.store.commit(vec![
        samples::score(SESSION, 1, Some(person(1)), 25_000),
        samples::score(SESSION, 1, Some(person(1)), 30_000),
        samples::score(SESSION, 1, None, 35_000),
        samples::score(SESSION, 2, Some(person(2)), 30_000),
    ]);
    bench.queue_all(200_000);

    let rr = bench.rr_series();
    assert_eq!(rr.len(), 1);
    assert_eq!(
        (&rr[0].pseudonym, rr[0].origin, rr[0].source),
        (&pseudonym(1), Origin::Strap, 1)
    );
    // The beat that arrived in the very moment of the consent ended before it.
    assert_eq!(arrivals(&rr[0]), [31_000, 32_000, 33_000, 34_000]);
    let coherence = bench.coherence_series();
    assert_eq!(coherence.len(), 1);
    assert_eq!(coherence[0].at, [30_000 + samples::OFFSET_MS]);
    assert_eq!(coherence[0].pseudonym, pseudonym(1));
    let consents = bench.of_stream(Stream::Consent);
    assert!(
        matches!(&consents[..], [Record::Consent(ConsentRecord { pseudonym: of, granted: true, clock: TimeKnown::Synced, .. })]
            if *of == pseudonym(1)),
        "{consents:?}"
    );
    let streams: Vec<Stream> = bench.records().iter().map(Record::stream).collect();
    assert_eq!(streams, [Stream::Consent, Stream::Rr, Stream::Coherence]);
}

#[test]
fn a_strap_that_is_swapped_is_told_of_by_who_wore_it_at_the_beat() {
    let bench = Bench::with_people();
    bench
        .durably(vec![research(1, true, 500), research(2, true, 500)])
        .unwrap();
    bench.store.commit(vec![
        samples::strap(3),
        samples::claim(1, person(1), 1, 1_000, Some(10_000)),
        samples::claim(2, person(2), 2, 1_000, Some(11_000)),
        samples::claim(3, person(1), 3, 10_000, None),
        samples::claim(4, person(2), 1, 15_000, None),
    ]);
    bench.store.commit(beats(1, 1, 8_500, 18_000));
    bench.store.commit(beats(101, 3, 8_500, 12_000));
    bench.queue_all(200_000);

    let mut told: Vec<(Pseudonym, u32, Vec<i64>)> = bench
        .rr_series()
        .iter()
        .map(|series| (series.pseudonym.clone(), series.source, arrivals(series)))
        .collect();
    let mut expected = vec![
        (pseudonym(1), 1, vec![8_500, 9_500]),
        (pseudonym(1), 2, vec![10_500, 11_500]),
        // Between the two the strap was nobody's.
        (pseudonym(2), 1, vec![15_500, 16_500, 17_500]),
    ];
    told.sort();
    expected.sort();
    assert_eq!(told, expected);
}

#[test]
fn a_withdrawal_empties_what_waits_and_tells_of_it_in_its_own_transaction() {
    let bench = Bench::with_people();
    bench
        .durably(vec![research(1, true, 500), research(2, true, 500)])
        .unwrap();
    bench.store.commit(beats(1, 1, 5_000, 8_000));
    bench.store.commit(beats(11, 2, 5_000, 8_000));
    bench
        .store
        .commit(vec![samples::score(SESSION, 1, Some(person(1)), 5_000)]);
    bench.queue_all(200_000);
    let before = bench.leaving();

    // What can't be stored empties nothing.
    bench.pragma(
        "CREATE TEMP TRIGGER full BEFORE INSERT ON main.consent WHEN NEW.scope = 'publish'
         BEGIN SELECT json('not json'); END",
    );
    let refused = bench.durably(vec![
        research(1, false, 70_000),
        samples::consent(1, "publish", false),
    ]);
    assert!(refused.is_err());
    assert_eq!(bench.leaving(), before);
    bench.pragma("DROP TRIGGER temp.full");

    assert!(bench.series_on_disk().contains(pseudonym(1).as_str()));
    bench.durably(vec![research(1, false, 70_000)]).unwrap();
    let on_disk = bench.series_on_disk();
    assert!(
        !on_disk.contains(pseudonym(1).as_str()),
        "not only in what leaves: {on_disk}"
    );
    assert!(on_disk.contains(pseudonym(2).as_str()));
    let after = bench.leaving();
    let seqs = |leaving: &[OutboxMessage]| leaving.iter().map(|m| m.seq).collect::<Vec<_>>();
    assert_eq!(seqs(&after)[..before.len()], seqs(&before), "numbers stay");
    let rr = bench.rr_series();
    assert_eq!(rr.len(), 1);
    assert_eq!(rr[0].pseudonym, pseudonym(2), "the other's wait as before");
    assert_eq!(bench.coherence_series(), []);
    let last = bench.records().pop();
    assert!(
        matches!(&last, Some(Record::Consent(ConsentRecord { pseudonym: of, granted: false, at, .. }))
            if *of == pseudonym(1) && *at == 70_000 + samples::OFFSET_MS),
        "{last:?}"
    );
    assert_eq!(after.len(), before.len() + 1);
    let sums: (i64, i64) = bench.on_connection(|conn| {
        conn.query_row(
            "SELECT count(*), sum(length(body)) FROM outbox",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap()
    });
    let state = bench.state();
    assert_eq!((state.rows as i64, state.bytes as i64), sums);

    // Withdrawn once more, as every joining without a tick does: nothing new to tell.
    bench.durably(vec![research(1, false, 71_000)]).unwrap();
    assert_eq!(bench.leaving().len(), after.len());
}

#[test]
fn the_mean_of_a_group_does_not_give_back_who_withdrew() {
    let bench = Bench::with_people();
    let ids = 1..=4_u8;
    for n in 3..=4 {
        bench.store.commit(vec![
            samples::strap(n.into()),
            samples::participant(n, "Jo"),
        ]);
    }
    bench
        .durably(ids.clone().map(|n| research(n, true, 500)).collect())
        .unwrap();
    bench.store.commit(
        ids.map(|n| samples::score(SESSION, n.into(), Some(person(n)), 5_000))
            .chain([group_of(5_000, 4, 4)])
            .collect(),
    );
    bench.queue_all(200_000);
    let shown = |record: &Record| match record {
        Record::Group(record) => record.series.iter().any(|series| {
            series.average.iter().any(Option::is_some) || series.scored.iter().any(Option::is_some)
        }),
        _ => false,
    };
    assert!(bench.records().iter().any(shown), "while all consent");

    bench.durably(vec![research(1, false, 70_000)]).unwrap();
    let records = bench.records();
    assert!(!records.iter().any(shown), "{records:?}");
    assert!(
        records.iter().any(|r| r.stream() == Stream::Group),
        "its number is kept"
    );
}

#[test]
fn after_a_withdrawal_nothing_leaves_before_a_new_consent() {
    let bench = Bench::with_people();
    bench.durably(vec![research(1, true, 500)]).unwrap();
    bench.store.commit(beats(1, 1, 5_000, 50_000));
    bench.durably(vec![research(1, false, 20_000)]).unwrap();
    assert_eq!(
        bench.records(),
        [],
        "nothing was told: nothing to take back"
    );
    bench.queue_all(200_000);
    assert_eq!(bench.records(), []);

    bench.store.commit(beats(100, 1, 130_000, 150_000));
    bench.durably(vec![research(1, true, 140_000)]).unwrap();
    bench.durably(vec![research(1, true, 145_000)]).unwrap();
    bench.queue_all(260_000);
    let rr = bench.rr_series();
    assert_eq!(rr.len(), 1);
    assert_eq!(
        arrivals(&rr[0]),
        (141_000..150_000).step_by(1_000).collect::<Vec<_>>(),
        "the second yes of an unbroken consent changes nothing"
    );
    assert_eq!(bench.of_stream(Stream::Consent).len(), 1);
}

#[test]
fn a_consent_to_another_text_is_told_and_the_same_once_more_is_not() {
    let bench = Bench::with_people();
    bench.queue_all(0);
    let with_text = |text: &str, mono_ms| {
        let Row::Consent(row) = research(1, true, mono_ms) else {
            unreachable!("that is what it makes")
        };
        Row::Consent(ConsentRow {
            text_version: text.to_owned(),
            ..row
        })
    };
    let versions = |bench: &Bench| {
        let version = |record| match record {
            Record::Consent(consent) => consent.text_version.map(|v| v.as_str().to_owned()),
            _ => None,
        };
        let records = bench.of_stream(Stream::Consent);
        records.into_iter().map(version).collect::<Vec<_>>()
    };
    for (text, mono_ms, told) in [
        ("1", 1_000, vec![Some("1".to_owned())]),
        ("1", 61_000, vec![Some("1".to_owned())]),
        (
            "2",
            121_000,
            vec![Some("1".to_owned()), Some("2".to_owned())],
        ),
        (
            "as read out by Bo",
            181_000,
            vec![Some("1".to_owned()), Some("2".to_owned()), None],
        ),
    ] {
        bench.durably(vec![with_text(text, mono_ms)]).unwrap();
        bench.queue_all(mono_ms + 80_000);
        assert_eq!(versions(&bench), told, "{text}");
    }
}

#[test]
fn an_erasure_empties_what_waits_is_told_and_comes_back_as_a_receipt() {
    let bench = Bench::with_people();
    bench
        .durably(vec![research(1, true, 500), research(2, true, 500)])
        .unwrap();
    bench.store.commit(beats(1, 1, 5_000, 8_000));
    bench.store.commit(beats(11, 2, 5_000, 8_000));
    bench.queue_all(200_000);

    let erase = |n| Row::Erase {
        participant: person(n),
        at: samples::at(210_000),
    };
    bench.durably(vec![erase(1)]).unwrap();
    assert!(!bench.series_on_disk().contains(pseudonym(1).as_str()));
    bench
        .durably(vec![samples::participant(3, "Cy"), research(3, true, 900)])
        .unwrap();
    bench.durably(vec![erase(3)]).unwrap();
    bench.durably(vec![erase(77)]).unwrap();
    assert_eq!(bench.rr_series().len(), 1);
    assert_eq!(bench.rr_series()[0].pseudonym, pseudonym(2));
    let told = bench.of_stream(Stream::Erasure);
    assert!(
        matches!(&told[..], [Record::Erasure(ErasureRecord { pseudonym: of, .. })] if *of == pseudonym(1)),
        "only of whom something was ever told: {told:?}"
    );
    assert_eq!(bench.state().erasures_unconfirmed, 1);
    assert_eq!(bench.count("subject"), 1);

    let seq = bench.leaving().last().unwrap().seq;
    let epoch = bench.state().epoch;
    let before = Ack {
        epoch,
        upto: seq - 1,
        ..Ack::default()
    };
    assert_eq!(bench.acknowledge(before).confirmed_erasures, 0);
    let with = Ack {
        epoch,
        upto: seq,
        ..Ack::default()
    };
    assert_eq!(bench.acknowledge(with).confirmed_erasures, 1);
    assert_eq!(bench.state().erasures_unconfirmed, 0);
    let receipts = bench.on_connection(|conn| {
        conn.query_row(
            "SELECT count(*) FROM erasure JOIN erasure_told USING (erasure_id) WHERE confirmed_mono_ms = 900000",
            [],
            |row| row.get::<_, i64>(0),
        )
        .unwrap()
    });
    assert_eq!(receipts, 1);
}

#[test]
fn a_dead_letter_goes_with_the_person_who_is_in_it() {
    let bench = Bench::with_people();
    bench.durably(vec![research(1, true, 500)]).unwrap();
    bench.store.commit(beats(1, 1, 5_000, 8_000));
    bench.queue_all(200_000);
    let seq = bench
        .leaving()
        .iter()
        .find(|m| m.stream == Stream::Rr)
        .unwrap()
        .seq;
    let refused = bench.acknowledge(Ack {
        epoch: bench.state().epoch,
        rejected: vec![Rejected {
            seq,
            why: "x".repeat(500),
        }],
        ..Ack::default()
    });
    assert_eq!((refused.rejected, refused.deleted), (vec![seq], 0));
    assert_eq!(bench.state().dead_letters, 1);
    bench.durably(vec![research(1, false, 90_000)]).unwrap();
    assert_eq!(bench.state().dead_letters, 0);
    assert_eq!(bench.count("outbox_subject"), 0);
}

#[test]
fn what_leaves_is_looked_at_once_more() {
    let bench = Bench::with_people();
    bench
        .durably(vec![research(1, true, 500), research(2, true, 500)])
        .unwrap();
    bench.store.commit(beats(1, 1, 5_000, 8_000));
    bench.store.commit(beats(11, 2, 5_000, 8_000));
    bench.queue_all(200_000);
    // As a hand on the database would do it.
    bench.pragma("UPDATE consent SET granted = 0 WHERE participant_no = 1");
    let rr = bench.rr_series();
    assert_eq!(rr.len(), 1);
    assert_eq!(rr[0].pseudonym, pseudonym(2));
    bench.pragma("UPDATE consent SET granted = 1 WHERE participant_no = 1");
    assert_eq!(bench.rr_series().len(), 1, "what was emptied stays empty");
}

#[test]
fn no_name_address_label_intention_or_id_is_in_anything_that_leaves() {
    let bench = Bench::with_people();
    let people = [1, 2].map(|n| {
        Row::Participant(ParticipantRow {
            id: person(n),
            name: Some("Wilhelmina Quist".to_owned()),
            intention: Some("sleep like a stone".to_owned()),
            has_left: false,
            since: samples::at(0),
        })
    });
    bench.store.commit(people.to_vec());
    bench.store.commit(vec![Row::Strap(StrapRow {
        label: "strap seven".to_owned(),
        name: Some("Polar H10 1A2B3C4D".to_owned()),
        ..StrapRow::new(StrapNo(1), "ble:AA:BB:CC:00:00:01", samples::at(0))
    })]);
    bench
        .durably(vec![research(1, true, 500), research(2, true, 500)])
        .unwrap();
    bench.store.commit(beats(1, 1, 5_000, 20_000));
    bench.store.commit(vec![
        samples::rr_of(50, HeartKey::Phone(person(2)), 21_000),
        samples::score(SESSION, 1, Some(person(1)), 25_000),
        group_of(25_000, 1, 3),
        group_of(30_000, 6, 6),
    ]);
    bench.queue_all(200_000);
    bench.durably(vec![research(2, false, 90_000)]).unwrap();
    bench
        .durably(vec![Row::Erase {
            participant: person(1),
            at: samples::at(95_000),
        }])
        .unwrap();
    let mut told = String::new();
    for message in bench.messages() {
        told.push_str(&message.to_json());
        told.push('\n');
    }
    for stream in [
        Stream::Rr,
        Stream::Coherence,
        Stream::Group,
        Stream::Consent,
        Stream::Erasure,
        Stream::Event,
    ] {
        let schema = format!("\"{}/1\"", stream.word());
        assert!(told.contains(&schema), "{schema} is looked at: {told}");
    }
    let told = told.to_lowercase();
    for text in [
        "wilhelmina".to_owned(),
        "quist".to_owned(),
        "stone".to_owned(),
        "aa:bb".to_owned(),
        "ble:".to_owned(),
        "seven".to_owned(),
        "polar".to_owned(),
        "1a2b3c4d".to_owned(),
        person(1).to_string(),
        person(2).to_string(),
        person(1).0.simple().to_string(),
    ] {
        assert!(!told.contains(&text), "{text}: {told}");
    }
}

#[test]
fn with_another_key_nothing_is_queued_until_the_key_is_back_or_the_study_is_another() {
    let bench = Bench::with_people();
    bench.durably(vec![research(1, true, 500)]).unwrap();
    bench.store.commit(beats(1, 1, 5_000, 8_000));
    bench.queue_all(100_000);
    let waiting = bench.leaving();
    bench.store.commit(beats(11, 1, 65_000, 68_000));

    let named_by = |study: &str, key: u8| Upstream {
        pseudonyms: Pseudonymiser::new(&FacilityKey([key; 32]), study),
        study: Study::of(study).unwrap(),
        ..rules()
    };
    let refused = Queued {
        other_key: true,
        ..Queued::default()
    };
    assert_eq!(bench.step(&named_by("default", 8), 200_000), refused);
    assert_eq!(bench.leaving(), waiting);
    assert!(bench.step(&named_by("anew", 8), 200_000).messages > 0);
    bench.store.commit(beats(21, 1, 125_000, 128_000));
    assert_eq!(bench.step(&named_by("default", 8), 300_000), refused);
    assert!(bench.step(&rules(), 300_000).messages > 0, "it is back");
}
