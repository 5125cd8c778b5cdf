//! Where the beats lie that were not received: on the smoothest course through those that were.
//!
//! Here belongs the division of a span's time among its beats. How many there are is decided in
//! `reading`.
//!
//! The smoothest course is the one whose moments have the least sum of squared fourth differences
//! (so that the intervals follow a parabola as well as they can), all moments that are believed staying
//! where they are. What is looked for is by how much each of the others moves from an even
//! division: one system of linear equations with a band of four beside the diagonal, solved without
//! square roots (L D L').

use super::reading::Span;
use super::{Interval, POSSIBLE_MS, Piece, median_of};
use crate::signal::settings::Setting;

/// Fourth differences of moments.
const DIFFERENCE: [f64; 5] = [1.0, -4.0, 6.0, -4.0, 1.0];

/// Moments that a difference reaches back.
const BAND: usize = DIFFERENCE.len() - 1;

/// A smaller pivot means that too little is known to tell one smooth course from another. With
/// everything around known it is 70.
const LEAST_PIVOT: f64 = 1e-6;

pub(in crate::signal) const SETTINGS: &[Setting] = &[
    ("DIFFERENCE", &DIFFERENCE),
    ("BAND", &[BAND as f64]),
    ("LEAST_PIVOT", &[LEAST_PIVOT]),
];

/// A moment that is looked for.
#[derive(Clone, Copy, Debug)]
struct Unknown {
    /// It ends this piece of the stretch.
    after: usize,
    /// Its row in L, by distance from the diagonal, and in D.
    left: [f64; BAND],
    pivot: f64,
    /// On the way the right side of the equations, in the end by how much the moment moves.
    by_ms: f64,
}

/// Replaces `run` by the beats of its spans, each span evenly divided.
pub(super) fn divide_evenly(run: &mut Vec<Piece>, received: &[Interval], spans: &[Span]) {
    run.clear();
    let mut rest = received;
    for span in spans {
        let (inside, after) = rest.split_at(span.received);
        rest = after;
        let length_ms: f64 = inside.iter().map(|interval| interval.rr_ms).sum();
        let piece = match *span {
            Span::KEPT => Piece::received(length_ms),
            _ => Piece::repaired(length_ms / span.pieces() as f64),
        };
        run.extend(std::iter::repeat_n(piece, span.pieces()));
    }
}

/// What is put in the place of a value that nobody knows: the median of the two on either side, as far
/// as those are possible.
fn value_beside(run: &[Piece], at: usize) -> f64 {
    let beside = [
        at.checked_sub(2),
        at.checked_sub(1),
        Some(at + 1),
        Some(at + 2),
    ];
    let values_ms = beside
        .into_iter()
        .flatten()
        .filter_map(|i| run.get(i))
        .map(|piece| piece.value_ms)
        .filter(|value_ms| POSSIBLE_MS.contains(value_ms));
    median_of(values_ms).unwrap_or(run[at].value_ms)
}

/// Divides spans, in a list that stays from one run to the next.
#[derive(Debug, Default)]
pub(super) struct Divider {
    unknown: Vec<Unknown>,
}

impl Divider {
    /// Moves the beats inside the spans of an evenly divided run to where they belong, and gives a
    /// value to those that have none.
    pub(super) fn smooth(&mut self, run: &mut [Piece], spans: &[Span]) {
        // A beat whose length means nothing ends one course, and another begins behind it.
        let mut start = 0;
        for stretch in spans.split(|span| span.beats == 0) {
            let end = start + stretch.iter().map(|span| span.beats).sum::<usize>();
            if self.solve(&run[start..end], stretch) {
                self.apply(&mut run[start..end], stretch);
            }
            start = end + 1;
        }
        let mut at: usize = 0;
        for span in spans {
            if span.beats == 0 {
                run[at].value_ms = value_beside(run, at);
            }
            at += span.pieces();
        }
    }

    fn apply(&self, stretch: &mut [Piece], spans: &[Span]) {
        let mut unknown = &self.unknown[..];
        let mut rest = stretch;
        for span in spans {
            let (inside, after) = rest.split_at_mut(span.beats);
            rest = after;
            let (moved, others) = unknown.split_at(span.beats - 1);
            unknown = others;
            let by_ms = |i: usize| moved.get(i).map_or(0.0, |moment| moment.by_ms);
            let longer_ms = |i: usize| by_ms(i) - i.checked_sub(1).map_or(0.0, by_ms);
            // A course through too little may lead anywhere: then the even division is as good.
            let possible = inside
                .iter()
                .enumerate()
                .all(|(i, piece)| POSSIBLE_MS.contains(&(piece.duration_ms + longer_ms(i))));
            if possible {
                for (i, piece) in inside.iter_mut().enumerate() {
                    piece.duration_ms += longer_ms(i);
                    piece.value_ms = piece.duration_ms;
                }
            }
        }
    }

    /// Solves for `unknown`; `false` when there is nothing to look for or too little known.
    fn solve(&mut self, stretch: &[Piece], spans: &[Span]) -> bool {
        self.unknown.clear();
        let mut moment = 0;
        for span in spans {
            for inside in 1..span.beats {
                self.unknown.push(Unknown {
                    after: moment + inside,
                    left: [0.0; BAND],
                    pivot: 0.0,
                    by_ms: 0.0,
                });
            }
            moment += span.beats;
        }
        if self.unknown.is_empty() || stretch.len() < BAND {
            return false;
        }
        for row in 0..self.unknown.len() {
            let mut this = self.unknown[row];
            this.pivot = together(this.after, this.after, stretch.len());
            this.by_ms = -roughness(this.after, stretch);
            for distance in (1..=BAND.min(row)).rev() {
                let other = self.unknown[row - distance];
                let mut sum = together(this.after, other.after, stretch.len());
                for further in distance + 1..=BAND.min(row) {
                    let third = self.unknown[row - further];
                    sum -=
                        this.left[further - 1] * other.left[further - distance - 1] * third.pivot;
                }
                let left = sum / other.pivot;
                this.left[distance - 1] = left;
                this.pivot -= left * left * other.pivot;
                this.by_ms -= left * other.by_ms;
            }
            if this.pivot < LEAST_PIVOT {
                return false;
            }
            self.unknown[row] = this;
        }
        for row in (0..self.unknown.len()).rev() {
            let mut by_ms = self.unknown[row].by_ms / self.unknown[row].pivot;
            for distance in 1..=BAND.min(self.unknown.len() - 1 - row) {
                let later = self.unknown[row + distance];
                by_ms -= later.left[distance - 1] * later.by_ms;
            }
            self.unknown[row].by_ms = by_ms;
        }
        true
    }
}

/// The differences that two moments are both in, as far as a stretch of `pieces` has them.
fn differences(a: usize, b: usize, pieces: usize) -> std::ops::Range<usize> {
    a.max(b).saturating_sub(BAND)..(a.min(b) + 1).min(pieces + 1 - BAND)
}

/// How two moments work together in the sum of squares: an entry of the matrix.
fn together(a: usize, b: usize, pieces: usize) -> f64 {
    differences(a, b, pieces)
        .map(|first| DIFFERENCE[a - first] * DIFFERENCE[b - first])
        .sum()
}

/// How moving a moment would change the sum of squares of the even division.
fn roughness(moment: usize, stretch: &[Piece]) -> f64 {
    differences(moment, moment, stretch.len())
        .map(|first| {
            let ms = |i: usize| stretch[first + i].duration_ms;
            // The fourth difference of moments is the third of intervals.
            DIFFERENCE[moment - first] * (ms(3) - 3.0 * ms(2) + 3.0 * ms(1) - ms(0))
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Span = Span::KEPT;

    fn received(intervals_ms: &[f64]) -> Vec<Interval> {
        intervals_ms
            .iter()
            .map(|&rr_ms| Interval { rr_ms, gap_ms: 0.0 })
            .collect()
    }

    fn divided(intervals_ms: &[f64], spans: &[Span]) -> Vec<Piece> {
        let mut run = Vec::new();
        divide_evenly(&mut run, &received(intervals_ms), spans);
        Divider::default().smooth(&mut run, spans);
        run
    }

    fn parabola_ms(i: usize) -> f64 {
        900.0 - 30.0 * i as f64 + 2.5 * (i * i) as f64
    }

    #[test]
    fn beats_that_were_not_heard_lie_on_the_parabola_of_the_others() {
        // The fifth interval and the next two came as one, the tenth and eleventh wrongly divided.
        let mut intervals_ms: Vec<f64> = (0..15).map(parabola_ms).collect();
        intervals_ms[9] -= 200.0;
        intervals_ms[10] += 200.0;
        let three_ms: f64 = intervals_ms.drain(4..7).sum();
        intervals_ms.insert(4, three_ms);
        let mut spans = vec![KEPT; 12];
        spans[4] = Span {
            received: 1,
            beats: 3,
        };
        spans[7] = Span {
            received: 2,
            beats: 2,
        };
        let pieces = divided(&intervals_ms, &spans);
        assert_eq!(pieces.len(), 15);
        for (i, piece) in pieces.iter().enumerate() {
            let off_ms = piece.value_ms - parabola_ms(i);
            assert!(off_ms.abs() < 1e-6, "{i}: {off_ms}");
            assert_eq!(piece.duration_ms, piece.value_ms);
            assert_eq!(piece.flagged, [4, 5, 6, 9, 10].contains(&i), "{i}");
        }
    }

    #[test]
    fn a_span_keeps_its_time_and_others_theirs() {
        let intervals_ms = [
            700.0, 950.0, 720.0, 1_650.0, 930.0, 760.0, 400.0, 1_100.0, 810.0, 900.0,
        ];
        let mut spans = vec![KEPT; 9];
        spans[3] = Span {
            received: 1,
            beats: 2,
        };
        spans[6] = Span {
            received: 2,
            beats: 2,
        };
        let pieces = divided(&intervals_ms, &spans);
        assert!((pieces[3].duration_ms + pieces[4].duration_ms - 1_650.0).abs() < 1e-9);
        assert!((pieces[7].duration_ms + pieces[8].duration_ms - 1_500.0).abs() < 1e-9);
        for (piece, interval) in [(0, 0), (1, 1), (2, 2), (5, 4), (6, 5), (9, 8), (10, 9)] {
            assert_eq!(pieces[piece].duration_ms, intervals_ms[interval]);
            assert!(!pieces[piece].flagged);
        }
    }

    #[test]
    fn where_too_little_is_known_a_span_is_divided_evenly() {
        let split = Span {
            received: 1,
            beats: 2,
        };
        for (intervals_ms, spans) in [
            (&[1_600.0][..], &[split][..]),
            (&[800.0, 1_600.0], &[KEPT, split]),
            (&[1_600.0, 1_700.0], &[split, split]),
        ] {
            let pieces = divided(intervals_ms, spans);
            let mut pieces = pieces.iter();
            for (&interval_ms, span) in intervals_ms.iter().zip(spans) {
                for piece in pieces.by_ref().take(span.beats) {
                    assert_eq!(piece.duration_ms, interval_ms / span.beats as f64);
                }
            }
        }
    }

    #[test]
    fn a_beat_of_unknown_length_keeps_its_time_and_gets_a_value_from_beside() {
        let unknown = Span {
            received: 1,
            beats: 0,
        };
        let pieces = divided(
            &[800.0, 810.0, 5_000.0, 820.0, 830.0],
            &[KEPT, KEPT, unknown, KEPT, KEPT],
        );
        assert_eq!(
            (pieces[2].duration_ms, pieces[2].value_ms, pieces[2].flagged),
            (5_000.0, 815.0, true)
        );
        let alone = divided(&[5_000.0], &[unknown]);
        assert_eq!((alone[0].value_ms, alone[0].flagged), (5_000.0, true));
    }
}
