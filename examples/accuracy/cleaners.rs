//! Common ways to put beats right, for comparison; our own is asked through `coherence_hub::signal`.

use crate::pipelines::Point;

/// What is done to received intervals before they are scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleaner {
    /// Nothing.
    None,
    /// A beat that differs from the last good one by more than a fifth is left out, and the curve
    /// drawn over the hole (Malik et al. 1989).
    Malik,
    /// Each interval is held against the median of five around it: one as long as two is split, two
    /// that are together as long as one are merged, and what still differs by more than a fifth becomes the
    /// median.
    MedianOfFive,
}

impl Cleaner {
    /// The series that is scored; times count from the beginning.
    pub fn cleaned(self, intervals_ms: &[f64]) -> Vec<Point> {
        match self {
            Cleaner::None => timed(intervals_ms.iter().map(|&ms| (ms, ms))),
            Cleaner::Malik => {
                let mut points = timed(intervals_ms.iter().map(|&ms| (ms, ms)));
                let mut last_ms = median(intervals_ms);
                points.retain(|point| {
                    let good = (point.value_ms - last_ms).abs() <= 0.2 * last_ms;
                    if good {
                        last_ms = point.value_ms;
                    }
                    good
                });
                points
            }
            Cleaner::MedianOfFive => median_of_five(intervals_ms),
        }
    }
}

fn timed(durations_and_values_ms: impl Iterator<Item = (f64, f64)>) -> Vec<Point> {
    let mut end_ms = 0.0;
    durations_and_values_ms
        .map(|(duration_ms, value_ms)| {
            end_ms += duration_ms;
            Point { end_ms, value_ms }
        })
        .collect()
}

fn median_of_five(intervals_ms: &[f64]) -> Vec<Point> {
    let around =
        |list: &[f64], i: usize| median(&list[i.saturating_sub(2)..(i + 3).min(list.len())]);
    let mut counted = Vec::with_capacity(intervals_ms.len() + 8);
    let mut i = 0;
    while i < intervals_ms.len() {
        let typical_ms = around(intervals_ms, i);
        let ms = intervals_ms[i];
        let pair_ms = ms + intervals_ms.get(i + 1).copied().unwrap_or(f64::INFINITY);
        let parts = (ms / typical_ms).round();
        if ms < 0.8 * typical_ms && (pair_ms - typical_ms).abs() <= 0.2 * typical_ms {
            counted.push(pair_ms);
            i += 2;
            continue;
        }
        if parts >= 2.0 && (ms / parts - typical_ms).abs() <= 0.2 * typical_ms {
            counted.extend(std::iter::repeat_n(ms / parts, parts as usize));
        } else {
            counted.push(ms);
        }
        i += 1;
    }
    timed((0..counted.len()).map(|i| {
        let typical_ms = around(&counted, i);
        let differs = (counted[i] - typical_ms).abs() > 0.2 * typical_ms;
        (counted[i], if differs { typical_ms } else { counted[i] })
    }))
}

/// Of an even number of values the mean of the middle two.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = sorted.len();
    (sorted[n / 2] + sorted[(n - 1) / 2]) / 2.0
}
