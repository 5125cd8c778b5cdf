//! R-R intervals of any bits whatever, and the score that is made of them.

use coherence_hub::signal::tachogram::MAX_INTERVALS;
use coherence_hub::signal::{
    Evaluation, Interval, Level, Scorer, Status, Tachogram, Version, WINDOW_MS,
};

/// Intervals that one input may stand for.
const MOST: usize = 1_000_000;

/// With more than this, going through them one by one takes too long.
const STEP_BY_STEP: usize = 1_000;

pub fn holds(data: &[u8]) {
    let intervals = intervals(data);
    for version in [Version::One, Version::Two] {
        holds_by(version, &intervals);
    }
}

fn holds_by(version: Version, intervals: &[Interval]) {
    let evaluation = Scorer::new(version).evaluate(intervals);
    sound(&evaluation);
    assert!(u64::from(evaluation.beats) <= intervals.len() as u64 * MOST_PARTS);
    assert!(u64::from(evaluation.beats) <= MAX_INTERVALS as u64 * MOST_PARTS);

    // What was scored before leaves no trace.
    let mut used = Scorer::new(version);
    sound(&used.evaluate(&intervals[..intervals.len() / 2]));
    assert_eq!(used.evaluate(intervals), evaluation);

    // The room's copy holds no more than a bounded number, and says the same.
    let mut tachogram = Tachogram::new();
    if intervals.len() <= STEP_BY_STEP {
        for interval in intervals {
            tachogram.push(*interval);
            assert!(tachogram.intervals().len() <= MAX_INTERVALS);
        }
        assert_eq!(used.evaluate(tachogram.intervals()), evaluation);
    }
}

/// Beats that one interval may become: three passes, each of which makes at most three of one.
const MOST_PARTS: u64 = 27;

/// `data`: a kind, and what it needs: R-R in 1/1024 s (2 bytes); the bits of R-R and gap (16 bytes);
/// a gap in ms and R-R in 1/1024 s (2 bytes each); how often the last one comes again (2 bytes).
fn intervals(mut data: &[u8]) -> Vec<Interval> {
    let mut intervals: Vec<Interval> = Vec::new();
    let ticks = |low: u8, high: u8| f64::from(u16::from_le_bytes([low, high])) / 1.024;
    loop {
        data = match data {
            [kind, a, b, rest @ ..] if kind % 4 == 0 => {
                intervals.push(Interval {
                    rr_ms: ticks(*a, *b),
                    gap_ms: 0.0,
                });
                rest
            }
            [kind, bits @ ..] if kind % 4 == 1 && bits.len() >= 16 => {
                let (rr, rest) = bits.split_first_chunk().expect("there are 16 bytes");
                let (gap, rest) = rest.split_first_chunk().expect("there are 16 bytes");
                intervals.push(Interval {
                    rr_ms: f64::from_le_bytes(*rr),
                    gap_ms: f64::from_le_bytes(*gap),
                });
                rest
            }
            [kind, a, b, c, d, rest @ ..] if kind % 4 == 2 => {
                intervals.push(Interval {
                    rr_ms: ticks(*c, *d),
                    gap_ms: f64::from(u16::from_le_bytes([*a, *b])),
                });
                rest
            }
            [kind, a, b, rest @ ..] if kind % 4 == 3 => {
                let again = usize::from(u16::from_le_bytes([*a, *b]));
                if let Some(&last) = intervals.last() {
                    let most = again.min(MOST - intervals.len().min(MOST));
                    intervals.extend(std::iter::repeat_n(last, most));
                }
                rest
            }
            _ => return intervals,
        };
    }
}

/// There is a number or a reason, and every number is one that can be.
fn sound(evaluation: &Evaluation) {
    let Evaluation {
        status,
        score,
        standard_error,
        early,
        level,
        peak_hz,
        artefact_pct,
        coverage,
        warmup_left_ms,
        hrv,
        ..
    } = *evaluation;
    let scored = matches!(status, Status::Good | Status::Fair);
    assert_eq!(score.is_some(), scored || status == Status::Flat);
    assert_eq!(peak_hz.is_some(), scored);
    assert_eq!(level, score.map(Level::of));
    assert!(early.is_none() || status == Status::Warmup);
    for points in standard_error
        .into_iter()
        .chain(early.map(|early| early.standard_error))
    {
        assert!(points > 0.0 && points <= 50.0, "{evaluation:?}");
    }
    assert_eq!(artefact_pct.is_none(), status == Status::Warmup);
    let early_score = early.map(|early| early.score);
    for per_cent in [score, early_score, artefact_pct].into_iter().flatten() {
        assert!((0.0..=100.0).contains(&per_cent), "{evaluation:?}");
    }
    assert!(
        peak_hz.is_none_or(|hz| (0.04..=0.26).contains(&hz)),
        "{evaluation:?}"
    );
    assert!((0.0..=1.0).contains(&coverage), "{evaluation:?}");
    assert!((0.0..WINDOW_MS).contains(&warmup_left_ms), "{evaluation:?}");
    assert!(status == Status::Warmup || warmup_left_ms == 0.0);
    let Some(hrv) = hrv else {
        return;
    };
    let figures = [
        hrv.mean_hr_bpm,
        hrv.sdnn_ms,
        hrv.rmssd_ms,
        hrv.pnn50_pct,
        hrv.lf_ms2,
        hrv.hf_ms2,
        hrv.lf_hf,
        hrv.total_ms2,
    ];
    for figure in figures.into_iter().flatten() {
        assert!(figure.is_finite() && figure >= 0.0, "{evaluation:?}");
    }
}
