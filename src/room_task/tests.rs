//! The task with a real store and a clock turned by hand: what is published, when, and to whom.

use std::net::IpAddr;

use coherence_hal::{StrapEvent, StrapId, StrapNews};
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::clock::ManualClock;
use crate::room::command::{ConsentGiven, Join};
use crate::room::rows::Stamp;
use crate::room::view::Phase;
use crate::room::{Remembered, SessionPlan, Settings, StageRules, Suppression};
use crate::store::{self, Boot};

/// 2026-11-20 09:45:00 UTC, where the monotonic clock shows 0.
const BEGIN: i64 = 1_795_167_900_000;

/// A running task whose clock is turned by hand.
struct Rig {
    handle: RoomHandle,
    hand: ManualClock,
    store: Store,
    events: mpsc::Sender<(&'static str, SourceEvent)>,
    _stop: watch::Sender<bool>,
    _dir: TempDir,
}

fn rig(now_ms: i64) -> Rig {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let start = Stamp {
        mono_ms: now_ms,
        wall_ms: BEGIN + now_ms,
        synced: true,
    };
    let boot = Boot {
        boot_id: "0fe1".into(),
        start,
    };
    let (store, _) = store::open(&dir.path().join("hub.db"), boot).expect("the store opens");
    let (clock, hand) = Clock::manual(now_ms, BEGIN + now_ms);
    let settings = Settings {
        plan: SessionPlan::default(),
        suppression: Suppression {
            min_group: 3,
            min_distribution: 5,
        },
        max_participants: 10,
        keep_ms: 30 * 86_400_000,
        stage: StageRules::default(),
    };
    let reading = ClockReading {
        mono_ms: now_ms,
        wall_ms: BEGIN + now_ms,
        known: true,
    };
    let past = Remembered {
        next_rr_id: 1,
        next_claim_no: 1,
        ..Remembered::default()
    };
    let room = Room::new(settings, "0fe1", reading, past);
    let Parts {
        task,
        handle,
        events,
        ..
    } = prepare(room, clock, store.clone(), Vec::new());
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(task.run(stopped));
    Rig {
        handle,
        hand,
        store,
        events,
        _stop: stop,
        _dir: dir,
    }
}

impl Rig {
    /// Returns when the task has acted on what the clock shows.
    async fn settle(&self) {
        // The first is answered before the task acts, the second after it has.
        assert!(self.handle.ping().await && self.handle.ping().await);
    }

    async fn join(&self, n: u128, strap: Option<&str>, consent: bool) -> Answer {
        let consent = consent.then(|| ConsentGiven {
            text_version: "en-1".into(),
            scopes: Vec::new(),
        });
        let join = Join {
            participant: ParticipantId(Uuid::from_u128(n)),
            resumed: false,
            session_id: None,
            name: None,
            intention: None,
            strap: strap.map(str::to_owned),
            consent,
            role: None,
            socket: None,
            facilitator: false,
            peer: IpAddr::from([10, 0, 0, n as u8]),
        };
        self.handle.apply(Command::Join(join), None).await
    }

    async fn meet_a_strap(&self) {
        let event = StrapEvent {
            strap: StrapId::new("test", "1"),
            at_ms: 0,
            news: StrapNews::Battery(80),
        };
        let sent = self.events.send(("test", SourceEvent::Strap(event))).await;
        sent.expect("the task listens");
        while self.seen().straps.is_empty() {
            self.hand.advance(1_000);
            self.settle().await;
        }
    }

    fn seen(&self) -> Arc<Published> {
        Arc::clone(&self.handle.published().borrow())
    }
}

#[tokio::test]
async fn every_grid_point_lies_on_its_sessions_grid_also_where_the_clock_was_slewed() {
    let rig = rig(890_000);
    rig.hand.set_wall(BEGIN + 890_000 - 400);
    let mut points = Vec::new();
    while points.len() < 5 {
        rig.hand.advance(100);
        rig.settle().await;
        // Gives the compute thread its turn.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let at = rig.seen().group.at;
        if points.last() != Some(&at) {
            points.push(at);
        }
    }
    let session = rig.seen().session.clone();
    assert_eq!(session.id, "20261120T1000Z");
    // The first two are of the session before.
    for at in &points[2..] {
        assert_eq!((at - session.starts_at) % 5_000, 0, "{points:?}");
    }
}

#[tokio::test]
async fn a_phase_begins_once_also_where_the_clock_was_slewed() {
    let rig = rig(890_000);
    rig.hand.set_wall(BEGIN + 890_000 + 20);
    let mut phases: Vec<(String, Phase)> = Vec::new();
    let mut version = 0;
    while phases
        .last()
        .is_none_or(|(_, phase)| *phase != Phase::Active)
        || phases.len() < 3
    {
        rig.hand.advance(7);
        rig.settle().await;
        let seen = rig.seen();
        if seen.session_frame.version != version {
            version = seen.session_frame.version;
            phases.push((seen.session.id.clone(), seen.session.phase));
        }
        assert!(seen.session.starts_at < BEGIN + 1_800_000, "{phases:?}");
    }
    let told: Vec<_> = phases.iter().map(|(_, phase)| *phase).collect();
    let once = [Phase::Integration, Phase::Preparation, Phase::Active];
    assert_eq!(told, once, "{phases:?}");
}

#[tokio::test]
async fn who_has_joined_sees_it_at_once_though_all_are_told_twice_a_second() {
    let rig = rig(10_000);
    rig.meet_a_strap().await;
    rig.join(1, None, false).await.expect("joins");
    rig.join(2, Some("strap 1"), false).await.expect("joins");
    let seen = rig.seen();
    assert_eq!(seen.session.participants, 2);
    assert!(seen.straps[0].claimed);
}

#[tokio::test]
async fn a_join_that_could_not_be_stored_leaves_nobody_behind() {
    let rig = rig(10_000);
    rig.meet_a_strap().await;
    rig.store.clone().close().await.expect("it closes");
    let refused = rig.join(1, Some("1"), true).await;
    let refusal = refused.expect_err("the consent can't be stored");
    assert_eq!(refusal.code, RefusalCode::NotStored);
    rig.settle().await;
    assert_eq!(rig.seen().session.participants, 0);
    rig.join(2, Some("1"), false)
        .await
        .expect("the strap is free");
}
