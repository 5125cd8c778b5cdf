//! What is told when it happens: consents, withdrawals, erasures, and what became of the hub. A
//! withdrawal and an erasure are told, and the emptying of what waits is promised (`owed`), in the
//! transaction that stores them; they need nothing but what is stored and work while no centre is configured.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};

use super::Upstream;
use super::gate::{self, Gate};
use super::owed;
use super::rows::Quill;
use super::times::{Calendar, Times};
use crate::record::{
    ConsentRecord, ErasureRecord, ErasureScope, EventRecord, HubEvent, Pseudonym, Record,
    ResearchScope, Study, TextVersion,
};
use crate::room::ParticipantId;
use crate::room::rows::{ConsentRow, Stamp};
use crate::store::moment::Moment;
use crate::store::read;
use crate::store::write::known_participant_no;

/// Consents that are looked at in one step.
const CONSENTS_AT_A_TIME: u32 = 5_000;

/// Whoever consented to research anew, or to another text, after `after_no` and before `until`; with the
/// last row that was looked at.
pub fn grants(
    conn: &Connection,
    after_no: i64,
    until: Moment,
) -> rusqlite::Result<(BTreeSet<i64>, i64)> {
    let mut people = BTreeSet::new();
    let mut last_no = after_no;
    let mut query = conn.prepare_cached(
        "SELECT consent_no, participant_no, boot_no, mono_ms,
             scope = ?2 AND granted = 1 AND NOT coalesce(
                 (SELECT b.granted = 1 AND b.text_version = c.text_version FROM consent b
                  WHERE b.participant_no = c.participant_no AND b.scope = c.scope AND b.consent_no < c.consent_no
                  ORDER BY b.consent_no DESC LIMIT 1), 0)
         FROM consent c WHERE consent_no > ?1 ORDER BY consent_no LIMIT ?3",
    )?;
    let mut rows = query.query(params![after_no, gate::SCOPE, CONSENTS_AT_A_TIME])?;
    while let Some(row) = rows.next()? {
        let at = Moment {
            boot_no: row.get(2)?,
            mono_ms: row.get(3)?,
        };
        if at >= until {
            break;
        }
        last_no = row.get(0)?;
        if row.get(4)? {
            people.insert(row.get(1)?);
        }
    }
    Ok((people, last_no))
}

/// Whether anybody of this study has another pseudonym than this key would give them now. What was told
/// is the proof of the key: the key itself leaves no trace in the database.
pub fn named_with_another_key(conn: &Connection, rules: &Upstream) -> rusqlite::Result<bool> {
    let known = read::first(
        conn,
        "SELECT participant_id, pseudonym FROM subject JOIN participant USING (participant_no)
         WHERE study = ?1 ORDER BY participant_no LIMIT 1",
        params![rules.study.as_str()],
        |row| Ok((read::participant_id(row, 0)?, row.get::<_, String>(1)?)),
    )?;
    Ok(known.is_some_and(|(id, told)| rules.pseudonyms.pseudonym(id).as_str() != told))
}

/// Tells of the consents of those who gave them anew, and of everybody of whom something is told for the
/// first time.
pub fn tell_grants(
    quill: &mut Quill<'_>,
    rules: &Upstream,
    gate: &mut Gate<'_>,
    calendar: &mut Calendar<'_>,
    newly: &BTreeSet<i64>,
    told_of: &BTreeSet<i64>,
) -> rusqlite::Result<()> {
    for participant_no in newly.union(told_of) {
        // Who has withdrawn meanwhile was never told of, or is told to have withdrawn.
        let Some(person) = gate.admit(*participant_no)? else {
            continue;
        };
        let is_known = subjects(quill.conn, *participant_no)?
            .iter()
            .any(|subject| subject.pseudonym == person.pseudonym);
        if is_known && !newly.contains(participant_no) {
            continue;
        }
        let (boot_no, at, text_version): (i64, Stamp, String) = quill
            .conn
            .prepare_cached(
                "SELECT boot_no, mono_ms, wall_ms, wall_synced, text_version FROM consent
                 WHERE participant_no = ?1 AND scope = ?2 ORDER BY consent_no DESC LIMIT 1",
            )?
            .query_row(params![participant_no, gate::SCOPE], |row| {
                Ok((row.get(0)?, read::stamp(row, 1)?, row.get(4)?))
            })?;
        let (at, clock) = calendar.boot(boot_no)?.told(&at);
        let record = Record::Consent(ConsentRecord {
            pseudonym: person.pseudonym.clone(),
            scope: ResearchScope::Research,
            granted: true,
            text_version: TextVersion::of(&text_version),
            at,
            clock,
        });
        let seq = quill.queue(&rules.study, &record, [])?;
        quill
            .conn
            .prepare_cached(
                "INSERT INTO subject (participant_no, pseudonym, study, since_seq) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (participant_no, pseudonym) DO NOTHING",
            )?
            .execute(params![
                participant_no,
                person.pseudonym.as_str(),
                rules.study.as_str(),
                seq
            ])?;
    }
    Ok(())
}

/// A person as something was told of them.
struct Subject {
    pseudonym: Pseudonym,
    study: Study,
    since_seq: i64,
}

fn subjects(conn: &Connection, participant_no: i64) -> rusqlite::Result<Vec<Subject>> {
    read::collect(
        conn,
        "SELECT pseudonym, study, since_seq FROM subject WHERE participant_no = ?1 ORDER BY since_seq",
        params![participant_no],
        |row| {
            let study: String = row.get(1)?;
            Ok(Subject {
                pseudonym: Pseudonym::try_from(row.get::<_, String>(0)?)
                    .map_err(|_| read::no_such_word(0))?,
                study: Study::of(&study).ok_or_else(|| read::no_such_word(1))?,
                since_seq: row.get(2)?,
            })
        },
    )
}

/// The pseudonyms under which something was told of a person, also of one who was erased since.
pub fn pseudonyms(conn: &Connection, participant_no: i64) -> rusqlite::Result<Vec<Pseudonym>> {
    let subjects = subjects(conn, participant_no)?;
    let told = subjects.into_iter().map(|subject| subject.pseudonym);
    Ok(told
        .chain(owed::pseudonyms(conn, participant_no)?)
        .collect())
}

/// Whether this row ends a consent to research that is in force.
pub fn is_withdrawal(
    conn: &Connection,
    participant_no: i64,
    row: &ConsentRow,
) -> rusqlite::Result<bool> {
    Ok(row.scope == gate::SCOPE && !row.granted && gate::grant(conn, participant_no)?.is_some())
}

/// Promises to empty what waits of a person who has withdrawn, and tells of it if they were ever told of;
/// false where there was nothing to do.
pub fn withdraw(
    conn: &Connection,
    boot_no: i64,
    participant_no: i64,
    row: &ConsentRow,
) -> rusqlite::Result<bool> {
    let subjects = owe(conn, participant_no)?;
    let (at, clock) = Times::of(conn, boot_no)?.told(&row.at);
    let mut quill = Quill::new(conn, boot_no, row.at);
    for subject in &subjects {
        let record = Record::Consent(ConsentRecord {
            pseudonym: subject.pseudonym.clone(),
            scope: ResearchScope::Research,
            granted: false,
            text_version: TextVersion::of(&row.text_version),
            at,
            clock,
        });
        quill.queue(&subject.study, &record, [])?;
    }
    Ok(!subjects.is_empty())
}

/// Promises to empty what waits of a person who is about to be erased, and asks the centre to delete what
/// it has if they were ever told of; gives the numbers of these messages.
pub fn erase(
    conn: &Connection,
    boot_no: i64,
    participant: ParticipantId,
    at: &Stamp,
) -> rusqlite::Result<Vec<i64>> {
    let Some(participant_no) = known_participant_no(conn, participant)? else {
        return Ok(Vec::new());
    };
    let subjects = owe(conn, participant_no)?;
    let (told_at, clock) = Times::of(conn, boot_no)?.told(at);
    let mut quill = Quill::new(conn, boot_no, *at);
    subjects
        .into_iter()
        .map(|subject| {
            let record = Record::Erasure(ErasureRecord {
                pseudonym: subject.pseudonym,
                scope: ErasureScope::All,
                at: told_at,
                clock,
            });
            quill.queue(&subject.study, &record, [])
        })
        .collect()
}

/// Binds the receipt of an erasure to the messages that carry it to the centre.
pub fn expect_confirmation(
    conn: &Connection,
    erasure_id: &str,
    seqs: &[i64],
) -> rusqlite::Result<()> {
    for seq in seqs {
        conn.prepare_cached("INSERT INTO erasure_told (seq, erasure_id) VALUES (?1, ?2)")?
            .execute(params![seq, erasure_id])?;
    }
    Ok(())
}

fn owe(conn: &Connection, participant_no: i64) -> rusqlite::Result<Vec<Subject>> {
    let subjects = subjects(conn, participant_no)?;
    if let Some(first) = subjects.first() {
        let gone: Vec<Pseudonym> = subjects.iter().map(|s| s.pseudonym.clone()).collect();
        owed::owe(conn, participant_no, first.since_seq, &gone)?;
    }
    Ok(subjects)
}

/// Tells of something that happened to the hub in this boot.
pub fn event(
    quill: &mut Quill<'_>,
    study: &Study,
    times: &Times,
    at: &Stamp,
    event: HubEvent,
) -> rusqlite::Result<()> {
    let (at, clock) = times.told(at);
    let record = Record::Event(EventRecord { at, clock, event });
    quill.queue(study, &record, []).map(drop)
}

/// Tells, once in a boot, that its time became known after the start and by how much it had been wrong.
pub fn clock_fixed(quill: &mut Quill<'_>, study: &Study, times: &Times) -> rusqlite::Result<()> {
    let Some(fix) = unfixed_by_ms(quill.conn, quill.boot_no, times)? else {
        return Ok(());
    };
    quill
        .conn
        .execute("UPDATE uplink SET fixed_boot_no = ?1", [quill.boot_no])?;
    let now = quill.now;
    event(
        quill,
        study,
        times,
        &now,
        HubEvent::ClockFixed { by_ms: fix },
    )
}

/// What the clock was wrong by at the start of the boot, if that is known and was not told.
pub fn unfixed_by_ms(
    conn: &Connection,
    boot_no: i64,
    times: &Times,
) -> rusqlite::Result<Option<i64>> {
    let fixed: i64 = conn
        .prepare_cached("SELECT fixed_boot_no FROM uplink")?
        .query_row([], |row| row.get(0))?;
    let by_ms = times
        .known_offset_ms
        .map_or(0, |known_ms| known_ms - times.start_offset_ms);
    Ok((fixed < boot_no && !times.start_synced && by_ms != 0).then_some(by_ms))
}
