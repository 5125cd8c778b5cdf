//! What outlives a single connection: the window, what was learned of broker and collector, what was
//! told of it, and the store. Not here: when to connect (`mod`) and what is said (`talk`).

use std::sync::Arc;
use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::PubAckReason;
use tokio::sync::{Notify, watch};

use super::Uplink;
use super::backoff::Backoff;
use super::cause::Cause;
use super::link::Tag;
use super::minutes::now;
use super::topics::Topics;
use super::window::Window;
use super::words::{Picture, Told, Way};
use crate::clock::Clock;
use crate::config::Config;
use crate::record::{Ack, HubState, Meta, Release, Status, Stream, Study};
use crate::store::{OutboxState, Store, StoreError};
use crate::telemetry::{Report, metric, tally};

/// What an acknowledgement came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// It is of another epoch, or known.
    Nothing,
    Progress,
    NewEpoch,
}

pub(super) struct Errand {
    pub store: Store,
    pub clock: Clock,
    pub topics: Topics,
    pub window: Window,
    pub backoff: Backoff,
    pub picture: Picture,
    pub epoch: i64,
    /// Bytes of a body that the broker takes, as far as is known.
    pub body_bytes: usize,
    /// The message that was given to the broker last, and its size.
    pub last_sent: Option<(i64, usize)>,
    pub filled: Arc<Notify>,
    pub may_number: watch::Sender<bool>,
    not_filling: watch::Receiver<Option<String>>,
    told: Told,
    report: watch::Sender<Report>,
    boot_no: i64,
    version: &'static str,
    facility: String,
    study: String,
    /// An acknowledgement that can't be read was told of.
    unreadable: bool,
    /// So was a database that was put back.
    put_back: bool,
    down_since_ms: Option<i64>,
}

impl Errand {
    pub fn new(
        uplink: &Uplink,
        config: &Config,
        filled: Arc<Notify>,
        may_number: watch::Sender<bool>,
        not_filling: watch::Receiver<Option<String>>,
    ) -> Self {
        let topics = Topics::new(&config.uplink.root, uplink.name(&config.uplink));
        Errand {
            store: uplink.store.clone(),
            clock: uplink.clock.clone(),
            window: Window::new(),
            backoff: Backoff::default(),
            picture: Picture {
                broker: config.uplink.broker.clone(),
                ack_topic: topics.ack(),
                ..Picture::default()
            },
            topics,
            epoch: 0,
            body_bytes: usize::MAX,
            last_sent: None,
            filled,
            may_number,
            not_filling,
            told: Told::default(),
            report: uplink.report.clone(),
            boot_no: uplink.boot_no,
            version: uplink.version,
            facility: config.uplink.facility.clone(),
            study: config.uplink.study.clone(),
            unreadable: false,
            put_back: false,
            down_since_ms: None,
        }
    }

    /// The broker's answer to what was published.
    pub fn answered(&mut self, tag: Tag, reason: PubAckReason, now_ms: i64) {
        let taken = matches!(
            reason,
            PubAckReason::Success | PubAckReason::NoMatchingSubscribers
        );
        match (tag, taken) {
            (Tag::Message(seq), true) => {
                let listened = reason == PubAckReason::Success;
                self.picture.nobody_listens = !listened;
                self.window.taken(seq, listened, now_ms);
            }
            (Tag::Message(seq), false) => {
                let refused = self.window.refused(seq, now_ms);
                metrics::counter!(metric::UPLINK_REFUSED).increment(1);
                if let Some(stream) = refused {
                    self.picture.refuse(self.topics.up(stream), reason);
                }
            }
            (_, true) => {}
            (Tag::Status, false) => self.picture.refuse(self.topics.status(), reason),
            (Tag::Meta, false) => self.picture.refuse(self.topics.meta(), reason),
        }
        if taken {
            let (window, topics) = (&self.window, &self.topics);
            let rests = |stream: Stream| window.is_denied(stream);
            let allowed = Stream::ALL.into_iter().filter(|stream| !rests(*stream));
            for topic in allowed.map(|stream| topics.up(stream)) {
                self.picture.denied.remove(&topic);
            }
        }
    }

    /// Gives an acknowledgement to the store.
    pub async fn acknowledge(&mut self, ack: Ack) -> Result<Done, StoreError> {
        let now = now(&self.clock);
        let done = self.store.outbox_acknowledged(ack.clone(), now).await?;
        if done.ahead {
            if !std::mem::replace(&mut self.put_back, true) {
                tracing::warn!(
                    "the collector has more of this hub than the hub ever sent: its database was put back; \
                     what waits is sent again, under a new epoch"
                );
            }
            self.epoch = self.store.outbox_new_epoch(now).await?;
            self.window.new_epoch();
            self.may_number.send_replace(true);
            return Ok(Done::NewEpoch);
        }
        self.may_number.send_replace(true);
        if done.foreign_epoch {
            return Ok(Done::Nothing);
        }
        let now_ms = self.clock.mono_ms();
        let settled = ack.also.iter().copied();
        let settled = settled.chain(ack.rejected.iter().map(|it| it.seq));
        let lag_ms = self.window.acknowledged(ack.upto, settled, now_ms);
        if let Some(lag_ms) = lag_ms {
            metrics::gauge!(metric::E2E_ACK_LAG_SECONDS).set(lag_ms as f64 / 1_000.0);
        }
        if done.deleted > 0 {
            self.picture.nobody_listens = false;
        }
        metrics::counter!(metric::UPLINK_ACKNOWLEDGED).increment(done.deleted);
        Ok(match lag_ms {
            Some(_) => Done::Progress,
            None => Done::Nothing,
        })
    }

    pub fn unreadable(&mut self, error: &serde_json::Error) {
        if !std::mem::replace(&mut self.unreadable, true) {
            tracing::warn!(%error, topic = %self.topics.ack(), "an acknowledgement can't be read: it is ignored");
        }
    }

    /// The broker ended the connection because of the size of a message: learns from it.
    pub async fn too_large(&mut self) {
        let Some(seq) = self.window.culprit() else {
            return;
        };
        if let Some((_, bytes)) = self.last_sent.filter(|(last, _)| *last == seq) {
            self.body_bytes = self.body_bytes.min(bytes.saturating_sub(1));
        }
        if let Err(error) = self.give_up(seq).await {
            self.picture.store = Some(error.to_string());
        }
        // It is no fault of the connection.
        self.backoff.reset();
    }

    /// Puts a message aside that the broker could never take.
    pub async fn give_up(&mut self, seq: i64) -> Result<(), StoreError> {
        let why = format!(
            "larger than the {} bytes that the broker takes",
            self.body_bytes
        );
        self.store
            .outbox_give_up(seq, why, now(&self.clock))
            .await?;
        self.window.withdrawn(seq);
        self.window.filled();
        Ok(())
    }

    /// The connection is gone, or did not come about; the next attempt is at this moment.
    pub fn down(&mut self, cause: Cause, next_in_ms: i64) {
        let wall_ms = self.clock.wall_ms();
        self.window.disconnected(self.clock.mono_ms());
        let since_ms = *self.down_since_ms.get_or_insert(wall_ms);
        self.picture.way = Way::Down {
            since_ms,
            next_ms: wall_ms + next_in_ms,
            cause,
        };
        self.picture.nobody_listens = false;
    }

    /// Reads the outbox's figures.
    pub async fn look(&mut self) {
        match self.store.outbox_state().await {
            Ok(state) => self.looked(&state),
            Err(error) => self.picture.store = Some(error.to_string()),
        }
    }

    fn looked(&mut self, state: &OutboxState) {
        self.epoch = state.epoch;
        self.picture.store = None;
        self.picture.waiting = state.rows;
        self.picture.dead_letters = state.dead_letters;
        let age_ms = state
            .oldest_wall_ms
            .map_or(0, |oldest_ms| self.clock.wall_ms() - oldest_ms);
        tally::outbox(
            state.rows,
            Duration::from_millis(age_ms.max(0).unsigned_abs()),
        );
        metrics::gauge!(metric::OUTBOX_DEAD_LETTERS).set(state.dead_letters as f64);
        metrics::counter!(metric::OUTBOX_THINNED).absolute(state.thinned);
    }

    /// We are in, and may send.
    pub fn up(&mut self, at_a_time: usize, now_ms: i64) {
        self.window.connected(at_a_time, now_ms);
        self.picture.denied.clear();
        self.picture.way = Way::Up;
        self.down_since_ms = None;
    }

    /// Puts what is into the report, the log and the metrics. `settled`: the connection has proved
    /// itself.
    pub fn tell(&mut self, settled: bool) {
        let now_ms = self.clock.mono_ms();
        let picture = &mut self.picture;
        picture.clock_known = self.clock.known();
        picture.not_filling = self.not_filling.borrow().clone();
        picture.set_aside = self.window.set_aside_seq();
        let silent_since_ms = self
            .window
            .silent_since(now_ms)
            .map(|since_ms| self.clock.wall_ms() - (now_ms - since_ms));
        // The same silence keeps its moment: the two clocks are not read at once, and a second more or
        // less would be told as news.
        picture.silent_since_ms = match (picture.silent_since_ms, silent_since_ms) {
            (Some(told_ms), Some(ms)) if (ms - told_ms).abs() < 60_000 => Some(told_ms),
            (_, now) => now,
        };
        let report = picture.report();
        metrics::gauge!(metric::UPLINK_STATE).set(picture.state_figure());
        self.told.tell(picture, settled);
        self.report.send_if_modified(|told| {
            let new = *told != report;
            *told = report;
            new
        });
    }

    /// What is said on `status`, from now on; as the last will, from when this connection began.
    pub fn status(&self, state: HubState) -> Vec<u8> {
        json(&Status {
            state,
            since: self.clock.wall_ms(),
            boot: self.boot_no,
        })
    }

    /// What is said on `meta`; nothing if the configuration's words have no shape for it.
    pub fn meta(&self) -> Option<Vec<u8>> {
        Some(json(&Meta {
            sw: Release::of(self.version)?,
            schemas: Meta::schemas(),
            epoch: self.epoch,
            facility: self.facility.clone(),
            study: Study::of(&self.study)?,
        }))
    }
}

fn json(word: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(word).expect("words have text keys and whole numbers")
}
