//! The decoder against the vectors of `hrm.json`.

#[path = "support/vectors.rs"]
mod vectors;

use coherence_hal::decode::ble::{HrFormat, Measurement, decode, encode, encode_as};
use coherence_hal::{Rr, StrapId, StrapNews, decode::ble::Deduplicator};
use serde_json::Value;

use vectors::{bytes_of, for_each};

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

#[test]
fn every_vector_decodes_as_it_says() {
    for_each("hrm.json", 40, |id, vector| {
        let bytes = bytes_of(&vector["hex"]);
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
    });
}
