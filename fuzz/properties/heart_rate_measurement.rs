//! Notifications of straps: each by itself, and as a stream of arrivals from several straps.

use std::collections::HashMap;

use coherence_hal::decode::ble::{
    DUPLICATE_WITHIN_MS, Deduplicator, HrFormat, Measurement, decode, encode, encode_as,
};
use coherence_hal::{Rr, StrapId, StrapNews};

pub fn holds(data: &[u8]) {
    one(data);
    stream(data);
}

/// Every byte is accounted for, and what was read is written back the same.
fn one(bytes: &[u8]) {
    let Ok(value) = decode(bytes) else {
        assert!(bytes.len() < 5, "this much is always a value: {bytes:02x?}");
        return;
    };
    let hr_bytes = if bytes[0] & 1 == 0 { 1 } else { 2 };
    let energy_bytes = if value.energy_kj.is_some() { 2 } else { 0 };
    let accounted = 1 + hr_bytes + energy_bytes + 2 * value.rr.len() + value.trailing_bytes;
    assert_eq!(accounted, bytes.len());
    assert!(value.rr.is_empty() || value.rr_flag);
    assert!(!value.rr_flag || value.trailing_bytes <= 1);
    assert!(value.reserved_flags < 8);
    for rr in &value.rr {
        assert!(matches!(rr, Rr::Ticks(_)) && (0.0..64_000.0).contains(&rr.ms()));
        assert_eq!(rr.plausible(), (250.0..=3000.0).contains(&rr.ms()));
    }
    let again = Measurement {
        trailing_bytes: 0,
        ..value.clone()
    };
    assert_eq!(decode(&encode(&value)).as_ref(), Ok(&again));
    assert_eq!(decode(&encode_as(&value, HrFormat::U16)), Ok(again));
}

/// `data`: arrivals, each as strap (2 bytes), ms since the one before, length, and the bytes.
fn stream(mut data: &[u8]) {
    let mut arrivals = Deduplicator::new();
    let mut before: HashMap<u16, (i64, &[u8])> = HashMap::new();
    let mut at_ms = 0;
    while let Some(([a, b, later_ms, length], rest)) = data.split_first_chunk::<4>() {
        let (bytes, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        data = rest;
        at_ms += i64::from(*later_ms);
        let strap = u16::from_le_bytes([*a, *b]);
        let id = StrapId::new("ble", &strap.to_string());
        let event = arrivals.event(&id, at_ms, bytes);
        assert_eq!((&event.strap, event.at_ms), (&id, at_ms));
        let copy = before
            .insert(strap, (at_ms, bytes))
            .is_some_and(|(then_ms, then)| then == bytes && at_ms - then_ms < DUPLICATE_WITHIN_MS);
        let expected = match decode(bytes) {
            Err(error) => StrapNews::Malformed(error),
            Ok(value) if copy && !value.rr.is_empty() => StrapNews::Duplicate,
            Ok(value) => StrapNews::Measurement(value),
        };
        assert_eq!(event.news, expected);
    }
}
