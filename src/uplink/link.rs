//! One connection to the broker: the MQTT client on a stream that `dial` made. It says what is heard
//! and carries out what it is told; what to send when is decided in `window`.
//!
//! The client (rumqttc) is driven by a task of its own, and each connection gets a new one: an old one
//! silently drops what it held when the broker has forgotten it. It holds at most a window, so that
//! nobody ever waits for room in its channel.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    LastWill, Packet, PubAckReason, PublishProperties, SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use rumqttc::{Outgoing, Transport};
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::cause::{Cause, plain};
use super::dial::Stream;

/// A half-open connection is found by this.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Seconds from the stream to the broker's word that we are in.
const CONNECT_S: u64 = 15;
/// Anything larger that comes in ends the connection: the bound of an acknowledgement.
const PACKET_BYTES: u32 = 1024 * 1024;
/// More than a window, a subscription, births and a farewell together.
const CHANNEL: usize = 64;
const HEARD: usize = 64;
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// Who we are to the broker.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub name: String,
    /// User name and password.
    pub login: Option<(String, String)>,
    pub broker: String,
    /// What the broker tells everybody when we vanish.
    pub will: (String, Vec<u8>),
}

/// What was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// A message of the outbox.
    Message(i64),
    /// What the hub says of itself.
    Status,
    Meta,
}

/// What the broker says.
#[derive(Debug)]
pub(super) enum Heard {
    /// We are in; what the broker takes: messages at a time, bytes of a packet.
    Up {
        at_a_time: u16,
        packet_bytes: Option<u32>,
    },
    Subscribed {
        granted: bool,
    },
    Answered(Tag, PubAckReason),
    /// A publication on what we subscribed to.
    Told(Bytes),
    /// It has ended; nothing more comes.
    Down(Cause),
}

pub(super) struct Link {
    client: AsyncClient,
    heard: mpsc::Receiver<Result<Event, Cause>>,
    /// Handed over, and not yet given a packet id.
    unsent: VecDeque<Tag>,
    sent: HashMap<u16, Tag>,
    /// Ends with this.
    _tasks: JoinSet<()>,
}

impl Link {
    /// Starts to speak MQTT on the stream; [`Heard::Up`] or [`Heard::Down`] follows.
    pub fn open(stream: Box<dyn Stream>, identity: &Identity) -> Result<Link, Cause> {
        let unmade = |error: std::io::Error| Cause::Socket(plain(&error));
        // Only this user may enter the directory; it is gone as soon as the client is through.
        let private = tempfile::Builder::new()
            .prefix("coherence-hub-")
            .tempdir()
            .map_err(unmade)?;
        let path = private.path().join("s");
        let listener = UnixListener::bind(&path).map_err(unmade)?;
        let options = options(identity, path.to_string_lossy().into_owned());
        let (client, event_loop) = AsyncClient::new(options, CHANNEL);
        let (tell, heard) = mpsc::channel(HEARD);
        let mut bridge = JoinSet::new();
        bridge.spawn(join(listener, private, stream));
        let mut tasks = JoinSet::new();
        let (name, broker) = (identity.name.clone(), identity.broker.clone());
        tasks.spawn(drive(event_loop, bridge, tell, name, broker));
        Ok(Link {
            client,
            heard,
            unsent: VecDeque::new(),
            sent: HashMap::new(),
            _tasks: tasks,
        })
    }

    /// Asks to hear what is published on this topic.
    pub fn subscribe(&self, topic: &str) -> Result<(), Cause> {
        self.client
            .try_subscribe(topic, QoS::AtLeastOnce)
            .map_err(|_| stuck())
    }

    /// Hands a message over; an answer with this tag follows.
    pub fn publish(
        &mut self,
        tag: Tag,
        topic: &str,
        retain: bool,
        body: Vec<u8>,
        properties: PublishProperties,
    ) -> Result<(), Cause> {
        self.client
            .try_publish_with_properties(topic, QoS::AtLeastOnce, retain, body, properties)
            .map_err(|_| stuck())?;
        self.unsent.push_back(tag);
        Ok(())
    }

    /// The next that the broker says. Cancel-safe.
    pub async fn hear(&mut self) -> Heard {
        loop {
            let event = match self.heard.recv().await {
                Some(Ok(event)) => event,
                Some(Err(cause)) => return Heard::Down(cause),
                None => return Heard::Down(Cause::Lost("it was given up".to_owned())),
            };
            if let Some(heard) = self.understand(event) {
                return heard;
            }
        }
    }

    /// Takes leave, so that the broker does not announce a death, and waits for it to close.
    pub async fn close(mut self) {
        if self.client.try_disconnect().is_err() {
            return;
        }
        let end = async { while !matches!(self.hear().await, Heard::Down(_)) {} };
        // A broker that does not close is left alone.
        let _ = timeout(FAREWELL, end).await;
    }

    fn understand(&mut self, event: Event) -> Option<Heard> {
        match event {
            // Packet ids are given in the order in which messages were handed over.
            Event::Outgoing(Outgoing::Publish(id)) => {
                let tag = self.unsent.pop_front()?;
                self.sent.insert(id, tag);
                None
            }
            Event::Incoming(Packet::PubAck(answer)) => {
                let tag = self.sent.remove(&answer.pkid)?;
                Some(Heard::Answered(tag, answer.reason))
            }
            Event::Incoming(Packet::ConnAck(welcome)) => {
                let limits = welcome.properties.as_ref();
                Some(Heard::Up {
                    at_a_time: limits
                        .and_then(|limits| limits.receive_max)
                        .unwrap_or(u16::MAX),
                    packet_bytes: limits.and_then(|limits| limits.max_packet_size),
                })
            }
            Event::Incoming(Packet::SubAck(answer)) => {
                let granted = |code: &SubscribeReasonCode| {
                    matches!(
                        code,
                        SubscribeReasonCode::Success(QoS::AtLeastOnce | QoS::ExactlyOnce)
                    )
                };
                Some(Heard::Subscribed {
                    granted: answer.return_codes.iter().all(granted),
                })
            }
            Event::Incoming(Packet::Publish(publication)) => Some(Heard::Told(publication.payload)),
            _ => None,
        }
    }
}

/// The client's channel holds more than is ever in it: if not, begin anew.
fn stuck() -> Cause {
    Cause::Lost("the MQTT client is stuck".to_owned())
}

fn options(identity: &Identity, socket: String) -> MqttOptions {
    let mut options = MqttOptions::new(&identity.name, socket, 0);
    let (topic, word) = identity.will.clone();
    options
        .set_transport(Transport::unix())
        .set_keep_alive(KEEP_ALIVE)
        .set_clean_start(true)
        .set_connection_timeout(CONNECT_S)
        .set_outgoing_inflight_upper_limit(100)
        // Absent it would be 10 KiB.
        .set_max_packet_size(Some(PACKET_BYTES))
        .set_last_will(LastWill::new(topic, word, QoS::AtLeastOnce, true, None));
    if let Some((user, password)) = &identity.login {
        options.set_credentials(user, password);
    }
    options
}

/// Drives the client until its connection ends, then says why. Polled again it would connect again,
/// with the remains of this connection.
async fn drive(
    mut event_loop: EventLoop,
    mut bridge: JoinSet<std::io::Result<()>>,
    tell: mpsc::Sender<Result<Event, Cause>>,
    name: String,
    broker: String,
) {
    let error = loop {
        match event_loop.poll().await {
            Ok(event) => {
                if tell.send(Ok(event)).await.is_err() {
                    return; // nobody listens any more
                }
            }
            Err(error) => break error,
        }
    };
    drop(event_loop); // its end of the socket closes, and so does the stream
    let mut cause = Cause::of_mqtt(&error, &name, &broker);
    let ended = timeout(FAREWELL, bridge.join_next()).await;
    if let Ok(Some(Ok(Err(error)))) = ended
        && matches!(cause, Cause::Lost(_))
        && let Some(precise) = Cause::of_stream(&error)
    {
        cause = precise;
    }
    // If nobody listens, nobody misses it.
    let _ = tell.send(Err(cause)).await;
}

/// Lets the client in and joins it to the stream, until either ends.
async fn join(
    listener: UnixListener,
    private: tempfile::TempDir,
    mut stream: Box<dyn Stream>,
) -> std::io::Result<()> {
    let (mut client, _) = listener.accept().await?;
    drop(listener);
    drop(private);
    tokio::io::copy_bidirectional(&mut client, &mut stream).await?;
    Ok(())
}
