//! The decoder against the vectors of `hrm.json`, wherever there is a copy of them.
//!
//! The project's own copy is the default. A folder in `COHERENCE_VECTORS` takes its place, and a
//! `shared/vectors` beside the project is read as well, so that a newer copy there can't go unseen.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use coherence_hal::decode::ble::{HrFormat, Measurement, decode, encode, encode_as};
use coherence_hal::{Rr, StrapId, StrapNews, decode::ble::Deduplicator};
use serde_json::Value;

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn vectors(folder: &Path) -> Vec<Value> {
    let file = folder.join("hrm.json");
    let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let vectors: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(
        vectors.len() >= 40,
        "{} has only {} vectors",
        file.display(),
        vectors.len()
    );
    vectors
}

fn bytes_of(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
        .collect()
}

fn floats(rr: &[Rr]) -> Vec<Value> {
    rr.iter().map(|rr| Value::from(rr.ms())).collect()
}

fn assert_expected(id: &str, value: &Measurement, expect: &Value) {
    let raw: Vec<Value> = value
        .rr
        .iter()
        .map(|rr| match rr {
            Rr::Ticks(ticks) => Value::from(*ticks),
            Rr::Ms(_) => panic!("{id}: Bluetooth counts in ticks"),
        })
        .collect();
    let plausible: Vec<Value> = value
        .rr
        .iter()
        .map(|rr| Value::from(rr.plausible()))
        .collect();
    let seen = [
        ("hr", Value::from(value.hr_bpm)),
        ("contact", Value::from(value.contact)),
        ("energy_kj", Value::from(value.energy_kj)),
        ("rr_flag", Value::from(value.rr_flag)),
        ("rr_raw", Value::from(raw)),
        ("rr_ms", Value::from(floats(&value.rr))),
        ("rr_plausible", Value::from(plausible)),
        ("reserved_flags", Value::from(value.reserved_flags)),
        ("trailing_bytes", Value::from(value.trailing_bytes)),
    ];
    for (field, seen) in seen {
        assert_eq!(seen, expect[field], "{id}: {field}");
    }
}

fn assert_all(folder: &Path) {
    for vector in vectors(folder) {
        let id = vector["id"].as_str().unwrap();
        let bytes = bytes_of(vector["hex"].as_str().unwrap());
        let expect = &vector["expect"];
        let event = Deduplicator::new().event(&StrapId::new("ble", id), 0, &bytes);
        match decode(&bytes) {
            Ok(value) => {
                assert_eq!(expect["ok"], true, "{id} must be refused");
                assert_expected(id, &value, expect);
                let again = Measurement {
                    trailing_bytes: 0,
                    ..value.clone()
                };
                assert_eq!(decode(&encode(&value)).as_ref(), Ok(&again), "{id}");
                assert_eq!(decode(&encode_as(&value, HrFormat::U16)), Ok(again), "{id}");
                assert_eq!(event.news, StrapNews::Measurement(value), "{id}");
            }
            Err(error) => {
                assert_eq!(expect["ok"], false, "{id} must be read, not: {error}");
                assert_eq!(error.word(), expect["error"], "{id}");
                assert_eq!(event.news, StrapNews::Malformed(error), "{id}");
            }
        }
    }
}

#[test]
fn every_vector_decodes_as_it_says() {
    let folder = match env::var_os("COHERENCE_VECTORS") {
        Some(folder) => PathBuf::from(folder),
        None => project().join("tests/data/vectors"),
    };
    assert_all(&folder);
}

#[test]
fn the_shared_vectors_beside_the_project_decode_as_they_say() {
    let folder = project().join("../shared/vectors");
    if folder.is_dir() {
        assert_all(&folder);
    } else {
        eprintln!("NOT CHECKED: there is no {}", folder.display());
    }
}
