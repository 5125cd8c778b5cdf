//! The score against the series that define it: every tick of every file, in the library and through
//! the program's `score`.
//!
//! The series: the folder that `COHERENCE_SIGNAL` names, when it is set; else our copy in
//! `tests/data/signal` and, where it is present, `../shared/signal` with the recordings of real
//! hearts, which are not ours to copy.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use coherence_hal::replay::Recording;
use coherence_hub::signal::{Evaluation, Interval, Status, Tachogram, evaluate};

/// One series: what was received and what is to come of it.
struct Series {
    name: String,
    input: PathBuf,
    intervals: Vec<Interval>,
    expected: Vec<Expected>,
}

/// One row of an expected file; columns by name, empty ones left out.
struct Expected {
    columns: Vec<(String, String)>,
}

impl Expected {
    fn text(&self, column: &str) -> &str {
        self.columns
            .iter()
            .find(|(name, _)| name == column)
            .map_or("", |(_, value)| value)
    }

    fn number(&self, column: &str) -> Option<f64> {
        let text = self.text(column);
        (!text.is_empty()).then(|| text.parse().expect("a number in an expected file"))
    }
}

fn folders() -> Vec<PathBuf> {
    if let Some(folder) = std::env::var_os("COHERENCE_SIGNAL") {
        return vec![PathBuf::from(folder)];
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("tests/data/signal")];
    let shared = root.join("../shared/signal");
    if shared.is_dir() {
        folders.push(shared.join("real"));
    } else {
        // Past the test harness, which hides what a passing test prints.
        let _ = writeln!(
            std::io::stderr(),
            "\n!!! {} IS ABSENT: the score is NOT compared on recordings of real hearts !!!\n",
            shared.display()
        );
    }
    folders
}

fn inputs_below(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            inputs_below(&path, found);
        } else if path.to_string_lossy().ends_with(".rr.csv") {
            found.push(path);
        }
    }
}

fn all_series() -> Vec<Series> {
    let mut inputs = Vec::new();
    for folder in folders() {
        inputs_below(&folder, &mut inputs);
    }
    inputs.sort();
    assert!(!inputs.is_empty(), "no series at all");
    inputs.into_iter().map(series).collect()
}

fn series(input: PathBuf) -> Series {
    let recording = Recording::parse(&fs::read_to_string(&input).unwrap()).unwrap();
    let expected =
        fs::read_to_string(input.to_string_lossy().replace(".rr.csv", ".expected.csv")).unwrap();
    let mut lines = expected.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    Series {
        name: input
            .file_name()
            .unwrap()
            .to_string_lossy()
            .replace(".rr.csv", ""),
        intervals: recording
            .intervals
            .iter()
            .map(|heard| Interval {
                rr_ms: heard.rr_ms,
                gap_ms: heard.gap_ms,
            })
            .collect(),
        expected: lines
            .map(|line| Expected {
                columns: header
                    .iter()
                    .zip(line.split(','))
                    .map(|(&n, v)| (n.to_owned(), v.to_owned()))
                    .collect(),
            })
            .collect(),
        input,
    }
}

/// How far a file is from what is expected of it.
#[derive(Default)]
struct Deviation {
    clean_max: f64,
    scored: usize,
    repaired: usize,
    repaired_max: f64,
    repaired_within: usize,
    figures_max: f64,
    failures: String,
}

impl Deviation {
    fn fail(&mut self, name: &str, row: &Expected, what: &str) {
        let _ = writeln!(self.failures, "{name} at {} s: {what}", row.text("tick_s"));
    }

    /// `ours` is what is held against the row: status word, score, level word, and figures by column.
    fn take(&mut self, name: &str, row: &Expected, ours: &Row) {
        if ours.status != row.text("status") {
            self.fail(
                name,
                row,
                &format!("status {} instead of {}", ours.status, row.text("status")),
            );
            return;
        }
        match (ours.score, row.number("score")) {
            (Some(ours), Some(theirs)) => {
                let off = (ours - theirs).abs();
                self.scored += 1;
                if row.number("artefact_pct") == Some(0.0) {
                    self.clean_max = self.clean_max.max(off);
                    if off > 0.01 {
                        self.fail(name, row, &format!("score {ours} instead of {theirs}"));
                    }
                } else {
                    self.repaired += 1;
                    self.repaired_max = self.repaired_max.max(off);
                    self.repaired_within += usize::from(off <= 0.01);
                }
            }
            (None, None) => {}
            (ours, theirs) => {
                self.fail(name, row, &format!("score {ours:?} instead of {theirs:?}"))
            }
        }
        if ours.level != row.text("phase") {
            self.fail(
                name,
                row,
                &format!("level {} instead of {}", ours.level, row.text("phase")),
            );
        }
        for (column, ours) in &ours.figures {
            match (ours, row.number(column)) {
                (Some(ours), Some(theirs)) => {
                    let off = (ours - theirs).abs();
                    self.figures_max = self.figures_max.max(off / theirs.abs().max(1.0));
                    // Six decimals are written, and powers come out of an f32 transform.
                    if off > 1e-6 + 2e-6 * theirs.abs() {
                        self.fail(name, row, &format!("{column} {ours} instead of {theirs}"));
                    }
                }
                (None, None) => {}
                (ours, theirs) => self.fail(
                    name,
                    row,
                    &format!("{column} {ours:?} instead of {theirs:?}"),
                ),
            }
        }
    }

    fn conclude(&mut self, name: &str) {
        println!(
            "{name:<24} {:>4} scores; clean windows: max off {:.6}; {:>3} repaired windows: max off {:.6}, {:>5.1} % \
             within 0.01; other figures: max off {:.1e}",
            self.scored,
            self.clean_max,
            self.repaired,
            self.repaired_max,
            if self.repaired == 0 {
                100.0
            } else {
                100.0 * self.repaired_within as f64 / self.repaired as f64
            },
            self.figures_max,
        );
        if (self.repaired_within as f64) < 0.95 * self.repaired as f64 {
            let _ = writeln!(
                self.failures,
                "{name}: under 95 % of the repaired windows are within 0.01"
            );
        }
    }
}

/// One of our rows, wherever it came from.
struct Row {
    status: String,
    score: Option<f64>,
    level: String,
    figures: Vec<(&'static str, Option<f64>)>,
}

const FIGURES: [&str; 10] = [
    "peak_hz",
    "artefact_pct",
    "mean_hr",
    "sdnn",
    "rmssd",
    "pnn50",
    "lf",
    "hf",
    "lf_hf",
    "total",
];

impl From<&Evaluation> for Row {
    fn from(e: &Evaluation) -> Self {
        let hrv = |figure: fn(&coherence_hub::signal::Hrv) -> Option<f64>| {
            e.hrv.as_ref().and_then(figure)
        };
        let values = [
            e.peak_hz,
            e.artefact_pct,
            hrv(|h| h.mean_hr_bpm),
            hrv(|h| h.sdnn_ms),
            hrv(|h| h.rmssd_ms),
            hrv(|h| h.pnn50_pct),
            hrv(|h| h.lf_ms2),
            hrv(|h| h.hf_ms2),
            hrv(|h| h.lf_hf),
            hrv(|h| h.total_ms2),
        ];
        Row {
            status: e.status.word().to_owned(),
            score: e.score,
            level: e.level.map_or("", |level| level.word()).to_owned(),
            figures: FIGURES.into_iter().zip(values).collect(),
        }
    }
}

#[test]
fn every_series_scores_as_defined() {
    let mut failures = String::new();
    for series in all_series() {
        let mut deviation = Deviation::default();
        for row in &series.expected {
            let known: usize = row.text("n_beats").parse().unwrap();
            let evaluation = evaluate(&series.intervals[..known]);
            deviation.take(&series.name, row, &Row::from(&evaluation));
        }
        deviation.conclude(&series.name);
        failures += &deviation.failures;
    }
    assert!(failures.is_empty(), "\n{failures}");
}

#[test]
fn a_tachogram_fed_beat_by_beat_agrees_with_the_whole_history_to_the_bit() {
    for series in all_series() {
        let mut tachogram = Tachogram::new();
        for (n, interval) in series.intervals.iter().enumerate() {
            tachogram.push(*interval);
            assert!(
                tachogram.intervals().len() <= 300,
                "{}: kept too much",
                series.name
            );
            if n % 11 == 0 {
                let (trimmed, whole) = (
                    evaluate(tachogram.intervals()),
                    evaluate(&series.intervals[..=n]),
                );
                // Every figure is finite, so that equal means the same bits (or a zero's sign).
                assert_eq!(trimmed, whole, "{} after {n} beats", series.name);
            }
        }
    }
}

#[test]
fn the_warmup_left_runs_down_to_the_first_score() {
    for series in all_series() {
        let mut left_ms = f64::INFINITY;
        for n in 0..series.intervals.len().min(120) {
            let evaluation = evaluate(&series.intervals[..n]);
            if evaluation.status != Status::Warmup {
                assert_eq!(evaluation.warmup_left_ms, 0.0);
                break;
            }
            assert!(evaluation.warmup_left_ms > 0.0);
            // Repairs at the edge may take a beat back for a moment.
            assert!(
                evaluation.warmup_left_ms <= left_ms + 3000.0,
                "{} after {n} beats",
                series.name
            );
            left_ms = evaluation.warmup_left_ms;
        }
    }
}
