//! Count errors: a beat that was missed (one interval as long as two or three) or heard twice (an
//! interval torn in two).
//!
//! Here belong repairs that change the number of beats and can be seen from lengths alone. A beat
//! that came early or late is the business of `misplaced`.

use super::{Piece, REACH, median_of, neighbourhood};

/// A repair may uncover the next one; after this many passes the rest is left to `misplaced`.
const ROUNDS: usize = 3;

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
        let typical_ms = median_of(
            run[neighbourhood(i, run.len())]
                .iter()
                .map(|p| p.duration_ms),
        )
        .unwrap_or(run[i].duration_ms);
        if torn_in_two(run, i, typical_ms) {
            out.push(Piece::repaired(run[i].duration_ms + run[i + 1].duration_ms));
            changed = true;
            i += 2;
            continue;
        }
        let parts = (run[i].duration_ms / typical_ms + 0.5).floor();
        let part_ms = run[i].duration_ms / parts;
        if (parts == 2.0 || parts == 3.0) && (part_ms - typical_ms).abs() <= 0.20 * typical_ms {
            out.extend(std::iter::repeat_n(
                Piece::repaired(part_ms),
                parts as usize,
            ));
            changed = true;
        } else {
            out.push(run[i]);
        }
        i += 1;
    }
    changed
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
    let short = left_ms.min(right_ms) < 0.75 * usual_ms && left_ms.max(right_ms) < usual_ms;
    let sum_fits = (sum_ms - around_ms).abs() <= 0.20 * around_ms
        || ((sum_ms - adjacent_ms).abs() <= 0.12 * adjacent_ms
            && (adjacent_ms - around_ms).abs() <= 0.30 * around_ms);
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
