//! Text sensors against the vectors of `serial_lines.json`, each cut at every place.

#[path = "support/vectors.rs"]
mod vectors;

use coherence_hal::decode::serial::{Reading, SerialDecoder, Tally};
use serde_json::{Value, json};

use vectors::{bytes_of, for_each};

/// What a stream comes to, in the words of the vectors.
fn seen(profile: &Value, pieces: &[&[u8]]) -> Value {
    let profile = profile.as_str().unwrap().parse().unwrap();
    let mut decoder = SerialDecoder::new(profile);
    let mut readings = Vec::new();
    let mut sum = Tally::default();
    for piece in pieces {
        let tally = decoder.feed(piece, &mut readings);
        sum.bad += tally.bad;
        sum.long += tally.long;
    }
    let events: Vec<Value> = readings
        .iter()
        .map(|reading| match reading {
            Reading::Ibi { sensor, rr, .. } => {
                json!({"kind": "ibi", "ms": rr.ms(), "sensor": sensor, "plausible": rr.plausible()})
            }
            // The vectors hold whole rates.
            Reading::Bpm { sensor, bpm } if bpm.fract() == 0.0 => {
                json!({"kind": "bpm", "bpm": *bpm as u32, "sensor": sensor})
            }
            Reading::Bpm { sensor, bpm } => json!({"kind": "bpm", "bpm": bpm, "sensor": sensor}),
            Reading::Simulated => json!({"kind": "simulated"}),
        })
        .collect();
    let pending: String = decoder
        .pending()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    json!({"events": events, "bad_lines": sum.bad, "long_lines": sum.long, "pending": pending})
}

#[test]
fn every_vector_is_read_as_it_says_wherever_it_is_cut() {
    for_each("serial_lines.json", 20, |id, vector| {
        let bytes = bytes_of(&vector["hex"]);
        let (profile, expect) = (&vector["profile"], &vector["expect"]);
        assert_eq!(&seen(profile, &[&bytes]), expect, "{id}");
        for cut in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            assert_eq!(&seen(profile, &[head, tail]), expect, "{id}, cut at {cut}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(&seen(profile, &single), expect, "{id}, byte by byte");
    });
}
