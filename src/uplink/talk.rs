//! What is said on one connection, from the broker's welcome to the end: births, messages as the
//! window wants them, acknowledgements to the store. Whether and when to connect is `mod`'s.

use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::{PubAckReason, PublishProperties};

use super::cause::Cause;
use super::link::{Heard, Link, Tag};
use super::topics::Topics;
use super::window::{Want, Why};
use super::words::Way;
use super::{Errand, SETTLED_MS};
use crate::record::{Ack, HubState};
use crate::store::StoreError;
use crate::telemetry::metric;

/// Acknowledgements are cumulative: what comes within this time is one transaction. ms
const GATHER_MS: i64 = 1_000;
/// So many are not held back any longer.
const GATHERED: usize = 32;
/// Figures for `/health` and `/metrics` are read so often, ms.
const LOOK_MS: i64 = 5_000;
/// After the store refused something, ms.
const STORE_REST_MS: i64 = 5_000;
/// What topic, properties and header of a packet take, at most, beside the body.
const ENVELOPE_BYTES: usize = 512;
/// How long the last words may take.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A connection in use.
pub(super) struct Talk<'a> {
    errand: &'a mut Errand,
    link: Link,
    topics: Topics,
    /// Bytes of a body that the broker takes.
    body_bytes: usize,
    /// We are in and subscribed, since then.
    up_since_ms: Option<i64>,
    gathered: Vec<Ack>,
    gathered_since_ms: i64,
    look_ms: i64,
    /// The store is left alone until then.
    store_rest_until_ms: i64,
}

impl<'a> Talk<'a> {
    pub fn new(errand: &'a mut Errand, link: Link, topics: Topics) -> Self {
        Talk {
            errand,
            link,
            topics,
            body_bytes: usize::MAX,
            up_since_ms: None,
            gathered: Vec::new(),
            gathered_since_ms: 0,
            look_ms: 0,
            store_rest_until_ms: 0,
        }
    }

    /// Talks until the connection ends, and says why.
    pub async fn run(&mut self) -> Cause {
        loop {
            let now_ms = self.errand.clock.mono_ms();
            if self.errand.window.stalled(now_ms) {
                return Cause::Stalled;
            }
            self.settle(now_ms);
            if now_ms >= self.look_ms {
                self.look_ms = now_ms + LOOK_MS;
                self.errand.look().await;
            }
            if self.is_gathered(now_ms)
                && let Err(cause) = self.hand_over(now_ms).await
            {
                return cause;
            }
            self.errand.tell();
            let mut wake_ms = self.look_ms;
            if !self.gathered.is_empty() {
                wake_ms = wake_ms.min(self.gathered_since_ms + GATHER_MS);
            }
            let wants = if now_ms < self.store_rest_until_ms {
                wake_ms = wake_ms.min(self.store_rest_until_ms);
                None
            } else {
                match self.errand.window.want(now_ms) {
                    Want::Read { after, limit, why } => Some((after, limit, why)),
                    Want::Wait { until_ms } => {
                        wake_ms = wake_ms.min(until_ms);
                        None
                    }
                }
            };
            if let Some(want) = wants {
                if let Err(cause) = self.send(want).await {
                    return cause;
                }
                continue;
            }
            let heard = tokio::select! {
                heard = self.link.hear() => heard,
                () = self.errand.filled.notified() => {
                    self.errand.window.filled();
                    continue;
                }
                () = self.errand.clock.sleep_until(wake_ms) => continue,
            };
            if let Err(cause) = self.understand(heard) {
                return cause;
            }
        }
    }

    /// Says that this hub goes, and goes.
    pub async fn farewell(mut self) {
        let said = async {
            let word = self.errand.status(HubState::Offline);
            let status = self.topics.status();
            if self.up_since_ms.is_none() || self.say(&status, word).is_err() {
                return;
            }
            loop {
                match self.link.hear().await {
                    Heard::Answered(Tag::Word(topic), _) if topic == status => return,
                    Heard::Down(_) => return,
                    _ => {}
                }
            }
        };
        // A broker that does not answer announces our death by itself.
        let _ = tokio::time::timeout(LAST_WORDS, said).await;
        self.link.close().await;
    }
}
