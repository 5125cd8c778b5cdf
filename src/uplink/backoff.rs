//! PURE. How long to wait before the next attempt: twice as long each time, with chance in it, so that
//! a thousand hubs do not come back to a broker in the same second.

const FIRST_MS: i64 = 1_000;
const LONGEST_MS: i64 = 300_000;

#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure: between half of the whole and the whole. `chance`: any number.
    pub fn next_ms(&mut self, chance: u32) -> i64 {
        let whole_ms = FIRST_MS
            .saturating_mul(1 << self.failures.min(20))
            .min(LONGEST_MS);
        self.failures = self.failures.saturating_add(1);
        let half_ms = whole_ms / 2;
        half_ms + i64::from(chance) * half_ms / i64::from(u32::MAX)
    }

    /// A connection was good: the next failure is a new one.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes_and_begin_anew() {
        let mut backoff = Backoff::default();
        let waits: Vec<i64> = (0..12).map(|_| backoff.next_ms(u32::MAX)).collect();
        assert_eq!(waits[..4], [1_000, 2_000, 4_000, 8_000]);
        assert_eq!(waits[9..], [300_000; 3]);
        backoff.reset();
        assert_eq!(backoff.next_ms(u32::MAX), 1_000);
    }

    #[test]
    fn chance_takes_at_most_half() {
        for chance in [0, 1, u32::MAX / 2, u32::MAX] {
            for failures in [0, 5, 40] {
                let whole = Backoff { failures }.next_ms(u32::MAX);
                let wait = Backoff { failures }.next_ms(chance);
                assert!((whole / 2..=whole).contains(&wait), "{wait} of {whole}");
            }
        }
    }
}
