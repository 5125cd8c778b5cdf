//! The order of moments on disk, and how a stretch of time is found in the append-only tables. No
//! meaning of rows.

use rusqlite::{Connection, OptionalExtension};

/// A place in the hub's life: boots in their order, monotonic time within each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Moment {
    pub boot_no: i64,
    pub mono_ms: i64,
}

impl Moment {
    /// Earlier in the same boot.
    pub fn earlier(self, by_ms: i64) -> Moment {
        Moment {
            mono_ms: self.mono_ms.saturating_sub(by_ms),
            ..self
        }
    }

    /// Later in the same boot.
    pub fn later(self, by_ms: i64) -> Moment {
        Moment {
            mono_ms: self.mono_ms.saturating_add(by_ms),
            ..self
        }
    }
}

/// How far the order of ids may stray from the order of arrival. Really it is the milliseconds that
/// two sources take to reach the room; a search this much wider costs nothing and misses nothing.
pub(super) const DISORDER_MS: i64 = 600_000;

/// A table whose ids grow with time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Appended {
    Rr,
    Score,
    Pair,
}

impl Appended {
    /// Lowest and highest id, in a query each: SQLite answers both in one by reading all rows.
    fn bounds_sql(self) -> (&'static str, &'static str) {
        match self {
            Appended::Rr => ("SELECT min(rr_id) FROM rr", "SELECT max(rr_id) FROM rr"),
            Appended::Score => (
                "SELECT min(score_no) FROM score",
                "SELECT max(score_no) FROM score",
            ),
            Appended::Pair => (
                "SELECT min(pair_no) FROM pair",
                "SELECT max(pair_no) FROM pair",
            ),
        }
    }

    fn probe_sql(self) -> &'static str {
        match self {
            Appended::Rr => {
                "SELECT rr_id, boot_no, mono_ms FROM rr WHERE rr_id >= ?1 ORDER BY rr_id LIMIT 1"
            }
            Appended::Score => {
                "SELECT score_no, boot_no, mono_ms FROM score WHERE score_no >= ?1 ORDER BY score_no LIMIT 1"
            }
            Appended::Pair => {
                "SELECT pair_no, boot_no, mono_ms FROM pair WHERE pair_no >= ?1 ORDER BY pair_no LIMIT 1"
            }
        }
    }
}

/// The lowest id whose row lies at or after `moment`; one past the last id when there is none. Halves
/// the range of ids: some twenty reads in a table of millions.
pub(super) fn first_at_or_after(
    conn: &Connection,
    table: Appended,
    moment: Moment,
) -> rusqlite::Result<i64> {
    let bound = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, Option<i64>>(0));
    let (low_sql, high_sql) = table.bounds_sql();
    let (Some(mut low), Some(highest)) = (bound(low_sql)?, bound(high_sql)?) else {
        return Ok(0);
    };
    let mut high = highest.saturating_add(1);
    let mut probe = conn.prepare_cached(table.probe_sql())?;
    while low < high {
        let middle = low + (high - low) / 2;
        let found = probe
            .query_row([middle], |row| {
                Ok((
                    row.get::<_, i64>(0)?,
                    Moment {
                        boot_no: row.get(1)?,
                        mono_ms: row.get(2)?,
                    },
                ))
            })
            .optional()?;
        match found {
            Some((id, at)) if at < moment => low = id + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}
