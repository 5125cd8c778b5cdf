//! Straps with two radios, and strangers: how long it takes until two radios are said to carry one heart,
//! and how often two hearts are.
//!
//! Two strangers have the same mean interval and are led by the same breath, in step; each has a roughness
//! of its own. A twin loses ANT+ messages (beats among them) and its BLE link breaks now and then.

use std::fmt::Write;
use std::path::Path;

use coherence_hub::room::twins::{Tail, are_one, are_two};

use crate::random::Random;

/// How rough the hearts of a row of the table are: standard deviation of what each beat has of its own, ms.
const ROUGH_MS: [f64; 7] = [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 25.0];

/// Intervals of a heart that is led by a breath.
struct Heart {
    random: Random,
    rough_ms: f64,
    mean_ms: f64,
    swing_ms: f64,
    at_ms: f64,
}

impl Heart {
    /// Led alike: the same mean, the same swing, the same time.
    fn new(led: u64, own: u64, rough_ms: f64) -> Self {
        let mut leader = Random::of(led, 1, 0);
        Heart {
            random: Random::of(led, 2, own),
            rough_ms,
            mean_ms: leader.between(700.0, 1_050.0),
            swing_ms: leader.between(10.0, 70.0),
            at_ms: 0.0,
        }
    }

    fn beat(&mut self) -> f64 {
        let breath = libm::sin(std::f64::consts::TAU * 0.1 * self.at_ms / 1_000.0);
        let own = self.rough_ms * self.random.normal_pair().0;
        let rr_ms = self.mean_ms + self.swing_ms * breath + own;
        self.at_ms += rr_ms;
        rr_ms
    }
}

fn ticks(ms: f64) -> u16 {
    (ms * 1.024).round() as u16
}

/// The table that the documents quote.
pub fn table(pair_minutes: usize, twins: usize, seed: u64) -> String {
    let mut out = String::from(
        "\nTwo radios, one heart\n\n\
         | own roughness of each beat | strangers: pair-minutes | taken for one | twins | median s to tell | 95 of 100 within s | within 60 s | undone |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    let each = pair_minutes / ROUGH_MS.len();
    for rough_ms in ROUGH_MS {
        let merged = strangers(each, rough_ms, seed);
        let mut told: Vec<f64> = Vec::new();
        let mut undone = 0;
        for n in 0..twins {
            let one = twin(rough_ms, seed, n as u64);
            undone += usize::from(one.undone);
            told.push(one.told_s.unwrap_or(f64::INFINITY));
        }
        told.sort_by(f64::total_cmp);
        let within = told.iter().filter(|s| **s <= 60.0).count();
        let at = |share: f64| told[((twins - 1) as f64 * share) as usize];
        let _ = writeln!(
            out,
            "| {rough_ms} ms | {each} | {merged} | {twins} | {:.0} | {:.0} | {:.1} % | {undone} |",
            at(0.5),
            at(0.95),
            100.0 * within as f64 / twins as f64,
        );
    }
    out
}

/// How many of so many pairs, each listened to for a minute, were ever taken for one.
pub fn strangers(pairs: usize, rough_ms: f64, seed: u64) -> usize {
    let mut merged = 0;
    for n in 0..pairs {
        let led = seed.wrapping_mul(1_000_003) + n as u64;
        let mut hearts = [Heart::new(led, 1, rough_ms), Heart::new(led, 2, rough_ms)];
        let mut tails = [Tail::default(), Tail::default()];
        // A minute, after half a minute in which the tails fill.
        let mut one = false;
        while hearts[0].at_ms < 90_000.0 {
            let k = usize::from(hearts[1].at_ms < hearts[0].at_ms);
            let rr_ms = hearts[k].beat();
            tails[k].hear(ticks(rr_ms), hearts[k].at_ms as i64);
            one |= are_one(&tails[0], &tails[1]);
        }
        merged += usize::from(one);
    }
    merged
}

/// What became of one strap with two radios.
pub struct Twin {
    /// When it was told, s after both were first heard.
    pub told_s: Option<f64>,
    /// It was taken for two after that, within three minutes.
    pub undone: bool,
}

/// ANT+ loses 4 of 100 messages (a beat is in four of them on average, so few beats); BLE brings each
/// second's beats late and now and then loses its link for some seconds.
pub fn twin(rough_ms: f64, seed: u64, n: u64) -> Twin {
    let mut heart = Heart::new(seed.wrapping_mul(7_919) + n, 1, rough_ms);
    on(std::iter::from_fn(|| Some(heart.beat())), seed, n)
}

/// Such a strap on these intervals, ms.
fn on(beats: impl Iterator<Item = f64>, seed: u64, n: u64) -> Twin {
    let mut random = Random::of(seed, 3, n);
    let mut beat_ms = 0.0;
    let (mut ant, mut ble) = (Tail::default(), Tail::default());
    let mut away_until_ms = 0.0;
    let mut told_s = None;
    let mut undone = false;
    for rr_ms in beats {
        beat_ms += rr_ms;
        let at_ms = beat_ms;
        if at_ms >= 180_000.0 {
            break;
        }
        // Messages that carry this beat, until the next one: all lost?
        let messages = (rr_ms * 4.06 / 1_000.0) as i32;
        if random.chance(0.04_f64.powi(messages.max(1))) {
            ant.tear();
        } else {
            ant.hear(ticks(rr_ms), at_ms as i64 + 120);
        }
        if at_ms > away_until_ms && random.chance(rr_ms / 90_000.0) {
            away_until_ms = at_ms + random.between(2_000.0, 8_000.0);
        }
        if at_ms < away_until_ms {
            ble.tear();
        } else {
            let late_ms = random.between(50.0, 1_100.0);
            let jitter = if random.chance(0.3) {
                random.between(-1.5, 1.5)
            } else {
                0.0
            };
            ble.hear(
                (f64::from(ticks(rr_ms)) + jitter).round() as u16,
                (at_ms + late_ms) as i64,
            );
        }
        if told_s.is_none() && are_one(&ant, &ble) {
            told_s = Some(at_ms / 1_000.0);
        }
        undone |= told_s.is_some() && are_two(&ant, &ble);
    }
    Twin { told_s, undone }
}

/// How soon straps with two radios would have been told on hearts that were recorded: each `.rr.csv` of a
/// folder, R-R intervals in ms under a line of heading, begun at every 64th beat.
pub fn recorded(folder: &Path, seed: u64) -> std::io::Result<Vec<Recorded>> {
    let mut files: Vec<_> = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    files.retain(|path| path.to_string_lossy().ends_with(".rr.csv"));
    files.sort();
    let mut all = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path)?;
        let rr_ms: Vec<f64> = text.lines().filter_map(|line| line.parse().ok()).collect();
        let starts = (0..rr_ms.len().saturating_sub(128)).step_by(64);
        let twins: Vec<Twin> = starts
            .map(|from| on(rr_ms[from..].iter().copied(), seed, from as u64))
            .collect();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        all.push(Recorded {
            name: name.trim_end_matches(".rr.csv").to_owned(),
            starts: twins.len(),
            within_60_s: twins
                .iter()
                .filter(|twin| twin.told_s.is_some_and(|s| s <= 60.0))
                .count(),
            undone: twins.iter().filter(|twin| twin.undone).count(),
        });
    }
    Ok(all)
}

/// What became of straps with two radios on one recorded heart.
#[derive(Debug)]
pub struct Recorded {
    pub name: String,
    pub starts: usize,
    pub within_60_s: usize,
    pub undone: usize,
}
