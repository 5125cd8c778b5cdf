//! What time it really was: wall times of one boot, mended by what became known later.

use std::collections::HashMap;

use rusqlite::Connection;

use crate::record::TimeKnown;
use crate::room::rows::Stamp;

/// The times of one boot.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Wall minus monotonic time, once it was known to be right.
    pub known_offset_ms: Option<i64>,
    /// The same as it was believed at the start.
    pub start_offset_ms: i64,
    /// Whether that was right.
    pub start_synced: bool,
}

impl Times {
    pub fn of(conn: &Connection, boot_no: i64) -> rusqlite::Result<Times> {
        conn.prepare_cached(
            "SELECT synced_offset_ms, start_wall_ms - start_mono_ms, start_wall_synced FROM boot WHERE boot_no = ?1",
        )?
        .query_row([boot_no], |row| {
            Ok(Times {
                known_offset_ms: row.get(0)?,
                start_offset_ms: row.get(1)?,
                start_synced: row.get(2)?,
            })
        })
    }

    /// Whether what is told of this boot has right times.
    pub fn known(&self) -> TimeKnown {
        if self.known_offset_ms.is_some() {
            TimeKnown::Synced
        } else {
            TimeKnown::Unknown
        }
    }

    /// Wall time of a moment that was stamped.
    pub fn wall_ms(&self, stamp: &Stamp) -> i64 {
        stamp.mono_ms + self.offset_ms(stamp)
    }

    /// Wall minus monotonic time at a moment that was stamped.
    pub fn offset_ms(&self, stamp: &Stamp) -> i64 {
        match self.known_offset_ms {
            Some(offset_ms) if !stamp.synced => offset_ms,
            _ => stamp.wall_ms - stamp.mono_ms,
        }
    }

    /// Wall time of a moment without a stamp.
    pub fn about(&self, mono_ms: i64) -> i64 {
        mono_ms + self.known_offset_ms.unwrap_or(self.start_offset_ms)
    }

    /// A stamp as a record says it: the moment, and whether it is right.
    pub fn told(&self, stamp: &Stamp) -> (i64, TimeKnown) {
        let clock = if stamp.synced {
            TimeKnown::Synced
        } else {
            self.known()
        };
        (self.wall_ms(stamp), clock)
    }
}

/// The times of all boots that are asked for, for the length of one transaction.
pub struct Calendar<'a> {
    conn: &'a Connection,
    boots: HashMap<i64, Times>,
}

impl<'a> Calendar<'a> {
    pub fn new(conn: &'a Connection) -> Self {
        Calendar {
            conn,
            boots: HashMap::new(),
        }
    }

    pub fn boot(&mut self, boot_no: i64) -> rusqlite::Result<Times> {
        if let Some(times) = self.boots.get(&boot_no) {
            return Ok(*times);
        }
        let times = Times::of(self.conn, boot_no)?;
        self.boots.insert(boot_no, times);
        Ok(times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(mono_ms: i64, wall_ms: i64, synced: bool) -> Stamp {
        Stamp {
            mono_ms,
            wall_ms,
            synced,
        }
    }

    #[test]
    fn what_was_stamped_by_a_wrong_clock_is_mended_and_what_was_right_stays() {
        let times = Times {
            known_offset_ms: Some(1_000_000),
            start_offset_ms: 5,
            start_synced: false,
        };
        for (stamp, wall_ms) in [
            (stamp(10, 15, false), 1_000_010),
            (stamp(20, 1_000_021, true), 1_000_021),
        ] {
            assert_eq!(times.told(&stamp), (wall_ms, TimeKnown::Synced));
        }
        assert_eq!(times.about(7), 1_000_007);
    }

    #[test]
    fn a_boot_that_never_knew_the_time_says_so() {
        let times = Times {
            known_offset_ms: None,
            start_offset_ms: 5,
            start_synced: false,
        };
        let told = times.told(&stamp(10, 15, false));
        assert_eq!((told, times.about(10)), ((15, TimeKnown::Unknown), 15));
    }
}
