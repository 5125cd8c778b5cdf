//! One batch, one transaction: all of it or nothing, except for rows that can never fit. Who tries
//! again, and what is told to whom, is the keeper's business.

use rusqlite::{Connection, TransactionBehavior};

use super::erase::{Worn, worn_over_all_radios};
use super::error::{StoreError, is_the_rows_fault};
use super::moment::Moment;
use super::write::{Pen, known_participant_no, present_stamp};
use crate::room::ParticipantId;
use crate::room::rows::{Row, Stamp};

/// What becomes of a batch with a row that does not fit what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// The row is left out: one bad row must not hold up all that come after it.
    LeftOut,
    /// Nothing of the batch is written: somebody waits for a yes or a no.
    FailsAll,
}

/// What a transaction did.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub rows: usize,
    /// Why rows were left out.
    pub refused: Vec<String>,
    pub erased: Vec<ErasedPerson>,
    /// What waits to go upstream is to be emptied.
    pub owes: bool,
    /// What a strap was recognised by was taken out.
    pub forgot: bool,
    /// This boot's offset is now known to be right.
    pub noted_offset: bool,
}

#[derive(Debug)]
pub(super) struct ErasedPerson {
    pub participant: ParticipantId,
    pub at: Stamp,
    /// As it stood in the file before.
    pub worn: Vec<Worn>,
}

/// Writes a batch and commits it. `note_offset`: the boot's offset is not known yet.
pub(super) fn write(
    conn: &mut Connection,
    boot_no: i64,
    rows: &[Row],
    unfit: Unfit,
    note_offset: bool,
) -> Result<Written, StoreError> {
    let doing = "writing rows";
    let mut written = Written::default();
    // At once, so that a lock held elsewhere is met here and not half-way.
    let tx = conn
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(StoreError::sql(doing))?;
    let pen = Pen::new(&tx, boot_no);
    // Erasures last: what stands behind one in the same batch was made before it all the same.
    let (erasures, others): (Vec<&Row>, Vec<&Row>) = rows
        .iter()
        .partition(|row| matches!(row, Row::Erase { .. }));
    for row in others.into_iter().chain(erasures) {
        if let Row::Erase { participant, at } = row {
            let worn = worn_now(
                &tx,
                *participant,
                Moment {
                    boot_no,
                    mono_ms: at.mono_ms,
                },
            )
            .map_err(StoreError::sql("erasing"))?;
            written.erased.push(ErasedPerson {
                participant: *participant,
                at: *at,
                worn,
            });
        }
        match pen.write(row) {
            Ok(()) => {
                written.rows += 1;
                written.forgot |= matches!(row, Row::ForgetStrap { .. });
            }
            // A statement that does not fit is undone by itself; the transaction goes on.
            Err(error) if is_the_rows_fault(&error) => {
                let why = format!("{}: {error}", kind(row));
                if unfit == Unfit::FailsAll {
                    return Err(StoreError::Refused(why));
                }
                written.refused.push(why);
            }
            Err(source) => return Err(StoreError::Sql { doing, source }),
        }
    }
    let synced = rows
        .iter()
        .filter_map(present_stamp)
        .find(|stamp| stamp.synced);
    if let Some(stamp) = synced.filter(|_| note_offset) {
        tx.execute(
            "UPDATE boot SET synced_offset_ms = ?1 WHERE boot_no = ?2",
            [stamp.wall_ms - stamp.mono_ms, boot_no],
        )
        .map_err(StoreError::sql(doing))?;
        written.noted_offset = true;
    }
    written.owes = pen.owes();
    tx.commit().map_err(StoreError::sql("committing"))?;
    Ok(written)
}

fn worn_now(conn: &Connection, id: ParticipantId, now: Moment) -> rusqlite::Result<Vec<Worn>> {
    match known_participant_no(conn, id)? {
        Some(participant_no) => worn_over_all_radios(conn, participant_no, now),
        None => Ok(Vec::new()),
    }
}

/// For a message: what a row is, nothing of whom.
fn kind(row: &Row) -> &'static str {
    match row {
        Row::Session(_) => "session",
        Row::Strap(_) | Row::ForgetStrap { .. } => "strap",
        Row::Twins(_) => "twins",
        Row::Participant(_) => "participant",
        Row::Participation(_) => "participation",
        Row::Claim(_) => "claim",
        Row::Consent(_) => "consent",
        Row::Rr(_) => "rr",
        Row::Score(_) => "score",
        Row::Group(_) => "group",
        Row::Pair(_) => "pair",
        Row::Stage(_) | Row::StageFreed { .. } => "stage",
        Row::Erase { .. } => "erasure",
    }
}
