//! A collector for tests: takes what hubs send, applies each message exactly once, acknowledges it
//! end to end; and does what collectors do when things go wrong. Its ledger survives its crashes, as
//! a database would. It shares no code with the hub: it reads what is on the wire.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use flate2::read::GzDecoder;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish};
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::broker::Broker;

/// A message as it was applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    pub stream: String,
    pub body: Value,
}

/// What the collector's database holds, and what it has seen on the wire.
#[derive(Default)]
pub struct Ledger {
    /// By hub, epoch and number.
    pub applied: BTreeMap<(String, u64, u64), Applied>,
    pub rejected: BTreeMap<(String, u64, u64), String>,
    /// Messages that came although they were applied before.
    pub again: usize,
    /// Every publication: topic, properties and payload (unpacked), as text.
    pub traffic: Vec<String>,
    /// What messages say is not kept.
    forgets: bool,
    /// The newest on `status` and `meta`, by topic.
    pub words: BTreeMap<String, Value>,
    /// All that was said on `status`.
    pub states: Vec<String>,
}

impl Ledger {
    /// Numbers applied of this hub and epoch.
    pub fn seqs(&self, hub: &str, epoch: u64) -> BTreeSet<u64> {
        self.applied
            .keys()
            .filter(|(of, in_epoch, _)| of == hub && *in_epoch == epoch)
            .map(|(_, _, seq)| *seq)
            .collect()
    }

    /// The applied messages of one stream, by number.
    pub fn of(&self, hub: &str, epoch: u64, stream: &str) -> impl Iterator<Item = (u64, &Value)> {
        self.applied
            .iter()
            .filter(move |((of, in_epoch, _), applied)| {
                of == hub && *in_epoch == epoch && applied.stream == stream
            })
            .map(|((_, _, seq), applied)| (*seq, &applied.body))
    }

    /// How many of a stream were applied, of whichever hub.
    pub fn of_any(&self, stream: &str) -> usize {
        let of = |applied: &&Applied| applied.stream == stream;
        self.applied.values().filter(of).count()
    }

    /// Whether this happened so many times to a hub.
    pub fn has_event(&self, event: &str, times: usize) -> bool {
        let is = |applied: &&Applied| applied.body["event"] == event;
        self.applied.values().filter(is).count() >= times
    }

    /// Numbers that are settled: applied, or told in a gap that they will never come.
    pub fn settled(&self, hub: &str, epoch: u64) -> BTreeSet<u64> {
        let mut settled = self.seqs(hub, epoch);
        for (_, gap) in self.of(hub, epoch, "gap") {
            if gap["ofEpoch"].as_u64() != Some(epoch) {
                continue;
            }
            for range in gap["ranges"].as_array().expect("ranges") {
                let end = |key: &str| range[key].as_u64().expect("a number");
                settled.extend(end("first")..=end("last"));
            }
        }
        settled
    }

    fn ack(&self, hub: &str, epoch: u64) -> Value {
        let mut done = self.settled(hub, epoch);
        let rejected: Vec<Value> = self
            .rejected
            .iter()
            .filter(|((of, in_epoch, _), _)| of == hub && *in_epoch == epoch)
            .map(|((_, _, seq), why)| json!({"seq": seq, "why": why}))
            .collect();
        let refused: BTreeSet<u64> = rejected
            .iter()
            .filter_map(|it| it["seq"].as_u64())
            .collect();
        done.extend(&refused);
        let mut upto = 0;
        while done.remove(&(upto + 1)) {
            upto += 1;
        }
        let also: Vec<u64> = done.difference(&refused).copied().collect();
        json!({"epoch": epoch, "upto": upto, "also": also, "rejected": rejected})
    }
}

/// What goes wrong.
#[derive(Clone, Debug, Default)]
pub struct Trouble {
    /// Dies when so many messages have come, before this one is applied.
    pub die_on_receipt: Option<usize>,
    /// Dies when so many messages were applied, before this one is acknowledged.
    pub die_when_applied: Option<usize>,
    /// Rejects messages of this stream.
    pub reject: Option<String>,
    /// Applies, and tells nobody.
    pub keep_quiet: bool,
}

pub struct Collector {
    pub ledger: Arc<Mutex<Ledger>>,
    root: String,
    task: Option<JoinHandle<()>>,
}

impl Collector {
    pub fn new(root: &str) -> Collector {
        Collector {
            ledger: Arc::default(),
            root: root.to_owned(),
            task: None,
        }
    }

    /// One that runs without trouble.
    pub async fn running(broker: &Broker) -> Collector {
        let mut collector = Collector::new("coherence");
        collector.start(broker, Trouble::default()).await;
        collector
    }

    /// Keeps numbers only, and no copy of what they say: for large runs.
    pub fn keep_numbers_only(&self) {
        self.ledger().forgets = true;
    }

    /// Starts (again) and waits until it is subscribed.
    pub async fn start(&mut self, broker: &Broker, trouble: Trouble) {
        self.stop();
        let (subscribed, wait) = tokio::sync::oneshot::channel();
        let ledger = Arc::clone(&self.ledger);
        let (root, port) = (self.root.clone(), broker.inner_port);
        self.task = Some(tokio::spawn(collect(
            port, root, trouble, ledger, subscribed,
        )));
        let subscribed = tokio::time::timeout(super::DEADLINE, wait)
            .await
            .expect("the collector is subscribed in time");
        if subscribed.is_err() {
            super::wait_until("it died of its trouble before", || self.is_dead()).await;
        }
    }

    /// Dies at once, wherever it is.
    pub fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    /// It died of its trouble.
    pub fn is_dead(&self) -> bool {
        self.task.as_ref().is_none_or(JoinHandle::is_finished)
    }

    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no test panics while holding it")
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn collect(
    port: u16,
    root: String,
    trouble: Trouble,
    ledger: Arc<Mutex<Ledger>>,
    subscribed: tokio::sync::oneshot::Sender<()>,
) {
    let mut options = MqttOptions::new("collector", "127.0.0.1", port);
    options
        .set_keep_alive(Duration::from_secs(30))
        .set_clean_start(false)
        .set_session_expiry_interval(Some(86_400))
        .set_max_packet_size(Some(256 * 1024))
        .set_receive_maximum(Some(100))
        .set_manual_acks(true);
    let (client, mut events) = AsyncClient::new(options, 10_000);
    let (mut received, mut applied) = (0, 0);
    let mut subscribed = Some(subscribed);
    let mut changed: BTreeSet<(String, u64)> = BTreeSet::new();
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    loop {
        let event = tokio::select! {
            event = events.poll() => event,
            _ = tick.tick() => {
                for (hub, epoch) in std::mem::take(&mut changed) {
                    let ack = ledger.lock().expect("nobody panics").ack(&hub, epoch);
                    let topic = format!("{root}/v1/hub/{hub}/down/ack");
                    if client.try_publish(topic, QoS::AtLeastOnce, true, ack.to_string()).is_err() {
                        changed.insert((hub, epoch));
                    }
                }
                continue;
            }
        };
        let publish = match event {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                client
                    .try_subscribe(format!("{root}/v1/hub/+/#"), QoS::AtLeastOnce)
                    .expect("the channel has room");
                continue;
            }
            Ok(Event::Incoming(Packet::SubAck(_))) => {
                if let Some(subscribed) = subscribed.take() {
                    let _ = subscribed.send(());
                }
                continue;
            }
            Ok(Event::Incoming(Packet::Publish(publish))) => publish,
            Ok(_) => continue,
            Err(_) => {
                // The broker is away: look again soon.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let topic = String::from_utf8(publish.topic.to_vec()).expect("topics are UTF-8");
        let text = unpacked(&publish);
        let mut book = ledger.lock().expect("nobody panics");
        if !book.forgets {
            book.traffic
                .push(format!("{topic} {:?} {text}", publish.properties));
        }
        let levels: Vec<&str> = topic.split('/').collect();
        let [_, "v1", "hub", hub, kind, rest @ ..] = levels.as_slice() else {
            panic!("an unknown topic: {topic}");
        };
        match (*kind, rest) {
            ("up", [stream]) => {
                received += 1;
                if trouble.die_on_receipt == Some(received) {
                    return;
                }
                let body: Value = serde_json::from_str(&text).expect("bodies are JSON");
                let number = |key: &str| {
                    body[key]
                        .as_u64()
                        .unwrap_or_else(|| panic!("{key}: {body}"))
                };
                let (epoch, seq) = (number("epoch"), number("seq"));
                let key = ((*hub).to_owned(), epoch, seq);
                if trouble.reject.as_deref() == Some(stream) {
                    book.rejected.insert(key, "schema".to_owned());
                } else {
                    let record = Applied {
                        stream: (*stream).to_owned(),
                        body: if book.forgets { Value::Null } else { body },
                    };
                    match book.applied.get(&key) {
                        Some(before) => {
                            assert_eq!(*before, record, "one number, two contents: {key:?}");
                            book.again += 1;
                        }
                        None => {
                            book.applied.insert(key, record);
                            applied += 1;
                            if trouble.die_when_applied == Some(applied) {
                                return;
                            }
                        }
                    }
                }
                if !trouble.keep_quiet {
                    changed.insert(((*hub).to_owned(), epoch));
                }
            }
            ("status" | "meta", []) => {
                let word: Value = serde_json::from_str(&text).expect("words are JSON");
                if *kind == "status" {
                    let state = word["state"].as_str().unwrap_or_default().to_owned();
                    book.states.push(state);
                }
                book.words.insert(topic.clone(), word);
            }
            ("down", _) => {} // its own
            _ => panic!("an unknown topic: {topic}"),
        }
        drop(book);
        client.try_ack(&publish).expect("the channel has room");
    }
}

fn unpacked(publish: &Publish) -> String {
    let properties = publish.properties.as_ref();
    let gzip = properties.is_some_and(|properties| {
        properties
            .user_properties
            .contains(&("content-encoding".to_owned(), "gzip".to_owned()))
    });
    let mut text = String::new();
    if gzip {
        GzDecoder::new(publish.payload.as_ref())
            .read_to_string(&mut text)
            .expect("it says that it is gzip");
    } else {
        text = String::from_utf8(publish.payload.to_vec()).expect("it is UTF-8");
    }
    text
}
