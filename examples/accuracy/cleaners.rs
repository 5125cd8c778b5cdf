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
    let mut counted: Vec<f64> = Vec::with_capacity(intervals_ms.len() + 8);
    let mut merged_with_next = false;
    for (i, &ms) in intervals_ms.iter().enumerate() {
        if std::mem::take(&mut merged_with_next) {
            continue;
        }
        let typical_ms = around(intervals_ms, i);
        let off = |sum_ms: f64| (sum_ms - typical_ms).abs() / typical_ms;
        let with_last = counted.last().map_or(f64::INFINITY, |last| off(last + ms));
        let with_next = intervals_ms
            .get(i + 1)
            .map_or(f64::INFINITY, |next| off(ms + next));
        let parts = (ms / typical_ms).round();
        if off(ms) <= 0.2 {
            counted.push(ms);
        } else if with_last.min(with_next) <= 0.2 {
            if with_next <= with_last {
                counted.push(ms + intervals_ms[i + 1]);
                merged_with_next = true;
            } else if let Some(last) = counted.last_mut() {
                *last += ms;
            }
        } else if parts >= 2.0 && off(ms / parts) <= 0.2 {
            counted.extend(std::iter::repeat_n(ms / parts, parts as usize));
        } else {
            counted.push(ms);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn values_ms(cleaner: Cleaner, received_ms: &[f64]) -> Vec<f64> {
        let points = cleaner.cleaned(received_ms);
        points.iter().map(|point| point.value_ms).collect()
    }

    #[test]
    fn nothing_is_done_to_good_beats() {
        let good_ms = [800.0, 830.0, 860.0, 840.0, 810.0, 790.0];
        for cleaner in [Cleaner::None, Cleaner::Malik, Cleaner::MedianOfFive] {
            assert_eq!(values_ms(cleaner, &good_ms), good_ms, "{cleaner:?}");
        }
    }

    #[test]
    fn malik_leaves_out_what_differs_and_keeps_the_time() {
        let points = Cleaner::Malik.cleaned(&[800.0, 810.0, 500.0, 1100.0, 800.0]);
        let times_ms: Vec<f64> = points.iter().map(|point| point.end_ms).collect();
        assert_eq!(times_ms, [800.0, 1610.0, 4010.0]);
    }

    #[test]
    fn the_median_of_five_splits_merges_and_replaces() {
        let cases: [(&str, &[f64], &[f64]); 4] = [
            (
                "missed",
                &[800.0, 800.0, 1600.0, 800.0, 800.0],
                &[800.0, 800.0, 800.0, 800.0, 800.0, 800.0],
            ),
            (
                "extra, the short piece first",
                &[800.0, 810.0, 200.0, 600.0, 790.0, 800.0],
                &[800.0, 810.0, 800.0, 790.0, 800.0],
            ),
            (
                "extra, the short piece last",
                &[800.0, 800.0, 660.0, 150.0, 790.0, 800.0],
                &[800.0, 800.0, 810.0, 790.0, 800.0],
            ),
            (
                "ectopic",
                &[800.0, 800.0, 560.0, 1040.0, 800.0, 800.0],
                &[800.0, 800.0, 800.0, 800.0, 800.0, 800.0],
            ),
        ];
        for (what, received_ms, expected_ms) in cases {
            assert_eq!(
                values_ms(Cleaner::MedianOfFive, received_ms),
                expected_ms,
                "{what}"
            );
        }
    }
}
