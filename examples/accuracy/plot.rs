//! The study as a picture: error against truth, a panel for each way to a score.
//!
//! Here belongs the drawing alone. Every panel shows windows as points, the mean error as a line
//! and the middle 80 % of the windows as a band; a perfect score would be a thin line at 0.

use std::fmt::Write as _;

use crate::study::{PIPELINES, ScoreRow, Study};

/// Panels beside one another.
const COLUMNS: usize = 4;

/// Width and height of a panel's field, without its words; and of a panel with them.
const FIELD: (f64, f64) = (250.0, 210.0);
const PANEL: (f64, f64) = (290.0, 290.0);

/// Left and top of the first panel's field.
const FIRST: (f64, f64) = (70.0, 150.0);

/// Below the last row of fields: its numbers, and air.
const FOOT: f64 = 48.0;

/// Errors that fit into a panel, in points; what is beyond lies on the edge.
const ERRORS: (f64, f64) = (-60.0, 40.0);

/// Points of truth that share a mean and a band.
const BIN: f64 = 10.0;

/// Fewer windows than this have no band.
const FEWEST: usize = 10;

/// More points than this would hide one another.
const MOST_POINTS: usize = 500;

const TEXT: &str = "#15202a";
const QUIET: &str = "#55636f";
const LINES: &str = "#ccd5d8";
const GROUND: &str = "#f2f5f5";
const SURFACE: &str = "#ffffff";
/// The hub's own rows, and those of others.
const OURS: &str = "#a33c26";
const OTHERS: &str = "#1f5c86";

/// The picture, as a document of its own.
pub fn svg(study: &Study) -> String {
    let rows = study.scores.len().div_ceil(COLUMNS);
    let width = FIRST.0 + PANEL.0 * COLUMNS as f64;
    let height = FIRST.1 + PANEL.1 * (rows - 1) as f64 + FIELD.1 + FOOT;
    let mut out = String::new();
    out += &format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" font-family=\"system-ui, sans-serif\" font-size=\"13\" fill=\"{TEXT}\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"{GROUND}\"/>\n\
         <text x=\"{left}\" y=\"46\" font-size=\"24\" font-weight=\"600\">How far coherence scores are from the truth</text>\n\
         <text x=\"{left}\" y=\"72\" font-size=\"15\" fill=\"{QUIET}\">{windows} simulated hearts of known spectrum. \
         Across: the true score. Up: the error, in points. Line: its mean. Band: the middle 80 % of the windows.</text>\n",
        left = FIRST.0,
        windows = study.windows,
    );
    for (i, row) in study.scores.iter().enumerate() {
        let left = FIRST.0 + PANEL.0 * (i % COLUMNS) as f64;
        let top = FIRST.1 + PANEL.1 * (i / COLUMNS) as f64;
        let colour = if i < PIPELINES.len() { OTHERS } else { OURS };
        panel(&mut out, (left, top), row, &study.truths, colour);
    }
    out += "</svg>\n";
    out
}

fn panel(out: &mut String, (left, top): (f64, f64), row: &ScoreRow, truths: &[f64], colour: &str) {
    let (width, height) = FIELD;
    let x = |truth: f64| left + width * truth / 100.0;
    let y = |error: f64| {
        let inside = error.clamp(ERRORS.0, ERRORS.1);
        top + height * (ERRORS.1 - inside) / (ERRORS.1 - ERRORS.0)
    };
    let (bias, rmse) = (row.errors.mean().value, row.errors.rmse().value);
    *out += &format!(
        "<g>\n<text x=\"{left}\" y=\"{:.0}\" font-size=\"15\" font-weight=\"600\" fill=\"{colour}\">{}</text>\n\
         <text x=\"{left}\" y=\"{:.0}\">bias {}, RMSE {rmse:.1}</text>\n\
         <rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" fill=\"{SURFACE}\" stroke=\"{LINES}\"/>\n",
        top - 26.0,
        row.name,
        top - 8.0,
        signed(bias),
    );
    for error in [-40.0, -20.0, 0.0, 20.0] {
        let (stroke, dashes) = if error == 0.0 {
            (TEXT, "")
        } else {
            (LINES, " stroke-dasharray=\"2 4\"")
        };
        *out += &format!(
            "<path d=\"M{left} {at:.1}h{width}\" stroke=\"{stroke}\"{dashes}/>\n\
             <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\" font-size=\"12\" fill=\"{QUIET}\">{}</text>\n",
            left - 6.0,
            y(error) + 4.0,
            if error == 0.0 {
                "0".to_owned()
            } else {
                format!("{}{:.0}", sign(error), error.abs())
            },
            at = y(error),
        );
    }
    for truth in [0.0, 20.0, 40.0, 60.0, 80.0, 100.0] {
        *out += &format!(
            "<text x=\"{:.1}\" y=\"{:.0}\" text-anchor=\"middle\" font-size=\"12\" fill=\"{QUIET}\">{truth}</text>\n",
            x(truth),
            top + height + 17.0,
        );
    }

    let errors = row.errors.all();
    let each = errors.len().div_ceil(MOST_POINTS);
    let mut points = String::new();
    for (truth, error) in truths.iter().zip(errors).step_by(each) {
        // Writing into a string can't fail.
        let _ = write!(points, "M{:.1} {:.1}h0", x(*truth), y(*error));
    }
    *out += &format!(
        "<path d=\"{points}\" stroke=\"{colour}\" stroke-opacity=\"0.22\" stroke-width=\"3.2\" stroke-linecap=\"round\"/>\n"
    );

    let bins = bins(truths, errors);
    let upper = bins.iter().map(|bin| (x(bin.truth), y(bin.high)));
    let lower = bins.iter().rev().map(|bin| (x(bin.truth), y(bin.low)));
    let middle = bins.iter().map(|bin| (x(bin.truth), y(bin.mean)));
    *out += &format!(
        "<polygon points=\"{}\" fill=\"{colour}\" fill-opacity=\"0.16\"/>\n\
         <polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2.5\" stroke-linejoin=\"round\"/>\n</g>\n",
        joined(upper.chain(lower)),
        joined(middle),
    );
}

/// The windows whose truths are near one another.
struct Bin {
    /// Their mean truth.
    truth: f64,
    mean: f64,
    /// A tenth of the errors lies below, a tenth above.
    low: f64,
    high: f64,
}

fn bins(truths: &[f64], errors: &[f64]) -> Vec<Bin> {
    let mut bins = Vec::new();
    let mut from = 0.0;
    while from < 100.0 {
        let (inside, mut sorted): (Vec<f64>, Vec<f64>) = truths
            .iter()
            .zip(errors)
            .filter(|(truth, _)| (from..from + BIN).contains(*truth))
            .unzip();
        let n = sorted.len();
        if n >= FEWEST {
            sorted.sort_unstable_by(f64::total_cmp);
            bins.push(Bin {
                truth: inside.iter().sum::<f64>() / n as f64,
                mean: sorted.iter().sum::<f64>() / n as f64,
                low: sorted[n / 10],
                high: sorted[n - 1 - n / 10],
            });
        }
        from += BIN;
    }
    bins
}

fn joined(points: impl Iterator<Item = (f64, f64)>) -> String {
    points
        .map(|(x, y)| format!("{x:.1},{y:.1}"))
        .collect::<Vec<_>>()
        .join(" ")
}

fn sign(value: f64) -> &'static str {
    if value < 0.0 { "\u{2212}" } else { "+" }
}

fn signed(value: f64) -> String {
    format!("{}{:.1}", sign(value), value.abs())
}
