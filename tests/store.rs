//! The store as the program uses it: what was handed in comes back after a restart, whatever ended
//! the process and whatever became of the file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use coherence_hub::room::rows::*;
use coherence_hub::room::{HeartKey, ParticipantId, SettingsHash, StrapNo, Window};
use coherence_hub::signal::course::Point;
use coherence_hub::store::{self, Boot, InStep, Memory, Store, StoreError};
use tempfile::TempDir;
use uuid::Uuid;

const SESSION: &str = "20261120T0945Z";
const OFFSET_MS: i64 = 1_795_000_000_000;
const STRAP_1: HeartKey = HeartKey::Strap(StrapNo(1));

fn at(mono_ms: i64) -> Stamp {
    Stamp {
        mono_ms,
        wall_ms: mono_ms + OFFSET_MS,
        synced: true,
    }
}

fn boot(id: &str, mono_ms: i64) -> Boot {
    Boot {
        boot_id: id.to_owned(),
        start: at(mono_ms),
    }
}

fn person(n: u8) -> ParticipantId {
    ParticipantId(Uuid::from_bytes([n; 16]))
}

fn session_row() -> SessionRow {
    SessionRow {
        id: SESSION.to_owned(),
        starts_at_ms: 100_000 + OFFSET_MS,
        ends_at_ms: 1_000_000 + OFFSET_MS,
        start_mono_ms: 100_000,
        end_mono_ms: 1_000_000,
        offset_ms: OFFSET_MS,
        synced: true,
    }
}

fn strap_row(no: u32) -> StrapRow {
    StrapRow::new(
        StrapNo(no),
        format!("ble:AA:BB:CC:DD:EE:{no:02X}"),
        at(90_000),
    )
}

fn participant_row(n: u8) -> ParticipantRow {
    ParticipantRow {
        id: person(n),
        name: Some(format!("Name {n}")),
        intention: Some("to be here".to_owned()),
        since: at(110_000),
        has_left: false,
    }
}

fn participation_row(n: u8) -> ParticipationRow {
    ParticipationRow {
        session_id: SESSION.to_owned(),
        participant: person(n),
        joined: at(110_000),
        left: (n == 2).then(|| at(200_000)),
    }
}

fn claim_row(no: i64, n: u8, strap: u32, until: Option<i64>) -> ClaimRow {
    ClaimRow {
        no,
        participant: person(n),
        strap: StrapNo(strap),
        from: at(if no == 1 { 120_000 } else { 150_000 }),
        until: until.map(at),
    }
}

fn rr_row(id: i64, heart: HeartKey, arrived_mono_ms: i64, rr_ms: f64, mark: RrMark) -> RrRow {
    RrRow {
        id,
        heart,
        rr_ms,
        gap_ms: 0.0,
        begins: false,
        via: None,
        mark,
        beat_mono_ms: arrived_mono_ms as f64 - 0.1,
        arrived: at(arrived_mono_ms),
    }
}

fn beat(id: i64, heart: HeartKey, arrived_mono_ms: i64) -> RrRow {
    rr_row(id, heart, arrived_mono_ms, 801.5, RrMark::Accepted)
}

fn score_row(n: u8, strap: u32, mono_ms: i64) -> ScoreRow {
    ScoreRow {
        session_id: SESSION.to_owned(),
        at: at(mono_ms),
        heart: HeartKey::Strap(StrapNo(strap)),
        participant: Some(person(n)),
        score: Some(100.0 / 3.0),
        standard_error: Some(7.5),
        level: Some("low"),
        reason: None,
        status: Some("fair"),
        last_rr: Some(4),
        window: Some(Window::ending_at(mono_ms as f64 - 811.96875)),
        beats: 71,
        coverage: 0.93,
        artefact_pct: Some(0.1 + 0.2),
        age_ms: Some(812),
        peak_hz: Some(0.0977),
        mean_hr_bpm: Some(61.0),
        sdnn_ms: Some(50.0),
        rmssd_ms: Some(40.0),
        pnn50_pct: Some(12.5),
        lf_ms2: Some(1_000.0),
        hf_ms2: Some(250.0),
        lf_hf: Some(4.0),
        total_ms2: Some(1_300.0),
        algorithm: Some(1),
        settings: SettingsHash::read("0011223344556677"),
    }
}

fn group_row(mono_ms: i64, average: Option<f64>) -> GroupRow {
    GroupRow {
        session_id: SESSION.to_owned(),
        at: at(mono_ms),
        average,
        standard_error: None,
        low: 1,
        medium: 0,
        high: 2,
        participants: 4,
        scored: 3,
        hearts: 3,
        suppressed: false,
        algorithm: Some(1),
        settings: SettingsHash::read("0011223344556677"),
        synchrony: average.map(|_| SynchronyRow {
            index: 0.1 + 0.2,
            chance_high: 17.0 / 3.0,
            hearts: 3,
        }),
    }
}

/// Three people and two straps; the first person took strap 1 over from the second.
fn people() -> Vec<Row> {
    vec![
        Row::Session(session_row()),
        Row::Strap(strap_row(1)),
        Row::Strap(strap_row(2)),
        Row::Participant(participant_row(1)),
        Row::Participant(participant_row(2)),
        Row::Participant(participant_row(3)),
        Row::Participation(participation_row(1)),
        Row::Participation(participation_row(2)),
        Row::Claim(claim_row(1, 2, 1, Some(150_000))),
        Row::Claim(claim_row(2, 1, 1, None)),
    ]
}

/// Values with no short decimal form, the ends of what an f64 can say, and every mark.
fn beats() -> Vec<RrRow> {
    vec![
        rr_row(
            1,
            STRAP_1,
            300_000,
            852_f64 * 1000.0 / 1024.0,
            RrMark::Accepted,
        ),
        rr_row(2, STRAP_1, 300_800, f64::MIN_POSITIVE, RrMark::Implausible),
        rr_row(
            3,
            HeartKey::Phone(person(3)),
            300_900,
            0.1 + 0.2,
            RrMark::Suspect,
        ),
        rr_row(4, STRAP_1, 301_600, f64::MAX, RrMark::OffBody),
        rr_row(5, STRAP_1, 302_400, 0.0, RrMark::Zero),
    ]
}

fn as_rows(beats: &[RrRow]) -> Vec<Row> {
    beats.iter().cloned().map(Row::Rr).collect()
}

fn open(path: &Path, boot: Boot) -> (Store, Memory) {
    store::open(path, boot).expect("the store opens")
}

/// A directory that lives as long as the test, and where the database lies in it.
fn room() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hub.db");
    (dir, path)
}

fn durably(store: &Store, rows: Vec<Row>) -> Result<(), StoreError> {
    let (tell, told) = mpsc::channel();
    store.commit_then(rows, Box::new(move |result| tell.send(result).unwrap()));
    told.recv().unwrap()
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}{ending}", path.display()))
}

/// The file and its log, as the death of the process would leave them.
fn copy_as_it_lies(path: &Path, to: &Path) {
    for ending in ["", "-wal"] {
        fs::copy(beside(path, ending), beside(to, ending)).unwrap();
    }
}

#[tokio::test]
async fn after_a_restart_in_the_same_boot_everything_comes_back() {
    let (_dir, path) = room();
    let (store, first) = open(&path, boot("boot a", 100_000));
    assert!(first.first_start && first.past.session.is_none() && first.set_aside.is_none());
    assert_eq!((first.past.next_rr_id, first.past.next_claim_no), (1, 1));
    store.commit(people());
    store.commit(as_rows(&beats()));
    let group = [group_row(305_000, Some(41.5)), group_row(310_000, None)];
    store.commit(group.iter().cloned().map(Row::Group).collect());
    let phones_own = ScoreRow {
        algorithm: None,
        status: None,
        ..score_row(2, 2, 310_000)
    };
    let none = ScoreRow {
        score: None,
        ..score_row(1, 1, 310_000)
    };
    let scores = [score_row(1, 1, 305_000), phones_own, none];
    store.commit(scores.map(Row::Score).into());
    store.close().await.unwrap();

    let (_store, memory) = open(&path, boot("boot a", 311_000));
    let point = Point {
        at_ms: at(305_000).wall_ms,
        score: 100.0 / 3.0,
    };
    assert_eq!(memory.past.own_scores, [(person(1), point)]);
    assert!(!memory.first_start);
    assert_eq!(memory.hub_id, first.hub_id);
    assert_eq!((memory.hub_key, memory.pin), (first.hub_key, first.pin));
    assert_eq!(memory.past.session, Some(session_row()));
    assert_eq!(memory.past.straps, [strap_row(1), strap_row(2)]);
    assert_eq!(memory.past.participants, [1, 2, 3].map(participant_row));
    assert_eq!(memory.past.participations, [1, 2].map(participation_row));
    assert_eq!(memory.past.claims, [claim_row(2, 1, 1, None)]);
    assert_eq!(
        memory.past.last_claims,
        [(person(2), StrapNo(1)), (person(1), StrapNo(1))]
    );
    assert_eq!(memory.past.group, group);
    assert_eq!((memory.past.next_rr_id, memory.past.next_claim_no), (6, 3));
    assert_eq!(memory.past.recent_rr, beats());
    for (kept, given) in memory.past.recent_rr.iter().zip(beats()) {
        assert_eq!(kept.rr_ms.to_bits(), given.rr_ms.to_bits());
        assert_eq!(kept.beat_mono_ms.to_bits(), given.beat_mono_ms.to_bits());
    }
}

#[tokio::test]
async fn after_a_reboot_people_come_back_and_what_hangs_on_monotonic_time_does_not() {
    let (_dir, path) = room();
    let (store, first) = open(&path, boot("boot a", 100_000));
    store.commit(people());
    store.commit(as_rows(&beats()));
    store.close().await.unwrap();

    let (store, memory) = open(&path, boot("boot b", 20_000));
    assert_eq!(memory.hub_id, first.hub_id);
    assert_eq!(memory.past.session, None);
    assert_eq!(memory.past.recent_rr, []);
    assert_eq!(
        (
            memory.past.participants.len(),
            memory.past.participations.len()
        ),
        (3, 2)
    );
    assert_eq!((memory.past.claims.len(), memory.past.next_rr_id), (1, 6));

    // The same slot, begun again in the new boot.
    let again = SessionRow {
        start_mono_ms: -180_000,
        end_mono_ms: 720_000,
        ..session_row()
    };
    store.commit(vec![Row::Session(again.clone())]);
    store.close().await.unwrap();
    let (store, memory) = open(&path, boot("boot b", 30_000));
    assert_eq!(memory.past.session, Some(again));
    assert_eq!(store.sessions(10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_was_committed_survives_the_death_of_the_process() {
    let (dir, path) = room();
    let (store, first) = open(&path, boot("boot a", 100_000));
    store.commit(people());
    store.commit(as_rows(&beats()));
    store.ping().await.unwrap();
    let copy = dir.path().join("copy.db");
    copy_as_it_lies(&path, &copy);
    let log = fs::metadata(beside(&copy, "-wal")).unwrap();
    assert!(
        log.len() > 0,
        "the log was not worked off: there is something to survive"
    );

    let (_after, memory) = open(&copy, boot("boot a", 303_000));
    assert_eq!(memory.hub_id, first.hub_id);
    assert_eq!(memory.past.session, Some(session_row()));
    assert_eq!(memory.past.recent_rr, beats());
    drop(store);
}

#[tokio::test]
async fn a_power_cut_at_any_moment_keeps_what_was_acknowledged_before() {
    let (dir, path) = room();
    let (store, _) = open(&path, boot("boot a", 100_000));
    store.commit(people());
    let consents = |path: &Path| -> Vec<String> {
        let db = rusqlite::Connection::open(path).unwrap();
        let mut query = db
            .prepare("SELECT text_version FROM consent ORDER BY consent_no")
            .unwrap();
        query
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    };
    let mut acknowledged = Vec::new();
    for moment in 0..25_i64 {
        // Beats are on their way at any moment; who is erased may not come back.
        store.commit(
            (1..=40)
                .map(|n| {
                    Row::Rr(beat(
                        moment * 100 + n,
                        STRAP_1,
                        200_000 + moment * 1_000 + n,
                    ))
                })
                .collect(),
        );
        let version = format!("version {moment}");
        let consent = ConsentRow {
            participant: person(1),
            scope: "store".to_owned(),
            granted: true,
            text_version: version.clone(),
            at: at(201_000 + moment * 1_000),
        };
        durably(&store, vec![Row::Consent(consent)]).unwrap();
        acknowledged.push(version);
        if moment == 10 {
            durably(
                &store,
                vec![Row::Erase {
                    participant: person(2),
                    at: at(212_000),
                }],
            )
            .unwrap();
        }
        store.commit(
            (41..=80)
                .map(|n| {
                    Row::Rr(beat(
                        moment * 100 + n,
                        STRAP_1,
                        200_000 + moment * 1_000 + n,
                    ))
                })
                .collect(),
        );
        // The log is copied after the file, as the card would hold them if it kept order.
        let image = dir.path().join(format!("image{moment}.db"));
        copy_as_it_lies(&path, &image);
        let (after, memory) = open(&image, boot("boot b", 0));
        assert_eq!(memory.set_aside, None);
        let here = |n| {
            memory
                .past
                .participants
                .iter()
                .any(|row| row.id == person(n))
        };
        assert!(here(1) && here(2) == (moment < 10), "moment {moment}");
        after.close().await.unwrap();
        assert_eq!(consents(&image), acknowledged, "moment {moment}");
    }
}

#[tokio::test]
async fn a_log_torn_at_any_point_opens_with_whole_batches_up_to_there() {
    let (dir, path) = room();
    let (store, _) = open(&path, boot("boot a", 100_000));
    store.commit(people());
    for batch in 0..20 {
        let ids = batch * 10 + 1..=batch * 10 + 10;
        store.commit(
            ids.map(|id| Row::Rr(beat(id, STRAP_1, 200_000 + id * 100)))
                .collect(),
        );
    }
    store.ping().await.unwrap();
    let whole = dir.path().join("whole.db");
    copy_as_it_lies(&path, &whole);
    let log = fs::read(beside(&whole, "-wal")).unwrap();
    let mut counts = Vec::new();
    for sixteenths in 0..=16 {
        let torn = dir.path().join(format!("torn{sixteenths}.db"));
        fs::copy(&whole, &torn).unwrap();
        fs::write(beside(&torn, "-wal"), &log[..log.len() * sixteenths / 16]).unwrap();
        let (_store, memory) = open(&torn, boot("boot b", 10_000));
        assert_eq!(memory.set_aside, None);
        counts.push(memory.past.next_rr_id - 1);
    }
    assert!(counts.iter().all(|count| count % 10 == 0), "{counts:?}");
    assert!(
        counts.is_sorted() && counts[0] < 200 && counts[16] == 200,
        "{counts:?}"
    );
}

#[tokio::test]
async fn only_the_last_two_minutes_of_beats_are_handed_over() {
    let (_dir, path) = room();
    let (store, _) = open(&path, boot("boot a", 0));
    store.commit(vec![Row::Strap(strap_row(1))]);
    // 2 and 3 came through sources that took differently long to the room.
    let given = [(1, 179_999), (2, 180_010), (3, 180_000), (4, 299_000)]
        .map(|(id, mono_ms)| beat(id, STRAP_1, mono_ms));
    store.commit(as_rows(&given));
    store.close().await.unwrap();
    let (_store, memory) = open(&path, boot("boot a", 300_000));
    assert_eq!(memory.past.recent_rr, given[1..]);
}

#[tokio::test]
async fn a_room_of_forty_is_read_back_after_a_quarter_of_an_hour() {
    let (_dir, path) = room();
    let (store, _) = open(&path, boot("boot a", 0));
    let straps = (1..=40).map(|no| Row::Strap(strap_row(no)));
    store.commit(straps.chain([Row::Session(session_row())]).collect());
    let mut id = 0;
    for grid in 0..180 {
        let mut rows = Vec::new();
        for (nth, no) in (0..6).flat_map(|nth| (1..=40).map(move |no| (nth, no))) {
            id += 1;
            rows.push(Row::Rr(beat(
                id,
                HeartKey::Strap(StrapNo(no)),
                grid * 5_000 + nth * 833,
            )));
        }
        let grid_mono_ms = (grid + 1) * 5_000;
        rows.extend((1..=40).map(|no| {
            Row::Score(ScoreRow {
                participant: None,
                ..score_row(1, no, grid_mono_ms)
            })
        }));
        rows.push(Row::Group(group_row(grid_mono_ms, Some(50.0))));
        store.commit(rows);
        store.ping().await.unwrap();
    }
    store.close().await.unwrap();
    let (store, memory) = open(&path, boot("boot a", 900_000));
    assert_eq!(memory.past.next_rr_id - 1, 180 * 240);
    assert_eq!(memory.past.recent_rr.len(), 24 * 240);
    assert_eq!(memory.past.group.len(), 180);
    let (session, group) = store.session(SESSION.to_owned()).await.unwrap().unwrap();
    assert_eq!(
        (session.participants, session.scored, session.grid_points),
        (4, 3, 180)
    );
    assert_eq!(group.len(), 180);
}

#[tokio::test]
async fn history_is_listed_newest_first_even_if_the_wall_clock_went_back() {
    let (_dir, path) = room();
    let (store, _) = open(&path, boot("boot a", 0));
    let session = |id: &str, start_mono_ms, starts_at_ms| {
        let id = id.to_owned();
        Row::Session(SessionRow {
            id,
            start_mono_ms,
            starts_at_ms,
            ..session_row()
        })
    };
    store.commit(vec![
        session("first", 0, 5_000_000),
        session("second", 900_000, 1_000),
    ]);
    store.close().await.unwrap();
    let (store, _) = open(&path, boot("boot b", 0));
    store.commit(vec![session("third", 10, 500)]);
    let ids = |kept: Vec<store::SessionKept>| -> Vec<String> {
        kept.into_iter().map(|kept| kept.session.id).collect()
    };
    assert_eq!(
        ids(store.sessions(10).await.unwrap()),
        ["third", "second", "first"]
    );
    assert_eq!(ids(store.sessions(2).await.unwrap()), ["third", "second"]);
    assert_eq!(store.session("fourth".to_owned()).await.unwrap(), None);
}

#[tokio::test]
async fn a_person_gets_all_of_their_own_and_nothing_of_others() {
    let (_dir, path) = room();
    let (store, _) = open(&path, boot("boot a", 100_000));
    store.commit(people());
    let given = [
        beat(1, STRAP_1, 119_999),                    // nobody's
        beat(2, STRAP_1, 149_999),                    // the second person's, by claim 1
        beat(3, HeartKey::Phone(person(2)), 149_999), // the second person's, by phone
        beat(4, HeartKey::Phone(person(3)), 149_999),
        beat(5, HeartKey::Strap(StrapNo(2)), 149_999),
        beat(6, STRAP_1, 150_000), // after claim 1
    ];
    store.commit(as_rows(&given));
    let scores = [score_row(2, 1, 145_000), score_row(1, 1, 155_000)];
    store.commit(scores.iter().cloned().map(Row::Score).collect());
    let pair = |a, b, mono_ms| {
        Row::Pair(PairRow {
            session_id: SESSION.to_owned(),
            at: at(mono_ms),
            a: person(a),
            b: person(b),
            plv: 0.8,
            lag_rad: 0.1,
        })
    };
    store.commit(vec![
        pair(1, 2, 145_000),
        pair(1, 3, 145_000),
        pair(2, 3, 145_000),
        pair(1, 3, 205_000),
    ]);
    let consent = |granted| ConsentRow {
        participant: person(2),
        scope: "research".to_owned(),
        granted,
        text_version: "2026-11".to_owned(),
        at: at(140_000),
    };
    durably(&store, vec![Row::Consent(consent(true))]).unwrap();
    durably(&store, vec![Row::Consent(consent(false))]).unwrap();

    let data = store
        .participant_data(person(2), true)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(data.participant, participant_row(2));
    assert_eq!(data.participations, [participation_row(2)]);
    assert_eq!(data.claims, [claim_row(1, 2, 1, Some(150_000))]);
    assert_eq!(data.straps, [(StrapNo(1), "strap 1".to_owned())]);
    assert_eq!(data.consents, [consent(true), consent(false)]);
    assert_eq!(data.scores, scores[..1]);
    let in_step = InStep {
        session_id: SESSION.to_owned(),
        at: at(145_000),
        others: 2,
    };
    assert_eq!(data.in_step, std::slice::from_ref(&in_step));
    assert_eq!(data.rr, given[1..3]);
    let without = store.participant_data(person(2), false).await.unwrap();
    assert!(!data.rr.is_empty() && without.unwrap().rr.is_empty());
    assert_eq!(store.participant_data(person(9), true).await.unwrap(), None);

    durably(
        &store,
        vec![Row::Erase {
            participant: person(2),
            at: at(160_000),
        }],
    )
    .unwrap();
    assert_eq!(store.participant_data(person(2), true).await.unwrap(), None);
    let other = store
        .participant_data(person(1), true)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (other.scores, other.rr),
        (scores[1..].to_vec(), given[5..].to_vec())
    );
    let left = |others, mono_ms| InStep {
        others,
        at: at(mono_ms),
        ..in_step.clone()
    };
    assert_eq!(other.in_step, [left(1, 145_000), left(1, 205_000)]);
}

#[tokio::test]
async fn a_name_changed_is_the_same_person_and_a_claim_closed_the_same_claim() {
    let (_dir, path) = room();
    let (store, _) = open(&path, boot("boot a", 100_000));
    store.commit(people());
    let renamed = ParticipantRow {
        name: None,
        ..participant_row(1)
    };
    let returned = ParticipationRow {
        left: None,
        ..participation_row(2)
    };
    store.commit(vec![
        Row::Participant(renamed.clone()),
        Row::Claim(claim_row(2, 1, 1, Some(170_000))),
        Row::Participation(returned.clone()),
    ]);
    store.close().await.unwrap();
    let (_store, memory) = open(&path, boot("boot a", 180_000));
    assert_eq!(
        memory.past.participants,
        [renamed, participant_row(2), participant_row(3)]
    );
    assert_eq!(memory.past.claims, []);
    assert_eq!(memory.past.participations, [participation_row(1), returned]);
}

#[tokio::test]
async fn a_lock_held_elsewhere_delays_rows_and_loses_none() {
    let (_dir, path) = room();
    let (store, _) = open(&path, boot("boot a", 100_000));
    store.commit(people());
    store.ping().await.unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    store.commit(as_rows(&beats()[..1]));
    store.ping().await.unwrap();
    let health = store.health();
    assert!(health.failing && health.waiting_rows == 1, "{health:?}");
    assert_eq!(store.sessions(1).await.unwrap().len(), 1, "reading goes on");
    other.execute_batch("ROLLBACK").unwrap();
    store.commit(as_rows(&beats()[1..2]));
    store.ping().await.unwrap();
    let health = store.health();
    assert!(
        !health.failing && health.waiting_rows == 0 && health.dropped == 0,
        "{health:?}"
    );
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let (dir, path) = room();
    let (store, _) = open(&path, boot("boot a", 0));
    store.close().await.unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.pragma_update(None, "user_version", 1_000).unwrap();
    drop(other);
    let before = fs::read(&path).unwrap();
    let error = store::open(&path, boot("boot a", 1_000)).expect_err("it is refused");
    assert!(
        matches!(error, StoreError::NewerSchema { found: 1_000, .. }),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap(), before);
    let names = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert!(
        names
            .into_iter()
            .all(|name| !name.to_string_lossy().contains("corrupt"))
    );
}

#[tokio::test]
async fn the_database_and_its_log_are_for_the_hub_alone() {
    let (_dir, path) = room();
    let (store, _) = open(&path, boot("boot a", 0));
    store.commit(people());
    store.ping().await.unwrap();
    for ending in ["", "-wal", "-shm"] {
        let mode = fs::metadata(beside(&path, ending))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{ending}");
    }
}

#[tokio::test]
async fn closing_writes_what_was_handed_in_and_ends_the_other_handles() {
    let (_dir, path) = room();
    let (store, _) = open(&path, boot("boot a", 100_000));
    let other = store.clone();
    store.commit(people());
    store.commit(as_rows(&beats()));
    store.close().await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), other.ended())
        .await
        .expect("it has ended");
    assert!(matches!(other.ping().await, Err(StoreError::Closed)));
    let late = durably(&other, vec![Row::Strap(strap_row(3))]);
    assert!(matches!(late, Err(StoreError::Closed)), "{late:?}");
    other.commit(vec![Row::Strap(strap_row(3))]);
    assert_eq!(other.health().dropped, 1);
    assert!(matches!(other.close().await, Err(StoreError::Closed)));
    let (_store, memory) = open(&path, boot("boot a", 303_000));
    assert_eq!(memory.past.recent_rr, beats());
}
#[tokio::test]
async fn a_file_that_is_no_database_is_set_aside_and_a_new_hub_begins() {
    let (dir, path) = room();
    fs::write(
        &path,
        "this was never a database, only a long text\n".repeat(200),
    )
    .unwrap();
    let (store, memory) = open(&path, boot("boot a", 0));
    let aside = dir.path().join(format!("hub.db.corrupt-{OFFSET_MS}"));
    assert_eq!(memory.set_aside, Some(aside.display().to_string()));
    assert!(
        fs::read_to_string(aside)
            .unwrap()
            .starts_with("this was never")
    );
    assert!(memory.first_start);
    store.commit(people());
    store.close().await.unwrap();
    let (_store, memory) = open(&path, boot("boot a", 5_000));
    assert_eq!(
        (memory.set_aside, memory.past.participants.len()),
        (None, 3)
    );
}

#[tokio::test]
async fn a_database_with_torn_pages_is_set_aside_and_the_hub_stays_the_same_hub() {
    let (_dir, path) = room();
    let (store, first) = open(&path, boot("boot a", 0));
    store.commit(people());
    store.commit(
        (1..=2_000)
            .map(|id| Row::Rr(beat(id, STRAP_1, id)))
            .collect(),
    );
    store.close().await.unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - 3 * 4096..end - 4096].fill(0xA5);
    fs::write(&path, bytes).unwrap();
    let (_store, memory) = open(&path, boot("boot b", 0));
    assert!(memory.set_aside.is_some() && !memory.first_start);
    assert_eq!(memory.hub_id, first.hub_id);
    assert_eq!((memory.hub_key, memory.pin), (first.hub_key, first.pin));
    assert_eq!(
        (memory.past.participants.len(), memory.past.next_rr_id),
        (0, 1)
    );
}
