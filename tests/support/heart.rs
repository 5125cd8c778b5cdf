//! A heart that nobody has, and what it really did: what was heard of it is held against that.

use std::sync::{Arc, Mutex};

use coherence_hal::BeatItem;

/// The intervals that a heart really had, in ticks, as far as its strap has asked for them.
#[derive(Clone, Default)]
pub struct Truth(Arc<Mutex<Vec<u64>>>);

/// A heart at about so many beats a minute, never faster than `most_bpm`, and its truth.
pub fn heart(seed: u64, bpm: f64, most_bpm: f64) -> (impl Iterator<Item = f64> + Send, Truth) {
    let truth = Truth::default();
    let log = truth.clone();
    let mut chance = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut at_s = 0.0;
    let mut breath = 0.0_f64;
    let beats = std::iter::from_fn(move || {
        chance = chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let unit = (chance >> 40) as f64 / f64::from(1 << 24);
        let mean_s = 60.0 / bpm;
        breath += 0.628 * mean_s;
        let rr_s = mean_s * (1.0 + 0.05 * breath.sin() + 0.04 * (unit - 0.5));
        at_s += rr_s.max(60.0 / most_bpm);
        log.0
            .lock()
            .unwrap()
            .push((at_s * 1_024.0_f64).round() as u64);
        Some(at_s)
    });
    (beats, truth)
}

/// What became of a heart's beats.
#[derive(Clone, Copy, Debug, Default)]
pub struct Account {
    pub exact: u64,
    pub missing: u64,
    pub gaps: u64,
}

impl Truth {
    /// Holds what was heard against what was: each interval is one of the heart's own, in its place, each
    /// loss has the length that it says, and between gaps nothing is left out.
    pub fn account(&self, name: &str, items: &[BeatItem]) -> Account {
        let ticks = self.0.lock().unwrap();
        let real: Vec<u64> = ticks.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mut account = Account::default();
        let mut from = 0;
        for chain in items.split(|item| *item == BeatItem::Gap) {
            if chain.is_empty() {
                continue;
            }
            let place = (from..real.len()).find(|at| fits(&real[*at..], chain));
            let place = place.unwrap_or_else(|| panic!("{name}: invented: {chain:?}"));
            from = place;
            for item in chain {
                match item {
                    BeatItem::Rr(_) => (account.exact, from) = (account.exact + 1, from + 1),
                    BeatItem::Missing { beats, .. } => {
                        account.missing += u64::from(*beats);
                        from += *beats as usize;
                    }
                    BeatItem::Gap => unreachable!("chains end there"),
                }
            }
        }
        account.gaps = items.iter().filter(|item| **item == BeatItem::Gap).count() as u64;
        account
    }

    /// All intervals so far, ms.
    pub fn intervals_ms(&self) -> Vec<f64> {
        let ticks = self.0.lock().unwrap();
        let pairs = ticks.windows(2);
        pairs
            .map(|pair| (pair[1] - pair[0]) as f64 * 1_000.0 / 1_024.0)
            .collect()
    }

    /// Beats until `after_s` seconds.
    pub fn beats_until(&self, after_s: f64) -> u64 {
        let ticks = self.0.lock().unwrap();
        ticks
            .iter()
            .filter(|tick| (**tick as f64) < after_s * 1_024.0)
            .count() as u64
    }
}

fn fits(real: &[u64], chain: &[BeatItem]) -> bool {
    let ms = |ticks: u64| ticks as f64 * 1_000.0 / 1_024.0;
    let mut at = 0;
    chain.iter().all(|item| match *item {
        BeatItem::Rr(rr) => {
            at += 1;
            real.get(at - 1).is_some_and(|real| rr.ms() == ms(*real))
        }
        BeatItem::Missing { beats, span_ms } => {
            at += beats as usize;
            let lost = real.get(at - beats as usize..at);
            lost.is_some_and(|lost| span_ms == Some(ms(lost.iter().sum())))
        }
        BeatItem::Gap => false,
    })
}
