//! Scores as JSON: one array, one object per file, every figure in full.
//!
//! `[{"file", "algorithm", "settings", "ticks": [{"tick_s", "n_beats", "status", "score",
//! "standard_error", "level", "early_score", "early_standard_error", "peak_hz", "breaths_per_min",
//! "artefact_pct", "beats", "coverage", "warmup_left_ms", "mean_hr_bpm", "sdnn_ms", "rmssd_ms",
//! "pnn50_pct", "lf_ms2", "hf_ms2", "lf_hf", "total_ms2"}]}]`. What is absent is `null`. `n_beats`
//! counts the intervals known at the tick, `beats` the cleaned beats in its window; `algorithm` is
//! the version of the score's definition, `settings` the hash of its constants.

use std::io::{self, Write};
use std::path::Path;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::{Tick, hrv_figures, ticks};
use crate::room::SettingsHash;
use crate::signal::{Early, Interval, Level, Version, breaths_per_min};

/// Writes one file's object; the caller closes the array.
pub(super) fn write(
    out: &mut impl Write,
    file: &Path,
    intervals: &[Interval],
    version: Version,
    first: bool,
) -> io::Result<()> {
    out.write_all(if first { b"[\n" } else { b",\n" })?;
    serde_json::to_writer(
        &mut *out,
        &Scored {
            file,
            intervals,
            version,
        },
    )
    .map_err(io::Error::from)
}

/// One file in JSON; its ticks are scored while they are written.
struct Scored<'a> {
    file: &'a Path,
    intervals: &'a [Interval],
    version: Version,
}

impl Serialize for Scored<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Scored", 4)?;
        object.serialize_field("file", &self.file.to_string_lossy())?;
        object.serialize_field("algorithm", &self.version.number())?;
        object.serialize_field("settings", &SettingsHash::of(self.version))?;
        object.serialize_field("ticks", &Ticks(self.intervals, self.version))?;
        object.end()
    }
}

struct Ticks<'a>(&'a [Interval], Version);

impl Serialize for Ticks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(ticks(self.0, self.1))
    }
}

impl Serialize for Tick {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Tick {
            tick_s,
            n_beats,
            evaluation,
        } = self;
        let mut object = serializer.serialize_struct("Tick", 22)?;
        object.serialize_field("tick_s", tick_s)?;
        object.serialize_field("n_beats", n_beats)?;
        object.serialize_field("status", evaluation.status.word())?;
        object.serialize_field("score", &evaluation.score)?;
        object.serialize_field("standard_error", &evaluation.standard_error)?;
        object.serialize_field("level", &evaluation.level.map(Level::word))?;
        let early = evaluation.early;
        let score = early.map(|early: Early| early.score);
        object.serialize_field("early_score", &score)?;
        let error = early.map(|early: Early| early.standard_error);
        object.serialize_field("early_standard_error", &error)?;
        object.serialize_field("peak_hz", &evaluation.peak_hz)?;
        let breaths = breaths_per_min(evaluation.peak_hz, evaluation.score);
        object.serialize_field("breaths_per_min", &breaths)?;
        object.serialize_field("artefact_pct", &evaluation.artefact_pct)?;
        object.serialize_field("beats", &evaluation.beats)?;
        object.serialize_field("coverage", &evaluation.coverage)?;
        object.serialize_field("warmup_left_ms", &evaluation.warmup_left_ms)?;
        let names = [
            "mean_hr_bpm",
            "sdnn_ms",
            "rmssd_ms",
            "pnn50_pct",
            "lf_ms2",
            "hf_ms2",
            "lf_hf",
            "total_ms2",
        ];
        for (name, figure) in names.into_iter().zip(hrv_figures(evaluation)) {
            object.serialize_field(name, &figure)?;
        }
        object.end()
    }
}
