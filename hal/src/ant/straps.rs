//! The straps that a stick hears: each one's chain of beats, whether it is in range, what it says of itself.
//! Not here: the stick itself.

use std::collections::{HashMap, VecDeque};

use crate::decode::ant::{AntHeart, Content, Data, Device, HEART_RATE, HrPage, Pulse, Rssi};
use crate::{
    About, BeatItem, Beats, Link, Origin, Rr, SourceEvent, StrapEvent, StrapId, StrapNews,
};

/// A strap sends four times a second: after so long it is out of range.
const OUT_OF_RANGE_MS: i64 = 5_000;
/// Nobody is told of a strap before so many of its messages came, each within the time above: damage that a
/// checksum of one byte let through would be a strap that nobody wears.
const PROVEN_BY: u32 = 3;
/// What is known of a strap that has not been heard for so long is of no use any more.
const FORGOTTEN_MS: i64 = 600_000;
/// Signal strength is told no more often.
const RSSI_EVERY_MS: i64 = 5_000;

/// All straps heard lately, by their number of 20 bits.
#[derive(Debug, Default)]
pub(super) struct Straps {
    by_number: HashMap<u32, Strap>,
}

/// What became of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Heard,
    /// Another sensor's: of no concern.
    Foreign,
    /// Nobody can say whose it is.
    WithoutOwner,
    /// The strap has no beat to tell of.
    WithoutBeat,
}

#[derive(Debug)]
struct Strap {
    id: StrapId,
    heart: AntHeart,
    last_ms: i64,
    /// Messages since it was last out of range, up to [`PROVEN_BY`].
    heard: u32,
    /// What is to be told once it is proven.
    held: Vec<StrapEvent>,
    /// Beats, or a break in their chain, were never told because it was not proven: what comes next follows
    /// a gap.
    torn: bool,
    rssi_told_ms: Option<i64>,
    battery_pct: Option<u8>,
    about: About,
}

impl Straps {
    pub(super) fn data(
        &mut self,
        at_ms: i64,
        data: &Data,
        out: &mut VecDeque<SourceEvent>,
    ) -> Taken {
        let extension = data.extension.as_ref();
        let Some(device) = extension.and_then(|extension| extension.device) else {
            return Taken::WithoutOwner;
        };
        if device.kind != HEART_RATE {
            return Taken::Foreign;
        }
        if device.number == 0 {
            return Taken::WithoutOwner;
        }
        let strap = self
            .by_number
            .entry(device.id20())
            .or_insert_with(|| Strap::new(device.id20(), at_ms));
        let page = HrPage::of(data.page);
        strap.hear(at_ms, &page);
        if let Some(Rssi::Dbm { rssi, .. }) = extension.and_then(|extension| extension.rssi) {
            strap.signal(at_ms, rssi);
        }
        strap.learn(at_ms, &page, device);
        strap.tell(out);
        if page.without_beat() {
            Taken::WithoutBeat
        } else {
            Taken::Heard
        }
    }

    /// What silence says; how many messages were of straps that never proved to be one.
    pub(super) fn tick(&mut self, now_ms: i64, out: &mut VecDeque<SourceEvent>) -> u64 {
        for strap in self.by_number.values_mut() {
            if strap.proven() && now_ms - strap.last_ms >= OUT_OF_RANGE_MS {
                strap.down(now_ms, "out of range", out);
            }
        }
        let mut stray = 0;
        self.by_number.retain(|_, strap| {
            let silent_ms = now_ms - strap.last_ms;
            let unproven = !strap.held.is_empty() && silent_ms >= OUT_OF_RANGE_MS;
            if unproven {
                stray += u64::from(strap.heard);
                strap.heard = 0;
                let mut held = strap.held.iter();
                strap.torn |= held.any(|event| matches!(event.news, StrapNews::Beats(_)));
                strap.held.clear();
                // What was never told is to be told yet.
                (strap.battery_pct, strap.rssi_told_ms) = (None, None);
                strap.about = About::default();
            }
            silent_ms < FORGOTTEN_MS
        });
        stray
    }

    /// None can be heard any more. Their own counters will tell what was lost.
    pub(super) fn all_down(&mut self, now_ms: i64, why: &str, out: &mut VecDeque<SourceEvent>) {
        for strap in self.by_number.values_mut().filter(|strap| strap.proven()) {
            strap.down(now_ms, why, out);
        }
    }

    /// A break in every chain.
    pub(super) fn tear_all(&mut self, now_ms: i64, out: &mut VecDeque<SourceEvent>) {
        for strap in self.by_number.values_mut() {
            strap.heart.tear();
            strap.beats(now_ms, vec![BeatItem::Gap]);
            strap.tell(out);
        }
    }
}

impl Strap {
    fn new(number: u32, at_ms: i64) -> Self {
        Strap {
            id: StrapId::new("ant", &number.to_string()),
            heart: AntHeart::default(),
            last_ms: at_ms,
            heard: 0,
            held: Vec::new(),
            torn: false,
            rssi_told_ms: None,
            battery_pct: None,
            about: About::default(),
        }
    }

    fn proven(&self) -> bool {
        self.heard >= PROVEN_BY
    }

    fn news(&mut self, at_ms: i64, news: StrapNews) {
        self.held.push(StrapEvent {
            strap: self.id.clone(),
            at_ms,
            news,
        });
    }

    fn beats(&mut self, at_ms: i64, items: Vec<BeatItem>) {
        let origin = match self.heart.computed() {
            true => Origin::Computed,
            false => Origin::Electrical,
        };
        let beats = Beats {
            items,
            origin,
            counted: true,
        };
        self.news(at_ms, StrapNews::Beats(beats));
    }

    fn hear(&mut self, at_ms: i64, page: &HrPage) {
        if self.heard == 0 {
            self.news(at_ms, StrapNews::Link(Link::Up));
            if std::mem::take(&mut self.torn) {
                self.beats(at_ms, vec![BeatItem::Gap]);
            }
        }
        self.heard = (self.heard + 1).min(PROVEN_BY);
        self.last_ms = at_ms;
        let pulses = self.heart.page(at_ms, page);
        if !pulses.is_empty() {
            self.beats(at_ms, pulses.into_iter().map(item).collect());
        }
    }

    fn signal(&mut self, at_ms: i64, rssi: i8) {
        let told = self.rssi_told_ms;
        if told.is_none_or(|told_ms| at_ms - told_ms >= RSSI_EVERY_MS) {
            self.rssi_told_ms = Some(at_ms);
            let rssi_dbm = Some(i16::from(rssi));
            self.news(
                at_ms,
                StrapNews::Seen {
                    name: None,
                    rssi_dbm,
                },
            );
        }
    }

    /// What it says of itself, where it may be believed and is new.
    fn learn(&mut self, at_ms: i64, page: &HrPage, device: Device) {
        if !self.heart.turns_pages() {
            return;
        }
        let mut about = self.about.clone();
        match page.content {
            Content::Battery {
                percent: Some(percent),
                ..
            } if self.battery_pct != Some(percent) => {
                self.battery_pct = Some(percent);
                self.news(at_ms, StrapNews::Battery(percent));
            }
            Content::Manufacturer { id, serial_upper } => {
                let serial = u32::from(serial_upper) << 16 | u32::from(device.number);
                about.manufacturer = Some(format!("ANT+ manufacturer {id}"));
                about.serial = Some(serial.to_string());
            }
            Content::Versions {
                software, model, ..
            } => {
                about.model = Some(format!("ANT+ model {model}"));
                about.firmware = Some(software.to_string());
            }
            _ => {}
        }
        if about != self.about {
            self.about = about.clone();
            self.news(at_ms, StrapNews::About(about));
        }
    }

    fn down(&mut self, now_ms: i64, why: &str, out: &mut VecDeque<SourceEvent>) {
        let why = why.to_owned();
        self.news(now_ms, StrapNews::Link(Link::Down { why }));
        self.tell(out);
        self.heard = 0;
    }

    fn tell(&mut self, out: &mut VecDeque<SourceEvent>) {
        if self.proven() {
            out.extend(self.held.drain(..).map(SourceEvent::Strap));
        }
    }
}

fn item(pulse: Pulse) -> BeatItem {
    match pulse {
        Pulse::Rr(ticks) => BeatItem::Rr(Rr::Ticks(ticks)),
        Pulse::Missing { beats, span } => BeatItem::Missing {
            beats: beats.into(),
            span_ms: Some(Rr::Ticks(span).ms()),
        },
        Pulse::Gap(_) => BeatItem::Gap,
    }
}
