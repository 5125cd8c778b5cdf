//! Whether what arrives at a port makes sense: lines of the last ten seconds, good and bad.
//!
//! One odd line, or the text that a board prints when it starts, is nothing to complain of; ten seconds of
//! them are. PURE.

use std::collections::VecDeque;

use crate::decode::serial::Tally;

const WINDOW_S: i64 = 10;
/// Seconds of the window in which something arrived; fewer are no judgement: a board that starts says much at
/// once and then nothing.
const LEAST_S: usize = 5;

/// What the lines look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As the profile wants them, or too few to say.
    Fine,
    /// More than 90 in 100 don't fit, or no line ends at all.
    WrongSpeedOrProfile,
    /// Likewise, and most are PulseSensor's lines for a plotter.
    ForPlotter,
}

#[derive(Debug)]
pub(super) struct Judge {
    began_ms: i64,
    /// By second.
    seconds: VecDeque<(i64, Tally)>,
    verdict: Verdict,
}

impl Judge {
    /// Of a port that was opened now.
    pub(super) fn new(at_ms: i64) -> Self {
        Judge {
            began_ms: at_ms,
            seconds: VecDeque::new(),
            verdict: Verdict::Fine,
        }
    }

    /// Bytes arrived; `tally` is what became of them.
    pub(super) fn heard(&mut self, at_ms: i64, tally: Tally) -> Verdict {
        let second = at_ms.div_euclid(1_000);
        self.seconds.retain(|(then, _)| second - then < WINDOW_S);
        match self.seconds.back_mut() {
            Some((then, sum)) if *then == second => add(sum, tally),
            _ => self.seconds.push_back((second, tally)),
        }
        if at_ms - self.began_ms >= WINDOW_S * 1_000 && self.seconds.len() >= LEAST_S {
            self.verdict = self.judge();
        }
        self.verdict
    }

    fn judge(&self) -> Verdict {
        let mut sum = Tally::default();
        for (_, tally) in &self.seconds {
            add(&mut sum, *tally);
        }
        let damaged = sum.bad + sum.long;
        let all = damaged + sum.good;
        // What was complained of is withdrawn only when most is well: at the limit it would go to and fro.
        let wrong = match self.verdict {
            Verdict::Fine => sum.good == 0 || damaged * 10 > all * 9,
            Verdict::WrongSpeedOrProfile | Verdict::ForPlotter => {
                damaged * 2 > all || sum.good == 0
            }
        };
        match wrong {
            false => Verdict::Fine,
            true if sum.plotter * 2 > damaged => Verdict::ForPlotter,
            true => Verdict::WrongSpeedOrProfile,
        }
    }
}

fn add(sum: &mut Tally, more: Tally) {
    sum.good += more.good;
    sum.bad += more.bad;
    sum.plotter += more.plotter;
    sum.long += more.long;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(good: u64, bad: u64) -> Tally {
        Tally {
            good,
            bad,
            ..Tally::default()
        }
    }

    /// The verdict after each second, from second 0 on.
    fn verdicts(by_second: impl IntoIterator<Item = Tally>) -> Vec<Verdict> {
        let mut judge = Judge::new(0);
        let each = by_second.into_iter().enumerate();
        each.map(|(s, tally)| judge.heard(s as i64 * 1_000 + 500, tally))
            .collect()
    }

    #[test]
    fn ten_seconds_of_damage_are_told_and_ninety_in_a_hundred_are_not() {
        let garbage = verdicts([lines(0, 3); 12]);
        assert!(
            garbage[..10]
                .iter()
                .all(|verdict| *verdict == Verdict::Fine)
        );
        assert_eq!(garbage[10], Verdict::WrongSpeedOrProfile);
        assert_eq!(verdicts([lines(1, 9); 20])[19], Verdict::Fine);
        assert_eq!(
            verdicts([lines(1, 10); 20])[19],
            Verdict::WrongSpeedOrProfile
        );
    }

    #[test]
    fn bytes_of_which_no_line_is_ever_whole_are_damage_too() {
        assert_eq!(
            verdicts([Tally::default(); 12])[11],
            Verdict::WrongSpeedOrProfile
        );
        let long = Tally {
            long: 1,
            ..Tally::default()
        };
        assert_eq!(verdicts([long; 12])[11], Verdict::WrongSpeedOrProfile);
    }

    #[test]
    fn what_a_board_says_when_it_starts_is_no_complaint() {
        let mut judge = Judge::new(0);
        assert_eq!(judge.heard(300, lines(0, 40)), Verdict::Fine);
        assert_eq!(judge.heard(1_200, lines(0, 3)), Verdict::Fine);
        // Long after, a finger is laid on.
        for beat in 30..60 {
            assert_eq!(judge.heard(beat * 800, lines(1, 0)), Verdict::Fine);
        }
        assert_eq!(
            judge.heard(120_000, lines(0, 40)),
            Verdict::Fine,
            "it starts again"
        );
    }

    #[test]
    fn a_complaint_ends_when_most_lines_are_good_again() {
        let mut judge = Judge::new(0);
        for s in 0..12 {
            judge.heard(s * 1_000, lines(0, 2));
        }
        let later: Vec<Verdict> = (12..24)
            .map(|s| judge.heard(s * 1_000, lines(2, 0)))
            .collect();
        assert_eq!(later[0], Verdict::WrongSpeedOrProfile);
        assert_eq!(later[9], Verdict::Fine);
        let changes = later.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert_eq!(changes, 1);
    }

    #[test]
    fn lines_for_a_plotter_have_a_verdict_of_their_own() {
        let plotter = Tally {
            bad: 50,
            plotter: 50,
            ..Tally::default()
        };
        assert_eq!(verdicts([plotter; 12])[11], Verdict::ForPlotter);
    }
}
