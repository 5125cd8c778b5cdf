//! The study as tables for people: every figure with its standard error behind it.

use std::fmt::{self, Display, Formatter};

use crate::bars::{self, REACH, TRUTHS};
use crate::study::{Errors, Figure, GAPS_MS, PLANTED, ShownRow, Study};

/// Width of the names.
const NAMES: usize = 36;

/// Width of a figure with its standard error.
const FIGURES: usize = 15;

impl Display for Study {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{} windows a row, seed {}; in points, ± standard error",
            self.windows, self.seed
        )?;
        self.write_scores(out)?;
        self.write_no_rhythm(out)?;
        self.write_cleaners(out)?;
        self.write_gaps(out)?;
        self.write_bars(out)
    }
}

impl Study {
    fn write_scores(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "\nScore against truth (64 s unless stated)")?;
        head(out, ["bias", "RMSE", "bias on a tone"])?;
        for row in &self.scores {
            let figures = [row.errors.mean(), row.errors.rmse(), row.tone.mean()];
            line(out, &row.name, figures.map(Some))?;
        }
        Ok(())
    }

    fn write_no_rhythm(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "\nScores where there is no rhythm at all: mean, and share above 40 in %"
        )?;
        head(
            out,
            ["white noise", "above 40", "1/f noise", "above 40", "both"],
        )?;
        for row in &self.no_rhythm {
            let above = |scores: &Errors| scores.share_pct(|score| score > 40.0);
            let figures = [
                row.white.mean(),
                above(&row.white),
                row.pink.mean(),
                above(&row.pink),
                row.white.and(&row.pink).mean(),
            ];
            line(out, &row.name, figures.map(Some))?;
        }
        Ok(())
    }

    fn write_cleaners(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "\nArtefacts: RMSE against the same window undisturbed, no window refused"
        )?;
        head(out, PLANTED.map(|(name, _, _)| name))?;
        for row in &self.cleaners {
            line(
                out,
                &row.name,
                row.errors.iter().map(|errors| Some(errors.rmse())),
            )?;
        }
        self.write_shown(out, &self.shown)
    }

    fn write_gaps(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "\nGaps: RMSE against the same window without")?;
        head(out, GAPS_MS.map(|ms| format!("{} s", ms / 1000.0)))?;
        line(
            out,
            "bridged by the cubic spline",
            self.bridged.iter().map(|errors| Some(errors.rmse())),
        )?;
        self.write_shown(out, &self.shown_gaps)
    }

    fn write_bars(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "\nError bars of version {}, on {} hearts with true scores from {} to {}: share of the windows, in %, whose truth\n\
             lies within {REACH} standard errors of the score. 90 is right; with fewer the hub is too sure of itself, with more it\n\
             knows more than it says. The truth is the planted one also under artefacts and gaps. Told error: root mean square\n\
             of the standard errors.",
            bars::VERSION.number(),
            self.bars.undisturbed.asked,
            TRUTHS.start,
            TRUTHS.end,
        )?;
        head(
            out,
            ["truth inside", "told error", "RMSE", "bias", "no score, %"],
        )?;
        for row in self.bars.rows() {
            let enough = row.errors.all().len() > 1;
            let figures = enough.then(|| {
                [
                    row.covered_pct(),
                    row.standard_errors.rmse(),
                    row.errors.rmse(),
                    row.errors.mean(),
                ]
            });
            cells(
                out,
                &row.name,
                figures.map_or([None; 4], |figures| figures.map(Some)),
            )?;
            if row.asked > 0 {
                writeln!(out, "{:>FIGURES$.1}", row.refused_pct())?;
            } else {
                writeln!(out, "{:>FIGURES$}", "-")?;
            }
        }
        Ok(())
    }

    /// What people get to see of it.
    fn write_shown(&self, out: &mut Formatter<'_>, rows: &[ShownRow]) -> fmt::Result {
        for row in rows {
            line(
                out,
                &format!("{}, where it scores", row.name),
                row.errors.iter().map(rmse_if_any),
            )?;
            write!(out, "{:NAMES$}", "  share of windows that it refuses, %")?;
            for errors in &row.errors {
                let refused = self.windows - errors.all().len() as u64;
                write!(
                    out,
                    "{:>FIGURES$.1}",
                    100.0 * refused as f64 / self.windows as f64
                )?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

/// Two windows are the fewest of which a standard error can be told.
fn rmse_if_any(errors: &Errors) -> Option<Figure> {
    (errors.all().len() > 1).then(|| errors.rmse())
}

fn head(out: &mut Formatter<'_>, columns: impl IntoIterator<Item = impl Display>) -> fmt::Result {
    write!(out, "{:NAMES$}", "")?;
    for column in columns {
        write!(out, "{column:>FIGURES$}")?;
    }
    writeln!(out)
}

fn line(
    out: &mut Formatter<'_>,
    name: &str,
    figures: impl IntoIterator<Item = Option<Figure>>,
) -> fmt::Result {
    cells(out, name, figures)?;
    writeln!(out)
}

/// A line that goes on.
fn cells(
    out: &mut Formatter<'_>,
    name: &str,
    figures: impl IntoIterator<Item = Option<Figure>>,
) -> fmt::Result {
    write!(out, "{name:NAMES$}")?;
    for figure in figures {
        match figure {
            Some(Figure {
                value,
                standard_error,
            }) => write!(out, "{value:>9.2} ±{standard_error:4.2}")?,
            None => write!(out, "{:>FIGURES$}", "-")?,
        }
    }
    Ok(())
}
