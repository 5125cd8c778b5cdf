//! One strap that nobody wears: what it sends of a series of beats, about four times a second.
//!
//! Pages turn as those of real straps do: the toggle bit changes with every fourth message, and a
//! background page comes every 65th message, four times in a row.

use crate::virtual_room::chance::Chance;

/// Between two messages, in 1/32768 s.
const PERIOD: f64 = 8_070.0;
const PERIOD_MS: f64 = PERIOD * 1_000.0 / 32_768.0;
/// Messages from one background page to the next, and how often each is sent.
const BACKGROUND_EVERY: u64 = 65;
const BACKGROUND_TIMES: u64 = 4;

/// A strap and the heart on it.
pub struct VirtualStrap {
    number: u32,
    /// Times of beats in seconds since the strap's beginning.
    beats: Box<dyn Iterator<Item = f64> + Send>,
    next_beat_s: f64,
    /// The newest beat and the one before it, by the strap's clock; none before the first.
    newest: Option<u16>,
    previous: Option<u16>,
    count: u8,
    start_ms: f64,
    phase_ms: f64,
    sent: u64,
    silent_until_ms: i64,
    /// What the strap's clock showed at its beginning.
    clock_offset: u16,
    /// The main page: 4 tells the beat before the newest, 0 does not.
    pub main_page: u8,
    /// Never turns a page, and has anything in the first half: a strap of before there were pages.
    pub legacy: bool,
    /// Says that it computes the times of beats.
    pub computed: bool,
    /// Takes no beat any more, and repeats the last: off the skin.
    pub frozen: bool,
    pub battery_pct: u8,
    pub rssi_dbm: i8,
}

impl VirtualStrap {
    /// A strap of this number (up to 20 bits) on a heart that beats at these times, in seconds.
    pub fn new(number: u32, beats: impl Iterator<Item = f64> + Send + 'static) -> Self {
        let mut beats: Box<dyn Iterator<Item = f64> + Send> = Box::new(beats);
        VirtualStrap {
            number: number & 0xF_FFFF,
            next_beat_s: beats.next().unwrap_or(f64::INFINITY),
            beats,
            newest: None,
            previous: None,
            count: 0,
            start_ms: 0.0,
            phase_ms: 0.0,
            sent: 0,
            silent_until_ms: i64::MIN,
            clock_offset: 0,
            main_page: 4,
            legacy: false,
            computed: false,
            frozen: false,
            battery_pct: 80,
            rssi_dbm: -55,
        }
    }

    /// Sends nothing until then, and counts its beats on.
    pub fn fall_silent(&mut self, until_ms: i64) {
        self.silent_until_ms = until_ms;
    }

    /// Starts anew: its clock and its count jump.
    pub fn restart(&mut self) {
        self.count = 0;
        self.clock_offset = self.clock_offset.wrapping_add(31_337);
        self.newest = None;
        self.previous = None;
    }

    pub(super) fn begin(&mut self, start_ms: i64, chance: &mut Chance) {
        self.start_ms = start_ms as f64;
        self.phase_ms = chance.between(0.0, PERIOD_MS);
        self.clock_offset = chance.whole(0, 65_535) as u16;
        self.count = chance.whole(0, 255) as u8;
    }

    /// When it sends next.
    pub(super) fn due_ms(&self) -> i64 {
        (self.start_ms + self.phase_ms + self.sent as f64 * PERIOD_MS).ceil() as i64
    }

    /// Device number and transmission type.
    pub(super) fn address(&self) -> (u16, u8) {
        let upper = (self.number >> 16) as u8;
        ((self.number & 0xFFFF) as u16, upper << 4 | 1)
    }

    /// The eight bytes that are sent now; none while it is silent.
    pub(super) fn next_page(&mut self, now_ms: i64) -> Option<[u8; 8]> {
        let sent = self.sent;
        self.sent += 1;
        self.beat_until(now_ms);
        if now_ms < self.silent_until_ms {
            return None;
        }
        let Some(newest) = self.newest else {
            // All ones: there is no beat yet to tell of.
            let head = if sent / 4 % 2 == 1 { 0x80 } else { 0 };
            return Some([head, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]);
        };
        let time = newest.to_le_bytes();
        let previous = self.previous.unwrap_or(newest);
        let [head, a, b, c] = if self.legacy {
            [4, 0x12, 0x34, 0x56]
        } else {
            let toggle = if sent / 4 % 2 == 1 { 0x80 } else { 0 };
            let [page, a, b, c] = self.first_half(sent, previous);
            [page | toggle, a, b, c]
        };
        let rate = self.previous.map_or(0, |previous| {
            61_440 / u32::from(newest.wrapping_sub(previous)).max(241)
        });
        Some([head, a, b, c, time[0], time[1], self.count, rate as u8])
    }

    fn first_half(&self, sent: u64, previous: u16) -> [u8; 4] {
        let turn = sent / BACKGROUND_EVERY;
        if turn > 0 && sent % BACKGROUND_EVERY < BACKGROUND_TIMES {
            let [serial_low, serial_high] = 0x1234_u16.to_le_bytes();
            match turn % 5 {
                0 => {
                    let units = (sent as f64 * PERIOD_MS / 2_000.0) as u32;
                    let [a, b, c, _] = units.to_le_bytes();
                    return [1, a, b, c];
                }
                1 => return [2, 1, serial_low, serial_high],
                2 => return [3, 7, 23, 51],
                3 => return [7, self.battery_pct, 0x80, 0x22],
                _ if self.computed => return [9, 0xFD, 0xFF, 0xFF],
                _ => {}
            }
        }
        if self.main_page == 4 {
            let [low, high] = previous.to_le_bytes();
            [4, 0xFF, low, high]
        } else {
            [0, 0xFF, 0xFF, 0xFF]
        }
    }

    /// Takes every beat until now.
    fn beat_until(&mut self, now_ms: i64) {
        while self.start_ms + self.next_beat_s * 1_000.0 <= now_ms as f64 {
            // Ticks come from the beat's own time, so that their sum never drifts.
            let tick = (self.next_beat_s * 1_024.0).round() as u64 as u16;
            if !self.frozen {
                self.previous = self.newest;
                self.newest = Some(tick.wrapping_add(self.clock_offset));
                self.count = self.count.wrapping_add(1);
            }
            self.next_beat_s = self.beats.next().unwrap_or(f64::INFINITY);
        }
    }
}
