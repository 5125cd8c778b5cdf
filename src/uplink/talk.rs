//! What is said on one connection, from the broker's welcome to the farewell: who we are, messages as
//! the window wants them, acknowledgements to the store. When to connect is `mod`'s decision.

use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::PublishProperties;

use super::cause::Cause;
use super::errand::{Done, Errand};
use super::link::{Heard, Link, Tag};
use super::window::{Want, Why};
use crate::record::{Ack, HubState, Stream};
use crate::store::StoreError;
use crate::telemetry::metric;

/// Acknowledgements are cumulative: those that come within this time are one transaction, ms.
const GATHER_MS: i64 = 1_000;
/// So many are not held back any longer.
const GATHERED: usize = 32;
/// Figures for `/health` and `/metrics` are read so often, ms.
const LOOK_MS: i64 = 5_000;
/// The store is left alone so long after it refused something, ms.
const STORE_REST_MS: i64 = 5_000;
/// The collector's last word is retained: it comes at once, or there is none, ms.
const FIRST_WORD_MS: i64 = 10_000;
/// And for so long nothing is sent before it: if the collector has more than this database ever sent, its
/// numbers must not be used again, ms.
const FIRST_SEND_MS: i64 = 2_000;
/// A connection that lasted so long is good, ms.
const SETTLED_MS: i64 = 60_000;
/// What topic, properties and header add to a body, at most.
const ENVELOPE_BYTES: u32 = 512;
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A connection in use.
pub(super) struct Talk {
    link: Link,
    at_a_time: usize,
    /// In and subscribed, since then.
    up_since_ms: Option<i64>,
    /// The collector acknowledged something that was sent on it.
    was_acknowledged: bool,
    gathered: Vec<Ack>,
    gathered_since_ms: i64,
    look_ms: i64,
    store_rest_until_ms: i64,
}

impl Talk {
    pub fn new(link: Link) -> Self {
        Talk {
            link,
            at_a_time: 1,
            up_since_ms: None,
            was_acknowledged: false,
            gathered: Vec::new(),
            gathered_since_ms: 0,
            look_ms: 0,
            store_rest_until_ms: 0,
        }
    }

    /// Talks until the connection ends, and says why it did.
    pub async fn run(&mut self, errand: &mut Errand) -> Cause {
        loop {
            if let Err(cause) = self.step(errand).await {
                return cause;
            }
        }
    }

    async fn step(&mut self, errand: &mut Errand) -> Result<(), Cause> {
        let now_ms = errand.clock.mono_ms();
        if errand.window.stalled(now_ms) {
            return Err(Cause::Stalled);
        }
        if now_ms >= self.look_ms {
            self.look_ms = now_ms + LOOK_MS;
            errand.look().await;
        }
        let up_ms = self.up_since_ms.map_or(0, |since_ms| now_ms - since_ms);
        if up_ms >= FIRST_WORD_MS {
            errand.may_number.send_replace(true);
        }
        let knows_collector = *errand.may_number.borrow();
        // One on which the broker takes nothing may last as long.
        let is_good = up_ms >= SETTLED_MS && errand.window.moves(now_ms);
        if is_good {
            errand.backoff.reset();
        }
        errand.tell(is_good || self.was_acknowledged);
        let mut wake_ms = self.look_ms;
        if now_ms < self.store_rest_until_ms {
            wake_ms = wake_ms.min(self.store_rest_until_ms);
        } else {
            if !self.gathered.is_empty() {
                let due_ms = self.gathered_since_ms + GATHER_MS;
                if now_ms >= due_ms || !knows_collector || self.gathered.len() >= GATHERED {
                    return self.hand_over(errand).await;
                }
                wake_ms = wake_ms.min(due_ms);
            }
            if !knows_collector && up_ms < FIRST_SEND_MS {
                wake_ms = wake_ms.min(now_ms + FIRST_SEND_MS - up_ms);
            } else {
                match errand.window.want(now_ms) {
                    Want::Read { after, limit, why } => {
                        return self.send(errand, (after, limit, why)).await;
                    }
                    Want::Wait { until_ms } => wake_ms = wake_ms.min(until_ms),
                }
            }
        }
        tokio::select! {
            heard = self.link.hear() => self.understand(errand, heard),
            () = errand.filled.notified() => {
                errand.window.filled();
                Ok(())
            }
            () = errand.clock.sleep_until(wake_ms) => Ok(()),
        }
    }

    /// Reads what the window wants and publishes what it chooses.
    async fn send(&mut self, errand: &mut Errand, want: (i64, usize, Why)) -> Result<(), Cause> {
        let (after, limit, _) = want;
        let limit = u32::try_from(limit).unwrap_or(1);
        let messages = match errand.store.outbox_after(after, limit).await {
            Ok(messages) => messages,
            Err(error) => {
                self.rest(errand, &error);
                return Ok(());
            }
        };
        errand.picture.store = None;
        let now_ms = errand.clock.mono_ms();
        let read: Vec<(i64, Stream)> = messages.iter().map(|it| (it.seq, it.stream)).collect();
        let chosen = errand.window.choose(want, &read, now_ms);
        for message in messages {
            if !chosen.contains(&message.seq) {
                continue;
            }
            // A gap tells of what was set aside; setting it aside would not end.
            if message.body.len() > errand.body_bytes && message.stream != Stream::Gap {
                if let Err(error) = errand.give_up(message.seq).await {
                    self.rest(errand, &error);
                }
                continue;
            }
            errand.last_sent = Some((message.seq, message.body.len()));
            let topic = errand.topics.up(message.stream);
            let tag = Tag::Message(message.seq);
            self.link
                .publish(tag, &topic, false, message.body, packed())?;
            metrics::counter!(metric::UPLINK_PUBLISHED).increment(1);
        }
        Ok(())
    }

    fn understand(&mut self, errand: &mut Errand, heard: Heard) -> Result<(), Cause> {
        let now_ms = errand.clock.mono_ms();
        match heard {
            Heard::Up {
                at_a_time,
                packet_bytes,
            } => {
                self.at_a_time = usize::from(at_a_time);
                if let Some(bytes) = packet_bytes {
                    errand.body_bytes = bytes.saturating_sub(ENVELOPE_BYTES) as usize;
                }
                self.link.subscribe(&errand.topics.ack())
            }
            Heard::Subscribed { granted: false } => Err(Cause::AcksDenied {
                topic: errand.topics.ack(),
            }),
            Heard::Subscribed { granted: true } => {
                self.up_since_ms = Some(now_ms);
                self.say_status(errand, HubState::Online)?;
                self.say_meta(errand)?;
                errand.up(self.at_a_time, now_ms);
                Ok(())
            }
            Heard::Answered(tag, reason) => {
                errand.answered(tag, reason, now_ms);
                Ok(())
            }
            Heard::Told(text) => {
                match serde_json::from_slice::<Ack>(&text) {
                    Ok(ack) => self.gather(errand, ack),
                    Err(error) => errand.unreadable(&error),
                }
                Ok(())
            }
            Heard::Down(cause) => Err(cause),
        }
    }

    fn gather(&mut self, errand: &Errand, ack: Ack) {
        if self.gathered.is_empty() {
            self.gathered_since_ms = errand.clock.mono_ms();
        }
        match self.gathered.last_mut() {
            Some(last) if last.epoch == ack.epoch => merge(last, ack),
            _ => self.gathered.push(ack),
        }
    }

    /// Gives what was gathered to the store.
    async fn hand_over(&mut self, errand: &mut Errand) -> Result<(), Cause> {
        while let Some(ack) = self.gathered.first() {
            match errand.acknowledge(ack.clone()).await {
                Ok(done) => {
                    self.gathered.remove(0);
                    match done {
                        Done::Nothing => {}
                        Done::Progress => self.was_acknowledged = true,
                        Done::NewEpoch => self.say_meta(errand)?,
                    }
                }
                Err(error) => {
                    self.rest(errand, &error);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn rest(&mut self, errand: &mut Errand, error: &StoreError) {
        errand.picture.store = Some(error.to_string());
        self.store_rest_until_ms = errand.clock.mono_ms() + STORE_REST_MS;
    }

    fn say_status(&mut self, errand: &Errand, state: HubState) -> Result<(), Cause> {
        let topic = errand.topics.status();
        let body = errand.status(state);
        self.link.publish(Tag::Status, &topic, true, body, plain())
    }

    fn say_meta(&mut self, errand: &Errand) -> Result<(), Cause> {
        match errand.meta() {
            Some(body) => {
                let topic = errand.topics.meta();
                self.link.publish(Tag::Meta, &topic, true, body, plain())
            }
            None => Ok(()),
        }
    }

    /// Says that this hub goes, and goes.
    pub async fn farewell(mut self, errand: &Errand) {
        if self.up_since_ms.is_some() && self.say_status(errand, HubState::Offline).is_ok() {
            let heard = async {
                loop {
                    match self.link.hear().await {
                        Heard::Answered(Tag::Status, _) | Heard::Down(_) => return,
                        _ => {}
                    }
                }
            };
            // A broker that does not answer announces our death by itself.
            let _ = tokio::time::timeout(LAST_WORDS, heard).await;
        }
        self.link.close().await;
    }
}

/// The newer says at least what the older said, but for rejections, which it may have forgotten.
fn merge(older: &mut Ack, newer: Ack) {
    older.upto = older.upto.max(newer.upto);
    older.also.extend(newer.also);
    older.also.sort_unstable();
    older.also.dedup();
    for rejected in newer.rejected {
        if !older.rejected.iter().any(|it| it.seq == rejected.seq) {
            older.rejected.push(rejected);
        }
    }
}

/// JSON, packed.
fn packed() -> PublishProperties {
    PublishProperties {
        user_properties: vec![("content-encoding".to_owned(), "gzip".to_owned())],
        ..plain()
    }
}

fn plain() -> PublishProperties {
    PublishProperties {
        content_type: Some("application/json".to_owned()),
        ..PublishProperties::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Rejected;

    #[test]
    fn acknowledgements_that_come_close_together_are_one_and_say_no_less() {
        let rejected = |seq| Rejected {
            seq,
            why: "schema".to_owned(),
        };
        let mut one = Ack {
            epoch: 1,
            upto: 7,
            also: vec![9],
            rejected: vec![rejected(3)],
        };
        let newer = Ack {
            epoch: 1,
            upto: 5,
            also: vec![9, 12],
            rejected: vec![rejected(3), rejected(11)],
        };
        merge(&mut one, newer);
        assert_eq!((one.upto, one.also), (7, vec![9, 12]));
        assert_eq!(one.rejected, [rejected(3), rejected(11)]);
    }
}
