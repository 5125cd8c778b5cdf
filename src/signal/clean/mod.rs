//! The cleaner: what the strap missed, doubled or put in the wrong place is put right, and flagged.
//!
//! Here belongs what turns received intervals into beats with times. Every gap-free run is cleaned
//! on its own: first beats that were missed or counted twice (`count`), then beats that sit in the
//! wrong place (`misplaced`). Time is conserved: a repair divides it differently between beats and
//! never adds or removes any; the *value* of a beat may be guessed, its *duration* never is.
//!
//! The classes of artefact are those of Lipponen & Tarvainen 2019; the procedure is the product's
//! own. How much of it is too much (status `poor`) is decided in [`super::Scorer`].

pub(super) mod count;
pub(super) mod misplaced;

use super::Interval;
use super::settings::Setting;

/// What a heart can do, in ms: values outside are repaired whatever their neighbours say.
const POSSIBLE_MS: std::ops::RangeInclusive<f64> = 300.0..=2000.0;

/// Beats on either side that a beat is compared with.
const REACH: usize = 4;

pub(super) const SETTINGS: &[Setting] = &[
    ("POSSIBLE_MS", &[*POSSIBLE_MS.start(), *POSSIBLE_MS.end()]),
    ("REACH", &[REACH as f64]),
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

/// Cleans one buffer after another, in lists that stay from one to the next.
#[derive(Debug, Default)]
pub(super) struct Cleaner {
    beats: Vec<Beat>,
    /// The run that is being cleaned, and the next state of it.
    run: Vec<Piece>,
    spare: Vec<Piece>,
    misplaced: misplaced::Search,
}

impl Cleaner {
    /// Cleans a buffer, oldest interval first. Its values are finite and above 0.
    pub(super) fn clean(&mut self, buffer: &[Interval]) -> &[Beat] {
        self.beats.clear();
        for received in buffer.chunk_by(|_, next| next.gap_ms <= 0.0) {
            self.clean_run(received);
            let mut gap_ms = received[0].gap_ms;
            for piece in &self.run {
                self.beats.push(Beat {
                    end_ms: 0.0,
                    duration_ms: piece.duration_ms,
                    value_ms: piece.value_ms,
                    gap_ms,
                    flagged: piece.flagged,
                });
                gap_ms = 0.0;
            }
        }
        let mut end_ms = 0.0;
        for beat in self.beats.iter_mut().rev() {
            beat.end_ms = end_ms;
            end_ms -= beat.duration_ms + beat.gap_ms;
        }
        &self.beats
    }

    fn clean_run(&mut self, received: &[Interval]) {
        self.run.clear();
        self.run.extend(
            received
                .iter()
                .map(|interval| Piece::received(interval.rr_ms)),
        );
        count::put_right(&mut self.run, &mut self.spare);
        // "At most half of the beats": of those that were received.
        self.misplaced.put_right(&mut self.run, received.len() / 2);
    }
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

    fn clean(buffer: &[Interval]) -> Vec<Beat> {
        Cleaner::default().clean(buffer).to_vec()
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
        let beats = clean(&pieces(&received));
        assert_eq!(durations(&beats), received);
        assert!(
            beats
                .iter()
                .all(|beat| !beat.flagged && beat.value_ms == beat.duration_ms)
        );
        assert_eq!(beats[8].end_ms, 0.0);
        assert_eq!(beats[7].end_ms, -790.0);
    }

    #[test]
    fn gaps_separate_runs_and_take_time() {
        let mut buffer = pieces(&[800.0; 12]);
        buffer[6].gap_ms = 3000.0;
        let beats = clean(&buffer);
        assert_eq!(beats[6].end_ms - beats[5].end_ms, 3800.0);
        assert_eq!(beats[6].gap_ms, 3000.0);
        assert_eq!(beats.iter().filter(|beat| beat.gap_ms > 0.0).count(), 1);
    }

    #[test]
    fn a_split_first_beat_of_a_run_keeps_the_gap_before_its_first_half_only() {
        let mut buffer = pieces(&[800.0; 20]);
        buffer[10] = Interval {
            rr_ms: 1600.0,
            gap_ms: 2000.0,
        };
        let beats = clean(&buffer);
        assert_eq!(beats.len(), 21);
        assert_eq!((beats[10].gap_ms, beats[11].gap_ms), (2000.0, 0.0));
        assert!(beats[10].flagged && beats[11].flagged);
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
            let beats = clean(&buffer);
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

        #[test]
        fn an_unflagged_beat_was_received_as_it_is(run in any_run()) {
            for beat in clean(&pieces(&run)) {
                prop_assert!(beat.flagged || run.contains(&beat.value_ms));
            }
        }
    }
}
