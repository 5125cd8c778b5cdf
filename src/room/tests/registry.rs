//! The registry of straps in the room: numbers, labels, forgetting, and the truth about each strap.

use coherence_hal::{About, Link, Links, SourceEvent, StrapEvent, StrapNews, Wish};

use super::*;

const DAY_MS: i64 = 86_400_000;

fn hear(rig: &mut Rig, identity: &str, news: StrapNews) {
    let event = StrapEvent {
        strap: StrapId::new("ble", identity),
        at_ms: rig.now_ms,
        news,
    };
    rig.room.source_event("ble", SourceEvent::Strap(event));
}

fn seen() -> StrapNews {
    StrapNews::Seen {
        name: None,
        rssi_dbm: Some(-60),
    }
}

/// Time passes without anything heard: only what a clock brings.
fn wait(rig: &mut Rig, ms: i64) {
    let end_ms = rig.now_ms + ms;
    while rig.now_ms < end_ms {
        rig.now_ms = (rig.now_ms + 600_000).min(end_ms);
        rig.room.observe_clock(reading(rig.now_ms));
        rig.room.tick(rig.now_ms);
        rig.rows.append(&mut rig.room.take_rows(rig.now_ms));
    }
    rig.grid_ms = rig.room.next_grid(rig.now_ms);
}

fn labels(rig: &Rig) -> Vec<(u32, String)> {
    let views = rig.room.strap_views(rig.now_ms).into_iter();
    views.map(|view| (view.no.unwrap(), view.label)).collect()
}

fn view(rig: &Rig, no: u32) -> view::StrapView {
    let mut views = rig.room.strap_views(rig.now_ms).into_iter();
    views.find(|view| view.no == Some(no)).expect("it is known")
}

fn label(rig: &mut Rig, strap: &str, label: &str) -> Result<Reply, command::Refusal> {
    let outcome = rig.apply(Command::LabelStrap {
        strap: strap.to_owned(),
        label: label.to_owned(),
    })?;
    rig.rows.extend(outcome.durable);
    Ok(outcome.reply)
}

fn forget(rig: &mut Rig, strap: &str) -> Result<Reply, command::Refusal> {
    let outcome = rig.apply(Command::ForgetStrap {
        strap: strap.to_owned(),
    })?;
    rig.rows.extend(outcome.durable);
    Ok(outcome.reply)
}

fn code(rig: &Rig, no: u32) -> Option<&'static str> {
    view(rig, no).cause.map(|cause| cause.code)
}

#[test]
fn a_stranger_who_never_beat_is_dropped_after_a_day_and_who_beat_keeps_the_number() {
    let mut rig = Rig::new(1);
    rig.until(5_000);
    hear(&mut rig, "stranger", seen());
    hear(&mut rig, "labelled", seen());
    label(&mut rig, "3", "Anna's belt").expect("it is free");
    assert_eq!(labels(&rig).len(), 3);
    rig.straps[0].silent = true;
    wait(&mut rig, DAY_MS - 900_000);
    assert_eq!(labels(&rig).len(), 3, "not yet a day");
    rig.room.take_wishes();
    wait(&mut rig, 1_800_000);
    assert_eq!(
        labels(&rig),
        [(1, "strap 1".to_owned()), (3, "Anna's belt".to_owned())]
    );
    let forgotten = Wish::Forget(StrapId::new("ble", "stranger"));
    assert!(rig.room.take_wishes().contains(&forgotten));
    // Nothing names the number: the next stranger has it.
    hear(&mut rig, "another", seen());
    assert_eq!(labels(&rig)[1], (2, "strap 2".to_owned()));
    // The strap that beat comes back as itself.
    rig.straps[0].silent = false;
    let now = rig.now_ms;
    rig.straps[0].next_beat_ms = now as f64;
    rig.until(now + 5_000);
    assert_eq!(labels(&rig).len(), 3);
    assert_eq!(view(&rig, 1).state, StrapState::Streaming);
}

#[test]
fn who_beat_and_was_not_heard_for_keep_days_is_forgotten_and_the_number_rests() {
    let mut rig = Rig::new(1);
    rig.until(5_000);
    rig.straps[0].silent = true;
    wait(&mut rig, 30 * DAY_MS + 1_800_000);
    assert_eq!(labels(&rig), []);
    hear(&mut rig, "another", seen());
    assert_eq!(labels(&rig)[0].0, 2, "rows may still name number 1");
    rig.rows.append(&mut rig.room.take_rows(rig.now_ms));
    // So after a restart.
    let past = rig.remembered();
    let mut again = Rig::at(0, rig.now_ms + 1_000, past);
    hear(&mut again, "a third", seen());
    let numbers: Vec<_> = labels(&again).into_iter().map(|(no, _)| no).collect();
    assert_eq!(numbers, [2, 3]);
}

#[test]
fn ever_new_addresses_fill_no_memory_and_push_out_nobody_who_is_worn_or_labelled() {
    let mut rig = Rig::new(1);
    rig.until(5_000);
    rig.join(1, Some("1")).expect("joins");
    hear(&mut rig, "labelled", seen());
    label(&mut rig, "2", "mine").expect("it is free");
    for n in 0..3_000 {
        rig.now_ms += 1;
        hear(&mut rig, &format!("random {n}"), seen());
    }
    let known = labels(&rig);
    assert_eq!(known.len(), 1_000);
    assert_eq!(known[0], (1, "strap 1".to_owned()));
    assert_eq!(known[1], (2, "mine".to_owned()));
    assert!(
        known.iter().all(|(no, _)| *no <= 1_000),
        "numbers stay small"
    );
}

#[test]
fn an_advertisement_writes_nothing_and_a_session_writes_once_when_each_was_heard() {
    let mut rig = Rig::new(0);
    hear(&mut rig, "one", seen());
    let straps = |rows: &[Row]| {
        rows.iter()
            .filter(|row| matches!(row, Row::Strap(_)))
            .count()
    };
    assert_eq!(straps(&rig.room.take_rows(rig.now_ms)), 1);
    for _ in 0..100 {
        rig.now_ms += 1_000;
        hear(&mut rig, "one", seen());
        rig.room.tick(rig.now_ms);
        assert_eq!(straps(&rig.room.take_rows(rig.now_ms)), 0);
    }
    rig.now_ms = 900_000;
    rig.room.tick(rig.now_ms);
    let rows = rig.room.take_rows(rig.now_ms);
    let written = rows.iter().find_map(|row| match row {
        Row::Strap(row) => Some(row.last_seen.mono_ms),
        _ => None,
    });
    assert_eq!(written, Some(100_000));
}

#[test]
fn labels_are_unique_and_a_person_claims_by_what_is_written_on_the_strap() {
    let mut rig = Rig::new(3);
    rig.until(5_000);
    let code = |result: Result<Reply, command::Refusal>| refused(result);
    assert_eq!(code(label(&mut rig, "1", "")), RefusalCode::BadValue);
    assert_eq!(code(label(&mut rig, "1", "a\tb")), RefusalCode::BadValue);
    assert_eq!(code(label(&mut rig, "1", "#2")), RefusalCode::BadValue);
    let long = "ä".repeat(33);
    assert_eq!(code(label(&mut rig, "1", &long)), RefusalCode::BadValue);
    assert_eq!(
        code(label(&mut rig, "1", "STRAP 2")),
        RefusalCode::LabelTaken
    );
    assert_eq!(code(label(&mut rig, "9", "x")), RefusalCode::UnknownStrap);
    // The belt with the hub's number 1 has a 7 on it, the one with number 2 a 1.
    label(&mut rig, "1", " strap 7 ").expect("it is free");
    label(&mut rig, "2", "strap 1").expect("it is free by now");
    let strap_of = |rig: &mut Rig, n, label| match rig.join(n, Some(label)) {
        Ok(Reply::Joined { strap, .. }) => strap,
        other => panic!("{other:?}"),
    };
    assert_eq!(strap_of(&mut rig, 1, "7").as_deref(), Some("strap 7"));
    assert_eq!(strap_of(&mut rig, 2, "1").as_deref(), Some("strap 1"));
    assert!(view(&rig, 1).claimed && view(&rig, 2).claimed);
    // A newcomer gets no label that somebody has.
    for n in 0..4 {
        hear(&mut rig, &format!("new {n}"), seen());
    }
    let numbers: Vec<_> = labels(&rig).into_iter().map(|(no, _)| no).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 8], "strap 7 is taken");
    let refusal = label(&mut rig, "strap 77", "x").expect_err("there is none");
    assert!(
        refusal.message.contains("\"strap 7\""),
        "{}",
        refusal.message
    );
}

#[test]
fn a_forgotten_strap_is_nobodys_and_its_beats_stay_whose_they_were() {
    let mut rig = Rig::new(2);
    rig.until(10_000);
    rig.join(1, Some("1")).expect("joins");
    rig.until(20_000);
    rig.room.take_wishes();
    forget(&mut rig, "strap 1").expect("it is known");
    assert_eq!(
        rig.room.take_wishes(),
        [Wish::Forget(StrapId::new("test", "1"))]
    );
    assert_eq!(labels(&rig), [(2, "strap 2".to_owned())]);
    let ended = rig
        .rows
        .iter()
        .any(|row| matches!(row, Row::Claim(claim) if claim.until.is_some()));
    assert!(ended, "the claim has an end");
    let beats = rig
        .rows
        .iter()
        .filter(|row| matches!(row, Row::Rr(row) if row.heart == HeartKey::Strap(StrapNo(1))));
    assert!(beats.count() > 15);
    // It is still on: heard again, as another, and its wearer does not take it up by coming back.
    rig.until(25_000);
    assert_eq!(
        labels(&rig),
        [(2, "strap 2".to_owned()), (3, "strap 3".to_owned())]
    );
    rig.join(1, None).expect("joins");
    assert!(!view(&rig, 3).claimed);
    assert_eq!(
        refused(forget(&mut rig, "strap 1")),
        RefusalCode::UnknownStrap
    );
}

#[test]
fn each_strap_says_why_it_gives_no_score_and_what_to_do() {
    let mut rig = Rig::new(2);
    rig.until(10_000);
    assert_eq!(code(&rig, 1), Some("warming_up"));
    rig.until(100_000);
    assert_eq!(code(&rig, 1), None);
    rig.straps[0].silent = true;
    rig.straps[1].contact = Some(false);
    rig.until(110_000);
    assert_eq!(
        (code(&rig, 1), code(&rig, 2)),
        (Some("silent"), Some("off_body"))
    );
    let gone = |why: &str| {
        StrapNews::Link(Link::Down {
            why: why.to_owned(),
        })
    };
    hear(&mut rig, "three", seen());
    assert_eq!(code(&rig, 3), Some("seen"));
    let links = Links {
        waiting: vec![StrapId::new("ble", "three")],
        ..Links::default()
    };
    rig.room.source_event("ble", SourceEvent::Links(links));
    assert_eq!(code(&rig, 3), Some("waiting_for_link"));
    rig.room
        .source_event("ble", SourceEvent::Links(Links::default()));
    hear(&mut rig, "three", gone("another device holds it"));
    let cause = view(&rig, 3).cause.expect("no score");
    assert_eq!(cause.code, "link_down");
    assert_eq!(cause.text, "Another device holds it.");
    hear(&mut rig, "three", StrapNews::Battery(3));
    assert_eq!(code(&rig, 3), Some("battery_empty"));
    wait(&mut rig, 60_000);
    assert_eq!(code(&rig, 1), Some("not_heard"));
    assert!(view(&rig, 1).for_everybody().no.is_none());
}

#[test]
fn what_a_strap_says_of_itself_outlives_a_restart() {
    let mut rig = Rig::new(0);
    let about = About {
        manufacturer: Some("Polar".to_owned()),
        model: Some("H10".to_owned()),
        serial: Some("1A2B".to_owned()),
        firmware: None,
        location: Some("chest"),
    };
    hear(&mut rig, "one", StrapNews::About(about));
    hear(&mut rig, "one", StrapNews::Battery(80));
    let firmware = About {
        firmware: Some("5.0".to_owned()),
        ..About::default()
    };
    hear(&mut rig, "one", StrapNews::About(firmware));
    label(&mut rig, "1", "mine").expect("it is free");
    rig.rows.append(&mut rig.room.take_rows(rig.now_ms));
    let again = Rig::at(0, 60_000, rig.remembered());
    let strap = view(&again, 1);
    assert_eq!(
        (strap.label.as_str(), strap.battery_pct),
        ("mine", Some(80))
    );
    assert_eq!(strap.model.as_deref(), Some("H10"));
    assert_eq!(strap.firmware.as_deref(), Some("5.0"));
    assert_eq!(strap.location, Some("chest"));
    let registered = again.room.registry(60_000).remove(0);
    assert_eq!(registered.serial.as_deref(), Some("1A2B"));
    assert_eq!(registered.identity, "ble:one");
}

/// What the log is told of straps in that time.
fn told(rig: &mut Rig, until_ms: i64) -> Vec<String> {
    rig.room.take_notes();
    rig.until(until_ms);
    let notes = rig.room.take_notes().into_iter();
    let words = notes.filter_map(|note| match note {
        Note::StrapStreaming { .. } => Some("beats".to_owned()),
        Note::StrapSilent { code, .. } | Note::StrapUnscored { code, .. } => Some(code.to_owned()),
        Note::StrapScored { .. } => Some("scored".to_owned()),
        _ => None,
    });
    words.collect()
}

#[test]
fn the_log_is_told_of_changes_that_last_and_of_nothing_that_flickers() {
    let mut rig = Rig::new(1);
    assert_eq!(told(&mut rig, 60_000), ["beats"]);
    assert_eq!(told(&mut rig, 120_000), ["scored"]);
    // Contact comes and goes within two seconds.
    for k in 0..10 {
        rig.straps[0].contact = Some(k % 2 == 1);
        let until_ms = rig.now_ms + 1_000;
        assert_eq!(told(&mut rig, until_ms), [""; 0]);
    }
    rig.straps[0].contact = Some(false);
    let until_ms = rig.now_ms + 10_000;
    assert_eq!(told(&mut rig, until_ms), ["off_body"]);
    rig.straps[0].contact = Some(true);
    let until_ms = rig.now_ms + 6_000;
    assert_eq!(told(&mut rig, until_ms), ["beats"]);
}

#[test]
fn a_phone_that_posts_every_five_seconds_never_flickers_and_falls_silent_after_two_posts() {
    let mut rig = Rig::new(0);
    rig.join(1, None).expect("joins");
    let mut silent = Vec::new();
    for post in 1..=40_i64 {
        // At times between two grid points; a heart at 54 beats a minute: 4.5 beats in 5 s.
        rig.until(post * 5_000 + 2_600);
        let beats = if post % 2 == 0 { 4 } else { 5 };
        let rr_ms: Vec<f64> = (0..beats)
            .map(|k| 1_111.0 + 60.0 * f64::from(k * 7 % 5 - 2))
            .collect();
        let ended_at_ms = Some(BEGIN + rig.now_ms - (post % 3) * 400);
        rig.apply(Command::PostRr {
            participant: person(1),
            rr_ms,
            ended_at_ms,
        })
        .expect("they are taken");
        let feedback = rig.feedback(1);
        assert_eq!(feedback.origin, Some("phone"));
        silent.extend(Some(post).filter(|_| post > 2 && feedback.reason == Some("silent")));
        rig.until(post * 5_000 + 5_000);
        let reason = rig.feedback(1).reason;
        silent.extend(Some(post).filter(|_| post > 2 && reason == Some("silent")));
    }
    assert_eq!(silent, [0_i64; 0]);
    let last_ms = rig.now_ms;
    rig.until(last_ms + 20_000);
    assert_eq!(rig.feedback(1).reason, Some("silent"));
    let origins = rig.rows.iter().filter_map(|row| match row {
        Row::Rr(row) => Some(row.heart.origin()),
        Row::Score(row) => Some(row.heart.origin()),
        _ => None,
    });
    assert!(
        origins
            .collect::<Vec<_>>()
            .iter()
            .all(|origin| *origin == "phone")
    );
}
