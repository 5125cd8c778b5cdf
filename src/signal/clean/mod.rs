//! The cleaner: what the strap missed, doubled or put in the wrong place is put right, and flagged.
//!
//! Here belongs what turns received intervals into beats with times. Every gap-free run is cleaned
//! on its own. Time is conserved: a repair divides it differently between beats and
//! never adds or removes any; the *value* of a beat may be guessed, its *duration* never is.
//!
//! The classes of artefact are those of Lipponen & Tarvainen 2019; the procedures are the product's
//! own. How much of it is too much (status `poor`) is decided in [`super::Scorer`].
//!
//! - Version 1: first beats that were missed or counted twice (`count`), then beats that sit in the
//!   wrong place (`misplaced`).
//! - Version 2: what the heart is likely to do next is learned from the series (`forecast`), a
//!   whole run is read in the likeliest way (`reading`), and the beats that were not received are
//!   placed (`placing`). Its definition:
//!
#![doc = include_str!("version_two.md")]

pub(super) mod count;
pub(super) mod forecast;
pub(super) mod misplaced;
pub(super) mod placing;
pub(super) mod reading;

use super::settings::Setting;
use super::{Interval, Version};
use forecast::Forecaster;

/// What a heart can do, in ms: values outside are repaired whatever their neighbours say.
const POSSIBLE_MS: std::ops::RangeInclusive<f64> = 300.0..=2000.0;

/// Beats on either side that a beat is compared with.
const REACH: usize = 4;

pub(super) const SETTINGS: &[Setting] = &[
    ("POSSIBLE_MS", &[*POSSIBLE_MS.start(), *POSSIBLE_MS.end()]),
    ("REACH", &[REACH as f64]),
];

pub(super) const SETTINGS_OF_TWO: &[Setting] = &[
    ("READINGS", &[READINGS as f64]),
    ("PRICES", &PRICES),
    ("FAR_OFF", &[FAR_OFF]),
];

/// One cleaned beat.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Beat {
    /// End of the interval, in ms before the end of the newest one: 0 for the newest, else negative.
    /// Counted back from there because only differences matter and so none is lost in a long sum.
    pub end_ms: f64,
    /// The interval as time.
    pub duration_ms: f64,
    /// The interval as a value of the series; differs from the duration where only the value could
    /// be repaired.
    pub value_ms: f64,
    /// Time lost before the interval.
    pub gap_ms: f64,
    /// Not as received.
    pub flagged: bool,
}

/// A beat inside its run, while it is being cleaned.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Piece {
    duration_ms: f64,
    value_ms: f64,
    flagged: bool,
    /// No repair makes it better: not to be tried again.
    dead: bool,
}

impl Piece {
    fn received(duration_ms: f64) -> Self {
        Piece {
            duration_ms,
            value_ms: duration_ms,
            flagged: false,
            dead: false,
        }
    }

    fn repaired(duration_ms: f64) -> Self {
        Piece {
            flagged: true,
            ..Piece::received(duration_ms)
        }
    }
}

/// Version 2 reads a buffer at most this often, each time with a forecast that has learned from the
/// time before.
const READINGS: usize = 3;

/// Price of a repair: at first, when the forecast has learned from what is yet to be repaired, and then.
/// As surprises, in squared deviations.
const PRICES: [f64; READINGS] = [13.0, 11.0, 11.0];

/// What differs from the median around it by more than this share of it is not learned from at first.
const FAR_OFF: f64 = 0.25;

/// Cleans one buffer after another, in lists that stay from one to the next.
#[derive(Debug)]
pub(super) struct Cleaner {
    version: Version,
    beats: Vec<Beat>,
    /// The run that is being cleaned, and the next state of it.
    run: Vec<Piece>,
    spare: Vec<Piece>,
    misplaced: misplaced::Search,
    reader: reading::Reader,
    divider: placing::Divider,
    /// The beats as they were read before.
    learned_from: Vec<Beat>,
    /// How large errors are around each received interval.
    typical_ms2: Vec<f64>,
    lists: forecast::Lists,
}

impl Cleaner {
    pub(super) fn new(version: Version) -> Self {
        Cleaner {
            version,
            beats: Vec::new(),
            run: Vec::new(),
            spare: Vec::new(),
            misplaced: misplaced::Search::default(),
            reader: reading::Reader::default(),
            divider: placing::Divider::default(),
            learned_from: Vec::new(),
            typical_ms2: Vec::new(),
            lists: forecast::Lists::default(),
        }
    }

    /// Cleans a buffer, oldest interval first. Its values are finite and above 0.
    pub(super) fn clean(&mut self, buffer: &[Interval]) -> &[Beat] {
        match self.version {
            Version::One => self.clean_by_one(buffer),
            Version::Two => self.clean_by_two(buffer),
        }
        let mut end_ms = 0.0;
        for beat in self.beats.iter_mut().rev() {
            beat.end_ms = end_ms;
            end_ms -= beat.duration_ms + beat.gap_ms;
        }
        &self.beats
    }

    /// The beats of the buffer that was cleaned last; at first none, as of an empty one.
    pub(super) fn cleaned(&self) -> &[Beat] {
        &self.beats
    }

    fn clean_by_one(&mut self, buffer: &[Interval]) {
        self.beats.clear();
        for received in runs(buffer) {
            self.run.clear();
            self.run.extend(
                received
                    .iter()
                    .map(|interval| Piece::received(interval.rr_ms)),
            );
            count::put_right(&mut self.run, &mut self.spare);
            // "At most half of the beats": of those that were received.
            self.misplaced.put_right(&mut self.run, received.len() / 2);
            keep_run(&mut self.beats, &self.run, received[0].gap_ms);
        }
    }

    fn clean_by_two(&mut self, buffer: &[Interval]) {
        self.guess(buffer);
        if buffer.is_empty() {
            return;
        }
        for (reading, price) in PRICES.into_iter().enumerate() {
            std::mem::swap(&mut self.beats, &mut self.learned_from);
            let forecaster = Forecaster::of(&self.learned_from, &mut self.lists);
            if reading == 0 {
                // Later the restless stretches might look calm, having been repaired.
                forecaster.typical_errors_ms2(
                    &self.learned_from,
                    &mut self.lists,
                    &mut self.typical_ms2,
                );
            }
            self.beats.clear();
            let mut typical_ms2 = &self.typical_ms2[..];
            for received in runs(buffer) {
                let (here_ms2, later_ms2) = typical_ms2.split_at(received.len());
                typical_ms2 = later_ms2;
                let spans = self.reader.read(received, here_ms2, &forecaster, price);
                placing::divide_evenly(&mut self.run, received, spans);
                self.divider.smooth(&mut self.run, spans);
                keep_run(&mut self.beats, &self.run, received[0].gap_ms);
            }
            // What reads the same again would be read the same for ever, at the same price.
            let settled = reading > 0 && self.beats == self.learned_from;
            if settled || self.beats.iter().all(|beat| !beat.flagged) {
                break;
            }
        }
    }

    /// What a first forecast learns from: the intervals as received, but for those that are far from
    /// what is around them.
    fn guess(&mut self, buffer: &[Interval]) {
        self.beats.clear();
        for (i, interval) in buffer.iter().enumerate() {
            let around_ms = median_of(
                buffer[neighbourhood(i, buffer.len())]
                    .iter()
                    .map(|other| other.rr_ms),
            )
            .unwrap_or(interval.rr_ms);
            let far_off = (interval.rr_ms - around_ms).abs() > FAR_OFF * around_ms;
            self.beats.push(Beat {
                end_ms: 0.0,
                duration_ms: interval.rr_ms,
                value_ms: if far_off { around_ms } else { interval.rr_ms },
                gap_ms: interval.gap_ms,
                flagged: far_off,
            });
        }
    }
}

/// Puts a cleaned run behind the others.
fn keep_run(beats: &mut Vec<Beat>, run: &[Piece], mut gap_ms: f64) {
    for piece in run {
        beats.push(Beat {
            end_ms: 0.0,
            duration_ms: piece.duration_ms,
            value_ms: piece.value_ms,
            gap_ms,
            flagged: piece.flagged,
        });
        gap_ms = 0.0;
    }
}

/// The stretches of a buffer that no gap interrupts.
fn runs(buffer: &[Interval]) -> impl Iterator<Item = &[Interval]> {
    buffer.chunk_by(|_, next| next.gap_ms <= 0.0)
}

/// Median; of an even number of values the mean of the middle two, of none 0. Reorders its input.
fn median(values: &mut [f64]) -> f64 {
    let n = values.len();
    if n == 0 {
        return 0.0;
    }
    let (below, &mut upper, _) = values.select_nth_unstable_by(n / 2, f64::total_cmp);
    if n % 2 == 1 {
        return upper;
    }
    let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (lower + upper) / 2.0
}

/// Median of a handful of finite values. They are sorted by exchanges alone, without a branch that a
/// processor would have to guess: this is what takes the longest in a window full of artefacts.
fn median_of(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut sorted = [0.0; 2 * REACH + 1];
    let mut n = 0;
    for mut value in values.into_iter().take(sorted.len()) {
        for place in &mut sorted[..n] {
            (*place, value) = if value < *place {
                (value, *place)
            } else {
                (*place, value)
            };
        }
        sorted[n] = value;
        n += 1;
    }
    (n > 0).then(|| (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0)
}

/// `i - REACH ..= i + REACH`, as far as there are beats.
fn neighbourhood(i: usize, len: usize) -> std::ops::Range<usize> {
    i.saturating_sub(REACH)..(i + REACH + 1).min(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VERSIONS: [Version; 2] = [Version::One, Version::Two];

    fn clean(version: Version, buffer: &[Interval]) -> Vec<Beat> {
        Cleaner::new(version).clean(buffer).to_vec()
    }

    fn pieces(durations_ms: &[f64]) -> Vec<Interval> {
        durations_ms
            .iter()
            .map(|&rr_ms| Interval { rr_ms, gap_ms: 0.0 })
            .collect()
    }

    fn durations(beats: &[Beat]) -> Vec<f64> {
        beats.iter().map(|beat| beat.duration_ms).collect()
    }

    #[test]
    fn a_median_is_the_middle_or_the_mean_of_the_middle_two() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(&mut [7.0]), 7.0);
        assert_eq!(median_of([]), None);
    }

    #[test]
    fn a_plausible_series_stays_as_it_is() {
        let received = [
            800.0, 820.0, 850.0, 870.0, 860.0, 830.0, 800.0, 780.0, 790.0,
        ];
        for version in VERSIONS {
            let beats = clean(version, &pieces(&received));
            assert_eq!(durations(&beats), received);
            assert!(
                beats
                    .iter()
                    .all(|beat| !beat.flagged && beat.value_ms == beat.duration_ms)
            );
            assert_eq!(beats[8].end_ms, 0.0);
            assert_eq!(beats[7].end_ms, -790.0);
        }
    }

    #[test]
    fn gaps_separate_runs_and_take_time() {
        let mut buffer = pieces(&[800.0; 12]);
        buffer[6].gap_ms = 3000.0;
        for version in VERSIONS {
            let beats = clean(version, &buffer);
            assert_eq!(beats[6].end_ms - beats[5].end_ms, 3800.0);
            assert_eq!(beats[6].gap_ms, 3000.0);
            assert_eq!(beats.iter().filter(|beat| beat.gap_ms > 0.0).count(), 1);
        }
    }

    #[test]
    fn a_split_first_beat_of_a_run_keeps_the_gap_before_its_first_half_only() {
        let mut buffer = pieces(&[800.0; 20]);
        buffer[10] = Interval {
            rr_ms: 1600.0,
            gap_ms: 2000.0,
        };
        for version in VERSIONS {
            let beats = clean(version, &buffer);
            assert_eq!(beats.len(), 21);
            assert_eq!((beats[10].gap_ms, beats[11].gap_ms), (2000.0, 0.0));
            assert!(beats[10].flagged && beats[11].flagged);
        }
    }

    /// 100 beats of a heart that breathes, and the same with mistakes.
    fn breathing_ms() -> Vec<f64> {
        (0..100)
            .map(|i| 820.0 + 60.0 * (f64::from(i) * 0.55).sin() + f64::from(i * 37 % 11) * 2.0)
            .collect()
    }

    #[test]
    fn version_2_finds_the_beats_that_mistakes_hid() {
        let true_ms = breathing_ms();
        type Mistake = (&'static str, fn(&mut Vec<f64>));
        // From the newest to the oldest, so that earlier positions stay.
        let mistakes: [Mistake; 5] = [
            ("missed", |ms| {
                for at in [80, 51, 50, 20] {
                    ms[at] += ms.remove(at + 1);
                }
            }),
            ("extra", |ms| {
                for (at, first_ms) in [(80, 500.0), (50, 180.0), (20, 400.0)] {
                    ms[at] -= first_ms;
                    ms.insert(at, first_ms);
                }
            }),
            ("ectopic", |ms| {
                for (at, early_ms) in [(80, 300.0), (51, 180.0), (50, 200.0), (20, 250.0)] {
                    ms[at] -= early_ms;
                    ms[at + 1] += early_ms;
                }
            }),
            ("shifted", |ms| {
                for (at, by_ms) in [(80, 90.0), (50, -110.0), (20, 100.0)] {
                    ms[at] += by_ms;
                    ms[at + 1] -= by_ms;
                }
            }),
            ("mixed side by side", |ms| {
                ms[60] += ms.remove(61);
                ms[59] -= 220.0;
                ms[60] += 220.0;
                ms[40] -= 250.0;
                ms[41] += 250.0;
                ms[39] -= 300.0;
                ms.insert(39, 300.0);
            }),
        ];
        for (what, mistake) in mistakes {
            let mut received_ms = true_ms.clone();
            mistake(&mut received_ms);
            let beats = clean(Version::Two, &pieces(&received_ms));
            assert_eq!(beats.len(), true_ms.len(), "{what}");
            for (i, (beat, true_ms)) in beats.iter().zip(&true_ms).enumerate() {
                let off_ms = beat.value_ms - true_ms;
                assert!(off_ms.abs() < 25.0, "{what}, beat {i}: {off_ms}");
                assert!(beat.flagged || off_ms == 0.0, "{what}, beat {i}");
            }
            let flagged = beats.iter().filter(|beat| beat.flagged).count();
            assert!((1..=12).contains(&flagged), "{what}: {flagged}");
        }
    }

    #[test]
    fn version_2_leaves_large_swings_alone() {
        let noise_ms = |i: i32| f64::from(i * 37 % 23 - 11);
        type Swing = (&'static str, fn(f64) -> f64);
        let swings: [Swing; 4] = [
            ("slow deep breathing", |i| 180.0 * (i * 0.45).sin()),
            ("a strong breath with every fourth beat", |i| {
                120.0 * (i * 1.5).sin()
            }),
            ("deep breathing that begins", |i| {
                if i < 60.0 {
                    0.0
                } else {
                    170.0 * ((i - 60.0) * 0.5).sin()
                }
            }),
            ("a heart that calms down", |i| {
                250.0 * (i - 50.0) / (20.0 + (i - 50.0).abs())
            }),
        ];
        for (what, swing) in swings {
            let received_ms: Vec<f64> = (0..110)
                .map(|i| 950.0 + swing(f64::from(i)) + noise_ms(i))
                .collect();
            let beats = clean(Version::Two, &pieces(&received_ms));
            assert_eq!(durations(&beats), received_ms, "{what}");
            assert!(beats.iter().all(|beat| !beat.flagged), "{what}");
        }
    }

    #[test]
    fn a_cleaner_answers_by_the_buffer_alone() {
        let mut other = breathing_ms();
        other[30] *= 2.0;
        let mut received = breathing_ms();
        received[70] += 200.0;
        received[71] -= 200.0;
        for version in VERSIONS {
            let mut used = Cleaner::new(version);
            used.clean(&pieces(&other));
            used.clean(&[]);
            assert_eq!(
                used.clean(&pieces(&received)),
                clean(version, &pieces(&received))
            );
        }
    }

    fn any_run() -> impl Strategy<Value = Vec<f64>> {
        let near = prop::collection::vec(
            prop_oneof![10 => 600.0..1000.0_f64, 1 => 1.0..500.0_f64, 1 => 1000.0..5000.0_f64],
            1..150,
        );
        let wild = prop::collection::vec(prop_oneof![0.5..80_000.0_f64, 200.0..2500.0_f64], 1..150);
        prop_oneof![near, wild]
    }

    proptest! {
        #[test]
        fn cleaning_never_invents_or_loses_time(runs in prop::collection::vec(any_run(), 1..4)) {
            let mut buffer = Vec::new();
            for run in &runs {
                let first = buffer.len();
                buffer.extend(pieces(run));
                buffer[first].gap_ms = if first == 0 { 0.0 } else { 1000.0 };
            }
            for version in VERSIONS {
                let beats = clean(version, &buffer);
                let cleaned: Vec<&[Beat]> = beats.chunk_by(|_, next| next.gap_ms <= 0.0).collect();
                prop_assert_eq!(cleaned.len(), runs.len());
                for (run, cleaned) in runs.iter().zip(cleaned) {
                    let before_ms: f64 = run.iter().sum();
                    let after_ms: f64 = durations(cleaned).iter().sum();
                    prop_assert!((before_ms - after_ms).abs() <= 1e-9 * before_ms, "{} {}", before_ms, after_ms);
                    prop_assert!(cleaned.iter().all(|beat| beat.flagged || beat.value_ms == beat.duration_ms));
                }
                prop_assert!(beats.windows(2).all(|pair| pair[0].end_ms < pair[1].end_ms));
            }
        }

        #[test]
        fn an_unflagged_beat_was_received_as_it_is(run in any_run()) {
            for version in VERSIONS {
                for beat in clean(version, &pieces(&run)) {
                    prop_assert!(beat.flagged || run.contains(&beat.value_ms));
                }
            }
        }
    }
}
