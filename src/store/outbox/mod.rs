//! What waits to go upstream: one row, one message, built from what is stored when a minute closes, and
//! deleted when the centre has it. What a message may hold is `record`'s business, how it travels the
//! uplink's.

use std::sync::Arc;

use super::error::StoreError;
use super::{Store, keeper::Keeper};
use crate::record::{Ack, Pseudonymiser, Stream, Study};
use crate::room::Suppression;
use crate::room::rows::Stamp;

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
    /// It acknowledges what was never sent, so the database was put back: nothing was done. A new epoch
    /// is called for.
    pub ahead: bool,
}

impl Store {
    /// Queues the messages of the oldest minute that is closed and not queued yet, in one transaction
    /// with the mark of how far it got. A short step, so that beats are written in between: call it
    /// again while there is more.
    ///
    /// # Errors
    /// The database can't be written, or the thread has ended; nothing of the step was done.
    pub async fn queue_closed_minute(
        &self,
        rules: Arc<Upstream>,
        now: Stamp,
    ) -> Result<Queued, StoreError> {
        self.ask("queueing a minute", move |keeper: &mut Keeper| {
            let _ = (keeper, rules, now);
            Ok(Queued::default())
        })
        .await
    }

    /// The waiting messages with a number above `seq`, in their order.
    ///
    /// # Errors
    /// The database can't be read, or the thread has ended.
    pub async fn outbox_after(
        &self,
        seq: i64,
        limit: u32,
    ) -> Result<Vec<OutboxMessage>, StoreError> {
        self.ask("reading the outbox", move |keeper: &mut Keeper| {
            let _ = (keeper, seq, limit);
            Ok(Vec::new())
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
        self.ask(
            "taking an acknowledgement in",
            move |keeper: &mut Keeper| {
                let _ = (keeper, ack, now);
                Ok(Acknowledged::default())
            },
        )
        .await
    }

    /// How the outbox is.
    ///
    /// # Errors
    /// The database can't be read, or the thread has ended.
    pub async fn outbox_state(&self) -> Result<OutboxState, StoreError> {
        self.ask("reading the outbox's state", |keeper: &mut Keeper| {
            let _ = keeper;
            Ok(OutboxState::default())
        })
        .await
    }

    /// Begins a new epoch: everything that waits is to be sent again under it. What was numbered and
    /// does not wait any more is told in a gap record that comes first.
    ///
    /// # Errors
    /// The database can't be written, or the thread has ended.
    pub async fn outbox_new_epoch(&self, now: Stamp) -> Result<i64, StoreError> {
        self.ask("beginning an epoch", move |keeper: &mut Keeper| {
            let _ = (keeper, now);
            Ok(0)
        })
        .await
    }
}
