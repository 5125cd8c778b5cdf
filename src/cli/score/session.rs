//! A stored session, computed again: what the hub kept of each heart at each grid point against what the
//! same code makes of the stored R-R, to the last bit.
//!
//! Here belongs the comparison and how it is told. What is compared is read by `store`; how a row is made
//! of a window is `room`'s to say, and the same for both.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use jiff::Timestamp;

use crate::cli::EXIT_CONFIG;
use crate::config::{self, Overrides};
use crate::room::rows::{RrRow, ScoreRow};
use crate::room::{HeartKey, SettingsHash, remade};
use crate::signal::tachogram::{BUFFER_MS, restart_gap_ms};
use crate::signal::{Interval, Scorer, Version};
use crate::store::{self, BootEvidence, Evidence};

/// Computes a session again and says how it went. The exit code is 0 only if something was compared and
/// everything that could be was equal.
pub(super) fn run(session_id: &str, data_dir: Option<PathBuf>) -> ExitCode {
    let overrides = Overrides {
        file: None,
        data_dir,
        listen: None,
    };
    let database = match config::load(&overrides) {
        Ok(loaded) => loaded.config.store.data_dir.join(store::FILE_NAME),
        Err(error) => {
            eprintln!("coherence-hub: {error}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    match check(session_id, &database) {
        Ok(outcome) => match outcome.tell(session_id, &mut io::stdout(), &mut io::stderr()) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("coherence-hub: can't write how it went: {error}");
                ExitCode::FAILURE
            }
        },
        Err(complaint) => {
            eprintln!("coherence-hub: {complaint}");
            ExitCode::FAILURE
        }
    }
}

fn check(session_id: &str, database: &Path) -> Result<Outcome, String> {
    let evidence = store::evidence(database, session_id)
        .map_err(|error| format!("the session can't be read: {error}"))?
        .ok_or_else(|| {
            format!(
                "{} keeps no session {session_id:?}; GET /api/sessions lists those that it keeps",
                database.display()
            )
        })?;
    Ok(Outcome::of(&evidence))
}

/// How the comparison went.
#[derive(Debug, Default)]
struct Outcome {
    /// Evaluations that are equal, and how many of these have a score.
    equal: usize,
    scores: usize,
    /// The first that differs, in words, and how many do.
    first_difference: Option<String>,
    differing: usize,
    /// Rows in which nothing was computed: silent, off the body, a phone's own score.
    uncomputed: usize,
    /// Evaluations that can't be checked, by the reason.
    unchecked: BTreeMap<Unchecked, usize>,
}

/// Why an evaluation can't be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Unchecked {
    /// Its window begins before the oldest R-R that is still kept.
    Forgotten,
    /// R-R inside of its window is not kept.
    Hole,
    /// It was made by a definition that this program does not have.
    OtherVersion,
}

impl Unchecked {
    fn words(self) -> &'static str {
        match self {
            Unchecked::Forgotten => {
                "their R-R is no longer kept from the beginning of the window on (privacy.keep_days)"
            }
            Unchecked::Hole => {
                "R-R is missing inside of their windows (erased, or lost while the disk took nothing)"
            }
            Unchecked::OtherVersion => "this program does not know the version of their definition",
        }
    }
}

impl Outcome {
    fn of(evidence: &Evidence) -> Self {
        let mut outcome = Outcome::default();
        let mut scorers: Vec<Scorer> = Version::ALL.into_iter().map(Scorer::new).collect();
        for boot in &evidence.boots {
            for kept in &boot.scores {
                outcome.compare(kept, boot, evidence, &mut scorers);
            }
        }
        outcome
    }

    fn compare(
        &mut self,
        kept: &ScoreRow,
        boot: &BootEvidence,
        evidence: &Evidence,
        scorers: &mut [Scorer],
    ) {
        let (Some(_), Some(last_rr)) = (kept.status, kept.last_rr) else {
            self.uncomputed += 1;
            return;
        };
        let version = kept.algorithm.and_then(Version::of_number);
        let scorer = scorers
            .iter_mut()
            .find(|scorer| Some(scorer.version()) == version);
        let Some(scorer) = scorer else {
            self.not_checked(Unchecked::OtherVersion);
            return;
        };
        let rows = boot.rr.get(&kept.heart).map_or(&[][..], Vec::as_slice);
        let rows = window(rows, last_rr);
        let Some(last) = rows.last().filter(|row| row.id == last_rr) else {
            let forgotten = boot.rr_ids.first().is_none_or(|oldest| last_rr < *oldest);
            self.not_checked(if forgotten {
                Unchecked::Forgotten
            } else {
                Unchecked::Hole
            });
            return;
        };
        let again = remade(kept, intervals(rows), last.beat_mono_ms, scorer);
        let Some(difference) = difference(kept, &again) else {
            self.equal += 1;
            self.scores += usize::from(kept.score.is_some());
            return;
        };
        if let Some(why) = missing(rows, boot, scorer.version()) {
            self.not_checked(why);
            return;
        }
        self.differing += 1;
        self.first_difference.get_or_insert_with(|| {
            let (what, stored, recomputed) = difference;
            format!(
                "{}, {}: {what} is stored as {stored} and computed again as {recomputed}",
                heart(kept.heart, evidence),
                moment(kept.at.wall_ms)
            )
        });
    }

    fn not_checked(&mut self, why: Unchecked) {
        *self.unchecked.entry(why).or_default() += 1;
    }

    /// Whether all is well.
    fn tell(
        &self,
        session_id: &str,
        out: &mut impl Write,
        complaints: &mut impl Write,
    ) -> io::Result<bool> {
        writeln!(
            out,
            "{session_id}: {} evaluations ({} of them scores) were computed again from the stored R-R and are \
             equal, to the last bit",
            self.equal, self.scores
        )?;
        if self.uncomputed > 0 {
            let rows = self.uncomputed;
            writeln!(out, "{rows} rows say why nothing was computed")?;
        }
        for (why, count) in &self.unchecked {
            writeln!(out, "{count} can't be checked: {}", why.words())?;
        }
        out.flush()?;
        if let Some(first) = &self.first_difference {
            let (differing, compared) = (self.differing, self.differing + self.equal);
            writeln!(
                complaints,
                "coherence-hub: session {session_id}: {differing} of {compared} evaluations differ from what is stored; the first: {first}"
            )?;
        } else if self.equal == 0 {
            writeln!(
                complaints,
                "coherence-hub: session {session_id}: there is nothing that could be computed again"
            )?;
        }
        Ok(self.first_difference.is_none() && self.equal > 0)
    }
}

/// The rows of a heart from where it last began up to this one; the scorer takes of them what it needs.
fn window(rows: &[RrRow], last_rr: i64) -> &[RrRow] {
    let known = &rows[..rows.partition_point(|row| row.id <= last_rr)];
    let begin = known.iter().rposition(|row| row.begins).unwrap_or(0);
    &known[begin..]
}

/// What of it was on the tachogram.
fn intervals(rows: &[RrRow]) -> Vec<Interval> {
    let on = rows.iter().filter(|row| row.mark.on_tachogram());
    on.map(|row| Interval {
        rr_ms: row.rr_ms,
        gap_ms: row.gap_ms,
    })
    .collect()
}

/// Whether R-R of a window is missing: where intervals don't follow on each other although their chain says
/// so, there was another, if a number between theirs is not there any more.
fn missing(rows: &[RrRow], boot: &BootEvidence, version: Version) -> Option<Unchecked> {
    let mut reached_ms = 0.0;
    let mut after: Option<&RrRow> = None;
    for row in rows.iter().rev().filter(|row| row.mark.on_tachogram()) {
        if let Some(after) = after {
            let follows_ms = after.beat_mono_ms - after.gap_ms - after.rr_ms - row.beat_mono_ms;
            let kept = boot.rr_ids.range(row.id..after.id).count() as i64;
            if follows_ms > 0.0 && kept < after.id - row.id {
                return Some(Unchecked::Hole);
            }
        }
        reached_ms += row.rr_ms;
        if row.begins || reached_ms >= BUFFER_MS || row.gap_ms > restart_gap_ms(version) {
            return None;
        }
        reached_ms += row.gap_ms;
        after = Some(row);
    }
    Some(Unchecked::Forgotten)
}

/// The first figure that is not the same to the last bit: its name, stored, computed again.
fn difference(kept: &ScoreRow, again: &ScoreRow) -> Option<(&'static str, String, String)> {
    let number = |value: Option<f64>| value.map_or("nothing".to_owned(), |value| value.to_string());
    let word = |word: Option<&str>| word.unwrap_or("nothing").to_owned();
    let settings = |settings: Option<SettingsHash>| {
        settings.map_or("nothing".to_owned(), |settings| settings.to_string())
    };
    // What was not kept before there was a proof is nothing to compare with.
    let proven = kept.settings.is_some();
    if proven && kept.settings != again.settings {
        return Some((
            "settings",
            settings(kept.settings),
            settings(again.settings),
        ));
    }
    for (name, of) in WORDS {
        if of(kept) != of(again) {
            return Some((name, word(of(kept)), word(of(again))));
        }
    }
    let proof = PROOF.iter().filter(|_| proven);
    for (name, of) in FIGURES.iter().chain(proof) {
        let bits = |row: &ScoreRow| of(row).map(f64::to_bits);
        if bits(kept) != bits(again) {
            return Some((name, number(of(kept)), number(of(again))));
        }
    }
    None
}

type Word = fn(&ScoreRow) -> Option<&'static str>;
type Figure = fn(&ScoreRow) -> Option<f64>;

const WORDS: [(&str, Word); 3] = [
    ("status", |row| row.status),
    ("reason", |row| row.reason),
    ("level", |row| row.level),
];

const FIGURES: [(&str, Figure); 13] = [
    ("score", |row| row.score),
    ("artefact_pct", |row| row.artefact_pct),
    ("coverage", |row| Some(row.coverage)),
    ("beats", |row| Some(f64::from(row.beats))),
    ("peak_hz", |row| row.peak_hz),
    ("mean_hr_bpm", |row| row.mean_hr_bpm),
    ("sdnn_ms", |row| row.sdnn_ms),
    ("rmssd_ms", |row| row.rmssd_ms),
    ("pnn50_pct", |row| row.pnn50_pct),
    ("lf_ms2", |row| row.lf_ms2),
    ("hf_ms2", |row| row.hf_ms2),
    ("lf_hf", |row| row.lf_hf),
    ("total_ms2", |row| row.total_ms2),
];

const PROOF: [(&str, Figure); 3] = [
    ("standard_error", |row| row.standard_error),
    ("window_start_mono_ms", |row| {
        row.window.map(|window| window.start_mono_ms)
    }),
    ("window_end_mono_ms", |row| {
        row.window.map(|window| window.end_mono_ms)
    }),
];

fn heart(heart: HeartKey, evidence: &Evidence) -> String {
    match heart {
        HeartKey::Strap(no) => match evidence.labels.get(&no) {
            Some(label) => label.clone(),
            None => format!("strap {}", no.0),
        },
        HeartKey::Phone(id) => format!("the phone of participant {id}"),
    }
}

/// UTC.
fn moment(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms).map_or_else(|_| format!("{at_ms} ms"), |at| at.to_string())
}
