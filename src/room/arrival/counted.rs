//! Beats of straps that tell what they lost: where they belong in time.
//!
//! A strap that counts its beats (ANT+) gives the time between two beats by its own clock, and so a
//! known loss *is* the gap before the next interval, to the tick. When bytes arrived says nothing about
//! losses there; it places the beginning of a chain, and the first interval after a torn one. A sensor
//! that prints intervals and counts nothing is placed as a strap with notifications is.

use coherence_hal::{BeatItem, Beats, Origin};

use super::{Arrivals, BREAK_MS, Placed, plausibility};
use crate::room::rows::RrMark;

impl Arrivals {
    /// Takes beats, oldest first, and hands out what has its place.
    pub fn beats(&mut self, at_ms: i64, beats: &Beats, out: &mut Vec<Placed>) {
        for item in &beats.items {
            match *item {
                BeatItem::Rr(rr) => {
                    let mark = mark(rr.ms(), beats.origin);
                    if beats.counted {
                        self.step(at_ms, rr.ms(), mark, out);
                    } else {
                        self.arrive(at_ms, std::iter::once((rr.ms(), mark)), out);
                    }
                }
                BeatItem::Missing {
                    span_ms: Some(span_ms),
                    ..
                } if beats.counted => self.owed_ms += span_ms,
                BeatItem::Missing { .. } | BeatItem::Gap => self.link_down(out),
            }
        }
    }

    /// One interval of a strap that counts.
    fn step(&mut self, at_ms: i64, rr_ms: f64, mark: RrMark, out: &mut Vec<Placed>) {
        if !self.held.is_empty() {
            self.release(out); // another radio's, from before
        }
        // The strap's clock has gone on through an interval that says nothing of the heart.
        let mut passed_ms = 0.0;
        let mut gap_ms = 0.0;
        if !mark.on_tachogram() {
            passed_ms = rr_ms;
        } else if self.broken
            && let Some(end_ms) = self.chain_end_ms
        {
            let since_ms = at_ms as f64 - self.normal_lag_ms() - (end_ms + rr_ms);
            gap_ms = since_ms.max(BREAK_MS);
            self.owed_ms = 0.0;
        } else {
            gap_ms = std::mem::take(&mut self.owed_ms);
        }
        self.place(&[(rr_ms, mark, at_ms)], gap_ms, out);
        self.owed_ms += passed_ms;
    }
}

/// What an interval of this origin is worth.
fn mark(rr_ms: f64, origin: Origin) -> RrMark {
    match (origin, plausibility(rr_ms)) {
        (Origin::Computed, _) => RrMark::Computed,
        (Origin::Simulated, _) => RrMark::Simulated,
        (Origin::Electrical | Origin::Pulse, mark) => mark,
    }
}

#[cfg(test)]
mod tests {
    use coherence_hal::Rr;
    use proptest::prelude::*;

    use super::*;

    fn counted(items: Vec<BeatItem>) -> Beats {
        Beats {
            items,
            origin: Origin::Electrical,
            counted: true,
        }
    }

    fn rr(ms: f64) -> BeatItem {
        BeatItem::Rr(Rr::Ms(ms))
    }

    fn missing(beats: u32, ms: f64) -> BeatItem {
        BeatItem::Missing {
            beats,
            span_ms: Some(ms),
        }
    }

    #[test]
    fn a_known_loss_is_the_gap_before_the_next_interval_whenever_it_arrives() {
        let mut arrivals = Arrivals::default();
        let mut out = Vec::new();
        arrivals.beats(10_000, &counted(vec![rr(1_000.0)]), &mut out);
        arrivals.beats(
            14_200,
            &counted(vec![missing(3, 2_900.0), rr(1_010.0)]),
            &mut out,
        );
        arrivals.beats(15_900, &counted(vec![missing(1, 1_000.0)]), &mut out);
        arrivals.beats(16_100, &counted(vec![rr(990.0)]), &mut out);
        let gaps: Vec<f64> = out.iter().map(|p| p.gap_ms).collect();
        let ends: Vec<f64> = out.iter().map(|p| p.beat_mono_ms).collect();
        assert_eq!(gaps, [0.0, 2_900.0, 1_000.0]);
        assert_eq!(ends, [10_000.0, 13_910.0, 15_900.0]);
    }

    #[test]
    fn nothing_is_held_back_and_silence_alone_is_no_gap() {
        let mut arrivals = Arrivals::default();
        let mut out = Vec::new();
        arrivals.beats(10_000, &counted(vec![rr(2_900.0)]), &mut out);
        arrivals.beats(13_500, &counted(vec![rr(2_900.0)]), &mut out);
        arrivals.beats(16_400, &counted(vec![rr(2_900.0)]), &mut out);
        assert!(arrivals.settles_at().is_none());
        assert_eq!(out.len(), 3);
        assert!(out.iter().all(|p| p.gap_ms == 0.0));
    }

    #[test]
    fn after_a_torn_chain_arrival_says_how_much_time_is_missing() {
        let mut arrivals = Arrivals::default();
        let mut out = Vec::new();
        for k in 0..20 {
            arrivals.beats(k * 1_000 + 120, &counted(vec![rr(1_000.0)]), &mut out);
        }
        arrivals.beats(90_000, &counted(vec![BeatItem::Gap]), &mut out);
        arrivals.beats(91_120, &counted(vec![rr(1_000.0)]), &mut out);
        assert_eq!(out.len(), 21);
        assert_eq!(out[20].gap_ms, 71_000.0);
        arrivals.beats(91_200, &counted(vec![BeatItem::Gap]), &mut out);
        arrivals.beats(91_300, &counted(vec![rr(1_000.0)]), &mut out);
        assert_eq!(out[21].gap_ms, BREAK_MS, "a pair is never formed across it");
    }

    #[test]
    fn intervals_made_from_an_average_stay_off_the_tachogram_and_their_time_passes() {
        let mut arrivals = Arrivals::default();
        let mut out = Vec::new();
        arrivals.beats(10_000, &counted(vec![rr(1_000.0)]), &mut out);
        let made = Beats {
            origin: Origin::Computed,
            ..counted(vec![rr(800.0), rr(800.0)])
        };
        arrivals.beats(11_700, &made, &mut out);
        arrivals.beats(12_600, &counted(vec![rr(1_000.0)]), &mut out);
        let marks: Vec<RrMark> = out.iter().map(|p| p.mark).collect();
        assert_eq!(
            marks,
            [
                RrMark::Accepted,
                RrMark::Computed,
                RrMark::Computed,
                RrMark::Accepted
            ]
        );
        assert_eq!(out[3].gap_ms, 1_600.0);
        assert_eq!(out[3].beat_mono_ms, 12_600.0);
    }

    #[test]
    fn a_heart_that_a_device_plays_is_no_heart() {
        let mut out = Vec::new();
        let played = Beats {
            items: vec![rr(800.0)],
            origin: Origin::Simulated,
            counted: false,
        };
        Arrivals::default().beats(1_000, &played, &mut out);
        assert_eq!(out[0].mark, RrMark::Simulated);
    }

    #[test]
    fn a_sensor_that_counts_nothing_is_judged_by_arrival() {
        let mut arrivals = Arrivals::default();
        let mut out = Vec::new();
        let pulse = |ms| Beats {
            items: vec![rr(ms)],
            origin: Origin::Pulse,
            counted: false,
        };
        for k in 0..20 {
            arrivals.beats(k * 1_000, &pulse(1_000.0), &mut out);
        }
        // Four lines were lost.
        arrivals.beats(24_000, &pulse(1_000.0), &mut out);
        arrivals.settle(24_300, &mut out);
        assert_eq!(out[20].gap_ms, 4_000.0);
    }

    proptest! {
        /// Whatever is lost and whenever it arrives (late by less than a second): the chain stays with the strap's clock.
        #[test]
        fn the_chain_ends_where_the_straps_own_clock_says(
            steps in prop::collection::vec((300.0..2_000.0_f64, 0_u32..4, 0_i64..900), 1..200),
        ) {
            let mut arrivals = Arrivals::default();
            let mut out = Vec::new();
            let mut clock_ms = 0.0;
            arrivals.beats(0, &counted(vec![rr(1_000.0)]), &mut out);
            for (ms, lost, late_ms) in steps {
                let span = f64::from(lost) * ms;
                clock_ms += span + ms;
                let mut items = vec![rr(ms)];
                if lost > 0 {
                    items.insert(0, missing(lost, span));
                }
                arrivals.beats(clock_ms as i64 + late_ms, &counted(items), &mut out);
                let last = out.last().unwrap();
                prop_assert!((last.beat_mono_ms - clock_ms).abs() < 1e-6);
                prop_assert!((last.gap_ms - span).abs() < 1e-9);
            }
        }
    }
}
