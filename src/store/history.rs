//! How the hub did, minute by minute, for a day. What the figures mean is `telemetry::load`'s.
//!
//! A day is counted by rows and by the monotonic clock, so a wall clock that jumps neither wipes the
//! history nor keeps it for ever.

use rusqlite::{Connection, params};

use super::read::collect;
use crate::room::rows::Stamp;
use crate::telemetry::load::Figures;

/// Minutes of a day.
const MINUTES: i64 = 1_440;
const DAY_MS: i64 = 86_400_000;

/// Adds a minute and takes away what is older than a day.
pub(super) fn keep(
    conn: &mut Connection,
    boot_no: i64,
    at: Stamp,
    figures: &Figures,
) -> rusqlite::Result<()> {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let tx = conn.transaction()?;
    tx.prepare_cached(
        "INSERT INTO history (at_boot_no, at_mono_ms, at_wall_ms, at_wall_synced, sessions, participants,
             connections, frames_in, frames_out, update_latency_p95_ms, update_latency_max_ms,
             commit_max_ms, compute_max_ms, memory_bytes, cpu_pct, errors, outbox_rows)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
    )?
    .execute(params![
        boot_no,
        at.mono_ms,
        at.wall_ms,
        at.synced,
        figures.sessions,
        figures.participants,
        count(figures.connections),
        count(figures.frames_in),
        count(figures.frames_out),
        figures.update_latency_p95_ms,
        figures.update_latency_max_ms,
        figures.commit_max_ms,
        figures.compute_max_ms,
        count(figures.memory_bytes),
        figures.cpu_pct,
        count(figures.errors),
        count(figures.outbox_rows),
    ])?;
    tx.prepare_cached(
        "DELETE FROM history WHERE minute_no <= (SELECT max(minute_no) FROM history) - ?1",
    )?
    .execute([MINUTES])?;
    let day_ago_ms = at.mono_ms - DAY_MS;
    // How long ago an earlier boot was is not known until this one has lasted a day.
    if day_ago_ms >= 0 {
        tx.prepare_cached("DELETE FROM history WHERE (at_boot_no, at_mono_ms) < (?1, ?2)")?
            .execute([boot_no, day_ago_ms])?;
    }
    tx.commit()
}

/// The day, oldest minute first.
pub(super) fn read(conn: &Connection) -> rusqlite::Result<Vec<(Stamp, Figures)>> {
    collect(
        conn,
        "SELECT at_mono_ms, at_wall_ms, at_wall_synced, sessions, participants, connections, frames_in,
             frames_out, update_latency_p95_ms, update_latency_max_ms, commit_max_ms, compute_max_ms,
             memory_bytes, cpu_pct, errors, outbox_rows
         FROM history ORDER BY minute_no",
        &[],
        |row| {
            let count = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
            let at = Stamp {
                mono_ms: row.get(0)?,
                wall_ms: row.get(1)?,
                synced: row.get(2)?,
            };
            let figures = Figures {
                sessions: row.get(3)?,
                participants: row.get(4)?,
                connections: count(5)?,
                frames_in: count(6)?,
                frames_out: count(7)?,
                update_latency_p95_ms: row.get(8)?,
                update_latency_max_ms: row.get(9)?,
                commit_max_ms: row.get(10)?,
                compute_max_ms: row.get(11)?,
                memory_bytes: count(12)?,
                cpu_pct: row.get(13)?,
                errors: count(14)?,
                outbox_rows: count(15)?,
            };
            Ok((at, figures))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Boot;
    use crate::store::open;

    const MINUTE_MS: i64 = 60_000;

    fn stamp(mono_ms: i64, wall_ms: i64) -> Stamp {
        Stamp {
            mono_ms,
            wall_ms,
            synced: true,
        }
    }

    /// The file as it is opened in the boot of that name.
    fn opened(dir: &tempfile::TempDir, boot_id: &str) -> (Connection, i64) {
        let boot = Boot {
            boot_id: boot_id.into(),
            start: stamp(0, 0),
        };
        let opened = open::open(&dir.path().join("hub.db"), &boot, None).unwrap();
        (opened.conn, opened.boot_no)
    }

    fn minute(n: u64) -> Figures {
        Figures {
            frames_in: n,
            update_latency_p95_ms: n.is_multiple_of(2).then_some(1.5),
            cpu_pct: 3.25,
            ..Figures::default()
        }
    }

    fn numbers(conn: &Connection) -> Vec<u64> {
        let minutes = read(conn).unwrap();
        minutes
            .iter()
            .map(|(_, figures)| figures.frames_in)
            .collect()
    }

    #[test]
    fn a_minute_comes_back_as_it_was_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        {
            let (mut conn, boot_no) = opened(&dir, "a");
            keep(&mut conn, boot_no, stamp(MINUTE_MS, 9), &minute(2)).unwrap();
        }
        let (conn, _) = opened(&dir, "a");
        assert_eq!(read(&conn).unwrap(), [(stamp(MINUTE_MS, 9), minute(2))]);
    }

    #[test]
    fn a_day_is_kept_and_no_jump_of_the_wall_clock_changes_that() {
        let dir = tempfile::tempdir().unwrap();
        let (mut conn, boot_no) = opened(&dir, "a");
        for n in 0..1_500 {
            // Years back and forth.
            let wall_ms = if n % 3 == 0 { 0 } else { 4_000_000_000_000 };
            let at = stamp((n as i64 + 1) * MINUTE_MS, wall_ms);
            keep(&mut conn, boot_no, at, &minute(n)).unwrap();
        }
        assert_eq!(numbers(&conn), (60..1_500).collect::<Vec<_>>());
    }

    #[test]
    fn an_earlier_boot_goes_when_this_one_has_lasted_a_day() {
        let dir = tempfile::tempdir().unwrap();
        let (mut conn, boot_no) = opened(&dir, "a");
        keep(&mut conn, boot_no, stamp(5 * DAY_MS, 0), &minute(1)).unwrap();
        drop(conn);
        let (mut conn, boot_no) = opened(&dir, "b");
        keep(&mut conn, boot_no, stamp(MINUTE_MS, 0), &minute(2)).unwrap();
        assert_eq!(numbers(&conn), [1, 2]);
        // The hub was off for half a day of this boot.
        keep(&mut conn, boot_no, stamp(DAY_MS / 2, 0), &minute(3)).unwrap();
        keep(
            &mut conn,
            boot_no,
            stamp(DAY_MS + 2 * MINUTE_MS, 0),
            &minute(4),
        )
        .unwrap();
        assert_eq!(numbers(&conn), [3, 4]);
    }
}
