//! The series that define the score, and how far a row of ours is from what is expected of it.
//!
//! The series: the folder that `COHERENCE_SIGNAL` names, when it is set; else our copy in
//! `tests/data/signal` and, where it is present, `../shared/signal` with the recordings of real
//! hearts, which are not ours to copy.

#![allow(dead_code)] // each test binary uses its own part

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use coherence_hal::replay::Recording;
use coherence_hub::signal::{Evaluation, Hrv, Interval};

/// One series: what was received and what is to come of it.
pub struct Series {
    pub name: String,
    pub input: PathBuf,
    pub intervals: Vec<Interval>,
    pub expected: Vec<Expected>,
}

/// One row of an expected file; columns by name, empty ones left out.
pub struct Expected {
    pub columns: Vec<(String, String)>,
}

impl Expected {
    pub fn text(&self, column: &str) -> &str {
        self.columns
            .iter()
            .find(|(name, _)| name == column)
            .map_or("", |(_, value)| value)
    }

    pub fn number(&self, column: &str) -> Option<f64> {
        let text = self.text(column);
        (!text.is_empty()).then(|| text.parse().expect("a number in an expected file"))
    }
}

fn folders() -> Vec<PathBuf> {
    if let Some(folder) = std::env::var_os("COHERENCE_SIGNAL") {
        return vec![PathBuf::from(folder)];
    }
    // `tests/signal_alone` looks for them too, from its own folder.
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .find(|root| root.join("tests/data/signal").is_dir())
        .expect("the series are in the repository");
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

pub fn all_series() -> Vec<Series> {
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

/// One group: hearts on one clock, and what is to come of them at some moments.
pub struct GroupFile {
    pub name: String,
    pub hearts: Vec<Heart>,
    pub expected: Vec<serde_json::Value>,
}

pub struct Heart {
    pub intervals: Vec<Interval>,
    /// When the last of them ended.
    pub last_end_ms: f64,
}

/// All groups, by name: synthetic ones, of which our copy is whole.
pub fn all_groups() -> Vec<GroupFile> {
    let folder = folders().swap_remove(0).join("group");
    let json = |path: &Path| -> serde_json::Value {
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    };
    let mut groups: Vec<GroupFile> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_suffix(".input.json")?;
            let expected = json(&folder.join(format!("{name}.expected.json")));
            let hearts = json(&path)["participants"]
                .as_array()?
                .iter()
                .map(heart)
                .collect();
            Some(GroupFile {
                name: name.to_owned(),
                hearts,
                expected: expected.as_array()?.clone(),
            })
        })
        .collect();
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(!groups.is_empty(), "no group at all");
    groups
}

/// `t_first_ms` is the beat with which the first interval begins.
fn heart(person: &serde_json::Value) -> Heart {
    let rr = person["rr_ms"].as_array().unwrap();
    let intervals: Vec<Interval> = rr
        .iter()
        .map(|rr_ms| Interval {
            rr_ms: rr_ms.as_f64().unwrap(),
            gap_ms: 0.0,
        })
        .collect();
    let lasting_ms: f64 = intervals.iter().map(|interval| interval.rr_ms).sum();
    Heart {
        last_end_ms: person["t_first_ms"].as_f64().unwrap() + lasting_ms,
        intervals,
    }
}

/// How far a file is from what is expected of it.
#[derive(Default)]
pub struct Deviation {
    pub clean_max: f64,
    pub scored: usize,
    pub repaired: usize,
    pub repaired_max: f64,
    pub repaired_within: usize,
    pub figures_max: f64,
    pub failures: String,
}

impl Deviation {
    fn fail(&mut self, name: &str, row: &Expected, what: &str) {
        let _ = writeln!(self.failures, "{name} at {} s: {what}", row.text("tick_s"));
    }

    /// `ours` is what is held against the row: status word, score, level word, and figures by column.
    pub fn take(&mut self, name: &str, row: &Expected, ours: &Row) {
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

    pub fn conclude(&mut self, name: &str) {
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
pub struct Row {
    pub status: String,
    pub score: Option<f64>,
    pub level: String,
    pub figures: Vec<(&'static str, Option<f64>)>,
}

pub const FIGURES: [&str; 10] = [
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
        let hrv = |figure: fn(&Hrv) -> Option<f64>| e.hrv.as_ref().and_then(figure);
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
