//! Who may be told of: the consent to research that is in force, and since when without a break. Nothing
//! personal passes anywhere else.

use std::collections::HashMap;
use std::rc::Rc;

use rusqlite::{Connection, params};

use super::Upstream;
use crate::record::Pseudonym;
use crate::store::moment::Moment;
use crate::store::read;

/// The scope of consent that lets anything personal leave.
pub const SCOPE: &str = "research";

/// A consent to research that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// When it was given and not withdrawn since.
    pub since: Moment,
    /// The newest row of it.
    pub consent_no: i64,
}

/// The grant in force of a person, if there is one.
pub fn grant(conn: &Connection, participant_no: i64) -> rusqlite::Result<Option<Grant>> {
    let mut query = conn.prepare_cached(
        "SELECT granted, boot_no, mono_ms, consent_no FROM consent
         WHERE participant_no = ?1 AND scope = ?2 ORDER BY consent_no DESC",
    )?;
    let mut rows = query.query(params![participant_no, SCOPE])?;
    let mut grant: Option<Grant> = None;
    while let Some(row) = rows.next()? {
        if !row.get(0)? {
            break;
        }
        let since = Moment {
            boot_no: row.get(1)?,
            mono_ms: row.get(2)?,
        };
        let consent_no = match grant {
            Some(newer) => newer.consent_no,
            None => row.get(3)?,
        };
        grant = Some(Grant { since, consent_no });
    }
    Ok(grant)
}

/// Somebody who consented, as the centre may know them.
#[derive(Debug)]
pub struct Admitted {
    pub participant_no: i64,
    pub pseudonym: Pseudonym,
    since: Moment,
}

impl Admitted {
    /// Whether what was measured then may leave.
    pub fn covers(&self, measured: Moment) -> bool {
        measured >= self.since
    }
}

/// The gate, for the length of one transaction: everybody is looked up once.
pub struct Gate<'a> {
    conn: &'a Connection,
    rules: &'a Upstream,
    people: HashMap<i64, Option<Rc<Admitted>>>,
}

impl<'a> Gate<'a> {
    pub fn new(conn: &'a Connection, rules: &'a Upstream) -> Self {
        Gate {
            conn,
            rules,
            people: HashMap::new(),
        }
    }

    /// This person, if they consent.
    pub fn admit(&mut self, participant_no: i64) -> rusqlite::Result<Option<Rc<Admitted>>> {
        if let Some(known) = self.people.get(&participant_no) {
            return Ok(known.clone());
        }
        let admitted = match grant(self.conn, participant_no)? {
            Some(grant) => self.pseudonym(participant_no)?.map(|pseudonym| {
                Rc::new(Admitted {
                    participant_no,
                    pseudonym,
                    since: grant.since,
                })
            }),
            None => None,
        };
        self.people.insert(participant_no, admitted.clone());
        Ok(admitted)
    }

    fn pseudonym(&self, participant_no: i64) -> rusqlite::Result<Option<Pseudonym>> {
        read::first(
            self.conn,
            "SELECT participant_id FROM participant WHERE participant_no = ?1",
            params![participant_no],
            |row| {
                Ok(self
                    .rules
                    .pseudonyms
                    .pseudonym(read::participant_id(row, 0)?))
            },
        )
    }
}
