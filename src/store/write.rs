//! How each row is laid down in its table. Every statement stands for itself and may be repeated;
//! transactions, retries and erasure are others' business.

use std::cell::Cell;

use coherence_hal::Origin;
use rusqlite::{Connection, OptionalExtension, params};

use super::erase;
use super::moment::Moment;
use super::outbox;
use super::stages;
use crate::room::rows::{
    ClaimRow, ConsentRow, GroupRow, PairRow, ParticipantRow, ParticipationRow, Row, RrRow,
    ScoreRow, SessionRow, Stamp, StrapRow, TwinsRow,
};
use crate::room::{HeartKey, ParticipantId, StrapNo};

/// For an upsert: replaces a stamp, but leaves its boot alone where the stamp is the old one. A row
/// that was read back after a reboot and is written again must not move into the present boot.
macro_rules! restamp {
    ($name:literal) => {
        concat!(
            $name,
            "_boot_no = CASE WHEN (",
            $name,
            "_mono_ms, ",
            $name,
            "_wall_ms) IS (excluded.",
            $name,
            "_mono_ms, excluded.",
            $name,
            "_wall_ms) THEN ",
            $name,
            "_boot_no ELSE excluded.",
            $name,
            "_boot_no END, ",
            $name,
            "_mono_ms = excluded.",
            $name,
            "_mono_ms, ",
            $name,
            "_wall_ms = excluded.",
            $name,
            "_wall_ms, ",
            $name,
            "_wall_synced = excluded.",
            $name,
            "_wall_synced"
        )
    };
}

/// For an update: nothing stays of what a strap is recognised by, and of what it says of itself.
macro_rules! blank_strap {
    () => {
        "identity = '', name = NULL, manufacturer = NULL, model = NULL, serial = NULL, firmware = NULL, \
         location = NULL, origin = NULL, used = 0, battery_pct = NULL, battery_boot_no = NULL, \
         battery_mono_ms = NULL, battery_wall_ms = NULL, battery_wall_synced = NULL"
    };
}
pub(super) use blank_strap;

/// Lays rows down for one boot, inside whatever transaction is open.
pub(super) struct Pen<'a> {
    conn: &'a Connection,
    boot_no: i64,
    owes: Cell<bool>,
}

impl<'a> Pen<'a> {
    pub fn new(conn: &'a Connection, boot_no: i64) -> Self {
        Pen {
            conn,
            boot_no,
            owes: Cell::new(false),
        }
    }

    /// After a withdrawal or an erasure: what waits to go upstream is to be emptied.
    pub fn owes(&self) -> bool {
        self.owes.get()
    }

    /// Writes one row. An erasure's moment of effect is its own stamp.
    pub fn write(&self, row: &Row) -> rusqlite::Result<()> {
        match row {
            Row::Session(row) => self.session(row),
            Row::Strap(row) => self.strap(row),
            Row::ForgetStrap { strap, rests, at } => self.forget_strap(*strap, *rests, at),
            Row::Twins(row) => self.twins(row),
            Row::Participant(row) => self.participant(row),
            Row::Participation(row) => self.participation(row),
            Row::Claim(row) => self.claim(row),
            Row::Consent(row) => self.consent(row),
            Row::Rr(row) => self.rr(row),
            Row::Score(row) => self.score(row),
            Row::Group(row) => self.group(row),
            Row::Pair(row) => self.pair(row),
            Row::Stage(row) => stages::write(self.conn, self.boot_no, row),
            Row::StageFreed { name } => stages::freed(self.conn, name),
            Row::Erase { participant, at } => {
                let until = Moment {
                    boot_no: self.boot_no,
                    mono_ms: at.mono_ms,
                };
                stages::forget_leader(self.conn, *participant)?;
                let told = outbox::erase(self.conn, self.boot_no, *participant, at)?;
                self.owes.set(self.owes.get() || !told.is_empty());
                if erase::delete(self.conn, *participant, until)? {
                    let receipt = erase::write_receipt(self.conn, self.boot_no, at)?;
                    outbox::expect_confirmation(self.conn, &receipt, &told)?;
                }
                Ok(())
            }
        }
    }

    fn execute(&self, sql: &str, params: &[&dyn rusqlite::ToSql]) -> rusqlite::Result<()> {
        self.conn
            .prepare_cached(sql)?
            .execute(params)
            .map(|_changed| ())
    }

    fn session(&self, row: &SessionRow) -> rusqlite::Result<()> {
        self.execute(
            "INSERT INTO session (session_id, boot_no, start_mono_ms, end_mono_ms, start_wall_ms, end_wall_ms, offset_ms, wall_synced)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (session_id) DO UPDATE SET
                 boot_no = excluded.boot_no, start_mono_ms = excluded.start_mono_ms,
                 end_mono_ms = excluded.end_mono_ms, start_wall_ms = excluded.start_wall_ms,
                 end_wall_ms = excluded.end_wall_ms, offset_ms = excluded.offset_ms,
                 wall_synced = excluded.wall_synced",
            params![
                row.id,
                self.boot_no,
                row.start_mono_ms,
                row.end_mono_ms,
                row.starts_at_ms,
                row.ends_at_ms,
                row.offset_ms,
                row.synced
            ],
        )
    }

    fn strap(&self, row: &StrapRow) -> rusqlite::Result<()> {
        let battery = self.open_end(row.battery.map(|battery| battery.at));
        // first_seen stays what it was at first, unless the number was free and another strap has it now.
        self.execute(
            concat!(
                "INSERT INTO strap (strap_no, identity, label, name, first_seen_boot_no, first_seen_mono_ms, first_seen_wall_ms, first_seen_wall_synced,
                     manufacturer, model, serial, firmware, location, origin, used,
                     battery_pct, battery_boot_no, battery_mono_ms, battery_wall_ms, battery_wall_synced,
                     last_seen_boot_no, last_seen_mono_ms, last_seen_wall_ms, last_seen_wall_synced)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24)
                 ON CONFLICT (strap_no) DO UPDATE SET
                     (first_seen_boot_no, first_seen_mono_ms, first_seen_wall_ms, first_seen_wall_synced) =
                         (SELECT * FROM (SELECT excluded.first_seen_boot_no, excluded.first_seen_mono_ms,
                              excluded.first_seen_wall_ms, excluded.first_seen_wall_synced WHERE strap.identity = ''
                          UNION ALL SELECT first_seen_boot_no, first_seen_mono_ms, first_seen_wall_ms, first_seen_wall_synced
                              WHERE strap.identity <> '')),
                     identity = excluded.identity, label = excluded.label, name = excluded.name,
                     manufacturer = excluded.manufacturer, model = excluded.model, serial = excluded.serial,
                     firmware = excluded.firmware, location = excluded.location, origin = excluded.origin,
                     used = excluded.used, battery_pct = excluded.battery_pct,
                     forgotten_boot_no = NULL, forgotten_mono_ms = NULL, forgotten_wall_ms = NULL, forgotten_wall_synced = NULL, ",
                restamp!("battery"),
                ", ",
                restamp!("last_seen")
            ),
            params![
                row.no.0,
                row.identity,
                row.label,
                row.name,
                self.boot_no,
                row.first_seen.mono_ms,
                row.first_seen.wall_ms,
                row.first_seen.synced,
                row.about.manufacturer,
                row.about.model,
                row.about.serial,
                row.about.firmware,
                row.about.location,
                row.origin.map(Origin::word),
                row.used,
                row.battery.map(|battery| battery.pct),
                battery.boot_no,
                battery.mono_ms,
                battery.wall_ms,
                battery.synced,
                self.boot_no,
                row.last_seen.mono_ms,
                row.last_seen.wall_ms,
                row.last_seen.synced
            ],
        )
    }

    /// The label stays while rows name the number: in "my data" it tells which strap it was.
    fn forget_strap(&self, no: StrapNo, rests: bool, at: &Stamp) -> rusqlite::Result<()> {
        let at = self.open_end(Some(*at));
        self.execute(
            "UPDATE claim SET until_boot_no = ?2, until_mono_ms = ?3, until_wall_ms = ?4, until_wall_synced = ?5
             WHERE strap_no = ?1 AND until_boot_no IS NULL",
            params![no.0, at.boot_no, at.mono_ms, at.wall_ms, at.synced],
        )?;
        let rests = at.only_if(rests);
        self.execute(
            "DELETE FROM twins WHERE ?1 IN (low_strap_no, high_strap_no)",
            params![no.0],
        )?;
        self.execute(
            concat!(
                "UPDATE strap SET forgotten_boot_no = ?2, forgotten_mono_ms = ?3, forgotten_wall_ms = ?4, forgotten_wall_synced = ?5, ",
                blank_strap!(),
                " WHERE strap_no = ?1"
            ),
            params![no.0, rests.boot_no, rests.mono_ms, rests.wall_ms, rests.synced],
        )
    }

    fn twins(&self, row: &TwinsRow) -> rusqlite::Result<()> {
        self.execute(
            "INSERT OR REPLACE INTO twins (low_strap_no, high_strap_no, one, boot_no, mono_ms, wall_ms, wall_synced)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                row.low.0,
                row.high.0,
                row.one,
                self.boot_no,
                row.at.mono_ms,
                row.at.wall_ms,
                row.at.synced
            ],
        )
    }

    fn participant(&self, row: &ParticipantRow) -> rusqlite::Result<()> {
        // since stays what it was at first.
        self.execute(
            "INSERT INTO participant (participant_id, name, intention, since_boot_no, since_mono_ms, since_wall_ms, since_wall_synced, has_left)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (participant_id) DO UPDATE SET
                 name = excluded.name, intention = excluded.intention, has_left = excluded.has_left",
            params![
                row.id.to_string(),
                row.name,
                row.intention,
                self.boot_no,
                row.since.mono_ms,
                row.since.wall_ms,
                row.since.synced,
                row.has_left
            ],
        )
    }

    fn participation(&self, row: &ParticipationRow) -> rusqlite::Result<()> {
        let left = self.open_end(row.left);
        self.execute(
            concat!(
                "INSERT INTO participation (session_no, participant_no,
                     joined_boot_no, joined_mono_ms, joined_wall_ms, joined_wall_synced,
                     left_boot_no, left_mono_ms, left_wall_ms, left_wall_synced)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                 ON CONFLICT (session_no, participant_no) DO UPDATE SET ",
                restamp!("joined"),
                ", ",
                restamp!("left")
            ),
            params![
                session_no(self.conn, &row.session_id)?,
                participant_no(self.conn, row.participant)?,
                self.boot_no,
                row.joined.mono_ms,
                row.joined.wall_ms,
                row.joined.synced,
                left.boot_no,
                left.mono_ms,
                left.wall_ms,
                left.synced
            ],
        )
    }

    fn claim(&self, row: &ClaimRow) -> rusqlite::Result<()> {
        let until = self.open_end(row.until);
        self.execute(
            concat!(
                "INSERT INTO claim (claim_no, participant_no, strap_no,
                     from_boot_no, from_mono_ms, from_wall_ms, from_wall_synced,
                     until_boot_no, until_mono_ms, until_wall_ms, until_wall_synced)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
                 ON CONFLICT (claim_no) DO UPDATE SET
                     participant_no = excluded.participant_no, strap_no = excluded.strap_no, ",
                restamp!("from"),
                ", ",
                restamp!("until")
            ),
            params![
                row.no,
                participant_no(self.conn, row.participant)?,
                row.strap.0,
                self.boot_no,
                row.from.mono_ms,
                row.from.wall_ms,
                row.from.synced,
                until.boot_no,
                until.mono_ms,
                until.wall_ms,
                until.synced
            ],
        )
    }

    fn consent(&self, row: &ConsentRow) -> rusqlite::Result<()> {
        let participant_no = participant_no(self.conn, row.participant)?;
        if outbox::is_withdrawal(self.conn, participant_no, row)?
            && outbox::withdraw(self.conn, self.boot_no, participant_no, row)?
        {
            self.owes.set(true);
        }
        self.execute(
            "INSERT INTO consent (participant_no, scope, granted, text_version, boot_no, mono_ms, wall_ms, wall_synced)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                participant_no,
                row.scope,
                row.granted,
                row.text_version,
                self.boot_no,
                row.at.mono_ms,
                row.at.wall_ms,
                row.at.synced
            ],
        )
    }

    fn rr(&self, row: &RrRow) -> rusqlite::Result<()> {
        let (strap_no, phone_no) = heart_columns(self.conn, row.heart)?;
        // No upsert: a second row of the same id is a fault of the asker, refused and counted.
        self.execute(
            "INSERT INTO rr (rr_id, strap_no, phone_no, rr_ms, gap_ms, begins, mark, beat_mono_ms, boot_no, mono_ms, wall_ms, wall_synced, via_strap_no)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            params![
                row.id,
                strap_no,
                phone_no,
                row.rr_ms,
                row.gap_ms,
                row.begins,
                row.mark.word(),
                row.beat_mono_ms,
                self.boot_no,
                row.arrived.mono_ms,
                row.arrived.wall_ms,
                row.arrived.synced,
                row.via.map(|via| via.0)
            ],
        )
    }

    fn score(&self, row: &ScoreRow) -> rusqlite::Result<()> {
        let (strap_no, phone_no) = heart_columns(self.conn, row.heart)?;
        let wearer = row
            .participant
            .map(|id| participant_no(self.conn, id))
            .transpose()?;
        self.execute(
            "INSERT INTO score (session_no, strap_no, phone_no, participant_no, score, level, reason, status,
                 last_rr_id, beats, coverage, artefact_pct, age_ms, peak_hz, mean_hr_bpm, sdnn_ms, rmssd_ms,
                 pnn50_pct, lf_ms2, hf_ms2, lf_hf, total_ms2, algorithm, boot_no, mono_ms, wall_ms, wall_synced,
                 standard_error, window_start_mono_ms, window_end_mono_ms, settings)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
                 ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31)",
            params![
                session_no(self.conn, &row.session_id)?,
                strap_no,
                phone_no,
                wearer,
                row.score,
                row.level,
                row.reason,
                row.status,
                row.last_rr,
                row.beats,
                row.coverage,
                row.artefact_pct,
                row.age_ms,
                row.peak_hz,
                row.mean_hr_bpm,
                row.sdnn_ms,
                row.rmssd_ms,
                row.pnn50_pct,
                row.lf_ms2,
                row.hf_ms2,
                row.lf_hf,
                row.total_ms2,
                row.algorithm,
                self.boot_no,
                row.at.mono_ms,
                row.at.wall_ms,
                row.at.synced,
                row.standard_error,
                row.window.map(|window| window.start_mono_ms),
                row.window.map(|window| window.end_mono_ms),
                row.settings.map(|settings| settings.to_string())
            ],
        )
    }

    fn group(&self, row: &GroupRow) -> rusqlite::Result<()> {
        self.execute(
            "INSERT OR REPLACE INTO group_score (session_no, boot_no, mono_ms, wall_ms, wall_synced,
                 average, low, medium, high, participants, scored, hearts, suppressed, standard_error, algorithm, settings,
                 synchrony, chance_high, synchrony_hearts)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
            params![
                session_no(self.conn, &row.session_id)?,
                self.boot_no,
                row.at.mono_ms,
                row.at.wall_ms,
                row.at.synced,
                row.average,
                row.low,
                row.medium,
                row.high,
                row.participants,
                row.scored,
                row.hearts,
                row.suppressed,
                row.standard_error,
                row.algorithm,
                row.settings.map(|settings| settings.to_string()),
                row.synchrony.map(|synchrony| synchrony.index),
                row.synchrony.map(|synchrony| synchrony.chance_high),
                row.synchrony.map(|synchrony| synchrony.hearts)
            ],
        )
    }

    fn pair(&self, row: &PairRow) -> rusqlite::Result<()> {
        self.execute(
            "INSERT INTO pair (session_no, a_participant_no, b_participant_no, plv, lag_rad, boot_no, mono_ms, wall_ms, wall_synced)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                session_no(self.conn, &row.session_id)?,
                participant_no(self.conn, row.a)?,
                participant_no(self.conn, row.b)?,
                row.plv,
                row.lag_rad,
                self.boot_no,
                row.at.mono_ms,
                row.at.wall_ms,
                row.at.synced
            ],
        )
    }

    fn open_end(&self, stamp: Option<Stamp>) -> OpenEnd {
        OpenEnd {
            boot_no: stamp.map(|_| self.boot_no),
            mono_ms: stamp.map(|s| s.mono_ms),
            wall_ms: stamp.map(|s| s.wall_ms),
            synced: stamp.map(|s| s.synced),
        }
    }
}

/// The columns of a stamp that may still be to come.
struct OpenEnd {
    boot_no: Option<i64>,
    mono_ms: Option<i64>,
    wall_ms: Option<i64>,
    synced: Option<bool>,
}

impl OpenEnd {
    fn only_if(self, is: bool) -> OpenEnd {
        if is {
            return self;
        }
        OpenEnd {
            boot_no: None,
            mono_ms: None,
            wall_ms: None,
            synced: None,
        }
    }
}

fn session_no(conn: &Connection, id: &str) -> rusqlite::Result<i64> {
    conn.prepare_cached("SELECT session_no FROM session WHERE session_id = ?1")?
        .query_row([id], |row| row.get(0))
}

/// The number of a participant inside the file; `QueryReturnedNoRows` when there is none (any more).
fn participant_no(conn: &Connection, id: ParticipantId) -> rusqlite::Result<i64> {
    known_participant_no(conn, id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
}

pub(super) fn known_participant_no(
    conn: &Connection,
    id: ParticipantId,
) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT participant_no FROM participant WHERE participant_id = ?1")?
        .query_row([id.to_string()], |row| row.get(0))
        .optional()
}

/// `strap_no` and `phone_no` of a heart: exactly one of them is filled.
fn heart_columns(
    conn: &Connection,
    heart: HeartKey,
) -> rusqlite::Result<(Option<u32>, Option<i64>)> {
    Ok(match heart {
        HeartKey::Strap(StrapNo(no)) => (Some(no), None),
        HeartKey::Phone(id) => (None, Some(participant_no(conn, id)?)),
    })
}

/// The stamp of a row that follows the present clock; what was read back from before has none.
pub(super) fn present_stamp(row: &Row) -> Option<Stamp> {
    match row {
        Row::Rr(row) => Some(row.arrived),
        Row::Score(row) => Some(row.at),
        Row::Group(row) => Some(row.at),
        Row::Pair(row) => Some(row.at),
        Row::Consent(row) => Some(row.at),
        Row::Erase { at, .. } | Row::ForgetStrap { at, .. } => Some(*at),
        Row::Twins(row) => Some(row.at),
        Row::Session(_)
        | Row::Strap(_)
        | Row::Participant(_)
        | Row::Participation(_)
        | Row::Claim(_)
        | Row::Stage(_)
        | Row::StageFreed { .. } => None,
    }
}
