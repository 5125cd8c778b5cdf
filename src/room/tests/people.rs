//! Who is here, what they wear, what their phones hand in, what is left of them when they go and when
//! the hub restarts.

use super::*;

#[test]
fn the_first_claim_holds_until_released() {
    let mut rig = Rig::new(2);
    rig.until(10_000);
    rig.join(1, Some("strap 1")).expect("joins");
    assert_eq!(
        refused(rig.join(2, Some("Strap 1"))),
        RefusalCode::StrapTaken
    );
    assert_eq!(
        refused(rig.join(2, Some("strap 77"))),
        RefusalCode::UnknownStrap
    );
    assert_eq!(
        rig.room.session_view(rig.now_ms).participants,
        1,
        "a refused join changes nothing"
    );
    rig.apply(Command::Leave {
        participant: person(1),
    })
    .expect("leaves");
    rig.join(2, Some("strap 1")).expect("the strap is free now");
    // Coming back, the first finds the strap taken and stays without.
    let outcome = rig
        .apply(Command::Join(join(1, None, true)))
        .expect("comes back");
    assert!(matches!(outcome.reply, Reply::Joined { strap: None, .. }));
}

#[test]
fn a_claim_is_an_interval_in_time() {
    let mut rig = Rig::new(2);
    rig.until(10_000);
    rig.join(1, Some("1")).expect("joins");
    rig.until(20_000);
    rig.join(1, Some("2")).expect("swaps");
    let claims: Vec<_> = rig
        .rows
        .iter()
        .filter_map(|row| {
            if let Row::Claim(row) = row {
                Some(row.clone())
            } else {
                None
            }
        })
        .collect();
    assert_eq!(claims.len(), 3, "begun, ended, begun");
    assert_eq!(claims[1].no, claims[0].no);
    assert_eq!(claims[1].until.map(|at| at.mono_ms), Some(20_000));
    assert_eq!(
        (claims[2].strap, claims[2].from.mono_ms, claims[2].until),
        (StrapNo(2), 20_000, None)
    );
}

#[test]
fn people_stay_across_the_boundary_and_strangers_to_the_room_do_not() {
    let mut rig = Rig::new(4);
    rig.until(100_000);
    rig.join(1, Some("1")).expect("joins");
    rig.join(2, Some("2")).expect("joins");
    assert_eq!(rig.room.attach(person(1), 11), None);
    rig.until(400_000);
    assert_eq!(
        rig.room.session_view(rig.now_ms).participants,
        1,
        "two minutes without a sign: absent"
    );
    assert_eq!(rig.room.take_changes().people, Some(Presence::Left));
    let peak = rig.room.group_view(rig.now_ms).peak;
    assert!(peak.is_some());
    rig.until(905_000);
    let session = rig.room.session_view(rig.now_ms);
    assert_eq!(
        (session.id.as_str(), session.participants, session.phase),
        ("20261120T1000Z", 1, Phase::Preparation)
    );
    let ended = rig.room.ended_view().expect("a session has ended");
    assert_eq!(
        (ended.id.as_str(), ended.phase),
        ("20261120T0945Z", Phase::Complete)
    );
    assert_eq!(
        rig.feedback(1).level,
        Some("high"),
        "the score goes on over the boundary"
    );
    let wearers: Vec<_> = rig
        .room
        .strap_views(rig.now_ms)
        .iter()
        .map(|strap| strap.claimed)
        .collect();
    assert_eq!(
        wearers,
        [true, false, false, false],
        "who is absent gives the strap back"
    );
    // The second comes back with the token, in the new session, and finds the strap again.
    let outcome = rig
        .apply(Command::Join(join(2, None, true)))
        .expect("is still known");
    assert!(
        matches!(outcome.reply, Reply::Joined { strap: Some(label), .. } if label == "strap 2")
    );
}

#[test]
fn who_falls_silent_before_the_boundary_does_not_leave_before_joining() {
    let mut rig = Rig::new(0);
    rig.until(840_000);
    rig.join(1, None).expect("joins");
    rig.until(1_000_000);
    let last = rig.rows.iter().rev().find_map(|row| {
        if let Row::Participation(row) = row {
            Some(row.clone())
        } else {
            None
        }
    });
    let row = last.expect("has taken part");
    assert_eq!(row.session_id, "20261120T1000Z");
    assert_eq!(row.joined.mono_ms, 900_000);
    assert_eq!(row.left, Some(row.joined), "was there for no time");
}

#[test]
fn absence_ends_with_a_sign_of_life_and_leaving_with_a_join() {
    let mut rig = Rig::new(1);
    rig.join(1, None).expect("joins");
    rig.until(130_000);
    assert_eq!(rig.room.session_view(rig.now_ms).participants, 0);
    rig.apply(Command::Seen {
        participant: person(1),
    })
    .expect("is known");
    assert_eq!(rig.room.session_view(rig.now_ms).participants, 1);
    rig.apply(Command::Leave {
        participant: person(1),
    })
    .expect("leaves");
    rig.apply(Command::Seen {
        participant: person(1),
    })
    .expect("is known");
    assert_eq!(rig.room.session_view(rig.now_ms).participants, 0);
    let post = Command::PostCoherence {
        participant: person(1),
        coherence: 50.0,
    };
    assert_eq!(
        rig.apply(post).expect_err("has left").code,
        RefusalCode::NotJoined
    );
    rig.join(1, None).expect("joins again");
    assert_eq!(rig.room.session_view(rig.now_ms).participants, 1);
}

#[test]
fn a_phone_is_a_source_of_its_own() {
    let mut rig = Rig::new(2);
    rig.until(90_000);
    for n in [1, 2] {
        rig.join(n, None).expect("joins");
        rig.apply(Command::PostCoherence {
            participant: person(n),
            coherence: 40.0 + n as f64,
        })
        .expect("posts");
    }
    let feedback = rig.feedback(1);
    assert_eq!(
        (feedback.score, feedback.level),
        (Some(41.0), Some("medium")),
        "the latest at once"
    );
    rig.until(95_000);
    assert_eq!(rig.room.group_view(rig.now_ms).scored, 4);
    assert!(rig.feedback(2).contribution.is_some());
    rig.until(110_000);
    assert_eq!(
        rig.feedback(1).reason,
        Some("silent"),
        "a score that nobody repeats is not kept up"
    );
    let mut rr = Vec::new();
    for k in 0..80 {
        rr.push(900.0 + 60.0 * f64::from(k % 10 - 5) / 5.0);
    }
    let post = Command::PostRr {
        participant: person(1),
        rr_ms: rr,
        ended_at_ms: None,
    };
    rig.apply(post).expect("posts");
    rig.until(115_000);
    assert!(rig.feedback(1).score.is_some());
    assert!(
        rig.room
            .heart(HeartKey::Phone(person(1)))
            .is_some_and(|heart| heart.beats_accepted == 80)
    );
}

#[test]
fn who_comes_back_after_an_absence_is_not_shown_the_score_from_before_it() {
    let mut rig = Rig::new(0);
    let post = |coherence| Command::PostCoherence {
        participant: person(1),
        coherence,
    };
    rig.join(1, None).expect("joins");
    rig.apply(post(80.0)).expect("posts");
    rig.until(200_000);
    assert!(
        rig.room.heart(HeartKey::Phone(person(1))).is_none(),
        "nothing of the absent is held in memory"
    );
    let outcome = rig.apply(post(20.0)).expect("is back");
    let Reply::Feedback(feedback) = outcome.reply else {
        panic!("{outcome:?}")
    };
    assert_eq!(feedback.score, Some(20.0));
}

#[test]
fn a_phone_can_not_post_more_beats_than_a_heart_makes() {
    let mut rig = Rig::new(0);
    rig.join(1, None).expect("joins");
    let post = |rig: &mut Rig, count| {
        rig.apply(Command::PostRr {
            participant: person(1),
            rr_ms: vec![800.0; count],
            ended_at_ms: None,
        })
        .map_err(|refusal| refusal.code)
    };
    for _ in 0..4 {
        post(&mut rig, 256).expect("a backlog may come at once");
    }
    assert_eq!(post(&mut rig, 1), Err(RefusalCode::RateLimited));
    let mut kept = 0;
    for _ in 0..600 {
        rig.now_ms += 100;
        kept += u64::from(post(&mut rig, 256).is_ok());
    }
    assert!(kept <= 3, "{kept} posts of 256 in a minute");
    rig.now_ms += 60_000;
    for _ in 0..300 {
        rig.now_ms += 5_000;
        post(&mut rig, 20).expect("even 240 beats a minute pass");
    }
}

#[test]
fn who_is_erased_is_unknown_and_what_waited_for_its_commit_is_gone() {
    let mut rig = Rig::new(2);
    rig.until(90_000);
    rig.join(1, Some("1")).expect("joins");
    rig.until(93_000);
    rig.now_ms = 94_000;
    rig.send(0);
    rig.send(1);
    let outcome = rig
        .apply(Command::Erase {
            participant: person(1),
        })
        .expect("is known");
    assert!(
        matches!(outcome.durable[..], [Row::Erase { participant, .. }] if participant == person(1))
    );
    let waiting = rig.room.take_rows(rig.now_ms);
    assert!(
        waiting
            .iter()
            .all(|row| !matches!(row, Row::Rr(row) if row.heart == HeartKey::Strap(StrapNo(1))))
    );
    assert!(
        waiting
            .iter()
            .any(|row| matches!(row, Row::Rr(row) if row.heart == HeartKey::Strap(StrapNo(2))))
    );
    assert_eq!(
        refused(
            rig.apply(Command::Join(join(1, None, true)))
                .map(|o| o.reply)
        ),
        RefusalCode::UnknownParticipant
    );
    assert!(
        rig.room
            .heart(HeartKey::Strap(StrapNo(1)))
            .is_some_and(|heart| heart.last_beat_ms.is_none())
    );
}

#[test]
fn an_erasure_that_was_not_stored_can_be_asked_for_again() {
    let mut rig = Rig::new(0);
    rig.join(1, None).expect("joins");
    for _ in 0..2 {
        let erase = Command::Erase {
            participant: person(1),
        };
        let outcome = rig.apply(erase).expect("whoever holds the token may ask");
        assert!(
            matches!(outcome.durable[..], [Row::Erase { participant, .. }] if participant == person(1))
        );
    }
}

#[test]
fn an_erasure_while_scores_are_computed_leaves_no_score() {
    let mut rig = Rig::new(4);
    rig.until(99_000);
    rig.join(1, Some("1")).expect("joins");
    let job = rig.room.grid_job(100_000);
    rig.apply(Command::Erase {
        participant: person(1),
    })
    .expect("is known");
    rig.room
        .finish_grid(job.compute(&mut Scorer::new(Version::CURRENT)));
    let scores = rig.room.take_rows(rig.now_ms);
    assert!(
        scores
            .iter()
            .all(|row| !matches!(row, Row::Score(row) if row.participant.is_some()))
    );
    assert_eq!(rig.room.exact_group().map(|group| group.scored), Some(3));
}

#[test]
fn consent_is_durable_and_names_every_scope() {
    let mut rig = Rig::new(0);
    rig.join(1, None).expect("joins");
    let consent = |scopes: &[&str]| Command::Consent {
        participant: person(1),
        consent: ConsentGiven {
            text_version: "en-1".into(),
            scopes: scopes.iter().map(|s| s.to_string()).collect(),
        },
    };
    let outcome = rig.apply(consent(&["research", "sync"])).expect("is known");
    let granted: Vec<_> = outcome
        .durable
        .iter()
        .filter_map(|row| {
            if let Row::Consent(row) = row {
                Some((row.scope.as_str(), row.granted))
            } else {
                None
            }
        })
        .collect();
    assert_eq!(
        granted,
        [
            ("display", false),
            ("store", false),
            ("sync", true),
            ("research", true),
            ("publish", false)
        ]
    );
    let refusal = rig
        .apply(consent(&["everything"]))
        .expect_err("no such scope");
    assert_eq!(refusal.code, RefusalCode::BadValue);
    assert!(refusal.message.contains("everything"));
}

#[test]
fn a_full_room_refuses_and_says_so() {
    let mut rig = Rig::new(0);
    for n in 1..=10 {
        rig.join(n, None).expect("there is room");
    }
    assert_eq!(refused(rig.join(11, None)), RefusalCode::RoomFull);
    rig.join(10, None).expect("who is in may join again");
}

#[test]
fn a_restart_within_five_seconds_is_seen_by_nobody() {
    let mut before = Rig::new(4);
    before.until(90_000);
    before.join(1, Some("1")).expect("joins");
    before.until(120_000);
    // The process is killed and is back 2 s later; all beats in between are lost.
    let mut after = Rig::at(4, 122_000, before.remembered());
    for (strap, old) in after.straps.iter_mut().zip(&before.straps) {
        strap.next_beat_ms = old.next_beat_ms + 1_800.0;
    }
    let session = after.room.session_view(after.now_ms);
    assert_eq!(
        (session.id.as_str(), session.participants),
        ("20261120T0945Z", 1)
    );
    assert_eq!(
        after.room.group_view(after.now_ms),
        before.room.group_view(before.now_ms),
        "the figures of the running grid interval stand"
    );
    after.until(125_000);
    let group = after.room.group_view(after.now_ms);
    assert_eq!(group.scored, 4, "scores are back at the next grid point");
    assert!(group.peak >= before.room.group_view(120_000).peak);
    let feedback = after.feedback(1);
    assert_eq!(feedback.strap.as_deref(), Some("strap 1"));
    assert!(
        feedback.score.is_some() && feedback.quality.coverage < 1.0,
        "{feedback:?}"
    );
    let gap = after.rows.iter().find_map(|row| {
        if let Row::Rr(row) = row {
            Some(row.gap_ms)
        } else {
            None
        }
    });
    assert!(
        gap.is_some_and(|gap| (1_000.0..3_500.0).contains(&gap)),
        "the hole is a gap: {gap:?}"
    );
}

#[test]
fn baseline_and_trend_grow_over_the_session_survive_a_restart_and_end_with_it() {
    let mut rig = Rig::new(4);
    rig.until(40_000);
    rig.join(1, Some("1")).expect("joins");
    rig.until(180_000);
    let early = rig.feedback(1);
    assert!(early.score.is_some() && early.trend.is_none() && early.baseline.is_none());
    rig.until(300_000);
    let before = rig.feedback(1);
    let baseline = before.baseline.expect("two minutes of scores are over");
    assert!((80.0..100.0).contains(&baseline), "{baseline}");
    let trend = before.trend.expect("three minutes of scores");
    assert!(
        trend.per_min.abs() < 2.0 && trend.standard_error > 0.0,
        "{trend:?}"
    );
    let after = Rig::at(4, 302_000, rig.remembered());
    let again = after.feedback(1);
    assert_eq!(
        (again.trend, again.baseline),
        (before.trend, before.baseline)
    );
    for end_ms in [400_000, 500_000, 600_000, 700_000, 800_000, 905_000] {
        rig.apply(Command::Seen {
            participant: person(1),
        })
        .expect("is here");
        rig.until(end_ms);
    }
    let next = rig.feedback(1);
    assert!(next.score.is_some(), "the heart goes on over the boundary");
    assert_eq!(
        (next.trend, next.baseline),
        (None, None),
        "its course begins anew"
    );
}

#[test]
fn a_restart_across_the_boundary_keeps_those_who_are_here() {
    let mut before = Rig::new(1);
    before.until(880_000);
    before.join(1, Some("1")).expect("joins");
    before.until(895_000);
    let after = Rig::at(1, 905_000, before.remembered());
    let session = after.room.session_view(after.now_ms);
    assert_eq!(
        (session.id.as_str(), session.participants),
        ("20261120T1000Z", 1)
    );
    assert!(after.room.strap_views(after.now_ms)[0].claimed);
}

#[test]
fn after_a_night_nobody_of_yesterday_is_present_or_wears_a_strap() {
    let mut before = Rig::new(2);
    before.until(90_000);
    before.join(1, Some("1")).expect("joins");
    before.until(100_000);
    let mut past = before.remembered();
    past.session = None; // another boot: only hub time tells
    let mut after = Rig::at(2, 54_000_000, past);
    assert_eq!(after.room.session_view(after.now_ms).participants, 0);
    let ended = after.rows.iter().any(
        |row| matches!(row, Row::Claim(row) if row.until.map(|at| at.mono_ms) == Some(54_000_000)),
    );
    assert!(ended, "the claim is at its end on the disk too");
    let ghosts = after
        .rows
        .iter()
        .filter(|row| matches!(row, Row::Participation(_)));
    assert_eq!(ghosts.count(), 0);
    after.until(54_010_000);
    after.join(2, Some("1")).expect("the strap is free");
    // Yesterday's token still opens the door, and nobody is given somebody else's heart.
    let outcome = after.apply(Command::Join(join(1, None, true)));
    let reply = outcome.expect("is still known").reply;
    assert!(matches!(reply, Reply::Joined { strap: None, .. }));
}

#[test]
fn who_was_away_for_a_whole_session_is_not_given_a_strap_unasked() {
    let mut rig = Rig::new(1);
    rig.until(10_000);
    rig.join(1, Some("1")).expect("joins");
    rig.until(1_810_000);
    let outcome = rig.apply(Command::Join(join(1, None, true)));
    let reply = outcome.expect("is still known").reply;
    assert!(matches!(reply, Reply::Joined { strap: None, .. }));
}

#[test]
fn a_longer_hole_warms_up_again_and_says_how_long() {
    let mut before = Rig::new(1);
    before.join(1, None).expect("joins");
    before.until(90_000);
    before.join(1, Some("1")).expect("takes the strap");
    before.until(100_000);
    let mut after = Rig::at(1, 109_000, before.remembered());
    after.until(115_000);
    let feedback = after.feedback(1);
    assert_eq!(feedback.reason, Some("warming_up"));
    assert!(feedback.left_ms.is_some_and(|left| left > 55_000));
}

#[test]
fn who_was_not_here_for_the_days_that_are_kept_is_forgotten_in_memory_too() {
    let mut rig = Rig::new(0);
    rig.join(1, None).expect("joins");
    rig.join(2, None).expect("joins");
    rig.room.attach(person(2), 12);
    let day = 86_400_000;
    for (days, refused) in [(29, false), (31, true)] {
        rig.now_ms = days * day;
        rig.room.tick(rig.now_ms);
        let outcome = rig.apply(Command::Consent {
            participant: person(1),
            consent: ConsentGiven {
                text_version: "en-1".into(),
                scopes: Vec::new(),
            },
        });
        assert_eq!(outcome.is_err(), refused, "after {days} days");
    }
    rig.apply(Command::Seen {
        participant: person(2),
    })
    .expect("is here");
}

#[test]
fn a_strap_that_passes_to_another_shows_and_scores_nothing_of_the_first() {
    let mut rig = Rig::new(4);
    rig.until(90_000);
    rig.join(1, Some("1")).expect("joins");
    rig.until(100_000);
    assert!(rig.feedback(1).score.is_some());
    rig.apply(Command::Leave {
        participant: person(1),
    })
    .expect("leaves");
    rig.join(2, Some("1")).expect("takes the strap over");
    let at_once = rig.feedback(2);
    assert_eq!((at_once.score, at_once.heart_rate), (None, None));
    rig.until(120_000);
    assert_eq!(rig.feedback(2).reason, Some("warming_up"));
    let first = rig.rows.iter().find_map(|row| match row {
        Row::Rr(row) if row.begins && row.arrived.mono_ms > 100_000 => Some(row.heart),
        _ => None,
    });
    assert!(first.is_some(), "it is kept where the second heart begins");
    // Not even a restart brings the first one's beats back.
    let mut after = Rig::at(4, 121_000, rig.remembered());
    after.until(125_000);
    assert_eq!(after.feedback(2).reason, Some("warming_up"));
    rig.until(170_000);
    assert!(rig.feedback(2).score.is_some());
    // The same person coming back goes on with the same heart.
    rig.apply(Command::Leave {
        participant: person(2),
    })
    .expect("leaves");
    rig.join(2, Some("1")).expect("comes back");
    rig.until(175_000);
    assert!(rig.feedback(2).score.is_some());
}
