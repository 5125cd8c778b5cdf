//! What fuzzing holds to be true, held for every seed and for seeds that were knocked about: cheap
//! enough for every run of the tests. The long runs are `tests/fuzz`.

#[path = "../fuzz/properties/mod.rs"]
mod properties;
mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use properties::ack::Outbox;
use properties::config::Etc;
use properties::{
    ant_stream, heart_rate_measurement, recording, rest_body, score, serial_lines, ws_frame,
};

/// Knocked-about copies of each seed.
const COPIES: usize = 10;

/// Any stream of numbers does; this one is Knuth's MMIX generator.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % end
    }
}

/// A copy with a few bytes changed, cut out, said twice, or taken from elsewhere.
fn knocked_about(seed: &[u8], other: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(bytes.len() + 1);
        let length = numbers.below(8).min(bytes.len() - at);
        let chunk = bytes[at..at + length].to_vec();
        match numbers.below(5) {
            0 => drop(bytes.drain(at..at + length)),
            1 => drop(bytes.splice(at..at, chunk)),
            2 => bytes.insert(at, numbers.below(256) as u8),
            3 if at < bytes.len() => bytes[at] ^= 1 << numbers.below(8),
            _ => {
                let from = numbers.below(other.len() + 1);
                let length = numbers.below(32).min(other.len() - from);
                bytes.splice(at..at, other[from..from + length].iter().copied());
            }
        }
    }
    bytes
}

#[test]
fn what_fuzzing_holds_to_be_true_holds_for_every_seed_and_its_neighbours() {
    let dir = tempfile::tempdir().expect("a folder for the seeds");
    let made = Command::new(support::root().join("fuzz/seeds"))
        .arg(dir.path())
        .status();
    assert!(made.expect("bash is everywhere").success());

    let (etc, outbox) = (Etc::new(), Outbox::new());
    let mut numbers = Numbers(1);
    for entry in fs::read_dir(dir.path()).expect("the seeds were written") {
        let folder = entry.expect("the folder can be read").path();
        let target = folder
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a target's name");
        let holds = |data: &[u8]| match target {
            "ack" => outbox.holds(data),
            "ant_stream" => ant_stream::holds(data),
            "ws_frame" => ws_frame::holds(data),
            "rest_body" => rest_body::holds(data),
            "config" => etc.holds(data),
            "heart_rate_measurement" => heart_rate_measurement::holds(data),
            "serial_lines" => serial_lines::holds(data),
            "recording" => recording::holds(data),
            "score" => score::holds(data),
            other => panic!("seeds for a target that is not run here: {other}"),
        };
        let seeds = read_all(&folder);
        for (n, seed) in seeds.iter().enumerate() {
            holds(seed);
            for _ in 0..COPIES {
                let other = &seeds[(n + numbers.below(seeds.len())) % seeds.len()];
                let bytes = knocked_about(seed, other, &mut numbers);
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| holds(&bytes))).is_err()
                {
                    panic!("{target}: {:?}", String::from_utf8_lossy(&bytes));
                }
            }
        }
    }
}

/// The files of a folder, always in the same order.
fn read_all(folder: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder).expect("the folder was just written");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| fs::read(path).expect("a file"))
        .collect()
}
