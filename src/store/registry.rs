//! The registry of straps as it is read: who is known, which numbers rest, and which straps are one. Written
//! in `write`.

use std::collections::BTreeSet;

use coherence_hal::{About, Origin};
use rusqlite::{Connection, Row as SqlRow, params};

use super::read::{collect, no_such_word, stamp};
use crate::room::StrapNo;
use crate::room::rows::{Battery, StrapRow, TwinsRow};

/// The registry.
pub(super) fn straps(conn: &Connection) -> rusqlite::Result<Vec<StrapRow>> {
    collect(
        conn,
        "SELECT strap_no, identity, label, name, first_seen_mono_ms, first_seen_wall_ms, first_seen_wall_synced,
             manufacturer, model, serial, firmware, location, origin, used, battery_pct,
             battery_mono_ms, battery_wall_ms, battery_wall_synced,
             last_seen_mono_ms, last_seen_wall_ms, last_seen_wall_synced
         FROM strap WHERE identity <> '' ORDER BY strap_no",
        params![],
        |row| {
            let pct: Option<u8> = row.get(14)?;
            let battery = pct.map(|pct| Ok::<_, rusqlite::Error>(Battery { pct, at: stamp(row, 15)? }));
            Ok(StrapRow {
                no: StrapNo(row.get(0)?),
                identity: row.get(1)?,
                label: row.get(2)?,
                name: row.get(3)?,
                about: About {
                    manufacturer: row.get(7)?,
                    model: row.get(8)?,
                    serial: row.get(9)?,
                    firmware: row.get(10)?,
                    location: known(row, 11, &LOCATIONS, |word| *word)?.copied(),
                },
                origin: known(row, 12, &ORIGINS, |origin| origin.word())?.copied(),
                battery: battery.transpose()?,
                first_seen: stamp(row, 4)?,
                last_seen: stamp(row, 18)?,
                used: row.get(13)?,
            })
        },
    )
}

/// Numbers of forgotten straps that rows still name.
pub(super) fn resting_straps(conn: &Connection) -> rusqlite::Result<BTreeSet<StrapNo>> {
    let sql = "SELECT strap_no FROM strap WHERE identity = '' AND forgotten_boot_no IS NOT NULL";
    let numbers = collect(conn, sql, params![], |row| row.get(0).map(StrapNo))?;
    Ok(numbers.into_iter().collect())
}

/// Where a strap is worn, as it says.
const LOCATIONS: [&str; 7] = [
    "chest", "wrist", "finger", "hand", "ear_lobe", "foot", "other",
];

const ORIGINS: [Origin; 4] = [
    Origin::Electrical,
    Origin::Pulse,
    Origin::Computed,
    Origin::Simulated,
];

/// Which of these a word stands for; none where the column is empty.
fn known<'a, T>(
    row: &SqlRow<'_>,
    column: usize,
    all: &'a [T],
    word: impl Fn(&T) -> &'static str,
) -> rusqlite::Result<Option<&'a T>> {
    let Some(text) = row.get::<_, Option<String>>(column)? else {
        return Ok(None);
    };
    let found = all.iter().find(|one| word(one) == text);
    found.map(Some).ok_or_else(|| no_such_word(column))
}

pub(super) fn twins(conn: &Connection) -> rusqlite::Result<Vec<TwinsRow>> {
    collect(
        conn,
        "SELECT low_strap_no, high_strap_no, one, mono_ms, wall_ms, wall_synced FROM twins",
        params![],
        |row| {
            Ok(TwinsRow {
                low: StrapNo(row.get(0)?),
                high: StrapNo(row.get(1)?),
                one: row.get(2)?,
                at: stamp(row, 3)?,
            })
        },
    )
}
