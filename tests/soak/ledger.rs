//! What the hub keeps is held against what was: no interval is invented, and none is lost without a mark.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

/// What became of one strap's intervals.
#[derive(Clone, Copy, Debug, Default)]
pub struct Account {
    pub kept: u64,
    /// Not kept, each at a place where a row says that time was lost.
    pub lost_at_marks: u64,
    pub marks: u64,
    /// Not kept, each in an interval that spans it: the strap itself counted no beat there.
    pub spanned: u64,
    /// Not kept, all of them behind the last row.
    pub behind: u64,
}

impl Account {
    pub fn add(&mut self, other: Account) {
        self.kept += other.kept;
        self.lost_at_marks += other.lost_at_marks;
        self.marks += other.marks;
        self.spanned += other.spanned;
        self.behind += other.behind;
    }
}

/// An interval as the hub keeps it.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    rr_ms: f64,
    /// Time was lost before it, or a heart begins.
    marked: bool,
}

/// A strap that was off the skin counts no beat meanwhile, and no heart rests so long.
const OFF_THE_SKIN_MS: f64 = 4_000.0;

/// The hub's numbers of its straps, by their identities.
pub fn numbers(database: &Path) -> BTreeMap<String, u64> {
    let conn = open(database);
    let mut statement = conn
        .prepare("SELECT identity, strap_no FROM strap")
        .expect("these columns are there");
    let numbers = statement
        .query_map((), |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()))
        })
        .expect("it can be read");
    numbers
        .map(|number| number.expect("it can be read"))
        .collect()
}

/// Everything that is kept of straps, by their identities, oldest first.
pub fn rows(database: &Path) -> BTreeMap<String, Vec<Row>> {
    let conn = open(database);
    let mut statement = conn
        .prepare(
            "SELECT identity, rr_ms, gap_ms > 0 OR begins FROM rr JOIN strap USING (strap_no) ORDER BY rr_id",
        )
        .expect("these columns are there");
    let rows = statement
        .query_map((), |row| {
            let kept = Row {
                rr_ms: row.get(1)?,
                marked: row.get(2)?,
            };
            Ok((row.get::<_, String>(0)?, kept))
        })
        .expect("it can be read");
    let mut straps: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for row in rows {
        let (identity, kept) = row.expect("it can be read");
        straps.entry(identity).or_default().push(kept);
    }
    straps
}

fn open(database: &Path) -> Connection {
    Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .expect("the hub has its database there")
}

/// Each run of rows without a mark stands somewhere in what was, whole and behind the run before it.
pub fn account(name: &str, was_ms: &[f64], rows: &[Row]) -> Account {
    let mut account = Account::default();
    let mut from = 0;
    for run in rows.chunk_by(|_, next| !next.marked) {
        let fits = |at: usize| fit(&was_ms[at..], run);
        let stands = |at: &usize| fits(*at).0 == run.len();
        let at = (from..was_ms.len()).find(stands).unwrap_or_else(|| {
            let best = (from..was_ms.len()).max_by_key(|at| fits(*at).0);
            let (at, (rows, were)) = best.map_or((from, (0, 0)), |at| (at, fits(at)));
            let kept: Vec<f64> = run.iter().map(|row| row.rr_ms).collect();
            panic!(
                "{name}: of {} intervals without a mark that were kept behind the {from}th the first {rows} are \
                 right; then {:?} were kept, and there were {:?}",
                run.len(),
                &kept[rows..kept.len().min(rows + 8)],
                was_ms[at + were..].iter().take(8).collect::<Vec<_>>(),
            )
        });
        let were = fits(at).1;
        // What was before the first row came before the hub listened.
        if from > 0 {
            account.lost_at_marks += (at - from) as u64;
        }
        account.marks += u64::from(run[0].marked);
        account.kept += run.len() as u64;
        account.spanned += (were - run.len()) as u64;
        from = at + were;
    }
    account.behind = (was_ms.len() - from) as u64;
    account
}

/// How many of these rows are what was, from the first on, and how many intervals that were.
fn fit(was_ms: &[f64], run: &[Row]) -> (usize, usize) {
    let mut at = 0;
    for (rows, row) in run.iter().enumerate() {
        let begin = at;
        let mut sum_ms = 0.0;
        while sum_ms < row.rr_ms && at < was_ms.len() {
            sum_ms += was_ms[at];
            at += 1;
        }
        // What is in one piece must be one interval; only a strap off the skin spans several.
        if sum_ms != row.rr_ms || (at - begin > 1 && row.rr_ms < OFF_THE_SKIN_MS) {
            return (rows, begin);
        }
    }
    (run.len(), at)
}
