//! Failures that other systems met in real rooms, each by its number in the list of them. Those of bytes are
//! tested where bytes are read.

use coherence_hal::{Link, SourceEvent, StrapEvent, StrapNews};

use super::*;

fn notify(rig: &mut Rig, strap: &str, contact: Option<bool>, ticks: &[u16]) {
    let measurement = Measurement {
        hr_bpm: 60,
        contact,
        energy_kj: None,
        rr_flag: true,
        rr: ticks.iter().map(|ticks| Rr::Ticks(*ticks)).collect(),
        reserved_flags: 0,
        trailing_bytes: 0,
    };
    let event = StrapEvent {
        strap: StrapId::new("test", strap),
        at_ms: rig.now_ms,
        news: StrapNews::Measurement(measurement),
    };
    rig.room.source_event("test", SourceEvent::Strap(event));
}

#[test]
fn failure_10_a_strap_that_falls_silent_leaves_no_stale_score_and_never_a_nought() {
    let mut rig = Rig::new(4);
    rig.until(2_000);
    rig.join(1, Some("1")).expect("joins");
    rig.until(100_000);
    assert!(rig.feedback(1).score.is_some());
    rig.straps[0].silent = true;
    rig.until(110_000);
    let feedback = rig.feedback(1);
    assert_eq!((feedback.score, feedback.level), (None, None));
    assert_eq!(feedback.reason, Some("silent"));
    assert_eq!(feedback.heart_rate, None);
    let strap = &rig.room.strap_views(rig.now_ms)[0];
    assert_eq!(strap.state, StrapState::Silent);
    assert_eq!(rig.room.group_view(rig.now_ms).scored, 3);
    rig.until(300_000);
    // The page fades a figure by this age; it grows and is never made new.
    assert!(
        rig.feedback(1)
            .quality
            .age_ms
            .is_some_and(|age| age > 195_000)
    );
    let kept = rig.rows.iter().filter_map(|row| match row {
        Row::Score(row) if row.participant == Some(person(1)) => row.score,
        _ => None,
    });
    assert!(
        kept.into_iter().all(|score| score > 0.0),
        "no nought is kept"
    );
}

#[test]
fn failure_11_regular_beats_without_skin_contact_give_no_score() {
    let mut rig = Rig::new(3);
    rig.straps[0].contact = Some(false);
    rig.until(2_000);
    rig.join(1, Some("1")).expect("joins");
    rig.until(200_000);
    let feedback = rig.feedback(1);
    assert_eq!((feedback.score, feedback.reason), (None, Some("off_body")));
    assert_eq!(rig.room.group_view(rig.now_ms).scored, 2);
    let mut marks = rig.rows.iter().filter_map(|row| match row {
        Row::Rr(row) if row.heart == HeartKey::Strap(StrapNo(1)) => Some(row.mark),
        _ => None,
    });
    assert!(
        marks.all(|mark| mark == RrMark::OffBody),
        "kept, and off the tachogram"
    );
    // A strap that can't tell is believed.
    let mut rig = Rig::new(3);
    rig.straps[0].contact = None;
    rig.until(100_000);
    assert_eq!(rig.room.group_view(rig.now_ms).scored, 3);
}

#[test]
fn failure_13_a_burst_after_a_stall_is_placed_by_its_chain_and_what_is_missing_is_the_gap() {
    let mut rig = Rig::new(0);
    for second in 1..=60 {
        rig.now_ms = second * 1_000;
        notify(&mut rig, "1", None, &[1_024]);
    }
    // Three notifications are stuck and come at once: nothing is lost.
    rig.now_ms = 63_000;
    for late_ms in [0, 5, 10] {
        rig.now_ms = 63_000 + late_ms;
        notify(&mut rig, "1", None, &[1_024]);
    }
    rig.now_ms = 63_400;
    rig.room.tick(rig.now_ms);
    // Five are stuck, and two of them never come.
    rig.now_ms = 68_000;
    for _ in 0..3 {
        notify(&mut rig, "1", None, &[1_024]);
    }
    rig.now_ms = 68_400;
    rig.room.tick(rig.now_ms);
    let placed: Vec<_> = rig
        .room
        .take_rows(rig.now_ms)
        .into_iter()
        .filter_map(|row| match row {
            Row::Rr(row) => Some((row.beat_mono_ms, row.gap_ms)),
            _ => None,
        })
        .collect();
    assert_eq!(placed.len(), 66);
    for (n, (beat_ms, gap_ms)) in placed[..63].iter().enumerate() {
        assert_eq!((*beat_ms, *gap_ms), ((n + 1) as f64 * 1_000.0, 0.0));
    }
    assert_eq!(placed[63], (66_000.0, 2_000.0));
    assert_eq!(
        placed[65],
        (68_000.0, 0.0),
        "the chain is with the clock again"
    );
}

#[test]
fn failure_14_under_load_every_row_names_the_strap_that_sent_it() {
    const STRAPS: u16 = 40;
    let mut rig = Rig::new(0);
    let mut chance = 7_u64;
    let mut draw = |below: u64| {
        chance = chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (chance >> 33) % below
    };
    let name = |strap: u16| strap.to_string();
    for strap in 0..STRAPS {
        notify(&mut rig, &name(strap), None, &[]);
    }
    let no_of: std::collections::HashMap<u16, u32> = rig
        .room
        .registry(rig.now_ms)
        .into_iter()
        .map(|known| (known.identity[5..].parse().expect("as named"), known.no))
        .collect();
    let mut sent = std::collections::BTreeMap::<u32, u64>::new();
    let mut rows = Vec::new();
    for second in 1..=300 {
        rig.now_ms = second * 1_000;
        for _ in 0..STRAPS {
            let strap = draw(STRAPS.into()) as u16;
            match draw(12) {
                0 => {
                    let event = StrapEvent {
                        strap: StrapId::new("test", &name(strap)),
                        at_ms: rig.now_ms,
                        news: StrapNews::Link(Link::Down {
                            why: "gone".to_owned(),
                        }),
                    };
                    rig.room.source_event("test", SourceEvent::Strap(event));
                }
                1 => {
                    let event = StrapEvent {
                        strap: StrapId::new("test", &name(strap)),
                        at_ms: rig.now_ms,
                        news: StrapNews::Duplicate,
                    };
                    rig.room.source_event("test", SourceEvent::Strap(event));
                }
                // Belts pass from chest to chest: claims change, and the row's strap does not.
                2 => {
                    let n = u128::from(draw(20)) + 1;
                    let _ = rig.room.apply(
                        Command::Join(join(n, Some(&format!("#{}", no_of[&strap])), false)),
                        rig.now_ms,
                    );
                }
                _ => {
                    // The length says who sent it.
                    notify(&mut rig, &name(strap), None, &[600 + strap]);
                    *sent.entry(no_of[&strap]).or_default() += 1;
                }
            }
        }
        rig.room.tick(rig.now_ms);
        rows.append(&mut rig.room.take_rows(rig.now_ms));
    }
    rig.room.tick(rig.now_ms + 10_000);
    rows.append(&mut rig.room.take_rows(rig.now_ms));
    let mut kept = std::collections::BTreeMap::<u32, u64>::new();
    for row in &rows {
        if let Row::Rr(row) = row {
            let strap = (row.rr_ms * 1.024).round() as u16 - 600;
            assert_eq!(row.heart, HeartKey::Strap(StrapNo(no_of[&strap])));
            *kept.entry(no_of[&strap]).or_default() += 1;
        }
    }
    assert_eq!(kept, sent, "nothing is lost and nothing doubled");
    let claims = rows
        .iter()
        .filter(|row| matches!(row, Row::Claim(_)))
        .count();
    assert!(claims > 100, "{claims}");
}
