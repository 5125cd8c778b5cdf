//! The windows that are timed: those that the hub would have scored of recordings in
//! `tests/data/signal`, kept as the room keeps them. `benches/reference.py` times the same.

use coherence_hub::signal::{Interval, Tachogram};

use crate::series::all_series;

/// What is timed, and the recordings whose windows are taken.
const CASES: [(&str, &[&str]); 2] = [
    (
        "clean",
        &[
            "mix_pink_20_100mHz",
            "mix_pink_60_100mHz",
            "mix_pink_95_100mHz",
            "tone_100mHz",
            "tone_180mHz",
        ],
    ),
    ("artefacts_5_pct", &["art0_mixed_05pct"]),
];

/// The cases by name.
pub fn cases() -> Vec<(&'static str, Vec<Vec<Interval>>)> {
    let all = all_series();
    let of = |case: &str, names: &[&str]| {
        let mut windows = Vec::new();
        for series in all.iter().filter(|s| names.contains(&s.name.as_str())) {
            for row in &series.expected {
                let clean = row.number("artefact_pct").is_none_or(|pct| pct == 0.0);
                if row.number("score").is_none() || (case == "clean" && !clean) {
                    continue;
                }
                let known: usize = row.text("n_beats").parse().expect("a count of beats");
                let mut tachogram = Tachogram::new();
                for interval in &series.intervals[..known] {
                    tachogram.push(*interval);
                }
                windows.push(tachogram.intervals().to_vec());
            }
        }
        assert!(windows.len() >= 40, "{case}: {} windows", windows.len());
        windows
    };
    CASES
        .iter()
        .map(|&(case, names)| (case, of(case, names)))
        .collect()
}
