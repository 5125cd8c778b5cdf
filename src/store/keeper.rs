//! The store's thread: takes what comes through the inbox, one thing after the other, and keeps what
//! the disk refuses until it takes it. How rows are written and read is not decided here.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::aside;
use super::away::Away;
use super::backlog::{Backlog, HELD_ROWS_MAX};
use super::batch::{self, Unfit, Written};
use super::erase::Erased;
use super::error::StoreError;
use super::health::{Gauges, add};
use super::moment::Moment;
use super::open::{Opened, Synchronous, set_synchronous};
use super::outbox::{self, News, Present, Queued, Redeemed, Upstream};
use super::{forget, history, read};
use crate::room::ParticipantId;
use crate::room::rows::{Row, Stamp};
use crate::telemetry::load::Figures;

/// Called once, on the store's thread, when the rows are on the card or will never be.
pub(super) type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// What the thread is asked.
pub(super) enum Message {
    Commit(Vec<Row>),
    /// The permit keeps these from filling the inbox; it is free again when the answer is given.
    Durable(Vec<Row>, Done, OwnedSemaphorePermit),
    Ask(Box<dyn FnOnce(&mut Keeper) + Send>),
    Close(oneshot::Sender<Result<(), StoreError>>),
}

/// After a stretch of failures, this many held batches are written between two messages.
const BATCHES_AT_A_TIME: usize = 16;

/// Rows of a table that are forgotten between two messages.
const FORGOTTEN_AT_A_TIME: usize = 10_000;

/// Whether the path still leads to the open file is asked this often, and before each durable commit.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long copies of the file are kept: the damaged, and those from before an upgrade.
const COPIES: Duration = Duration::from_secs(7 * 86_400);

/// The one owner of the database.
pub(super) struct Keeper {
    pub(super) conn: Connection,
    pub(super) boot_no: i64,
    gauges: Arc<Gauges>,
    backlog: Backlog,
    erased: Erased,
    failing: bool,
    /// What was deleted may still stand in the log.
    checkpoint_owed: bool,
    /// Messages may have to be emptied of people who withdrew.
    owes: bool,
    /// It is in the database by how much wall and monotonic time differ in this boot.
    offset_noted: bool,
    /// The first row that did not fit was logged; the others are counted.
    refusal_logged: bool,
    /// The file can't be opened: `conn` is an empty stand-in that nobody reads.
    away: Option<Away>,
    /// The process must begin anew; why was logged.
    over: bool,
    /// The file that is open, and when the path was last seen to lead to it.
    place: Option<(FileId, Instant)>,
    news: News,
}

/// Device and inode.
type FileId = (u64, u64);

impl Keeper {
    pub fn new(opened: Opened, gauges: Arc<Gauges>, news: News) -> Keeper {
        Keeper {
            place: place(&opened.conn),
            conn: opened.conn,
            boot_no: opened.boot_no,
            gauges,
            backlog: Backlog::default(),
            erased: Erased::default(),
            failing: false,
            checkpoint_owed: false,
            owes: true, // the last process may have ended in the middle of it
            offset_noted: false,
            refusal_logged: false,
            away: None,
            over: false,
            news,
        }
    }

    pub fn boot_no(&self) -> i64 {
        self.boot_no
    }

    /// Begins without the file.
    pub fn stay_away(&mut self, away: Away, why: &StoreError) {
        self.away = Some(away);
        self.failing = true;
        self.gauges.failing.store(true, Ordering::Relaxed);
        self.gauges.away.store(true, Ordering::Relaxed);
        self.gauges.told(why);
    }

    /// Does what was asked, where there is a database to ask.
    pub fn asked<T>(
        &mut self,
        doing: &'static str,
        what: impl FnOnce(&mut Keeper) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        if let Some(away) = &self.away {
            return Err(StoreError::Away(away.why.clone()));
        }
        let answer = what(self).map_err(StoreError::sql(doing));
        if let Err(error) = &answer {
            self.look_for_damage(error);
        }
        answer
    }

    /// Works until it is told to close, or nobody holds a handle any more.
    pub fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        let mut closing = None;
        let mut may_redeem = true;
        loop {
            let message = match inbox.try_recv() {
                Ok(message) => Some(message),
                Err(mpsc::error::TryRecvError::Empty)
                    if !self.failing && !self.backlog.is_empty() =>
                {
                    self.write_backlog(BATCHES_AT_A_TIME);
                    continue;
                }
                Err(mpsc::error::TryRecvError::Empty) if may_redeem && self.owes => {
                    may_redeem = self.redeem();
                    self.checkpoint_if_owed();
                    continue;
                }
                Err(_) => inbox.blocking_recv(),
            };
            match message {
                Some(Message::Commit(rows)) => self.commit(rows),
                Some(Message::Durable(rows, done, permit)) => {
                    let result = self.commit_durably(rows);
                    drop(permit);
                    done(result);
                }
                Some(Message::Ask(ask)) => ask(&mut self),
                Some(Message::Close(reply)) => {
                    // What is still in it is done first.
                    inbox.close();
                    closing.get_or_insert(reply);
                }
                None => break,
            }
            // After a failure it is tried again with the next message.
            may_redeem = true;
            if self.over {
                break;
            }
        }
        let ended = self.end();
        match closing {
            // An asker who went away has nothing to hear.
            Some(reply) => drop(reply.send(ended)),
            None => {
                if let Err(error) = ended {
                    tracing::error!(%error, "the store ended");
                }
            }
        }
    }

    fn commit(&mut self, mut rows: Vec<Row>) {
        self.leave_out_erased(&mut rows);
        let dropped = self.backlog.push(rows, HELD_ROWS_MAX);
        add(&self.gauges.dropped, dropped);
        self.write_backlog(BATCHES_AT_A_TIME);
    }

    fn commit_durably(&mut self, mut rows: Vec<Row>) -> Result<(), StoreError> {
        if self.leave_out_erased(&mut rows) {
            return Err(StoreError::Refused(
                "it is of somebody who was erased".to_owned(),
            ));
        }
        self.look_for_the_file(Duration::ZERO)?;
        // What it builds on goes first. Where that fails it is tried all the same: an erasure needs
        // nothing of it.
        self.write_backlog(usize::MAX);
        self.come_back()?;
        let began = Instant::now();
        let result = self.write_durably(&rows);
        match &result {
            Ok(_) => {}
            Err(StoreError::Refused(_)) => add(&self.gauges.refused, rows.len()),
            Err(error) => {
                self.gauges.failed(error);
                self.look_for_damage(error);
            }
        }
        self.settle(result?, began);
        Ok(())
    }

    fn write_durably(&mut self, rows: &[Row]) -> Result<Written, StoreError> {
        set_synchronous(&self.conn, Synchronous::Full)
            .map_err(StoreError::sql("making a commit durable"))?;
        let written = batch::write(
            &mut self.conn,
            self.boot_no,
            rows,
            Unfit::FailsAll,
            !self.offset_noted,
        );
        // If this fails, later commits are slower and as good.
        let _ = set_synchronous(&self.conn, Synchronous::Normal);
        written
    }

    /// Takes out what tells of the erased; true if somebody erased did something, not only their heart.
    fn leave_out_erased(&mut self, rows: &mut Vec<Row>) -> bool {
        let mut acted = false;
        rows.retain(|row| {
            let covered = self.erased.covers(row);
            if covered {
                acted |= !matches!(
                    row,
                    Row::Rr(_) | Row::Score(_) | Row::Pair(_) | Row::Stage(_)
                );
                self.erased.learn(row);
            }
            !covered
        });
        acted
    }

    /// Writes held batches, oldest first, each in a transaction of its own, until one fails.
    fn write_backlog(&mut self, batches_max: usize) {
        let open = self.come_back().is_ok() && self.look_for_the_file(LOOK_EVERY).is_ok();
        for _ in 0..if open { batches_max } else { 0 } {
            let Some(rows) = self.backlog.front() else {
                break;
            };
            let began = Instant::now();
            let note_offset = !self.offset_noted;
            match batch::write(
                &mut self.conn,
                self.boot_no,
                rows,
                Unfit::LeftOut,
                note_offset,
            ) {
                Ok(written) => {
                    self.backlog.pop_front();
                    self.settle(written, began);
                    self.note_success();
                }
                Err(error) => {
                    self.note_failure(&error);
                    self.look_for_damage(&error);
                    break;
                }
            }
        }
        self.gauges
            .waiting_rows
            .store(self.backlog.rows() as u64, Ordering::Relaxed);
        self.checkpoint_if_owed();
    }

    /// Draws the consequences of a commit.
    fn settle(&mut self, written: Written, began: Instant) {
        self.gauges.committed(written.rows, began.elapsed());
        self.offset_noted |= written.noted_offset;
        add(&self.gauges.refused, written.refused.len());
        if let Some(why) = written.refused.first().filter(|_| !self.refusal_logged) {
            self.refusal_logged = true;
            tracing::warn!(
                why,
                "rows do not fit what is stored and are left out; from now on only counted"
            );
        }
        self.owes |= written.owes;
        self.checkpoint_owed |= written.forgot;
        self.redeem();
        if written.erased.is_empty() {
            return self.checkpoint_if_owed();
        }
        for person in &written.erased {
            self.erased
                .add(person.participant, &person.at, self.boot_no, &person.worn);
        }
        let erased = &mut self.erased;
        self.backlog.iter().for_each(|row| erased.learn(row));
        self.backlog.retain(|row| !erased.covers(row));
        self.gauges
            .waiting_rows
            .store(self.backlog.rows() as u64, Ordering::Relaxed);
        self.checkpoint_owed = true;
        self.checkpoint_if_owed();
    }

    /// Takes a step of what is owed to people who withdrew or were erased; false if it must be tried again
    /// later.
    fn redeem(&mut self) -> bool {
        if !self.owes {
            return true;
        }
        if self.away.is_some() {
            return false;
        }
        match outbox::redeem(&mut self.conn) {
            Ok(step) => {
                self.owes = step == Redeemed::Part;
                self.checkpoint_owed |= step == Redeemed::All;
                true
            }
            Err(source) => {
                let error = StoreError::sql("emptying what waits to go upstream")(source);
                self.gauges.failed(&error);
                self.look_for_damage(&error);
                false
            }
        }
    }

    /// Moves the log into the file and empties it, so that nothing deleted stands in it any more. A
    /// reader elsewhere may be in the way: then with a later commit.
    fn checkpoint_if_owed(&mut self) {
        if self.checkpoint_owed {
            self.checkpoint_owed = !checkpoint(&self.conn).unwrap_or(false);
        }
    }

    fn note_success(&mut self) {
        if std::mem::take(&mut self.failing) {
            self.gauges.failing.store(false, Ordering::Relaxed);
            tracing::info!(
                waiting_rows = self.backlog.rows(),
                "the database takes rows again"
            );
        }
    }

    fn note_failure(&mut self, error: &StoreError) {
        self.gauges.failed(error);
        if !std::mem::replace(&mut self.failing, true) {
            self.gauges.failing.store(true, Ordering::Relaxed);
            tracing::error!(%error, "the database takes no rows: they are held in memory and tried again");
        }
    }

    /// Tries again to open a file that could not be opened.
    fn come_back(&mut self) -> Result<(), StoreError> {
        let Some(away) = &mut self.away else {
            return Ok(());
        };
        if self.over || !away.is_due() {
            return Err(StoreError::Away(away.why.clone()));
        }
        match super::come_in(&away.path, &away.boot, Some(away.identity.clone())) {
            Ok((opened, memory)) if away.lived_by(&memory) => {
                self.place = place(&opened.conn);
                self.conn = opened.conn;
                self.boot_no = opened.boot_no;
                if memory.set_aside.is_some() {
                    self.news.set_aside(away.boot.start);
                }
                self.away = None;
                self.gauges.away.store(false, Ordering::Relaxed);
                self.gauges.was_set_aside(memory.aside_in_words());
                tracing::info!("the database is open at last");
                Ok(())
            }
            Ok(_) => {
                // Its numbers, people and tokens are not those that the room has made up since: to write
                // the held rows would mix two rooms. The next start reads the real past.
                self.over = true;
                tracing::error!(
                    "the database can be opened at last and holds a past that could not be read before: \
                     the hub starts again with it"
                );
                Err(StoreError::Closed)
            }
            Err(error) => {
                away.why = error.to_string();
                self.over = !error.may_pass();
                self.gauges.failed(&error);
                Err(StoreError::Away(error.to_string()))
            }
        }
    }

    /// A database that turns out to be damaged can't be mended under a running room: the next start
    /// sets it aside.
    fn look_for_damage(&mut self, error: &StoreError) {
        if self.over || !error.is_corrupt() {
            return;
        }
        self.over = true;
        tracing::error!(%error, "the database is damaged: the hub starts again with a new one");
        let path = self.conn.path().map(PathBuf::from);
        if let Some(Err(error)) = path.map(|path| aside::leave_word(&path, error)) {
            tracing::warn!(%error, "the next start has to find out by itself: no word can be left");
        }
    }

    /// A file that was deleted or replaced takes rows as before, and they are gone with it: the next
    /// start goes on with what lies in its place.
    fn look_for_the_file(&mut self, every: Duration) -> Result<(), StoreError> {
        let Some((id, seen)) = &mut self.place else {
            return Ok(());
        };
        let path = self.conn.path().unwrap_or_default();
        if seen.elapsed() >= every {
            let gone = match file_id(Path::new(path)) {
                Ok(found) => found != *id,
                Err(error) => error.kind() == io::ErrorKind::NotFound,
            };
            *seen = Instant::now();
            if gone && !self.over {
                self.over = true;
                tracing::error!(
                    rows_held = self.backlog.rows(),
                    rows_written_since_the_start = self.gauges.rows.load(Ordering::Relaxed),
                    "{path} was deleted or replaced under the running hub: what was written since then is \
                     lost, and the hub starts again with what lies there now. Stop the hub before \
                     touching its database."
                );
            }
        }
        if self.over {
            return Err(StoreError::Closed);
        }
        Ok(())
    }

    /// All of one person; what is only held in memory is not in it.
    pub fn participant_data(
        &self,
        id: ParticipantId,
        with_rr: bool,
    ) -> rusqlite::Result<Option<read::ParticipantData>> {
        read::participant_data(
            &self.conn,
            id,
            Moment {
                boot_no: self.boot_no,
                mono_ms: i64::MAX,
            },
            with_rr,
        )
    }

    /// Queues the next closed minute for the way upstream.
    pub fn queue_closed_minute(
        &mut self,
        rules: &Upstream,
        now: Stamp,
    ) -> rusqlite::Result<Queued> {
        let present = Present {
            boot_no: self.boot_no,
            now,
            is_behind: !self.backlog.is_empty(),
        };
        outbox::queue(&mut self.conn, rules, &present, &mut self.news)
    }

    /// Not held in memory when the disk refuses it: the next minute says more.
    pub fn keep_minute(&mut self, at: Stamp, figures: &Figures) -> rusqlite::Result<()> {
        history::keep(&mut self.conn, self.boot_no, at, figures)
    }

    /// One step of forgetting; true while there is more.
    pub fn forget(
        &mut self,
        before: &Stamp,
        now: &Stamp,
        by_network: bool,
    ) -> rusqlite::Result<bool> {
        let boot_no = self.boot_no;
        // It may queue a gap record, under a number of its own.
        let more = outbox::durably(&mut self.conn, |conn| {
            forget::forget(conn, boot_no, before, now, by_network, FORGOTTEN_AT_A_TIME)
        })?;
        self.checkpoint_owed |= !more;
        self.checkpoint_if_owed();
        if !more && before.synced && by_network {
            self.forget_copies(before);
        }
        Ok(more)
    }

    /// Copies of the file stay for a week, never longer than what is in them may.
    fn forget_copies(&self, before: &Stamp) {
        let now = SystemTime::now();
        let kept_from = Duration::from_millis(before.wall_ms.max(0).unsigned_abs());
        let (Some(path), Some(week_ago)) = (self.conn.path(), now.checked_sub(COPIES)) else {
            return;
        };
        let before = week_ago.max(SystemTime::UNIX_EPOCH + kept_from);
        let gone = aside::forget_copies(Path::new(path), before, now);
        if !gone.is_empty() {
            self.gauges.copies_are_gone(&gone);
            tracing::info!(
                files = gone.join(", "),
                "old copies of the database are gone"
            );
        }
    }

    fn end(mut self) -> Result<(), StoreError> {
        if !self.over {
            self.write_backlog(usize::MAX);
        }
        let rows = self.backlog.rows();
        // Of a file that was replaced the log may still lie beside the new one, to which it must not be
        // applied: this empties it.
        // If another process reads, the log stays beside the file: nothing is lost by that.
        let _ = checkpoint(&self.conn);
        self.conn
            .close()
            .map_err(|(_conn, source)| StoreError::Sql {
                doing: "closing",
                source,
            })?;
        if rows == 0 {
            Ok(())
        } else {
            Err(StoreError::Unwritten { rows })
        }
    }
}

/// Nothing for a connection without a file.
fn place(conn: &Connection) -> Option<(FileId, Instant)> {
    let path = conn.path().filter(|path| !path.is_empty())?;
    Some((file_id(Path::new(path)).ok()?, Instant::now()))
}

fn file_id(path: &Path) -> io::Result<FileId> {
    let data = fs::metadata(path)?;
    Ok((data.dev(), data.ino()))
}

/// False if somebody else was in the way.
fn checkpoint(conn: &Connection) -> rusqlite::Result<bool> {
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
        row.get::<_, bool>(0)
    })
    .map(|busy| !busy)
}
