//! Count errors: a beat that was missed (one interval as long as two or three) or heard twice (an
//! interval torn in two).
//!
//! Here belong repairs that change the number of beats and can be seen from lengths alone. A beat
//! that came early or late is the business of `misplaced`.

use super::{Piece, REACH, median_of, neighbourhood};
use crate::signal::settings::Setting;

/// A repair may uncover the next one; after this many passes the rest is left to `misplaced`.
const ROUNDS: usize = 3;

/// Parts of a long interval may differ from the typical one by this share.
const PART_WITHIN: f64 = 0.20;

/// The shorter of two torn pieces is shorter than this share of the usual interval.
const SHORT_BELOW: f64 = 0.75;

/// Two pieces are one beat if their sum differs from the beats around by at most this share, …
const SUM_WITHIN: f64 = 0.20;

/// … or from those right beside them by at most this one, …
const SUM_BESIDE_WITHIN: f64 = 0.12;

/// … where these differ from the others around by at most this.
const BESIDE_WITHIN: f64 = 0.30;

pub(in crate::signal) const SETTINGS: &[Setting] = &[
    ("ROUNDS", &[ROUNDS as f64]),
    ("PART_WITHIN", &[PART_WITHIN]),
    ("SHORT_BELOW", &[SHORT_BELOW]),
    ("SUM_WITHIN", &[SUM_WITHIN]),
    ("SUM_BESIDE_WITHIN", &[SUM_BESIDE_WITHIN]),
    ("BESIDE_WITHIN", &[BESIDE_WITHIN]),
];

/// Merges what was torn and splits what was missed, at most three passes from left to right. What
/// is in `spare` is of no consequence.
pub(super) fn put_right(run: &mut Vec<Piece>, spare: &mut Vec<Piece>) {
    for _ in 0..ROUNDS {
        spare.clear();
        if !round(run, spare) {
            break;
        }
        std::mem::swap(run, spare);
    }
    for piece in run {
        piece.value_ms = piece.duration_ms;
    }
}

/// One pass; `false` when it changed nothing. It compares with the list as it stood before the pass.
fn round(run: &[Piece], out: &mut Vec<Piece>) -> bool {
    let mut changed = false;
    let mut i = 0;
    while i < run.len() {
        if alike(run, i) {
            out.push(run[i]);
            i += 1;
            continue;
        }
        let typical_ms = typical_ms(run, i);
        if torn_in_two(run, i, typical_ms) {
            out.push(Piece::repaired(run[i].duration_ms + run[i + 1].duration_ms));
            changed = true;
            i += 2;
            continue;
        }
        if let Some((count, part_ms)) = missed(run[i].duration_ms, typical_ms) {
            out.extend(std::iter::repeat_n(Piece::repaired(part_ms), count));
            changed = true;
        } else {
            out.push(run[i]);
        }
        i += 1;
    }
    changed
}

/// Median of the neighbourhood of beat `i`, itself included.
fn typical_ms(run: &[Piece], i: usize) -> f64 {
    let around = &run[neighbourhood(i, run.len())];
    median_of(around.iter().map(|p| p.duration_ms)).unwrap_or(run[i].duration_ms)
}

/// Whether an interval is as long as two or three beats: how many, and how long each of them.
fn missed(duration_ms: f64, typical_ms: f64) -> Option<(usize, f64)> {
    let parts = (duration_ms / typical_ms + 0.5).floor();
    let part_ms = duration_ms / parts;
    ((parts == 2.0 || parts == 3.0) && (part_ms - typical_ms).abs() <= PART_WITHIN * typical_ms)
        .then_some((parts as usize, part_ms))
}

/// Whether beat `i` and all that it would be compared with are so much alike that neither repair can
/// apply. The medians lie between the shortest and the longest of them, and need not be known: what
/// is torn is shorter than three quarters of a median, what is missed at least one and a half times
/// as long.
fn alike(run: &[Piece], i: usize) -> bool {
    let compared = i.saturating_sub(REACH)..(i + 2 + REACH).min(run.len());
    let (mut shortest_ms, mut longest_ms) = (run[i].duration_ms, run[i].duration_ms);
    for piece in &run[compared] {
        shortest_ms = shortest_ms.min(piece.duration_ms);
        longest_ms = longest_ms.max(piece.duration_ms);
    }
    shortest_ms >= 0.75 * longest_ms
}

/// Whether beat `i` and the next are one beat heard twice.
fn torn_in_two(run: &[Piece], i: usize, typical_ms: f64) -> bool {
    let Some(next) = run.get(i + 1) else {
        return false;
    };
    let (left_ms, right_ms) = (run[i].duration_ms, next.duration_ms);
    let sum_ms = left_ms + right_ms;

    let before = &run[i.saturating_sub(REACH)..i];
    let after = &run[i + 2..(i + 2 + REACH).min(run.len())];
    let around_ms =
        median_of(before.iter().chain(after).map(|p| p.duration_ms)).unwrap_or(typical_ms);
    let adjacent_ms = match (before.last(), after.first()) {
        (Some(previous), Some(following)) => (previous.duration_ms + following.duration_ms) / 2.0,
        _ => around_ms,
    };

    let usual_ms = typical_ms.max(around_ms);
    let short = left_ms.min(right_ms) < SHORT_BELOW * usual_ms && left_ms.max(right_ms) < usual_ms;
    let sum_fits = (sum_ms - around_ms).abs() <= SUM_WITHIN * around_ms
        || ((sum_ms - adjacent_ms).abs() <= SUM_BESIDE_WITHIN * adjacent_ms
            && (adjacent_ms - around_ms).abs() <= BESIDE_WITHIN * around_ms);
    if !short || !sum_fits {
        return false;
    }
    // The shorter right piece may fit better with the beat after it: then this is not its partner.
    let better_with_following = right_ms <= left_ms
        && after.first().is_some_and(|following| {
            (right_ms + following.duration_ms - typical_ms).abs() < (sum_ms - typical_ms).abs()
        });
    !better_with_following
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn put_right_ms(durations_ms: &[f64]) -> Vec<(f64, bool)> {
        let mut run = durations_ms.iter().copied().map(Piece::received).collect();
        put_right(&mut run, &mut vec![Piece::received(700.0)]);
        run.iter().map(|p| (p.duration_ms, p.flagged)).collect()
    }

    #[test]
    fn count_errors_are_found_by_length() {
        type Case<'a> = (&'a str, &'a [f64], &'a [(f64, bool)]);
        let cases: [Case; 6] = [
            ("one beat alone", &[800.0], &[(800.0, false)]),
            (
                "a missed beat",
                &[800.0, 800.0, 1620.0, 800.0, 800.0],
                &[
                    (800.0, false),
                    (800.0, false),
                    (810.0, true),
                    (810.0, true),
                    (800.0, false),
                    (800.0, false),
                ],
            ),
            (
                "two missed beats",
                &[800.0, 800.0, 2430.0, 800.0, 800.0],
                &[
                    (800.0, false),
                    (800.0, false),
                    (810.0, true),
                    (810.0, true),
                    (810.0, true),
                    (800.0, false),
                    (800.0, false),
                ],
            ),
            (
                "a beat heard twice",
                &[800.0, 800.0, 300.0, 510.0, 800.0, 800.0],
                &[
                    (800.0, false),
                    (800.0, false),
                    (810.0, true),
                    (800.0, false),
                    (800.0, false),
                ],
            ),
            (
                "an early beat and its pause are not a count error",
                &[800.0, 800.0, 550.0, 1050.0, 800.0, 800.0],
                &[
                    (800.0, false),
                    (800.0, false),
                    (550.0, false),
                    (1050.0, false),
                    (800.0, false),
                    (800.0, false),
                ],
            ),
            (
                "four missed beats are too many to guess",
                &[800.0, 800.0, 4000.0, 800.0, 800.0],
                &[
                    (800.0, false),
                    (800.0, false),
                    (4000.0, false),
                    (800.0, false),
                    (800.0, false),
                ],
            ),
        ];
        for (what, received, expected) in cases {
            assert_eq!(put_right_ms(received), expected, "{what}");
        }
    }

    proptest! {
        #[test]
        fn beats_that_are_alike_are_neither_torn_nor_missed(
            durations_ms in prop::collection::vec(600.0..=800.0_f64, 1..20),
            odd_ms in 400.0..1600.0_f64
        ) {
            let mut run: Vec<Piece> = durations_ms.into_iter().map(Piece::received).collect();
            run[0] = Piece::received(odd_ms);
            for i in (0..run.len()).filter(|&i| alike(&run, i)) {
                let typical_ms = typical_ms(&run, i);
                prop_assert!(!torn_in_two(&run, i, typical_ms));
                prop_assert_eq!(missed(run[i].duration_ms, typical_ms), None);
            }
        }
    }

    #[test]
    fn a_short_beat_joins_the_neighbour_it_fits_better() {
        // 760 + 250 is too long by more than 250 + 540.
        let received = [
            800.0, 800.0, 800.0, 760.0, 250.0, 540.0, 800.0, 800.0, 800.0,
        ];
        let cleaned = put_right_ms(&received);
        assert_eq!(cleaned[3], (760.0, false));
        assert_eq!(cleaned[4], (790.0, true));
    }
}
