//! The session clock: which session it is, which phase, and when the next grid point comes.
//!
//! Calculate, don't count: everything here is a function of the monotonic time and of one offset.
//! Hub time = monotonic time + offset, and the offset changes only where a session begins, so hub
//! time never jumps inside a session. Not here: who is in the session.
//!
//! ```text
//!            wall clock not known to be right          known
//!   own grid  b<boot>-<n>  ───────────────┬──────────────────────▶ UTC grid  20261120T0945Z
//!                                         └ cut short at the next boundary of the UTC grid
//! ```
//!
//! An id is given once. A slot that comes again, because the clock was set back or the length of
//! sessions was changed, is another session: `20261120T0945Z-2`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::rows::{SessionRow, Stamp};
use super::view::Phase;

/// All scores are computed at multiples of this, counted from the beginning of the session.
pub const GRID_MS: i64 = 5_000;

/// Characters of the boot id in the ids of a hub that does not know the time.
pub(super) const BOOT_TAG_CHARS: usize = 8;

/// A wall clock that disagrees by less is slewed silently at the next boundary; one that disagrees
/// by more is on another grid, which is joined at that grid's next boundary.
const SAME_GRID_MS: i64 = 1_000;

/// Lengths, from the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionPlan {
    pub length_ms: i64,
    pub preparation_ms: i64,
    pub integration_ms: i64,
}

impl Default for SessionPlan {
    fn default() -> Self {
        SessionPlan {
            length_ms: 900_000,
            preparation_ms: 30_000,
            integration_ms: 120_000,
        }
    }
}

/// What the clocks say at one moment, as read by whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    pub mono_ms: i64,
    /// The wall clock, Unix ms.
    pub wall_ms: i64,
    /// Whether the wall clock is known to be right.
    pub known: bool,
}

/// The session that runs, and the clock by which it runs.
#[derive(Clone, Debug)]
pub struct SessionClock {
    plan: SessionPlan,
    /// First characters of the boot id, for the ids of the own grid.
    boot_tag: String,
    now_playing: SessionRow,
    /// Ids that were given to sessions. Some 35,000 a year, so a few megabytes in the life of a hub.
    taken: BTreeSet<String>,
    /// Where the session's grid of 5 s is anchored on the monotonic clock.
    grid_mono_ms: i64,
    /// Where the session would end by its own grid.
    nominal_end_mono_ms: i64,
    /// What the offset ought to be, once the wall clock is known to be right.
    target_offset_ms: Option<i64>,
}

impl SessionClock {
    /// The clock at `reading`. `resume` is the newest session that was stored in this boot: where
    /// it still runs, it goes on with its own offset, so that a restart shows nothing. `taken` are
    /// ids that a session which begins now must not have.
    pub fn new(
        plan: SessionPlan,
        boot_id: &str,
        reading: ClockReading,
        resume: Option<SessionRow>,
        mut taken: BTreeSet<String>,
    ) -> Self {
        let boot_tag: String = boot_id
            .chars()
            .filter(char::is_ascii_hexdigit)
            .take(BOOT_TAG_CHARS)
            .collect();
        let now = reading.mono_ms;
        let running = resume.filter(|row| row.start_mono_ms <= now && now < row.end_mono_ms);
        let now_playing = match running {
            Some(row) => row,
            None => {
                let offset_ms = reading.wall_ms - now;
                let slot = slot_at(plan, &boot_tag, now, offset_ms, reading.known);
                with_an_id_of_its_own(slot, &taken)
            }
        };
        taken.insert(now_playing.id.clone());
        let mut clock = SessionClock {
            plan,
            boot_tag,
            grid_mono_ms: now_playing.starts_at_ms - now_playing.offset_ms,
            nominal_end_mono_ms: now_playing.end_mono_ms,
            now_playing,
            taken,
            target_offset_ms: None,
        };
        clock.observe(reading);
        clock
    }

    pub fn session(&self) -> &SessionRow {
        &self.now_playing
    }

    /// Hub time (Unix ms) at a monotonic moment, by the offset in use.
    pub fn hub_time_ms(&self, mono_ms: i64) -> i64 {
        mono_ms + self.now_playing.offset_ms
    }

    pub fn stamp(&self, mono_ms: i64) -> Stamp {
        Stamp {
            mono_ms,
            wall_ms: self.hub_time_ms(mono_ms),
            synced: self.now_playing.synced,
        }
    }

    /// The phase at a moment of this session, and its end on the monotonic clock.
    pub fn phase(&self, mono_ms: i64) -> (Phase, i64) {
        let row = &self.now_playing;
        // From where the slot begins: after a slew that is not quite where the session before ended.
        let active = (self.grid_mono_ms + self.plan.preparation_ms).min(row.end_mono_ms);
        let integration = (row.end_mono_ms - self.plan.integration_ms).max(active);
        if mono_ms >= row.end_mono_ms {
            (Phase::Complete, row.end_mono_ms)
        } else if mono_ms >= integration {
            (Phase::Integration, row.end_mono_ms)
        } else if mono_ms >= active {
            (Phase::Active, integration)
        } else {
            (Phase::Preparation, active)
        }
    }

    /// The first grid point after `mono_ms`.
    pub fn next_grid(&self, mono_ms: i64) -> i64 {
        self.grid_mono_ms + ((mono_ms - self.grid_mono_ms).div_euclid(GRID_MS) + 1) * GRID_MS
    }

    /// The last grid point at or before `mono_ms`.
    pub fn last_grid(&self, mono_ms: i64) -> i64 {
        self.next_grid(mono_ms) - GRID_MS
    }

    /// Takes note of what the wall clock says. True when the end of the session moved.
    pub fn observe(&mut self, reading: ClockReading) -> bool {
        self.target_offset_ms = reading.known.then_some(reading.wall_ms - reading.mono_ms);
        if reading.mono_ms >= self.now_playing.end_mono_ms {
            // It is over: asked for the next boundary now, it would be prolonged to that.
            return false;
        }
        let mut end_mono_ms = self.nominal_end_mono_ms;
        if let Some(offset_ms) = self.other_grid() {
            let target_ms = reading.mono_ms + offset_ms;
            let boundary_ms = (target_ms.div_euclid(self.plan.length_ms) + 1) * self.plan.length_ms;
            end_mono_ms = end_mono_ms.min(boundary_ms - offset_ms);
        }
        let moved = (end_mono_ms - self.now_playing.end_mono_ms).abs() >= SAME_GRID_MS;
        if moved {
            self.now_playing.end_mono_ms = end_mono_ms;
            self.now_playing.ends_at_ms = end_mono_ms + self.now_playing.offset_ms;
        }
        moved
    }

    /// Begins the next session once the present one is over, and returns the one that ended.
    pub fn roll(&mut self, mono_ms: i64) -> Option<SessionRow> {
        if mono_ms < self.now_playing.end_mono_ms {
            return None;
        }
        let end = self.now_playing.end_mono_ms;
        // After a pause longer than a session (a suspended machine) there is nothing to continue.
        let begin = if mono_ms - end < self.plan.length_ms {
            end
        } else {
            mono_ms
        };
        let next = match self.target_offset_ms {
            Some(offset_ms) if self.near_boundary(begin + offset_ms) || begin != end => slot_at(
                self.plan,
                &self.boot_tag,
                begin + self.early(begin + offset_ms),
                offset_ms,
                true,
            ),
            _ => {
                let row = &self.now_playing;
                slot_at(self.plan, &self.boot_tag, begin, row.offset_ms, row.synced)
            }
        };
        let next = with_an_id_of_its_own(next, &self.taken);
        self.taken.insert(next.id.clone());
        let ended = std::mem::replace(&mut self.now_playing, next);
        self.grid_mono_ms = self.now_playing.starts_at_ms - self.now_playing.offset_ms;
        self.nominal_end_mono_ms = self.now_playing.end_mono_ms;
        if begin == end {
            self.now_playing.start_mono_ms = end;
        }
        Some(ended)
    }

    /// The offset that is wanted, where it means another grid than the present one.
    fn other_grid(&self) -> Option<i64> {
        let row = &self.now_playing;
        self.target_offset_ms
            .filter(|offset_ms| !row.synced || (offset_ms - row.offset_ms).abs() >= SAME_GRID_MS)
    }

    fn near_boundary(&self, hub_ms: i64) -> bool {
        let past = hub_ms.rem_euclid(self.plan.length_ms);
        past < SAME_GRID_MS || past > self.plan.length_ms - SAME_GRID_MS
    }

    /// How far before its boundary a time lies, where it lies just before one.
    fn early(&self, hub_ms: i64) -> i64 {
        let left = self.plan.length_ms - hub_ms.rem_euclid(self.plan.length_ms);
        if left < SAME_GRID_MS { left } else { 0 }
    }
}

/// The slot that contains a moment: on the UTC grid where the time is known, else on the boot's own.
fn slot_at(
    plan: SessionPlan,
    boot_tag: &str,
    mono_ms: i64,
    offset_ms: i64,
    known: bool,
) -> SessionRow {
    let (id, start_mono_ms) = if known {
        let start_ms = (mono_ms + offset_ms).div_euclid(plan.length_ms) * plan.length_ms;
        (slot_id(start_ms), start_ms - offset_ms)
    } else {
        let n = mono_ms.div_euclid(plan.length_ms);
        (format!("b{boot_tag}-{n}"), n * plan.length_ms)
    };
    SessionRow {
        id,
        starts_at_ms: start_mono_ms + offset_ms,
        ends_at_ms: start_mono_ms + offset_ms + plan.length_ms,
        start_mono_ms,
        end_mono_ms: start_mono_ms + plan.length_ms,
        offset_ms,
        synced: known,
    }
}

/// The slot, with a number behind its id where that was given before.
fn with_an_id_of_its_own(slot: SessionRow, taken: &BTreeSet<String>) -> SessionRow {
    let again = (2..).map(|nth| format!("{}-{nth}", slot.id));
    let id = std::iter::once(slot.id.clone())
        .chain(again)
        .find(|id| !taken.contains(id))
        .expect("some number is free");
    SessionRow { id, ..slot }
}

/// `20261120T0945Z` for the slot that begins at a Unix time in ms.
fn slot_id(start_ms: i64) -> String {
    let start = Timestamp::from_millisecond(start_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    start
        .to_zoned(TimeZone::UTC)
        .strftime("%Y%m%dT%H%MZ")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: i64 = 900_000;
    /// 2026-11-20 09:45:00 UTC.
    const AT_0945: i64 = 1_795_167_900_000;

    fn reading(mono_ms: i64, wall_ms: i64, known: bool) -> ClockReading {
        ClockReading {
            mono_ms,
            wall_ms,
            known,
        }
    }

    fn clock(mono_ms: i64, wall_ms: i64, known: bool) -> SessionClock {
        SessionClock::new(
            SessionPlan::default(),
            "0fe1-22aa-33",
            reading(mono_ms, wall_ms, known),
            None,
            BTreeSet::new(),
        )
    }

    #[test]
    fn a_session_is_named_by_its_slot_of_utc() {
        let clock = clock(5_000, AT_0945 + 61_000, true);
        let row = clock.session();
        assert_eq!(row.id, "20261120T0945Z");
        assert_eq!(
            (row.starts_at_ms, row.ends_at_ms),
            (AT_0945, AT_0945 + SLOT)
        );
        assert_eq!(clock.hub_time_ms(5_000), AT_0945 + 61_000);
    }

    #[test]
    fn phases_are_half_open_intervals() {
        let clock = clock(0, AT_0945, true);
        for (at, phase, end) in [
            (0, Phase::Preparation, 30_000),
            (29_999, Phase::Preparation, 30_000),
            (30_000, Phase::Active, 780_000),
            (779_999, Phase::Active, 780_000),
            (780_000, Phase::Integration, SLOT),
            (899_999, Phase::Integration, SLOT),
            (SLOT, Phase::Complete, SLOT),
        ] {
            assert_eq!(clock.phase(at), (phase, end), "at {at}");
        }
    }

    #[test]
    fn grid_points_lie_on_the_sessions_grid() {
        let clock = clock(1_234, AT_0945 + 1_234, true);
        assert_eq!(clock.next_grid(1_234), 5_000);
        assert_eq!(clock.next_grid(4_999), 5_000);
        assert_eq!(clock.next_grid(5_000), 10_000);
        assert_eq!(clock.last_grid(9_999), 5_000);
    }

    #[test]
    fn a_hub_that_does_not_know_the_time_runs_on_its_own_grid_and_joins_utc_at_a_boundary() {
        let mut clock = clock(100_000, 7_000_000, false);
        assert_eq!(clock.session().id, "b0fe122aa-0");
        assert_eq!(
            clock.session().starts_at_ms,
            6_900_000,
            "hub time does not jump back to the grid's begin"
        );
        // The time becomes known ten minutes into the slot of 09:45.
        let wall = AT_0945 + 600_000;
        assert!(clock.observe(reading(200_000, wall, true)));
        assert_eq!(clock.session().end_mono_ms, 500_000);
        assert_eq!(
            clock.hub_time_ms(200_000),
            7_100_000,
            "the offset waits for the boundary"
        );
        assert_eq!(
            clock.phase(400_000).0,
            Phase::Integration,
            "a session that is cut short still rests"
        );
        assert!(clock.roll(499_999).is_none());
        let ended = clock.roll(500_000).expect("the boundary was reached");
        assert_eq!(ended.id, "b0fe122aa-0");
        assert_eq!(clock.session().id, "20261120T1000Z");
        assert_eq!(clock.session().start_mono_ms, 500_000);
        assert!(clock.session().synced);
    }

    #[test]
    fn a_drift_of_milliseconds_is_taken_over_at_the_boundary_without_a_second_slot() {
        for drift in [-40, 0, 40] {
            let mut clock = clock(0, AT_0945, true);
            assert!(!clock.observe(reading(600_000, AT_0945 + 600_000 + drift, true)));
            clock.roll(SLOT).expect("the slot is over");
            let row = clock.session().clone();
            assert_eq!(row.id, "20261120T1000Z", "drift {drift}");
            assert_eq!(row.start_mono_ms, SLOT, "no hole between sessions");
            assert_eq!(row.offset_ms, AT_0945 + drift);
            assert_eq!(row.end_mono_ms, 2 * SLOT - drift);
            assert_eq!(clock.next_grid(SLOT + 4_000), SLOT + 5_000 - drift);
            let (_, active) = clock.phase(SLOT + 100);
            assert_eq!(clock.hub_time_ms(active), row.starts_at_ms + 30_000);
        }
    }

    #[test]
    fn a_step_of_years_waits_for_the_new_grids_boundary() {
        for step in [
            56 * 365 * 86_400_000_i64,
            -14 * 86_400_000,
            3_600_000 + 300_000,
        ] {
            let mut clock = clock(0, AT_0945, true);
            clock.observe(reading(100_000, AT_0945 + 100_000 + step, true));
            let end = clock.session().end_mono_ms;
            assert!(end <= SLOT);
            assert_eq!(
                clock.hub_time_ms(end),
                AT_0945 + end,
                "hub time does not jump in mid-session"
            );
            clock.roll(end).expect("ended");
            if (end + AT_0945 + step).rem_euclid(SLOT) == 0 {
                assert_eq!(clock.session().starts_at_ms, AT_0945 + end + step);
            }
        }
    }

    #[test]
    fn a_restart_goes_on_with_the_same_session_and_offset() {
        let first = clock(0, AT_0945, true);
        let restarted = SessionClock::new(
            SessionPlan::default(),
            "0fe1-22aa-33",
            reading(300_000, AT_0945 + 300_007, true),
            Some(first.session().clone()),
            BTreeSet::from([first.session().id.clone()]),
        );
        assert_eq!(restarted.session(), first.session());
        assert_eq!(restarted.hub_time_ms(300_000), AT_0945 + 300_000);
        let much_later = SessionClock::new(
            SessionPlan::default(),
            "0fe1-22aa-33",
            reading(1_000_000, AT_0945 + 1_000_007, true),
            Some(first.session().clone()),
            BTreeSet::from([first.session().id.clone()]),
        );
        assert_eq!(much_later.session().id, "20261120T1000Z");
        assert_eq!(much_later.hub_time_ms(1_000_000), AT_0945 + 1_000_007);
    }

    #[test]
    fn a_machine_that_slept_wakes_in_the_right_session() {
        let mut clock = clock(0, AT_0945, true);
        let now = 10 * SLOT + 12_345;
        clock.observe(reading(now, AT_0945 + now, true));
        clock.roll(now).expect("it is long over");
        assert_eq!(clock.session().id, "20261120T1215Z");
        assert!(clock.roll(now).is_none());
    }

    /// Lets the clock run for a while, looked at each second; gives the sessions that it goes through.
    fn run(
        clock: &mut SessionClock,
        from_ms: i64,
        until_ms: i64,
        wall: impl Fn(i64) -> (i64, bool),
    ) -> Vec<SessionRow> {
        let mut sessions = Vec::new();
        for now in (from_ms..until_ms).step_by(1_000) {
            let (wall_ms, known) = wall(now);
            clock.observe(reading(now, wall_ms, known));
            sessions.extend(clock.roll(now));
        }
        sessions.push(clock.session().clone());
        sessions
    }

    const HOUR: i64 = 3_600_000;

    #[test]
    fn whatever_the_wall_clock_does_in_whichever_phase_sessions_follow_each_other_and_no_id_comes_twice()
     {
        let steps = [
            56 * 8_766 * HOUR,
            56 * 8_766 * HOUR + 123_456,
            -14 * 24 * HOUR,
            HOUR,
            -HOUR,
            -SLOT,
            -600_000,
            -2_000,
            700,
        ];
        for (step, at, back) in steps
            .into_iter()
            .flat_map(|step| [10_000, 400_000, 800_000].map(|at| (step, at)))
            .flat_map(|(step, at)| [None, Some(3 * SLOT)].map(|back| (step, at, back)))
        {
            let mut clock = clock(0, AT_0945, true);
            // The clock is set wrong in some phase and, in half of the cases, right again later.
            let wall = |now: i64| {
                let wrong = now >= at && back.is_none_or(|back| now < at + back);
                (AT_0945 + now + if wrong { step } else { 0 }, true)
            };
            let sessions = run(&mut clock, 0, 10 * SLOT, wall);
            let ids: BTreeSet<_> = sessions.iter().map(|row| row.id.clone()).collect();
            assert_eq!(
                ids.len(),
                sessions.len(),
                "step {step} at {at}: {sessions:?}"
            );
            for (before, after) in sessions.iter().zip(&sessions[1..]) {
                assert_eq!(
                    before.end_mono_ms, after.start_mono_ms,
                    "step {step} at {at}"
                );
            }
            let last = &sessions[sessions.len() - 1];
            let (wall_ms, _) = wall(10 * SLOT);
            assert!(
                (last.offset_ms + 10 * SLOT - wall_ms).abs() < 2,
                "step {step} at {at} back {back:?}: the new time is adopted in the end"
            );
            assert_eq!(last.starts_at_ms.rem_euclid(SLOT), 0, "on the grid of UTC");
        }
    }

    #[test]
    fn a_slot_that_comes_again_is_another_session() {
        let mut clock = clock(0, AT_0945, true);
        let sessions = run(&mut clock, 0, 6 * SLOT, |now| {
            (AT_0945 + now - if now >= SLOT / 2 { HOUR } else { 0 }, true)
        });
        let ids: Vec<_> = sessions.iter().map(|row| row.id.as_str()).collect();
        assert_eq!(
            ids,
            [
                "20261120T0945Z",
                "20261120T0900Z",
                "20261120T0915Z",
                "20261120T0930Z",
                "20261120T0945Z-2",
                "20261120T1000Z"
            ]
        );
    }

    #[test]
    fn ids_of_the_store_are_not_given_again_and_a_changed_length_makes_no_exception() {
        let taken = ["b0fe122aa-0", "20261120T0945Z", "20261120T0945Z-2"];
        let begin = |length_ms, known| {
            let plan = SessionPlan {
                length_ms,
                ..SessionPlan::default()
            };
            let taken = taken.into_iter().map(str::to_owned).collect();
            let reading = reading(100_000, AT_0945 + 100_000, known);
            SessionClock::new(plan, "0fe1-22aa-33", reading, None, taken)
                .session()
                .id
                .clone()
        };
        assert_eq!(begin(SLOT, true), "20261120T0945Z-3");
        assert_eq!(begin(2 * SLOT, false), "b0fe122aa-0-2");
    }
}
