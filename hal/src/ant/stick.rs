//! One stick as a conversation: what it is sent, what its answers mean, and how long it may take.
//!
//! Here belong the start-up sequence, the watch over a stick that scans, and the steps on the way back up.
//! Nothing here waits or reads: bytes and times come in, bytes and events go out. The port is `mod.rs`'s.

use std::collections::{BTreeMap, VecDeque};

use super::straps::{Straps, Taken};
use super::words;
use crate::decode::ant::{Frame, HEART_RATE, Message, NetworkKey, Stream, id};
use crate::{RecoveryStep, SourceEvent, SourceState};

/// How long a stick may take to start, ms, and how long it is left alone then.
const STARTUP_MS: i64 = 1_000;
const SETTLE_MS: i64 = 500;
/// How long it may take to answer a command, and how often one is sent.
const ANSWER_MS: i64 = 500;
const TRIES: u32 = 3;
/// Some sticks complain of a length after they were plugged in; so often the reset is sent again.
const COMPLAINTS: u32 = 5;
/// A stick that heard straps and sends nothing for so long is asked whether it lives, ms; one that has heard
/// none for a while is asked more rarely, or nobody would notice that it died overnight.
const QUIET_MS: i64 = 10_000;
const IDLE_MS: i64 = 60_000;
const ALIVE_MS: i64 = 1_000;
/// A stick that hears no strap for so long may have the wrong key, ms.
const NO_STRAP_MS: i64 = 60_000;
/// More overflows than this in a minute, and it is started again.
const OVERFLOWS_A_MINUTE: usize = 10;
/// Starts that fail in a row before the port is closed and opened.
const STARTS: u32 = 3;
/// How often silence and counts are looked at, ms.
const LOOK_EVERY_MS: i64 = 1_000;
/// A stick that can't be used is asked again after so long: somebody may have put another key there.
const UNFIT_MS: i64 = 60_000;

/// Heart-rate straps send 57 MHz above 2400, every 8070/32768 s.
const RF: u8 = 57;
const PERIOD: u16 = 8_070;

const WRONG_STATE: u8 = 0x15;
const CLOSE_ALL_FIRST: u8 = 0x19;
const EVENT_CLOSED: u8 = 0x07;
const EVENT_SERIAL_OVERFLOW: u8 = 0x34;
const EVENT_QUEUE_OVERFLOW: u8 = 0x35;

/// What a stick is told, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Capabilities,
    Key,
    Assign,
    ChannelId,
    Frequency,
    Period,
    Extended,
    Open,
}

const STEPS: [Step; 8] = [
    Step::Capabilities,
    Step::Key,
    Step::Assign,
    Step::ChannelId,
    Step::Frequency,
    Step::Period,
    Step::Extended,
    Step::Open,
];

/// Where the conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// There is no port.
    Away,
    /// Reset was sent.
    Resetting {
        until_ms: i64,
        complaints: u32,
    },
    Settling {
        until_ms: i64,
    },
    Asking {
        step: usize,
        /// Which of the ways to say it.
        way: usize,
        tries: u32,
        until_ms: i64,
    },
    Scanning {
        /// When it must have answered that it lives.
        alive_until_ms: Option<i64>,
    },
    /// It answers, and can't be used as it is.
    Unfit {
        until_ms: i64,
    },
    /// It does not answer: the port is to be closed and opened.
    Stuck,
}

/// The conversation with one stick, over all the times that it comes and goes.
pub(crate) struct Stick {
    key: NetworkKey,
    phase: Phase,
    stream: Stream,
    straps: Straps,
    outgoing: Vec<u8>,
    events: VecDeque<SourceEvent>,
    counts: BTreeMap<&'static str, u64>,
    overflows_ms: VecDeque<i64>,
    /// When the last byte came, the last strap was heard, and when it is next looked at all that.
    byte_ms: i64,
    strap_ms: i64,
    look_ms: i64,
    heard_strap: bool,
    /// Starts that failed since one worked, and whether that was reported: after that no step is news.
    failed: u32,
    reported: bool,
}

impl Stick {
    pub(crate) fn new(key: NetworkKey) -> Self {
        Stick {
            key,
            phase: Phase::Away,
            stream: Stream::default(),
            straps: Straps::default(),
            outgoing: Vec::new(),
            events: VecDeque::new(),
            counts: BTreeMap::new(),
            overflows_ms: VecDeque::new(),
            byte_ms: 0,
            strap_ms: 0,
            look_ms: 0,
            heard_strap: false,
            failed: 0,
            reported: false,
        }
    }

    /// The port is open.
    pub(crate) fn opened(&mut self, now_ms: i64) {
        self.start(now_ms);
    }

    /// The port is gone; `why` is part of a sentence.
    pub(crate) fn closed(&mut self, now_ms: i64, why: &str) {
        self.phase = Phase::Away;
        self.outgoing.clear();
        self.stream.flush();
        self.straps.all_down(now_ms, why, &mut self.events);
        self.tell_counts();
    }

    /// Takes what was read at `now_ms`.
    pub(crate) fn bytes(&mut self, now_ms: i64, bytes: &[u8]) {
        self.byte_ms = now_ms;
        self.stream.feed(now_ms, bytes);
        while let Some(heard) = self.stream.next_frame() {
            match Message::of(&heard.frame) {
                Ok(message) => self.message(now_ms, heard.at_ms, message),
                Err(_) => self.count("short_payload", 1),
            }
        }
        let losses = self.stream.take_losses();
        self.count("skipped_bytes", losses.skipped_bytes);
        self.count("bad_checksum", losses.bad_checksum);
        self.count("bad_length", losses.bad_length);
    }

    /// What time alone brings; call it when [`Stick::due_ms`] has come.
    pub(crate) fn tick(&mut self, now_ms: i64) {
        if now_ms >= self.look_ms {
            self.look_ms = now_ms + LOOK_EVERY_MS;
            let stray = self.straps.tick(now_ms, &mut self.events);
            self.count("stray", stray);
            self.tell_counts();
        }
        match self.phase {
            Phase::Resetting { until_ms, .. } | Phase::Settling { until_ms }
                if now_ms >= until_ms =>
            {
                // Whether or not it said that it started: the next question shows whether it lives.
                self.ask(now_ms, 0, 0, 1);
            }
            Phase::Asking {
                step,
                way,
                tries,
                until_ms,
            } if now_ms >= until_ms => {
                if tries < TRIES {
                    self.ask(now_ms, step, way, tries + 1);
                } else {
                    self.start_failed(now_ms, "it does not answer");
                }
            }
            Phase::Unfit { until_ms } if now_ms >= until_ms => self.start(now_ms),
            Phase::Scanning {
                alive_until_ms: Some(until_ms),
            } if now_ms >= until_ms => {
                self.restart(now_ms, "it sends nothing and does not answer");
            }
            Phase::Scanning {
                alive_until_ms: None,
            } => self.watch(now_ms),
            _ => {}
        }
    }

    /// When [`Stick::tick`] has something to do.
    pub(crate) fn due_ms(&self) -> i64 {
        let phase_ms = match self.phase {
            Phase::Resetting { until_ms, .. }
            | Phase::Settling { until_ms }
            | Phase::Asking { until_ms, .. }
            | Phase::Unfit { until_ms }
            | Phase::Scanning {
                alive_until_ms: Some(until_ms),
            } => until_ms,
            // That nothing comes is seen when everything is looked at.
            Phase::Scanning {
                alive_until_ms: None,
            }
            | Phase::Away
            | Phase::Stuck => i64::MAX,
        };
        phase_ms.min(self.look_ms)
    }

    /// What is to be written.
    pub(crate) fn outgoing(&self) -> &[u8] {
        &self.outgoing
    }

    /// All of that was written, or can't be.
    pub(crate) fn written(&mut self) {
        self.outgoing.clear();
    }

    /// Whether the port is to be closed and opened.
    pub(crate) fn stuck(&self) -> bool {
        self.phase == Phase::Stuck
    }

    pub(crate) fn next_event(&mut self) -> Option<SourceEvent> {
        self.events.pop_front()
    }

    /// Says how the source is.
    pub(crate) fn say(&mut self, state: SourceState) {
        self.events.push_back(SourceEvent::State(state));
    }

    /// Ends the scan, so that the stick's radio rests; false where there is none to end.
    pub(crate) fn rest(&mut self) -> bool {
        self.outgoing.clear();
        let scans = matches!(self.phase, Phase::Scanning { .. });
        if scans {
            self.send(id::CLOSE_CHANNEL, &[0]);
        }
        scans
    }

    fn message(&mut self, now_ms: i64, at_ms: i64, message: Message) {
        match message {
            Message::Data(data) => match self.straps.data(at_ms, &data, &mut self.events) {
                Taken::Heard => self.heard(now_ms),
                Taken::WithoutBeat => {
                    self.heard(now_ms);
                    self.count("without_beat", 1);
                }
                Taken::WithoutOwner => self.count("without_owner", 1),
                Taken::Foreign => {}
            },
            Message::Startup(_) => self.has_started(now_ms),
            Message::Capabilities(can) => match self.phase {
                Phase::Asking { step, .. } if STEPS[step] == Step::Capabilities => {
                    if can.scan_mode {
                        self.ask(now_ms, step + 1, 0, 1);
                    } else {
                        self.unfit(now_ms, words::cannot_scan());
                    }
                }
                Phase::Scanning { .. } => {
                    self.phase = Phase::Scanning {
                        alive_until_ms: None,
                    };
                }
                _ => {}
            },
            Message::Response { to, code, .. } => self.answered(now_ms, to, code),
            Message::Event {
                code: EVENT_SERIAL_OVERFLOW | EVENT_QUEUE_OVERFLOW,
                ..
            } => self.overflowed(now_ms),
            Message::Event {
                code: EVENT_CLOSED, ..
            } if matches!(self.phase, Phase::Scanning { .. }) => {
                self.restart(now_ms, "it closed its channel");
            }
            Message::SerialError(_) => self.complained(now_ms),
            Message::Event { .. } | Message::Other => {}
        }
    }

    fn heard(&mut self, now_ms: i64) {
        self.strap_ms = now_ms;
        if !self.heard_strap && matches!(self.phase, Phase::Scanning { .. }) {
            self.heard_strap = true;
            self.say(words::listening());
        }
    }

    fn has_started(&mut self, now_ms: i64) {
        match self.phase {
            Phase::Resetting { .. } => {
                let until_ms = now_ms + SETTLE_MS;
                self.phase = Phase::Settling { until_ms };
            }
            // Answers to a reset that was sent more than once.
            Phase::Settling { .. } | Phase::Away | Phase::Stuck => {}
            // Over and over this is a stick that does not come up.
            Phase::Asking { .. } => self.start_failed(now_ms, "it started anew by itself"),
            Phase::Scanning { .. } | Phase::Unfit { .. } => {
                self.straps.tear_all(now_ms, &mut self.events);
                self.restart(now_ms, "it started anew by itself");
            }
        }
    }

    fn answered(&mut self, now_ms: i64, to: u8, code: u8) {
        let Phase::Asking { step, way, .. } = self.phase else {
            return;
        };
        let ways = self.ways(STEPS[step]);
        if ways[way].id != to {
            return; // a late answer to what was asked before
        }
        match code {
            0 if step + 1 < STEPS.len() => self.ask(now_ms, step + 1, 0, 1),
            0 => self.scans(now_ms),
            WRONG_STATE | CLOSE_ALL_FIRST => {
                self.start_failed(now_ms, "its channels are in another state");
            }
            _ if way + 1 < ways.len() => self.ask(now_ms, step, way + 1, 1),
            _ if STEPS[step] == Step::Key => self.unfit(now_ms, words::key_refused()),
            _ => self.start_failed(
                now_ms,
                &format!("it refused a command with code {code:02x}"),
            ),
        }
    }

    fn complained(&mut self, now_ms: i64) {
        self.count("serial_error", 1);
        match self.phase {
            Phase::Resetting {
                until_ms,
                complaints,
            } if complaints < COMPLAINTS => {
                self.send(id::RESET, &[0]);
                self.phase = Phase::Resetting {
                    until_ms: until_ms.max(now_ms + ANSWER_MS),
                    complaints: complaints + 1,
                };
            }
            Phase::Asking {
                step, way, tries, ..
            } if tries < TRIES => self.ask(now_ms, step, way, tries + 1),
            _ => {}
        }
    }

    fn overflowed(&mut self, now_ms: i64) {
        self.count("overflow", 1);
        self.overflows_ms.push_back(now_ms);
        self.overflows_ms.retain(|at_ms| now_ms - at_ms < 60_000);
        if self.overflows_ms.len() > OVERFLOWS_A_MINUTE
            && matches!(self.phase, Phase::Scanning { .. })
        {
            self.overflows_ms.clear();
            self.restart(now_ms, "it lost messages more than ten times in a minute");
        }
    }

    fn scans(&mut self, now_ms: i64) {
        self.phase = Phase::Scanning {
            alive_until_ms: None,
        };
        (self.failed, self.reported) = (0, false);
        self.byte_ms = now_ms;
        self.strap_ms = now_ms;
        self.heard_strap = false;
        self.say(words::scanning());
    }

    /// Looks after a stick that scans.
    fn watch(&mut self, now_ms: i64) {
        if now_ms - self.strap_ms >= NO_STRAP_MS {
            self.strap_ms = i64::MAX; // said once
            self.heard_strap = false;
            self.say(words::no_strap());
        }
        let quiet_ms = if self.heard_strap { QUIET_MS } else { IDLE_MS };
        if now_ms - self.byte_ms >= quiet_ms {
            self.send(id::REQUEST, &[0, id::CAPABILITIES]);
            self.phase = Phase::Scanning {
                alive_until_ms: Some(now_ms + ALIVE_MS),
            };
        }
    }

    fn restart(&mut self, now_ms: i64, why: &str) {
        self.step("restart_stick", why);
        self.start(now_ms);
    }

    fn start(&mut self, now_ms: i64) {
        self.stream.flush();
        self.overflows_ms.clear();
        self.outgoing.clear();
        // Ends a command that was cut off.
        self.outgoing.extend([0; 15]);
        self.send(id::RESET, &[0]);
        self.phase = Phase::Resetting {
            until_ms: now_ms + STARTUP_MS,
            complaints: 0,
        };
    }

    fn start_failed(&mut self, now_ms: i64, why: &str) {
        self.failed += 1;
        if !self.failed.is_multiple_of(STARTS) {
            self.restart(now_ms, why);
            return;
        }
        if self.failed == STARTS {
            self.step("reopen_port", why);
            self.say(words::recovering());
        } else if !self.reported {
            self.step("report", why);
            self.say(words::silent());
            self.reported = true;
        }
        self.phase = Phase::Stuck;
    }

    fn unfit(&mut self, now_ms: i64, state: SourceState) {
        self.say(state);
        self.phase = Phase::Unfit {
            until_ms: now_ms + UNFIT_MS,
        };
    }

    /// A step is told until it was reported that steps don't help.
    fn step(&mut self, rung: &'static str, why: &str) {
        if !self.reported {
            self.events.push_back(SourceEvent::Step(RecoveryStep {
                rung,
                strap: None,
                why: why.to_owned(),
            }));
        }
    }

    fn ask(&mut self, now_ms: i64, step: usize, way: usize, tries: u32) {
        let frame = self.ways(STEPS[step]).swap_remove(way);
        self.outgoing.extend(frame.bytes());
        self.phase = Phase::Asking {
            step,
            way,
            tries,
            until_ms: now_ms + ANSWER_MS,
        };
    }

    fn send(&mut self, message: u8, payload: &[u8]) {
        self.outgoing.extend(Frame::new(message, payload).bytes());
    }

    /// How a step is said: where a stick refuses the first way, the next is tried.
    fn ways(&self, step: Step) -> Vec<Frame> {
        let [low, high] = PERIOD.to_le_bytes();
        match step {
            Step::Capabilities => vec![Frame::new(id::REQUEST, &[0, id::CAPABILITIES])],
            Step::Key => {
                let mut payload = vec![0];
                payload.extend(self.key.bytes());
                vec![Frame::new(id::NETWORK_KEY, &payload)]
            }
            // Receive only, so that the stick does not answer for others; not every stick knows it.
            Step::Assign => vec![
                Frame::new(id::ASSIGN_CHANNEL, &[0, 0x40, 0]),
                Frame::new(id::ASSIGN_CHANNEL, &[0, 0x00, 0]),
            ],
            Step::ChannelId => vec![Frame::new(id::CHANNEL_ID, &[0, 0, 0, HEART_RATE, 0])],
            Step::Frequency => vec![Frame::new(id::RF_FREQUENCY, &[0, RF])],
            Step::Period => vec![Frame::new(id::CHANNEL_PERIOD, &[0, low, high])],
            // Who sent it, how strong, and when; or less.
            Step::Extended => vec![
                Frame::new(id::LIB_CONFIG, &[0, 0xE0]),
                Frame::new(id::LIB_CONFIG, &[0, 0xC0]),
                Frame::new(id::LIB_CONFIG, &[0, 0x80]),
                Frame::new(id::EXTENDED_RX, &[0, 1]),
            ],
            Step::Open => vec![
                Frame::new(id::OPEN_SCAN, &[0]),
                Frame::new(id::OPEN_SCAN, &[0, 0]),
            ],
        }
    }

    fn count(&mut self, what: &'static str, count: u64) {
        if count > 0 {
            *self.counts.entry(what).or_default() += count;
        }
    }

    fn tell_counts(&mut self) {
        for (what, count) in std::mem::take(&mut self.counts) {
            self.events.push_back(SourceEvent::Counted { what, count });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stick_that_starts_anew_whenever_it_is_asked_is_opened_again_in_the_end() {
        let mut stick = Stick::new(NetworkKey::parse("0102030405060708").unwrap());
        stick.opened(0);
        let mut now_ms = 0;
        for _ in 0..STARTS {
            assert!(!stick.stuck());
            now_ms += STARTUP_MS;
            stick.tick(now_ms); // it is asked
            now_ms += 1;
            stick.bytes(now_ms, &Frame::new(id::STARTUP, &[0]).bytes());
        }
        assert!(stick.stuck());
        let rungs: Vec<&str> = std::iter::from_fn(|| stick.next_event())
            .filter_map(|event| match event {
                SourceEvent::Step(step) => Some(step.rung),
                _ => None,
            })
            .collect();
        assert_eq!(rungs, ["restart_stick", "restart_stick", "reopen_port"]);
    }
}
