//! The eight bytes that a heart-rate strap sends about four times a second.
//!
//! Bytes 4 to 7 are the same on every page: the newest beat. Bytes 0 to 3 hold one of several pages,
//! which may be believed only of a strap that has been seen to turn its pages: [`super::AntHeart`] knows.

/// What a strap said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HrPage {
    /// 0 to 127.
    pub number: u8,
    /// Changes with every fourth message of a strap that turns its pages.
    pub toggle: bool,
    pub content: Content,
    /// When the newest beat was, in 1/1024 s; wraps at 64 s.
    pub event_time: u16,
    /// The number of the newest beat; wraps at 256.
    pub beat_count: u8,
    /// Beats per minute as the strap averages it; 0 means "no value".
    pub computed_hr: u8,
}

/// What the first half of a page holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Content {
    /// Page 1.
    OperatingTime { seconds: u32 },
    /// Page 2.
    Manufacturer { id: u8, serial_upper: u16 },
    /// Page 3.
    Versions {
        hardware: u8,
        software: u8,
        model: u8,
    },
    /// Page 4: when the beat before the newest was, in 1/1024 s.
    PreviousBeat { manufacturer: u8, event_time: u16 },
    /// Page 5, beats per minute.
    Swim {
        interval_average: u8,
        interval_most: u8,
        session_average: u8,
    },
    /// Page 6, a bit for each feature.
    Features { supported: u8, enabled: u8 },
    /// Page 7.
    Battery {
        percent: Option<u8>,
        volts: Option<f64>,
        status: BatteryStatus,
    },
    /// Page 9: whether the times of beats are computed from an average, and not measured.
    EventTime { computed: bool },
    /// Page 0, a page of the manufacturer, or one that nobody here knows.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatteryStatus {
    New,
    Good,
    Ok,
    Low,
    Critical,
    Reserved,
    Invalid,
}

impl HrPage {
    pub fn of(bytes: [u8; 8]) -> Self {
        let [head, a, b, c, time_low, time_high, beat_count, computed_hr] = bytes;
        HrPage {
            number: head & 0x7F,
            toggle: head & 0x80 != 0,
            content: Content::of(head & 0x7F, [a, b, c]),
            event_time: u16::from_le_bytes([time_low, time_high]),
            beat_count,
            computed_hr,
        }
    }

    /// All ones where the beat should be: the strap has none to tell of.
    pub fn without_beat(&self) -> bool {
        (self.event_time, self.beat_count, self.computed_hr) == (u16::MAX, u8::MAX, u8::MAX)
    }
}

impl Content {
    fn of(page: u8, [a, b, c]: [u8; 3]) -> Self {
        match page {
            1 => Content::OperatingTime {
                seconds: u32::from_le_bytes([a, b, c, 0]) * 2,
            },
            2 => Content::Manufacturer {
                id: a,
                serial_upper: u16::from_le_bytes([b, c]),
            },
            3 => Content::Versions {
                hardware: a,
                software: b,
                model: c,
            },
            4 => Content::PreviousBeat {
                manufacturer: a,
                event_time: u16::from_le_bytes([b, c]),
            },
            5 => Content::Swim {
                interval_average: a,
                interval_most: b,
                session_average: c,
            },
            6 => Content::Features {
                supported: b,
                enabled: c,
            },
            7 => Content::Battery {
                percent: (a != u8::MAX).then_some(a),
                volts: (c & 0x0F != 0x0F).then(|| f64::from(c & 0x0F) + f64::from(b) / 256.0),
                status: BatteryStatus::of(c >> 4 & 0x07),
            },
            9 => Content::EventTime {
                computed: a & 0x03 == 1,
            },
            _ => Content::Other,
        }
    }
}

impl BatteryStatus {
    fn of(bits: u8) -> Self {
        match bits {
            1 => BatteryStatus::New,
            2 => BatteryStatus::Good,
            3 => BatteryStatus::Ok,
            4 => BatteryStatus::Low,
            5 => BatteryStatus::Critical,
            7 => BatteryStatus::Invalid,
            _ => BatteryStatus::Reserved,
        }
    }

    /// A stable word.
    pub fn word(self) -> &'static str {
        match self {
            BatteryStatus::New => "new",
            BatteryStatus::Good => "good",
            BatteryStatus::Ok => "ok",
            BatteryStatus::Low => "low",
            BatteryStatus::Critical => "critical",
            BatteryStatus::Reserved => "reserved",
            BatteryStatus::Invalid => "invalid",
        }
    }
}
