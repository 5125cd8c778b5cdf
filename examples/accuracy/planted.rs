//! The strap's mistakes and the heart's jumps, planted into beats that are known.
//!
//! Here belongs what is done to intervals before a cleaner sees them. Time is conserved, and the
//! newest beat stays where it is, so that the window with mistakes and the one without cover the
//! same stretch.

use coherence_hub::signal::Interval;

use crate::random::Random;
use crate::simulate::on_tick_ms;

/// What can go wrong with a beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Artefact {
    /// The strap did not see the beat: one interval as long as two.
    Missed,
    /// The strap saw a beat where none was: one interval torn in two.
    Extra,
    /// The heart beat early and waited afterwards, as after an extrasystole.
    Ectopic,
    /// The strap saw the beat a little too early or too late.
    Shifted,
}

/// One kind alone, or all of them mixed in equal parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Only(Artefact),
    Mixed,
}

impl Kind {
    fn draw(self, random: &mut Random) -> Artefact {
        match self {
            Kind::Only(artefact) => artefact,
            Kind::Mixed => [
                Artefact::Missed,
                Artefact::Extra,
                Artefact::Ectopic,
                Artefact::Shifted,
            ][random.below(4)],
        }
    }
}

/// The intervals with mistakes: each beat but the newest meets one with the given probability.
pub fn with_artefacts(
    intervals_ms: &[f64],
    kind: Kind,
    probability: f64,
    random: &mut Random,
) -> Vec<f64> {
    let mut planted_ms = Vec::with_capacity(intervals_ms.len() + 16);
    // The interval that ends with the present beat, as far as the beat before it was seen and moved.
    let mut open_ms = 0.0;
    for (i, interval_ms) in intervals_ms.iter().enumerate() {
        open_ms += interval_ms;
        if i + 1 == intervals_ms.len() || !random.chance(probability) {
            planted_ms.push(open_ms);
            open_ms = 0.0;
            continue;
        }
        match kind.draw(random) {
            Artefact::Missed => {}
            Artefact::Extra => {
                let first_ms = on_tick_ms(open_ms * random.between(0.2, 0.8));
                planted_ms.extend([first_ms, open_ms - first_ms]);
                open_ms = 0.0;
            }
            Artefact::Ectopic => {
                let early_ms = on_tick_ms(open_ms * random.between(0.6, 0.8));
                planted_ms.push(early_ms);
                open_ms -= early_ms;
            }
            Artefact::Shifted => {
                let by_ms = random.between(50.0, 120.0);
                let by_ms = if random.chance(0.5) { by_ms } else { -by_ms };
                let moved_ms = on_tick_ms(open_ms + by_ms);
                planted_ms.push(moved_ms);
                open_ms -= moved_ms;
            }
        }
    }
    planted_ms
}

/// The intervals with a hole: the beats in `length_ms` of silence are lost, and the strap's next
/// interval comes with the time that was lost before it. The hole lies `before_end_ms` before the
/// newest beat.
pub fn with_gap(intervals_ms: &[f64], length_ms: f64, before_end_ms: f64) -> Vec<Interval> {
    let end_ms: f64 = intervals_ms.iter().sum();
    let hole_ms = end_ms - before_end_ms - length_ms..end_ms - before_end_ms;
    let mut planted = Vec::with_capacity(intervals_ms.len());
    let (mut at_ms, mut gap_ms) = (0.0, 0.0);
    for &rr_ms in intervals_ms {
        at_ms += rr_ms;
        if hole_ms.contains(&at_ms) {
            gap_ms += rr_ms;
        } else {
            planted.push(Interval { rr_ms, gap_ms });
            gap_ms = 0.0;
        }
    }
    planted
}

/// Intervals without a hole.
pub fn without_gap(intervals_ms: &[f64]) -> Vec<Interval> {
    intervals_ms
        .iter()
        .map(|&rr_ms| Interval { rr_ms, gap_ms: 0.0 })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole ticks, so that sums are exact.
    const STEADY_MS: [f64; 100] = [812.5; 100];

    #[test]
    fn mistakes_conserve_time_and_leave_the_newest_beat_where_it_is() {
        let kinds = [
            Kind::Only(Artefact::Missed),
            Kind::Only(Artefact::Extra),
            Kind::Only(Artefact::Ectopic),
            Kind::Only(Artefact::Shifted),
            Kind::Mixed,
        ];
        for kind in kinds {
            for window in 0..50 {
                let mut random = Random::of(1, 1, window);
                let planted_ms = with_artefacts(&STEADY_MS, kind, 0.2, &mut random);
                let sum_ms: f64 = planted_ms.iter().sum();
                assert_eq!(sum_ms, 81_250.0, "{kind:?}");
                assert!(planted_ms.iter().all(|&ms| ms > 0.0), "{kind:?}");
                assert_ne!(planted_ms, STEADY_MS, "{kind:?}");
            }
        }
    }

    #[test]
    fn each_kind_does_what_its_name_says() {
        let planted_ms = |artefact, probability| {
            let mut random = Random::of(1, 2, 3);
            with_artefacts(
                &[800.0, 800.0, 800.0],
                Kind::Only(artefact),
                probability,
                &mut random,
            )
        };
        assert_eq!(planted_ms(Artefact::Missed, 0.0), [800.0, 800.0, 800.0]);
        assert_eq!(planted_ms(Artefact::Missed, 1.0), [2400.0]);
        assert_eq!(planted_ms(Artefact::Extra, 1.0).len(), 5);
        let ectopic_ms = planted_ms(Artefact::Ectopic, 1.0);
        assert_eq!(ectopic_ms.len(), 3);
        assert!(
            ectopic_ms[0] <= 641.0 && ectopic_ms[2] > 800.0,
            "{ectopic_ms:?}"
        );
        let shifted_ms = planted_ms(Artefact::Shifted, 1.0);
        assert_eq!(shifted_ms.len(), 3);
        let by_ms = (shifted_ms[0] - 800.0).abs();
        assert!((49.0..121.0).contains(&by_ms), "{shifted_ms:?}");
    }

    #[test]
    fn a_gap_takes_the_beats_that_end_in_it_and_keeps_their_time() {
        let planted = with_gap(&[800.0; 10], 1700.0, 2000.0);
        // The hole lies from 4300 to 6000 ms: the beats at 4800 and 5600 ms are lost.
        let gaps_ms: Vec<f64> = planted.iter().map(|interval| interval.gap_ms).collect();
        assert_eq!(gaps_ms, [0.0, 0.0, 0.0, 0.0, 0.0, 1600.0, 0.0, 0.0]);
    }
}
