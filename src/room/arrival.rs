//! Arrival and gaps: where an interval belongs in time. Decided once, before a value enters the
//! tachogram, stored with it and never revised.
//!
//! A strap has no clock, only a chain of intervals, so every value is placed by that chain; the time
//! at which bytes arrived anchors the run and bounds it. The *lag* of a link is how far the end of
//! its newest beat lies behind the arrival that brought it: up to a second or two, because a
//! notification carries the beats of the last second.
//!
//! - Values that come after more than 2 s of silence are held until 300 ms brought none: a burst
//!   after a radio fade is late, not lost.
//! - What lag then remains beyond the link's normal lag is the gap, all of it.
//! - After a disconnect there is always a break: radio standards discard what they could not send,
//!   so no pair of beats may be formed across it, even where no time seems to be missing.
//!
//! What a strap itself tells of its losses is placed in `counted`.
//!
//! Not here: whether a beat is an artefact (`signal` cleans), who the heart belongs to.

mod counted;

use std::collections::VecDeque;

use coherence_hal::decode::ble::Measurement;

use super::rows::RrMark;

/// Silence after which values are held back.
const HOLE_MS: i64 = 2_000;
/// Held values are placed once this long brought no further value.
const SETTLE_MS: i64 = 300;
/// Held values are placed after this long in any case: a burst is over by then, and a source that
/// never pauses must not fill the memory.
const HELD_AT_MOST_MS: i64 = 5_000;
/// Nor are more values than these held.
const HELD_AT_MOST: usize = 1_024;
/// Lags remembered per link, one per notification.
const LAGS: usize = 32;
/// What a young link's lag may exceed its median by before time counts as lost, ms: its first value
/// passes for one without any lag, and an interval and a period of notifications may be added.
const YOUNG_SPREAD_MS: f64 = 1_500.0;
/// Time counts as lost where the lag goes beyond the largest of the remembered by so much, ms, and
/// by a quarter of their spread: the largest of a few is not the largest there can be. A lag that
/// roams over a whole second (any heart against a strap's own period) sets a new record now and
/// then; without this a heart at 50 beats a minute lost half a second every minute or two.
const RECORD_MS: f64 = 250.0;
const RECORD_SHARE: f64 = 0.25;
/// A break without missing time still separates runs: the least gap that can be told, ms.
const BREAK_MS: f64 = 1.0;
/// A chain that runs ahead of its own arrival by more is no chain of heartbeats, ms.
const AHEAD_MS: f64 = 2_000.0;

/// An interval with its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placed {
    pub rr_ms: f64,
    pub gap_ms: f64,
    pub mark: RrMark,
    /// End of the interval on the monotonic clock, by the chain, ms.
    pub beat_mono_ms: f64,
    pub arrived_mono_ms: i64,
}

/// The placing of one strap's values.
#[derive(Clone, Debug, Default)]
pub struct Arrivals {
    /// End of the last placed interval, monotonic ms.
    chain_end_ms: Option<f64>,
    last_arrival_ms: Option<i64>,
    lags_ms: VecDeque<f64>,
    held: Vec<(f64, RrMark, i64)>,
    /// The link broke since the last placed value.
    broken: bool,
    /// Time known to lie between the last placed value and the next, ms.
    owed_ms: f64,
}

impl Arrivals {
    /// Takes the intervals of one notification, oldest first, and hands out what has its place.
    pub fn measurement(&mut self, at_ms: i64, measurement: &Measurement, out: &mut Vec<Placed>) {
        let values = measurement.rr.iter().map(|rr| rr.ms());
        let marks = marks(measurement);
        self.arrive(at_ms, values.zip(marks), out);
    }

    /// Takes intervals that a phone heard, oldest first.
    pub fn posted(&mut self, at_ms: i64, rr_ms: &[f64], out: &mut Vec<Placed>) {
        let marked = rr_ms.iter().map(|&ms| (ms, plausibility(ms)));
        self.arrive(at_ms, marked, out);
    }

    fn arrive(
        &mut self,
        at_ms: i64,
        values: impl Iterator<Item = (f64, RrMark)>,
        out: &mut Vec<Placed>,
    ) {
        self.settle(at_ms, out);
        let mut values = values.peekable();
        if values.peek().is_none() {
            return;
        }
        let hole = self
            .last_arrival_ms
            .is_some_and(|last| at_ms - last > HOLE_MS);
        if !self.held.is_empty() || hole || (self.broken && self.chain_end_ms.is_some()) {
            self.held
                .extend(values.map(|(rr_ms, mark)| (rr_ms, mark, at_ms)));
            if self.held.len() > HELD_AT_MOST {
                self.release(out);
            }
            return;
        }
        let values: Vec<_> = values.map(|(rr_ms, mark)| (rr_ms, mark, at_ms)).collect();
        self.place(&values, 0.0, out);
    }

    /// The link broke: values may be lost. What is still held arrived before and lies before the break.
    pub fn link_down(&mut self, out: &mut Vec<Placed>) {
        if !self.held.is_empty() {
            self.release(out);
        }
        self.broken = true;
    }

    /// Another radio brings the rest of the chain, with a lag of its own.
    pub fn pass_on(&mut self) {
        self.owed_ms = 0.0;
        self.lags_ms.clear();
    }

    /// Places what was held, once it has been quiet for long enough.
    pub fn settle(&mut self, now_ms: i64, out: &mut Vec<Placed>) {
        if self.settles_at().is_some_and(|at| now_ms >= at) {
            self.release(out);
        }
    }

    /// Places what was held.
    fn release(&mut self, out: &mut Vec<Placed>) {
        let held = std::mem::take(&mut self.held);
        let total: f64 = held
            .iter()
            .filter(|(_, mark, _)| mark.on_tachogram())
            .map(|(rr_ms, _, _)| rr_ms)
            .sum();
        let gap_ms = match (self.chain_end_ms, held.last()) {
            (Some(chain_end), Some(&(_, _, arrived))) if total > 0.0 => {
                let missing = arrived as f64 - (chain_end + total) - self.normal_lag_ms();
                let gap = if missing > self.spread_ms() {
                    missing
                } else {
                    0.0
                };
                if self.broken { gap.max(BREAK_MS) } else { gap }
            }
            _ => 0.0,
        };
        self.place(&held, gap_ms, out);
    }

    /// When [`Arrivals::settle`] has something to do, if nothing arrives before.
    pub fn settles_at(&self) -> Option<i64> {
        let ((_, _, first), (_, _, last)) = self.held.first().zip(self.held.last())?;
        Some((last + SETTLE_MS).min(first + HELD_AT_MOST_MS))
    }

    /// Goes on where a stored series ended: after a restart the link counts as broken.
    pub fn resume<'a>(&mut self, stored: impl Iterator<Item = &'a Placed>) {
        for placed in stored.filter(|placed| placed.mark.on_tachogram()) {
            let same = self.last_arrival_ms == Some(placed.arrived_mono_ms);
            if same {
                self.lags_ms.pop_back();
            }
            self.chain_end_ms = Some(placed.beat_mono_ms);
            self.last_arrival_ms = Some(placed.arrived_mono_ms);
            self.remember_lag();
        }
        self.broken = true;
    }

    fn place(&mut self, values: &[(f64, RrMark, i64)], mut gap_ms: f64, out: &mut Vec<Placed>) {
        let on: f64 = values
            .iter()
            .filter(|(_, mark, _)| mark.on_tachogram())
            .map(|(rr_ms, _, _)| rr_ms)
            .sum();
        let Some(&(_, _, newest)) = values.last() else {
            return;
        };
        if self.chain_end_ms.is_some_and(|end| {
            newest as f64 - (end + gap_ms + on) < self.normal_lag_ms() - AHEAD_MS
        }) {
            // Longer intervals than time has passed: a new run begins, anchored afresh.
            self.chain_end_ms = Some(newest as f64 - on - BREAK_MS);
            self.lags_ms.clear();
            gap_ms = BREAK_MS;
        }
        let mut end = self.chain_end_ms.unwrap_or(newest as f64 - on);
        for &(rr_ms, mark, arrived_mono_ms) in values {
            if mark.on_tachogram() {
                end += gap_ms + rr_ms;
                out.push(Placed {
                    rr_ms,
                    gap_ms,
                    mark,
                    beat_mono_ms: end,
                    arrived_mono_ms,
                });
                gap_ms = 0.0;
            } else {
                out.push(Placed {
                    rr_ms,
                    gap_ms: 0.0,
                    mark,
                    beat_mono_ms: end,
                    arrived_mono_ms,
                });
            }
        }
        if on > 0.0 {
            self.chain_end_ms = Some(end);
            self.last_arrival_ms = Some(newest);
            self.broken = false;
            self.remember_lag();
        }
    }

    fn remember_lag(&mut self) {
        if let (Some(arrived), Some(end)) = (self.last_arrival_ms, self.chain_end_ms) {
            if self.lags_ms.len() == LAGS {
                self.lags_ms.pop_front();
            }
            self.lags_ms.push_back(arrived as f64 - end);
        }
    }

    /// The median of the remembered lags.
    fn normal_lag_ms(&self) -> f64 {
        let mut lags: Vec<f64> = self.lags_ms.iter().copied().collect();
        lags.sort_by(f64::total_cmp);
        match lags.len() {
            0 => 0.0,
            n if n % 2 == 1 => lags[n / 2],
            n => (lags[n / 2 - 1] + lags[n / 2]) / 2.0,
        }
    }

    /// How far this link's lag goes beyond its normal without anything being lost.
    fn spread_ms(&self) -> f64 {
        if self.lags_ms.len() < LAGS / 4 {
            return YOUNG_SPREAD_MS;
        }
        let most = self.lags_ms.iter().copied().fold(f64::MIN, f64::max);
        (most - self.normal_lag_ms()) * (1.0 + RECORD_SHARE) + RECORD_MS
    }
}

/// The mark of each interval of a notification.
///
/// Some straps append a short value that is no beat: the last of several is suspect where it is
/// below 250 ms, or shorter than 60 % of the mean interval that the strap's own heart rate tells,
/// while the others agree with that rate.
pub fn marks(measurement: &Measurement) -> Vec<RrMark> {
    let rr_ms: Vec<f64> = measurement.rr.iter().map(|rr| rr.ms()).collect();
    let mut marks: Vec<RrMark> = rr_ms.iter().map(|&ms| plausibility(ms)).collect();
    if measurement.contact == Some(false) {
        marks.fill(RrMark::OffBody);
        return marks;
    }
    if let [others @ .., last] = rr_ms.as_slice()
        && !others.is_empty()
        && measurement.hr_bpm > 0
    {
        let mean_ms = 60_000.0 / f64::from(measurement.hr_bpm);
        let agree = others
            .iter()
            .all(|ms| (0.6..=1.6).contains(&(ms / mean_ms)));
        if agree && *last < (0.6 * mean_ms).max(*coherence_hal::PLAUSIBLE_RR_MS.start()) {
            marks[rr_ms.len() - 1] = RrMark::Suspect;
        }
    }
    marks
}

fn plausibility(rr_ms: f64) -> RrMark {
    if rr_ms <= 0.0 {
        RrMark::Zero
    } else if coherence_hal::PLAUSIBLE_RR_MS.contains(&rr_ms) {
        RrMark::Accepted
    } else {
        RrMark::Implausible
    }
}

#[cfg(test)]
mod tests {
    use coherence_hal::Rr;
    use proptest::prelude::*;

    use super::*;

    fn notification(hr_bpm: u16, contact: Option<bool>, ticks: &[u16]) -> Measurement {
        Measurement {
            hr_bpm,
            contact,
            energy_kj: None,
            rr_flag: true,
            rr: ticks.iter().map(|&ticks| Rr::Ticks(ticks)).collect(),
            reserved_flags: 0,
            trailing_bytes: 0,
        }
    }

    /// A strap at exactly one beat of 1000 ms a second, for `n` seconds from `start`.
    fn steady(arrivals: &mut Arrivals, start: i64, n: i64) -> Vec<Placed> {
        let mut out = Vec::new();
        for k in 0..n {
            arrivals.posted(start + k * 1000, &[1000.0], &mut out);
        }
        out
    }

    #[test]
    fn values_are_placed_by_the_chain_and_arrival_only_anchors() {
        let mut arrivals = Arrivals::default();
        let mut out = Vec::new();
        arrivals.posted(10_000, &[900.0, 800.0], &mut out);
        arrivals.posted(11_300, &[1000.0], &mut out);
        let ends: Vec<f64> = out.iter().map(|p| p.beat_mono_ms).collect();
        assert_eq!(ends, [9_200.0, 10_000.0, 11_000.0]);
        assert!(out.iter().all(|p| p.gap_ms == 0.0));
    }

    #[test]
    fn a_burst_after_a_stall_is_late_and_not_lost() {
        let mut arrivals = Arrivals::default();
        let mut out = steady(&mut arrivals, 0, 20);
        // Three notifications are stuck for three seconds and then come at once.
        for at in [23_000, 23_010, 23_020, 23_030] {
            arrivals.posted(at, &[1000.0], &mut out);
        }
        assert_eq!(out.len(), 20, "held until it is quiet");
        assert_eq!(arrivals.settles_at(), Some(23_330));
        arrivals.settle(23_329, &mut out);
        assert_eq!(out.len(), 20);
        arrivals.settle(23_330, &mut out);
        assert_eq!(out.len(), 24);
        assert!(out.iter().all(|p| p.gap_ms == 0.0));
        assert_eq!(out[23].beat_mono_ms, 23_000.0);
    }

    #[test]
    fn what_never_pauses_is_not_held_for_ever() {
        let mut arrivals = Arrivals::default();
        let mut out = steady(&mut arrivals, 0, 20);
        for k in 0..1_000 {
            arrivals.posted(30_000 + k * 100, &[100.0], &mut out);
            assert!(arrivals.held.len() <= 50, "5 s of it at most");
        }
        for _ in 0..10 {
            arrivals.posted(200_000, &[800.0; 256], &mut out);
            assert!(arrivals.held.len() <= HELD_AT_MOST);
        }
    }

    #[test]
    fn what_lag_remains_after_a_hole_is_the_gap_all_of_it() {
        let mut arrivals = Arrivals::default();
        let mut out = steady(&mut arrivals, 0, 20);
        // Four beats never come.
        arrivals.posted(24_000, &[1000.0], &mut out);
        arrivals.posted(25_000, &[1000.0], &mut out);
        assert_eq!(out[20].gap_ms, 4_000.0);
        assert_eq!(out[20].beat_mono_ms, 24_000.0);
        assert_eq!(out[21].gap_ms, 0.0);
        assert_eq!(out[21].beat_mono_ms, 25_000.0);
    }

    #[test]
    fn a_slow_heart_with_empty_notifications_has_no_gap() {
        let mut arrivals = Arrivals::default();
        let mut out = Vec::new();
        // 2.2 s intervals, brought by the first whole second after each beat.
        for k in 1..40_i64 {
            let beat = k * 2_200;
            arrivals.posted((beat / 1000 + 1) * 1000, &[2_200.0], &mut out);
        }
        arrivals.settle(i64::MAX, &mut out);
        assert_eq!(out.len(), 39);
        assert!(out.iter().all(|p| p.gap_ms == 0.0));
    }

    /// A heart whose intervals wander by 60 ms, brought every `period_ms` with a jitter of 80 ms,
    /// except for the notifications in `lost`; the gaps that were found, with their second.
    fn gaps(rr_ms: f64, period_ms: i64, lost: std::ops::Range<i64>) -> Vec<(i64, f64)> {
        let mut chance = 1_u64;
        let mut unit = || {
            chance = chance
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (chance >> 40) as f64 / f64::from(1 << 24)
        };
        let (mut arrivals, mut out, mut beat_ms) = (Arrivals::default(), Vec::new(), 0.0);
        for k in 1..=600_000 / period_ms {
            let mut values = Vec::new();
            loop {
                let next = rr_ms + 120.0 * (unit() - 0.5);
                if beat_ms + next > (k * period_ms) as f64 {
                    break;
                }
                beat_ms += next;
                values.push(next);
            }
            if !lost.contains(&k) {
                let at_ms = k * period_ms + (80.0 * unit()) as i64;
                arrivals.posted(at_ms, &values, &mut out);
            }
        }
        let gap = |p: &Placed| (p.arrived_mono_ms / 1000, p.gap_ms);
        out.iter().filter(|p| p.gap_ms > 0.0).map(gap).collect()
    }

    #[test]
    fn a_lag_that_roams_is_no_gap_and_what_is_lost_is_one() {
        for rr_ms in [600.0, 850.0, 1200.0, 1500.0, 1800.0] {
            for period_ms in [1_000, 5_000] {
                assert_eq!(gaps(rr_ms, period_ms, 0..0), [], "{rr_ms} {period_ms}");
            }
            for n in 2..5 {
                let found = gaps(rr_ms, 1_000, 300..300 + n);
                let sum: f64 = found.iter().map(|(_, gap_ms)| gap_ms).sum();
                let missing = (n * 1_000) as f64;
                assert!(
                    (sum - missing).abs() < rr_ms,
                    "{rr_ms}: {found:?} of {missing}"
                );
            }
        }
    }

    #[test]
    fn a_disconnect_is_always_a_break() {
        let mut arrivals = Arrivals::default();
        let mut out = steady(&mut arrivals, 0, 20);
        arrivals.link_down(&mut out);
        arrivals.posted(20_000, &[1000.0], &mut out);
        arrivals.posted(21_000, &[1000.0], &mut out);
        assert_eq!(
            out[20].gap_ms, BREAK_MS,
            "nothing is missing, but nobody can know"
        );
        assert_eq!(out[21].gap_ms, 0.0);
        arrivals.link_down(&mut out);
        arrivals.posted(31_000, &[1000.0], &mut out);
        arrivals.settle(31_300, &mut out);
        assert!((out[22].gap_ms - 9_000.0).abs() < 2.0, "{}", out[22].gap_ms);
    }

    #[test]
    fn what_arrived_just_before_a_disconnect_lies_before_the_break() {
        let mut arrivals = Arrivals::default();
        let mut out = steady(&mut arrivals, 0, 20);
        // Held, because it comes after more than 2 s without a value.
        arrivals.posted(22_100, &[1000.0, 1000.0, 1000.0], &mut out);
        arrivals.link_down(&mut out);
        assert_eq!(out.len(), 23);
        assert!(out.iter().all(|placed| placed.gap_ms == 0.0));
        arrivals.posted(23_100, &[1000.0], &mut out);
        arrivals.settle(23_400, &mut out);
        assert_eq!(out[23].gap_ms, BREAK_MS);
    }

    #[test]
    fn a_strap_without_skin_contact_fills_no_tachogram() {
        let mut arrivals = Arrivals::default();
        let mut out = steady(&mut arrivals, 0, 20);
        for k in 20..30 {
            arrivals.measurement(k * 1000, &notification(60, Some(false), &[1024]), &mut out);
        }
        assert!(
            out[20..]
                .iter()
                .all(|p| p.mark == RrMark::OffBody && !p.mark.on_tachogram())
        );
        let before = out.len();
        for k in 30..33 {
            arrivals.measurement(k * 1000, &notification(60, Some(true), &[1024]), &mut out);
        }
        let first = out[before..]
            .iter()
            .find(|p| p.mark.on_tachogram())
            .expect("contact is back");
        assert_eq!(first.gap_ms, 10_000.0);
    }

    #[test]
    fn the_extra_short_value_that_some_straps_append_is_suspect() {
        // Garmin HRM-Dual: 10 38 2d 04 35 00, where 53 ticks is no beat.
        assert_eq!(
            marks(&notification(56, None, &[1069, 53])),
            [RrMark::Accepted, RrMark::Suspect]
        );
        assert_eq!(
            marks(&notification(60, None, &[1024, 500])),
            [RrMark::Accepted, RrMark::Suspect]
        );
        assert_eq!(
            marks(&notification(60, None, &[500])),
            [RrMark::Accepted],
            "alone it may be an early beat"
        );
        assert_eq!(
            marks(&notification(119, None, &[520, 520])),
            [RrMark::Accepted, RrMark::Accepted]
        );
        assert_eq!(
            marks(&notification(0, None, &[1024, 300])),
            [RrMark::Accepted, RrMark::Accepted]
        );
        assert_eq!(
            marks(&notification(60, None, &[0, 5000])),
            [RrMark::Zero, RrMark::Implausible]
        );
    }

    #[test]
    fn intervals_longer_than_the_time_that_passed_begin_a_new_run() {
        let mut arrivals = Arrivals::default();
        let mut out = steady(&mut arrivals, 0, 20);
        arrivals.posted(20_000, &[60_000.0], &mut out);
        assert_eq!(out[20].gap_ms, BREAK_MS);
        assert_eq!(out[20].beat_mono_ms, 20_000.0);
    }

    #[test]
    fn a_restart_knows_the_chain_and_the_lag() {
        let mut before = Arrivals::default();
        let stored = steady(&mut before, 0, 40);
        let mut after = Arrivals::default();
        after.resume(stored.iter());
        let mut out = Vec::new();
        after.posted(43_000, &[1000.0], &mut out);
        after.settle(43_300, &mut out);
        assert_eq!(out[0].gap_ms, 3_000.0);
        assert_eq!(out[0].beat_mono_ms, 43_000.0);
    }

    proptest! {
        #[test]
        fn every_value_comes_out_once_and_in_order(
            notifications in proptest::collection::vec((0_i64..9_000, proptest::collection::vec(1.0_f64..4_000.0, 0..5), any::<bool>()), 0..80),
        ) {
            let mut arrivals = Arrivals::default();
            let (mut at, mut sent, mut out) = (0, Vec::new(), Vec::new());
            for (pause, values, down) in notifications {
                at += pause;
                if down && pause > 6_000 {
                    arrivals.link_down(&mut out);
                }
                arrivals.posted(at, &values, &mut out);
                sent.extend(values);
            }
            arrivals.settle(i64::MAX, &mut out);
            let got: Vec<f64> = out.iter().map(|p| p.rr_ms).collect();
            prop_assert_eq!(got, sent);
            prop_assert!(out.iter().all(|p| p.gap_ms >= 0.0 && p.gap_ms.is_finite()));
            prop_assert!(out.windows(2).all(|w| w[0].arrived_mono_ms <= w[1].arrived_mono_ms));
        }
    }
}
