//! Lifting the strap, and holding it to the hub: a strap tells by what its radio says at that moment.
//!
//! Lifting works for every strap, and for hearts that beat like clocks. Closeness is only for straps whose
//! signal is measured with each message (ANT+); one that is connected tells none.

use super::{Fit, Match};

/// How often a strap that is lifted off the skin is seen to be, and how often one that is not loses contact,
/// or beats, in those seconds by chance: straps fall silent for some seconds once or twice an hour.
const SEEN: f64 = 0.95;
const CONTACT_BY_CHANCE: f64 = 0.002;
const SILENT_BY_CHANCE: f64 = 0.005;
/// The strap is not among those watched: how often.
const ELSEWHERE: f64 = 0.1;

/// Straps are held to the hub where they are heard so loud, dBm.
const CLOSE_DBM: f64 = -62.0;
/// The loudest is so much more likely the one than one that is fainter by so much, dB: a factor of e.
const SCALE_DB: f64 = 3.0;

/// What became of a strap since its wearer said that they lift it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    BeatsOn,
    FellSilent,
    LostContact,
}

/// What each strap's silence says. All were beating when the watching began.
pub fn lifted(straps: &[Watched]) -> Vec<Match> {
    let ratio = |watched: &Watched| match watched {
        Watched::BeatsOn => (1.0 - SEEN) / (1.0 - SILENT_BY_CHANCE),
        Watched::FellSilent => SEEN / SILENT_BY_CHANCE,
        Watched::LostContact => SEEN / CONTACT_BY_CHANCE,
    };
    let ratios: Vec<f64> = straps.iter().map(ratio).collect();
    let share = (1.0 - ELSEWHERE) / straps.len().max(1) as f64;
    let sum = ELSEWHERE + share * ratios.iter().sum::<f64>();
    let of = |(watched, ratio): (&Watched, &f64)| Match {
        fit: match watched {
            Watched::BeatsOn => Fit::DoesNotFit,
            Watched::FellSilent | Watched::LostContact => Fit::FitsWell,
        },
        certainty: share * ratio / sum,
    };
    straps.iter().zip(&ratios).map(of).collect()
}

/// What each strap's signal says, dBm; None where none was heard lately.
pub fn held(straps: &[Option<f64>]) -> Vec<Match> {
    let weight = |dbm: f64| ((dbm - CLOSE_DBM) / SCALE_DB).exp();
    let heard = straps.iter().flatten();
    // One that is just close enough stands for those that are not heard.
    let sum = 1.0 + heard.map(|dbm| weight(*dbm)).sum::<f64>();
    let of = |dbm: &Option<f64>| match dbm {
        Some(dbm) if *dbm >= CLOSE_DBM => Match {
            fit: Fit::FitsWell,
            certainty: weight(*dbm) / sum,
        },
        Some(_) | None => Match::NONE,
    };
    straps.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::super::proposed;
    use super::*;

    #[test]
    fn the_one_that_falls_silent_while_it_is_lifted_is_proposed() {
        for watched in [Watched::FellSilent, Watched::LostContact] {
            let mut room = [Watched::BeatsOn; 12];
            room[5] = watched;
            assert_eq!(proposed(&lifted(&room)), Some(5), "{watched:?}");
        }
        assert_eq!(proposed(&lifted(&[Watched::BeatsOn; 12])), None);
        assert_eq!(proposed(&lifted(&[])), None);
    }

    #[test]
    fn two_that_fall_silent_at_once_fit_equally_and_none_is_proposed() {
        let room = [Watched::FellSilent, Watched::BeatsOn, Watched::FellSilent];
        let matches = lifted(&room);
        assert_eq!(proposed(&matches), None);
        assert_eq!(matches[0], matches[2]);
        assert_eq!(matches[0].fit, Fit::FitsWell);
    }

    #[test]
    fn the_strap_at_the_hub_is_far_louder_than_all_others() {
        let room = [Some(-71.0), Some(-45.0), None, Some(-66.0)];
        assert_eq!(proposed(&held(&room)), Some(1));
        let two = [Some(-45.0), Some(-50.0)];
        assert_eq!(proposed(&held(&two)), None, "both are close");
        let far = [Some(-71.0), Some(-90.0)];
        assert_eq!(proposed(&held(&far)), None, "nobody holds one");
        assert!(held(&far).iter().all(|one| *one == Match::NONE));
    }
}
