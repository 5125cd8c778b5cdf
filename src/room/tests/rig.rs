//! The room with straps that beat and a clock turned by hand, for its tests. No assertions.

use coherence_hal::{SourceEvent, StrapEvent, StrapNews};

use super::*;
use crate::signal::course::Point;

/// 2026-11-20 09:45:00 UTC, where the monotonic clock shows 0.
pub const BEGIN: i64 = 1_795_167_900_000;
pub const BOOT: &str = "0fe122aa-1111-2222-3333-444455556666";

/// A room whose straps beat: R-R of 900 ms, swinging by 60 ms at 0.1 Hz, each strap with a phase of its own
/// at first.
pub struct Rig {
    pub room: Room,
    pub now_ms: i64,
    pub grid_ms: i64,
    pub straps: Vec<Beating>,
    pub rows: Vec<Row>,
}

pub struct Beating {
    pub id: StrapId,
    pub next_beat_ms: f64,
    pub mean_ms: f64,
    pub swing_ms: f64,
    pub phase_rad: f64,
    pub contact: Option<bool>,
    pub silent: bool,
}

impl Rig {
    pub fn new(straps: usize) -> Self {
        Rig::at(
            straps,
            0,
            Remembered {
                next_rr_id: 1,
                next_claim_no: 1,
                ..Remembered::default()
            },
        )
    }

    pub fn at(straps: usize, now_ms: i64, past: Remembered) -> Self {
        let room = Room::new(settings(), BOOT, reading(now_ms), past);
        let beating = |k: usize| Beating {
            id: StrapId::new("test", &k.to_string()),
            next_beat_ms: now_ms as f64 + 37.0 * k as f64,
            mean_ms: 900.0,
            swing_ms: 60.0,
            phase_rad: (k - 1) as f64,
            contact: Some(true),
            silent: false,
        };
        let grid_ms = room.next_grid(now_ms);
        let mut rig = Rig {
            room,
            now_ms,
            grid_ms,
            straps: (1..=straps).map(beating).collect(),
            rows: Vec::new(),
        };
        rig.rows.append(&mut rig.room.take_rows(now_ms));
        rig
    }

    /// Lets time pass: every second each strap sends its beats, every 5 s the grid is scored.
    pub fn until(&mut self, end_ms: i64) {
        while self.now_ms < end_ms {
            self.now_ms = (self.now_ms + 1_000).min(end_ms);
            self.room.observe_clock(reading(self.now_ms));
            for k in 0..self.straps.len() {
                self.send(k);
            }
            self.room.tick(self.now_ms);
            while self.grid_ms <= self.now_ms {
                let job = self.room.grid_job(self.grid_ms);
                self.room
                    .finish_grid(job.compute(&mut Scorer::new(Version::CURRENT)));
                self.grid_ms = self.room.next_grid(self.grid_ms);
            }
            self.rows.append(&mut self.room.take_rows(self.now_ms));
        }
    }

    pub fn send(&mut self, k: usize) {
        let strap = &mut self.straps[k];
        let mut rr = Vec::new();
        loop {
            let swing =
                (std::f64::consts::TAU * 0.1 * strap.next_beat_ms / 1000.0 + strap.phase_rad).sin();
            let ticks = ((strap.mean_ms + strap.swing_ms * swing) * 1.024).round() as u16;
            let end = strap.next_beat_ms + Rr::Ticks(ticks).ms();
            if end > self.now_ms as f64 {
                break;
            }
            strap.next_beat_ms = end;
            rr.push(Rr::Ticks(ticks));
        }
        if strap.silent {
            return;
        }
        let measurement = Measurement {
            hr_bpm: 67,
            contact: strap.contact,
            energy_kj: None,
            rr_flag: true,
            rr,
            reserved_flags: 0,
            trailing_bytes: 0,
        };
        let event = StrapEvent {
            strap: strap.id.clone(),
            at_ms: self.now_ms,
            news: StrapNews::Measurement(measurement),
        };
        self.room.source_event("test", SourceEvent::Strap(event));
    }

    pub fn join(&mut self, n: u128, strap: Option<&str>) -> Result<Reply, command::Refusal> {
        let outcome = self
            .room
            .apply(Command::Join(join(n, strap, false)), self.now_ms);
        self.rows.append(&mut self.room.take_facts());
        outcome.map(|outcome| outcome.reply)
    }

    pub fn apply(&mut self, command: Command) -> Result<Outcome, command::Refusal> {
        let outcome = self.room.apply(command, self.now_ms);
        self.rows.append(&mut self.room.take_facts());
        outcome
    }

    pub fn feedback(&self, n: u128) -> view::FeedbackView {
        self.room.feedback(person(n), self.now_ms)
    }

    /// What a restart finds: everything that was committed, as the store would hand it back.
    pub fn remembered(&self) -> Remembered {
        let mut past = Remembered {
            next_rr_id: 1,
            next_claim_no: 1,
            ..Remembered::default()
        };
        for row in &self.rows {
            match row.clone() {
                Row::Session(row) => past.session = Some(row),
                Row::Strap(row) => {
                    past.straps.retain(|old| old.no != row.no);
                    past.straps.push(row);
                }
                Row::Twins(row) => past.twins.push(row),
                Row::Participant(row) => past.participants.push(row),
                Row::Participation(row) => {
                    past.participations
                        .retain(|old| old.participant != row.participant);
                    past.participations.push(row);
                }
                Row::Claim(row) => {
                    past.next_claim_no = past.next_claim_no.max(row.no + 1);
                    past.claims.retain(|old| old.no != row.no);
                    past.last_claims.push((row.participant, row.strap));
                    past.claims
                        .extend(Some(row).filter(|row| row.until.is_none()));
                }
                Row::Rr(row) => {
                    past.next_rr_id = row.id + 1;
                    past.recent_rr.push(row);
                }
                Row::Group(row) => past.group.push(row),
                Row::Score(row) => {
                    let at_ms = row.at.wall_ms;
                    let point = row.score.map(|score| Point { at_ms, score });
                    past.own_scores.extend(row.participant.zip(point));
                }
                Row::Stage(row) => {
                    past.stages.retain(|old| old.id != row.id);
                    past.stages.push(row);
                }
                Row::StageFreed { name } => {
                    past.stages
                        .retain(|old| old.id != StageId::Named(name.clone()));
                }
                Row::ForgetStrap { strap, rests, .. } => {
                    past.straps.retain(|row| row.no != strap);
                    past.twins
                        .retain(|row| row.low != strap && row.high != strap);
                    past.resting.extend(Some(strap).filter(|_| rests));
                }
                Row::Pair(_) | Row::Consent(_) | Row::Erase { .. } => {}
            }
        }
        past
    }
}

pub fn settings() -> Settings {
    Settings {
        plan: SessionPlan::default(),
        suppression: Suppression {
            min_group: 3,
            min_distribution: 5,
        },
        max_participants: 10,
        keep_ms: 30 * 86_400_000,
        stage: StageRules::default(),
    }
}

pub fn reading(mono_ms: i64) -> ClockReading {
    ClockReading {
        mono_ms,
        wall_ms: BEGIN + mono_ms,
        known: true,
    }
}

pub fn person(n: u128) -> ParticipantId {
    ParticipantId(Uuid::from_u128(n))
}

pub fn join(n: u128, strap: Option<&str>, resumed: bool) -> Join {
    Join {
        participant: person(n),
        resumed,
        session_id: None,
        name: Some(format!("Person {n}")),
        intention: None,
        strap: strap.map(str::to_owned),
        consent: None,
        role: None,
        socket: None,
        facilitator: false,
        peer: IpAddr::from([10, 0, 0, n as u8]),
    }
}

pub fn refused(result: Result<Reply, command::Refusal>) -> RefusalCode {
    result.expect_err("must be refused").code
}
