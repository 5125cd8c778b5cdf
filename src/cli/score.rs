//! `coherence-hub score`: scores recordings without a hub, or a stored session again.
//!
//! Here belongs what turns files into ticks; each way to write them down has its own file, and so has
//! the session. Reading a recording is `coherence_hal::replay`'s, scoring it is `signal`'s.
//!
//! A recording is scored as the hub would have scored it live: at 30 and 60 s and then every 5 s
//! of the beat clock (the sum of intervals and gaps), each time from the intervals that were known
//! by then.

mod csv;
mod json;
mod session;
mod table;

use std::fs;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use coherence_hal::replay::Recording;

use crate::signal::{Evaluation, Hrv, Interval, Scorer, Version};

/// Score recordings of R-R intervals, or check the scores of a stored session
///
/// Recordings are CSV, `rr_ms[,gap_ms]`, and are scored as the hub would have live. A stored session is computed
/// again from its R-R and compared.
#[derive(clap::Args, Debug)]
pub struct ScoreArgs {
    /// How to write the scores down.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Version of the score's definition, 1 or 2 [default: that by which the hub scores]
    #[arg(long, value_name = "VERSION", value_parser = version)]
    pub algorithm: Option<Version>,
    /// Recordings; `-` is the standard input.
    #[arg(required_unless_present = "session", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Compute this session again from the R-R that the hub keeps, and compare every figure with what it
    /// stored, to the last bit. Reads only, also beside a running hub
    #[arg(long, value_name = "ID", conflicts_with_all = ["files", "format", "algorithm"])]
    pub session: Option<String>,
    /// Where the database of that session lives [default: store.data_dir of the configuration]
    #[arg(
        long,
        value_name = "DIR",
        requires = "session",
        conflicts_with = "files"
    )]
    pub data_dir: Option<PathBuf>,
}

/// How scores are written down.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people: aligned, rounded, with a summary of each file.
    #[default]
    Table,
    /// One row per tick with six decimals; a `file` column in front when there are several files.
    Csv,
    /// One array, one object per file, every figure in full.
    Json,
}

fn version(text: &str) -> Result<Version, String> {
    let known = text.parse().ok().and_then(Version::of_number);
    known.ok_or_else(|| "the versions are 1 and 2".to_owned())
}

/// Scores the files on the standard output and complains on the standard error. The exit code is 1
/// when a file could not be read; a reader that went away ends it quietly.
pub fn run(args: ScoreArgs) -> ExitCode {
    if let Some(session_id) = args.session {
        return session::run(&session_id, args.data_dir);
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let version = args.algorithm.unwrap_or(Version::CURRENT);
    match score(
        &args.files,
        args.format,
        version,
        &mut out,
        &mut io::stderr(),
    ) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("coherence-hub: can't write the scores: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Scores the files in their order; one that can't be read is named in `complaints` and passed over.
/// `Ok(false)` when there was one.
pub fn score(
    files: &[PathBuf],
    format: Format,
    version: Version,
    out: &mut impl Write,
    complaints: &mut impl Write,
) -> io::Result<bool> {
    let mut written = 0;
    for file in files {
        match read(file) {
            Ok(intervals) => {
                match format {
                    Format::Table => table::write(out, file, &intervals, version, written == 0)?,
                    Format::Csv => csv::write(
                        out,
                        file,
                        &intervals,
                        version,
                        files.len() > 1,
                        written == 0,
                    )?,
                    Format::Json => json::write(out, file, &intervals, version, written == 0)?,
                }
                written += 1;
            }
            Err(complaint) => {
                // What is done stands before the complaint on a shared terminal.
                out.flush()?;
                writeln!(complaints, "coherence-hub: {complaint}")?;
            }
        }
    }
    match format {
        Format::Table if written > 0 => writeln!(out, "\n{}", table::NOTE)?,
        Format::Table | Format::Csv => {}
        Format::Json if written > 0 => writeln!(out, "\n]")?,
        Format::Json => writeln!(out, "[]")?,
    }
    out.flush()?;
    Ok(written == files.len())
}

/// The intervals of a recording; the complaint names the file, and the line when it is known.
fn read(file: &Path) -> Result<Vec<Interval>, String> {
    let name = name(file);
    let bytes = if file == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(file)
    };
    let bytes = bytes.map_err(|error| format!("{name}: {error}"))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|&&byte| byte == b'\n').count();
        format!("{name}:{line}: this is not text (UTF-8)")
    })?;
    let recording = Recording::parse(&text).map_err(|error| error.in_file(name).to_string())?;
    let mut intervals: Vec<Interval> = recording
        .intervals
        .iter()
        .map(|heard| Interval {
            rr_ms: heard.rr_ms,
            gap_ms: heard.gap_ms,
        })
        .collect();
    // The beat clock starts with the first interval.
    if let Some(first) = intervals.first_mut() {
        first.gap_ms = 0.0;
    }
    Ok(intervals)
}

fn name(file: &Path) -> String {
    if file == Path::new("-") {
        "standard input".to_owned()
    } else {
        file.display().to_string()
    }
}

/// What a recording says at one moment.
struct Tick {
    /// Beat clock, s.
    tick_s: u64,
    /// Intervals known by then.
    n_beats: usize,
    evaluation: Evaluation,
}

/// The ticks of a recording: 30, 60 and then every 5 s, as long as it lasts.
fn ticks(intervals: &[Interval], version: Version) -> impl Iterator<Item = Tick> + '_ {
    let ends_ms: Vec<f64> = intervals
        .iter()
        .scan(0.0, |end_ms, interval| {
            *end_ms += interval.rr_ms + interval.gap_ms;
            Some(*end_ms)
        })
        .collect();
    let last_ms = ends_ms.last().copied().unwrap_or(0.0);
    let mut scorer = Scorer::new(version);
    let mut latest: Option<(usize, Evaluation)> = None;
    std::iter::once(30)
        .chain((60..).step_by(5))
        .take_while(move |&tick_s| tick_s as f64 * 1000.0 <= last_ms)
        .map(move |tick_s| {
            let n_beats = ends_ms.partition_point(|&end_ms| end_ms <= tick_s as f64 * 1000.0);
            // During a gap nothing new is known.
            let evaluation = match latest {
                Some((known, evaluation)) if known == n_beats => evaluation,
                _ => scorer.evaluate(&intervals[..n_beats]),
            };
            latest = Some((n_beats, evaluation));
            Tick {
                tick_s,
                n_beats,
                evaluation,
            }
        })
}

/// The figures of heart-rate variability in the order of the columns.
fn hrv_figures(evaluation: &Evaluation) -> [Option<f64>; 8] {
    evaluation.hrv.map_or([None; 8], |hrv: Hrv| {
        [
            hrv.mean_hr_bpm,
            hrv.sdnn_ms,
            hrv.rmssd_ms,
            hrv.pnn50_pct,
            hrv.lf_ms2,
            hrv.hf_ms2,
            hrv.lf_hf,
            hrv.total_ms2,
        ]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steady(count: usize, rr_ms: f64) -> Vec<Interval> {
        vec![Interval { rr_ms, gap_ms: 0.0 }; count]
    }

    #[test]
    fn ticks_are_at_thirty_and_sixty_seconds_and_then_every_five() {
        let at: Vec<(u64, usize)> = ticks(&steady(72, 1000.0), Version::CURRENT)
            .map(|tick| (tick.tick_s, tick.n_beats))
            .collect();
        assert_eq!(at, [(30, 30), (60, 60), (65, 65), (70, 70)]);
        assert_eq!(ticks(&steady(29, 1000.0), Version::CURRENT).count(), 0);
        assert_eq!(ticks(&[], Version::CURRENT).count(), 0);
    }

    #[test]
    fn the_clock_runs_on_through_a_gap_in_which_nothing_new_is_known() {
        let mut intervals = steady(80, 1000.0);
        intervals[66].gap_ms = 12_000.0;
        let known: Vec<(u64, usize)> = ticks(&intervals, Version::CURRENT)
            .filter(|tick| tick.tick_s > 60)
            .map(|tick| (tick.tick_s, tick.n_beats))
            .collect();
        assert_eq!(
            known,
            [(65, 65), (70, 66), (75, 66), (80, 68), (85, 73), (90, 78)]
        );
    }

    #[test]
    fn json_without_a_readable_file_is_still_json() {
        let (mut out, mut complaints) = (Vec::new(), Vec::new());
        let all_read = score(
            &["/does/not/exist.csv".into()],
            Format::Json,
            Version::CURRENT,
            &mut out,
            &mut complaints,
        )
        .unwrap();
        assert!(!all_read);
        assert_eq!(out, b"[]\n");
        assert!(
            String::from_utf8(complaints)
                .unwrap()
                .starts_with("coherence-hub: /does/not/exist.csv: ")
        );
    }
}
