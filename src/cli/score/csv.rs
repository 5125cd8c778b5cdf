//! Scores as CSV: one row per tick, six decimals, nothing where there is nothing.

use std::io::{self, Write};
use std::path::Path;

use super::{Tick, hrv_figures, ticks};
use crate::signal::{Interval, Level, Version, breaths_per_min};

const CSV_HEADER: &str = "tick_s,n_beats,status,score,phase,peak_hz,artefact_pct,mean_hr,sdnn,rmssd,pnn50,lf,hf,lf_hf,total,standard_error,early_score,early_standard_error,breaths_per_min";

/// Writes one file's ticks; `with_file` puts its name in front, `first` the header above.
pub(super) fn write(
    out: &mut impl Write,
    file: &Path,
    intervals: &[Interval],
    version: Version,
    with_file: bool,
    first: bool,
) -> io::Result<()> {
    if first {
        writeln!(out, "{}{CSV_HEADER}", if with_file { "file," } else { "" })?;
    }
    let file = if with_file {
        csv_field(&file.display().to_string()) + ","
    } else {
        String::new()
    };
    for Tick {
        tick_s,
        n_beats,
        evaluation,
    } in ticks(intervals, version)
    {
        write!(out, "{file}{tick_s},{n_beats},{}", evaluation.status.word())?;
        write!(out, ",{}", csv_figure(evaluation.score))?;
        write!(out, ",{}", evaluation.level.map_or("", Level::word))?;
        for figure in [evaluation.peak_hz, evaluation.artefact_pct] {
            write!(out, ",{}", csv_figure(figure))?;
        }
        let early = evaluation.early;
        let added = [
            evaluation.standard_error,
            early.map(|early| early.score),
            early.map(|early| early.standard_error),
            breaths_per_min(evaluation.peak_hz, evaluation.score),
        ];
        for figure in hrv_figures(&evaluation).into_iter().chain(added) {
            write!(out, ",{}", csv_figure(figure))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn csv_figure(figure: Option<f64>) -> String {
    figure.map_or(String::new(), |figure| format!("{figure:.6}"))
}

/// A field as RFC 4180 wants it: quoted when it has to be.
fn csv_field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_with_a_comma_is_quoted() {
        assert_eq!(csv_field("walk.csv"), "walk.csv");
        assert_eq!(
            csv_field("walk, \"slow\".csv"),
            "\"walk, \"\"slow\"\".csv\""
        );
    }
}
