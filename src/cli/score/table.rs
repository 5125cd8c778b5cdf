//! Scores as a table for people: rounded, aligned, with a summary of each file.

use std::io::{self, Write};
use std::path::Path;

use super::{Tick, hrv_figures, name, ticks};
use crate::signal::{Evaluation, Interval, Level, Status, Version};

/// What a reader of scores has to know.
pub(super) const NOTE: &str = "\
A score is the share of the strongest slow rhythm in the variability of the heart rate, 0 to 100.
± is its standard error: the truth is within 1.645 times that nine times in ten. A score in brackets is
early: of less than a whole window, and in no mean.
Without any rhythm it averages about 21, and of slowly wandering hearts (1/f) one window in fourteen then
exceeds 40 by chance: look at several windows before believing one. Flat hearts (score 0) are left out of the means.";

/// Names, widths and decimals of the columns behind time, beats, status and level.
const COLUMNS: [(&str, usize, usize); 11] = [
    ("±", 5, 1),
    ("peak Hz", 8, 3),
    ("repaired %", 11, 1),
    ("HR /min", 8, 1),
    ("SDNN ms", 8, 1),
    ("RMSSD ms", 9, 1),
    ("pNN50 %", 8, 1),
    ("LF ms²", 8, 0),
    ("HF ms²", 8, 0),
    ("LF/HF", 7, 2),
    ("total ms²", 10, 0),
];

/// Writes one file's table and its summary.
pub(super) fn write(
    out: &mut impl Write,
    file: &Path,
    intervals: &[Interval],
    version: Version,
    first: bool,
) -> io::Result<()> {
    let length_ms: f64 = intervals
        .iter()
        .map(|interval| interval.rr_ms + interval.gap_ms)
        .sum();
    if !first {
        writeln!(out)?;
    }
    writeln!(
        out,
        "{}: {} intervals in {} min",
        name(file),
        intervals.len(),
        minutes((length_ms / 1000.0) as u64).trim_start()
    )?;
    let mut summary = Summary::default();
    for Tick {
        tick_s,
        n_beats,
        evaluation,
    } in ticks(intervals, version)
    {
        if summary.ticks == 0 {
            write!(
                out,
                "{:>7} {:>6}  {:<6}  {:<6} {:>7}",
                "min", "beats", "status", "level", "score"
            )?;
            for (title, width, _) in COLUMNS {
                write!(out, " {title:>width$}")?;
            }
            writeln!(out)?;
        }
        summary.take(&evaluation);
        write!(
            out,
            "{} {n_beats:>6}  {:<6}  {:<6} {:>7}",
            minutes(tick_s),
            evaluation.status.word(),
            evaluation.level.map_or("–", Level::word),
            score(&evaluation)
        )?;
        let figures = [
            evaluation
                .standard_error
                .or(evaluation.early.map(|early| early.standard_error)),
            evaluation.peak_hz,
            evaluation.artefact_pct,
        ]
        .into_iter()
        .chain(hrv_figures(&evaluation));
        for (figure, (_, width, decimals)) in figures.zip(COLUMNS) {
            match figure {
                Some(figure) => write!(out, " {figure:>width$.decimals$}")?,
                None => write!(out, " {:>width$}", "–")?,
            }
        }
        writeln!(out)?;
    }
    summary.write(out)
}

fn score(evaluation: &Evaluation) -> String {
    match (evaluation.score, evaluation.early) {
        (Some(score), _) => format!("{score:.1}"),
        (None, Some(early)) => format!("({:.1})", early.score),
        (None, None) => "–".to_owned(),
    }
}

fn minutes(seconds: u64) -> String {
    format!("{:>4}:{:02}", seconds / 60, seconds % 60)
}

/// What a table's last line tells.
#[derive(Default)]
struct Summary {
    ticks: usize,
    warmup: usize,
    poor: usize,
    flat: usize,
    score_sum: f64,
    /// Low, medium, high.
    levels: [usize; 3],
}

impl Summary {
    fn take(&mut self, evaluation: &Evaluation) {
        self.ticks += 1;
        match evaluation.status {
            Status::Warmup => self.warmup += 1,
            Status::Poor => self.poor += 1,
            Status::Flat => self.flat += 1,
            Status::Good | Status::Fair => {
                let score = evaluation.score.unwrap_or_default();
                self.score_sum += score;
                self.levels[Level::of(score) as usize] += 1;
            }
        }
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let scored: usize = self.levels.iter().sum();
        let [low, medium, high] = self.levels;
        if self.ticks == 0 {
            return writeln!(
                out,
                "too short: the first row comes at 30 s, the first score after 64 s"
            );
        }
        if scored > 0 {
            let mean = self.score_sum / scored as f64;
            write!(
                out,
                "mean score {mean:.1} ({low} low, {medium} medium, {high} high); "
            )?;
        }
        write!(
            out,
            "scored at {scored} of {} ticks ({:.0} %)",
            self.ticks,
            100.0 * scored as f64 / self.ticks as f64
        )?;
        for (count, word) in [
            (self.warmup, Status::Warmup),
            (self.poor, Status::Poor),
            (self.flat, Status::Flat),
        ] {
            if count > 0 {
                write!(out, ", {count} {}", word.word())?;
            }
        }
        writeln!(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_recording_says_so_in_the_table() {
        let mut out = Vec::new();
        write(
            &mut out,
            Path::new("short.csv"),
            &[Interval {
                rr_ms: 800.0,
                gap_ms: 0.0,
            }; 10],
            Version::CURRENT,
            true,
        )
        .unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.contains("short.csv: 10 intervals in 0:08 min"),
            "{text}"
        );
        assert!(text.contains("too short"), "{text}");
    }
}
