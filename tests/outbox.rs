//! The outbox as the uplink uses it: whatever fails, comes late, comes twice or is started anew, the
//! centre ends up with every consented beat once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use coherence_hub::record::{
    Ack, FacilityKey, Message, Pseudonymiser, Record, SeqRange, Stream, Study,
};
use coherence_hub::room::rows::*;
use coherence_hub::room::{HeartKey, ParticipantId, SettingsHash, StrapNo, Suppression};
use coherence_hub::store::{self, Boot, Store, Upstream};
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

const SESSION: &str = "20261120T0945Z";
const OFFSET_MS: i64 = 1_795_000_000_000;
const MINUTE_MS: i64 = 60_000;

fn at(mono_ms: i64) -> Stamp {
    Stamp {
        mono_ms,
        wall_ms: mono_ms + OFFSET_MS,
        synced: true,
    }
}

fn person(n: u8) -> ParticipantId {
    ParticipantId(Uuid::from_bytes([n; 16]))
}

fn rules() -> Upstream {
    Upstream {
        pseudonyms: Pseudonymiser::new(&FacilityKey([3; 32]), "default"),
        study: Study::of("default").unwrap(),
        suppression: Suppression {
            min_group: 3,
            min_distribution: 5,
        },
        outbox_bytes_max: 256 << 20,
        outbox_age_max_ms: 30 * 86_400_000,
    }
}

/// A room in which so many people wear a strap each and consented from the start.
fn people(count: u8) -> Vec<Row> {
    let session = SessionRow {
        id: SESSION.to_owned(),
        starts_at_ms: OFFSET_MS,
        ends_at_ms: OFFSET_MS + 900_000,
        start_mono_ms: 0,
        end_mono_ms: 900_000,
        offset_ms: OFFSET_MS,
        synced: true,
    };
    let of = |n: u8| {
        [
            Row::Strap(StrapRow::new(
                StrapNo(n.into()),
                format!("ble:AA:BB:CC:DD:EE:{n:02X}"),
                at(0),
            )),
            Row::Participant(ParticipantRow {
                id: person(n),
                name: Some(format!("Name {n}")),
                intention: None,
                has_left: false,
                since: at(0),
            }),
            Row::Claim(ClaimRow {
                no: n.into(),
                participant: person(n),
                strap: StrapNo(n.into()),
                from: at(0),
                until: None,
            }),
            Row::Consent(ConsentRow {
                participant: person(n),
                scope: "research".to_owned(),
                granted: true,
                text_version: "1".to_owned(),
                at: at(0),
            }),
        ]
    };
    let all = (1..=count).flat_map(of);
    [Row::Session(session)].into_iter().chain(all).collect()
}

fn beat(id: i64, n: u8, arrived_mono_ms: i64) -> Row {
    Row::Rr(RrRow {
        id,
        heart: HeartKey::Strap(StrapNo(n.into())),
        // A thousand and twenty-fourths, each its own: by it a beat is found again.
        rr_ms: (1_024 + id) as f64 * 1000.0 / 1024.0,
        gap_ms: 0.0,
        begins: false,
        via: None,
        mark: RrMark::Accepted,
        beat_mono_ms: arrived_mono_ms as f64,
        arrived: at(arrived_mono_ms),
    })
}

fn id_of(rr_ms: f64) -> i64 {
    (rr_ms * 1024.0 / 1000.0) as i64 - 1_024
}

fn score(n: u8, mono_ms: i64, salt: f64) -> Row {
    let figure = |scale: f64| Some(scale * (0.7 + 0.3 * (salt * 12.9898).sin()));
    Row::Score(ScoreRow {
        session_id: SESSION.to_owned(),
        at: at(mono_ms),
        heart: HeartKey::Strap(StrapNo(n.into())),
        participant: Some(person(n)),
        score: figure(90.0),
        standard_error: Some(7.5),
        level: Some("high"),
        reason: None,
        status: Some("good"),
        last_rr: None,
        window: None,
        beats: 72,
        coverage: 0.98,
        artefact_pct: Some(0.0),
        age_ms: Some(412),
        peak_hz: figure(0.1),
        mean_hr_bpm: figure(70.0),
        sdnn_ms: figure(60.0),
        rmssd_ms: figure(45.0),
        pnn50_pct: figure(20.0),
        lf_ms2: figure(2_000.0),
        hf_ms2: figure(400.0),
        lf_hf: figure(5.0),
        total_ms2: figure(2_900.0),
        algorithm: Some(1),
        settings: SettingsHash::read("0011223344556677"),
    })
}

fn open(path: &Path) -> Store {
    let boot = Boot {
        boot_id: "a".to_owned(),
        start: at(0),
    };
    store::open(path, boot).expect("the store opens").0
}

fn room() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hub.db");
    (dir, path)
}

async fn queue_all(store: &Store, rules: &Upstream, now_ms: i64) -> u64 {
    let rules = Arc::new(rules.clone());
    let mut messages = 0;
    loop {
        let queued = store
            .queue_closed_minute(Arc::clone(&rules), at(now_ms))
            .await
            .unwrap();
        messages += queued.messages;
        if !queued.more {
            return messages;
        }
    }
}

/// The centre, reduced to what counts here.
#[derive(Default)]
struct Centre {
    /// By epoch and number: which beats.
    stored: BTreeMap<(i64, i64), Vec<i64>>,
    /// Numbers of which was told that they will not come.
    gone: BTreeSet<(i64, i64)>,
}

impl Centre {
    fn take(&mut self, body: &[u8]) {
        let message = Message::from_gzip(body).expect("what is sent can be read");
        let (epoch, seq) = (message.head.epoch, message.head.seq);
        let beats = match &message.record {
            Record::Rr(record) => record
                .series
                .iter()
                .flat_map(|series| series.rr.iter().map(|rr| id_of(rr.get())))
                .collect(),
            _ => Vec::new(),
        };
        if let Record::Gap(gap) = &message.record {
            for SeqRange { first, last } in &gap.ranges {
                let numbers = (*first..=*last).map(|seq| (gap.of_epoch, seq));
                self.gone.extend(numbers);
            }
        }
        let before = self.stored.insert((epoch, seq), beats.clone());
        assert!(
            before.is_none_or(|before| before == beats),
            "a number means one message for ever"
        );
    }

    fn ack(&self, epoch: i64) -> Ack {
        let has =
            |seq: i64| self.stored.contains_key(&(epoch, seq)) || self.gone.contains(&(epoch, seq));
        let upto = (1..).take_while(|seq| has(*seq)).last().unwrap_or(0);
        let beyond = self.stored.range((epoch, upto + 1)..(epoch, i64::MAX));
        Ack {
            epoch,
            upto,
            also: beyond.map(|((_, seq), _)| *seq).collect(),
            rejected: Vec::new(),
        }
    }

    fn beats(&self) -> Vec<i64> {
        let mut beats: Vec<i64> = self.stored.values().flatten().copied().collect();
        beats.sort_unstable();
        beats
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// So many seconds pass, with a beat in each.
    Live(u8),
    Queue,
    /// Some of what waits reaches the centre: from the nth on, so many.
    Send(u8, u8),
    /// The centre says what it has.
    Acknowledge,
    /// Some acknowledgement arrives, perhaps an old one.
    Hear(prop::sample::Index),
    Restart,
    /// The disk is nearly full.
    Thin(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_u8..100).prop_map(Step::Live),
        3 => Just(Step::Queue),
        4 => (0_u8..6, 1_u8..12).prop_map(|(from, count)| Step::Send(from, count)),
        3 => Just(Step::Acknowledge),
        3 => any::<prop::sample::Index>().prop_map(Step::Hear),
        1 => Just(Step::Restart),
        1 => (0_u16..3_000).prop_map(Step::Thin),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_any_order_of_failures_nothing_is_lost_untold_and_nothing_is_doubled(
        steps in prop::collection::vec(step(), 1..40)
    ) {
        Runtime::new().unwrap().block_on(play(steps));
    }
}

async fn play(steps: Vec<Step>) {
    let (_dir, path) = room();
    let mut store = open(&path);
    store.commit(people(1));
    let mut centre = Centre::default();
    let mut acks: Vec<Ack> = Vec::new();
    let (mut now_ms, mut beats, mut thinned) = (0, 0, 0);
    for step in steps {
        match step {
            Step::Live(seconds) => {
                let live =
                    (0..i64::from(seconds)).map(|n| beat(beats + n + 1, 1, now_ms + n * 1_000));
                store.commit(live.collect());
                beats += i64::from(seconds);
                now_ms += i64::from(seconds) * 1_000;
            }
            Step::Queue => {
                queue_all(&store, &rules(), now_ms).await;
            }
            Step::Send(from, count) => {
                let waiting = store.outbox_after(0, 64).await.unwrap();
                for message in waiting.iter().skip(from.into()).take(count.into()) {
                    centre.take(&message.body);
                }
            }
            Step::Acknowledge => acks.push(centre.ack(store.outbox_state().await.unwrap().epoch)),
            Step::Hear(which) if !acks.is_empty() => {
                let before = store.outbox_state().await.unwrap().acked_upto;
                let done = store
                    .outbox_acknowledged(which.get(&acks).clone(), at(now_ms))
                    .await
                    .unwrap();
                assert!(!done.ahead && !done.foreign_epoch);
                assert!(store.outbox_state().await.unwrap().acked_upto >= before);
            }
            Step::Hear(_) => {}
            Step::Restart => {
                store.close().await.unwrap();
                store = open(&path);
            }
            Step::Thin(bytes_max) => {
                let tight = Upstream {
                    outbox_bytes_max: bytes_max.into(),
                    ..rules()
                };
                queue_all(&store, &tight, now_ms).await;
                thinned = store.outbox_state().await.unwrap().thinned;
            }
        }
    }
    // In the end the way is free.
    queue_all(&store, &rules(), now_ms + 2 * MINUTE_MS).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        for message in store.outbox_after(0, 64).await.unwrap() {
            centre.take(&message.body);
        }
        let state = store.outbox_state().await.unwrap();
        let ack = centre.ack(state.epoch);
        store
            .outbox_acknowledged(ack.clone(), at(now_ms))
            .await
            .unwrap();
        if ack.upto == state.last_seq {
            break;
        }
        assert!(Instant::now() < deadline, "{ack:?} {state:?}");
    }
    let state = store.outbox_state().await.unwrap();
    assert_eq!(
        (state.rows, state.bytes, state.acked_upto),
        (0, 0, state.last_seq)
    );
    let arrived = centre.beats();
    let once: BTreeSet<i64> = arrived.iter().copied().collect();
    assert_eq!(once.len(), arrived.len(), "a beat came twice");
    if thinned == 0 {
        assert_eq!(arrived, (1..=beats).collect::<Vec<_>>(), "a beat was lost");
    } else {
        // What is missing was dropped for want of room and is told: every number is accounted for.
        assert!(arrived.len() as i64 <= beats);
    }
}

#[derive(Clone, Debug)]
enum Act {
    /// So many seconds pass, with a beat of both straps in each.
    Live(u8),
    /// Somebody says yes, or no.
    Consent(u8, bool),
    /// Somebody puts on a strap; whoever wore it, and what they wore before, is let go of.
    Wear(u8, u8),
    Queue,
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        5 => (1_u8..80).prop_map(Act::Live),
        3 => (1_u8..3, any::<bool>()).prop_map(|(n, yes)| Act::Consent(n, yes)),
        2 => (1_u8..3, 1_u8..3).prop_map(|(n, strap)| Act::Wear(n, strap)),
        2 => Just(Act::Queue),
        1 => Just(Act::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_people_do_exactly_what_they_consented_to_waits(
        acts in prop::collection::vec(act(), 1..40)
    ) {
        Runtime::new().unwrap().block_on(live(acts));
    }
}

async fn live(acts: Vec<Act>) {
    let (_dir, path) = room();
    let mut store = open(&path);
    let people: Vec<Row> = people(2)
        .into_iter()
        .filter(|row| !matches!(row, Row::Consent(_) | Row::Claim(_)))
        .collect();
    store.commit(people);
    queue_all(&store, &rules(), 0).await;
    let mut now_ms = 1_000;
    let mut claims: Vec<ClaimRow> = Vec::new();
    // Since when each consents.
    let mut consents: BTreeMap<u8, i64> = BTreeMap::new();
    // Every beat that was somebody's: whose, when.
    let mut beats: Vec<(i64, u8, i64)> = Vec::new();
    let mut id = 0;
    for act in acts {
        // Things happen between the beats.
        let at_ms = now_ms - 500;
        match act {
            Act::Live(seconds) => {
                let mut rows = Vec::new();
                for second in 0..i64::from(seconds) {
                    for strap in 1..=2 {
                        id += 1;
                        let at_ms = now_ms + second * 1_000;
                        rows.push(beat(id, strap, at_ms));
                        let worn = |claim: &&ClaimRow| {
                            claim.strap == StrapNo(strap.into()) && claim.until.is_none()
                        };
                        if let Some(claim) = claims.iter().find(worn) {
                            beats.push((id, claim.participant.0.as_bytes()[0], at_ms));
                        }
                    }
                }
                store.commit(rows);
                now_ms += i64::from(seconds) * 1_000;
            }
            Act::Consent(n, granted) => {
                let (tell, told) = tokio::sync::oneshot::channel();
                let row = Row::Consent(ConsentRow {
                    participant: person(n),
                    scope: "research".to_owned(),
                    granted,
                    text_version: "1".to_owned(),
                    at: at(at_ms),
                });
                let done =
                    Box::new(move |stored: Result<(), _>| tell.send(stored.is_ok()).unwrap());
                store.commit_then(vec![row], done);
                assert!(told.await.unwrap());
                if granted {
                    consents.entry(n).or_insert(at_ms);
                } else {
                    consents.remove(&n);
                }
            }
            Act::Wear(n, strap) => {
                let strap = StrapNo(strap.into());
                let before = claims.len();
                for claim in &mut claims {
                    let ends = claim.strap == strap || claim.participant == person(n);
                    if claim.until.is_none() && ends {
                        claim.until = Some(at(at_ms));
                    }
                }
                claims.push(ClaimRow {
                    no: before as i64 + 1,
                    participant: person(n),
                    strap,
                    from: at(at_ms),
                    until: None,
                });
                store.commit(claims.iter().cloned().map(Row::Claim).collect());
            }
            Act::Queue => {
                queue_all(&store, &rules(), now_ms).await;
            }
            Act::Restart => {
                store.close().await.unwrap();
                store = open(&path);
            }
        }
    }
    queue_all(&store, &rules(), now_ms + 2 * MINUTE_MS).await;
    let mut waiting = Vec::new();
    let mut after = 0;
    loop {
        let messages = store.outbox_after(after, 64).await.unwrap();
        let Some(last) = messages.last() else { break };
        after = last.seq;
        for message in messages {
            let Record::Rr(record) = Message::from_gzip(&message.body).unwrap().record else {
                continue;
            };
            for series in record.series {
                let whose = [1, 2]
                    .into_iter()
                    .find(|n| rules().pseudonyms.pseudonym(person(*n)) == series.pseudonym)
                    .expect("it is somebody's");
                let ids = series.rr.iter().map(|rr| id_of(rr.get()));
                waiting.extend(ids.map(|id| (id, whose)));
            }
        }
    }
    waiting.sort_unstable();
    let consented = |(_, whose, at_ms): &&(i64, u8, i64)| {
        consents
            .get(whose)
            .is_some_and(|since_ms| at_ms >= since_ms)
    };
    let expected: Vec<(i64, u8)> = beats
        .iter()
        .filter(consented)
        .map(|(id, whose, _)| (*id, *whose))
        .collect();
    assert_eq!(waiting, expected);
    store.close().await.unwrap();
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}{ending}", path.display()))
}

#[tokio::test]
async fn a_power_cut_between_any_two_commits_neither_loses_nor_doubles_a_beat() {
    let (dir, path) = room();
    let store = open(&path);
    store.commit(people(1));
    for minute in 0..8 {
        let beats = (0..60).map(|n| beat(minute * 60 + n + 1, 1, minute * MINUTE_MS + n * 1_000));
        store.commit(beats.collect());
        queue_all(&store, &rules(), (minute + 1) * MINUTE_MS + 15_000).await;
    }
    let log = fs::read(beside(&path, "-wal")).unwrap();
    assert!(log.len() > 100_000, "there is something to tear");
    for sixteenths in 0..=16 {
        let torn = dir.path().join(format!("torn{sixteenths}.db"));
        fs::copy(&path, &torn).unwrap();
        fs::write(beside(&torn, "-wal"), &log[..log.len() * sixteenths / 16]).unwrap();
        let store = open(&torn);
        queue_all(&store, &rules(), 20 * MINUTE_MS).await;
        let mut centre = Centre::default();
        let mut after = 0;
        loop {
            let waiting = store.outbox_after(after, 64).await.unwrap();
            let Some(last) = waiting.last() else { break };
            after = last.seq;
            waiting
                .iter()
                .for_each(|message| centre.take(&message.body));
        }
        let beats = centre.beats();
        assert_eq!(beats, (1..=beats.len() as i64).collect::<Vec<_>>());
        assert_eq!(beats.len() % 60, 0, "whole commits");
        store.close().await.unwrap();
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_full_room_is_queued_in_little_time_and_few_bytes() {
    const PEOPLE: u8 = 40;
    const MINUTES: i64 = 10;
    let (_dir, path) = room();
    let store = open(&path);
    store.commit(people(PEOPLE));
    queue_all(&store, &rules(), 0).await;
    let mut id = 0;
    let mut ends_ms = [0.0_f64; PEOPLE as usize];
    for point in 0..MINUTES * 12 {
        let from = point * 5_000;
        let mut rows = Vec::new();
        for (n, end_ms) in (1..=PEOPLE).zip(&mut ends_ms) {
            while *end_ms < (from + 5_000) as f64 {
                id += 1;
                // As straps send them: thousand and twenty-fourths of a second, here around 833 ms.
                let noise = 40.0 * (id as f64 * 0.7).sin() + 20.0 * (id as f64 * 12.9).sin();
                let rr_ms = (853.0 + noise).round() * 1000.0 / 1024.0;
                *end_ms += rr_ms;
                let Row::Rr(row) = beat(id, n, *end_ms as i64 + 150) else {
                    unreachable!("that is what it makes")
                };
                rows.push(Row::Rr(RrRow {
                    rr_ms,
                    beat_mono_ms: *end_ms,
                    ..row
                }));
            }
        }
        rows.extend((1..=PEOPLE).map(|n| score(n, from, (point * 64 + i64::from(n)) as f64)));
        store.commit(rows);
    }
    store.ping().await.unwrap();
    let rules = Arc::new(rules());
    let mut longest = Duration::ZERO;
    let began = Instant::now();
    loop {
        let step = Instant::now();
        let queued = store
            .queue_closed_minute(Arc::clone(&rules), at(MINUTES * MINUTE_MS + 15_000))
            .await
            .unwrap();
        longest = longest.max(step.elapsed());
        if !queued.more {
            break;
        }
    }
    let took = began.elapsed();
    let mut by_stream: BTreeMap<Stream, (i64, usize, usize)> = BTreeMap::new();
    let mut after = 0;
    let read = Instant::now();
    loop {
        let waiting = store.outbox_after(after, 16).await.unwrap();
        let Some(last) = waiting.last() else { break };
        after = last.seq;
        for message in waiting {
            let json = Message::from_gzip(&message.body).unwrap().to_json();
            let sums = by_stream.entry(message.stream).or_default();
            *sums = (sums.0 + 1, sums.1 + message.body.len(), sums.2 + json.len());
        }
    }
    println!(
        "{PEOPLE} people, {MINUTES} minutes: {:?} a minute, the longest {longest:?}; reading all of it {:?}",
        took / MINUTES as u32,
        read.elapsed(),
    );
    for (stream, (messages, bytes, json)) in &by_stream {
        println!(
            "{:9} {messages:3} messages, {} bytes each ({} as JSON)",
            stream.word(),
            *bytes as i64 / messages,
            *json as i64 / messages
        );
    }
    assert_eq!(by_stream[&Stream::Rr].0, MINUTES);
    assert_eq!(by_stream[&Stream::Coherence].0, MINUTES);
    let largest = by_stream
        .values()
        .map(|(n, bytes, _)| *bytes as i64 / n)
        .max();
    assert!(
        largest < Some(128 << 10),
        "it must fit into a packet of 256 KiB: {largest:?}"
    );
}
