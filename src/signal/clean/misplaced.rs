//! Misplaced beats: the beat that came early or late, by the heart's doing or the electrode's.
//!
//! Here belong repairs judged by how smooth the series becomes. A beat is suspicious by its distance
//! from what its neighbours predict; of a handful of repairs the one is taken that leaves the
//! neighbourhood smoothest, if it is smoother by more than the threshold of suspicion itself.

use super::{POSSIBLE_MS, Piece, median, median_of, neighbourhood};
use crate::signal::settings::Setting;

/// With fewer beats there is no telling which one is wrong.
const FEWEST: usize = 5;

/// Normal deviation from a median absolute deviation (for a normal distribution).
const MAD_TO_DEVIATION: f64 = 1.4826;

/// From so many normal deviations on an error is suspicious, …
const SUSPICIOUS_DEVIATIONS: f64 = 5.0;

/// … but never below the first and always above the second of these shares of the typical interval.
const SUSPICIOUS_SHARES: [f64; 2] = [0.08, 0.25];

/// A repair leaves no value further from the typical one than this share of it.
const ADMISSIBLE_SHARE: f64 = 0.35;

/// A guessed value has to be better by so many thresholds more.
const GUESS_THRESHOLDS: f64 = 2.0;

pub(in crate::signal) const SETTINGS: &[Setting] = &[
    ("FEWEST", &[FEWEST as f64]),
    ("MAD_TO_DEVIATION", &[MAD_TO_DEVIATION]),
    ("SUSPICIOUS_DEVIATIONS", &[SUSPICIOUS_DEVIATIONS]),
    ("SUSPICIOUS_SHARES", &SUSPICIOUS_SHARES),
    ("ADMISSIBLE_SHARE", &[ADMISSIBLE_SHARE]),
    ("GUESS_THRESHOLDS", &[GUESS_THRESHOLDS]),
];

/// Puts one run after another right.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// How far each beat is from what its neighbours predict.
    errors_ms: Vec<f64>,
    /// What a median is taken of.
    of_all_ms: Vec<f64>,
}

impl Search {
    /// Repairs the most suspicious beat, again and again, at most `most_changes` times.
    pub(super) fn put_right(&mut self, run: &mut Vec<Piece>, most_changes: usize) {
        let mut run = Run { pieces: run };
        let mut changes = 0;
        while changes < most_changes && run.pieces.len() >= FEWEST {
            self.errors_ms.clear();
            self.errors_ms.extend(run.errors_ms());
            let threshold_ms = self.threshold_ms(run.pieces);
            // Beats that turn out to be beyond repair change nothing, so that the errors still hold.
            loop {
                let Some(i) = run.most_suspicious(&self.errors_ms, threshold_ms) else {
                    return;
                };
                if run.repair(i, threshold_ms) {
                    break;
                }
            }
            changes += 1;
        }
    }

    /// From where on an error is suspicious: five normal deviations, between 8 and 25 % of the
    /// typical interval.
    fn threshold_ms(&mut self, pieces: &[Piece]) -> f64 {
        let mut median_of_all = |values: &mut dyn Iterator<Item = f64>| {
            self.of_all_ms.clear();
            self.of_all_ms.extend(values);
            median(&mut self.of_all_ms)
        };
        let typical_ms = median_of_all(&mut pieces.iter().map(|piece| piece.value_ms));
        let spread_ms = median_of_all(&mut self.errors_ms.iter().map(|error| error.abs()));
        (SUSPICIOUS_DEVIATIONS * MAD_TO_DEVIATION * spread_ms)
            .max(SUSPICIOUS_SHARES[0] * typical_ms)
            .min(SUSPICIOUS_SHARES[1] * typical_ms)
    }
}

/// A run under repair.
struct Run<'a> {
    pieces: &'a mut Vec<Piece>,
}

/// A repair that was tried: the pieces from `at`, `removed` of them, give way to `count` of `new_ms` each.
#[derive(Clone, Copy)]
struct Change {
    at: usize,
    removed: usize,
    count: usize,
    new_ms: f64,
}

impl Run<'_> {
    fn value_ms(&self, i: usize) -> f64 {
        self.pieces[i].value_ms
    }

    /// How far each beat is from the cubic through its four neighbours; at the ends, where there are
    /// no four, from the median of the others among the outermost five.
    fn errors_ms(&self) -> impl Iterator<Item = f64> {
        let n = self.pieces.len();
        let v = |i: usize| self.value_ms(i);
        let against_others = move |i: usize, five: std::ops::Range<usize>| {
            v(i) - median_of(five.filter(|&other| other != i).map(v)).unwrap_or(v(i))
        };
        (0..n).map(move |i| {
            if i < 2 {
                against_others(i, 0..FEWEST)
            } else if i + 2 >= n {
                against_others(i, n - FEWEST..n)
            } else {
                v(i) - (-v(i - 2) + 4.0 * v(i - 1) + 4.0 * v(i + 1) - v(i + 2)) / 6.0
            }
        })
    }

    /// The largest error first, impossible values before all others; `None` when nothing is left to
    /// repair.
    fn most_suspicious(&self, errors_ms: &[f64], threshold_ms: f64) -> Option<usize> {
        let mut worst: Option<(bool, f64, usize)> = None;
        for (i, error_ms) in errors_ms.iter().enumerate() {
            if self.pieces[i].dead {
                continue;
            }
            let impossible = !POSSIBLE_MS.contains(&self.value_ms(i));
            let size_ms = error_ms.abs();
            if !impossible && size_ms <= threshold_ms {
                continue;
            }
            if worst.is_none_or(|(was_impossible, most_ms, _)| {
                (impossible && !was_impossible)
                    || (impossible == was_impossible && size_ms > most_ms)
            }) {
                worst = Some((impossible, size_ms, i));
            }
        }
        worst.map(|(_, _, i)| i)
    }

    /// Tries to repair beat `i`; `false` when nothing helps, and then it is dead.
    fn repair(&mut self, i: usize, threshold_ms: f64) -> bool {
        let n = self.pieces.len();
        let around = neighbourhood(i, n);
        let typical_ms = median_of(
            around
                .clone()
                .filter(|other| other.abs_diff(i) > 1)
                .map(|other| self.value_ms(other)),
        )
        .unwrap_or(self.value_ms(i));
        let impossible = !POSSIBLE_MS.contains(&self.value_ms(i));
        let unchanged = Change {
            at: i,
            removed: 0,
            count: 0,
            new_ms: 0.0,
        };
        let limit = if impossible {
            f64::INFINITY
        } else {
            self.cost(&around, unchanged) - threshold_ms
        };

        let pairs = [i.checked_sub(1), Some(i)]
            .into_iter()
            .flatten()
            .filter(|at| at + 1 < n)
            .flat_map(|at| {
                let sum_ms = self.pieces[at].duration_ms + self.pieces[at + 1].duration_ms;
                [
                    Change {
                        at,
                        removed: 2,
                        count: 1,
                        new_ms: sum_ms,
                    },
                    Change {
                        at,
                        removed: 2,
                        count: 2,
                        new_ms: sum_ms / 2.0,
                    },
                ]
            });
        let alone_ms = self.pieces[i].duration_ms;
        let parts = [2, 3].map(|count| Change {
            at: i,
            removed: 1,
            count,
            new_ms: alone_ms / count as f64,
        });

        let mut best: Option<(Change, bool)> = None;
        let mut least = limit;
        for change in pairs.chain(parts) {
            let cost = self.cost(&around, change);
            if admissible(change.new_ms, typical_ms) && cost < least {
                (best, least) = (Some((change, true)), cost);
            }
        }
        let beside = [i.checked_sub(2), i.checked_sub(1), Some(i + 1), Some(i + 2)];
        let new_ms = median_of(
            beside
                .into_iter()
                .flatten()
                .filter(|&at| at < n)
                .map(|at| self.value_ms(at)),
        )
        .unwrap_or(typical_ms);
        let value_only = Change {
            at: i,
            removed: 1,
            count: 1,
            new_ms,
        };
        // A guessed value explains nothing, so it has to be better by more.
        if admissible(new_ms, typical_ms)
            && self.cost(&around, value_only) + GUESS_THRESHOLDS * threshold_ms < least
        {
            best = Some((value_only, false));
        }

        match best {
            Some((change, true)) => self.apply(change),
            Some((change, false)) => self.revalue(i, change.new_ms),
            None if impossible => self.revalue(i, typical_ms),
            None => {
                self.pieces[i].dead = true;
                return false;
            }
        }
        true
    }

    /// Roughness of the neighbourhood after a change: the sum of its absolute second differences.
    fn cost(&self, around: &std::ops::Range<usize>, change: Change) -> f64 {
        let values = (around.start..change.at)
            .map(|at| self.value_ms(at))
            .chain(std::iter::repeat_n(change.new_ms, change.count))
            .chain((change.at + change.removed..around.end).map(|at| self.value_ms(at)));
        let mut sum = 0.0;
        let mut last_two = [None; 2];
        for value in values {
            if let [Some(a), Some(b)] = last_two {
                let (a, b): (f64, f64) = (a, b);
                sum += (a - 2.0 * b + value).abs();
            }
            last_two = [last_two[1], Some(value)];
        }
        sum
    }

    fn apply(&mut self, change: Change) {
        let span = change.at..change.at + change.removed;
        let new = std::iter::repeat_n(Piece::repaired(change.new_ms), change.count);
        self.pieces.splice(span, new);
    }

    fn revalue(&mut self, i: usize, value_ms: f64) {
        self.pieces[i].value_ms = value_ms;
        self.pieces[i].flagged = true;
    }
}

fn admissible(new_ms: f64, typical_ms: f64) -> bool {
    POSSIBLE_MS.contains(&new_ms) && (new_ms - typical_ms).abs() <= ADMISSIBLE_SHARE * typical_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put_right_ms(received_ms: &[f64]) -> Vec<Piece> {
        let mut run = received_ms.iter().copied().map(Piece::received).collect();
        Search::default().put_right(&mut run, received_ms.len() / 2);
        run
    }

    #[test]
    fn an_early_beat_and_its_pause_become_two_even_ones() {
        let pieces = put_right_ms(&[
            800.0, 810.0, 805.0, 550.0, 1060.0, 800.0, 805.0, 800.0, 810.0,
        ]);
        assert_eq!((pieces[3].value_ms, pieces[4].value_ms), (805.0, 805.0));
        assert_eq!(pieces.iter().filter(|p| p.flagged).count(), 2);
    }

    #[test]
    fn a_beat_that_no_division_of_time_explains_gets_a_value_and_keeps_its_time() {
        let pieces = put_right_ms(&[
            800.0, 800.0, 800.0, 800.0, 1150.0, 800.0, 800.0, 800.0, 800.0,
        ]);
        assert_eq!(
            (pieces[4].value_ms, pieces[4].duration_ms, pieces[4].flagged),
            (800.0, 1150.0, true)
        );
        assert_eq!(pieces.len(), 9);
    }

    #[test]
    fn an_impossible_value_is_replaced_even_where_nothing_fits() {
        let pieces = put_right_ms(&[800.0, 800.0, 800.0, 5000.0, 800.0, 800.0, 800.0]);
        assert_eq!(
            (pieces[3].value_ms, pieces[3].duration_ms, pieces[3].flagged),
            (800.0, 5000.0, true)
        );
    }

    #[test]
    fn four_beats_are_too_few_to_judge() {
        let pieces = put_right_ms(&[800.0, 100.0, 5000.0, 800.0]);
        assert!(pieces.iter().all(|piece| !piece.flagged));
    }

    #[test]
    fn at_most_half_of_the_beats_are_changed() {
        let pieces = put_right_ms(&[100.0; 20]);
        assert!(pieces.iter().filter(|piece| piece.flagged).count() <= 10);
    }

    #[test]
    fn a_step_in_the_rate_is_not_an_artefact() {
        let step = [
            1000.0, 1000.0, 1000.0, 1000.0, 950.0, 900.0, 900.0, 900.0, 900.0, 900.0,
        ];
        assert!(put_right_ms(&step).iter().all(|piece| !piece.flagged));
    }
}
