//! The wall clock steps: by years, weeks, hours, in every phase; or is unknown at first. Nobody's heart
//! beats differently for it, so neither do the scores, and each row says which time it was.

use coherence_hal::decode::ble::Measurement;
use coherence_hal::{Rr, SourceEvent, StrapEvent, StrapId, StrapNews};
use coherence_hub::clock::{Clock, ManualClock};
use coherence_hub::room::rows::{Row, Stamp};
use coherence_hub::room::{ClockReading, Room, SessionPlan, Settings, StageRules, Suppression};
use coherence_hub::signal::{Scorer, Version};
use coherence_hub::store::{self, Boot, Store};

/// Short sessions: 30 s of preparation, 3.5 min, 1 min of integration.
const LENGTH_MS: i64 = 300_000;
/// 2026-11-20 09:45:00 UTC.
const BEGIN_MS: i64 = 1_795_167_900_000;
const HOUR_MS: i64 = 3_600_000;
const YEARS_56_MS: i64 = 56 * 8_766 * HOUR_MS;
const STRAPS: usize = 3;

/// A room, its store and a clock turned by hand.
struct Bench {
    room: Room,
    store: Store,
    clock: Clock,
    hand: ManualClock,
    grid_done_ms: i64,
    next_beat_ms: [f64; STRAPS],
    rows: Vec<Row>,
}

fn reading(clock: &Clock) -> ClockReading {
    ClockReading {
        mono_ms: clock.mono_ms(),
        wall_ms: clock.wall_ms(),
        known: clock.known(),
    }
}

impl Bench {
    fn new(dir: &tempfile::TempDir, wall_ms: i64, known: bool) -> Bench {
        let (clock, hand) = Clock::manual(0, wall_ms);
        hand.set_known(known);
        let start = Stamp {
            mono_ms: 0,
            wall_ms,
            synced: known,
        };
        let boot_id = "0fe122aa-1111".to_owned();
        let (store, memory) =
            store::open(&dir.path().join("hub.db"), Boot { boot_id, start }).expect("it opens");
        let settings = Settings {
            plan: SessionPlan {
                length_ms: LENGTH_MS,
                preparation_ms: 30_000,
                integration_ms: 60_000,
            },
            suppression: Suppression {
                min_group: 3,
                min_distribution: 5,
            },
            max_participants: 40,
            keep_ms: 30 * 24 * HOUR_MS,
            stage: StageRules::default(),
        };
        let room = Room::new(settings, "0fe122aa-1111", reading(&clock), memory.past);
        Bench {
            grid_done_ms: 0,
            room,
            store,
            clock,
            hand,
            next_beat_ms: [0.0; STRAPS],
            rows: Vec::new(),
        }
    }

    /// Lets time pass until the monotonic clock shows so much.
    fn until(&mut self, end_ms: i64) {
        while self.clock.mono_ms() < end_ms {
            self.hand.advance(1_000);
            let now_ms = self.clock.mono_ms();
            self.room.observe_clock(reading(&self.clock));
            for strap in 0..STRAPS {
                self.beat(strap, now_ms);
            }
            self.room.tick(now_ms);
            // As the room's task does: a session that has just begun may lie on another grid.
            let grid = self.room.last_grid(now_ms);
            if let Some(grid_ms) = grid.filter(|at_ms| *at_ms > self.grid_done_ms) {
                self.grid_done_ms = grid_ms;
                let job = self.room.grid_job(grid_ms);
                self.room
                    .finish_grid(job.compute(&mut Scorer::new(Version::CURRENT)));
                let rows = self.room.take_rows(now_ms);
                self.rows.extend(rows.iter().cloned());
                self.store.commit(rows);
            }
        }
    }

    /// 900 ms, swinging by 60 ms at 0.1 Hz.
    fn beat(&mut self, strap: usize, now_ms: i64) {
        let next_beat_ms = &mut self.next_beat_ms[strap];
        let mut rr = Vec::new();
        loop {
            let swing = (std::f64::consts::TAU * *next_beat_ms / 10_000.0 + strap as f64).sin();
            let interval = Rr::Ticks(((900.0 + 60.0 * swing) * 1.024).round() as u16);
            if *next_beat_ms + interval.ms() > now_ms as f64 {
                break;
            }
            *next_beat_ms += interval.ms();
            rr.push(interval);
        }
        let measurement = Measurement {
            hr_bpm: 67,
            contact: Some(true),
            energy_kj: None,
            rr_flag: true,
            rr,
            reserved_flags: 0,
            trailing_bytes: 0,
        };
        let event = StrapEvent {
            strap: StrapId::new("test", &strap.to_string()),
            at_ms: now_ms,
            news: StrapNews::Measurement(measurement),
        };
        self.room.source_event("test", SourceEvent::Strap(event));
    }

    /// The scores of all hearts by monotonic time; what the wall clock says has no part in them.
    fn scores(&self) -> Vec<(i64, Option<u64>)> {
        let scores = self.rows.iter().filter_map(|row| match row {
            Row::Score(row) => Some((row.at.mono_ms, row.score.map(f64::to_bits))),
            _ => None,
        });
        scores.collect()
    }

    /// Closes, and checks what is in the file: as many sessions as were begun, no beat lost, grid points
    /// in step, and every row stamped by the offset of its session.
    async fn check(self, what: &str) {
        let health = self.store.health();
        assert_eq!((health.refused, health.dropped), (0, 0), "{what}");
        let kept = self.store.sessions(100).await.expect("it can be read");
        let begun: std::collections::BTreeSet<&String> = self
            .rows
            .iter()
            .filter_map(|row| match row {
                Row::Session(row) => Some(&row.id),
                _ => None,
            })
            .collect();
        assert_eq!(kept.len(), begun.len(), "{what}");
        let mut last_ms = None;
        for session in kept.iter().rev() {
            let (session, group) = self
                .store
                .session(session.session.id.clone())
                .await
                .expect("it can be read")
                .expect("it was listed");
            let session = session.session;
            for (nth, row) in group.iter().enumerate() {
                assert_eq!(
                    row.at.wall_ms - row.at.mono_ms,
                    session.offset_ms,
                    "{what}: {row:?}"
                );
                assert_eq!(row.at.synced, session.synced, "{what}");
                let step = last_ms.map(|last_ms| row.at.mono_ms - last_ms);
                let in_step = |step: i64| step == 5_000 || (nth == 0 && (1..5_000).contains(&step));
                assert!(
                    step.is_none_or(in_step),
                    "{what}: a step of {step:?} to {row:?} of {session:?}"
                );
                last_ms = Some(row.at.mono_ms);
            }
        }
        let ids: Vec<i64> = self
            .rows
            .iter()
            .filter_map(|row| match row {
                Row::Rr(row) => Some(row.id),
                _ => None,
            })
            .collect();
        assert!(
            ids.len() > 2_000 && ids.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "{what}"
        );
        self.store.close().await.expect("everything is written");
    }
}

#[tokio::test]
async fn a_step_of_the_clock_in_any_phase_leaves_scores_and_grid_as_they_were() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let mut undisturbed = Bench::new(&dir, BEGIN_MS, true);
    undisturbed.until(3 * LENGTH_MS);
    let expected = undisturbed.scores();
    assert!(expected.iter().filter(|(_, score)| score.is_some()).count() > 400);
    undisturbed.check("undisturbed").await;
    for step_ms in [YEARS_56_MS, -14 * 24 * HOUR_MS, HOUR_MS, -HOUR_MS] {
        for (phase, at_ms) in [
            ("preparation", 10_000),
            ("active", 150_000),
            ("integration", 260_000),
        ] {
            let what = format!("a step of {step_ms} ms in {phase}");
            let dir = tempfile::tempdir().expect("a directory for the test");
            let mut bench = Bench::new(&dir, BEGIN_MS, true);
            bench.until(at_ms);
            let before = bench.room.session_view(at_ms);
            bench.hand.set_wall(BEGIN_MS + at_ms + step_ms);
            bench.until(at_ms + 5_000);
            let after = bench.room.session_view(at_ms + 5_000);
            assert_eq!(
                (&after.id, after.starts_at),
                (&before.id, before.starts_at),
                "{what}"
            );
            assert_eq!(
                bench.room.offset_ms(),
                BEGIN_MS,
                "{what}: in the session nothing jumps"
            );
            bench.until(3 * LENGTH_MS);
            assert_eq!(
                bench.room.offset_ms(),
                BEGIN_MS + step_ms,
                "{what}: adopted at the boundary"
            );
            assert_eq!(bench.scores(), expected, "{what}");
            bench.check(&what).await;
        }
    }
}

#[tokio::test]
async fn a_clock_unknown_or_wrong_at_boot_and_right_later_joins_the_common_grid_at_its_boundary() {
    // Without a battery: at the epoch. With an empty one: years behind, or years ahead and believed.
    for (what, wall_ms, known) in [
        ("at the epoch", 0, false),
        ("two years behind", BEGIN_MS - 2 * 8_766 * HOUR_MS, false),
        (
            "56 years ahead, and believed",
            BEGIN_MS + YEARS_56_MS + 77_000,
            true,
        ),
    ] {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let mut bench = Bench::new(&dir, wall_ms, known);
        bench.until(100_000);
        let first = bench.room.session_view(100_000).id;
        assert_eq!(first.starts_with('b'), !known, "{what}: {first}");
        // The time comes over the network, a minute and a half into a slot.
        bench.hand.set_wall(BEGIN_MS + 90_000);
        bench.hand.set_known(true);
        bench.until(3 * LENGTH_MS);
        assert_eq!(bench.room.offset_ms(), BEGIN_MS - 10_000, "{what}");
        assert!(bench.room.clock_synced(), "{what}");
        let session = bench.room.session_view(3 * LENGTH_MS);
        assert_eq!(session.starts_at.rem_euclid(LENGTH_MS), 0, "{what}");
        assert!(
            session.id.starts_with("20261120T"),
            "{what}: {}",
            session.id
        );
        bench.check(what).await;
    }
}
