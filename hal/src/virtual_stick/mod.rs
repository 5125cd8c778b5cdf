//! An ANT+ stick that is not there, with straps that nobody wears: bytes only.
//!
//! Here belongs [`VirtualStick`], which answers a host as a stick does, insists on the order of commands, and
//! once it scans sends what its straps send ([`VirtualStrap`]); with faults at will ([`Faults`]). It neither
//! waits nor writes: [`Plug`] puts it behind a pseudo-terminal, where a hub finds it as it finds a real one.
//! Demos and tests live on it.

mod plug;
mod strap;

use std::collections::{BTreeMap, VecDeque};

use crate::ant::AntSource;
use crate::decode::ant::{Frame, Stream, id};
use crate::virtual_room::chance::Chance;
use crate::{SourceEvent, decode::ant::HEART_RATE};

pub use plug::Plug;
pub use strap::VirtualStrap;

/// The key of the network on which virtual straps send; of no use anywhere else.
pub const MADE_UP_KEY: &str = "0102030405060708";

const OK: u8 = 0x00;
const WRONG_STATE: u8 = 0x15;
const CLOSE_ALL_FIRST: u8 = 0x19;
const INVALID_MESSAGE: u8 = 0x28;
const INVALID_NETWORK: u8 = 0x29;
const NO_TRANSMITTING: u8 = 0x31;

/// What goes wrong; as made, nothing does.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Share of straps' messages that are lost in the air, 0 to 1.
    pub loss: f64,
    /// Share of frames of which one byte arrives wrong, 0 to 1.
    pub corruption: f64,
    /// Up to three zeros behind each frame.
    pub zero_padding: bool,
    /// What is written is cut at random places.
    pub pieces: bool,
    /// Signal strength in units that are of no use.
    pub agc: bool,
    /// Answers come so much later, ms.
    pub answer_delay_ms: i64,
    /// Takes commands and says nothing, nor do its straps.
    pub mute: bool,
    /// An old stick, which hears one strap at a time.
    pub cannot_scan: bool,
    /// Complains of so many commands before it takes one.
    pub complaints: u32,
    /// Refuses every network key.
    pub refuses_key: bool,
    /// Bits of extended messages that it knows; with none only the older command.
    pub extended: u8,
}

impl Default for Faults {
    fn default() -> Self {
        Faults {
            loss: 0.0,
            corruption: 0.0,
            zero_padding: false,
            pieces: false,
            agc: false,
            answer_delay_ms: 0,
            mute: false,
            cannot_scan: false,
            complaints: 0,
            refuses_key: false,
            extended: 0xE0,
        }
    }
}

/// A stick and its straps.
///
/// ```
/// use coherence_hal::virtual_stick::{VirtualStick, VirtualStrap};
///
/// let beats = (1..).map(f64::from); // one a second
/// let mut stick = VirtualStick::new(0, 1, vec![VirtualStrap::new(70_001, beats)]);
/// stick.hear(0, &[0xA4, 0x01, 0x4A, 0x00, 0xEF]);
/// let mut bytes = Vec::new();
/// stick.speak(10, &mut bytes);
/// assert_eq!(bytes, [0xA4, 0x01, 0x6F, 0x20, 0xEA], "it was reset by a command");
/// ```
pub struct VirtualStick {
    start_ms: i64,
    straps: Vec<VirtualStrap>,
    pub faults: Faults,
    chance: Chance,
    host: Stream,
    set_up: SetUp,
    /// Answers with the time at which they are due.
    answers: VecDeque<(i64, Vec<u8>)>,
    commands: BTreeMap<u8, u64>,
    lost: u64,
}

/// What a reset ends.
#[derive(Clone, Debug, Default)]
struct SetUp {
    right_key: bool,
    assigned: bool,
    other_channel: bool,
    for_hearts: bool,
    frequency: u8,
    extended: u8,
    scanning: bool,
}

impl VirtualStick {
    /// Straps that began to beat when the clock showed `start_ms`. The same seed gives the same bytes.
    pub fn new(start_ms: i64, seed: u64, straps: Vec<VirtualStrap>) -> Self {
        let mut chance = Chance::new(seed);
        let mut stick = VirtualStick {
            start_ms,
            straps,
            faults: Faults::default(),
            host: Stream::default(),
            set_up: SetUp::default(),
            answers: VecDeque::new(),
            commands: BTreeMap::new(),
            lost: 0,
            chance: chance.clone(),
        };
        for strap in &mut stick.straps {
            strap.begin(start_ms, &mut chance);
        }
        stick.chance = chance;
        stick
    }

    /// Takes what a host wrote.
    pub fn hear(&mut self, now_ms: i64, bytes: &[u8]) {
        self.host.feed(now_ms, bytes);
        while let Some(heard) = self.host.next_frame() {
            self.command(now_ms, &heard.frame);
        }
        if self.host.take_losses().bad_checksum > 0 {
            self.answer(now_ms, id::SERIAL_ERROR, &[2]);
        }
    }

    /// Says everything that is due until `now_ms`, in the order of its time.
    pub fn speak(&mut self, now_ms: i64, out: &mut Vec<u8>) {
        while let Some(due_ms) = self.due_ms().filter(|due_ms| *due_ms <= now_ms) {
            let answer = self.answers.front();
            let frame = match answer.filter(|(answer_ms, _)| *answer_ms <= due_ms) {
                Some(_) => self.answers.pop_front().map(|(_, bytes)| bytes),
                None => self.strap_speaks(due_ms),
            };
            if let Some(mut frame) = frame.filter(|_| !self.faults.mute) {
                self.damage(&mut frame);
                out.append(&mut frame);
            }
        }
    }

    /// Loses everything that is due until `now_ms`: nobody took what it had to say before.
    pub fn lose(&mut self, now_ms: i64) {
        self.speak(now_ms, &mut Vec::new());
    }

    /// Says that it lost messages.
    pub fn overflow(&mut self, now_ms: i64) {
        self.answer(now_ms, id::RESPONSE, &[0, 1, 0x35]);
    }

    /// When there is something to say.
    pub fn due_ms(&self) -> Option<i64> {
        let answer = self.answers.front().map(|(due_ms, _)| *due_ms);
        let strap = self.straps.iter().map(VirtualStrap::due_ms).min();
        answer.into_iter().chain(strap).min()
    }

    /// It starts anew by itself, and has forgotten everything.
    pub fn restart(&mut self, now_ms: i64) {
        self.power_on();
        self.answer(now_ms, id::STARTUP, &[0]);
    }

    /// It has got power: nothing of before is known.
    pub fn power_on(&mut self) {
        self.set_up = SetUp::default();
        self.host = Stream::default();
        self.answers.clear();
    }

    /// Another channel is open, as a program before may have left it.
    pub fn open_another_channel(&mut self) {
        self.set_up.other_channel = true;
    }

    pub fn scanning(&self) -> bool {
        self.set_up.scanning
    }

    /// How many commands of this message id it was sent.
    pub fn commands(&self, message_id: u8) -> u64 {
        self.commands.get(&message_id).copied().unwrap_or(0)
    }

    /// How many messages of straps were lost in the air, or damaged.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The `n`th strap.
    pub fn strap(&mut self, n: usize) -> &mut VirtualStrap {
        &mut self.straps[n]
    }

    /// What `source` would have heard through a port from the stick's beginning until `until_ms`, with
    /// the times at which it would have: the whole conversation, without a port between them. So a demo
    /// starts with a past to compute from.
    pub fn past_events(&mut self, source: &mut AntSource, until_ms: i64) -> Vec<SourceEvent> {
        /// About as often as a port is read.
        const STEP_MS: i64 = 20;
        let mut events = Vec::new();
        let Some(host) = source.rehearsing() else {
            return events;
        };
        host.opened(self.start_ms);
        let mut now_ms = self.start_ms;
        let mut said = Vec::new();
        while now_ms < until_ms {
            self.hear(now_ms, host.outgoing());
            host.written();
            said.clear();
            self.speak(now_ms, &mut said);
            if !said.is_empty() {
                host.bytes(now_ms, &said);
            }
            if host.due_ms() <= now_ms {
                host.tick(now_ms);
            }
            events.extend(std::iter::from_fn(|| host.next_event()));
            now_ms += STEP_MS;
        }
        self.power_on();
        events
    }

    fn strap_speaks(&mut self, due_ms: i64) -> Option<Vec<u8>> {
        let strap = self
            .straps
            .iter_mut()
            .min_by_key(|strap| strap.due_ms())
            .expect("somebody is due");
        let page = strap.next_page(due_ms)?;
        let (device, transmission) = strap.address();
        let set_up = &self.set_up;
        let hears = set_up.scanning && set_up.right_key && set_up.for_hearts;
        if !hears || set_up.frequency != 57 {
            return None;
        }
        if self.chance.happens(self.faults.loss) {
            self.lost += 1;
            return None;
        }
        let mut payload = vec![0];
        payload.extend(page);
        if set_up.extended != 0 {
            payload.push(set_up.extended);
        }
        if set_up.extended & 0x80 != 0 {
            payload.extend(device.to_le_bytes());
            payload.extend([HEART_RATE, transmission]);
        }
        if set_up.extended & 0x40 != 0 {
            if self.faults.agc {
                payload.extend([0x10, 0x01, 0x00, 0x68]);
            } else {
                let rssi = strap.rssi_dbm + self.chance.whole(-3, 3) as i8;
                payload.extend([0x20, rssi.cast_unsigned(), 0x80]);
            }
        }
        if set_up.extended & 0x20 != 0 {
            let stamp = (due_ms as f64 * 32.768) as u64 as u16;
            payload.extend(stamp.to_le_bytes());
        }
        Some(Frame::new(id::BROADCAST, &payload).bytes())
    }

    fn damage(&mut self, frame: &mut Vec<u8>) {
        if self.chance.happens(self.faults.corruption) {
            let place = self.chance.whole(0, frame.len() as i64 - 1) as usize;
            frame[place] ^= self.chance.whole(1, 255) as u8;
            self.lost += 1;
        }
        if self.faults.zero_padding {
            let zeros = self.chance.whole(0, 3) as usize;
            frame.extend(std::iter::repeat_n(0, zeros));
        }
    }

    fn answer(&mut self, now_ms: i64, message_id: u8, payload: &[u8]) {
        let due_ms = now_ms + self.faults.answer_delay_ms;
        let bytes = Frame::new(message_id, payload).bytes();
        self.answers.push_back((due_ms, bytes));
    }

    fn command(&mut self, now_ms: i64, frame: &Frame) {
        *self.commands.entry(frame.id).or_default() += 1;
        if self.faults.complaints > 0 {
            self.faults.complaints -= 1;
            self.answer(now_ms, id::SERIAL_ERROR, &[3]);
            return;
        }
        match (frame.id, frame.payload.as_slice()) {
            (id::RESET, [_]) => {
                self.set_up = SetUp::default();
                self.answers.clear();
                self.answer(now_ms, id::STARTUP, &[0x20]);
            }
            (id::REQUEST, [_, id::CAPABILITIES]) => {
                let scan = if self.faults.cannot_scan { 0 } else { 0x04 };
                let can = [8, 3, 0, 0xBA, 0x32 | scan, 0];
                self.answer(now_ms, id::CAPABILITIES, &can);
            }
            (command, payload) => {
                let code = self.configured(command, payload);
                let channel = payload.first().copied().unwrap_or(0);
                self.answer(now_ms, id::RESPONSE, &[channel, command, code]);
                if (command, code) == (id::CLOSE_CHANNEL, OK) {
                    self.answer(now_ms, id::RESPONSE, &[channel, 1, 0x07]);
                }
            }
        }
    }

    /// What it answers to a command that sets something up.
    fn configured(&mut self, command: u8, payload: &[u8]) -> u8 {
        let extended = self.faults.extended;
        let set_up = &mut self.set_up;
        match (command, payload) {
            (id::NETWORK_KEY, [_, key @ ..]) if key.len() != 8 || self.faults.refuses_key => {
                INVALID_MESSAGE
            }
            (id::NETWORK_KEY, [network, ..]) if *network > 2 => INVALID_NETWORK,
            (id::NETWORK_KEY, [_, key @ ..]) => {
                let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
                set_up.right_key = digits == MADE_UP_KEY;
                OK
            }
            (id::ASSIGN_CHANNEL, [0, _, _, ..]) if set_up.assigned => WRONG_STATE,
            (id::ASSIGN_CHANNEL, [0, 0x00 | 0x40, network, ..]) if *network <= 2 => {
                set_up.assigned = true;
                OK
            }
            (
                id::CHANNEL_ID
                | id::RF_FREQUENCY
                | id::CHANNEL_PERIOD
                | id::SEARCH_TIMEOUT
                | id::OPEN_SCAN
                | id::OPEN_CHANNEL,
                [0, ..],
            ) if !set_up.assigned || set_up.scanning => WRONG_STATE,
            (id::CHANNEL_ID, [0, 0, 0, kind, 0]) => {
                set_up.for_hearts = kind & 0x7F == HEART_RATE || *kind == 0;
                OK
            }
            (id::RF_FREQUENCY, [0, frequency]) => {
                set_up.frequency = *frequency;
                OK
            }
            (id::CHANNEL_PERIOD, [0, _, _]) | (id::SEARCH_TIMEOUT, [0, _]) => OK,
            (id::LIB_CONFIG, [0, bits]) if bits & !extended == 0 => {
                set_up.extended = *bits;
                OK
            }
            (id::EXTENDED_RX, [0, on]) => {
                set_up.extended = if *on == 1 { 0x80 } else { 0 };
                OK
            }
            (id::OPEN_SCAN, [0] | [0, _]) if set_up.other_channel => CLOSE_ALL_FIRST,
            (id::OPEN_SCAN, [0] | [0, _]) if !self.faults.cannot_scan => {
                set_up.scanning = true;
                OK
            }
            (id::CLOSE_CHANNEL, [0]) if set_up.scanning => {
                set_up.scanning = false;
                OK
            }
            (id::CLOSE_CHANNEL, [_]) => WRONG_STATE,
            (id::UNASSIGN_CHANNEL, [0]) if set_up.assigned && !set_up.scanning => {
                set_up.assigned = false;
                OK
            }
            (id::UNASSIGN_CHANNEL, [_]) => WRONG_STATE,
            (id::BROADCAST | id::ACKNOWLEDGED | id::BURST, _) if set_up.scanning => NO_TRANSMITTING,
            _ => INVALID_MESSAGE,
        }
    }
}
