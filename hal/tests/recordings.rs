//! Every recording beside the project, read and sent as a strap would: no beat may be lost.

use std::fs;
use std::path::Path;

use coherence_hal::StrapId;
use coherence_hal::decode::ble::decode;
use coherence_hal::replay::{Recording, cues};
use coherence_hal::script::Act;

#[test]
fn every_shared_recording_survives_the_way_through_a_strap() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/signal");
    if !shared.is_dir() {
        eprintln!("NOT CHECKED: there is no {}", shared.display());
        return;
    }
    let mut checked = 0;
    for folder in ["synthetic", "real"] {
        for entry in fs::read_dir(shared.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.display().to_string();
            if !name.ends_with(".rr.csv") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let recording = Recording::parse(&text)
                .map_err(|e| e.in_file(&name))
                .unwrap();
            let sent_ms: Vec<f64> = cues(recording.clone(), StrapId::new("replay", "r"))
                .filter_map(|cue| match cue.act {
                    Act::Bytes(bytes) => Some(decode(&bytes).unwrap().rr),
                    _ => None,
                })
                .flatten()
                .map(|rr| rr.ms())
                .collect();
            assert_eq!(sent_ms.len(), recording.intervals.len(), "{name}");
            for (sent, interval) in sent_ms.iter().zip(&recording.intervals) {
                assert!(
                    (sent - interval.rr_ms).abs() < 1.0,
                    "{name}: {sent} {interval:?}"
                );
            }
            checked += 1;
        }
    }
    assert!(
        checked >= 26,
        "only {checked} recordings in {}",
        shared.display()
    );
}
