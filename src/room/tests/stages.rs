//! Stages in the life of the room: session boundaries, restarts, named sessions that come and go.

use super::super::stage_view::SnapshotView;
use super::*;

/// A facilitator's socket.
const LEAD: u64 = 90;

fn jam() -> StageId {
    StageId::Named("jam".into())
}

fn seen(rig: &Rig, id: &StageId) -> SnapshotView {
    let found = rig.room.snapshot_view(id, false);
    found.expect("the stage is there").0
}

fn gone(rig: &Rig, id: &StageId) -> bool {
    rig.room.snapshot_view(id, false).is_none()
}

/// A room with a facilitator.
fn led() -> Rig {
    let mut rig = Rig::new(0);
    rig.apply(Command::Facilitates { socket: LEAD })
        .expect("it is one");
    rig
}

fn change(rig: &mut Rig, socket: u64, wish: StageWish) -> Result<(), RefusalCode> {
    let facilitator = socket == LEAD;
    let done = rig.apply(Command::ChangeStage {
        socket,
        facilitator,
        wish,
    });
    done.map(|_| ()).map_err(|no| no.code)
}

/// Person `n` on socket `n`.
fn into_jam(rig: &mut Rig, n: u64) -> Role {
    let join = Join {
        session_id: Some("jam".into()),
        socket: Some(n),
        ..join(n.into(), None, false)
    };
    match rig
        .apply(Command::Join(join))
        .expect("there is a place")
        .reply
    {
        Reply::JoinedNamed { role, .. } => role,
        other => panic!("{other:?}"),
    }
}

fn stage_rows(rig: &Rig) -> usize {
    let stages = rig.rows.iter().filter(|row| matches!(row, Row::Stage(_)));
    stages.count()
}

#[test]
fn the_pacer_plays_from_the_sessions_begin_and_over_its_end() {
    let mut rig = led();
    rig.until(895_000);
    let before = seen(&rig, &StageId::Room);
    assert_eq!((before.anchor.at, before.anchor.position_ms), (BEGIN, 0.0));
    rig.until(905_000);
    let after = seen(&rig, &StageId::Room);
    assert_eq!(after.session_id, "20261120T1000Z");
    assert_eq!(
        (after.anchor.at, after.anchor.position_ms),
        (BEGIN, 0.0),
        "no break"
    );
    assert!(after.anchor.version > before.anchor.version);
}

#[test]
fn a_rest_ends_with_the_session_in_which_it_began() {
    let mut rig = led();
    rig.until(800_000);
    change(&mut rig, LEAD, StageWish::Tempo(5.0)).expect("leads");
    change(&mut rig, LEAD, StageWish::Message(Some("Rest.".into()))).expect("leads");
    change(&mut rig, LEAD, StageWish::Pause(Scene::Rest)).expect("leads");
    rig.until(899_000);
    assert_eq!(seen(&rig, &StageId::Room).scene, Scene::Rest);
    rig.until(901_000);
    let stage = seen(&rig, &StageId::Room);
    assert_eq!(
        (stage.anchor.state, stage.scene),
        (State::Playing, Scene::Stage)
    );
    assert_eq!(
        (stage.anchor.at, stage.anchor.position_ms),
        (BEGIN + 900_000, 0.0)
    );
    assert_eq!(
        (stage.tempo, stage.message.as_deref()),
        (5.0, Some("Rest."))
    );
}

#[test]
fn nobody_sees_a_restart_on_the_stage() {
    let mut rig = led();
    rig.until(20_000);
    change(&mut rig, LEAD, StageWish::Seek(3_000.0)).expect("leads");
    assert_eq!(into_jam(&mut rig, 1), Role::Leader);
    change(&mut rig, 1, StageWish::Play).expect("leads");
    rig.until(25_000);
    let (room, named) = (seen(&rig, &StageId::Room), seen(&rig, &jam()));
    let mut again = Rig::at(0, 26_000, rig.remembered());
    assert_eq!(seen(&again, &StageId::Room).anchor, room.anchor);
    let there = seen(&again, &jam()).anchor;
    assert_eq!(
        (there.at, there.position_ms),
        (named.anchor.at, named.anchor.position_ms)
    );
    assert_eq!(
        into_jam(&mut again, 2),
        Role::Follower,
        "who led is waited for"
    );
    assert_eq!(into_jam(&mut again, 1), Role::Leader);
}

#[test]
fn after_a_night_all_stages_begin_anew() {
    let mut rig = led();
    rig.until(20_000);
    change(&mut rig, LEAD, StageWish::Tempo(5.0)).expect("leads");
    into_jam(&mut rig, 1);
    rig.until(25_000);
    let version = seen(&rig, &StageId::Room).anchor.version;
    let mut again = Rig::at(0, 10 * 3_600_000, rig.remembered());
    let stage = seen(&again, &StageId::Room);
    assert_eq!((stage.tempo, stage.anchor.position_ms), (6.0, 0.0));
    assert!(stage.anchor.version > version);
    assert!(gone(&again, &jam()));
    again.until(10 * 3_600_000 + 2_000);
    let freed = |row: &Row| matches!(row, Row::StageFreed { name } if name == "jam");
    assert!(again.rows.iter().any(freed), "nothing of it is kept");
}

#[test]
fn a_named_session_waits_two_minutes_for_a_line_that_broke_and_none_for_a_goodbye() {
    let mut rig = Rig::new(0);
    into_jam(&mut rig, 1);
    rig.room.detach(1, rig.now_ms);
    rig.until(119_000);
    assert_eq!(seen(&rig, &jam()).leaders, 0);
    assert_eq!(
        into_jam(&mut rig, 1),
        Role::Leader,
        "nobody else led meanwhile"
    );
    rig.room.detach(1, rig.now_ms);
    rig.until(240_000);
    assert!(gone(&rig, &jam()));
    into_jam(&mut rig, 1);
    rig.apply(Command::LeaveNamed { socket: 1 })
        .expect("was there");
    assert!(gone(&rig, &jam()));
}

#[test]
fn who_is_in_a_named_session_takes_no_part_in_the_room() {
    let mut rig = Rig::new(0);
    into_jam(&mut rig, 1);
    rig.until(5_000);
    assert_eq!(rig.room.session_view(rig.now_ms).participants, 0);
    let of_people = |row: &Row| matches!(row, Row::Participant(_) | Row::Participation(_));
    assert!(
        !rig.rows.iter().any(of_people),
        "and nothing of them is kept"
    );
}

#[test]
fn an_erased_leader_leads_nowhere_and_is_nowhere_kept() {
    let mut rig = Rig::new(0);
    into_jam(&mut rig, 1);
    into_jam(&mut rig, 2);
    rig.apply(Command::Erase {
        participant: person(1),
    })
    .expect("whoever asks");
    assert!(change(&mut rig, 2, StageWish::Play).is_ok());
    rig.until(5_000);
    let past = rig.remembered();
    let row = past.stages.iter().find(|row| row.id == jam());
    assert_eq!(row.and_then(|row| row.leader), Some(person(2)));
}

#[test]
fn many_changes_are_one_row_a_second() {
    let mut rig = led();
    rig.until(10_000);
    let before = stage_rows(&rig);
    for n in 0..10 {
        change(&mut rig, LEAD, StageWish::Seek(f64::from(n))).expect("leads");
        rig.room.tick(rig.now_ms);
        rig.rows.append(&mut rig.room.take_facts());
    }
    rig.until(11_000);
    assert!((1..=2).contains(&(stage_rows(&rig) - before)));
    let kept = rig.remembered();
    let row = kept.stages.iter().find(|row| row.id == StageId::Room);
    assert_eq!(row.map(|row| row.position_ms), Some(9.0), "the last");
}

#[test]
fn a_new_rule_takes_the_lead_from_whom_it_does_not_allow() {
    let mut rig = Rig::new(0);
    into_jam(&mut rig, 1);
    let mut settings = settings();
    settings.stage.named = crate::config::MayLead::Facilitator;
    rig.room.set_settings(settings, rig.now_ms);
    assert_eq!(
        change(&mut rig, 1, StageWish::Play),
        Err(RefusalCode::NotLeader)
    );
    assert_eq!(seen(&rig, &jam()).leaders, 0);
}
