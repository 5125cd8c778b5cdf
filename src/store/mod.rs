//! What the hub remembers: SQLite, written by one thread. [`Store`] is the cheap handle that
//! everybody else holds; [`open`] gives it, together with the [`Memory`] of what was.
//!
//! Rows go in as the room made them ([`Row`]) and come back the same. There are two ways in:
//! [`Store::commit`] for what the live path produces (it never waits; what the disk refuses is held
//! in memory and tried again) and [`Store::commit_then`] for what somebody waits for (on the card
//! before it is answered; refused is refused). Both keep their order. Decisions about rooms and people
//! do not belong here, nor does what leaves the building.
//!
//! - `open`: the file, its schema, the hub's identity; `memory`: what is read at the start
//! - `aside`: files that are damaged; `away`: a file that can't be opened; `snapshot`: before an upgrade
//! - `keeper`: the thread; `backlog`: rows that wait; `batch`: one transaction
//! - `write`, `read`, `erase`, `forget`, `doors`, `history`, `stages`: the statements; `moment`: a stretch of time in them
//! - `evidence`: a session's scores and their R-R, read to be checked
//! - `outbox`: what waits to go upstream; `facility_key`: the secret behind the pseudonyms

mod aside;
mod away;
mod backlog;
mod batch;
mod doors;
mod erase;
mod error;
mod evidence;
mod facility_key;
mod forget;
mod health;
mod history;
mod keeper;
mod memory;
mod moment;
mod open;
mod outbox;
mod read;
mod registry;
#[cfg(test)]
mod samples;
mod snapshot;
mod stages;
#[cfg(test)]
mod tests;
mod write;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Semaphore, mpsc, oneshot};

use self::away::Away;
use self::backlog::Backlog;
pub use self::error::StoreError;
pub use self::evidence::{BootEvidence, Evidence, evidence};
pub use self::facility_key::facility_key;
use self::health::Gauges;
pub use self::health::StoreHealth;
use self::keeper::{Done, Keeper, Message};
pub use self::memory::Memory;
pub use self::open::random_pin;
use self::open::{Identity, Opened};
pub use self::outbox::{Acknowledged, OutboxMessage, OutboxState, Queued, Upstream};
pub use self::read::{InStep, ParticipantData, SessionKept};
use crate::room::ParticipantId;
use crate::room::rows::{GroupRow, Row, Stamp};
use crate::telemetry::load::Figures;
use crate::telemetry::metric;

/// Messages that the inbox holds. Asks and durable commits may take a part each; the rest is always
/// free for beats.
const INBOX: usize = 256;
const DURABLE_AT_ONCE: usize = 192;
const ASKS_AT_ONCE: usize = 32;
/// Rows that wait while the inbox is full: people who come and go as fast as they can make some
/// thousands in a second, and a card that tidies up can stand still for seconds.
const WAITING_ROWS_MAX: usize = 50_000;

/// How long reading the PIN waits for another program that holds the database.
const PIN_PATIENCE: Duration = Duration::from_secs(2);

/// The database's file in the data directory.
pub const FILE_NAME: &str = "hub.db";

/// The boot of the operating system in which this process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// As the kernel names it; any text in tests.
    pub boot_id: String,
    /// When this process began.
    pub start: Stamp,
}

/// A handle of the store; clones share one thread. When the last one is dropped, the thread writes
/// what it holds and ends.
#[derive(Clone)]
pub struct Store {
    inbox: mpsc::Sender<Message>,
    gauges: Arc<Gauges>,
    durable: Arc<Semaphore>,
    asks: Arc<Semaphore>,
    /// What found no room in the inbox, in order. It goes in with the next rows, as one batch: many
    /// small transactions become a few large ones just when that is needed.
    waiting: Arc<Mutex<Backlog>>,
    /// The inbox was full and this was logged.
    overrun: Arc<AtomicBool>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("health", &self.health())
            .finish_non_exhaustive()
    }
}

/// The facilitator's PIN as it is stored, read while no hub runs.
///
/// # Errors
/// There is no database, or it can't be read.
pub fn stored_pin(path: &Path) -> Result<String, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    Connection::open_with_flags(path, flags)
        .and_then(|conn| {
            conn.busy_timeout(PIN_PATIENCE)?;
            conn.query_row("SELECT pin FROM meta", [], |row| row.get(0))
        })
        .map_err(|source| StoreError::Pin {
            path: path.to_owned(),
            source,
        })
}

/// Opens the database at `path`, making it where there is none, and starts its thread. A damaged file
/// is set aside and told of in [`Memory::set_aside`]. A file that can't be opened now (the disk is full,
/// read-only, in others' hands) is opened later: until then rows are held in memory, nothing is promised
/// to be kept, and the health says so.
///
/// # Errors
/// What will not pass by itself: [`StoreError::NewerSchema`], or a system without threads or random
/// numbers.
pub fn open(path: &Path, boot: Boot) -> Result<(Store, Memory), StoreError> {
    let (opened, memory, away) = match come_in(path, &boot, None) {
        Ok((opened, memory)) => (opened, memory, None),
        Err(error) if error.may_pass() => {
            let advice = error.advice(health::data_dir(path));
            tracing::error!(%error, advice, "the database can't be used: the hub goes on without it and tries again");
            let (opened, memory, away) = away::stand_in(path, &boot, &error)?;
            (opened, memory, Some((away, error)))
        }
        Err(error) => return Err(error),
    };
    start(path, opened, memory, &boot, away)
}

/// As [`open`], for who only looks in while no hub runs: a damaged file is left as it is.
///
/// # Errors
/// As [`open`]; also when the file is damaged.
pub fn open_as_it_is(path: &Path, boot: Boot) -> Result<(Store, Memory), StoreError> {
    let (opened, memory) = open_and_read(path, &boot, None)?;
    start(path, opened, memory, &boot, None)
}

/// `away`: the file could not be opened, and why.
fn start(
    path: &Path,
    opened: Opened,
    memory: Memory,
    boot: &Boot,
    away: Option<(Away, StoreError)>,
) -> Result<(Store, Memory), StoreError> {
    let (inbox, messages) = mpsc::channel(INBOX);
    let gauges = Arc::new(Gauges::of(path));
    gauges.was_set_aside(memory.aside_in_words());
    let news = outbox::news(boot, opened.boot_no, memory.set_aside.is_some());
    let mut keeper = Keeper::new(opened, Arc::clone(&gauges), news);
    if let Some((away, why)) = away {
        keeper.stay_away(away, &why);
    }
    let thread = std::thread::Builder::new()
        .name("store".to_owned())
        .spawn(move || keeper.run(messages))
        .map_err(StoreError::Thread)?;
    let store = Store {
        inbox,
        gauges,
        durable: Arc::new(Semaphore::new(DURABLE_AT_ONCE)),
        asks: Arc::new(Semaphore::new(ASKS_AT_ONCE)),
        waiting: Arc::default(),
        overrun: Arc::default(),
        thread: Arc::new(Mutex::new(Some(thread))),
    };
    Ok((store, memory))
}

impl Store {
    /// Keeps rows, in one transaction; never waits. While the disk takes none, or the inbox is full,
    /// they are held in memory and tried again with the next commit; beyond the bound of that they are
    /// lost and counted.
    pub fn commit(&self, rows: Vec<Row>) {
        let mut waiting = self.waiting();
        self.let_wait(&mut waiting, rows);
        self.hand_in(&mut waiting);
    }

    /// Keeps rows in one durable transaction and calls `done`, on the store's thread, when they are on
    /// the card. All or nothing: after an error none of them is kept, now or later. So hand over what
    /// else is pending with [`Store::commit`] first.
    pub fn commit_then(&self, rows: Vec<Row>, done: Done) {
        let refused = {
            let mut waiting = self.waiting();
            self.hand_in(&mut waiting);
            // What it builds on must not come after it.
            match Arc::clone(&self.durable).try_acquire_owned() {
                Ok(permit) if waiting.is_empty() => {
                    self.inbox.try_send(Message::Durable(rows, done, permit))
                }
                _ => {
                    drop(waiting);
                    return done(Err(StoreError::Busy));
                }
            }
        };
        match refused {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(Message::Durable(_, done, _))) => {
                done(Err(StoreError::Busy))
            }
            Err(mpsc::error::TrySendError::Closed(Message::Durable(_, done, _))) => {
                done(Err(StoreError::Closed))
            }
            Err(_) => unreachable!("the message sent comes back"),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Backlog> {
        // A poisoned lock only means that somebody panicked beside whole rows.
        self.waiting.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn hand_in(&self, waiting: &mut Backlog) {
        if waiting.is_empty() {
            return;
        }
        match self.inbox.try_send(Message::Commit(waiting.take())) {
            Ok(()) => {
                // Over only when the inbox is nearly empty: else a flood would fill the log too.
                if self.inbox.capacity() > INBOX - INBOX / 8 {
                    self.overrun.store(false, Ordering::Relaxed);
                }
            }
            Err(mpsc::error::TrySendError::Full(Message::Commit(rows))) => {
                self.let_wait(waiting, rows);
                if !self.overrun.swap(true, Ordering::Relaxed) {
                    tracing::warn!("the store does not keep up: rows wait in memory");
                }
            }
            Err(mpsc::error::TrySendError::Closed(Message::Commit(rows))) => {
                self.lost(rows.len(), "the store has ended: rows are lost");
            }
            Err(_) => unreachable!("the message sent comes back"),
        }
    }

    fn let_wait(&self, waiting: &mut Backlog, rows: Vec<Row>) {
        let lost = waiting.push(rows, WAITING_ROWS_MAX);
        if lost > 0 {
            self.lost(lost, "the store is far too slow: rows are lost");
        }
    }

    fn lost(&self, rows: usize, why: &str) {
        if self
            .gauges
            .dropped
            .fetch_add(rows as u64, Ordering::Relaxed)
            == 0
        {
            tracing::error!(rows, "{why}; from now on only counted");
        }
    }

    /// A sign of life: the thread has worked off what came before and can read the database, or knows
    /// that it can't be opened. How long to wait for it is the caller's decision.
    ///
    /// # Errors
    /// The database can't be read, or the thread has ended.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let answer = self.send_ask("answering a ping", |keeper| {
            keeper
                .conn
                .query_row("SELECT only_row FROM meta", [], |_| Ok(()))
        });
        match answer.await {
            Err(StoreError::Away(_)) => Ok(()),
            answer => answer,
        }
    }

    /// The newest `limit` sessions, newest first.
    ///
    /// # Errors
    /// The database can't be read, or the thread has ended.
    pub async fn sessions(&self, limit: u32) -> Result<Vec<SessionKept>, StoreError> {
        self.ask("reading sessions", move |keeper| {
            read::sessions(&keeper.conn, limit)
        })
        .await
    }

    /// One session with its group series, in order of time.
    ///
    /// # Errors
    /// The database can't be read, or the thread has ended.
    pub async fn session(
        &self,
        id: String,
    ) -> Result<Option<(SessionKept, Vec<GroupRow>)>, StoreError> {
        self.ask("reading a session", move |keeper| {
            read::session(&keeper.conn, &id)
        })
        .await
    }

    /// All that is stored of one person; without `with_rr` its R-R is not even read.
    ///
    /// # Errors
    /// The database can't be read, or the thread has ended.
    pub async fn participant_data(
        &self,
        id: ParticipantId,
        with_rr: bool,
    ) -> Result<Option<ParticipantData>, StoreError> {
        self.ask("reading a person's data", move |keeper| {
            keeper.participant_data(id, with_rr)
        })
        .await
    }

    /// Deletes R-R and scores from before `before`, what waits of them to go upstream, dead letters, and
    /// participants who have not been here since.
    /// `before` is the present moment less `privacy.keep_days` on both its clocks (its monotonic time
    /// may be negative), `synced` as at present; `by_network`: the wall time comes over the network,
    /// so that a long pause is believed. Sessions and the group's figures stay. Works in small
    /// steps, so that beats are written in between.
    ///
    /// # Errors
    /// The database can't be written, or the thread has ended; what is left goes the next time.
    pub async fn forget_old(
        &self,
        before: Stamp,
        now: Stamp,
        by_network: bool,
    ) -> Result<(), StoreError> {
        while self
            .ask("forgetting", move |keeper| {
                keeper.forget(&before, &now, by_network)
            })
            .await?
        {}
        Ok(())
    }

    /// Keeps how the hub did in the minute that ends at `at`, and forgets the minutes of yesterday.
    ///
    /// # Errors
    /// The database can't be written, or the thread has ended; then the history has a hole.
    pub async fn keep_minute(&self, at: Stamp, figures: Figures) -> Result<(), StoreError> {
        self.ask("keeping the figures of a minute", move |keeper| {
            keeper.keep_minute(at, &figures)
        })
        .await
    }

    /// How the hub did, minute by minute, oldest first: at most a day.
    ///
    /// # Errors
    /// The database can't be read, or the thread has ended.
    pub async fn history(&self) -> Result<Vec<(Stamp, Figures)>, StoreError> {
        self.ask("reading the history", |keeper| history::read(&keeper.conn))
            .await
    }

    /// How it is doing; asks nobody.
    pub fn health(&self) -> StoreHealth {
        let queue_len = self.inbox.max_capacity() - self.inbox.capacity();
        let mut health = self.gauges.picture(queue_len);
        health.waiting_rows += self.waiting().rows() as u64;
        health
    }

    /// Waits until the thread has ended: unless it was closed, the process can't go on.
    pub async fn ended(&self) {
        self.inbox.closed().await;
    }

    /// Does what is in the inbox, writes what is held, and ends the thread; the other handles are then
    /// closed.
    ///
    /// # Errors
    /// [`StoreError::Unwritten`] if the disk still took no rows; [`StoreError::Closed`] the second time.
    pub async fn close(self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        let rows = self.waiting().take();
        if !rows.is_empty() {
            let last = self.inbox.send(Message::Commit(rows)).await;
            last.map_err(|_| StoreError::Closed)?;
        }
        self.inbox
            .send(Message::Close(reply))
            .await
            .map_err(|_| StoreError::Closed)?;
        let ended = answer.await.map_err(|_| StoreError::Closed)?;
        // It has answered as the last thing it does: joining takes no time.
        let thread = self.thread.lock().unwrap_or_else(|e| e.into_inner()).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            return Err(StoreError::Closed);
        }
        ended
    }

    /// An ask among others; so many at a time that beats find room in the inbox.
    async fn ask<T: Send + 'static>(
        &self,
        doing: &'static str,
        what: impl FnOnce(&mut Keeper) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.asks)
            .acquire_owned()
            .await
            .map_err(|_| StoreError::Closed)?;
        self.send_ask(doing, move |keeper| {
            let _permit = permit; // taken along: an asker may go away, the message stays
            what(keeper)
        })
        .await
    }

    async fn send_ask<T: Send + 'static>(
        &self,
        doing: &'static str,
        what: impl FnOnce(&mut Keeper) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let ask = Box::new(move |keeper: &mut Keeper| {
            // Nobody waits any more: not worth the work.
            if !reply.is_closed() {
                let begin = Instant::now();
                let found = keeper.asked(doing, what);
                metrics::histogram!(metric::DB_QUERY_SECONDS).record(begin.elapsed());
                drop(reply.send(found));
            }
        });
        self.inbox
            .send(Message::Ask(ask))
            .await
            .map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

/// Opens and reads; what is damaged is set aside. `identity`: for a database that has none and finds
/// none beside it.
fn come_in(
    path: &Path,
    boot: &Boot,
    identity: Option<Identity>,
) -> Result<(Opened, Memory), StoreError> {
    let known = identity.or_else(|| aside::salvage_older(path));
    let damage = match aside::word_left(path) {
        Some(damage) => damage,
        None => match open_and_read(path, boot, known.clone()) {
            Err(damage) if damage.is_corrupt() => damage,
            opened => return opened,
        },
    };
    let (aside, identity) = aside::set_aside(path, boot, &damage)?;
    let (opened, mut memory) = open_and_read(path, boot, identity.or(known))?;
    memory.set_aside = Some(aside.display().to_string());
    memory.damage = Some(damage.to_string());
    Ok((opened, memory))
}

fn open_and_read(
    path: &Path,
    boot: &Boot,
    identity: Option<Identity>,
) -> Result<(Opened, Memory), StoreError> {
    let opened = open::open(path, boot, identity)?;
    let memory = memory::read(&opened, boot).map_err(StoreError::sql("reading what was"))?;
    Ok((opened, memory))
}
