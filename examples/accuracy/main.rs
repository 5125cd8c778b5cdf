//! How accurate is the score? Hearts of known spectrum are simulated, disturbed, and scored by the
//! hub and by the ways that are in common use.
//!
//! `cargo run --release --example accuracy -- --help`
//!
//! - `random`: chance that is the same on every machine
//! - `simulate`: hearts, and the score that they deserve
//! - `planted`: artefacts and gaps
//! - `pipelines`, `cleaners`: the ways of others
//! - `bars`: the hub's error bars against the truth
//! - `study`: which of these meet; `table`, `plot`: how it is told

mod bars;
mod cleaners;
mod pipelines;
mod planted;
mod plot;
mod random;
mod simulate;
mod study;
mod table;

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use study::Study;

/// How accurate the score is: hearts of known spectrum against the hub and the ways that are in
/// common use. Prints tables, draws a picture; the same seed gives the same digits everywhere.
#[derive(Parser, Debug)]
#[command(name = "accuracy")]
struct Args {
    /// Windows in each row of the tables; 3000 take about half a minute.
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u64).range(2..=1_000_000))]
    windows: u64,
    /// Another seed, other hearts.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to draw the errors, as SVG.
    #[arg(long, value_name = "FILE", default_value = "target/accuracy.svg")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut bar = Bar::new(args.windows);
    let study = Study::run(args.windows, args.seed, |done| bar.show(done));
    // A reader that went away has seen enough; the picture is still drawn.
    if let Err(error) = write!(io::stdout().lock(), "{study}")
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        eprintln!("accuracy: can't write the tables: {error}");
        return ExitCode::FAILURE;
    }
    if let Err(error) = fs::write(&args.out, plot::svg(&study)) {
        eprintln!("accuracy: can't write {}: {error}", args.out.display());
        return ExitCode::FAILURE;
    }
    eprintln!("The errors as a picture: {}", args.out.display());
    ExitCode::SUCCESS
}

/// How far it is, on a terminal and nowhere else.
struct Bar {
    windows: u64,
    shown_pct: Option<u64>,
}

impl Bar {
    const WIDTH: usize = 50;

    fn new(windows: u64) -> Self {
        Bar {
            windows,
            shown_pct: None,
        }
    }

    fn show(&mut self, done: u64) {
        let pct = 100 * done / self.windows;
        if self.shown_pct == Some(pct) || !io::stderr().is_terminal() {
            return;
        }
        self.shown_pct = Some(pct);
        let filled = Self::WIDTH * pct as usize / 100;
        let mut err = io::stderr().lock();
        let end = if done == self.windows { "\r\x1b[K" } else { "" };
        // A terminal that went away takes the bar with it, not the study.
        let _ = write!(
            err,
            "\r[{}{}] {pct:3} %{end}",
            "#".repeat(filled),
            "-".repeat(Self::WIDTH - filled)
        );
        let _ = err.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROZEN: &str = include_str!("frozen.txt");

    /// After a change that is meant, `UPDATE=1 cargo test --example accuracy` writes the file anew, and
    /// the difference is to be looked at.
    #[test]
    fn a_small_study_prints_the_same_digits_on_every_machine() {
        let printed = Study::run(12, 1, |_| ()).to_string();
        if std::env::var_os("UPDATE").is_some() {
            let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/accuracy/frozen.txt");
            fs::write(file, &printed).unwrap();
        } else {
            assert_eq!(printed, FROZEN);
        }
    }

    #[test]
    fn a_longer_study_begins_with_the_windows_of_a_shorter_one() {
        let (short, long) = (Study::run(2, 7, |_| ()), Study::run(3, 7, |_| ()));
        assert_eq!(short.truths, long.truths[..2]);
        for (short, long) in short.scores.iter().zip(&long.scores) {
            assert_eq!(short.errors.all(), &long.errors.all()[..2]);
        }
        for (short, long) in short.cleaners.iter().zip(&long.cleaners) {
            for (short, long) in short.errors.iter().zip(&long.errors) {
                assert_eq!(short.all(), &long.all()[..2]);
            }
        }
    }

    #[test]
    fn the_picture_has_a_panel_for_every_way_and_only_numbers_in_it() {
        let study = Study::run(2, 1, |_| ());
        let svg = plot::svg(&study);
        for row in &study.scores {
            assert!(svg.contains(&format!(">{}<", row.name)), "{}", row.name);
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}
