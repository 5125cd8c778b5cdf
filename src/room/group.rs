//! The group's figures at a grid point, and what of them may be seen without seeing a person.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::heart::Scored;
use super::rows::{GroupRow, Stamp, SynchronyRow};
use super::view::{Distribution, GroupView, Synchrony};
use super::{HeartKey, ParticipantId, SettingsHash};
use crate::signal::{Level, Version};

/// Thresholds below which figures would show a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suppression {
    /// Hearts needed for average and peak.
    pub min_group: u32,
    /// Hearts needed for the distribution.
    pub min_distribution: u32,
}

/// The exact figures at one grid point.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// Sum of the present scores.
    pub sum: f64,
    pub scored: u32,
    /// Sum of the squared standard errors of the present scores, and how many have one.
    pub squared_errors: (f64, u32),
    pub low: u32,
    pub medium: u32,
    pub high: u32,
    /// See [`hearts`].
    pub hearts: u32,
    pub suppressed: bool,
    /// By what the hub made scores; none where it made none.
    pub version: Option<Version>,
    pub synchrony: Option<SynchronyRow>,
}

/// Hearts heard by straps, plus at most one phone-only person per network address, IPv4 or IPv6,
/// whichever are more; all those whose address is not known count as one, and as none beside others.
///
/// `peer` tells the network address of a person who has no strap; of IPv6, that of the /64 that one
/// machine has for itself.
pub fn hearts(
    keys: impl Iterator<Item = HeartKey>,
    peer: impl Fn(ParticipantId) -> Option<IpAddr>,
) -> u32 {
    let mut straps = 0;
    let mut phones = BTreeSet::new();
    for key in keys {
        match key {
            HeartKey::Strap(_) => straps += 1,
            HeartKey::Phone(id) => drop(phones.insert(peer(id))),
        }
    }
    // Whose address is not known (the hub was started anew, and they have not joined since) may
    // sit at any of the others'.
    // One machine may have an address of each kind.
    let known = phones.iter().flatten();
    let v4 = known.clone().filter(|peer| peer.is_ipv4()).count();
    let known = v4.max(known.count() - v4);
    straps + known.max(usize::from(!phones.is_empty())) as u32
}

impl Group {
    /// `peer` as for [`hearts`].
    pub fn of(
        scores: &[Scored],
        peer: impl Fn(ParticipantId) -> Option<IpAddr>,
        rule: Suppression,
    ) -> Self {
        let mut group = Group::default();
        for scored in scores {
            let evaluation = scored.evaluation.as_ref();
            group.version = group.version.or(scored.version);
            let Ok(score) = scored.verdict else { continue };
            group.sum += score;
            group.scored += 1;
            if let Some(error) = evaluation.and_then(|evaluation| evaluation.standard_error) {
                group.squared_errors.0 += error * error;
                group.squared_errors.1 += 1;
            }
            match Level::of(score) {
                Level::Low => group.low += 1,
                Level::Medium => group.medium += 1,
                Level::High => group.high += 1,
            }
        }
        let scored = scores.iter().filter(|scored| scored.verdict.is_ok());
        group.hearts = hearts(scored.map(|scored| scored.key), peer);
        group.suppressed = group.hearts < rule.min_group;
        group
    }

    /// The figures of a grid point as they were kept.
    pub fn remembered(row: &GroupRow) -> Self {
        Group {
            sum: row.average.unwrap_or(0.0) * f64::from(row.scored),
            scored: row.scored,
            low: row.low,
            medium: row.medium,
            high: row.high,
            hearts: row.hearts,
            suppressed: row.suppressed,
            synchrony: row.synchrony,
            ..Group::default()
        }
    }

    /// Mean of the present scores.
    pub fn average(&self) -> Option<f64> {
        (self.scored > 0).then(|| self.sum / f64::from(self.scored))
    }

    /// How far the average may be from the mean of what these hearts truly do: their scores err by
    /// themselves, each heart for its own. It says nothing of how the hearts differ. None where one of the
    /// scores has no standard error, as those that phones compute: the bar would be too short.
    pub fn standard_error(&self) -> Option<f64> {
        let (sum, errors) = self.squared_errors;
        (self.scored > 0 && errors == self.scored).then(|| sum.sqrt() / f64::from(self.scored))
    }

    /// Group average minus the group average without this score.
    pub fn contribution(&self, score: f64) -> Option<f64> {
        let average = self.average()?;
        (!self.suppressed && self.scored > 1)
            .then(|| average - (self.sum - score) / f64::from(self.scored - 1))
    }

    pub fn row(&self, session_id: &str, at: Stamp, participants: u32) -> GroupRow {
        GroupRow {
            session_id: session_id.to_owned(),
            at,
            average: self.average(),
            standard_error: self.standard_error(),
            low: self.low,
            medium: self.medium,
            high: self.high,
            participants,
            scored: self.scored,
            hearts: self.hearts,
            suppressed: self.suppressed,
            algorithm: self.version.map(Version::number),
            settings: self.version.map(SettingsHash::of),
            synchrony: self.synchrony,
        }
    }
}

/// What everybody may see of a group row; `peak` is the highest shown average so far, exact.
pub fn view(row: &GroupRow, peak: Option<f64>, rule: Suppression) -> GroupView {
    let shown = !row.suppressed;
    GroupView {
        session_id: row.session_id.clone(),
        at: row.at.wall_ms,
        average: row
            .average
            .filter(|_| shown)
            .map(|average| average.round() as i64),
        // Upwards: a bar may be too long, never too short.
        standard_error: row
            .standard_error
            .filter(|_| shown)
            .map(|error| error.ceil() as i64),
        peak: peak.filter(|_| shown).map(|peak| peak.round() as i64),
        distribution: (shown && row.hearts >= rule.min_distribution).then_some(Distribution {
            low: row.low,
            medium: row.medium,
            high: row.high,
        }),
        participants: row.participants,
        scored: row.scored,
        // A heart may be in the average and not in this: what a phone computed has no beats.
        synchrony: row
            .synchrony
            .filter(|synchrony| shown && synchrony.hearts >= rule.min_group)
            .map(|synchrony| Synchrony {
                index: (synchrony.index * 10.0).round() / 10.0,
                // Upwards: what is shown to be more than chance is more.
                chance_high: (synchrony.chance_high * 10.0).ceil() / 10.0,
            }),
        suppressed: (!shown).then_some("too_few"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::StrapNo;
    use crate::room::heart::Reason;
    use crate::signal::{Evaluation, Status};
    use uuid::Uuid;

    const RULE: Suppression = Suppression {
        min_group: 3,
        min_distribution: 5,
    };

    fn strap(no: u32, verdict: Result<f64, Reason>) -> Scored {
        Scored {
            key: HeartKey::Strap(StrapNo(no)),
            last_rr: None,
            age_ms: None,
            verdict,
            evaluation: None,
            version: None,
        }
    }

    fn phone(n: u128, score: f64) -> Scored {
        let key = HeartKey::Phone(ParticipantId(Uuid::from_u128(n)));
        Scored {
            key,
            last_rr: None,
            age_ms: None,
            verdict: Ok(score),
            evaluation: None,
            version: None,
        }
    }

    fn shown(group: &Group) -> GroupView {
        let at = Stamp {
            mono_ms: 0,
            wall_ms: 0,
            synced: true,
        };
        view(&group.row("s", at, 9), group.average(), RULE)
    }

    #[test]
    fn hearts_without_a_score_are_in_no_figure() {
        let scores = [
            strap(1, Ok(30.0)),
            strap(2, Err(Reason::Silent)),
            strap(3, Ok(50.0)),
            strap(4, Ok(71.0)),
        ];
        let group = Group::of(&scores, |_| None, RULE);
        assert_eq!(
            (group.scored, group.low, group.medium, group.high),
            (3, 1, 1, 1)
        );
        let view = shown(&group);
        assert_eq!(
            (view.average, view.suppressed, view.distribution),
            (Some(50), None, None)
        );
    }

    #[test]
    fn two_hearts_show_no_figure_because_the_mean_would_tell_the_other() {
        let group = Group::of(&[strap(1, Ok(30.0)), strap(2, Ok(50.0))], |_| None, RULE);
        let view = shown(&group);
        assert_eq!(
            (view.average, view.peak, view.distribution, view.scored),
            (None, None, None, 2)
        );
        assert_eq!(view.suppressed, Some("too_few"));
        assert_eq!(group.contribution(30.0), None);
        assert_eq!(
            group
                .row(
                    "s",
                    Stamp {
                        mono_ms: 0,
                        wall_ms: 0,
                        synced: true
                    },
                    2
                )
                .average,
            Some(40.0)
        );
    }

    #[test]
    fn the_average_errs_less_than_each_score_and_tells_no_error_where_one_is_not_known() {
        let errors = |errors: &[Option<f64>]| {
            let heart = |(no, error): (u32, &Option<f64>)| Scored {
                evaluation: Some(Evaluation {
                    status: Status::Good,
                    score: Some(50.0),
                    level: Some(Level::Medium),
                    standard_error: *error,
                    early: None,
                    peak_hz: None,
                    artefact_pct: None,
                    beats: 70,
                    coverage: 1.0,
                    warmup_left_ms: 0.0,
                    hrv: None,
                }),
                ..strap(no, Ok(50.0))
            };
            let scores: Vec<_> = (1..).zip(errors).map(heart).collect();
            Group::of(&scores, |_| None, RULE)
        };
        let group = errors(&[Some(8.0), Some(8.0), Some(8.0), Some(8.0)]);
        assert_eq!(group.standard_error(), Some(4.0));
        assert_eq!(shown(&group).standard_error, Some(4));
        let group = errors(&[Some(6.0), Some(7.0), Some(8.0)]);
        assert_eq!(
            shown(&group).standard_error,
            Some(5),
            "149 / 9 is 4.07 squared"
        );
        let group = errors(&[Some(8.0), None, Some(8.0), Some(8.0)]);
        assert_eq!(
            (group.standard_error(), shown(&group).standard_error),
            (None, None)
        );
        assert_eq!(shown(&errors(&[Some(8.0), Some(8.0)])).standard_error, None);
    }

    #[test]
    fn synchrony_is_shown_of_as_many_hearts_as_the_average_and_chance_is_rounded_up() {
        let scores: Vec<_> = (1..5).map(|no| strap(no, Ok(50.0))).collect();
        let of = |hearts| Group {
            synchrony: Some(SynchronyRow {
                index: 34.06,
                chance_high: 17.01,
                hearts,
            }),
            ..Group::of(&scores, |_| None, RULE)
        };
        let seen = Synchrony {
            index: 34.1,
            chance_high: 17.1,
        };
        assert_eq!(shown(&of(3)).synchrony, Some(seen));
        assert_eq!(shown(&of(2)).synchrony, None);
        let few = Group {
            suppressed: true,
            ..of(3)
        };
        assert_eq!(shown(&few).synchrony, None);
    }

    #[test]
    fn phones_behind_one_address_count_once() {
        let scores = [
            phone(1, 40.0),
            phone(2, 50.0),
            phone(3, 60.0),
            strap(1, Ok(70.0)),
        ];
        let one: IpAddr = [10, 0, 0, 1].into();
        assert!(Group::of(&scores, |_| Some(one), RULE).suppressed);
        let own = |id: ParticipantId| Some(IpAddr::from([10, 0, 0, id.0.as_u128() as u8]));
        let group = Group::of(&scores, own, RULE);
        assert_eq!(
            (group.suppressed, group.hearts, group.average()),
            (false, 4, Some(55.0))
        );
    }

    #[test]
    fn phones_with_addresses_of_both_kinds_may_be_half_as_many() {
        let scores = [phone(1, 40.0), phone(2, 50.0), phone(3, 60.0)];
        let both = |id: ParticipantId| match id.0.as_u128() {
            1 => Some(IpAddr::from([10, 0, 0, 1])),
            n => Some(format!("fd00:0:0:{n}::").parse().unwrap()),
        };
        assert_eq!(Group::of(&scores, both, RULE).hearts, 2);
    }

    #[test]
    fn phones_whose_address_is_not_known_may_be_one_and_the_same() {
        let scores = [
            strap(1, Ok(70.0)),
            phone(1, 40.0),
            phone(2, 50.0),
            phone(3, 60.0),
        ];
        let count =
            |peer: &dyn Fn(ParticipantId) -> Option<IpAddr>| Group::of(&scores, peer, RULE).hearts;
        let n = |id: ParticipantId| id.0.as_u128() as u8;
        assert_eq!(count(&|_| None), 2);
        // The one who is known may be all three.
        assert_eq!(count(&|id| (n(id) == 1).then(|| [10, 0, 0, 1].into())), 2);
        let two = |id| (n(id) < 3).then(|| IpAddr::from([10, 0, 0, n(id)]));
        assert_eq!(count(&two), 3);
    }

    #[test]
    fn contribution_is_the_difference_one_heart_makes() {
        let scores: Vec<_> = [30.0, 40.0, 80.0]
            .iter()
            .zip(1..)
            .map(|(&score, no)| strap(no, Ok(score)))
            .collect();
        let group = Group::of(&scores, |_| None, RULE);
        assert_eq!(group.contribution(80.0), Some(15.0));
        let sum: f64 = [30.0, 40.0, 80.0]
            .iter()
            .filter_map(|&s| group.contribution(s))
            .sum();
        assert!(sum.abs() < 1e-9, "contributions balance");
    }
}
