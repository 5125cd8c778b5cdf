//! How waiting messages leave: numbered, in their order, after a second look at the consents.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::rows::{self, Quill, Waiting};
use super::{OutboxMessage, facts, gate, settle, thin};
use crate::record::{self, GapWhy, Study};
use crate::room::rows::Stamp;

/// The messages after `seq`.
pub fn after(
    conn: &mut Connection,
    boot_no: i64,
    seq: i64,
    limit: u32,
) -> rusqlite::Result<Vec<OutboxMessage>> {
    let epoch = thin::epoch(conn)?;
    let mut leaving = Vec::new();
    for mut waiting in rows::after(conn, seq, limit)? {
        if let Some(rest) = without_the_unconsenting(conn, &waiting)? {
            waiting.body = rest;
        }
        match record::seal(waiting.stream, epoch, waiting.seq, &waiting.body) {
            Ok(body) => leaving.push(OutboxMessage {
                seq: waiting.seq,
                stream: waiting.stream,
                body,
                queued_wall_ms: waiting.queued.wall_ms,
            }),
            Err(error) => {
                tracing::error!(seq = waiting.seq, %error, "a message that waited can't be read any more");
                give_up(
                    conn,
                    boot_no,
                    waiting.seq,
                    &error.to_string(),
                    &waiting.queued,
                )?;
            }
        }
    }
    if let Some(last) = leaving.last() {
        settle::hand_out(conn, last.seq)?;
    }
    Ok(leaving)
}

/// What remains of a message without those whose consent does not hold any more; `None`: it holds for
/// everybody. After a withdrawal or an erasure it is usually emptied already; until all is (`owed`), this
/// second look is what holds.
fn without_the_unconsenting(
    conn: &mut Connection,
    waiting: &Waiting,
) -> rusqlite::Result<Option<Vec<u8>>> {
    let mut gone = Vec::new();
    for participant_no in rows::subjects(conn, waiting.seq)? {
        let queued = waiting.moment();
        let holds = gate::grant(conn, participant_no)?.is_some_and(|grant| grant.since <= queued);
        if !holds {
            gone.push(participant_no);
        }
    }
    if gone.is_empty() {
        return Ok(None);
    }
    let tx = conn.transaction()?;
    let mut rest = None;
    for participant_no in gone {
        let pseudonyms = facts::pseudonyms(&tx, participant_no)?;
        rest = rows::empty(&tx, waiting.seq, participant_no, &pseudonyms)?.or(rest);
    }
    tx.commit()?;
    Ok(rest)
}

/// Puts a message aside that can't be sent, so that it does not hold up the others.
pub fn give_up(
    conn: &mut Connection,
    boot_no: i64,
    seq: i64,
    why: &str,
    now: &Stamp,
) -> rusqlite::Result<()> {
    let tx = conn.transaction()?;
    let Some(waiting) = rows::after(&tx, seq - 1, 1)?
        .into_iter()
        .find(|waiting| waiting.seq == seq)
    else {
        return Ok(());
    };
    rows::bury(&tx, seq, why, boot_no, now)?;
    rows::forget_dead_letters(&tx)?;
    let study: Option<String> = tx.query_row("SELECT study FROM uplink", [], |row| row.get(0))?;
    if let Some(study) = study.as_deref().and_then(Study::of) {
        let mut quill = Quill::new(&tx, boot_no, *now);
        let lost = BTreeMap::from([(seq, waiting.stream)]);
        thin::tell(&mut quill, &study, GapWhy::Damaged, lost)?;
    }
    tx.commit()
}
