//! Synchrony: how much hearts move together, on a clock that they share.
//!
//! Here belong the phase of each heart's slow rhythm, what pairs and the whole group make of those
//! phases, and what chance alone would make of them. Which hearts are asked, and who may see the
//! answer, is the room's business.
//!
//! A heart's rhythm is its cleaned series between 3/64 and 16/64 Hz as an analytic signal, of which
//! only the phase is kept. Two hearts are locked (Lachaux 1999) where the difference of their phases
//! stays, whatever it is; the group's index asks for more: that all phases are the *same* (Kuramoto's
//! order parameter, less what independent phases give). Definition: step 7 of the signal document.
//!
//! Hearts with a slow rhythm agree for a while whether or not they have anything to do with each other.
//! So beside the index stands what the very same hearts reach when they are shifted against each other,
//! each by a part of its own cycle drawn by lot: [`Synchrony::chance_high`]. A shift around the window
//! instead, as is often done, tears each rhythm where the window's end meets its beginning, and what is
//! torn agrees less than what is whole: three to thirty strangers who are paced near 0.1 Hz then pass
//! for more than chance 8 to 10 times in 100, and 5 times by this one.

use microfft::Complex32;

use super::resample::{self, SAMPLES, SPAN_MS};
use super::steps::Scorer;
use super::{Interval, Version, spectrum, tachogram};

/// The window ends so long before the moment that is asked about: by then all straps have told
/// their beats.
pub const BEHIND_MS: f64 = 2_000.0;

/// From this phase-locking value on a pair is synchronised. Unrelated people reach 0.63 to 0.69 (95th
/// percentile).
pub const SYNCHRONISED_FROM: f64 = 0.70;

/// Beyond so many hearts no pairs are looked for: their number grows with the square.
pub const PAIRED_AT_MOST: usize = 200;

/// The slow rhythms that are kept, as multiples of 1/64 Hz: 0.047 to 0.25 Hz.
const KEPT: std::ops::RangeInclusive<usize> = 3..=16;

/// The samples that count: near its edges the transform has joined the window's end to its beginning.
const FIRST: usize = 16;
const COUNTED: usize = 224;

/// Surrogates look at one sample of four: once a second is often enough for what is slower than 0.25 Hz.
const THIN: usize = 4;
const THINNED: usize = COUNTED / THIN;

/// How many times the hearts are shifted against each other. The tenth highest of 199 is passed by
/// chance 10 times in 200.
const SURROGATES: usize = 199;
const PASSED_BY: usize = 10;

/// Sums run in so many lanes side by side, each in its own order: a processor may then add several
/// numbers at once, and every processor gets the same bits.
const LANES: usize = 8;

/// The phases of one heart's slow rhythm as unit vectors, real and imaginary parts apart.
#[derive(Clone, Debug)]
pub struct Phases {
    re: [f32; COUNTED],
    im: [f32; COUNTED],
    thin_re: [f32; THINNED],
    thin_im: [f32; THINNED],
}

/// How much the hearts of a group move together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Synchrony {
    /// Mean agreement in phase over all pairs, 0 to 100; 0 by chance, however many hearts there are.
    pub index: f64,
    /// What these same hearts reach by chance, 0 to 100: 95 times in 100 they stay at or below it.
    pub chance_high: f64,
}

/// Two hearts whose phases are locked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Places of the two in the list of rhythms; `a` < `b`.
    pub a: usize,
    pub b: usize,
    /// Phase-locking value, [`SYNCHRONISED_FROM`] to 1.
    pub plv: f64,
    /// By how much `a` is ahead of `b`, in radians of their rhythm, -π to π.
    pub lag_rad: f64,
}

impl Scorer {
    /// A heart's rhythm up to [`BEHIND_MS`] before `at_ms`, from its intervals (oldest first), the last
    /// of which ended at `last_end_ms` of the same clock. None where the beats known at `at_ms` do not
    /// cover the window, or where the heart rate hardly changes in it.
    pub fn phases(
        &mut self,
        intervals: &[Interval],
        last_end_ms: f64,
        at_ms: f64,
    ) -> Option<Phases> {
        let (known, last_end_ms) = tachogram::ended_by(intervals, last_end_ms, at_ms);
        // Longer holes, which version 2 fills for its score with what is likely, end the window here: a
        // phase is not guessed.
        tachogram::fill(&mut self.next, known, Version::One);
        // Nearly always this heart was scored a moment ago, and its beats are still there.
        if self.next != self.buffer {
            std::mem::swap(&mut self.next, &mut self.buffer);
            self.cleaner.clean(&self.buffer);
        }
        let beats = self.cleaner.cleaned();
        // Times of beats count back from the last.
        let end_ms = at_ms - BEHIND_MS - last_end_ms;
        let start_ms = end_ms - SPAN_MS;
        let is_covered = end_ms <= 0.0 && beats.first().is_some_and(|beat| beat.end_ms <= start_ms);
        if !is_covered {
            return None;
        }
        let mut samples_ms = self.reader.spline.sampled(beats, start_ms);
        resample::detrend(&mut samples_ms);
        if resample::deviation_ms(&samples_ms) < spectrum::FLAT_BELOW_MS {
            return None;
        }
        Phases::of(&samples_ms)
    }
}

impl Phases {
    fn of(samples_ms: &resample::Samples) -> Option<Self> {
        let mut samples = samples_ms.map(|sample_ms| sample_ms as f32);
        let spectrum = microfft::real::rfft_256(&mut samples);
        let mut kept = [Complex32::default(); SAMPLES];
        // It would be doubled, which changes no phase.
        kept[KEPT].copy_from_slice(&spectrum[KEPT]);
        let analytic = &microfft::inverse::ifft_256(&mut kept)[FIRST..FIRST + COUNTED];
        let mut re = [0.0; COUNTED];
        let mut im = [0.0; COUNTED];
        for ((re, im), z) in re.iter_mut().zip(&mut im).zip(analytic) {
            let length = (z.re * z.re + z.im * z.im).sqrt();
            // Where nothing turns there is no phase.
            if !length.is_normal() {
                return None;
            }
            (*re, *im) = (z.re / length, z.im / length);
        }
        Some(Phases {
            thin_re: std::array::from_fn(|j| re[j * THIN]),
            thin_im: std::array::from_fn(|j| im[j * THIN]),
            re,
            im,
        })
    }
}

impl Synchrony {
    /// None for fewer than two hearts. The same rhythms in the same order give the same bits.
    pub fn of(rhythms: &[Phases]) -> Option<Self> {
        if rhythms.len() < 2 {
            return None;
        }
        let mut re = [0.0_f32; COUNTED];
        let mut im = [0.0_f32; COUNTED];
        for rhythm in rhythms {
            for (sum, value) in re.iter_mut().zip(&rhythm.re) {
                *sum += value;
            }
            for (sum, value) in im.iter_mut().zip(&rhythm.im) {
                *sum += value;
            }
        }
        let mut by_chance: [f64; SURROGATES] =
            std::array::from_fn(|surrogate| index_of_surrogate(rhythms, surrogate));
        by_chance.sort_unstable_by(f64::total_cmp);
        Some(Synchrony {
            index: index(&re, &im, rhythms.len()),
            chance_high: by_chance[SURROGATES - PASSED_BY],
        })
    }
}

/// The pairs that are synchronised, in their order; none at all beyond [`PAIRED_AT_MOST`] hearts.
pub fn pairs(rhythms: &[Phases]) -> Vec<Pair> {
    let mut pairs = Vec::new();
    if rhythms.len() > PAIRED_AT_MOST {
        return pairs;
    }
    for (a, first) in rhythms.iter().enumerate() {
        for (b, second) in rhythms.iter().enumerate().skip(a + 1) {
            // Mean of the one times the other's conjugate.
            let re = (dot(&first.re, &second.re) + dot(&first.im, &second.im)) / COUNTED as f64;
            let im = (dot(&first.im, &second.re) - dot(&first.re, &second.im)) / COUNTED as f64;
            let plv = (re * re + im * im).sqrt().min(1.0);
            if plv >= SYNCHRONISED_FROM {
                let lag_rad = libm::atan2(im, re);
                pairs.push(Pair { a, b, plv, lag_rad });
            }
        }
    }
    pairs
}

fn dot(a: &[f32; COUNTED], b: &[f32; COUNTED]) -> f64 {
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.into_iter().map(f64::from).sum()
}

/// The group's index from the sums over `hearts` hearts at each sample.
fn index(re: &[f32], im: &[f32], hearts: usize) -> f64 {
    let squares: f64 = re
        .iter()
        .zip(im)
        .map(|(&re, &im)| f64::from(re) * f64::from(re) + f64::from(im) * f64::from(im))
        .sum();
    let n = hearts as f64;
    // R² is the mean of the squares over n².
    let n_r2 = squares / (re.len() as f64 * n);
    100.0 * ((n_r2 - 1.0) / (n - 1.0)).clamp(0.0, 1.0)
}

/// The group's index with every heart turned by a part of its cycle.
fn index_of_surrogate(rhythms: &[Phases], surrogate: usize) -> f64 {
    let mut re = [0.0_f32; THINNED];
    let mut im = [0.0_f32; THINNED];
    for (heart, rhythm) in rhythms.iter().enumerate() {
        let (cos, sin) = TURNS[turn(surrogate, heart)];
        let values = rhythm.thin_re.iter().zip(&rhythm.thin_im);
        for ((re, im), (value_re, value_im)) in re.iter_mut().zip(&mut im).zip(values) {
            *re += cos * value_re - sin * value_im;
            *im += sin * value_re + cos * value_im;
        }
    }
    index(&re, &im, rhythms.len())
}

/// By which part of its cycle a heart is turned in a surrogate, as a place in [`TURNS`]: drawn by lot
/// once and for ever, so that the same hearts have the same chance wherever it is computed again, and it
/// does not jump about from one grid point to the next (SplitMix64: Steele, Lea and Flood 2014).
fn turn(surrogate: usize, heart: usize) -> usize {
    let place = ((surrogate as u64) << 32) | heart as u64;
    let mut z = place.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) % TURNS.len() as u64) as usize
}

/// Cosine and sine of 512 angles, evenly around the circle.
static TURNS: [(f32, f32); 2 * SAMPLES] = turns();

const fn turns() -> [(f32, f32); 2 * SAMPLES] {
    let half = spectrum::half_sine();
    let mut turns = [(0.0, 0.0); 2 * SAMPLES];
    let mut i = 0;
    while i < turns.len() {
        // A quarter of the circle on, the sine is the cosine.
        turns[i] = (sine(&half, i + SAMPLES / 2), sine(&half, i));
        i += 1;
    }
    turns
}

/// sin(π (i + ½) / 256), from the half of it that is above 0.
const fn sine(half: &[f64; SAMPLES], i: usize) -> f32 {
    let half = half[i % SAMPLES] as f32;
    if (i / SAMPLES).is_multiple_of(2) {
        half
    } else {
        -half
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::f64::consts::{PI, TAU};

    /// Beats of a heart that breathes at `hz`, `ahead` parts of a cycle ahead of others, up to 90 s.
    fn breathing(hz: f64, ahead: f64) -> (Vec<Interval>, f64) {
        let mut intervals = Vec::new();
        let mut end_ms = 0.0;
        while end_ms < 89_000.0 {
            let rr_ms = 900.0 + 60.0 * (TAU * (hz * end_ms / 1_000.0 + ahead)).sin();
            intervals.push(Interval { rr_ms, gap_ms: 0.0 });
            end_ms += rr_ms;
        }
        (intervals, end_ms)
    }

    fn rhythm(hz: f64, ahead: f64) -> Phases {
        let (intervals, end_ms) = breathing(hz, ahead);
        let rhythm = Scorer::new(Version::One).phases(&intervals, end_ms, 90_000.0);
        rhythm.expect("a whole window of an even rhythm")
    }

    #[test]
    fn hearts_that_breathe_as_one_have_the_whole_index_and_lags_of_nothing() {
        let together: Vec<Phases> = (0..5).map(|_| rhythm(0.1, 0.3)).collect();
        let synchrony = Synchrony::of(&together).expect("five hearts");
        assert!((synchrony.index - 100.0).abs() < 1e-4, "{synchrony:?}");
        assert!(synchrony.chance_high < 60.0, "{synchrony:?}");
        let pairs = pairs(&together);
        assert_eq!(pairs.len(), 10);
        for pair in pairs {
            assert!(pair.plv > 0.999_99 && pair.lag_rad.abs() < 1e-6, "{pair:?}");
        }
    }

    #[test]
    fn a_heart_that_is_ahead_has_a_lag_above_nothing_and_is_locked_all_the_same() {
        let pairs = pairs(&[rhythm(0.1, 0.25), rhythm(0.1, 0.0)]);
        assert_eq!(pairs.len(), 1);
        assert!(pairs[0].plv > 0.98, "{pairs:?}");
        assert!((pairs[0].lag_rad - PI / 2.0).abs() < 0.05, "{pairs:?}");
    }

    #[test]
    fn phases_that_are_spread_around_the_cycle_are_no_synchrony() {
        let spread: Vec<Phases> = (0..6).map(|n| rhythm(0.1, f64::from(n) / 6.0)).collect();
        let synchrony = Synchrony::of(&spread).expect("six hearts");
        assert!(synchrony.index < 0.1, "{synchrony:?}");
        assert!(synchrony.index < synchrony.chance_high);
    }

    #[test]
    fn one_heart_has_nobody_to_move_with() {
        assert_eq!(Synchrony::of(&[rhythm(0.1, 0.0)]), None);
        assert_eq!(Synchrony::of(&[]), None);
        assert_eq!(pairs(&[rhythm(0.1, 0.0)]), []);
    }

    #[test]
    fn beyond_two_hundred_hearts_there_is_the_index_alone() {
        let mut all = vec![rhythm(0.1, 0.0); PAIRED_AT_MOST];
        assert_eq!(pairs(&all).len(), 19_900);
        all.push(rhythm(0.1, 0.0));
        assert_eq!(pairs(&all), []);
        assert!(Synchrony::of(&all).is_some_and(|synchrony| synchrony.index > 99.0));
    }

    #[test]
    fn a_window_that_the_beats_do_not_cover_has_no_rhythm() {
        let (intervals, end_ms) = breathing(0.1, 0.0);
        let mut scorer = Scorer::new(Version::One);
        let mut is_there = |from: usize, end_ms: f64| {
            scorer
                .phases(&intervals[from..], end_ms, 90_000.0)
                .is_some()
        };
        assert!(is_there(0, end_ms));
        assert!(is_there(0, 88_000.0), "it ends where the window does");
        assert!(!is_there(0, 87_999.0), "the last beat is before its end");
        assert!(!is_there(intervals.len() - 71, end_ms), "begun too late");
    }

    #[test]
    fn what_was_heard_after_the_moment_changes_nothing_at_it() {
        let (mut intervals, mut end_ms) = breathing(0.1, 0.0);
        let mut scorer = Scorer::new(Version::One);
        let before = scorer.phases(&intervals, end_ms, 90_000.0);
        for rr_ms in [1_100.0, f64::NAN, 700.0, 300.0] {
            intervals.push(Interval { rr_ms, gap_ms: 0.0 });
            end_ms += if rr_ms.is_nan() { 0.0 } else { rr_ms };
        }
        let after = scorer.phases(&intervals, end_ms, 90_000.0);
        let phases = |rhythm: Option<Phases>| rhythm.map(|rhythm| (rhythm.re, rhythm.im));
        assert!(before.is_some());
        assert_eq!(phases(before), phases(after));
    }

    #[test]
    fn whatever_was_scored_before_a_rhythm_is_the_same() {
        let (intervals, end_ms) = breathing(0.1, 0.0);
        let other = breathing(0.15, 0.4).0;
        let mut gapped = intervals.clone();
        gapped[19].gap_ms = 6_000.0;
        for version in Version::ALL {
            for of in [&intervals, &gapped] {
                let phases = |scored: Option<&[Interval]>| {
                    let mut scorer = Scorer::new(version);
                    scored.map(|scored| scorer.evaluate(scored));
                    let phases = scorer.phases(of, end_ms, 90_000.0).expect("it is covered");
                    (phases.re, phases.im)
                };
                let alone = phases(None);
                assert_eq!(phases(Some(of)), alone);
                assert_eq!(phases(Some(&other)), alone);
                assert_eq!(phases(Some(&[])), alone);
            }
        }
    }

    #[test]
    fn a_metronome_has_no_rhythm() {
        let even = [Interval {
            rr_ms: 800.0,
            gap_ms: 0.0,
        }; 120];
        assert!(
            Scorer::new(Version::One)
                .phases(&even, 90_000.0, 90_000.0)
                .is_none()
        );
    }

    #[test]
    fn the_turns_go_evenly_around_the_circle() {
        for (i, (cos, sin)) in TURNS.iter().enumerate() {
            let angle = PI * (i as f64 + 0.5) / 256.0;
            assert!((f64::from(*cos) - angle.cos()).abs() < 1e-7, "{i}");
            assert!((f64::from(*sin) - angle.sin()).abs() < 1e-7, "{i}");
        }
        let mut drawn = [0; 8];
        for surrogate in 0..SURROGATES {
            for heart in 0..200 {
                drawn[turn(surrogate, heart) * 8 / TURNS.len()] += 1;
            }
        }
        let each = SURROGATES * 200 / 8;
        assert!(
            drawn
                .iter()
                .all(|&n| (each * 95 / 100..=each * 105 / 100).contains(&n)),
            "{drawn:?}"
        );
    }

    proptest! {
        #[test]
        fn any_intervals_whatever_give_figures_within_their_bounds(
            hearts in prop::collection::vec(
                prop::collection::vec(
                    (
                        prop_oneof![20 => 300.0..1500.0_f64, 1 => any::<f64>()],
                        prop_oneof![60 => Just(0.0), 1 => any::<f64>()],
                    ),
                    0..300,
                ),
                0..6,
            ),
            late_ms in prop_oneof![0.0..3_000.0_f64, any::<f64>()],
        ) {
            let mut scorer = Scorer::new(Version::One);
            let rhythms: Vec<Phases> = hearts
                .iter()
                .filter_map(|heart| {
                    let intervals: Vec<Interval> = heart
                        .iter()
                        .map(|&(rr_ms, gap_ms)| Interval { rr_ms, gap_ms })
                        .collect();
                    scorer.phases(&intervals, 90_000.0 - late_ms, 90_000.0)
                })
                .collect();
            if let Some(synchrony) = Synchrony::of(&rhythms) {
                prop_assert!((0.0..=100.0).contains(&synchrony.index));
                prop_assert!((0.0..=100.0).contains(&synchrony.chance_high));
            }
            for pair in pairs(&rhythms) {
                prop_assert!((SYNCHRONISED_FROM..=1.0).contains(&pair.plv));
                prop_assert!((-PI..=PI).contains(&pair.lag_rad));
            }
        }
    }
}
