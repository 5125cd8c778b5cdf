//! The room as a conversation: at this time this happens, then that is seen. Here: hearts, straps and
//! what is seen of them; people and stages have files of their own.

use std::net::IpAddr;

use coherence_hal::decode::ble::Measurement;
use coherence_hal::{Rr, StrapId};

use super::command::{Command, ConsentGiven, Join, RefusalCode, Reply};
use super::rows::RrMark;
use super::view::StrapState;
use super::*;
use crate::signal::{Scorer, Version};

mod claims;
mod failures;
mod people;
mod radios;
mod registry;
mod rig;
mod stages;

use rig::*;

#[test]
fn scores_begin_when_the_window_is_full_and_the_public_sees_whole_numbers() {
    let mut rig = Rig::new(6);
    rig.until(60_000);
    let early = rig.room.group_view(rig.now_ms);
    assert_eq!(
        (early.average, early.scored, early.suppressed),
        (None, 0, Some("too_few"))
    );
    assert!(
        rig.room
            .strap_views(rig.now_ms)
            .iter()
            .all(|strap| strap.reason == Some("warming_up"))
    );
    rig.until(100_000);
    let group = rig.room.group_view(rig.now_ms);
    assert_eq!(group.scored, 6);
    assert_eq!(group.at, BEGIN + 100_000);
    let exact = rig
        .room
        .exact_group()
        .and_then(Group::average)
        .expect("six hearts have scores");
    assert!(exact > 80.0, "one steady rhythm: {exact}");
    assert_eq!(group.average, Some(exact.round() as i64));
    assert_eq!(group.distribution.map(|levels| levels.high), Some(6));
    assert!(group.peak >= group.average);
}

/// A room of straps that beat as one.
fn as_one(straps: usize) -> Rig {
    let mut rig = Rig::new(straps);
    for strap in &mut rig.straps {
        strap.phase_rad = 0.0;
    }
    rig
}

#[test]
fn hearts_that_beat_as_one_move_together_and_those_with_a_time_of_their_own_do_not() {
    let mut rig = as_one(6);
    rig.until(60_000);
    assert_eq!(rig.room.group_view(rig.now_ms).synchrony, None);
    rig.until(100_000);
    let one = rig.room.group_view(rig.now_ms).synchrony.expect("shown");
    assert!(one.index > 90.0 && one.index > one.chance_high, "{one:?}");
    let mut rig = Rig::new(6);
    rig.until(100_000);
    let own = rig.room.group_view(rig.now_ms).synchrony.expect("shown");
    assert!(own.index < own.chance_high, "{own:?}");
}

#[test]
fn the_synchrony_of_two_is_theirs_and_not_shown() {
    let mut rig = as_one(4);
    rig.until(90_000);
    rig.straps[0].silent = true;
    rig.straps[1].silent = true;
    rig.until(100_000);
    assert_eq!(rig.room.group_view(rig.now_ms).synchrony, None);
    let kept = rig.rows.iter().rev().find_map(|row| match row {
        Row::Group(row) => row.synchrony,
        _ => None,
    });
    assert_eq!(kept.map(|synchrony| synchrony.hearts), Some(2));
}

#[test]
fn pairs_of_people_are_kept_once_a_minute_and_an_unclaimed_strap_is_in_none() {
    let mut rig = as_one(4);
    rig.until(70_000);
    for n in 1..=3 {
        rig.join(n, Some(&n.to_string())).expect("joins");
    }
    rig.until(179_000);
    let pairs: Vec<_> = rig
        .rows
        .iter()
        .filter_map(|row| match row {
            Row::Pair(row) => Some((row.at.mono_ms, row.a, row.b)),
            _ => None,
        })
        .collect();
    let expected = [(1, 2), (1, 3), (2, 3)].map(|(a, b)| (120_000, person(a), person(b)));
    assert_eq!(pairs, expected);
}

#[test]
fn who_is_erased_while_hearts_are_compared_is_compared_with_nobody() {
    let mut rig = as_one(4);
    rig.until(99_000);
    rig.join(1, Some("1")).expect("joins");
    let job = rig.room.grid_job(100_000);
    rig.apply(Command::Erase {
        participant: person(1),
    })
    .expect("is known");
    rig.room
        .finish_grid(job.compute(&mut Scorer::new(Version::CURRENT)));
    let group = rig.room.exact_group().expect("three are left");
    assert_eq!((group.scored, group.synchrony), (3, None));
}

#[test]
fn after_a_restart_the_hearts_are_where_they_were_on_the_clock() {
    let mut rig = Rig::new(4);
    rig.until(100_000);
    let past = rig.remembered();
    let before = rig
        .room
        .grid_job(100_000)
        .compute(&mut Scorer::new(Version::CURRENT));
    rig.room.finish_grid(before);
    let mut other = Rig::at(4, 100_000, past).room;
    let after = other
        .grid_job(100_000)
        .compute(&mut Scorer::new(Version::CURRENT));
    other.finish_grid(after);
    let synchrony = |room: &Room| room.exact_group().and_then(|group| group.synchrony);
    assert!(synchrony(&rig.room).is_some());
    assert_eq!(synchrony(&other), synchrony(&rig.room));
}

#[test]
fn an_unclaimed_strap_takes_part_in_the_group_figure_only() {
    let mut rig = Rig::new(3);
    rig.until(100_000);
    let session = rig.room.session_view(rig.now_ms);
    assert_eq!((session.participants, session.scored), (0, 3));
    assert!(rig.room.feedbacks(rig.now_ms).is_empty());
    assert!(rig.room.group_view(rig.now_ms).average.is_some());
}

#[test]
fn a_person_with_a_strap_gets_score_level_and_contribution() {
    let mut rig = Rig::new(4);
    rig.until(90_000);
    let Ok(Reply::Joined { strap, session, .. }) = rig.join(1, Some("2")) else {
        panic!("joins")
    };
    assert_eq!(strap.as_deref(), Some("strap 2"));
    assert_eq!(session.participants, 1);
    rig.until(100_000);
    let feedback = rig.feedback(1);
    assert_eq!(feedback.at, BEGIN + 100_000);
    assert_eq!(feedback.level, Some("high"));
    assert!(feedback.score.is_some() && feedback.reason.is_none());
    assert!(feedback.contribution.is_some());
    assert!(feedback.quality.coverage > 0.99 && feedback.quality.artefact_pct == Some(0.0));
}

#[test]
fn a_score_carries_its_proof_to_the_person_and_to_the_disk() {
    let mut rig = Rig::new(4);
    rig.until(90_000);
    rig.join(1, Some("2")).expect("joins");
    rig.until(100_000);
    let feedback = rig.feedback(1);
    let proof = feedback.proof.expect("a score has one");
    assert_eq!(proof.last_rr_at, proof.window_end_at);
    assert_eq!(proof.window_end_at - proof.window_start_at, 64_000);
    let age_ms = feedback.at - proof.window_end_at;
    assert!((0..2_000).contains(&age_ms), "{age_ms}");
    assert!((60..80).contains(&proof.beats));
    assert_eq!(proof.algorithm, Version::CURRENT.number());
    assert_eq!(proof.settings, SettingsHash::of(Version::CURRENT));
    // The swing of the rig's hearts is 0.1 Hz.
    let breaths = feedback.breaths_per_min.expect("one rhythm leads");
    assert!((breaths - 6.0).abs() < 0.3, "{breaths}");
    assert!(feedback.hrv.and_then(|hrv| hrv.rmssd_ms).is_some());

    let kept = rig.rows.iter().rev().find_map(|row| match row {
        Row::Score(row) if row.participant == Some(person(1)) => Some(row.clone()),
        _ => None,
    });
    let kept = kept.expect("it is kept");
    let last = rig.rows.iter().find_map(|row| match row {
        Row::Rr(row) if Some(row.id) == kept.last_rr => Some(row.clone()),
        _ => None,
    });
    let last = last.expect("its last interval is kept");
    let window = kept.window.expect("it looked at a window");
    assert_eq!(window.end_mono_ms, last.beat_mono_ms);
    assert_eq!(
        BEGIN + window.end_mono_ms.round() as i64,
        proof.window_end_at
    );
    assert_eq!(kept.settings, Some(proof.settings));
    let group = rig.rows.iter().rev().find_map(|row| match row {
        Row::Group(row) => Some(row.clone()),
        _ => None,
    });
    assert_eq!(group.expect("a group").settings, Some(proof.settings));
}

#[test]
fn what_the_hub_heard_of_before_a_long_night_is_in_no_window_of_today() {
    let mut before = Rig::new(1);
    before.until(30_000);
    let first = |rig: &Rig| {
        rig.rows.iter().find_map(|row| match row {
            Row::Rr(row) => Some(row.clone()),
            _ => None,
        })
    };
    assert!(first(&before).expect("it beat").begins);
    // The hub is started again after minutes: the store hands over no beats of before.
    let mut past = before.remembered();
    past.recent_rr.clear();
    let mut after = Rig::at(1, 230_000, past);
    after.until(240_000);
    assert!(first(&after).expect("it beats").begins);
    // After seconds it goes on.
    let mut after = Rig::at(1, 32_000, before.remembered());
    after.until(40_000);
    assert!(!first(&after).expect("it beats").begins);
}

#[test]
fn every_absent_score_has_its_reason() {
    let mut rig = Rig::new(4);
    rig.until(20_000);
    for n in 1..=3 {
        rig.join(n, Some(&n.to_string())).expect("joins");
    }
    rig.join(9, None).expect("joins without a strap");
    rig.until(30_000);
    let warming = rig.feedback(1);
    assert_eq!(warming.reason, Some("warming_up"));
    let left = warming.left_ms.expect("says how long");
    assert!(
        (33_000..=36_000).contains(&left),
        "64 s less the 30 s that passed: {left}"
    );
    assert_eq!(rig.feedback(9).reason, Some("no_strap"));

    rig.until(90_000);
    rig.straps[1].silent = true;
    rig.straps[2].contact = Some(false);
    rig.until(97_000);
    rig.until(100_000);
    assert_eq!(rig.feedback(2).reason, Some("silent"));
    assert_eq!(rig.feedback(2).score, None, "never a stale number");
    assert_eq!(rig.feedback(3).reason, Some("off_body"));
    let states: Vec<_> = rig
        .room
        .strap_views(rig.now_ms)
        .iter()
        .map(|strap| strap.state)
        .collect();
    assert_eq!(
        states[..3],
        [
            StrapState::Streaming,
            StrapState::Silent,
            StrapState::OffBody
        ]
    );
    // Two of four hearts are left: no figure for the group, and no contribution.
    assert_eq!(rig.room.group_view(rig.now_ms).suppressed, Some("too_few"));
    assert_eq!(rig.feedback(1).contribution, None);
}

#[test]
fn a_raised_threshold_hides_at_once_and_a_lowered_one_shows_at_the_next_grid_point() {
    let mut rig = Rig::new(4);
    rig.until(5_000);
    rig.join(1, Some("1")).expect("joins");
    rig.until(100_000);
    assert!(rig.room.group_view(rig.now_ms).average.is_some());
    assert!(rig.feedback(1).contribution.is_some());
    let with = |min_group| Settings {
        suppression: Suppression {
            min_group,
            min_distribution: 9,
        },
        max_participants: 1,
        ..settings()
    };
    rig.room.take_changes();
    rig.room.set_settings(with(5), rig.now_ms);
    let view = rig.room.group_view(rig.now_ms);
    assert_eq!((view.average, view.suppressed), (None, Some("too_few")));
    assert_eq!(rig.feedback(1).contribution, None);
    assert!(rig.room.take_changes().group, "everybody is told");
    rig.room.set_settings(with(4), rig.now_ms);
    assert!(rig.room.group_view(rig.now_ms).suppressed.is_some());
    rig.until(105_000);
    assert!(rig.room.group_view(rig.now_ms).average.is_some());
    assert_eq!(refused(rig.join(2, None)), RefusalCode::RoomFull);
}

#[test]
fn a_strap_that_was_off_the_body_and_says_nothing_any_more_is_silent() {
    let mut rig = Rig::new(1);
    rig.until(20_000);
    rig.join(1, Some("1")).expect("joins");
    rig.straps[0].contact = Some(false);
    rig.until(40_000);
    assert_eq!(rig.feedback(1).reason, Some("off_body"));
    rig.straps[0].silent = true;
    rig.until(60_000);
    assert_eq!(rig.feedback(1).reason, Some("silent"));
    let straps = rig.room.strap_views(rig.now_ms);
    assert_eq!(straps[0].state, StrapState::Silent);
    assert_eq!(straps[0].reason, Some("silent"));
}

#[test]
fn a_strap_that_was_put_away_fills_no_disk() {
    let mut rig = Rig::new(2);
    rig.until(20_000);
    rig.join(1, Some("1")).expect("joins");
    rig.room.attach(person(1), 11);
    rig.straps[0].silent = true;
    rig.straps[1].silent = true;
    rig.until(200_000);
    rig.rows.clear();
    rig.until(300_000);
    let hearts: Vec<_> = rig
        .rows
        .iter()
        .filter_map(|row| {
            if let Row::Score(row) = row {
                Some((row.heart, row.reason))
            } else {
                None
            }
        })
        .collect();
    let own = (HeartKey::Strap(StrapNo(1)), Some("silent"));
    assert_eq!(
        hearts, [own; 20],
        "one a grid point, of the one that is worn"
    );
}

#[test]
fn a_flat_heart_has_no_score_in_the_room() {
    let mut rig = Rig::new(1);
    rig.straps[0].swing_ms = 0.0;
    rig.until(10_000);
    rig.join(1, Some("1")).expect("joins");
    rig.until(100_000);
    let feedback = rig.feedback(1);
    assert_eq!((feedback.score, feedback.reason), (None, Some("flat")));
}

#[test]
fn beats_without_contact_are_kept_and_never_scored() {
    let mut rig = Rig::new(1);
    rig.until(90_000);
    rig.straps[0].contact = Some(false);
    rig.until(120_000);
    rig.straps[0].contact = Some(true);
    rig.until(130_000);
    let rr: Vec<_> = rig
        .rows
        .iter()
        .filter_map(|row| {
            if let Row::Rr(row) = row {
                Some(row)
            } else {
                None
            }
        })
        .collect();
    assert!(rr.iter().any(|row| row.mark == RrMark::OffBody));
    assert!(
        rr.windows(2).all(|pair| pair[0].id + 1 == pair[1].id),
        "kept in order, none twice"
    );
    let views = rig.room.strap_views(rig.now_ms);
    assert_eq!(
        (views[0].state, views[0].reason),
        (StrapState::Streaming, Some("warming_up"))
    );
    assert!(views[0].beats_rejected > Some(20));
}
