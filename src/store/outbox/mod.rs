//! What waits to go upstream: one row, one message, built from what is stored when a minute closes, and
//! deleted when the centre has it. What a message may hold is `record`'s business, how it travels the
//! uplink's.
//!
//! - `minute`: which minute is next, and all that is told of it; `personal`, `group`: its series
//! - `gate`: who consented; `facts`: consents, withdrawals, erasures, events; `owed`: what is still to be emptied
//! - `rows`: the waiting rows; `outgoing`: how they leave; `settle`: what the centre says back
//! - `thin`: what is dropped when too much waits; `times`: what time it really was

mod facts;
mod gate;
mod group;
mod minute;
mod outgoing;
mod owed;
mod personal;
mod rows;
mod settle;
mod thin;
mod times;

use std::sync::Arc;

use rusqlite::Connection;

pub(super) use self::facts::{erase, expect_confirmation, is_withdrawal, withdraw};
pub(super) use self::minute::{Present, numbers_were_freed};
pub(super) use self::owed::{Redeemed, redeem};
pub(super) use self::thin::forget;
use super::error::StoreError;
use super::keeper::Keeper;
use super::open::{Synchronous, set_synchronous};
use super::{Boot, Store};
use crate::record::{Ack, HubEvent, Pseudonymiser, Release, Stream, Study};
use crate::room::Suppression;
use crate::room::rows::Stamp;

/// Messages that are read in one step.
const READ_AT_A_TIME: u32 = 64;

/// The rules by which anything leaves.
#[derive(Clone, Debug)]
pub struct Upstream {
    pub pseudonyms: Pseudonymiser,
    pub study: Study,
    /// Below these numbers of hearts the group's figures stay here, as they do in the room.
    pub suppression: Suppression,
    /// What may wait, bytes.
    pub outbox_bytes_max: u64,
    /// And for how long, ms.
    pub outbox_age_max_ms: i64,
}

/// A message that waits, with its number in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxMessage {
    pub seq: i64,
    pub stream: Stream,
    /// JSON, gzip.
    pub body: Vec<u8>,
    pub queued_wall_ms: i64,
}

/// How the outbox is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboxState {
    pub epoch: i64,
    /// Messages that wait, and their bytes.
    pub rows: u64,
    pub bytes: u64,
    pub oldest_wall_ms: Option<i64>,
    pub acked_upto: i64,
    /// The last number that was given.
    pub last_seq: i64,
    pub dead_letters: u64,
    /// Messages dropped since the database was made, because too much waited or for too long.
    pub thinned: u64,
    /// Erasures that the centre has not confirmed.
    pub erasures_unconfirmed: u64,
}

/// What a step of queueing did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queued {
    pub messages: u64,
    /// Messages dropped for it.
    pub thinned: u64,
    /// Another minute is closed: ask again at once.
    pub more: bool,
    /// Nothing of this boot is told before the time is known.
    pub waiting_for_clock: bool,
    /// The people of this study were named with another key of the facility: nothing was done, or they
    /// would become strangers to the centre, and no withdrawal of theirs would be understood.
    pub other_key: bool,
}

/// What an acknowledgement did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acknowledged {
    pub deleted: u64,
    /// Moved to the dead letters.
    pub rejected: Vec<i64>,
    pub confirmed_erasures: u64,
    /// It speaks of another epoch: nothing was done.
    pub foreign_epoch: bool,
    /// It acknowledges what was never handed out, so the database was put back: nothing was done. A new epoch
    /// is called for.
    pub ahead: bool,
}

impl Store {
    /// Queues the messages of the oldest minute that is closed and not queued yet, in one transaction
    /// with the mark of how far it got. A short step, so that beats are written in between: call it
    /// again while there is more, and else every few seconds. `now` is the room's time.
    ///
    /// # Errors
    /// The database can't be written, or the thread has ended; nothing of the step was done.
    pub async fn queue_closed_minute(
        &self,
        rules: Arc<Upstream>,
        now: Stamp,
    ) -> Result<Queued, StoreError> {
        self.ask("queueing a minute", move |keeper: &mut Keeper| {
            keeper.queue_closed_minute(&rules, now)
        })
        .await
    }

    /// At most `limit` (and 64) of the waiting messages with a number above `seq`, in their order.
    ///
    /// # Errors
    /// The database can't be read, or the thread has ended.
    pub async fn outbox_after(
        &self,
        seq: i64,
        limit: u32,
    ) -> Result<Vec<OutboxMessage>, StoreError> {
        self.ask("reading the outbox", move |keeper: &mut Keeper| {
            let boot_no = keeper.boot_no();
            durably(&mut keeper.conn, |conn| {
                outgoing::after(conn, boot_no, seq, limit.min(READ_AT_A_TIME))
            })
        })
        .await
    }

    /// Takes an acknowledgement in. An older one changes nothing.
    ///
    /// # Errors
    /// The database can't be written, or the thread has ended; giving it again does no harm.
    pub async fn outbox_acknowledged(
        &self,
        ack: Ack,
        now: Stamp,
    ) -> Result<Acknowledged, StoreError> {
        let ack = Arc::new(ack);
        let mut all = Acknowledged::default();
        loop {
            let ack = Arc::clone(&ack);
            let (step, more) = self
                .ask(
                    "taking an acknowledgement in",
                    move |keeper: &mut Keeper| {
                        let boot_no = keeper.boot_no();
                        let mut step = Acknowledged::default();
                        let more =
                            settle::acknowledge(&mut keeper.conn, boot_no, &ack, &now, &mut step)?;
                        Ok((step, more))
                    },
                )
                .await?;
            all.add(step);
            if !more {
                return Ok(all);
            }
        }
    }

    /// Puts a message aside that can't be sent: the centre is told that its number will not come. One that
    /// does not wait any more stays as it is.
    ///
    /// # Errors
    /// The database can't be written, or the thread has ended.
    pub async fn outbox_give_up(
        &self,
        seq: i64,
        why: String,
        now: Stamp,
    ) -> Result<(), StoreError> {
        self.ask("putting a message aside", move |keeper: &mut Keeper| {
            let boot_no = keeper.boot_no();
            durably(&mut keeper.conn, |conn| {
                outgoing::give_up(conn, boot_no, seq, &why, &now)
            })
        })
        .await
    }

    /// How the outbox is.
    ///
    /// # Errors
    /// The database can't be read, or the thread has ended.
    pub async fn outbox_state(&self) -> Result<OutboxState, StoreError> {
        self.ask("reading the outbox's state", |keeper: &mut Keeper| {
            settle::state(&keeper.conn)
        })
        .await
    }

    /// Begins a new epoch, for a database that was put back: everything that waits is to be sent again
    /// under it, from the lowest number on. Messages keep their numbers; those in between are told in a
    /// gap record that comes first.
    ///
    /// # Errors
    /// The database can't be written, or the thread has ended.
    pub async fn outbox_new_epoch(&self, now: Stamp) -> Result<i64, StoreError> {
        self.ask("beginning an epoch", move |keeper: &mut Keeper| {
            let boot_no = keeper.boot_no();
            durably(&mut keeper.conn, |conn| {
                settle::new_epoch(conn, boot_no, now)
            })
        })
        .await
    }
}

impl Acknowledged {
    fn add(&mut self, step: Acknowledged) {
        self.deleted += step.deleted;
        self.rejected.extend(step.rejected);
        self.confirmed_erasures += step.confirmed_erasures;
        self.foreign_epoch |= step.foreign_epoch;
        self.ahead |= step.ahead;
    }
}

/// What the thread keeps for the way upstream between two steps: what happened to the hub and was not
/// told yet.
#[derive(Debug, Default)]
pub(super) struct News(Vec<(Stamp, HubEvent)>);

impl News {
    /// A database was set aside after the start.
    pub fn set_aside(&mut self, at: Stamp) {
        self.0.push((at, HubEvent::DatabaseSetAside));
    }
}

/// What a start is worth telling.
pub(super) fn news(boot: &Boot, boot_no: i64, set_aside: bool) -> News {
    let version = Release::of(env!("CARGO_PKG_VERSION")).expect("versions have the shape of one");
    let started = HubEvent::HubStarted {
        version,
        boot: boot_no,
    };
    let aside = set_aside.then_some(HubEvent::DatabaseSetAside);
    News(
        aside
            .into_iter()
            .chain([started])
            .map(|event| (boot.start, event))
            .collect(),
    )
}

/// One step of queueing.
pub(super) fn queue(
    conn: &mut Connection,
    rules: &Upstream,
    present: &Present,
    news: &mut News,
) -> rusqlite::Result<Queued> {
    durably(conn, |conn| {
        minute::queue(conn, rules, present, &mut news.0)
    })
}

/// Does something whose commits are on the card when it returns: a number that was sent must never be
/// given to another message after the power has failed.
pub(super) fn durably<T>(
    conn: &mut Connection,
    what: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    set_synchronous(conn, Synchronous::Full)?;
    let done = what(conn);
    // If this fails, later commits are slower and as good.
    let _ = set_synchronous(conn, Synchronous::Normal);
    done
}
