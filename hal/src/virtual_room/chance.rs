//! Randomness and sines that are the same on every machine.
//!
//! Here belongs arithmetic that a script's bytes depend on. The platform's own `sin` may differ in
//! its last bit between C libraries, and one bit can move a beat to the next tick, so a room
//! recorded on a laptop would not be the room of the Pi. Everything here is plain IEEE arithmetic.

use std::f64::consts::TAU;

/// SplitMix64 (Steele, Lea and Flood 2014): one word of state, good enough for imagined hearts.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Chance(seed)
    }

    /// An independent stream for the `index`th part of whatever `seed` stands for.
    pub(crate) fn stream(seed: u64, index: u64) -> Self {
        let mut parent = Chance(seed ^ index.wrapping_add(1).wrapping_mul(0xD1B5_4A32_D192_ED03));
        Chance(parent.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 up to, but not including, 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// A whole number, both ends included.
    pub(crate) fn whole(&mut self, low: i64, high: i64) -> i64 {
        low + (self.unit() * (high - low + 1) as f64) as i64
    }

    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }
}

/// The sine of an angle given in turns: the series to the 15th power over a quarter turn, right to
/// 1e-11.
pub(crate) fn sin_turns(turns: f64) -> f64 {
    let turn = turns - turns.round();
    let folded = if turn > 0.25 {
        0.5 - turn
    } else if turn < -0.25 {
        -0.5 - turn
    } else {
        turn
    };
    let x = folded * TAU;
    let square = x * x;
    // 1 - x²/(2·3) · (1 - x²/(4·5) · (1 - ...)), innermost first.
    let mut series = 1.0;
    for divisor in [
        14.0 * 15.0,
        12.0 * 13.0,
        10.0 * 11.0,
        8.0 * 9.0,
        6.0 * 7.0,
        4.0 * 5.0,
        6.0,
    ] {
        series = 1.0 - square / divisor * series;
    }
    x * series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sine_agrees_with_the_platform_s() {
        for step in -4000..4000 {
            let turns = f64::from(step) * 0.001_37;
            assert!(
                (sin_turns(turns) - (turns * TAU).sin()).abs() < 1e-10,
                "{turns}"
            );
        }
    }

    #[test]
    fn chance_is_even_and_stays_within_its_ends() {
        let mut chance = Chance::new(7);
        let mut counts = [0; 5];
        for _ in 0..50_000 {
            counts[chance.whole(0, 4) as usize] += 1;
            assert!((2.0..3.0).contains(&chance.between(2.0, 3.0)));
        }
        assert!(
            counts.iter().all(|count| (9_500..10_500).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn neighbouring_streams_share_nothing() {
        let firsts: Vec<u64> = (0..100).map(|i| Chance::stream(1, i).next()).collect();
        let mut unique = firsts.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), firsts.len());
    }
}
