//! A recording of R-R intervals, and the strap that would have sent it.

use coherence_hal::decode::ble::decode;
use coherence_hal::replay::{MAX_GAP_MS, MAX_RR_MS, Recording, cues};
use coherence_hal::script::Act;
use coherence_hal::{Rr, StrapId};

/// Notifications that are looked at: one interval of 65 s makes 65 of them.
const CUES: usize = 5_000;

pub fn holds(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let recording = match Recording::parse(text) {
        Ok(recording) => recording,
        Err(error) => {
            let error = error.in_file("some.csv").to_string();
            assert!(error.starts_with("some.csv:"), "{error}");
            return;
        }
    };
    assert!(!recording.intervals.is_empty());
    let mut said = String::from("rr_ms,gap_ms\n");
    for interval in &recording.intervals {
        assert!(interval.rr_ms > 0.0 && interval.rr_ms <= MAX_RR_MS);
        assert!(interval.gap_ms >= 0.0 && interval.gap_ms <= MAX_GAP_MS);
        said.push_str(&format!("{},{}\n", interval.rr_ms, interval.gap_ms));
    }
    assert_eq!(Recording::parse(&said).as_ref(), Ok(&recording));

    let intervals = recording.intervals.clone();
    let (mut before_ms, mut beats, mut sent, mut ticks) = (0, 0, 0, 0_u64);
    for cue in cues(recording, StrapId::new("replay", "some")).take(CUES) {
        assert!(cue.at_ms >= before_ms, "time runs one way");
        before_ms = cue.at_ms;
        sent += 1;
        let Act::Bytes(bytes) = cue.act else { continue };
        assert!(bytes.len() <= 20, "it fits the smallest notification");
        let value = decode(&bytes).expect("a strap sends what can be read");
        for rr in value.rr {
            let Rr::Ticks(rr) = rr else {
                panic!("a strap counts in ticks")
            };
            (beats, ticks) = (beats + 1, ticks + u64::from(rr));
        }
    }
    assert!(beats <= intervals.len());
    if sent < CUES {
        assert_eq!(beats, intervals.len(), "every beat was sent");
    }
    // An interval above 64 s is said as the longest that there is a word for.
    let told = &intervals[..beats];
    if told.iter().all(|interval| interval.rr_ms < 63_990.0) {
        let sum_ms: f64 = told.iter().map(|interval| interval.rr_ms).sum();
        assert!(
            (ticks as f64 - sum_ms * 1.024).abs() <= 0.51,
            "{ticks} ticks for {sum_ms} ms"
        );
    }
}
