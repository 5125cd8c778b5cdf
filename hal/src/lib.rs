//! The edge of the hub: bytes and radios.
//!
//! Here belongs whatever touches a strap: decoders from bytes to R-R intervals ([`decode`]), the
//! Bluetooth radio (`ble`, feature `ble`), sticks and sensors with a serial port (`ant` and `text`, feature `serial`), recordings ([`replay`]) and the scripted straps of the
//! [`virtual_room`]. Nothing here knows rooms, people or scores, and nothing here repairs a value.
//!
//! Everything the hub learns of a strap arrives as a [`SourceEvent`], stamped with the hub's
//! monotonic clock at the moment the bytes were read. A source is polled by one task
//! ([`StrapSource::next_event`]); what is not polled waits, so a busy room slows a source down
//! and loses nothing.

pub mod decode;
pub mod replay;
pub mod script;
pub mod virtual_room;
#[cfg(feature = "serial")]
pub mod virtual_stick;

#[cfg(feature = "serial")]
pub mod ant;
#[cfg(feature = "ble")]
pub mod ble;
#[cfg(feature = "serial")]
pub mod port;
#[cfg(feature = "serial")]
pub mod text;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Plausible range of an R-R interval in milliseconds, both ends included. Values outside it are
/// reported and marked, never dropped here.
pub const PLAUSIBLE_RR_MS: std::ops::RangeInclusive<f64> = 250.0..=3000.0;

/// One R-R interval in the unit it arrived in.
///
/// Bluetooth and ANT+ count in 1/1024 s; rounding to whole milliseconds on arrival would make two
/// programs disagree at halves (832 ticks are 812.5 ms), so the source's unit is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rr {
    /// 1/1024 s, as the Heart Rate Measurement characteristic counts.
    Ticks(u16),
    /// Milliseconds, as phones and text sensors count.
    Ms(f64),
}

impl Rr {
    /// The interval in milliseconds; exact for ticks (the denominator is 128).
    pub fn ms(self) -> f64 {
        match self {
            Rr::Ticks(ticks) => f64::from(ticks) * 1000.0 / 1024.0,
            Rr::Ms(ms) => ms,
        }
    }

    /// Whether the interval lies in [`PLAUSIBLE_RR_MS`].
    pub fn plausible(self) -> bool {
        PLAUSIBLE_RR_MS.contains(&self.ms())
    }
}

/// How a strap is recognised when it comes back: `ble:D0:5F:B8:00:00:01`, `replay:chf206`,
/// `virtual:7`. It may contain a radio address and therefore never leaves the hub.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StrapId(Arc<str>);

impl StrapId {
    /// `transport` is the part before the colon, `identity` the rest.
    pub fn new(transport: &str, identity: &str) -> Self {
        StrapId(format!("{transport}:{identity}").into())
    }

    /// Reads an id back from where it was stored.
    pub fn from_stored(text: &str) -> Self {
        StrapId(text.into())
    }

    /// `ble`, `ant`, `text`, `replay`, `virtual`.
    pub fn transport(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StrapId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a source says, in the order it happened.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceEvent {
    /// The source itself: is there a radio, and if not, why.
    State(SourceState),
    /// One strap.
    Strap(StrapEvent),
    /// What the source did to hear again: each time it is logged and counted.
    Step(RecoveryStep),
    /// What was lost or refused where no strap can be named: bytes between frames, frames without
    /// an owner. `what` is one of a few words, never an identity.
    Counted { what: &'static str, count: u64 },
    /// Which adapter carries how many straps, and who waits; said when it changes.
    Links(Links),
}

/// One step on the way back up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryStep {
    /// One of a few words: `resubscribe`, `reconnect`, `restart_discovery`, `power_cycle`,
    /// `remove_device`, `restart_stick`, `reopen_port`, `report`.
    pub rung: &'static str,
    /// Whom it was done for; None for the radio as a whole.
    pub strap: Option<StrapId>,
    /// What was wrong, as part of a sentence, without addresses.
    pub why: String,
}

/// The links of a radio that can hold only so many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    pub adapters: Vec<AdapterLinks>,
    /// Straps in the air for which no adapter has a place, who waits longest first.
    pub waiting: Vec<StrapId>,
}

/// The links of one adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterLinks {
    /// `hci0`.
    pub name: String,
    pub held: u32,
    /// As configured, or fewer where the adapter has refused more.
    pub limit: u32,
}

/// What the hub wants of its sources. Every source hears every wish and takes up what concerns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A session begins: only now may a link pass from one strap to another. `wanted` are the straps
    /// that people wear; they come first.
    SessionBegins { wanted: Vec<StrapId> },
    /// Another radio carries this heart: its link is worth more to somebody else.
    Release(StrapId),
    /// The other radio has lost it.
    TakeUp(StrapId),
    /// The strap is no longer of this hub: nothing of it is kept, on the system's disk neither.
    Forget(StrapId),
}

/// The state of a source in words an admin can act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceState {
    /// Can it hear straps now?
    pub up: bool,
    /// Stable code for machines: `listening`, `no_bus`, `no_bluetoothd`, `no_adapter`,
    /// `adapter_off`, `recovering`, `finished`; of a serial port `no_port`, `no_permission`, `port_in_use`,
    /// `not_a_port`, `port_failed`, `port_gone`, of a text sensor `wrong_profile`, `wrong_output`, and of
    /// an ANT+ stick `no_key`, `key_refused`, `cannot_scan`, `no_strap`, `stick_silent`.
    pub code: &'static str,
    /// One sentence: what is, and what to do about it.
    pub text: String,
}

/// Something about one strap.
#[derive(Clone, Debug, PartialEq)]
pub struct StrapEvent {
    pub strap: StrapId,
    /// Milliseconds of the hub's monotonic clock, taken when the bytes were read.
    pub at_ms: i64,
    pub news: StrapNews,
}

#[derive(Clone, Debug, PartialEq)]
pub enum StrapNews {
    /// Heard in the air (an advertisement). `name` as the strap says it.
    Seen {
        name: Option<String>,
        rssi_dbm: Option<i16>,
    },
    /// The link changed. Health is judged by measurements arriving, never by this.
    Link(Link),
    /// A Heart Rate Measurement value, decoded.
    Measurement(decode::ble::Measurement),
    /// Intervals that came another way than as a Heart Rate Measurement.
    Beats(Beats),
    /// Bytes that are no Heart Rate Measurement; dropped and to be counted.
    Malformed(decode::ble::DecodeError),
    /// The same bytes again within 20 ms, carrying R-R: one of the two was dropped.
    Duplicate,
    /// Battery level in percent.
    Battery(u8),
    /// What the strap says of itself. Only what is said is news.
    About(About),
}

/// Intervals in the order of their beats, and what is known to be missing between them.
#[derive(Clone, Debug, PartialEq)]
pub struct Beats {
    /// Oldest first.
    pub items: Vec<BeatItem>,
    pub origin: Origin,
    /// The strap counts its beats on its own clock: whatever is missing is among the items, and the time
    /// at which bytes arrive says nothing about losses. False for a sensor of which a lost beat leaves
    /// no trace.
    pub counted: bool,
}

/// One step along a chain of beats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BeatItem {
    Rr(Rr),
    /// So many intervals are lost. Their sum is known, unless `span_ms` is None.
    Missing {
        beats: u32,
        span_ms: Option<f64>,
    },
    /// The chain is torn: nobody knows how much lies between the beats before and after.
    Gap,
}

/// How a beat was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From the heart's own voltage: a chest strap.
    Electrical,
    /// From the pulse in the skin.
    Pulse,
    /// By the device from an average: it knows no single beat, so variability can't be told from it.
    Computed,
    /// There is no heart: the device plays one.
    Simulated,
}

impl Origin {
    /// As it is shown.
    pub fn word(self) -> &'static str {
        match self {
            Origin::Electrical => "electrical",
            Origin::Pulse => "pulse",
            Origin::Computed => "computed",
            Origin::Simulated => "simulated",
        }
    }

    /// Whether single beats of a heart were detected.
    pub fn is_heard(self) -> bool {
        matches!(self, Origin::Electrical | Origin::Pulse)
    }
}

/// Device information as a strap gives it; texts without control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    pub manufacturer: Option<String>,
    pub model: Option<String>,
    /// Stays on the hub, like an address.
    pub serial: Option<String>,
    pub firmware: Option<String>,
    /// Where on the body: `chest`, `wrist`, `finger`, `hand`, `ear_lobe`, `foot`, `other`.
    pub location: Option<&'static str>,
}

/// What is known of the link to a strap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    Connecting,
    /// Subscribed: measurements may come.
    Up,
    /// The link is gone; R-R may be lost, so the beats after it start behind a break.
    Down {
        why: String,
    },
}

/// The hub's monotonic clock, as handed to a source.
#[derive(Clone)]
pub struct SourceClock {
    now_ms: Arc<dyn Fn() -> i64 + Send + Sync>,
    sleep_until: Arc<dyn Fn(i64) -> Sleep + Send + Sync>,
}

/// A sleep on the hub's clock.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

impl SourceClock {
    pub fn new(
        now_ms: impl Fn() -> i64 + Send + Sync + 'static,
        sleep_until: impl Fn(i64) -> Sleep + Send + Sync + 'static,
    ) -> Self {
        SourceClock {
            now_ms: Arc::new(now_ms),
            sleep_until: Arc::new(sleep_until),
        }
    }

    /// Milliseconds of the hub's monotonic clock.
    pub fn now_ms(&self) -> i64 {
        (self.now_ms)()
    }

    /// Returns once the hub's monotonic clock shows `at_ms` or later.
    pub fn sleep_until(&self, at_ms: i64) -> Sleep {
        (self.sleep_until)(at_ms)
    }
}

/// Something that hears straps.
///
/// # Contract
/// - `next_event` waits until there is news. It never fails: trouble is a [`SourceState`] with
///   `up: false`, and the source goes on trying by itself, for ever.
/// - It is cancel-safe: a call that was dropped before it was ready lost nothing.
/// - `None` means that the source is at its end (a recording) and will never speak again.
/// - Events of one strap come in the order in which they happened.
/// - `wish` is called between two calls of `next_event`, also before the first.
/// - `close` is called once, when the hub stops; `next_event` is not called after it. It lets go of
///   the straps, so that other devices can have them, and is done within a few seconds whatever the
///   radio does. A source that is dropped without it (a crash) leaves its links behind.
pub trait StrapSource: Send + 'static {
    /// One word for logs and the API: `ble`, `ant`, `text`, `replay`, `virtual`.
    fn name(&self) -> &'static str;

    fn next_event(&mut self) -> impl Future<Output = Option<SourceEvent>> + Send;

    /// Hears what the hub wants; returns at once. A source without links has nothing to do.
    fn wish(&mut self, _wish: &Wish) {}

    /// Ends politely. A source that holds no strap has nothing to do.
    fn close(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }
}
