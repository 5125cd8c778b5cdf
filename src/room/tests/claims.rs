//! "This is my heart": who taps along finds their strap, who shows it gets it from whoever wore it, and
//! what was kept stays whose it was.

use super::super::command::HeartSign;
use super::super::my_heart::Fit;
use super::super::rows::RrRow;
use super::super::view::HeartFoundView;
use super::*;

/// A room of hearts of different rates that swing in their own time.
fn various(straps: usize) -> Rig {
    let mut rig = Rig::new(straps);
    for (k, strap) in rig.straps.iter_mut().enumerate() {
        strap.swing_ms = 45.0;
        strap.mean_ms = 780.0 + 40.0 * k as f64;
    }
    rig
}

/// Touches for the last 12 beats of a strap, 200 ms late and a little unsteady.
fn taps(rig: &Rig, strap: u32) -> HeartSign {
    let heart = rig.room.heart(HeartKey::Strap(StrapNo(strap)));
    let beats = heart.expect("it beats").beats_placed();
    let offset_ms = rig.room.offset_ms() as f64;
    let touch = |(k, beat): (usize, &super::super::my_heart::taps::Beat)| {
        beat.at_ms + offset_ms + 200.0 + ((k * 7_919) % 61) as f64
    };
    let last = &beats[beats.len() - 12..];
    HeartSign::Tapped {
        at_ms: last.iter().enumerate().map(touch).collect(),
    }
}

fn find(rig: &mut Rig, n: u128, sign: HeartSign) -> Result<HeartFoundView, command::Refusal> {
    let participant = person(n);
    match rig.apply(Command::FindHeart { participant, sign })?.reply {
        Reply::HeartFound(view) => Ok(view),
        other => panic!("{other:?}"),
    }
}

fn claim(rig: &mut Rig, n: u128, strap: &str) -> Result<Outcome, command::Refusal> {
    rig.apply(Command::ClaimStrap {
        participant: person(n),
        strap: strap.to_owned(),
    })
}

fn code<T: std::fmt::Debug>(outcome: Result<T, command::Refusal>) -> RefusalCode {
    outcome.expect_err("is refused").code
}

#[test]
fn who_taps_along_is_proposed_their_strap_and_confirms_it() {
    let mut rig = various(4);
    rig.until(60_000);
    rig.join(1, None).expect("joins");
    let sign = taps(&rig, 3);
    let found = find(&mut rig, 1, sign).expect("is compared");
    assert_eq!(found.proposal.as_deref(), Some("strap 3"));
    assert_eq!(found.candidates[0].fit, Fit::FitsWell);
    assert_eq!(
        rig.feedback(1).strap,
        None,
        "the hub proposes, the person confirms"
    );
    claim(&mut rig, 1, "strap 3").expect("it is free");
    assert_eq!(rig.feedback(1).strap.as_deref(), Some("strap 3"));
}

#[test]
fn a_strap_that_others_wear_is_named_only_to_who_shows_that_it_is_theirs() {
    let mut rig = various(4);
    rig.until(60_000);
    rig.join(1, Some("2")).expect("joins");
    rig.join(2, None).expect("joins");
    // Even touches near the rate of another's heart, to learn it.
    let end = (rig.now_ms + rig.room.offset_ms()) as f64;
    let at_ms = (0..12).map(|k| end - 10_000.0 + 820.0 * f64::from(k));
    let sign = HeartSign::Tapped {
        at_ms: at_ms.collect(),
    };
    let found = find(&mut rig, 2, sign).expect("is compared");
    let told = found.candidates.iter().any(|one| one.label == "strap 2");
    assert!(
        !told || found.proposal.as_deref() == Some("strap 2"),
        "{found:?}"
    );
    let sign = taps(&rig, 2);
    let found = find(&mut rig, 2, sign).expect("is compared");
    assert_eq!(found.proposal.as_deref(), Some("strap 2"));
}

#[test]
fn a_strap_that_somebody_wears_passes_on_only_with_proof_and_the_other_is_told() {
    let mut rig = various(4);
    rig.until(60_000);
    rig.join(1, Some("2")).expect("joins");
    rig.join(2, Some("4")).expect("joins");
    assert_eq!(code(claim(&mut rig, 2, "2")), RefusalCode::StrapTaken);
    let sign = taps(&rig, 3);
    find(&mut rig, 2, sign).expect("is compared");
    assert_eq!(
        code(claim(&mut rig, 2, "2")),
        RefusalCode::StrapTaken,
        "the proof is of another strap"
    );
    let sign = taps(&rig, 2);
    find(&mut rig, 2, sign).expect("is compared");
    let outcome = claim(&mut rig, 2, "2").expect("it was shown");
    assert_eq!(outcome.bereft, Some((person(1), "strap 2".to_owned())));
    assert_eq!(rig.feedback(2).strap.as_deref(), Some("strap 2"));
    assert_eq!(rig.feedback(1).strap, None);
    // Who lost it can't take it back by saying so, nor does it come back by joining again.
    assert_eq!(code(claim(&mut rig, 1, "2")), RefusalCode::StrapTaken);
    rig.apply(Command::ReleaseStrap {
        participant: person(2),
    })
    .expect("takes it off");
    let outcome = rig.apply(Command::Join(join(1, None, true)));
    let reply = outcome.expect("comes back").reply;
    assert!(matches!(reply, Reply::Joined { strap: None, .. }));
}

#[test]
fn a_proof_is_good_for_a_minute() {
    let mut rig = various(3);
    rig.until(60_000);
    rig.join(1, Some("2")).expect("joins");
    rig.join(2, None).expect("joins");
    let sign = taps(&rig, 2);
    find(&mut rig, 2, sign).expect("is compared");
    rig.until(121_000);
    assert_eq!(code(claim(&mut rig, 2, "2")), RefusalCode::StrapTaken);
}

#[test]
fn a_swap_in_mid_session_never_rewrites_history() {
    let mut rig = various(3);
    rig.until(100_000);
    rig.join(1, Some("1")).expect("joins");
    rig.join(2, Some("2")).expect("joins");
    rig.until(200_000);
    let before = rig.rows.clone();
    let sign = taps(&rig, 1);
    find(&mut rig, 2, sign).expect("is compared");
    claim(&mut rig, 2, "1").expect("it was shown");
    claim(&mut rig, 1, "2").expect("it is free now");
    rig.until(300_000);
    assert_eq!(rig.rows[..before.len()], before[..], "kept is kept");
    let claims: Vec<_> = rig
        .rows
        .iter()
        .filter_map(|row| match row {
            Row::Claim(row) => Some((
                row.participant,
                row.strap.0,
                row.from.mono_ms,
                row.until.map(|at| at.mono_ms),
            )),
            _ => None,
        })
        .collect();
    let expected = [
        (person(1), 1, 100_000, None),
        (person(2), 2, 100_000, None),
        (person(1), 1, 100_000, Some(200_000)),
        (person(2), 2, 100_000, Some(200_000)),
        (person(2), 1, 200_000, None),
        (person(1), 2, 200_000, None),
    ];
    assert_eq!(claims, expected);
    // Each strap's first beat after the swap begins a new heart, and no other does.
    for no in [1, 2] {
        let begins: Vec<&RrRow> = rig
            .rows
            .iter()
            .filter_map(|row| match row {
                Row::Rr(row) if row.heart == HeartKey::Strap(StrapNo(no)) => Some(row),
                _ => None,
            })
            .filter(|row| row.begins)
            .collect();
        assert_eq!(begins.len(), 2, "the first of all, and the first after");
        assert!((200_000..=202_000).contains(&begins[1].arrived.mono_ms));
    }
    for row in &rig.rows {
        if let Row::Score(row) = row
            && let HeartKey::Strap(StrapNo(no @ 1..=2)) = row.heart
            && let Some(participant) = row.participant
        {
            let swapped = row.at.mono_ms > 200_000;
            let owner = if swapped { 3 - no } else { no };
            assert_eq!(participant, person(u128::from(owner)), "{row:?}");
        }
    }
}

#[test]
fn wrong_touches_are_refused_with_what_to_do() {
    let mut rig = various(2);
    rig.until(60_000);
    rig.join(1, None).expect("joins");
    let now = (rig.now_ms + rig.room.offset_ms()) as f64;
    let evenly = |from: f64, step: f64| (0..12).map(|k| from + step * f64::from(k)).collect();
    for at_ms in [
        evenly(now - 5_000.0, -100.0),
        evenly(now - 5_000.0, 0.0),
        evenly(now, 800.0),
        evenly(now - 100_000.0, 800.0),
        evenly(0.0, 800.0),
    ] {
        let sign = HeartSign::Tapped { at_ms };
        assert_eq!(code(find(&mut rig, 1, sign)), RefusalCode::BadValue);
    }
}

#[test]
fn the_hub_compares_no_more_often_than_a_person_taps() {
    let mut rig = various(2);
    rig.until(60_000);
    rig.join(1, None).expect("joins");
    for _ in 0..12 {
        let sign = taps(&rig, 1);
        find(&mut rig, 1, sign).expect("a dozen at once");
    }
    let sign = taps(&rig, 1);
    assert_eq!(code(find(&mut rig, 1, sign)), RefusalCode::RateLimited);
    rig.until(63_000);
    let sign = taps(&rig, 1);
    find(&mut rig, 1, sign).expect("one in three seconds");
}

#[test]
fn a_strap_taken_off_is_free_and_its_wearer_has_none() {
    let mut rig = various(2);
    rig.until(10_000);
    rig.join(1, Some("1")).expect("joins");
    rig.apply(Command::ReleaseStrap {
        participant: person(1),
    })
    .expect("takes it off");
    assert_eq!(rig.feedback(1).reason, Some("no_strap"));
    rig.join(2, Some("1")).expect("it is free");
}

#[test]
fn a_strap_taken_off_is_not_put_on_again_by_a_restart() {
    let mut rig = Rig::new(1);
    rig.until(10_000);
    rig.join(1, Some("1")).expect("joins");
    rig.apply(Command::ReleaseStrap {
        participant: person(1),
    })
    .expect("it is theirs");
    rig.until(15_000);
    let mut again = Rig::at(1, 20_000, rig.remembered());
    again
        .apply(Command::Join(join(1, None, true)))
        .expect("they are known");
    assert_eq!(again.feedback(1).strap, None);
}

#[test]
fn who_lifts_their_strap_is_proposed_the_one_that_falls_silent() {
    let mut rig = various(4);
    rig.until(60_000);
    rig.join(1, None).expect("joins");
    let found = find(&mut rig, 1, HeartSign::Lifted).expect("is watched");
    assert_eq!((found.proposal, found.left_ms), (None, Some(8_000)));
    rig.straps[2].silent = true;
    rig.until(67_000);
    rig.straps[2].silent = false;
    rig.until(68_000);
    let found = find(&mut rig, 1, HeartSign::Lifted).expect("it is over");
    assert_eq!(found.left_ms, None);
    assert_eq!(found.proposal.as_deref(), Some("strap 3"));
    // Contact is told at once by straps that can tell it.
    rig.until(80_000);
    find(&mut rig, 1, HeartSign::Lifted).expect("is watched");
    rig.straps[1].contact = Some(false);
    rig.until(82_000);
    let found = find(&mut rig, 1, HeartSign::Lifted).expect("is watched");
    assert_eq!(found.proposal.as_deref(), Some("strap 2"));
}

#[test]
fn a_strap_held_to_the_hub_is_proposed_where_its_signal_is_heard() {
    let mut rig = various(3);
    rig.until(60_000);
    rig.join(1, None).expect("joins");
    let found = find(&mut rig, 1, HeartSign::Held).expect("is compared");
    assert_eq!((found.proposal, found.candidates), (None, Vec::new()));
    for (k, dbm) in [(0, -74), (1, -48), (2, -69)] {
        let event = coherence_hal::StrapEvent {
            strap: rig.straps[k].id.clone(),
            at_ms: rig.now_ms,
            news: coherence_hal::StrapNews::Seen {
                name: None,
                rssi_dbm: Some(dbm),
            },
        };
        let event = coherence_hal::SourceEvent::Strap(event);
        rig.room.source_event("test", event);
    }
    let found = find(&mut rig, 1, HeartSign::Held).expect("is compared");
    assert_eq!(found.proposal.as_deref(), Some("strap 2"));
    rig.until(75_000);
    let found = find(&mut rig, 1, HeartSign::Held).expect("is compared");
    assert_eq!(found.proposal, None, "that was long ago");
}

#[test]
fn who_was_away_gets_their_strap_back_and_who_left_has_handed_it_back() {
    let mut rig = Rig::new(1);
    rig.until(10_000);
    rig.join(1, Some("strap 1")).expect("joins");
    rig.until(10_000 + 130_000);
    let returns = |rig: &mut Rig| {
        let outcome = rig.apply(Command::Join(join(1, None, true)));
        match outcome.expect("comes back").reply {
            Reply::Joined { strap, .. } => strap,
            reply => panic!("{reply:?}"),
        }
    };
    assert_eq!(returns(&mut rig).as_deref(), Some("strap 1"));
    rig.apply(Command::Leave {
        participant: person(1),
    })
    .expect("leaves");
    assert_eq!(returns(&mut rig), None);
}
