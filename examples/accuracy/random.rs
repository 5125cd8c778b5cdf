//! Chance that is the same on every machine: SplitMix64 (Steele, Lea & Flood 2014) and what is made
//! of its bits with `libm`.
//!
//! Here belong draws of one number. What is drawn, and in which order, is the business of who draws.

use std::f64::consts::TAU;

/// A stream of random numbers that a seed decides.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream of one window: neither the number of windows nor the order in which they are made
    /// changes what any of them is.
    pub fn of(seed: u64, study: u64, window: u64) -> Self {
        let mut random = Random(seed);
        for part in [study, window] {
            random.0 = random.bits() ^ part;
        }
        random
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to 1, 1 left out.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// 0, 1, … below `count`.
    pub fn below(&mut self, count: usize) -> usize {
        (self.unit() * count as f64) as usize
    }

    /// Two independent normal numbers of mean 0 and deviation 1 (Box & Muller 1958).
    pub fn normal_pair(&mut self) -> (f64, f64) {
        let radius = (-2.0 * libm::log(1.0 - self.unit())).sqrt();
        let angle = TAU * self.unit();
        (radius * libm::cos(angle), radius * libm::sin(angle))
    }
}
