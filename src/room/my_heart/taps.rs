//! Tapping along: a person touches the phone with each pulse, and each strap's beats are asked how well
//! they explain those touches.
//!
//! A touch follows its beat by a delay that is the same all along but for a slow drift: the pulse takes
//! its time to the finger (0 to 400 ms), and the strap's beats are placed up to a second or so early or
//! late, because arrival alone anchors them. So only *changes* of the delay say that beats and touches
//! do not belong together; its size merely chooses among a few beats to begin with.
//!
//! For each strap the probability density of the touches is computed under "these are my beats", summed
//! over everything that is not known: the beat at which the tapping begins, how steady the hand is, and
//! one beat that was not touched or touched twice. It is divided by the density under "somebody else's
//! beats", which knows what hearts in general do. A beat that has not arrived yet says nothing.

use super::{Fit, Match};

/// Touches that are enough to compare, and the most that are looked at.
pub const FEWEST: usize = 8;
pub const MOST: usize = 48;

/// One beat of a strap.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beat {
    /// Its end by the chain of intervals, ms.
    pub at_ms: f64,
    /// Something is missing between it and the beat before it.
    pub after_gap: bool,
}

/// How far a touch may lie behind the placed beat that it was made for, ms: a delay of 0 to 400 less the
/// second by which a beat may be placed late. Beyond it, it grows less likely over [`DELAY_EDGE_MS`].
const DELAY_MS: std::ops::RangeInclusive<f64> = -1_000.0..=400.0;
const DELAY_EDGE_MS: f64 = 500.0;
/// How steady a hand may be: standard deviation of a touch, ms, each as likely as the others.
const HANDS_MS: [f64; 4] = [20.0, 35.0, 55.0, 85.0];
/// How far the delay drifts from one beat to the next: standard deviation, ms.
const DRIFT_MS: f64 = 10.0;
/// How uncertain the placing is across a gap: standard deviation, ms.
const GAP_MS: f64 = 300.0;
/// A touch that went astray: how often, and its standard deviation, ms.
const ASTRAY: f64 = 0.05;
const ASTRAY_MS: f64 = 180.0;
/// One beat was not touched, or touched twice: how often in one tapping.
const MISSED: f64 = 0.08;
const DOUBLED: f64 = 0.04;
/// Hearts in general: mean interval, its spread among people, ms.
const USUAL_MS: (f64, f64) = (850.0, 170.0);
/// And from one interval to the next: how the mean moves, and how touched intervals scatter around it.
const WANDER_MS: f64 = 22.0;
const SCATTER_MS: [f64; 4] = [25.0, 50.0, 80.0, 125.0];
/// A touched interval that tells nothing of the heart lies anywhere within this, ms.
const ANYWHERE_MS: f64 = 3_000.0;
/// The strap is not among those compared: how often.
const ELSEWHERE: f64 = 0.1;
/// A way of reading the touches that is so much less likely than chance is not followed any further.
const HOPELESS: f64 = -14.0;
/// Logarithms of the density ratio above which beats fit well, or a little.
const WELL: f64 = 4.0;
const A_LITTLE: f64 = 0.5;

/// What each strap's beats say to these touches (ms, on the clock of the beats, in order of time).
pub fn compare<B: AsRef<[Beat]>>(taps_ms: &[f64], straps: &[B]) -> Vec<Match> {
    let taps_ms = &taps_ms[taps_ms.len().saturating_sub(MOST)..];
    if taps_ms.len() < FEWEST {
        return vec![Match::NONE; straps.len()];
    }
    let strangers = stranger(taps_ms);
    let ratios: Vec<f64> = straps
        .iter()
        .map(|beats| ratio(taps_ms, beats.as_ref(), &strangers))
        .collect();
    let share = (1.0 - ELSEWHERE) / straps.len() as f64;
    // Against overflow: all are divided by the largest.
    let most = ratios.iter().copied().fold(0.0, f64::max);
    let weight = |ratio: f64| share * (ratio - most).exp();
    let sum = ELSEWHERE * (-most).exp() + ratios.iter().map(|r| weight(*r)).sum::<f64>();
    let of = |ratio: &f64| Match {
        fit: match *ratio {
            r if r >= WELL => Fit::FitsWell,
            r if r >= A_LITTLE => Fit::FitsALittle,
            _ => Fit::DoesNotFit,
        },
        certainty: weight(*ratio) / sum,
    };
    ratios.iter().map(of).collect()
}

/// Logarithm of the density ratio of the touches under "my beats" and under "somebody else's".
fn ratio(taps_ms: &[f64], beats: &[Beat], strangers: &[f64]) -> f64 {
    let first_ms = taps_ms[0];
    let begins: Vec<(usize, f64)> = beats
        .iter()
        .enumerate()
        .map(|(k, beat)| (k, likely_delay(first_ms - beat.at_ms)))
        .filter(|(_, weight)| *weight > 0.0)
        .collect();
    let weights: f64 = begins.iter().map(|(_, weight)| weight).sum();
    let mut sum = LogSum::default();
    for (k, weight) in begins {
        for hand_ms in HANDS_MS {
            let weight = (weight / weights / HANDS_MS.len() as f64).ln();
            let hypothesis = Hypothesis {
                taps_ms,
                beats,
                strangers,
                hand_ms,
            };
            hypothesis.sum_up(k, weight, &mut sum);
        }
    }
    sum.value()
}

/// From 0 to 1.
fn likely_delay(delay_ms: f64) -> f64 {
    let beyond = (DELAY_MS.start() - delay_ms).max(delay_ms - DELAY_MS.end());
    (1.0 - beyond.max(0.0) / DELAY_EDGE_MS).max(0.0)
}

/// "These beats, touched by such a hand."
struct Hypothesis<'a> {
    taps_ms: &'a [f64],
    beats: &'a [Beat],
    strangers: &'a [f64],
    hand_ms: f64,
}

/// The delay as it is known after some touches.
#[derive(Clone, Copy)]
struct Delay {
    mean_ms: f64,
    variance: f64,
    /// The beat that was touched last.
    beat: usize,
    /// Logarithm of the density so far.
    log: f64,
}

/// What one more touch says.
enum Touch {
    Made(Delay),
    /// Its beat is still on its way.
    Open,
    Hopeless,
}

impl Hypothesis<'_> {
    /// All ways in which the touches may go on from the first one at beat `k`: without a fault, or with
    /// one at any touch.
    fn sum_up(&self, k: usize, weight: f64, sum: &mut LogSum) {
        let n = self.taps_ms.len();
        let at_one = |share: f64| (share / (n - 1) as f64).ln();
        let mut delay = Delay {
            mean_ms: self.taps_ms[0] - self.beats[k].at_ms,
            variance: self.hand_ms * self.hand_ms,
            beat: k,
            log: weight,
        };
        for tap in 1..n {
            let mut missed = delay;
            missed.log += at_one(MISSED);
            self.go_on(missed, tap, 2, sum);
            let mut doubled = delay;
            doubled.log += at_one(DOUBLED) - ANYWHERE_MS.ln();
            self.finish(doubled, tap + 1, sum);
            match self.touch(delay, tap, 1) {
                Touch::Made(next) => delay = next,
                Touch::Hopeless => return,
                Touch::Open => {
                    delay.log += (1.0 - MISSED - DOUBLED).ln();
                    return sum.add(delay.log - self.strangers[tap - 1]);
                }
            }
        }
        delay.log += (1.0 - MISSED - DOUBLED).ln();
        sum.add(delay.log - self.strangers[n - 1]);
    }

    fn go_on(&self, delay: Delay, tap: usize, steps: usize, sum: &mut LogSum) {
        match self.touch(delay, tap, steps) {
            Touch::Made(next) => self.finish(next, tap + 1, sum),
            Touch::Hopeless => {}
            Touch::Open => sum.add(delay.log - self.strangers[tap - 1]),
        }
    }

    /// From touch `from` on without a fault.
    fn finish(&self, mut delay: Delay, from: usize, sum: &mut LogSum) {
        for tap in from..self.taps_ms.len() {
            match self.touch(delay, tap, 1) {
                Touch::Made(next) => delay = next,
                Touch::Hopeless => return,
                Touch::Open => return sum.add(delay.log - self.strangers[tap - 1]),
            }
        }
        sum.add(delay.log - self.strangers[self.taps_ms.len() - 1]);
    }

    /// The next touch, at the beat `steps` further.
    fn touch(&self, delay: Delay, tap: usize, steps: usize) -> Touch {
        let beat = delay.beat + steps;
        let Some(passed) = self.beats.get(delay.beat + 1..=beat) else {
            return Touch::Open;
        };
        let mut variance = delay.variance + DRIFT_MS * DRIFT_MS;
        if passed.iter().any(|beat| beat.after_gap) {
            variance += GAP_MS * GAP_MS;
        }
        let off_ms = self.taps_ms[tap] - self.beats[beat].at_ms - delay.mean_ms;
        let hand = self.hand_ms * self.hand_ms;
        let steady = (1.0 - ASTRAY) * normal(off_ms, variance + hand);
        let astray = ASTRAY * normal(off_ms, variance + ASTRAY_MS * ASTRAY_MS);
        // A touch gone astray says nothing of the delay.
        let trust = steady / (steady + astray);
        let gain = trust * variance / (variance + hand);
        let log = delay.log + (steady + astray).ln();
        if log - self.strangers[tap] < HOPELESS {
            return Touch::Hopeless;
        }
        Touch::Made(Delay {
            mean_ms: delay.mean_ms + gain * off_ms,
            variance: variance * (1.0 - gain),
            beat,
            log,
        })
    }
}

/// Logarithm of the density of the touches up to each, if they were made for beats that nobody here
/// sends: what hearts and hands in general do.
fn stranger(taps_ms: &[f64]) -> Vec<f64> {
    let mut up_to: Vec<LogSum> = vec![LogSum::default(); taps_ms.len()];
    for scatter_ms in SCATTER_MS {
        let scatter = scatter_ms * scatter_ms;
        let mut log = -(SCATTER_MS.len() as f64).ln();
        let (mut mean_ms, mut variance) = (USUAL_MS.0, USUAL_MS.1 * USUAL_MS.1);
        up_to[0].add(log);
        for (k, pair) in taps_ms.windows(2).enumerate() {
            let off_ms = pair[1] - pair[0] - mean_ms;
            let usual = (1.0 - ASTRAY) * normal(off_ms, variance + scatter);
            let anywhere = ASTRAY / ANYWHERE_MS;
            let trust = usual / (usual + anywhere);
            let gain = trust * variance / (variance + scatter);
            mean_ms += gain * off_ms;
            variance = variance * (1.0 - gain) + WANDER_MS * WANDER_MS;
            log += (usual + anywhere).ln();
            up_to[k + 1].add(log);
        }
    }
    up_to.iter().map(LogSum::value).collect()
}

/// The normal density; never 0, so that it has a logarithm.
fn normal(off: f64, variance: f64) -> f64 {
    let exponent = -0.5 * off * off / variance;
    (exponent.exp() / (std::f64::consts::TAU * variance).sqrt()).max(1e-30)
}

/// A sum of numbers given by their logarithms.
#[derive(Clone, Copy, Debug)]
struct LogSum {
    most: f64,
    sum: f64,
}

impl Default for LogSum {
    fn default() -> Self {
        LogSum {
            most: f64::NEG_INFINITY,
            sum: 0.0,
        }
    }
}

impl LogSum {
    fn add(&mut self, log: f64) {
        if log > self.most {
            self.sum = self.sum * (self.most - log).exp() + 1.0;
            self.most = log;
        } else {
            self.sum += (log - self.most).exp();
        }
    }

    fn value(&self) -> f64 {
        if self.sum > 0.0 {
            self.most + self.sum.ln()
        } else {
            f64::NEG_INFINITY
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::proposed;
    use super::*;

    /// Beats from `from_ms` on whose intervals swing around a mean.
    fn heart(mean_ms: f64, swing_ms: f64, phase: f64, from_ms: f64) -> Vec<Beat> {
        let mut at_ms = from_ms;
        let mut next = |_| {
            at_ms += mean_ms + swing_ms * (at_ms * 0.000_63 + phase).sin();
            Beat {
                at_ms,
                after_gap: false,
            }
        };
        (0..60).map(&mut next).collect()
    }

    /// Touches for the beats from the 20th on, by a hand that wavers by up to 40 ms.
    fn taps(beats: &[Beat], n: usize, delay_ms: f64) -> Vec<f64> {
        let waver = |k: usize| ((k * 7_919) % 81) as f64 - 40.0;
        let made_for = beats[20..20 + n].iter().enumerate();
        made_for
            .map(|(k, beat)| beat.at_ms + delay_ms + waver(k))
            .collect()
    }

    fn room() -> Vec<Vec<Beat>> {
        (0..6)
            .map(|k| {
                let k = f64::from(k);
                heart(760.0 + 45.0 * k, 45.0, 1.7 * k, 37.0 * k)
            })
            .collect()
    }

    #[test]
    fn who_taps_along_is_told_by_their_own_strap_whatever_the_delay() {
        let room = room();
        for (own, delay_ms) in [(0, 0.0), (2, 380.0), (4, -700.0), (5, 150.0)] {
            let matches = compare(&taps(&room[own], 12, delay_ms), &room);
            assert_eq!(proposed(&matches), Some(own), "{matches:?}");
        }
    }

    #[test]
    fn a_missed_and_a_doubled_touch_cost_no_proposal() {
        let room = room();
        let mut missed = taps(&room[3], 13, 200.0);
        missed.remove(5);
        assert_eq!(proposed(&compare(&missed, &room)), Some(3));
        let mut doubled = taps(&room[3], 12, 200.0);
        doubled.insert(7, doubled[6] + 170.0);
        assert_eq!(proposed(&compare(&doubled, &room)), Some(3));
    }

    #[test]
    fn beats_that_are_still_on_their_way_say_nothing_against_a_strap() {
        let mut room = room();
        let touched = taps(&room[1], 12, 250.0);
        room[1].truncate(30);
        assert_eq!(proposed(&compare(&touched, &room)), Some(1));
    }

    #[test]
    fn two_even_hearts_that_beat_alike_both_fit_well_and_none_is_proposed() {
        let room = [
            heart(850.0, 0.0, 0.0, 0.0),
            heart(850.0, 0.0, 0.0, 310.0),
            heart(1_000.0, 0.0, 0.0, 0.0),
        ];
        let matches = compare(&taps(&room[0], 12, 200.0), &room);
        assert_eq!(proposed(&matches), None);
        let fits: Vec<Fit> = matches.iter().map(|one| one.fit).collect();
        assert_eq!(fits, [Fit::FitsWell, Fit::FitsWell, Fit::DoesNotFit]);
        assert!((matches[0].certainty - matches[1].certainty).abs() < 0.2);
    }

    #[test]
    fn whose_strap_is_not_there_gets_none() {
        let room = room();
        let elsewhere = heart(835.0, 45.0, 0.9, 11.0);
        let matches = compare(&taps(&elsewhere, 12, 200.0), &room);
        assert_eq!(proposed(&matches), None, "{matches:?}");
    }

    #[test]
    fn too_few_touches_are_compared_with_nothing() {
        let room = room();
        let matches = compare(&taps(&room[0], 7, 200.0), &room);
        assert!(matches.iter().all(|one| *one == Match::NONE));
    }

    #[test]
    fn a_strap_without_beats_does_not_fit() {
        let touched = taps(&room()[0], 12, 200.0);
        let matches = compare(&touched, &[Vec::new(), room()[0].clone()]);
        assert_eq!(matches[0], Match::NONE);
        assert_eq!(proposed(&matches), Some(1));
    }

    proptest! {
        #[test]
        fn whatever_is_touched_the_certainties_are_probabilities(
            steps in prop::collection::vec(1.0_f64..5_000.0, 0..60),
            straps in prop::collection::vec(prop::collection::vec((1.0_f64..4_000.0, any::<bool>()), 0..80), 0..5),
        ) {
            let grow = |at: &mut f64, step: f64| { *at += step; Some(*at) };
            let touched: Vec<f64> = steps.iter().scan(20_000.0, |at, step| grow(at, *step)).collect();
            let straps: Vec<Vec<Beat>> = straps
                .iter()
                .map(|beats| {
                    let at = beats.iter().scan(0.0, |at, (step, _)| grow(at, *step));
                    at.zip(beats).map(|(at_ms, (_, after_gap))| Beat { at_ms, after_gap: *after_gap }).collect()
                })
                .collect();
            let matches = compare(&touched, &straps);
            prop_assert_eq!(matches.len(), straps.len());
            let sum: f64 = matches.iter().map(|one| one.certainty).sum();
            prop_assert!(matches.iter().all(|one| (0.0..=1.0).contains(&one.certainty)));
            prop_assert!(sum <= 1.0 + 1e-9, "{}", sum);
        }

        /// Only differences of times matter.
        #[test]
        fn the_same_tapping_later_has_the_same_matches(later_ms in -1e7_f64..1e7) {
            let room = room();
            let touched = taps(&room[2], 12, 200.0);
            let before = compare(&touched, &room);
            let moved: Vec<Vec<Beat>> = room
                .iter()
                .map(|beats| beats.iter().map(|beat| Beat { at_ms: beat.at_ms + later_ms, ..*beat }).collect())
                .collect();
            let touched: Vec<f64> = touched.iter().map(|at| at + later_ms).collect();
            for (a, b) in before.iter().zip(compare(&touched, &moved)) {
                prop_assert!((a.certainty - b.certainty).abs() < 1e-6);
            }
        }
    }
}
