//! What sessions play, over a restart: one row for each stage. What follows from it is the room's business.

use rusqlite::types::Type;
use rusqlite::{Connection, Row as SqlRow, params};

use super::Boot;
use super::read::{collect, uuid};
use crate::room::rows::{StageRow, Stamp};
use crate::room::{Message, ParticipantId, Scene, StageId, State};

/// The room's row.
const ROOM: &str = "";

const STATES: [(State, &str); 2] = [(State::Playing, "playing"), (State::Paused, "paused")];
const SCENES: [(Scene, &str); 2] = [(Scene::Stage, "stage"), (Scene::Rest, "rest")];

pub(super) fn write(conn: &Connection, boot_no: i64, row: &StageRow) -> rusqlite::Result<()> {
    let name = match &row.id {
        StageId::Room => ROOM,
        StageId::Named(name) => name,
    };
    conn.prepare_cached(
        "INSERT OR REPLACE INTO stage (name, session_id, opened_wall_ms, state, position_ms, rate,
             at_boot_no, at_mono_ms, at_wall_ms, at_wall_synced, version, tempo, scene, message, message_wall_ms, leader)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
    )?
    .execute(params![
        name,
        row.session_id,
        row.opened_at_ms,
        word(&STATES, row.state),
        row.position_ms,
        row.rate,
        boot_no,
        row.at.mono_ms,
        row.at.wall_ms,
        row.at.synced,
        // Far from the end of either.
        row.version as i64,
        row.tempo,
        word(&SCENES, row.scene),
        row.message.as_ref().map(|message| &message.text),
        row.message.as_ref().map(|message| message.at_ms),
        row.leader.map(|id| id.to_string())
    ])
    .map(|_changed| ())
}

pub(super) fn freed(conn: &Connection, name: &str) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM stage WHERE name = ?1 AND name <> ''")?
        .execute([name])
        .map(|_changed| ())
}

/// Nobody leads where an erased person did.
pub(super) fn forget_leader(conn: &Connection, id: ParticipantId) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE stage SET leader = NULL WHERE leader = ?1")?
        .execute([id.to_string()])
        .map(|_changed| ())
}

/// All that were left, with their anchors in this boot's monotonic time: what was laid in another boot lies as
/// long ago as the clock on the wall says, and at the earliest now where that says the future.
pub(super) fn read(
    conn: &Connection,
    boot_no: i64,
    boot: &Boot,
) -> rusqlite::Result<Vec<StageRow>> {
    let start = boot.start;
    collect(
        conn,
        "SELECT name, session_id, opened_wall_ms, state, position_ms, rate, at_boot_no, at_mono_ms, at_wall_ms,
             at_wall_synced, version, tempo, scene, message, message_wall_ms, leader FROM stage ORDER BY name",
        &[],
        |row| {
            let (laid_in, mono_ms, wall_ms): (i64, i64, i64) = (row.get(6)?, row.get(7)?, row.get(8)?);
            let mono_ms = match laid_in == boot_no {
                true => mono_ms,
                false => start.mono_ms - (start.wall_ms - wall_ms).max(0),
            };
            let name: String = row.get(0)?;
            let text: Option<String> = row.get(13)?;
            let leader: Option<String> = row.get(15)?;
            Ok(StageRow {
                id: match name.as_str() {
                    ROOM => StageId::Room,
                    _ => StageId::Named(name),
                },
                session_id: row.get(1)?,
                opened_at_ms: row.get(2)?,
                state: meaning(&STATES, row, 3)?,
                position_ms: row.get(4)?,
                rate: row.get(5)?,
                at: Stamp {
                    mono_ms,
                    wall_ms,
                    synced: row.get(9)?,
                },
                version: row.get::<_, i64>(10)?.unsigned_abs(),
                tempo: row.get(11)?,
                scene: meaning(&SCENES, row, 12)?,
                message: text
                    .zip(row.get(14)?)
                    .map(|(text, at_ms)| Message { text, at_ms }),
                leader: match leader {
                    Some(_) => Some(ParticipantId(uuid(row, 15)?)),
                    None => None,
                },
            })
        },
    )
}

fn word<T: PartialEq>(words: &'static [(T, &'static str)], value: T) -> &'static str {
    let found = words.iter().find(|(meaning, _)| *meaning == value);
    found.expect("every value has a word").1
}

fn meaning<T: Copy>(
    words: &[(T, &'static str)],
    row: &SqlRow<'_>,
    column: usize,
) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    let found = words.iter().find(|(_, word)| *word == text);
    found.map(|(meaning, _)| *meaning).ok_or_else(|| {
        let why = format!("{text:?} is no word of this column");
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, why.into())
    })
}
