//! The room's rules, pure: who is here, whose heart is whose, what the session clock says, what may
//! be seen. Every method takes the time; nothing here waits, reads a clock or touches a disk.
//!
//! ```text
//!  source_event ─▶ arrival ─▶ heart ─┐                        ┌▶ group ─▶ view
//!                                    ├─ grid_job ─▶ compute ─▶│ finish_grid
//!  apply(command) ─▶ people, straps ─┘   (another thread)     └▶ rows ─▶ store
//! ```
//!
//! What is to be kept collects as rows ([`Room::take_rows`]), what is to be logged as notes, what is
//! to be counted as counts; the task around the room takes them and acts.

mod arrival;
mod cause;
mod claims;
pub mod command;
mod commands;
mod grid;
mod group;
mod hearing;
mod heart;
pub mod my_heart;
mod people;
mod proof;
mod radios;
mod registry;
mod remembered;
mod roles;
pub mod rows;
mod session;
mod stage;
mod stage_commands;
pub mod stage_view;
mod stages;
mod straps;
pub mod twins;
pub mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use coherence_hal::{SourceState, Wish};
use uuid::Uuid;

pub use cause::CODES as CAUSES;
pub use commands::Outcome;
pub use grid::{GridJob, GridResult, remade};
pub use group::{Suppression, view as shown_group};
pub use proof::{SettingsHash, Window};
pub use remembered::Remembered;
pub use roles::Role;
pub use session::{ClockReading, GRID_MS, SessionPlan};
pub use stage::{Anchor, Message, Scene, StageWish, State};
pub use stages::{StageChanges, StageId, StageRules};

use arrival::Placed;
use group::Group;
use heart::Heart;
use people::People;
use radios::Radios;
use rows::{GroupRow, Row, RrMark, RrRow};
use session::SessionClock;
use stages::Stages;
use straps::Straps;
use view::{BeatView, GroupView, Phase, SessionView, SourceView, StrapView};

/// A person in the room: random (version 4), so that it says nothing about when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParticipantId(pub Uuid);

impl fmt::Display for ParticipantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A strap's number in the hub's registry, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StrapNo(pub u32);

/// A heart as the room hears it: through a strap, or through the phone of a person without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HeartKey {
    Strap(StrapNo),
    Phone(ParticipantId),
}

/// The room's own settings, from the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub plan: SessionPlan,
    pub suppression: Suppression,
    /// People present at most.
    pub max_participants: u32,
    /// Who was not here for so long is forgotten, ms.
    pub keep_ms: i64,
    pub stage: StageRules,
}

impl HeartKey {
    /// Who measured: `strap` or `phone`, everywhere the same word.
    pub fn origin(self) -> &'static str {
        match self {
            HeartKey::Strap(_) => "strap",
            HeartKey::Phone(_) => "phone",
        }
    }
}

/// What changed for everybody since the changes were last taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// A phase or a session began, or a session's end moved.
    pub session: bool,
    pub people: Option<Presence>,
    /// A grid point was scored.
    pub group: bool,
    /// The link of a strap changed.
    pub links: bool,
}

/// Who is present changed: somebody came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Joined,
    Left,
}

/// Something worth a line in the log: a change, never a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    SessionBegan {
        id: String,
    },
    StrapNew {
        label: String,
    },
    StrapStreaming {
        label: String,
    },
    StrapSilent {
        label: String,
        code: &'static str,
        why: String,
        advice: &'static str,
    },
    /// Its beats arrive and give a score.
    StrapScored {
        label: String,
    },
    /// Its beats arrive and give none.
    StrapUnscored {
        label: String,
        code: &'static str,
        why: String,
    },
    StrapBatteryLow {
        label: String,
        percent: u8,
    },
    /// Two entries of the registry are one strap with two radios.
    TwinsFound {
        label: String,
        other: String,
    },
    /// They are not, after all.
    TwinsParted {
        label: String,
        other: String,
    },
    SourceChanged {
        name: &'static str,
        state: SourceState,
    },
    /// A source took a step to hear again.
    Recovery {
        source: &'static str,
        rung: &'static str,
        /// The label of the strap it was for.
        strap: Option<String>,
        why: String,
    },
}

/// What came in since the counts were last taken.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// R-R intervals by their mark.
    pub rr: BTreeMap<RrMark, u64>,
    pub malformed: u64,
    pub duplicates: u64,
    /// Bytes in measurements that belong to no field.
    pub trailing_bytes: u64,
    pub gaps: u64,
    /// Straps that were not heard for so long that they were forgotten.
    pub straps_forgotten: u64,
    /// Beats that straps counted and nobody heard.
    pub missing: u64,
    /// Losses that belong to no strap, by what was lost.
    pub of_sources: BTreeMap<&'static str, u64>,
    /// Steps of recovery, by rung.
    pub steps: BTreeMap<&'static str, u64>,
}

/// The room.
pub struct Room {
    settings: Settings,
    clock: SessionClock,
    straps: Straps,
    radios: Radios,
    hearts: BTreeMap<HeartKey, Heart>,
    people: People,
    stages: Stages,
    sources: Vec<SourceView>,
    next_rr_id: i64,
    /// The newest grid point of this session.
    group: Option<(Group, GroupRow)>,
    /// The highest shown average so far in this session, exact.
    peak: Option<f64>,
    last_phase: Phase,
    /// The session that ended last, as it is seen afterwards.
    ended: Option<SessionView>,
    changes: Changes,
    /// Facts to commit at once.
    facts: Vec<Row>,
    /// Beats and scores, committed at the grid point.
    beats: Vec<Row>,
    notes: Vec<Note>,
    /// Beats that people's own phones are told of.
    pulses: Vec<(ParticipantId, BeatView)>,
    wishes: Vec<Wish>,
    counts: Counts,
    /// Scratch for placed intervals.
    placed: Vec<Placed>,
}

impl Room {
    /// The room as it was left, at the time that the clocks say.
    pub fn new(
        settings: Settings,
        boot_id: &str,
        reading: ClockReading,
        mut past: Remembered,
    ) -> Self {
        let clock = SessionClock::new(
            settings.plan,
            boot_id,
            reading,
            past.session.clone(),
            std::mem::take(&mut past.session_ids),
        );
        let now = clock.stamp(reading.mono_ms);
        let everybody_went = past.off_ms(&clock.session().id, now) >= people::ABSENT_MS;
        let session_id = &clock.session().id;
        let same = |row: &&GroupRow| row.session_id == *session_id && !row.suppressed;
        let peak = past
            .group
            .iter()
            .filter(same)
            .filter_map(|row| row.average)
            .reduce(f64::max);
        let goes_on = past
            .session
            .as_ref()
            .is_some_and(|row| row.id == *session_id);
        // The figures of the grid point that still counts, so that nobody sees the restart.
        let grid_ms = clock.last_grid(reading.mono_ms);
        let newest = past
            .group
            .last()
            .filter(|row| row.session_id == *session_id);
        let scored_in = newest.is_some();
        let group = newest
            .filter(|row| (0..=GRID_MS).contains(&(clock.hub_time_ms(grid_ms) - row.at.wall_ms)))
            .map(|row| (Group::remembered(row), row.clone()));
        let mut hearts: BTreeMap<HeartKey, Vec<RrRow>> = BTreeMap::new();
        for row in past.recent_rr {
            hearts.entry(row.heart).or_default().push(row);
        }
        let hearts = hearts
            .into_iter()
            .map(|(key, rows)| {
                let mut heart = Heart::default();
                heart.resume(&rows);
                (key, heart)
            })
            .collect();
        let mut facts = Vec::new();
        // A strap that was forgotten is nobody's.
        let known: BTreeSet<StrapNo> = past.straps.iter().map(|row| row.no).collect();
        past.claims.retain(|row| known.contains(&row.strap));
        past.last_claims.retain(|(_, no)| known.contains(no));
        let mut people = People::remembered(
            past.participants,
            past.participations,
            past.claims,
            past.last_claims,
            past.next_claim_no,
            now,
        );
        if scored_in {
            for (id, point) in past.own_scores {
                people.note_score(id, point);
            }
        }
        if everybody_went {
            people.all_gone(now, &mut facts);
        }
        let session = clock.session();
        let stages = Stages::remembered(
            past.stages,
            &session.id,
            session.start_mono_ms,
            everybody_went,
            now,
        );
        let mut room = Room {
            settings,
            last_phase: clock.phase(reading.mono_ms).0,
            clock,
            straps: Straps::remembered(past.straps, past.resting, reading.mono_ms),
            radios: Radios::remembered(past.twins),
            hearts,
            people,
            stages,
            sources: Vec::new(),
            next_rr_id: past.next_rr_id,
            group,
            peak,
            ended: None,
            changes: Changes::default(),
            facts,
            beats: Vec::new(),
            notes: Vec::new(),
            pulses: Vec::new(),
            wishes: Vec::new(),
            counts: Counts::default(),
            placed: Vec::new(),
        };
        room.session_begins(reading.mono_ms);
        if goes_on {
            // A restart is no news of the room.
            room.straps_are_no_news(reading.mono_ms);
            room.notes.clear();
        }
        room
    }

    /// Takes note of what the clocks say; call it about once a second.
    pub fn observe_clock(&mut self, reading: ClockReading) {
        if self.clock.observe(reading) {
            self.facts.push(Row::Session(self.clock.session().clone()));
            self.changes.session = true;
        }
    }

    /// What time alone brings: held values, phases, sessions, absences.
    pub fn tick(&mut self, now_ms: i64) {
        let due: Vec<HeartKey> = self
            .hearts
            .iter()
            .filter(|(_, heart)| heart.settles_at().is_some_and(|at| at <= now_ms))
            .map(|(key, _)| *key)
            .collect();
        for key in due {
            let mut placed = std::mem::take(&mut self.placed);
            if let Some(heart) = self.hearts.get_mut(&key) {
                heart.settle(now_ms, &mut placed);
            }
            self.keep(key, placed);
        }
        let ending = self.session_view(now_ms);
        if self.clock.roll(now_ms).is_some() {
            self.ended = Some(SessionView {
                phase: Phase::Complete,
                phase_ends_at: ending.ends_at,
                ..ending
            });
            self.group = None;
            self.peak = None;
            self.people.begin_course();
            self.people.forget_straps_of_the_absent();
            self.people.forget_old(self.settings.keep_ms, now_ms);
            self.forget_outdated_straps(now_ms);
            self.write_down_straps();
            self.session_begins(now_ms);
            self.begin_session_on_stages(now_ms);
            self.changes.session = true;
        }
        self.tick_stages(now_ms);
        let phase = self.clock.phase(now_ms).0;
        if phase != self.last_phase {
            self.last_phase = phase;
            self.changes.session = true;
        }
        if self.people.note_absent(now_ms, &mut self.facts) {
            self.changes.people = Some(Presence::Left);
            self.forget_phones_of_the_absent();
        }
        self.tend_radios(now_ms);
        self.note_straps(now_ms);
    }

    fn session_begins(&mut self, now_ms: i64) {
        let session = self.clock.session().clone();
        self.notes.push(Note::SessionBegan {
            id: session.id.clone(),
        });
        self.facts.push(Row::Session(session.clone()));
        let worn = self.people.worn();
        let carriers = worn.iter().map(|no| self.radios.carrier(*no));
        let wanted = carriers.filter_map(|no| self.straps.id_of(no));
        self.wishes.push(Wish::SessionBegins {
            wanted: wanted.collect(),
        });
        self.people
            .carry_over(&session.id, self.clock.stamp(now_ms), &mut self.facts);
    }

    /// What a phone said two minutes ago is no figure any more, and most people go by closing the
    /// page: without this their beats would stay in memory for ever.
    fn forget_phones_of_the_absent(&mut self) {
        let people = &self.people;
        self.hearts.retain(|key, _| match key {
            HeartKey::Strap(_) => true,
            HeartKey::Phone(id) => people.get(*id).is_some_and(|person| person.takes_part()),
        });
    }

    /// When [`Room::tick`] has something to do that can be told in advance, if nothing happens before.
    pub fn next_deadline(&self, now_ms: i64) -> i64 {
        let phase_end = self.clock.phase(now_ms).1;
        let settle = self
            .hearts
            .values()
            .filter_map(Heart::settles_at)
            .min()
            .unwrap_or(i64::MAX);
        phase_end
            .min(settle)
            .min(self.stages.due_ms())
            .min(now_ms + 1_000)
    }

    /// Hub time (Unix ms) minus monotonic time.
    pub fn offset_ms(&self) -> i64 {
        self.clock.session().offset_ms
    }

    pub fn clock_synced(&self) -> bool {
        self.clock.session().synced
    }

    /// The first grid point after a moment.
    pub fn next_grid(&self, mono_ms: i64) -> i64 {
        self.clock.next_grid(mono_ms)
    }

    /// The last grid point of this session at or before a moment, if there has been one.
    pub fn last_grid(&self, mono_ms: i64) -> Option<i64> {
        Some(self.clock.last_grid(mono_ms)).filter(|at| *at >= self.clock.session().start_mono_ms)
    }

    pub fn session_view(&self, now_ms: i64) -> SessionView {
        let session = self.clock.session();
        let (phase, phase_end) = self.clock.phase(now_ms);
        SessionView {
            id: session.id.clone(),
            starts_at: session.starts_at_ms,
            ends_at: session.ends_at_ms,
            phase,
            phase_ends_at: self.clock.hub_time_ms(phase_end),
            participants: self.people.present(),
            scored: self.group.as_ref().map_or(0, |(group, _)| group.scored),
        }
    }

    /// The session that ended last in this run of the hub, complete.
    pub fn ended_view(&self) -> Option<SessionView> {
        self.ended.clone()
    }

    /// The group at the newest grid point; with no figures before the session's first.
    pub fn group_view(&self, now_ms: i64) -> GroupView {
        match &self.group {
            Some((_, row)) => group::view(row, self.peak, self.settings.suppression),
            None => {
                let at = self.clock.stamp(self.clock.last_grid(now_ms));
                let none = Group {
                    suppressed: true,
                    ..Group::default()
                };
                let row = none.row(&self.clock.session().id, at, self.people.present());
                group::view(&row, None, self.settings.suppression)
            }
        }
    }

    pub fn strap_views(&self, now_ms: i64) -> Vec<StrapView> {
        let leads = self.straps.iter().map(|strap| strap.row.no);
        let leads = leads.filter(|no| self.radios.lead(*no) == *no);
        leads.map(|no| self.strap_view(no, now_ms)).collect()
    }

    pub fn source_views(&self) -> Vec<SourceView> {
        self.sources.clone()
    }

    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// Facts to commit at once.
    pub fn take_facts(&mut self) -> Vec<Row> {
        if self.facts.is_empty() {
            return Vec::new();
        }
        self.facts_with_straps()
    }

    /// Everything that is to be kept, for the commit of a grid point.
    pub fn take_rows(&mut self, now_ms: i64) -> Vec<Row> {
        self.keep_stages(now_ms);
        let mut rows = self.facts_with_straps();
        rows.append(&mut self.beats);
        rows
    }

    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// Beats since they were last taken, each with whose it is.
    pub fn take_pulses(&mut self) -> Vec<(ParticipantId, BeatView)> {
        std::mem::take(&mut self.pulses)
    }

    /// What the sources are to be told.
    pub fn take_wishes(&mut self) -> Vec<Wish> {
        std::mem::take(&mut self.wishes)
    }

    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }
}

#[cfg(test)]
mod tests;
