//! What is sent, held fast: frozen examples, the schemas made from the types, and what becomes of the
//! unknown. `UPDATE=1` writes both anew; the difference is then to be looked at.

use std::path::{Path, PathBuf};

use jsonschema::Validator;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema as JsonSchemaOf};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::room::ParticipantId;

/// All fields of a message, as the schema shows them.
#[derive(Serialize, JsonSchema)]
struct Wire<B> {
    /// Name and major version of the schema. Another major version is another message.
    schema: String,
    /// Another database numbers anew: another epoch. Below 2^53.
    epoch: i64,
    /// Counts up within an epoch; hub, epoch and seq together name a message for ever.
    seq: i64,
    /// The study for which the pseudonyms are made.
    study: Study,
    #[serde(flatten)]
    body: B,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/record")
        .join(name)
}

/// The file must hold exactly this text; with `UPDATE=1` it is made to.
fn holds(path: &Path, text: &str) {
    if std::env::var("UPDATE").is_ok_and(|update| update == "1") {
        std::fs::write(path, text).unwrap();
    }
    let held = std::fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("{}: {error}; UPDATE=1 makes it", path.display()));
    assert_eq!(held, text, "{} (UPDATE=1 writes it anew)", path.display());
}

fn schema_of<T: JsonSchema>(name: &str) -> Value {
    // As it is sent, not as it is understood: what is always sent is required.
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let schema: JsonSchemaOf = settings.into_generator().into_root_schema_for::<T>();
    let mut schema = schema.to_value();
    schema["title"] = json!(name);
    schema
}

fn schema_of_stream(stream: Stream) -> Value {
    let name = Schema::of(stream).to_string();
    let (mut schema, description) = match stream {
        Stream::Session => (
            schema_of::<Wire<SessionRecord>>(&name),
            described::<SessionRecord>(),
        ),
        Stream::Group => (
            schema_of::<Wire<GroupRecord>>(&name),
            described::<GroupRecord>(),
        ),
        Stream::Coherence => (
            schema_of::<Wire<CoherenceRecord>>(&name),
            described::<CoherenceRecord>(),
        ),
        Stream::Rr => (schema_of::<Wire<RrRecord>>(&name), described::<RrRecord>()),
        Stream::Consent => (
            schema_of::<Wire<ConsentRecord>>(&name),
            described::<ConsentRecord>(),
        ),
        Stream::Erasure => (
            schema_of::<Wire<ErasureRecord>>(&name),
            described::<ErasureRecord>(),
        ),
        Stream::Gap => (
            schema_of::<Wire<GapRecord>>(&name),
            described::<GapRecord>(),
        ),
        Stream::Event => (
            schema_of::<Wire<EventRecord>>(&name),
            described::<EventRecord>(),
        ),
    };
    schema["description"] = description;
    schema["properties"]["schema"]["const"] = json!(name);
    schema
}

fn described<T: JsonSchema>() -> Value {
    schema_of::<T>("")["description"].clone()
}

fn check_schema(name: &str, schema: &Value) -> Validator {
    assert!(schema["description"].is_string(), "{name} is not described");
    let text = format!("{}\n", serde_json::to_string_pretty(schema).unwrap());
    holds(&folder("schema").join(format!("{name}.json")), &text);
    jsonschema::validator_for(schema).unwrap()
}

fn person(n: u128) -> Pseudonym {
    let key = FacilityKey([7; 32]);
    Pseudonymiser::new(&key, "default").pseudonym(ParticipantId(Uuid::from_u128(n)))
}

fn num(value: f64) -> Num {
    Num::exact(value).unwrap()
}

fn minute() -> Minute {
    Minute {
        from: 1_795_254_300_000,
        until: 1_795_254_360_000,
        clock: TimeKnown::Synced,
    }
}

fn slot() -> SessionName {
    SessionName::of("20261121T0945Z").unwrap()
}

fn example(stream: Stream) -> Record {
    let at = 1_795_254_312_345;
    let clock = TimeKnown::Synced;
    match stream {
        Stream::Session => Record::Session(SessionRecord {
            session: slot(),
            starts_at: 1_795_254_300_000,
            ends_at: 1_795_255_200_000,
            offset_ms: 1_795_250_000_000,
            clock,
            suppressed: false,
            participants: Some(12),
            scored: Some(11),
            grid_points: 168,
        }),
        Stream::Group => Record::Group(GroupRecord {
            minute: minute(),
            series: vec![GroupSeries {
                session: slot(),
                at: vec![1_795_254_305_000, 1_795_254_310_000, 1_795_254_315_000],
                suppressed: vec![true, false, false],
                average: vec![None, Some(num(51.5)), Some(num(52.25))],
                low: vec![None, None, Some(1)],
                medium: vec![None, None, Some(2)],
                high: vec![None, None, Some(2)],
                participants: vec![None, Some(6), Some(6)],
                scored: vec![None, Some(4), Some(5)],
                synchrony: vec![None, None, Some(num(34.25))],
                chance_high: vec![None, None, Some(num(17.5))],
            }],
        }),
        Stream::Coherence => Record::Coherence(CoherenceRecord {
            minute: minute(),
            series: vec![
                CoherenceSeries {
                    at: vec![1_795_254_305_000, 1_795_254_310_000],
                    settings: Settings::of("0123456789abcdef"),
                    score: vec![None, Some(num(61.25))],
                    standard_error: vec![None, Some(num(7.52))],
                    reason: vec![Some(Reason::WarmingUp), None],
                    status: vec![Some(SignalStatus::Warmup), Some(SignalStatus::Good)],
                    last_rr_at: vec![Some(1_795_254_304_312), Some(1_795_254_309_401)],
                    beats: vec![20, 70],
                    coverage: vec![num(0.313), num(0.982)],
                    artefact_pct: vec![Some(Num::ZERO), Some(num(1.4))],
                    age_ms: vec![Some(688), Some(599)],
                    peak_hz: vec![None, Some(num(0.0977))],
                    mean_hr_bpm: vec![None, Some(num(66.1))],
                    sdnn_ms: vec![None, Some(num(70.5))],
                    rmssd_ms: vec![None, Some(num(45.3))],
                    pnn50_pct: vec![None, Some(num(20.3))],
                    lf_ms2: vec![None, Some(num(2000.1))],
                    hf_ms2: vec![None, Some(num(300.8))],
                    lf_hf: vec![None, Some(num(6.65))],
                    total_ms2: vec![None, Some(num(2500.2))],
                    ..series(person(1), Origin::Strap, Some(1))
                },
                CoherenceSeries {
                    at: vec![1_795_254_310_000],
                    score: vec![Some(num(48.0))],
                    beats: vec![0],
                    coverage: vec![Num::ZERO],
                    ..series(person(2), Origin::Phone, None)
                },
            ],
        }),
        Stream::Rr => Record::Rr(RrRecord {
            minute: minute(),
            series: vec![
                RrSeries {
                    pseudonym: person(1),
                    origin: Origin::Strap,
                    source: 1,
                    t0: 1_795_254_300_512,
                    t: vec![0, 832, 2_664, 2_777],
                    rr: vec![num(812.5), num(832.03125), num(832.0), num(112.3046875)],
                    gap: vec![Num::ZERO, Num::ZERO, num(1000.5), Num::ZERO],
                    mark: vec![
                        Mark::Accepted,
                        Mark::Accepted,
                        Mark::Accepted,
                        Mark::Suspect,
                    ],
                    begins: vec![0],
                },
                RrSeries {
                    pseudonym: person(2),
                    origin: Origin::Phone,
                    source: 0,
                    t0: 1_795_254_301_000,
                    t: Vec::new(),
                    rr: vec![num(899.0), num(901.0)],
                    gap: Vec::new(),
                    mark: Vec::new(),
                    begins: Vec::new(),
                },
            ],
        }),
        Stream::Consent => Record::Consent(ConsentRecord {
            pseudonym: person(1),
            scope: ResearchScope::Research,
            granted: false,
            text_version: TextVersion::of("1"),
            at,
            clock,
        }),
        Stream::Erasure => Record::Erasure(ErasureRecord {
            pseudonym: person(1),
            scope: ErasureScope::All,
            at,
            clock,
        }),
        Stream::Gap => Record::Gap(GapRecord {
            of_epoch: 4_503_599_627_370_495,
            why: GapWhy::Thinned,
            ranges: vec![
                SeqRange { first: 2, last: 2 },
                SeqRange { first: 5, last: 19 },
            ],
            lost: vec![
                Lost {
                    stream: Stream::Coherence,
                    messages: 5,
                },
                Lost {
                    stream: Stream::Rr,
                    messages: 11,
                },
            ],
        }),
        Stream::Event => Record::Event(EventRecord {
            at,
            clock: TimeKnown::Unknown,
            event: HubEvent::HubStarted {
                version: Release::of("0.1.0").unwrap(),
                boot: 3,
            },
        }),
    }
}

fn series(pseudonym: Pseudonym, origin: Origin, algorithm: Option<u32>) -> CoherenceSeries {
    CoherenceSeries {
        pseudonym,
        origin,
        source: u32::from(origin == Origin::Strap),
        session: slot(),
        algorithm,
        settings: None,
        at: Vec::new(),
        score: Vec::new(),
        standard_error: Vec::new(),
        reason: Vec::new(),
        status: Vec::new(),
        last_rr_at: Vec::new(),
        beats: Vec::new(),
        coverage: Vec::new(),
        artefact_pct: Vec::new(),
        age_ms: Vec::new(),
        peak_hz: Vec::new(),
        mean_hr_bpm: Vec::new(),
        sdnn_ms: Vec::new(),
        rmssd_ms: Vec::new(),
        pnn50_pct: Vec::new(),
        lf_ms2: Vec::new(),
        hf_ms2: Vec::new(),
        lf_hf: Vec::new(),
        total_ms2: Vec::new(),
    }
}

fn message(record: Record) -> Message {
    Message {
        head: Head {
            epoch: 4_503_599_627_370_495,
            seq: 42,
            study: Study::of("default").unwrap(),
        },
        record,
    }
}

#[test]
fn every_stream_is_sent_exactly_like_its_frozen_example_and_fits_its_schema() {
    for stream in Stream::ALL {
        let name = stream.word();
        let schema = check_schema(name, &schema_of_stream(stream));
        let message = message(example(stream));
        let json = message.to_json();
        holds(
            &folder("example").join(format!("{name}.json")),
            &format!("{json}\n"),
        );
        if let Err(error) = schema.validate(&serde_json::from_str(&json).unwrap()) {
            panic!("{name}: {error}: {json}");
        }
        assert_eq!(Message::from_json(json.as_bytes()).unwrap(), message);
    }
}

#[test]
fn acknowledgement_status_and_meta_are_exactly_like_their_frozen_examples_and_fit_their_schemas() {
    let ack = Ack {
        epoch: 4_503_599_627_370_495,
        upto: 1200,
        also: vec![1203, 1204],
        rejected: vec![Rejected {
            seq: 1201,
            why: "schema".to_owned(),
        }],
    };
    let status = Status {
        state: HubState::Degraded,
        since: 1_795_254_300_000,
        boot: 3,
    };
    let meta = Meta {
        sw: Release::of("0.1.0").unwrap(),
        schemas: Meta::schemas(),
        epoch: 4_503_599_627_370_495,
        facility: "north".to_owned(),
        study: Study::of("default").unwrap(),
    };
    same("ack", &ack);
    same("status", &status);
    same("meta", &meta);
    let bare: Ack = serde_json::from_str(r#"{"epoch":3,"upto":7,"more":[{}]}"#).unwrap();
    assert_eq!((bare.upto, bare.also.len(), bare.rejected.len()), (7, 0, 0));
}

fn same<T>(name: &str, value: &T)
where
    T: Serialize + serde::de::DeserializeOwned + JsonSchema + PartialEq + std::fmt::Debug,
{
    let schema = check_schema(name, &schema_of::<T>(name));
    let json = serde_json::to_string(value).unwrap();
    holds(
        &folder("example").join(format!("{name}.json")),
        &format!("{json}\n"),
    );
    if let Err(error) = schema.validate(&serde_json::from_str(&json).unwrap()) {
        panic!("{name}: {error}");
    }
    assert_eq!(serde_json::from_str::<T>(&json).unwrap(), *value);
}

#[test]
fn the_schemas_refuse_what_is_not_a_record() {
    let schema = jsonschema::validator_for(&schema_of_stream(Stream::Rr)).unwrap();
    let good: Value = serde_json::from_str(&message(example(Stream::Rr)).to_json()).unwrap();
    for (pointer, bad) in [
        ("/schema", json!("rr/9")),
        ("/study", json!("Study of Mrs. X")),
        ("/clock", json!("right")),
        ("/series/0/pseudonym", json!("Wilhelmina Quist")),
        ("/series/0/origin", json!("AA:BB:CC:DD:EE:FF")),
        ("/series/0/rr/0", json!("812.5")),
    ] {
        let mut wrong = good.clone();
        *wrong.pointer_mut(pointer).unwrap() = bad;
        assert!(!schema.is_valid(&wrong), "{pointer}");
        assert!(
            Message::from_json(wrong.to_string().as_bytes()).is_err(),
            "{pointer}"
        );
    }
}

#[test]
fn fields_that_are_not_known_are_ignored() {
    for stream in Stream::ALL {
        let message = message(example(stream));
        let mut json: Value = serde_json::from_str(&message.to_json()).unwrap();
        json["addedLater"] = json!({"name": ["anything"]});
        if let Some(series) = json.pointer_mut("/series/0") {
            series["addedLater"] = json!([1, 2]);
        }
        let read = Message::from_json(json.to_string().as_bytes()).unwrap();
        assert_eq!(read, message, "{}", stream.word());
    }
}

#[test]
fn another_major_version_or_stream_is_told_apart_and_never_read() {
    let json = message(example(Stream::Rr)).to_json();
    for other in ["rr/9", "rr/10", "breath/1", "rr", "/1", "rr/01"] {
        let json = json.replace("rr/1", other);
        match Message::from_json(json.as_bytes()) {
            Err(Unreadable::OtherVersion(name)) => assert_eq!(name, other),
            read => panic!("{other}: {read:?}"),
        }
    }
}

#[test]
fn what_waits_is_sealed_with_its_number_and_reads_back_the_same() {
    for stream in Stream::ALL {
        let message = message(example(stream));
        let Head { epoch, seq, study } = message.head.clone();
        let packed = pack(&study, &message.record);
        assert_eq!(
            unpack(stream, &packed).unwrap(),
            (study, message.record.clone())
        );
        let sealed = seal(stream, epoch, seq, &packed).unwrap();
        assert_eq!(Message::from_gzip(&sealed).unwrap(), message);
    }
    let cut = pack(&Study::of("s").unwrap(), &example(Stream::Rr));
    assert!(matches!(
        seal(Stream::Rr, 1, 1, &cut[..20]),
        Err(Unreadable::NotGzip(_))
    ));
    assert!(unpack(Stream::Gap, &cut).is_err());
}

#[test]
fn whoever_is_left_out_is_in_no_series_and_the_others_are_untouched() {
    for stream in [Stream::Rr, Stream::Coherence] {
        let mut record = example(stream);
        record.leave_out(&[person(1)]);
        let json = message(record).to_json();
        assert!(!json.contains(person(1).as_str()), "{json}");
        assert!(json.contains(person(2).as_str()), "{json}");
    }
}

#[test]
fn ends_that_the_chain_of_intervals_tells_are_left_out_and_found_again() {
    let marks = [Mark::Accepted, Mark::Suspect, Mark::Implausible];
    let series = |t: &[i64], gap: Vec<Num>, mark: &[Mark]| RrSeries {
        pseudonym: person(1),
        origin: Origin::Strap,
        source: 1,
        t0: 1_000,
        t: t.to_vec(),
        rr: vec![num(800.0), num(832.03125), num(900.25)],
        gap,
        mark: mark.to_vec(),
        begins: Vec::new(),
    };
    let gap = vec![Num::ZERO, Num::ZERO, num(500.5)];
    for (t, gap, mark, left_out) in [
        ([0, 832, 1_732], Vec::new(), &[][..], true),
        ([0, 833, 1_733], Vec::new(), &[], true),
        ([0, 832, 2_233], gap.clone(), &[], true),
        ([0, 832, 1_900], Vec::new(), &[], false), // a new run
        ([0, 832, 1_732], gap, &[], false),
        ([0, 0, 900], Vec::new(), &marks, true),
        ([0, 832, 1_732], Vec::new(), &marks, false),
    ] {
        let mut series = series(&t, gap, mark);
        let before = series.ends();
        assert_eq!(before, t.map(|t| 1_000 + t));
        series.leave_out_t();
        assert_eq!(series.t.is_empty(), left_out, "{t:?}");
        let off = |(a, b): (&i64, &i64)| (a - b).abs();
        let ends = series.ends();
        assert!(
            ends.iter().zip(&before).map(off).max() <= Some(1),
            "{ends:?} {before:?}"
        );
    }
}

#[test]
fn pseudonyms_are_those_of_the_frozen_vectors() {
    // Computed by other means: HMAC-SHA-256 and base32 of Python's standard library.
    let rising: [u8; 32] = std::array::from_fn(|n| n as u8);
    let zero = "00000000-0000-4000-8000-000000000000";
    let some = "f81d4fae-7dec-41d0-a765-00a0c91e6bf6";
    for (key, study, id, expected) in [
        (rising, "default", zero, "jf7772xt7uh5ue7h75dirlhn7b"),
        (rising, "default", some, "e5cgwyha2j766rdh5p6zrc5ytm"),
        (rising, "breath-2026", zero, "hhqubep74fku7lyuci6zooytkm"),
        (rising, "breath-2026", some, "lppnnngxzipprsxwmvesohf3qr"),
        ([0xFF; 32], "default", zero, "frm2huqm7gp7rxn3yiurbpvjic"),
        ([0xFF; 32], "default", some, "nmt44lvncp6oau2tacvigtvzzw"),
        (
            [0xFF; 32],
            "breath-2026",
            zero,
            "v77kbmnkxxpiztm4tvs5sscdwr",
        ),
        (
            [0xFF; 32],
            "breath-2026",
            some,
            "epagt5g7khptjm5fxuwra75prj",
        ),
    ] {
        let id = ParticipantId(Uuid::parse_str(id).unwrap());
        let made = Pseudonymiser::new(&FacilityKey(key), study).pseudonym(id);
        assert_eq!(made.as_str(), expected);
    }
}

#[test]
fn words_carry_no_text_of_people() {
    for (good, bad) in [
        ("20261121T0945Z", "20261121T0945Z of Anna"),
        ("20261121T0945Z-2", "20261121T0945Z-2-3"),
        ("b0fe122aa-17", "b0fe122aa-Anna"),
        ("b0fe122aa-17-2", "banna0001-17"),
    ] {
        assert!(SessionName::of(good).is_some(), "{good}");
        assert!(SessionName::of(bad).is_none(), "{bad}");
    }
    for good in ["1", "v2", "2026-11", "1.0.3"] {
        assert!(TextVersion::of(good).is_some(), "{good}");
    }
    for bad in ["", "v", "Anna", "1 Anna", "v2a", "-1", "12345678901234567"] {
        assert!(TextVersion::of(bad).is_none(), "{bad}");
    }
    assert!(known_word::<Reason>("silent").is_some() && known_word::<Reason>("Anna").is_none());
}

#[test]
fn numbers_are_short_and_lose_no_bit_unless_they_are_rounded() {
    let text = |num: Option<Num>| serde_json::to_string(&num).unwrap();
    for (value, written) in [
        (832.0, "832"),
        (832.03125, "832.03125"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1e300, "1e+300"),
    ] {
        assert_eq!(text(Num::exact(value)), written);
        assert_eq!(
            serde_json::from_str::<Num>(written)
                .unwrap()
                .get()
                .to_bits(),
            value.to_bits()
        );
    }
    assert_eq!(text(Num::rounded(0.1 + 0.2, 2)), "0.3");
    assert_eq!(text(Num::rounded(1e307, 5)), "1e+307");
    assert_eq!(
        (Num::exact(f64::NAN), Num::rounded(f64::INFINITY, 2)),
        (None, None)
    );
}
