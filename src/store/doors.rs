//! What opens doors: the PIN, wrong tries, scoped tokens; read, written, taken away. What they mean
//! is `access`'s to say.

use std::net::IpAddr;

use rusqlite::{Connection, params};

use super::forget::{BootTime, boots};
use super::keeper::Keeper;
use super::open::{Synchronous, set_synchronous};
use super::read::collect;
use super::{Store, StoreError};
use crate::access::scoped::Made;
use crate::access::{Door, Scope, Scoped, Tries};
use crate::room::rows::Stamp;

impl Store {
    /// Writes down wrong tries; `owed` says which, when the store has come to it.
    ///
    /// # Errors
    /// The database can't be written, or the thread has ended; what was owed is then still not kept.
    pub async fn keep_tries(
        &self,
        owed: impl FnOnce() -> Vec<(Door, Tries)> + Send + 'static,
        at: Stamp,
    ) -> Result<(), StoreError> {
        self.durably("noting wrong tries", move |conn, boot_no| {
            let tx = conn.transaction()?;
            for (door, tries) in owed() {
                keep(&tx, boot_no, door, &tries, at)?;
            }
            tx.commit()
        })
        .await
    }

    /// # Errors
    /// As [`Store::keep_tries`].
    pub async fn set_pin(&self, pin: String) -> Result<(), StoreError> {
        self.durably("changing the PIN", move |conn, _| {
            conn.execute("UPDATE meta SET pin = ?1", [pin]).map(drop)
        })
        .await
    }

    /// False if there is one of that name.
    ///
    /// # Errors
    /// As [`Store::keep_tries`].
    pub async fn add_token(&self, token: Scoped, at: Stamp) -> Result<bool, StoreError> {
        self.durably("keeping a token", move |conn, boot_no| {
            conn.execute(
                "INSERT INTO token (name, scope, hash, days, created_boot_no, created_mono_ms, created_wall_ms, created_wall_synced)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (name) DO NOTHING",
                params![
                    token.name, token.scope.word(), token.hash, token.days, boot_no, at.mono_ms, at.wall_ms, at.synced
                ],
            )
            .map(|added| added == 1)
        })
        .await
    }

    /// False if there is none of that name.
    ///
    /// # Errors
    /// As [`Store::keep_tries`].
    pub async fn remove_token(&self, name: String) -> Result<bool, StoreError> {
        self.durably("taking a token back", move |conn, _| {
            conn.execute("DELETE FROM token WHERE name = ?1", [name])
                .map(|removed| removed == 1)
        })
        .await
    }

    /// # Errors
    /// As [`Store::keep_tries`].
    pub async fn note_token_use(&self, hash: [u8; 32], at: Stamp) -> Result<(), StoreError> {
        self.ask("noting a token's use", move |keeper| {
            keeper
                .conn
                .execute(
                    "UPDATE token SET used_boot_no = ?2, used_mono_ms = ?3, used_wall_ms = ?4, used_wall_synced = ?5
                     WHERE hash = ?1",
                    params![hash, keeper.boot_no, at.mono_ms, at.wall_ms, at.synced],
                )
                .map(drop)
        })
        .await
    }

    /// On the card before it is answered.
    async fn durably<T: Send + 'static>(
        &self,
        doing: &'static str,
        what: impl FnOnce(&mut Connection, i64) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.ask(doing, move |keeper: &mut Keeper| {
            set_synchronous(&keeper.conn, Synchronous::Full)?;
            let done = what(&mut keeper.conn, keeper.boot_no);
            // If this fails, later commits are slower and as good.
            let _ = set_synchronous(&keeper.conn, Synchronous::Normal);
            done
        })
        .await
    }
}

fn keep(
    conn: &Connection,
    boot_no: i64,
    door: Door,
    tries: &Tries,
    at: Stamp,
) -> rusqlite::Result<()> {
    let address = tries
        .address
        .map_or(String::new(), |address| address.to_string());
    if tries.wrong == 0 {
        return conn
            .execute(
                "DELETE FROM guess WHERE door = ?1 AND address = ?2",
                params![door.word(), address],
            )
            .map(drop);
    }
    conn.execute(
        "INSERT OR REPLACE INTO guess (door, address, wrong, wait_ms, last_boot_no, last_mono_ms, last_wall_ms, last_wall_synced)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            door.word(),
            address,
            tries.wrong,
            tries.wait_ms,
            boot_no,
            tries.last_ms,
            at.wall_ms - (at.mono_ms - tries.last_ms),
            at.synced
        ],
    )
    .map(drop)
}

/// Wrong tries as they stand at `now`, their times in the present boot's monotonic clock.
pub(super) fn tries(
    conn: &Connection,
    boot_no: i64,
    now: &Stamp,
) -> rusqlite::Result<Vec<(Door, Tries)>> {
    let boots = boots(conn)?;
    let read = collect(
        conn,
        "SELECT door, address, wrong, wait_ms, last_boot_no, last_mono_ms, last_wall_ms, last_wall_synced FROM guess",
        params![],
        |row| {
            let address: String = row.get(1)?;
            let last = Stamp {
                mono_ms: row.get(5)?,
                wall_ms: row.get(6)?,
                synced: row.get(7)?,
            };
            let ago_ms = age_ms(&boots, (row.get(4)?, &last), (boot_no, now));
            let tries = Tries {
                address: address.parse::<IpAddr>().ok(),
                wrong: row.get(2)?,
                wait_ms: row.get(3)?,
                last_ms: now.mono_ms.saturating_sub(ago_ms),
            };
            Ok((Door::of(&row.get::<_, String>(0)?), tries))
        },
    )?;
    Ok(read
        .into_iter()
        .filter_map(|(door, tries)| Some((door?, tries)))
        .collect())
}

/// How long ago something was, for certain. In the same boot that is plain; over a reboot it is the
/// time that the hub is known to have lived since, or what two clocks known to be right say. A clock
/// that is not known to be right says nothing: nobody gets free by a reboot.
fn age_ms(
    boots: &[BootTime],
    (then_boot, then): (i64, &Stamp),
    (now_boot, now): (i64, &Stamp),
) -> i64 {
    if then_boot == now_boot {
        return (now.mono_ms - then.mono_ms).max(0);
    }
    let lived_ms = boots
        .iter()
        .map(|boot| match boot.boot_no {
            no if no == then_boot => (boot.lived_ms - then.mono_ms).max(0),
            no if (then_boot..now_boot).contains(&no) => boot.lived_ms,
            _ => 0,
        })
        .fold(now.mono_ms, i64::saturating_add);
    let by_wall_ms = if then.synced && now.synced {
        now.wall_ms.saturating_sub(then.wall_ms)
    } else {
        0
    };
    lived_ms.max(by_wall_ms)
}

/// All tokens, in the order of their names. A time that was wrong when a token was made is mended
/// where its boot has learned the right one.
pub(super) fn tokens(conn: &Connection, boot_no: i64) -> rusqlite::Result<Vec<Scoped>> {
    let read = collect(
        conn,
        "SELECT name, scope, hash, days, coalesce(synced_offset_ms + created_mono_ms, created_wall_ms),
             CASE WHEN created_boot_no = ?1 THEN created_mono_ms END, used_wall_ms
         FROM token JOIN boot ON boot_no = created_boot_no ORDER BY name",
        params![boot_no],
        |row| {
            let Some(scope) = Scope::of(&row.get::<_, String>(1)?) else {
                return Ok(None);
            };
            Ok(Some(Scoped {
                name: row.get(0)?,
                scope,
                hash: row.get(2)?,
                days: row.get(3)?,
                made: Made {
                    wall_ms: row.get(4)?,
                    mono_ms: row.get(5)?,
                },
                used_at_ms: row.get(6)?,
            }))
        },
    )?;
    Ok(read.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;
    const YEAR_MS: i64 = 365 * 24 * HOUR_MS;

    fn stamp(mono_ms: i64, wall_ms: i64, synced: bool) -> Stamp {
        Stamp {
            mono_ms,
            wall_ms,
            synced,
        }
    }

    fn boot(boot_no: i64, lived_ms: i64) -> BootTime {
        BootTime {
            boot_no,
            synced_offset_ms: None,
            lived_ms,
        }
    }

    #[test]
    fn within_a_boot_the_wall_clock_may_do_what_it_likes() {
        for wall_ms in [0, YEAR_MS, 60 * YEAR_MS] {
            let then = stamp(10_000, 56 * YEAR_MS, true);
            let now = stamp(25_000, wall_ms, true);
            assert_eq!(age_ms(&[boot(1, 0)], (1, &then), (1, &now)), 15_000);
        }
    }

    #[test]
    fn over_a_reboot_a_clock_that_may_be_wrong_frees_nobody() {
        let boots = [boot(1, 2 * HOUR_MS), boot(2, 0)];
        let then = stamp(2 * HOUR_MS, 56 * YEAR_MS, true);
        for (wall_ms, synced) in [
            (66 * YEAR_MS, false),
            (0, false),
            (0, true),
            (46 * YEAR_MS, true),
        ] {
            let now = stamp(20_000, wall_ms, synced);
            let age_ms = age_ms(&boots, (1, &then), (2, &now));
            assert_eq!(
                age_ms, 20_000,
                "only what this boot has lived: {wall_ms} {synced}"
            );
        }
        let unsure = stamp(2 * HOUR_MS, 0, false);
        let now = stamp(20_000, 66 * YEAR_MS, true);
        assert_eq!(age_ms(&boots, (1, &unsure), (2, &now)), 20_000);
    }

    #[test]
    fn over_a_reboot_two_clocks_that_are_right_tell_the_time_between() {
        let boots = [boot(1, 0), boot(2, 0)];
        let then = stamp(HOUR_MS, 56 * YEAR_MS, true);
        let now = stamp(20_000, 56 * YEAR_MS + 9 * HOUR_MS, true);
        assert_eq!(age_ms(&boots, (1, &then), (2, &now)), 9 * HOUR_MS);
    }

    #[test]
    fn a_hub_without_a_clock_that_is_switched_off_at_night_frees_a_guesser_in_the_end() {
        // Three days of eight hours, of which the middle one is whole.
        let boots = [boot(1, 8 * HOUR_MS), boot(2, 8 * HOUR_MS), boot(3, 0)];
        let then = stamp(6 * HOUR_MS, 0, false);
        let now = stamp(HOUR_MS, 0, false);
        assert_eq!(age_ms(&boots, (1, &then), (3, &now)), 11 * HOUR_MS);
    }
}
