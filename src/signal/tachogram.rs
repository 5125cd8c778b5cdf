//! Which intervals count: the newest 80 s of beat time since the last long gap.
//!
//! Here belongs the choice of intervals, by their position and length alone. What a value is worth
//! is the cleaner's question; whether an interval came from a strap that sits on a body is the
//! room's.
//!
//! What no strap can mean is settled here, once and for every caller:
//! - an interval that is not a number, infinite or under 0.5 ms (half of the 1/1024 s in which
//!   straps count: nothing at all) is passed over as if it had not been received;
//! - an interval longer than the whole buffer counts as 80 s;
//! - a gap that is negative or not a number is none; an infinite one is a long one.

use super::settings::Setting;
use super::{Interval, Version};

/// Beat time a score may look back on, in ms: the 64 s window and what the cleaner and the spline
/// want to see before it.
pub const BUFFER_MS: f64 = 80_000.0;

/// A gap longer than this starts the window over, in ms. Shorter ones are bridged, at a price in
/// points (RMSE): by version 1 5.5 for 3 s and 13 for 5 s, by version 2 1.7, 3.1, and 4.6 for 8 s.
pub fn restart_gap_ms(version: Version) -> f64 {
    match version {
        Version::One => RESTART_GAP_MS,
        Version::Two => LONGEST_BRIDGED_GAP_MS,
    }
}

/// The longest that version 1 bridges, in ms.
const RESTART_GAP_MS: f64 = 5_000.0;

/// No version bridges a longer gap, in ms.
const LONGEST_BRIDGED_GAP_MS: f64 = 8_000.0;

/// No more intervals than this are looked at: 80 s at 384 beats a minute, more than a human heart
/// makes. It bounds the work that a noisy electrode can cause.
pub const MAX_INTERVALS: usize = 512;

/// Anything shorter is no interval at all, in ms.
const MIN_RR_MS: f64 = 0.5;

pub(super) const SETTINGS: &[Setting] = &[
    ("BUFFER_MS", &[BUFFER_MS]),
    ("MAX_INTERVALS", &[MAX_INTERVALS as f64]),
    ("MIN_RR_MS", &[MIN_RR_MS]),
];

pub(super) const SETTINGS_OF_ONE: &[Setting] = &[("RESTART_GAP_MS", &[RESTART_GAP_MS])];

pub(super) const SETTINGS_OF_TWO: &[Setting] =
    &[("LONGEST_BRIDGED_GAP_MS", &[LONGEST_BRIDGED_GAP_MS])];

/// The intervals of one heart, no more of them than a score needs.
#[derive(Clone, Debug, Default)]
pub struct Tachogram {
    kept: Vec<Interval>,
    /// Everything before it is spent; removed now and then.
    start: usize,
}

impl Tachogram {
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts the next interval behind the others and lets go of what no later score can need.
    pub fn push(&mut self, interval: Interval) {
        if !usable(&interval) {
            return;
        }
        self.kept.push(interval);
        self.start += buffer_start(self.intervals(), LONGEST_BRIDGED_GAP_MS);
        if self.start >= MAX_INTERVALS {
            self.kept.drain(..self.start);
            self.start = 0;
        }
    }

    /// What is kept, oldest first; [`Scorer::evaluate`](super::Scorer::evaluate) takes it as it is.
    pub fn intervals(&self) -> &[Interval] {
        &self.kept[self.start..]
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.kept.clear();
        self.start = 0;
    }

    pub fn is_empty(&self) -> bool {
        self.intervals().is_empty()
    }
}

/// Puts the shortest suffix that reaches [`BUFFER_MS`] (or everything there is) in the place of what
/// `buffer` held, with every value in its bounds. The gap before its first interval is of no
/// consequence and 0.
pub(super) fn fill(buffer: &mut Vec<Interval>, intervals: &[Interval], version: Version) {
    buffer.clear();
    buffer.extend(
        intervals[buffer_start(intervals, restart_gap_ms(version))..]
            .iter()
            .filter(|interval| usable(interval))
            .map(|interval| Interval {
                rr_ms: bounded_rr_ms(interval),
                gap_ms: bounded_gap_ms(interval),
            }),
    );
    if let Some(first) = buffer.first_mut() {
        first.gap_ms = 0.0;
    }
}

/// The intervals that had ended by `at_ms`, when the last of all ended at `last_end_ms`, and when the
/// last of them did.
pub(super) fn ended_by(intervals: &[Interval], last_end_ms: f64, at_ms: f64) -> (&[Interval], f64) {
    let mut known = intervals;
    let mut end_ms = last_end_ms;
    while let Some((last, before)) = known.split_last().filter(|_| end_ms > at_ms) {
        if usable(last) {
            end_ms -= bounded_rr_ms(last) + bounded_gap_ms(last);
        }
        known = before;
    }
    (known, end_ms)
}

/// Index of the buffer's first interval; walks back from the newest, so that it does not depend on
/// how much history there is.
fn buffer_start(intervals: &[Interval], restart_gap_ms: f64) -> usize {
    let mut start = intervals.len();
    let mut reached_ms = 0.0;
    let mut taken = 0;
    for (i, interval) in intervals.iter().enumerate().rev() {
        if !usable(interval) {
            continue;
        }
        start = i;
        taken += 1;
        reached_ms += bounded_rr_ms(interval);
        let gap_ms = bounded_gap_ms(interval);
        if reached_ms >= BUFFER_MS || gap_ms > restart_gap_ms || taken == MAX_INTERVALS {
            break;
        }
        reached_ms += gap_ms;
    }
    start
}

fn usable(interval: &Interval) -> bool {
    interval.rr_ms.is_finite() && interval.rr_ms >= MIN_RR_MS
}

fn bounded_rr_ms(interval: &Interval) -> f64 {
    interval.rr_ms.min(BUFFER_MS)
}

fn bounded_gap_ms(interval: &Interval) -> f64 {
    // `max` passes over a NaN.
    interval.gap_ms.max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(rr_ms: f64, gap_ms: f64) -> Interval {
        Interval { rr_ms, gap_ms }
    }

    fn buffer(intervals: &[Interval]) -> Vec<Interval> {
        let mut buffer = vec![beat(700.0, 9.0)];
        fill(&mut buffer, intervals, Version::One);
        buffer
    }

    fn fed(intervals: &[Interval]) -> Tachogram {
        let mut tachogram = Tachogram::new();
        for interval in intervals {
            tachogram.push(*interval);
        }
        tachogram
    }

    #[test]
    fn it_keeps_the_shortest_suffix_that_reaches_eighty_seconds() {
        let tachogram = fed(&vec![beat(1000.0, 0.0); 5000]);
        assert_eq!(tachogram.intervals().len(), 80);
        assert!(
            tachogram.kept.capacity() <= 4 * MAX_INTERVALS,
            "spent intervals are given back"
        );
    }

    #[test]
    fn short_gaps_count_as_time_unless_they_lie_before_the_first_interval() {
        let mut intervals = vec![beat(1000.0, 0.0); 100];
        intervals[90].gap_ms = 2000.0;
        assert_eq!(fed(&intervals).intervals().len(), 78);
        // 80 s from interval 20 on, so that its own gap is not needed.
        let mut intervals = vec![beat(1000.0, 0.0); 100];
        intervals[20].gap_ms = 2000.0;
        assert_eq!(buffer(&intervals).len(), 80);
        assert_eq!(buffer(&intervals)[0].gap_ms, 0.0);
    }

    #[test]
    fn a_long_gap_drops_what_was_before() {
        let mut intervals = vec![beat(1000.0, 0.0); 20];
        intervals[12].gap_ms = 5000.0;
        assert_eq!(buffer(&intervals).len(), 20);
        intervals[12].gap_ms = 5000.001;
        assert_eq!(buffer(&intervals).len(), 8);
        // What version 2 still wants stays.
        assert_eq!(fed(&intervals).intervals().len(), 20);
        intervals[12].gap_ms = 8000.001;
        assert_eq!(fed(&intervals).intervals().len(), 8);
        intervals[15].gap_ms = f64::INFINITY;
        assert_eq!(fed(&intervals).intervals().len(), 5);
    }

    #[test]
    fn what_is_no_interval_is_passed_over() {
        let nothings = [
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            0.0,
            -800.0,
            5e-324,
            0.4,
        ];
        let tachogram = fed(&nothings.map(|rr_ms| beat(rr_ms, 9000.0)));
        assert!(tachogram.is_empty());
        let mut intervals = vec![beat(800.0, 0.0); 3];
        intervals.extend(nothings.map(|rr_ms| beat(rr_ms, 9000.0)));
        assert_eq!(buffer(&intervals), vec![beat(800.0, 0.0); 3]);
    }

    #[test]
    fn impossible_lengths_are_brought_into_bounds() {
        assert_eq!(
            buffer(&[beat(700.0, 0.0), beat(f64::MAX, f64::NAN)]),
            [beat(BUFFER_MS, 0.0)]
        );
        assert_eq!(
            buffer(&[beat(700.0, 0.0), beat(800.0, f64::NAN), beat(900.0, -3.0)]),
            [beat(700.0, 0.0), beat(800.0, 0.0), beat(900.0, 0.0)]
        );
    }

    #[test]
    fn a_cleared_tachogram_is_empty() {
        let mut tachogram = fed(&vec![beat(1000.0, 0.0); 200]);
        assert!(!tachogram.is_empty());
        tachogram.clear();
        assert!(tachogram.is_empty());
        assert!(tachogram.intervals().is_empty());
    }
}
