//! The score of version 2: the strongest rhythm as a line, its share of the power, and how far the
//! truth may lie from it.
//!
//! Here belongs what version 2 makes of an even series; how it reads the cells of a spectrum stands
//! in `spectrum`. A window is never long enough to see a rhythm as narrow as it is: some of its power
//! is found too far from the peak (with half a sine 5 % of it, which is what version 1 misses). What
//! the window does to a line is known exactly, so that the line is measured, taken out, and the rest
//! looked at again.
//!
//! The taper loses less of the window than half a sine (an eighth of it at either end is faded, 7/8
//! of the data count instead of half), which is what makes the score steadier; the power that it lets
//! stray is the line's, and that is put right.

use std::f64::consts::PI;

use super::resample::SAMPLES;
use super::settings::Setting;
use super::spectrum::{self, Cells, PADDED, Powers, Spectrum};

/// Share of the window that is faded in, and again faded out.
const FADED: f64 = 0.125;

/// Where the noise that a rhythm stands in is measured, in cells from the peak.
const BESIDE: std::ops::RangeInclusive<usize> = 4..=24;

/// Share of the weakest line that is there for being chosen alone: of many places in the noise the highest
/// is taken for the rhythm. Found on simulated hearts.
const CHOSEN: f64 = 0.65;

/// How strong a line is, in cells of noise, when a third of that share is left; likewise found.
const CHOSEN_CELLS: f64 = 13.0;

/// What is slower than this can't be told from a trend, in turns per window.
const SLOWEST_TURNS: f64 = 0.5;

pub(super) const SETTINGS: &[Setting] = &[
    ("FADED", &[FADED]),
    ("BESIDE", &[*BESIDE.start() as f64, *BESIDE.end() as f64]),
    ("CHOSEN", &[CHOSEN]),
    ("CHOSEN_CELLS", &[CHOSEN_CELLS]),
    ("SLOWEST_TURNS", &[SLOWEST_TURNS]),
];

/// The strongest rhythm of one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rhythm {
    /// 0 to 100.
    pub score: f64,
    /// Standard error of the score, in points, as if the window had no hole and no repaired beat.
    pub standard_error: f64,
    pub peak_hz: f64,
    /// As measured, without a correction.
    pub powers: Powers,
}

impl Rhythm {
    /// Of detrended samples, at most [`SAMPLES`], of a heart whose intervals last `mean_ms`.
    pub(super) fn of(samples_ms: &[f64], mean_ms: f64) -> Self {
        let taper = Taper::of(samples_ms.len());
        let measured = Spectrum::of(taper.tapered(samples_ms));
        let powers = measured.powers_ms2(taper.cell_ms2());
        let kept = kept_by_beats(mean_ms);
        let whole = measured.divided_by(&kept);
        let peak = whole.peak();
        let line_cell = whole.refined(peak);
        let rest =
            Spectrum::of(without_line(samples_ms, &taper, line_cell).into_iter()).divided_by(&kept);

        let total = whole.total();
        if total <= 0.0 {
            return Rhythm {
                score: 0.0,
                standard_error: 0.0,
                peak_hz: spectrum::hz(line_cell),
                powers,
            };
        }
        let beside = total - whole.around(peak);
        let beside_rest = rest.total() - rest.around(peak);
        // How much of the window the line is. Noise has a strongest "line" too, but a weak one:
        // squared, it is hardly corrected.
        let line = (1.0 - rest.total() / total).max(0.0);
        let strayed = (beside - beside_rest) * line * line;
        let noise = noise_beside(&rest, peak) / total;
        let beside = (beside - strayed) / total + chosen(line, noise);
        let score = 100.0 * (1.0 - beside).clamp(0.0, 1.0);
        Rhythm {
            score,
            standard_error: Unsure {
                taper: &taper,
                rest: &rest,
                peak,
                line,
                noise,
            }
            .points(score),
            peak_hz: spectrum::hz(line_cell),
            powers,
        }
    }
}

/// The weights of a window: 1, but for a quarter of a sine at either end.
pub(super) struct Taper {
    weights: [f64; SAMPLES],
    samples: usize,
    /// Sum of the squared weights.
    squares: f64,
    /// Cells of the padded transform that fluctuate as one: 4 for 256 even weights.
    cells_as_one: f64,
}

impl Taper {
    pub(super) fn of(samples: usize) -> Self {
        let samples = samples.min(SAMPLES);
        let faded = FADED * samples as f64;
        let mut weights = [0.0; SAMPLES];
        for j in 0..samples.div_ceil(2) {
            let inside = (j as f64 + 0.5) / faded;
            let weight = if inside < 1.0 {
                libm::sin(PI / 2.0 * inside)
            } else {
                1.0
            };
            weights[j] = weight;
            weights[samples - 1 - j] = weight;
        }
        let squares: f64 = weights.iter().map(|w| w * w).sum();
        let fourths: f64 = weights.iter().map(|w| w * w * w * w).sum();
        Taper {
            weights,
            samples,
            squares,
            cells_as_one: PADDED as f64 * fourths / (squares * squares),
        }
    }

    pub(super) fn tapered(&self, samples_ms: &[f64]) -> impl Iterator<Item = f64> {
        samples_ms.iter().zip(&self.weights).map(|(x, w)| x * w)
    }

    /// Sum of the squared weights: the power of a window whose samples are all 1.
    pub(super) fn squares(&self) -> f64 {
        self.squares
    }

    /// Power that one unit of a cell stands for, in ms² (Parseval; both signs of the frequency).
    fn cell_ms2(&self) -> f64 {
        2.0 / (PADDED as f64 * self.squares)
    }
}

/// Share of each cell's power that an interval leaves: it is the mean of the heart's period over its
/// own length, which blurs what is fast. Beyond half of the heart rate beats can't follow, and no more
/// is made up for.
fn kept_by_beats(mean_ms: f64) -> Cells {
    let step = PI * spectrum::hz(1.0) * mean_ms / 1000.0;
    // The sines of 0, 1, 2, ... steps: each follows from the two before it.
    let twice_cosine = 2.0 * libm::cos(step);
    let (mut before, mut sine) = (-libm::sin(step), 0.0);
    let mut kept = 1.0;
    std::array::from_fn(|k| {
        let angle = step * k as f64;
        if angle > 0.0 && angle < PI / 2.0 {
            kept = sine * sine / (angle * angle);
        }
        (before, sine) = (sine, twice_cosine * sine - before);
        kept
    })
}

/// The tapered samples without the line at a cell (a broken number) that fits them best. The samples
/// are detrended, and so is what is fitted to them.
fn without_line(samples_ms: &[f64], taper: &Taper, line_cell: f64) -> [f64; SAMPLES] {
    let n = taper.samples as f64;
    let middle = (n - 1.0) / 2.0;
    let step = 2.0 * PI * line_cell / PADDED as f64;
    let (turn_s, turn_c) = (libm::sin(step), libm::cos(step));
    // Counted from the middle, a cosine has no slope and a sine no level, and the two don't mix.
    let (mut s, mut c) = (-libm::sin(step * middle), libm::cos(step * middle));
    let (mut level, mut moment) = (0.0, 0.0);
    let mut waves = [(0.0, 0.0); SAMPLES];
    for (j, wave) in waves.iter_mut().take(taper.samples).enumerate() {
        *wave = (c, s);
        level += c;
        moment += s * (j as f64 - middle);
        (c, s) = (c * turn_c - s * turn_s, s * turn_c + c * turn_s);
    }
    level /= n;
    let slope = moment / (n * (n * n - 1.0) / 12.0);

    let (mut cc, mut ss, mut xc, mut xs) = (0.0, 0.0, 0.0, 0.0);
    for (j, ((wave, x), w)) in waves
        .iter_mut()
        .zip(samples_ms)
        .zip(&taper.weights)
        .enumerate()
    {
        let (c, s) = (
            w * (wave.0 - level),
            w * (wave.1 - slope * (j as f64 - middle)),
        );
        *wave = (c, s);
        cc += c * c;
        ss += s * s;
        xc += w * x * c;
        xs += w * x * s;
    }
    let (a, b) = (ratio(xc, cc), ratio(xs, ss));
    let mut rest = [0.0; SAMPLES];
    for (((rest, x), w), (c, s)) in rest
        .iter_mut()
        .zip(samples_ms)
        .zip(&taper.weights)
        .zip(waves)
    {
        *rest = w * x - a * c - b * s;
    }
    rest
}

/// Mean power of a cell of the noise that a rhythm stands in.
fn noise_beside(rest: &Spectrum, peak: usize) -> f64 {
    let (mut noise, mut cells) = (0.0, 0.0);
    for (k, &power) in rest.cells().iter().enumerate() {
        if BESIDE.contains(&k.abs_diff(peak)) {
            noise += power;
            cells += 1.0;
        }
    }
    noise / cells
}

/// How much of a line's share in the power is none of a rhythm's. The rhythm is sought where the power is
/// highest: a weak one is found where noise adds to it, and where there is none, the highest noise is found.
/// What stands out from the noise, by contrast, is found where it is. `noise`: the share of a cell of it.
fn chosen(line: f64, noise: f64) -> f64 {
    if noise > 0.0 {
        CHOSEN * line * libm::exp(-line / (CHOSEN_CELLS * noise))
    } else {
        0.0
    }
}

/// What the standard error of a score is made of.
///
/// A score is A / (A + B): the power around the peak and the power beside it. Both are sums of cells
/// that fluctuate as the power of noise does (its deviation is its mean), `cells_as_one` of them
/// together. To first order the relative error of B counts s (1 - s) times. What noise does to A, by
/// adding to the line or taking from it, is a variance of 2 × line × noise of one cell, and counts
/// 1 - s times. Nothing in it was fitted to anything.
struct Unsure<'a> {
    taper: &'a Taper,
    /// The spectrum without the line.
    rest: &'a Spectrum,
    peak: usize,
    /// Share of the line in the power, 0 to 1.
    line: f64,
    /// Share of one cell of the noise beside it.
    noise: f64,
}

impl Unsure<'_> {
    fn points(&self, score: f64) -> f64 {
        let turns_per_cell = self.taper.samples as f64 / PADDED as f64;
        let (mut squares, mut beside) = (0.0, 0.0);
        for (k, &power) in self.rest.cells().iter().enumerate() {
            let away = k.abs_diff(self.peak);
            let share = spectrum::share_of_total(k) - spectrum::share_of_peak(away);
            // The straight line that was taken away took slow waves with it; how many, is not known
            // better than by what was left of them.
            let before = power / kept_by_detrending(k as f64 * turns_per_cell);
            squares += share * before * before;
            beside += share * power;
        }
        // The square of a power that fluctuates by its mean is, in the mean, twice the mean's square.
        let of_beside = self.taper.cells_as_one * ratio(squares / 2.0, beside * beside);
        let of_around = self.taper.cells_as_one * 2.0 * self.line * self.noise;
        let s = score / 100.0;
        100.0 * (1.0 - s) * (s * s * of_beside + of_around).sqrt()
    }
}

/// Mean share of a wave's power that is left when its straight line is taken away, for a number of
/// turns in the window.
fn kept_by_detrending(turns: f64) -> f64 {
    if turns >= 2.0 {
        return 1.0;
    }
    let x = PI * turns.max(SLOWEST_TURNS);
    let level = libm::sin(x) / x;
    let slope = (libm::cos(x) - level) / x;
    1.0 - level * level - 3.0 * slope * slope
}

/// 0 where there is nothing to divide by.
fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::resample::{self, STEP_MS};
    use proptest::prelude::*;
    use std::f64::consts::TAU;

    const MEAN_MS: f64 = 900.0;

    fn window(samples: usize, value_ms: impl Fn(f64) -> f64) -> Vec<f64> {
        let mut window: Vec<f64> = (0..samples)
            .map(|j| value_ms(j as f64 * STEP_MS / 1000.0))
            .collect();
        resample::detrend(&mut window);
        window
    }

    fn tone(samples: usize, hz: f64, turn: f64) -> Vec<f64> {
        window(samples, |s| 40.0 * libm::sin(TAU * (hz * s + turn)))
    }

    #[test]
    fn a_line_scores_nearly_a_hundred_wherever_it_lies_and_whatever_its_phase() {
        for hz in [0.045, 0.0677, 0.1, 0.1003, 0.15, 0.2031, 0.255] {
            for turn in [0.0, 0.13, 0.25, 0.7] {
                let rhythm = Rhythm::of(&tone(SAMPLES, hz, turn), MEAN_MS);
                assert!(rhythm.score > 98.0, "{hz} {turn}: {rhythm:?}");
                assert!(
                    (rhythm.peak_hz - hz).abs() < 0.0007,
                    "{hz} {turn}: {rhythm:?}"
                );
                assert!(rhythm.standard_error < 3.0, "{hz} {turn}: {rhythm:?}");
            }
        }
    }

    #[test]
    fn a_shorter_window_knows_less() {
        let of = |samples| {
            Rhythm::of(
                &window(samples, |s| {
                    40.0 * libm::sin(TAU * 0.1 * s)
                        + 20.0 * libm::sin(TAU * 0.21 * s)
                        + 20.0 * libm::sin(TAU * 0.33 * s + 1.0)
                }),
                MEAN_MS,
            )
        };
        let (short, long) = (of(SAMPLES / 2), of(SAMPLES));
        assert!(
            short.standard_error > long.standard_error,
            "{short:?} {long:?}"
        );
        assert!((short.score - long.score).abs() < 2.0 * short.standard_error);
    }

    #[test]
    fn two_equal_lines_share_the_power() {
        let both = window(SAMPLES, |s| {
            libm::sin(TAU * 0.1 * s) + libm::sin(TAU * 0.2 * s)
        });
        let rhythm = Rhythm::of(&both, 1.0);
        assert!((rhythm.score - 50.0).abs() < 3.0, "{rhythm:?}");
    }

    #[test]
    fn of_a_line_less_is_chance_the_more_it_stands_out() {
        let noise = 0.01;
        let kept = |line: f64| line - chosen(line, noise);
        let mut shares = (1..=100).map(|pct| f64::from(pct) / 100.0);
        let mut before = shares.next().unwrap();
        assert!((chosen(1e-9, noise) / 1e-9 - CHOSEN).abs() < 1e-6);
        for line in shares {
            assert!(kept(line) > kept(before), "{line}");
            assert!(chosen(line, noise) / line < chosen(before, noise) / before);
            before = line;
        }
        assert!(chosen(1.0, noise) < 0.001);
        // Not one cell of noise: what is there is the line's.
        assert_eq!(chosen(0.3, 0.0), 0.0);
        assert_eq!(chosen(0.0, 0.0), 0.0);
    }

    #[test]
    fn what_an_interval_blurs_is_made_up_for_and_no_more_than_that() {
        let kept = kept_by_beats(1000.0);
        assert_eq!(kept[0], 1.0);
        // The mean of a wave over a quarter of its turn: sin(π/4) / (π/4).
        let quarter = libm::sin(PI / 4.0) / (PI / 4.0);
        assert!((kept[64] - quarter * quarter).abs() < 1e-12);
        // Beyond half of the heart rate it stays as it is.
        let slow = kept_by_beats(2000.0);
        assert!((slow[102] - (2.0 / PI) * (2.0 / PI)).abs() < 0.02);
        assert_eq!(slow[102], slow[70]);
    }

    #[test]
    fn the_power_of_a_tone_is_half_its_squared_amplitude() {
        for samples in [SAMPLES / 2, SAMPLES] {
            let powers = Rhythm::of(&tone(samples, 0.1, 0.0), MEAN_MS).powers;
            assert!((powers.total_ms2 - 800.0).abs() < 40.0, "{powers:?}");
            assert!(powers.lf_ms2 > 0.95 * powers.total_ms2);
        }
    }

    #[test]
    fn a_trend_takes_slow_waves_with_it_as_far_as_is_said() {
        for turns in [0.7, 1.0, 1.5] {
            let mut kept = 0.0;
            for phase in 0..16 {
                let wave = window(SAMPLES, |s| {
                    libm::sin(TAU * (turns * s / 64.0 + f64::from(phase) / 16.0))
                });
                kept += wave.iter().map(|x| x * x).sum::<f64>() / (SAMPLES as f64 / 2.0) / 16.0;
            }
            let said = kept_by_detrending(turns);
            assert!((kept - said).abs() < 0.02, "{turns}: {kept} and {said}");
        }
        assert_eq!(kept_by_detrending(0.0), kept_by_detrending(SLOWEST_TURNS));
    }

    #[test]
    fn silence_scores_nothing() {
        let rhythm = Rhythm::of(&[0.0; SAMPLES], MEAN_MS);
        assert_eq!((rhythm.score, rhythm.standard_error), (0.0, 0.0));
    }

    /// Numbers from 0 to 1 that a seed decides (SplitMix64; Steele, Lea & Flood 2014).
    struct Chance(u64);

    impl Chance {
        fn unit(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
        }

        /// A wave of a given mean power whose strength and phase are those of noise.
        fn noise_wave(&mut self, power: f64) -> (f64, f64) {
            let radius = (-2.0 * power * libm::log(1.0 - self.unit())).sqrt();
            (radius, TAU * self.unit())
        }
    }

    /// A window of a line in noise, white or as 1/f from 0.01 to 0.4 Hz, and the score it deserves.
    fn known(chance: &mut Chance, samples: usize, white: bool) -> (Vec<f64>, f64) {
        const APART_HZ: f64 = 1.0 / 256.0;
        let line_hz = 0.06 + 0.18 * chance.unit();
        let waves: Vec<(f64, f64)> = (0..100)
            .map(|n| 0.01 + APART_HZ * (f64::from(n) + chance.unit()))
            .take_while(|hz| *hz < 0.4)
            .map(|hz| (hz, if white { 1.0 } else { 1.0 / hz }))
            .collect();
        let noise: f64 = waves.iter().map(|(_, power)| power).sum();
        // The density is known, so that the truth does not depend on where the waves fell.
        let share = |from_hz: f64, to_hz: f64| {
            if white {
                (to_hz - from_hz) / 0.39
            } else {
                libm::log(to_hz / from_hz) / libm::log(40.0)
            }
        };
        let beside = share(line_hz - 0.015, line_hz + 0.015);
        let truth = beside.max(0.2) + 0.05 + (0.9 - beside.max(0.2)) * chance.unit();
        let line = (truth - beside) / (1.0 - beside);
        let mut all: Vec<(f64, f64, f64)> = waves
            .iter()
            .map(|&(hz, power)| {
                let (radius, turn) = chance.noise_wave((1.0 - line) * power / noise);
                (hz, radius, turn)
            })
            .collect();
        all.push((line_hz, (2.0 * line).sqrt(), TAU * chance.unit()));
        let window = window(samples, |s| {
            all.iter()
                .map(|(hz, radius, turn)| 30.0 * radius * libm::cos(TAU * hz * s + turn))
                .sum()
        });
        (window, 100.0 * truth)
    }

    #[test]
    fn nine_truths_of_ten_lie_within_the_error_in_whole_windows_and_half_ones() {
        for samples in [SAMPLES, SAMPLES / 2] {
            let mut chance = Chance(20);
            let windows = 600;
            let (mut covered, mut bias) = (0, 0.0);
            for n in 0..windows {
                let (samples_ms, truth) = known(&mut chance, samples, n % 2 == 0);
                // As short as if the heart did not blur anything.
                let rhythm = Rhythm::of(&samples_ms, 1.0);
                let reach = 1.645 * rhythm.standard_error;
                covered += u32::from((rhythm.score - truth).abs() <= reach);
                bias += (rhythm.score - truth) / f64::from(windows);
            }
            // The standard error of 90 % of 600 is 1.2 %.
            let pct = 100.0 * f64::from(covered) / f64::from(windows);
            assert!((87.0..93.0).contains(&pct), "{samples}: {pct} %");
            assert!(bias.abs() < 1.5, "{samples}: {bias}");
        }
    }

    proptest! {
        #[test]
        fn any_window_gives_a_score_and_an_error_that_are_numbers(
            mut samples_ms in prop::collection::vec(-1e5..1e5_f64, SAMPLES / 2..=SAMPLES),
            mean_ms in 1.0..80_000.0_f64,
        ) {
            resample::detrend(&mut samples_ms);
            let rhythm = Rhythm::of(&samples_ms, mean_ms);
            prop_assert!((0.0..=100.0).contains(&rhythm.score), "{:?}", rhythm);
            prop_assert!(rhythm.standard_error.is_finite() && rhythm.standard_error >= 0.0, "{:?}", rhythm);
            prop_assert!((0.04..=0.26).contains(&rhythm.peak_hz), "{:?}", rhythm);
        }

        #[test]
        fn a_score_does_not_depend_on_the_strength_of_what_is_heard(
            mut samples_ms in prop::collection::vec(-50.0..50.0_f64, SAMPLES),
            exponent in -4..5,
        ) {
            resample::detrend(&mut samples_ms);
            let louder: Vec<f64> = samples_ms.iter().map(|x| x * libm::exp2(f64::from(exponent))).collect();
            let (a, b) = (Rhythm::of(&samples_ms, MEAN_MS), Rhythm::of(&louder, MEAN_MS));
            prop_assert_eq!(a.score.to_bits(), b.score.to_bits());
            prop_assert_eq!(a.standard_error.to_bits(), b.standard_error.to_bits());
        }
    }
}
