//! Hearts of known spectrum: what makes them beat, and the score that they deserve.
//!
//! Here belongs the heart without the strap's mistakes; those are planted by `planted`. A heart's
//! rate is modulated by one line (its rhythm) and by noise, both given by their power; the pacemaker
//! integrates the rate and beats whenever it has gathered one beat (integral pulse frequency
//! modulation, de Boer 1985). Beats are told on the grid of the straps, 1/1024 s.
//!
//! The ranges from which hearts are drawn were found by asking for which of them the ways in common
//! use come out as the product's signal document says; from the hub's own score nothing was taken.

use std::f64::consts::TAU;

use crate::random::Random;

/// Everything slower is left to the trend that every pipeline takes away, in Hz.
pub const LOWEST_HZ: f64 = 0.01;

/// Where the planted spectrum ends, and the band in which a score is measured, in Hz.
pub const HIGHEST_HZ: f64 = 0.4;

/// Half of the width that belongs to a peak, in Hz.
pub const PEAK_REACH_HZ: f64 = 0.015;

/// Straps count time in 1/1024 s; in ms.
const TICK_MS: f64 = 1000.0 / 1024.0;

/// Noise is a sum of tones this far apart, in Hz: it repeats itself after 512 s, which no window sees.
const TONES_APART_HZ: f64 = 1.0 / 512.0;

/// Steps in which the pacemaker integrates, in s. Between them the fastest tone turns by 9°.
const STEP_S: f64 = 1.0 / 16.0;

/// The moment that a strap would tell. Ticks and sums of them are exact in binary.
pub fn on_tick_ms(at_ms: f64) -> f64 {
    (at_ms / TICK_MS).round() * TICK_MS
}

/// How the power of the noise lies over the frequencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// The same everywhere.
    White,
    /// As 1/f.
    Pink,
}

/// What makes a heart beat.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heart {
    /// Mean interval, ms.
    pub mean_ms: f64,
    /// Standard deviation of the intervals, rhythm and noise together, ms.
    pub deviation_ms: f64,
    /// Frequency of the rhythm, Hz.
    pub line_hz: f64,
    /// Share of the rhythm in the power, 0 to 1; the rest is noise.
    pub line_share: f64,
    pub colour: Colour,
}

impl Colour {
    /// Share of the noise's power between two frequencies, 0 to 1.
    fn share(self, from_hz: f64, to_hz: f64) -> f64 {
        let (from_hz, to_hz) = (from_hz.max(LOWEST_HZ), to_hz.min(HIGHEST_HZ));
        if from_hz >= to_hz {
            return 0.0;
        }
        match self {
            Colour::White => (to_hz - from_hz) / (HIGHEST_HZ - LOWEST_HZ),
            Colour::Pink => libm::log(to_hz / from_hz) / libm::log(HIGHEST_HZ / LOWEST_HZ),
        }
    }
}

impl Heart {
    /// The hearts on which ways to a score are compared. The three usual paces of breathing, both
    /// colours, and any strength of rhythm from one that is lost in the noise (-11 dB) to one that
    /// is nearly all there is (18 dB): true scores from 11 to 99.
    pub fn to_score(window: u64, random: &mut Random) -> Self {
        let strength_db = random.between(-11.0, 18.0);
        Heart::in_turn(window, strength_db, random)
    }

    /// The same with a rhythm that is a thousand times stronger than the noise.
    pub fn pure_tone(window: u64, random: &mut Random) -> Self {
        Heart::in_turn(window, 30.0, random)
    }

    fn in_turn(window: u64, strength_db: f64, random: &mut Random) -> Self {
        const LINES_HZ: [f64; 3] = [0.10, 0.15, 0.20];
        let line_hz = LINES_HZ[(window % 3) as usize];
        let colour = if (window / 3).is_multiple_of(2) {
            Colour::White
        } else {
            Colour::Pink
        };
        Heart::any(colour, line_hz, strength_db, random)
    }

    /// The hearts on which cleaners are compared: any pace of breathing, a rhythm that is neither
    /// lost nor alone.
    pub fn to_disturb(random: &mut Random) -> Self {
        let colour = if random.chance(0.5) {
            Colour::White
        } else {
            Colour::Pink
        };
        let line_hz = random.between(0.05, 0.20);
        let strength_db = random.between(-10.0, 10.0);
        Heart::any(colour, line_hz, strength_db, random)
    }

    /// A heart without a rhythm.
    pub fn without_rhythm(colour: Colour, random: &mut Random) -> Self {
        Heart {
            line_share: 0.0,
            ..Heart::any(colour, 0.1, 0.0, random)
        }
    }

    fn any(colour: Colour, line_hz: f64, strength_db: f64, random: &mut Random) -> Self {
        let strength = libm::pow(10.0, strength_db / 10.0);
        Heart {
            mean_ms: 60_000.0 / random.between(55.0, 85.0),
            deviation_ms: random.between(20.0, 60.0),
            line_hz,
            line_share: strength / (1.0 + strength),
            colour,
        }
    }

    /// The score by definition, read from the planted spectrum: the share of the rhythm, with
    /// 0.015 Hz on either side, in the power up to 0.4 Hz.
    pub fn true_score(&self) -> f64 {
        let beside = self
            .colour
            .share(self.line_hz - PEAK_REACH_HZ, self.line_hz + PEAK_REACH_HZ);
        100.0 * (self.line_share + (1.0 - self.line_share) * beside)
    }

    /// The intervals that end in the first `length_s`, in ms. Every call is another heart of the
    /// same spectrum.
    pub fn intervals_ms(&self, length_s: f64, random: &mut Random) -> Vec<f64> {
        let mut pacemaker = Pacemaker::new(self, random);
        let mut intervals_ms = Vec::with_capacity((1000.0 * length_s / self.mean_ms) as usize + 8);
        let mut last_ms = on_tick_ms(1000.0 * pacemaker.next_beat_s());
        loop {
            let beat_s = pacemaker.next_beat_s();
            if beat_s > length_s {
                return intervals_ms;
            }
            let beat_ms = on_tick_ms(1000.0 * beat_s);
            intervals_ms.push(beat_ms - last_ms);
            last_ms = beat_ms;
        }
    }
}

/// One tone of the modulation: a vector that turns by the same angle with every step.
struct Tone {
    /// The share of the rate that it adds is the first of the two.
    vector: (f64, f64),
    turn: (f64, f64),
    omega: f64,
}

impl Tone {
    fn new(hz: f64, vector: (f64, f64)) -> Self {
        let omega = TAU * hz;
        Tone {
            vector,
            turn: (libm::cos(omega * STEP_S), libm::sin(omega * STEP_S)),
            omega,
        }
    }
}

/// Integrates the rate and says when the heart beats.
struct Pacemaker {
    tones: Vec<Tone>,
    /// Beats per second without modulation.
    rate_hz: f64,
    steps: u64,
    /// What has been gathered at the beginning and at the end of the present step, in beats, and the
    /// rate there.
    from: (f64, f64),
    to: (f64, f64),
    beats: f64,
}

impl Pacemaker {
    fn new(heart: &Heart, random: &mut Random) -> Self {
        let depth = heart.deviation_ms / heart.mean_ms;
        let line_power = depth * depth * heart.line_share;
        let noise_power = depth * depth - line_power;
        let phase = TAU * random.unit();
        let line = (2.0 * line_power).sqrt();
        let mut tones = vec![Tone::new(
            heart.line_hz,
            (line * libm::cos(phase), line * libm::sin(phase)),
        )];
        if noise_power > 0.0 {
            let mut low_hz = LOWEST_HZ;
            while low_hz < HIGHEST_HZ {
                let high_hz = (low_hz + TONES_APART_HZ).min(HIGHEST_HZ);
                // Normal in both directions: power as of a Gaussian process, not the same each time.
                let deviation = (noise_power * heart.colour.share(low_hz, high_hz)).sqrt();
                let (x, y) = random.normal_pair();
                tones.push(Tone::new(
                    (low_hz + high_hz) / 2.0,
                    (deviation * x, deviation * y),
                ));
                low_hz = high_hz;
            }
        }
        let mut pacemaker = Pacemaker {
            tones,
            rate_hz: 1000.0 / heart.mean_ms,
            steps: 0,
            from: (0.0, 0.0),
            to: (0.0, 0.0),
            beats: 0.0,
        };
        pacemaker.to = pacemaker.gathered();
        pacemaker.from = pacemaker.to;
        // The first beat comes anywhere in the first interval.
        pacemaker.beats = pacemaker.to.0 + random.unit() - 1.0;
        pacemaker
    }

    /// Gathered since the beginning, in beats, and the rate, at the present step.
    fn gathered(&self) -> (f64, f64) {
        let (mut modulation, mut integral_s) = (0.0, 0.0);
        for tone in &self.tones {
            modulation += tone.vector.0;
            integral_s += tone.vector.1 / tone.omega;
        }
        let at_s = STEP_S * self.steps as f64;
        (
            self.rate_hz * (at_s + integral_s),
            self.rate_hz * (1.0 + modulation),
        )
    }

    fn step(&mut self) {
        for tone in &mut self.tones {
            let ((x, y), (c, s)) = (tone.vector, tone.turn);
            tone.vector = (x * c - y * s, x * s + y * c);
        }
        self.steps += 1;
        self.from = self.to;
        self.to = self.gathered();
    }

    fn next_beat_s(&mut self) -> f64 {
        self.beats += 1.0;
        while self.to.0 < self.beats {
            self.step();
        }
        // Inside the step the integral is the cubic through both ends with their slopes; it is
        // halved until the beat is known to well under a tick.
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..30 {
            let middle = (low + high) / 2.0;
            if self.inside(middle) < self.beats {
                low = middle;
            } else {
                high = middle;
            }
        }
        STEP_S * (self.steps as f64 - 1.0 + high)
    }

    /// Gathered at a share `u` of the present step.
    fn inside(&self, u: f64) -> f64 {
        let ((a, slope_a), (b, slope_b)) = (self.from, self.to);
        let (slope_a, slope_b) = (slope_a * STEP_S, slope_b * STEP_S);
        let v = 1.0 - u;
        a * v * v * (1.0 + 2.0 * u)
            + b * u * u * (1.0 + 2.0 * v)
            + u * v * (slope_a * v - slope_b * u)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heart(colour: Colour, line_share: f64) -> Heart {
        Heart {
            mean_ms: 800.0,
            deviation_ms: 40.0,
            line_hz: 0.1,
            line_share,
            colour,
        }
    }

    #[test]
    fn the_true_score_is_the_share_of_the_rhythm_and_of_the_noise_beside_it() {
        let beside = 100.0 * 0.03 / 0.39;
        let white = |line_share| heart(Colour::White, line_share).true_score();
        assert!((white(0.0) - beside).abs() < 1e-9);
        assert!((white(0.5) - (50.0 + beside / 2.0)).abs() < 1e-9);
        assert!((white(1.0) - 100.0).abs() < 1e-9);
        let beside = 100.0 * libm::log(0.115 / 0.085) / libm::log(40.0);
        let pink = heart(Colour::Pink, 0.0).true_score();
        assert!((pink - beside).abs() < 1e-9, "{pink}");
    }

    #[test]
    fn a_rhythm_without_noise_comes_back_with_its_frequency_and_size() {
        let intervals_ms = heart(Colour::White, 1.0).intervals_ms(400.0, &mut Random::of(1, 2, 3));
        let n = intervals_ms.len() as f64;
        let mean_ms = intervals_ms.iter().sum::<f64>() / n;
        assert!((mean_ms - 800.0).abs() < 4.0, "{mean_ms}");
        let (mut at_ms, mut along, mut across) = (0.0, 0.0, 0.0);
        for interval_ms in &intervals_ms {
            // An interval tells of the rate at its middle.
            let angle = TAU * 0.1 * (at_ms + interval_ms / 2.0) / 1000.0;
            along += (interval_ms - mean_ms) * libm::cos(angle);
            across += (interval_ms - mean_ms) * libm::sin(angle);
            at_ms += interval_ms;
        }
        // The two sums together are n / 2 times the height of the sine.
        let deviation_ms = (2.0 * (along * along + across * across)).sqrt() / n;
        assert!((deviation_ms - 40.0).abs() < 2.0, "{deviation_ms}");
    }

    #[test]
    fn noise_has_the_planted_deviation_and_every_beat_lies_on_a_tick() {
        let mut squares = 0.0;
        let mut count = 0.0;
        for window in 0..8 {
            let heart = heart(Colour::Pink, 0.0);
            for interval_ms in heart.intervals_ms(400.0, &mut Random::of(1, 1, window)) {
                assert_eq!(on_tick_ms(interval_ms), interval_ms);
                squares += (interval_ms - 800.0) * (interval_ms - 800.0);
                count += 1.0;
            }
        }
        // The mean over one beat softens the fastest changes a little.
        let deviation_ms = f64::sqrt(squares / count);
        assert!((34.0..43.0).contains(&deviation_ms), "{deviation_ms}");
    }
}
