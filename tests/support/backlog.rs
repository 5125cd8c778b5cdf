//! A database in which much waits to go upstream: made through the store itself, as a hub would have
//! left it that was cut off for hours. And what of it the centre must have in the end.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use coherence_hub::record::{Pseudonymiser, Study};
use coherence_hub::room::rows::*;
use coherence_hub::room::{HeartKey, ParticipantId, SettingsHash, StrapNo, Suppression};
use coherence_hub::store::{self, Boot, Store, Upstream};
use flate2::read::GzDecoder;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use uuid::Uuid;

use super::collector::Ledger;

const START_MONO_MS: i64 = 60_000;
/// Rows handed to the store at a time.
const AT_A_TIME: usize = 5_000;

/// Names and intentions, which must never be seen outside.
pub const NAME: &str = "Zacharias Quittenbaum";
pub const INTENTION: &str = "to forgive my brother";

fn stamp(mono_ms: i64) -> Stamp {
    let real_ms = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("the clock is right")
        .as_millis() as i64;
    // Two days ago, on a whole minute.
    let offset_ms = (real_ms / 60_000 - 2 * 1_440) * 60_000;
    Stamp {
        mono_ms,
        wall_ms: mono_ms + offset_ms,
        synced: true,
    }
}

pub fn person(n: usize) -> ParticipantId {
    ParticipantId(Uuid::from_u128(0x4a11_u128 << 64 | (n as u128 + 1)))
}

fn session(id: &str, start_mono_ms: i64, end_mono_ms: i64) -> SessionRow {
    let start = stamp(start_mono_ms);
    SessionRow {
        id: id.to_owned(),
        starts_at_ms: start.wall_ms,
        ends_at_ms: stamp(end_mono_ms).wall_ms,
        start_mono_ms,
        end_mono_ms,
        offset_ms: start.wall_ms - start.mono_ms,
        synced: true,
    }
}

fn people(count: usize, end_mono_ms: i64) -> Vec<Row> {
    let start = stamp(START_MONO_MS);
    let session = session("20261101T0000Z", START_MONO_MS, end_mono_ms);
    let mut rows = vec![Row::Session(session)];
    for n in 0..count {
        let strap = StrapNo(n as u32 + 1);
        rows.push(Row::Strap(StrapRow {
            name: Some("Polar H10 AFFE0815".to_owned()),
            ..StrapRow::new(strap, format!("ble:C0:FF:EE:00:00:{n:02X}"), start)
        }));
        rows.push(Row::Participant(ParticipantRow {
            id: person(n),
            name: Some(NAME.to_owned()),
            intention: Some(INTENTION.to_owned()),
            since: start,
            has_left: false,
        }));
        rows.push(Row::Participation(ParticipationRow {
            session_id: "20261101T0000Z".to_owned(),
            participant: person(n),
            joined: start,
            left: None,
        }));
        rows.push(Row::Claim(ClaimRow {
            no: n as i64 + 1,
            participant: person(n),
            strap,
            from: start,
            until: Some(stamp(end_mono_ms)),
        }));
        // The last person takes part in everything, and consents to nothing.
        if n + 1 < count {
            rows.push(Row::Consent(ConsentRow {
                participant: person(n),
                scope: "research".to_owned(),
                granted: true,
                text_version: "2".to_owned(),
                at: start,
            }));
        }
    }
    rows
}

/// One minute of beats and scores.
fn minute(count: usize, from_mono_ms: i64, rr_id: &mut i64) -> Vec<Row> {
    let mut rows = Vec::new();
    for second in 0..60 {
        let mono_ms = from_mono_ms + second * 1_000 + 500;
        for n in 0..count {
            *rr_id += 1;
            let heart = HeartKey::Strap(StrapNo(n as u32 + 1));
            rows.push(Row::Rr(RrRow {
                id: *rr_id,
                heart,
                rr_ms: 700.0 + ((*rr_id * 7919) % 400_000) as f64 / 1_024.0,
                gap_ms: 0.0,
                begins: false,
                via: None,
                mark: RrMark::Accepted,
                beat_mono_ms: mono_ms as f64 - 100.0,
                arrived: stamp(mono_ms),
            }));
            if second % 5 == 0 {
                rows.push(Row::Score(score(
                    n,
                    heart,
                    from_mono_ms + second * 1_000,
                    *rr_id,
                )));
            }
        }
        if second % 5 == 0 {
            rows.push(Row::Group(GroupRow {
                session_id: "20261101T0000Z".to_owned(),
                at: stamp(from_mono_ms + second * 1_000),
                average: Some(41.25 + second as f64 / 7.0),
                standard_error: None,
                low: 1,
                medium: 1,
                high: count as u32 - 2,
                participants: count as u32,
                scored: count as u32,
                hearts: count as u32,
                suppressed: false,
                algorithm: Some(1),
                settings: SettingsHash::read("0011223344556677"),
                synchrony: None,
            }));
        }
    }
    rows
}

fn score(n: usize, heart: HeartKey, mono_ms: i64, rr_id: i64) -> ScoreRow {
    let vary = ((mono_ms / 1_000 + n as i64 * 37) % 100) as f64;
    ScoreRow {
        session_id: "20261101T0000Z".to_owned(),
        at: stamp(mono_ms),
        heart,
        participant: Some(person(n)),
        score: Some(vary / 1.013),
        standard_error: Some(7.5),
        level: Some("low"),
        reason: None,
        status: Some("good"),
        last_rr: Some(rr_id),
        window: None,
        beats: 60 + n as u32 % 20,
        coverage: 0.97,
        artefact_pct: Some(vary / 31.0),
        age_ms: Some(300 + vary as i64),
        peak_hz: Some(0.09 + vary / 9_000.0),
        mean_hr_bpm: Some(60.0 + vary / 3.0),
        sdnn_ms: Some(50.0 + vary / 7.0),
        rmssd_ms: Some(40.0 + vary / 5.0),
        pnn50_pct: Some(vary / 9.0),
        lf_ms2: Some(1_000.0 + vary * 13.7),
        hf_ms2: Some(250.0 + vary * 3.1),
        lf_hf: Some(4.0 + vary / 77.0),
        total_ms2: Some(1_300.0 + vary * 17.3),
        algorithm: Some(1),
        settings: SettingsHash::read("0011223344556677"),
    }
}

/// So many minutes of so many people, the last of whom did not consent, queued and not sent.
/// Gives the number of messages.
pub async fn backlog(data_dir: &Path, count: usize, minutes: i64) -> u64 {
    let boot = Boot {
        boot_id: "an earlier start".to_owned(),
        start: stamp(START_MONO_MS),
    };
    let path = data_dir.join(store::FILE_NAME);
    let (store, _) = store::open(&path, boot).expect("the store opens");
    let end_mono_ms = START_MONO_MS + minutes * 60_000;
    commit(&store, people(count, end_mono_ms)).await;
    let mut rr_id = 0;
    let mut rows = Vec::new();
    for n in 0..minutes {
        rows.extend(minute(count, START_MONO_MS + n * 60_000, &mut rr_id));
        if rows.len() > AT_A_TIME || n + 1 == minutes {
            commit(&store, std::mem::take(&mut rows)).await;
        }
    }
    queued(store, data_dir, stamp(end_mono_ms + 600_000)).await
}

/// The hub goes on in another boot, for so many minutes in which only the group is told of.
pub async fn goes_on(data_dir: &Path, minutes: i64) -> u64 {
    // Later than everything before: both boots have the same offset.
    let start_mono_ms = START_MONO_MS + 600 * 60_000;
    let boot = Boot {
        boot_id: "a start after that".to_owned(),
        start: stamp(start_mono_ms),
    };
    let path = data_dir.join(store::FILE_NAME);
    let (store, _) = store::open(&path, boot).expect("the store opens");
    let session = session(
        "20261101T1000Z",
        start_mono_ms,
        start_mono_ms + minutes * 60_000,
    );
    let id = session.id.clone();
    commit(&store, vec![Row::Session(session)]).await;
    for n in 0..minutes {
        let rows = minute(3, start_mono_ms + n * 60_000, &mut 0);
        let groups = rows.into_iter().filter_map(|row| match row {
            Row::Group(row) => Some(Row::Group(GroupRow {
                session_id: id.clone(),
                ..row
            })),
            _ => None,
        });
        commit(&store, groups.collect()).await;
    }
    let now = stamp(start_mono_ms + (minutes + 10) * 60_000);
    queued(store, data_dir, now).await
}

/// Queues every minute that is closed, and closes the store; gives the number of messages that wait.
async fn queued(store: Store, data_dir: &Path, now: Stamp) -> u64 {
    let key = store::facility_key(Path::new(""), None, data_dir).expect("a key");
    let study = Study::of("default").expect("a study");
    let rules = Arc::new(Upstream {
        pseudonyms: Pseudonymiser::new(&key, study.as_str()),
        study,
        suppression: Suppression {
            min_group: 3,
            min_distribution: 5,
        },
        outbox_bytes_max: 256 << 20,
        outbox_age_max_ms: 30 * 86_400_000,
    });
    while store
        .queue_closed_minute(Arc::clone(&rules), now)
        .await
        .expect("the disk takes it")
        .more
    {}
    let waiting = store.outbox_state().await.expect("the store lives").rows;
    store.close().await.expect("everything is written");
    waiting
}

/// Makes the messages that wait so many times as many, each with its own number.
pub fn multiply(data_dir: &Path, times: i64) {
    let db = Connection::open(data_dir.join(store::FILE_NAME)).expect("the hub's database");
    let last = one(&db, "SELECT max(seq) FROM outbox");
    for copy in 1..times {
        let ahead = copy * last;
        for sql in [
            "INSERT INTO outbox SELECT seq + ?1, stream, body, boot_no, mono_ms, wall_ms, wall_synced, until_boot_no,
                 until_mono_ms, until_wall_ms, until_wall_synced FROM outbox WHERE seq <= ?2",
            "INSERT INTO outbox_subject SELECT seq + ?1, participant_no FROM outbox_subject WHERE seq <= ?2",
        ] {
            db.execute(sql, [ahead, last]).expect("the schema");
        }
    }
    db.execute_batch(
        "UPDATE uplink SET waiting = (SELECT count(*) FROM outbox),
             waiting_bytes = (SELECT sum(length(body)) FROM outbox)",
    )
    .expect("the schema");
}

/// The last minute that is stored is queued too.
pub fn everything_is_queued(data_dir: &Path) -> bool {
    let sql = "SELECT built_rr_id = (SELECT max(rr_id) FROM rr) FROM uplink";
    one(&read_only(data_dir), sql) == 1
}

/// Grid points that are stored, and the distances between them that are not 5 s, by boot and session.
pub fn grid(data_dir: &Path) -> (i64, Vec<i64>) {
    let db = read_only(data_dir);
    let points = one(&db, "SELECT count(*) FROM group_score");
    let holes = db
        .prepare(
            "SELECT apart FROM (SELECT mono_ms - lag(mono_ms) OVER
                 (PARTITION BY boot_no, session_no ORDER BY mono_ms) AS apart FROM group_score)
             WHERE apart IS NOT NULL AND apart <> 5000",
        )
        .and_then(|mut query| query.query_map([], |row| row.get(0))?.collect())
        .expect("the schema");
    (points, holes)
}

async fn commit(store: &Store, rows: Vec<Row>) {
    let (done, wait) = tokio::sync::oneshot::channel();
    store.commit_then(
        rows,
        Box::new(move |result| {
            let _ = done.send(result);
        }),
    );
    wait.await
        .expect("the store lives")
        .expect("the disk takes it");
}

fn read_only(data_dir: &Path) -> Connection {
    let path = data_dir.join(store::FILE_NAME);
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("the hub's database")
}

fn one(db: &Connection, sql: &str) -> i64 {
    db.query_row(sql, [], |row| row.get(0)).expect("the schema")
}

/// Messages that wait.
pub fn waiting(data_dir: &Path) -> i64 {
    one(&read_only(data_dir), "SELECT count(*) FROM outbox")
}

/// Numbers of the messages that wait.
pub fn waiting_seqs(data_dir: &Path) -> Vec<i64> {
    read_only(data_dir)
        .prepare("SELECT seq FROM outbox ORDER BY seq")
        .and_then(|mut query| query.query_map([], |row| row.get(0))?.collect())
        .expect("the schema")
}

pub fn dead_letters(data_dir: &Path) -> i64 {
    one(&read_only(data_dir), "SELECT count(*) FROM dead_letter")
}

pub fn hub_id(data_dir: &Path) -> String {
    read_only(data_dir)
        .query_row("SELECT hub_id FROM meta", [], |row| row.get(0))
        .expect("the schema")
}

/// Personal messages that wait, with number and stream.
fn unsent(db: &Connection) -> Vec<(i64, String, Value)> {
    let unpacked = |row: &rusqlite::Row<'_>| {
        let body: Vec<u8> = row.get(2)?;
        let json = serde_json::from_reader(GzDecoder::new(body.as_slice()));
        Ok((
            row.get(0)?,
            row.get(1)?,
            json.expect("bodies are JSON in gzip"),
        ))
    };
    db.prepare(
        "SELECT seq, stream, body FROM outbox WHERE stream IN ('rr', 'coherence') ORDER BY seq",
    )
    .and_then(|mut query| query.query_map([], unpacked)?.collect())
    .expect("the schema")
}

/// THE ORACLE: what the collector applied is what the hub keeps of those who consented, every interval
/// and every score once, and nothing of anybody else; and no number is missing. Only what was queued
/// and acknowledged counts. Gives the number of intervals that were compared.
pub fn applied_is_what_is_kept(data_dir: &Path, ledger: &Ledger, hub: &str) -> usize {
    let db = read_only(data_dir);
    // A hub that lives has queued something since: that counts as kept and not told.
    let mut unsent = unsent(&db);
    assert!(unsent.len() <= 2, "everything was acknowledged: {unsent:?}");
    let waiting = waiting_seqs(data_dir);
    let epoch = one(&db, "SELECT epoch FROM uplink");
    let last = one(&db, "SELECT seq FROM sqlite_sequence WHERE name = 'outbox'");
    let applied = ledger.settled(hub, epoch as u64);
    unsent.retain(|(seq, _, _)| !applied.contains(&seq.unsigned_abs()));
    let missing: Vec<i64> = (1..=last)
        .filter(|seq| !applied.contains(&seq.unsigned_abs()) && !waiting.contains(seq))
        .collect();
    assert!(missing.is_empty(), "never applied: {missing:?} of {last}");

    // Kept, by pseudonym, in the order of arrival.
    let mut kept: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let mut query = db
        .prepare(
            "SELECT DISTINCT r.rr_id, u.pseudonym, r.rr_ms FROM uplink w, rr r
             JOIN claim c ON c.strap_no = r.strap_no
                 AND (r.boot_no, r.mono_ms) >= (c.from_boot_no, c.from_mono_ms)
                 AND (c.until_mono_ms IS NULL OR (r.boot_no, r.mono_ms) < (c.until_boot_no, c.until_mono_ms))
                 AND (r.boot_no, r.beat_mono_ms) >= (c.from_boot_no, c.from_mono_ms)
             JOIN consent o ON o.participant_no = c.participant_no AND o.scope = 'research' AND o.granted
                 AND (r.boot_no, r.mono_ms) >= (o.boot_no, o.mono_ms)
                 AND (r.boot_no, r.beat_mono_ms) >= (o.boot_no, o.mono_ms)
             JOIN subject u ON u.participant_no = c.participant_no
             WHERE r.rr_id <= w.built_rr_id ORDER BY r.rr_id",
        )
        .expect("the schema");
    let mut rows = query.query([]).expect("the schema");
    while let Some(row) = rows.next().expect("the rows") {
        kept.entry(row.get(1).expect("a pseudonym"))
            .or_default()
            .push(row.get(2).expect("an interval"));
    }
    let mut told: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let unsent_rr = unsent.iter().filter(|(_, stream, _)| stream == "rr");
    let records = ledger.of(hub, epoch as u64, "rr").map(|(_, record)| record);
    for record in records.chain(unsent_rr.map(|(_, _, record)| record)) {
        for series in record["series"].as_array().expect("series") {
            let name = series["pseudonym"].as_str().expect("a pseudonym");
            let intervals = series["rr"].as_array().expect("intervals");
            told.entry(name.to_owned())
                .or_default()
                .extend(intervals.iter().map(|rr| rr.as_f64().expect("a number")));
        }
    }
    assert_eq!(
        told.keys().collect::<Vec<_>>(),
        kept.keys().collect::<Vec<_>>(),
        "the people"
    );
    for (name, intervals) in &kept {
        let told = &told[name];
        let differs = told
            .iter()
            .zip(intervals)
            .position(|(one, other)| one != other);
        assert_eq!(
            (told.len(), differs),
            (intervals.len(), None),
            "the intervals of one person"
        );
    }

    let scores = one(
        &db,
        "SELECT count(DISTINCT s.score_no) FROM uplink w, score s
         JOIN consent o ON o.participant_no = s.participant_no AND o.scope = 'research' AND o.granted
             AND (s.boot_no, s.mono_ms) >= (o.boot_no, o.mono_ms)
         WHERE s.score_no <= w.built_score_no",
    );
    let unsent_scores = unsent.iter().filter(|(_, stream, _)| stream == "coherence");
    let records = ledger.of(hub, epoch as u64, "coherence");
    let told_scores: usize = records
        .map(|(_, record)| record)
        .chain(unsent_scores.map(|(_, _, record)| record))
        .flat_map(|record| record["series"].as_array().expect("series"))
        .map(|series| series["at"].as_array().expect("grid points").len())
        .sum();
    assert_eq!(told_scores as i64, scores, "scores of those who consented");
    kept.values().map(Vec::len).sum()
}
