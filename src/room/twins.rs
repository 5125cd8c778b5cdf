//! One person, two radios: whether two straps of different radios carry the same heart, told by the
//! intervals themselves. A strap that speaks BLE and ANT+ counts both in 1/1024 s from one detector, so
//! its intervals are equal to a tick or two; two people's are not, however alike their hearts.
//!
//! How many equal intervals in a row are enough follows from how often they would be equal by chance. Two
//! hearts that are led by the same breath still differ by what each beat has of its own, which is seen
//! in how roughly one interval follows the other; and rows are laid side by side in other ways, to see
//! how often they agree there. Hearts so even that any two intervals pass for equal are never said to be
//! one. Names and numbers prove nothing.
//!
//! Not here: what follows from it (`radios`).

use std::collections::VecDeque;

/// Intervals remembered of each source.
const REMEMBERED: usize = 32;
/// The same interval over two radios differs by at most so much, ticks.
const SAME_TICKS: i32 = 2;
/// So many in a row are the fewest that decide.
const FEWEST: usize = 10;
/// A row in which all intervals are as good as equal decides nothing, ticks.
const SPREAD_TICKS: i32 = 5;
/// The same beat comes over both radios within this, ms.
const TOGETHER_MS: i64 = 4_000;
/// Intervals that come after so long belong to no row with those before, ms.
const SILENCE_MS: i64 = 10_000;
/// A row is long enough when chance makes one so seldom.
const BY_CHANCE: f64 = 1e-9;
/// Hearts of which chance makes as many intervals equal can't be told apart.
const MOST_BY_CHANCE: f64 = 0.99;
/// Other ways to lay two rows side by side tell about chance from so many pairs on.
const PAIRS: usize = 12;
/// A dozen intervals may look rougher than the heart is; this share of it is believed.
const BELIEVED: f64 = 0.7;
/// Straps of which so many intervals without a hole lie side by side without [`FOLLOWING`] equal ones in a row are two.
const CONTRADICTING: usize = 16;
const FOLLOWING: usize = 5;

/// The newest intervals of one source.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    heard: VecDeque<Heard>,
    torn: bool,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    ticks: u16,
    at_ms: i64,
    /// Nothing is missing between it and the one before.
    joined: bool,
}

/// Two rows laid side by side: the newest of the one belongs to what is `lag` before the newest of the
/// other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Side {
    /// Places from the newest: of the first and the second row, where they overlap last.
    from: (usize, usize),
}

impl Tail {
    pub fn hear(&mut self, ticks: u16, at_ms: i64) {
        if self.heard.len() == REMEMBERED {
            self.heard.pop_front();
        }
        let silent = self.last_ms().is_some_and(|last| at_ms - last > SILENCE_MS);
        let joined = !std::mem::take(&mut self.torn) && !silent;
        self.heard.push_back(Heard {
            ticks,
            at_ms,
            joined,
        });
    }

    /// Something is missing before the next interval.
    pub fn tear(&mut self) {
        self.torn = true;
    }

    pub fn last_ms(&self) -> Option<i64> {
        self.heard.back().map(|heard| heard.at_ms)
    }

    /// The newest intervals, `n` of them, oldest first, ms.
    pub fn newest_ms(&self, n: usize) -> impl Iterator<Item = f64> {
        let from = self.heard.len().saturating_sub(n);
        let newest = self.heard.iter().skip(from);
        newest.map(|heard| f64::from(heard.ticks) * 1_000.0 / 1_024.0)
    }

    /// Whether the newest `n` follow each other, and what was before them.
    pub fn is_whole(&self, n: usize) -> bool {
        self.heard.iter().rev().take(n).all(|heard| heard.joined)
    }

    /// What each interval has of its own: the standard deviation of what a smooth course does not explain.
    fn roughness_ticks(&self) -> f64 {
        let ticks: Vec<f64> = self
            .heard
            .iter()
            .map(|heard| f64::from(heard.ticks))
            .collect();
        // Differences of the fourth order: of a breath of ten seconds they leave a hundredth.
        let bend = |t: &[f64]| t[0] - 4.0 * t[1] + 6.0 * t[2] - 4.0 * t[3] + t[4];
        let sum: f64 = ticks.windows(5).map(|five| bend(five).powi(2)).sum();
        // The sum of 1, 16, 36, 16 and 1 variances.
        (sum / 70.0 / ticks.len().saturating_sub(4).max(1) as f64).sqrt()
    }

    fn back(&self, place: usize) -> Option<&Heard> {
        let len = self.heard.len();
        len.checked_sub(place + 1).and_then(|n| self.heard.get(n))
    }
}

/// Whether both carry one heart: equal intervals up to the newest, in a row too long for chance.
pub fn are_one(a: &Tail, b: &Tail) -> bool {
    let together = Side::all().filter(|side| side.is_together(a, b));
    let mut best: Option<(usize, Side)> = None;
    for side in together {
        let run = side.run(a, b);
        if run > best.map_or(FEWEST - 1, |(most, _)| most) {
            best = Some((run, side));
        }
    }
    best.is_some_and(|(run, side)| {
        side.spread(a, run) >= SPREAD_TICKS && run >= enough(by_chance(a, b, side))
    })
}

/// How many intervals of `b` are newer than the newest of `a`, where their rows can be laid side by side.
pub fn newer_in(a: &Tail, b: &Tail) -> Option<usize> {
    let runs = Side::all()
        .filter(|side| side.from.0 == 0 && side.is_together(a, b))
        .map(|side| (side.run(a, b), side.from.1));
    let (run, newer) = runs.max_by_key(|(run, newer)| (*run, std::cmp::Reverse(*newer)))?;
    (run >= FOLLOWING).then_some(newer)
}

/// Whether two that were taken for one are two: both beat, and however they are laid side by side their
/// intervals differ.
pub fn are_two(a: &Tail, b: &Tail) -> bool {
    let heard = |tail: &Tail| tail.heard.len() >= CONTRADICTING && tail.is_whole(CONTRADICTING);
    let beside = |(a, b): (i64, i64)| (a - b).abs() <= TOGETHER_MS;
    if !heard(a) || !heard(b) || !a.last_ms().zip(b.last_ms()).is_some_and(beside) {
        return false;
    }
    !Side::all().any(|side| side.longest(a, b) >= FOLLOWING)
}

/// How often an interval of the one would equal one of the other by chance: as often as where the rows are
/// laid side by side in the way that looks most like it, and as often as two hearts of the same rhythm that
/// are as rough as these.
fn by_chance(a: &Tail, b: &Tail, but: Side) -> f64 {
    let rate = |side: Side| {
        let (equal, pairs) = side.equal(a, b);
        (pairs >= PAIRS).then(|| (equal as f64 + 1.0) / (pairs as f64 + 2.0))
    };
    let others = Side::all().filter(|side| *side != but);
    let elsewhere = others.filter_map(rate).fold(0.0, f64::max);
    let differ_ticks =
        BELIEVED * (a.roughness_ticks().powi(2) + b.roughness_ticks().powi(2)).sqrt();
    let alike = libm::erf((f64::from(SAME_TICKS) + 0.5) / (differ_ticks * 2.0_f64.sqrt()));
    elsewhere.max(alike)
}

/// How long a row must be that chance makes it as seldom as [`BY_CHANCE`]; longer than any where chance makes
/// all of them equal.
fn enough(rate: f64) -> usize {
    let rate = rate.min(MOST_BY_CHANCE);
    (BY_CHANCE.ln() / rate.ln()).ceil().max(FEWEST as f64) as usize
}

impl Side {
    /// All ways to lay two rows side by side.
    fn all() -> impl Iterator<Item = Side> {
        let first = (0..REMEMBERED).map(|n| Side { from: (n, 0) });
        let second = (1..REMEMBERED).map(|n| Side { from: (0, n) });
        first.chain(second)
    }

    fn pairs<'a>(self, a: &'a Tail, b: &'a Tail) -> impl Iterator<Item = (&'a Heard, &'a Heard)> {
        (0..).map_while(move |n| a.back(self.from.0 + n).zip(b.back(self.from.1 + n)))
    }

    /// Whether what lies side by side came at the same time.
    fn is_together(self, a: &Tail, b: &Tail) -> bool {
        self.pairs(a, b)
            .next()
            .is_some_and(|(a, b)| (a.at_ms - b.at_ms).abs() <= TOGETHER_MS)
    }

    /// How many are equal in a row, from the newest back.
    fn run(self, a: &Tail, b: &Tail) -> usize {
        let mut run = 0;
        for (a, b) in self.pairs(a, b) {
            if !equal(a, b) {
                break;
            }
            run += 1;
            if !a.joined || !b.joined {
                break;
            }
        }
        run
    }

    /// The longest row of equal ones anywhere.
    fn longest(self, a: &Tail, b: &Tail) -> usize {
        let (mut longest, mut run) = (0, 0);
        for (a, b) in self.pairs(a, b) {
            run = if equal(a, b) { run + 1 } else { 0 };
            longest = longest.max(run);
        }
        longest
    }

    fn equal(self, a: &Tail, b: &Tail) -> (usize, usize) {
        let pairs = self.pairs(a, b);
        pairs.fold((0, 0), |(same, all), (a, b)| {
            (same + usize::from(equal(a, b)), all + 1)
        })
    }

    /// The spread of the newest `run` intervals of the first row, ticks.
    fn spread(self, a: &Tail, run: usize) -> i32 {
        let ticks = (0..run).filter_map(|n| a.back(self.from.0 + n));
        let (low, high) = ticks.fold((i32::MAX, i32::MIN), |(low, high), heard| {
            let ticks = i32::from(heard.ticks);
            (low.min(ticks), high.max(ticks))
        });
        high.saturating_sub(low)
    }
}

fn equal(a: &Heard, b: &Heard) -> bool {
    (i32::from(a.ticks) - i32::from(b.ticks)).abs() <= SAME_TICKS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Intervals that wander as a heart's do, from a few numbers.
    fn heart(n: usize, seed: u64) -> Vec<u16> {
        let mut chance = seed;
        let mut unit = || {
            chance = chance
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (chance >> 40) as f64 / f64::from(1 << 24)
        };
        (0..n)
            .map(|k| (870.0 + 45.0 * (k as f64 * 0.55).sin() + 50.0 * (unit() - 0.5)) as u16)
            .collect()
    }

    fn tail(ticks: &[u16], late_ms: i64) -> Tail {
        let mut tail = Tail::default();
        let mut at_ms = late_ms;
        for ticks in ticks {
            at_ms += i64::from(*ticks) * 1_000 / 1_024;
            tail.hear(*ticks, at_ms);
        }
        tail
    }

    #[test]
    fn one_heart_over_two_radios_is_one_after_a_dozen_beats() {
        let beats = heart(40, 1);
        let other: Vec<u16> = beats
            .iter()
            .enumerate()
            .map(|(k, t)| t + (k % 2) as u16)
            .collect();
        assert!(!are_one(&tail(&beats[..8], 0), &tail(&other[..8], 700)));
        assert!(are_one(&tail(&beats[..13], 0), &tail(&other[..12], 700)));
        assert!(are_one(
            &tail(&beats, 0),
            &tail(&other[5..38], 900 + 5 * 850)
        ));
    }

    #[test]
    fn one_beat_that_differs_begins_the_row_anew() {
        let beats = heart(40, 1);
        let mut other = beats.clone();
        other[36] += 40;
        assert!(!are_one(&tail(&beats, 0), &tail(&other, 300)));
    }

    #[test]
    fn nothing_is_matched_across_a_hole() {
        let beats = heart(20, 1);
        let mut torn = tail(&beats[..14], 0);
        torn.tear();
        for (k, ticks) in beats[14..].iter().enumerate() {
            torn.hear(*ticks, torn.last_ms().unwrap() + 850 + k as i64);
        }
        assert!(!are_one(&torn, &tail(&beats, 300)));
    }

    #[test]
    fn hearts_that_beat_like_clocks_are_never_one() {
        let beats = [853_u16; 32];
        assert!(!are_one(&tail(&beats, 0), &tail(&beats, 300)));
        // Nor where the one rhythm is so regular that it repeats itself.
        let even: Vec<u16> = (0..32).map(|k| 850 + 6 * (k % 2)).collect();
        assert!(!are_one(&tail(&even, 0), &tail(&even, 300)));
    }

    #[test]
    fn two_that_are_led_by_one_breath_and_have_nothing_of_their_own_are_never_one() {
        let swing = |k: u16| 900.0 + 60.0 * (f64::from(k) * 0.55).sin();
        let smooth: Vec<u16> = (0..32).map(|k| swing(k) as u16).collect();
        assert!(!are_one(&tail(&smooth, 0), &tail(&smooth, 300)));
        assert!(enough(1.0) > REMEMBERED);
    }

    #[test]
    fn the_same_intervals_at_another_time_are_a_recording() {
        let beats = heart(32, 1);
        assert!(!are_one(&tail(&beats, 0), &tail(&beats, 20_000)));
    }

    #[test]
    fn what_the_second_radio_knows_more_is_told() {
        let beats = heart(32, 1);
        let (a, b) = (tail(&beats[..28], 0), tail(&beats, 300));
        assert_eq!(newer_in(&a, &b), Some(4));
        assert_eq!(newer_in(&b, &a), None, "its newest is not there");
        assert_eq!(newer_in(&a, &a), Some(0));
        let newest: Vec<f64> = b.newest_ms(2).collect();
        let ms = |ticks: u16| f64::from(ticks) * 1_000.0 / 1_024.0;
        assert_eq!(newest, [ms(beats[30]), ms(beats[31])]);
    }

    #[test]
    fn two_that_beat_beside_each_other_and_never_agree_are_two() {
        let (one, other) = (heart(32, 1), heart(32, 99));
        assert!(are_two(&tail(&one, 0), &tail(&other, 200)));
        assert!(!are_two(&tail(&one, 0), &tail(&one, 200)));
        assert!(
            !are_two(&tail(&one, 0), &tail(&other[..10], 200)),
            "too few to tell"
        );
        assert!(
            !are_two(&tail(&one, 0), &tail(&other, 60_000)),
            "not at the same time"
        );
    }

    proptest! {
        /// The same rhythm and the same mean, each with 10 ms of their own.
        #[test]
        fn two_people_who_beat_alike_are_not_one(seed in any::<u64>(), other in any::<u64>()) {
            prop_assume!(seed != other);
            let (one, two) = (heart(32, seed), heart(32, other));
            prop_assert!(!are_one(&tail(&one, 0), &tail(&two, 200)));
        }

        #[test]
        fn it_does_not_matter_which_is_which(
            a in prop::collection::vec(840_u16..860, 0..40),
            b in prop::collection::vec(840_u16..860, 0..40),
        ) {
            let (a, b) = (tail(&a, 0), tail(&b, 100));
            prop_assert_eq!(are_one(&a, &b), are_one(&b, &a));
            prop_assert_eq!(are_two(&a, &b), are_two(&b, &a));
        }
    }
}
