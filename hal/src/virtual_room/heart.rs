//! One imagined heart: when it beats, and nothing else.
//!
//! Here belongs physiology as far as a score can see it; what a strap makes of the beats is told
//! in `strap.rs`. The heart is an integral pulse-frequency modulator (de Boer, Karemaker and
//! Strackee 1985): its rate, in Hz, is integrated, and each time the integral has grown by 1 there
//! is a beat. The rate swings around its mean by a sum of parts whose powers add up to 1, scaled
//! to a standard deviation:
//!
//! - the pacer at [`PACER_HZ`], the same for all, followed with a small lag of one's own, once the room
//!   has gathered: before that each breathes as slowly, in their own time. Its share of the power is
//!   the mood, and so is roughly the share a coherence score finds;
//! - the person's own breathing, 0.16 to 0.32 Hz and wandering;
//! - slow waves, 0.003 to 0.04 Hz;
//! - 1/f noise (Kobayashi and Musha 1982): equal power in every octave, here as sines spread evenly
//!   over the octaves from 0.02 to 0.4 Hz.

use super::chance::{Chance, sin_turns};

/// The breathing the room is led by: six breaths a minute.
pub(super) const PACER_HZ: f64 = 0.1;

/// The rate is taken as straight over this long; the fastest part swings within 2.5 s.
const STEP_S: f64 = 0.05;

/// How the part of the power that does not follow the pacer is spread.
const BREATH_SHARE: f64 = 0.30;
const SLOW_SHARE: f64 = 0.20;
const PINK_SHARE: f64 = 0.50;

const SLOW_WAVES: usize = 4;
const PINK_WAVES: usize = 13;

/// A sine of its own frequency and phase.
#[derive(Clone, Copy, Debug)]
struct Wave {
    hz: f64,
    phase_turns: f64,
}

impl Wave {
    fn new(chance: &mut Chance, low_hz: f64, high_hz: f64) -> Self {
        Wave {
            hz: chance.between(low_hz, high_hz),
            phase_turns: chance.unit(),
        }
    }

    fn at(&self, t_s: f64) -> f64 {
        sin_turns(self.hz * t_s + self.phase_turns)
    }
}

/// Waves of equal size, one at a random place in each of `N` bands that grow by `ratio`.
fn octaves<const N: usize>(chance: &mut Chance, low_hz: f64, ratio: f64) -> [Wave; N] {
    let mut low_hz = low_hz;
    std::array::from_fn(|_| {
        let wave = Wave::new(chance, low_hz, low_hz * ratio);
        low_hz *= ratio;
        wave
    })
}

/// How much of a heart's swing follows the pacer, from 0 to 1, and how that grows as the room
/// gathers.
#[derive(Clone, Debug)]
struct Mood {
    at_first: f64,
    gathered: f64,
    onset_s: f64,
    ramp_s: f64,
    drift: Wave,
}

impl Mood {
    fn new(chance: &mut Chance, talent: f64) -> Self {
        let at_first = 0.04 + 0.80 * talent * talent;
        Mood {
            at_first,
            gathered: at_first + (0.93 - at_first) * chance.between(0.2, 0.85),
            onset_s: chance.between(40.0, 140.0),
            ramp_s: chance.between(240.0, 500.0),
            drift: Wave::new(chance, 1.0 / 400.0, 1.0 / 150.0),
        }
    }

    fn share(&self, t_s: f64) -> f64 {
        let share = self.at_first + (self.gathered - self.at_first) * self.eased(t_s, self.ramp_s);
        (share + 0.06 * self.drift.at(t_s)).clamp(0.0, 0.97)
    }

    /// From 0 to 1: how far one has come from one's own time to the pacer's. It takes less than half as
    /// long as to follow it deeply.
    fn in_time(&self, t_s: f64) -> f64 {
        self.eased(t_s, 0.4 * self.ramp_s)
    }

    fn eased(&self, t_s: f64, ramp_s: f64) -> f64 {
        let done = ((t_s - self.onset_s) / ramp_s).clamp(0.0, 1.0);
        done * done * (3.0 - 2.0 * done)
    }
}

/// Beats for ever, from the script's second 0 on.
#[derive(Clone, Debug)]
pub(super) struct Heart {
    mean_hz: f64,
    /// Standard deviation of the rate as a part of the mean, at no and at full coherence.
    swing: (f64, f64),
    mood: Mood,
    lag_turns: f64,
    lag_wander: Wave,
    breath: Wave,
    breath_wander: Wave,
    slow: [Wave; SLOW_WAVES],
    pink: [Wave; PINK_WAVES],

    /// Where the integration stands: within step `step`, at `at_s`, the rate there, and how much of
    /// the next beat has been gathered.
    step: u64,
    at_s: f64,
    rate_hz: f64,
    charge: f64,
}

impl Heart {
    /// `talent` from 0 to 1 says how easily this heart follows; a `still` one hardly swings at all.
    pub(super) fn new(chance: &mut Chance, talent: f64, still: bool) -> Self {
        let mean_hz = chance.between(52.0, 92.0) / 60.0;
        let sd_ms = if still {
            0.4
        } else {
            chance.between(28.0, 60.0)
        };
        // A fast heart swings less: the same milliseconds would be a larger part of its beat.
        let swing = (sd_ms / 1000.0 * mean_hz).min(0.065);
        let mut heart = Heart {
            mean_hz,
            swing: (swing, if still { swing } else { swing * 1.4 }),
            mood: Mood::new(chance, talent),
            lag_turns: chance.between(-0.06, 0.06),
            lag_wander: Wave::new(chance, 0.004, 0.012),
            breath: Wave::new(chance, 0.16, 0.32),
            breath_wander: Wave::new(chance, 0.008, 0.025),
            slow: octaves(chance, 0.003, 1.9),
            pink: octaves(chance, 0.02, 1.258),
            step: 0,
            at_s: 0.0,
            rate_hz: mean_hz,
            charge: chance.unit(),
        };
        heart.rate_hz = heart.rate_at(0.0);
        heart
    }

    /// The time of the next beat, in seconds since the script began.
    pub(super) fn next_beat_s(&mut self) -> f64 {
        loop {
            let step_end_s = (self.step + 1) as f64 * STEP_S;
            let end_hz = self.rate_at(step_end_s);
            let left_s = step_end_s - self.at_s;
            let gathered = left_s * (self.rate_hz + end_hz) / 2.0;
            let missing = 1.0 - self.charge;
            if gathered < missing {
                self.charge += gathered;
                self.at_s = step_end_s;
                self.rate_hz = end_hz;
                self.step += 1;
                continue;
            }
            // rate·x + slope·x²/2 = missing, in the form that bears a slope of 0.
            let slope = (end_hz - self.rate_hz) / left_s;
            let root = (self.rate_hz * self.rate_hz + 2.0 * slope * missing)
                .max(0.0)
                .sqrt();
            let after_s = 2.0 * missing / (self.rate_hz + root);
            self.at_s += after_s;
            self.rate_hz += slope * after_s;
            self.charge = 0.0;
            return self.at_s;
        }
    }

    /// How far one's own time is from the pacer's at first: as far as the own breath's.
    fn own_turns(&self) -> f64 {
        self.breath.phase_turns - 0.5
    }

    fn rate_at(&self, t_s: f64) -> f64 {
        let follows = self.mood.share(t_s);
        let wanders = 1.0 - follows;

        // Who follows little follows unsteadily, too.
        let lag = self.lag_turns
            + 0.12 * wanders * self.lag_wander.at(t_s)
            + self.own_turns() * (1.0 - self.mood.in_time(t_s));
        let paced = sin_turns(PACER_HZ * t_s + lag);
        let breath_turns = self.breath.hz * t_s + self.breath.phase_turns;
        let breath = sin_turns(breath_turns + 0.4 * self.breath_wander.at(t_s));
        let slow: f64 = self.slow.iter().map(|wave| wave.at(t_s)).sum();
        let pink: f64 = self.pink.iter().map(|wave| wave.at(t_s)).sum();

        // A sine has the power 1/2, n of them n/2.
        let x = (2.0 * follows).sqrt() * paced
            + (2.0 * wanders * BREATH_SHARE).sqrt() * breath
            + (2.0 * wanders * SLOW_SHARE / SLOW_WAVES as f64).sqrt() * slow
            + (2.0 * wanders * PINK_SHARE / PINK_WAVES as f64).sqrt() * pink;
        let swing = self.swing.0 + (self.swing.1 - self.swing.0) * follows;
        self.mean_hz * (1.0 + swing * x).max(0.4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rr_ms(heart: &mut Heart, beats: usize) -> Vec<f64> {
        let mut before = heart.next_beat_s();
        (0..beats)
            .map(|_| {
                let beat = heart.next_beat_s();
                let rr = (beat - before) * 1000.0;
                before = beat;
                rr
            })
            .collect()
    }

    fn mean_and_sd(values: &[f64]) -> (f64, f64) {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>();
        (mean, (variance / values.len() as f64).sqrt())
    }

    #[test]
    fn rates_and_swings_are_those_of_people_at_rest() {
        for seed in 0..60 {
            let mut heart = Heart::new(&mut Chance::new(seed), (seed as f64 / 60.0).fract(), false);
            let (mean, sd) = mean_and_sd(&rr_ms(&mut heart, 300));
            assert!(
                (49.0..97.0).contains(&(60_000.0 / mean)),
                "seed {seed}: {mean} ms"
            );
            assert!((22.0..95.0).contains(&sd), "seed {seed}: SDNN {sd} ms");
        }
    }

    #[test]
    fn each_begins_in_their_own_time_and_comes_to_the_pacers() {
        let room: Vec<Heart> = (0..60)
            .map(|seed| Heart::new(&mut Chance::new(seed), 0.5, false))
            .collect();
        let agreement = |t_s: f64| {
            let turns = room
                .iter()
                .map(|heart| heart.own_turns() * (1.0 - heart.mood.in_time(t_s)));
            let (cos, sin) = turns.fold((0.0, 0.0), |(cos, sin), turns| {
                (cos + sin_turns(turns + 0.25), sin + sin_turns(turns))
            });
            (cos * cos + sin * sin).sqrt() / room.len() as f64
        };
        // The length of the mean of all hands on a dial: 1 where they all point the same way.
        assert!(agreement(0.0) < 0.3, "{}", agreement(0.0));
        assert!(agreement(180.0) > 0.5, "{}", agreement(180.0));
        assert!(agreement(400.0) > 0.999, "{}", agreement(400.0));
    }

    #[test]
    fn a_still_heart_varies_by_less_than_a_millisecond() {
        let (_, sd) = mean_and_sd(&rr_ms(&mut Heart::new(&mut Chance::new(1), 0.5, true), 300));
        assert!(sd < 0.7, "{sd}");
    }

    #[test]
    fn a_heart_without_swing_beats_like_a_clock() {
        let mut heart = Heart::new(&mut Chance::new(3), 0.5, false);
        heart.swing = (0.0, 0.0);
        heart.rate_hz = heart.mean_hz;
        for rr in rr_ms(&mut heart, 100) {
            assert!((rr - 1000.0 / heart.mean_hz).abs() < 1e-6);
        }
    }
}
