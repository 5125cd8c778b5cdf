//! What is owed to people who withdrew or were erased: their series are to be taken out of everything that
//! waits or was refused. The promise is one row, kept in the transaction of the withdrawal; it is redeemed in
//! short steps, because after weeks without a centre there may be more messages than the room can wait for.
//! Until then nothing of these people leaves: `outgoing` looks at every message once more.

use rusqlite::{Connection, params};

use super::rows;
use crate::record::Pseudonym;
use crate::store::read;

/// Messages that are emptied in one step.
const MESSAGES_AT_A_TIME: usize = 32;

/// Numbers that are looked through in one step for messages that a person is in.
const NUMBERS_AT_A_TIME: i64 = 2_000;

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redeemed {
    /// Nothing was owed.
    Nothing,
    /// More is owed.
    Part,
    All,
}

/// Promises that all that is queued of a person, from this number on, will be emptied.
pub fn owe(
    conn: &Connection,
    participant_no: i64,
    since_seq: i64,
    pseudonyms: &[Pseudonym],
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO owed (participant_no, next_seq, upto_seq)
         VALUES (?1, ?2, coalesce((SELECT max(seq) FROM outbox_subject), 0))
         ON CONFLICT (participant_no) DO UPDATE SET
             next_seq = min(next_seq, excluded.next_seq), upto_seq = excluded.upto_seq",
    )?
    .execute([participant_no, since_seq])?;
    for pseudonym in pseudonyms {
        conn.prepare_cached(
            "INSERT INTO owed_pseudonym (participant_no, pseudonym) VALUES (?1, ?2)
             ON CONFLICT (participant_no, pseudonym) DO NOTHING",
        )?
        .execute(params![participant_no, pseudonym.as_str()])?;
    }
    Ok(())
}

/// Redeems a step of what is owed, whole or not at all.
pub fn redeem(conn: &mut Connection) -> rusqlite::Result<Redeemed> {
    let tx = conn.transaction()?;
    let Some((participant_no, next_seq, upto_seq)) = first(&tx)? else {
        return Ok(Redeemed::Nothing);
    };
    let end_seq = upto_seq.min(next_seq.saturating_add(NUMBERS_AT_A_TIME - 1));
    let seqs: Vec<i64> = read::collect(
        &tx,
        "SELECT seq FROM outbox_subject WHERE seq BETWEEN ?1 AND ?2 AND participant_no = ?3
         ORDER BY seq LIMIT ?4",
        params![next_seq, end_seq, participant_no, MESSAGES_AT_A_TIME as i64],
        |row| row.get(0),
    )?;
    let gone = pseudonyms(&tx, participant_no)?;
    for seq in &seqs {
        rows::empty(&tx, *seq, participant_no, &gone)?;
    }
    let done_seq = match seqs.last() {
        Some(last) if seqs.len() == MESSAGES_AT_A_TIME => *last,
        _ => end_seq,
    };
    if done_seq >= upto_seq {
        tx.execute(
            "DELETE FROM owed WHERE participant_no = ?1",
            [participant_no],
        )?;
    } else {
        tx.execute(
            "UPDATE owed SET next_seq = ?2 WHERE participant_no = ?1",
            [participant_no, done_seq + 1],
        )?;
    }
    let more = first(&tx)?.is_some();
    tx.commit()?;
    Ok(if more { Redeemed::Part } else { Redeemed::All })
}

/// The names under which a person is still to be taken out.
pub fn pseudonyms(conn: &Connection, participant_no: i64) -> rusqlite::Result<Vec<Pseudonym>> {
    read::collect(
        conn,
        "SELECT pseudonym FROM owed_pseudonym WHERE participant_no = ?1",
        params![participant_no],
        |row| Pseudonym::try_from(row.get::<_, String>(0)?).map_err(|_| read::no_such_word(0)),
    )
}

fn first(conn: &Connection) -> rusqlite::Result<Option<(i64, i64, i64)>> {
    read::first(
        conn,
        "SELECT participant_no, next_seq, upto_seq FROM owed ORDER BY participant_no LIMIT 1",
        &[],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )
}
