//! What is turned away is counted each time, and told to the log once a minute per reason: a flood
//! must not become a flood of log lines.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::telemetry::metric;

const QUIET: Duration = Duration::from_secs(60);

/// When each reason was told last.
#[derive(Debug, Default)]
pub struct Refusals {
    told: Mutex<BTreeMap<&'static str, Told>>,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    untold: u64,
}

impl Refusals {
    /// Somebody was turned away. `reason` is one of a fixed few.
    pub fn note(&self, reason: &'static str, from: IpAddr) {
        metrics::counter!(metric::REFUSED, "reason" => reason).increment(1);
        if let Some(count) = self.tell(reason, Instant::now()) {
            tracing::warn!(reason, %from, count, "turned away (told at most once a minute)");
        }
    }

    /// How many have come since it was told last, when it is to be told now.
    fn tell(&self, reason: &'static str, now: Instant) -> Option<u64> {
        let mut told = self.told.lock().expect("nobody panics while holding it");
        let Some(last) = told.get_mut(reason) else {
            told.insert(reason, Told { at: now, untold: 0 });
            return Some(1);
        };
        last.untold += 1;
        if now.duration_since(last.at) < QUIET {
            return None;
        }
        last.at = now;
        Some(std::mem::take(&mut last.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_told_once_a_minute_with_how_often_it_came() {
        let refusals = Refusals::default();
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(refusals.tell("misdirected", at(0)), Some(1));
        assert_eq!(refusals.tell("rate_limited", at(1)), Some(1));
        for second in 1..60 {
            assert_eq!(refusals.tell("misdirected", at(second)), None);
        }
        assert_eq!(refusals.tell("misdirected", at(60)), Some(60));
        assert_eq!(refusals.tell("misdirected", at(61)), None);
    }
}
