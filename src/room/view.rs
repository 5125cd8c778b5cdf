//! What the room lets be seen: the shapes of the wire, already free of what is private. Fields are
//! camelCase, times (`…At`, `at`) are Unix milliseconds of the hub's clock, durations end in `Ms`.

use coherence_hal::AdapterLinks;
use serde::Serialize;
use utoipa::ToSchema;

use super::SettingsHash;
use super::my_heart::Fit;
use crate::signal::course::Trend;
use crate::signal::{Early, Hrv};

/// A flat JSON object with `type`, as every frame on the wire is.
#[derive(Serialize)]
struct Frame<'a, T> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    body: &'a T,
}

/// Serialises a frame of the wire.
pub fn frame(kind: &'static str, body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(&Frame { kind, body }).expect("views have string keys and finite shapes")
}

/// A session wherever it appears.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    /// `20261120T0945Z`; `b<boot>-<n>` while the hub does not know the time.
    pub id: String,
    /// Unix ms of the hub's clock.
    pub starts_at: i64,
    /// Unix ms of the hub's clock.
    pub ends_at: i64,
    pub phase: Phase,
    /// End of the present phase, Unix ms of the hub's clock.
    pub phase_ends_at: i64,
    /// People present.
    pub participants: u32,
    /// Hearts with a score at the last grid point.
    pub scored: u32,
}

/// Half-open intervals of the session clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    Preparation,
    Active,
    Integration,
    /// What a session is afterwards.
    Complete,
}

/// The group's figures at one grid point, as everybody may see them.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupView {
    pub session_id: String,
    /// The grid point, Unix ms of the hub's clock.
    pub at: i64,
    /// Mean of the present scores, 0 to 100, a whole number; null with too few people.
    pub average: Option<i64>,
    /// Standard error of the average, points, rounded up: sqrt(sum of squared standard errors) over the
    /// number of scores. Null where one of the scores has none, as those that phones compute.
    pub standard_error: Option<i64>,
    /// Highest average so far in this session, a whole number.
    pub peak: Option<i64>,
    /// Null below the threshold of its own (five hearts by default).
    pub distribution: Option<Distribution>,
    /// People present.
    pub participants: u32,
    /// Hearts with a score.
    pub scored: u32,
    /// How much the hearts move together; null with too few hearts whose beats cover the last minute.
    pub synchrony: Option<Synchrony>,
    /// `too_few`, when there are too few hearts to show figures without showing a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suppressed: Option<&'static str>,
}

/// Hearts by level of their score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Distribution {
    /// Below 40.
    pub low: u32,
    /// 40 up to below 60.
    pub medium: u32,
    /// 60 and above.
    pub high: u32,
}

/// How much the hearts of the room move together, beside what chance gives.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Synchrony {
    /// Mean agreement in phase over all pairs, 0 to 100, one decimal; 0 by chance.
    pub index: f64,
    /// What the same hearts reach by chance: 95 times in 100 the index stays at or below it. 0 to 100, one
    /// decimal, rounded up. Only an index above it says that they move together.
    pub chance_high: f64,
}

/// One person's own evaluation at a grid point.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FeedbackView {
    /// The grid point, Unix ms of the hub's clock.
    pub at: i64,
    /// 0 to 100; null when there is a reason.
    pub score: Option<f64>,
    /// How far the score may be from the truth: its standard error, points; the truth is within 1.645 of
    /// it nine times in ten. Null for a score that the phone computed itself.
    pub standard_error: Option<f64>,
    /// `low`, `medium`, `high`.
    pub level: Option<&'static str>,
    /// With `warming_up`: what can be said before there is a whole window. It counts nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early: Option<EarlyView>,
    /// Where the scores went in this session so far; null while they are too few (3 minutes of them).
    pub trend: Option<TrendView>,
    /// Median of the own scores in the first 2 minutes with scores of this session; null until then.
    pub baseline: Option<f64>,
    /// Group average minus the group average without this heart; null while the group is suppressed.
    pub contribution: Option<f64>,
    pub quality: Quality,
    /// Why there is no score: `warming_up`, `poor_signal`, `flat`, `silent`, `off_body`, `no_strap`.
    pub reason: Option<&'static str>,
    /// With `warming_up`: what is missing until the first score, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_ms: Option<i64>,
    /// Mean heart rate over the window, beats per minute.
    pub heart_rate: Option<f64>,
    /// Breaths per minute, read from the strongest rhythm. It holds where somebody breathes
    /// slowly and evenly (4 to 15.5 per minute); null where no rhythm in that band leads (score below 40).
    pub breaths_per_min: Option<f64>,
    /// Heart-rate variability over the window; null where there is none.
    pub hrv: Option<HrvView>,
    /// By what and from what the score was made; null where nothing was computed.
    pub proof: Option<ProofView>,
    /// Who measured: `strap`, or `phone` where the person's own phone posts beats or scores; null where
    /// nobody does.
    pub origin: Option<&'static str>,
    /// The label of the strap, or null when the phone itself is the source.
    pub strap: Option<String>,
}

/// A beat of one's own heart, as soon as the hub has it; `beat` on the socket.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BeatView {
    /// End of the interval, Unix ms of the hub's clock: up to 2 s ago, since straps speak once a second.
    pub at: i64,
    /// The interval before it.
    pub rr_ms: f64,
}

/// A score before there is a whole window.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EarlyView {
    /// 0 to 100.
    pub score: f64,
    /// Its standard error, points.
    pub standard_error: f64,
}

/// The straight line through the own scores of a session.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrendView {
    /// Its slope, points per minute.
    pub per_min: f64,
    /// Standard error of the slope, points per minute; that neighbouring scores share their beats is in it.
    pub standard_error: f64,
}

impl From<Early> for EarlyView {
    fn from(early: Early) -> Self {
        EarlyView {
            score: early.score,
            standard_error: early.standard_error,
        }
    }
}

impl From<Trend> for TrendView {
    fn from(trend: Trend) -> Self {
        TrendView {
            per_min: trend.per_min,
            standard_error: trend.standard_error,
        }
    }
}

/// Heart-rate variability over the window, of beats that were not repaired (Task Force 1996). A figure is
/// null where there are too few of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HrvView {
    /// Standard deviation of the intervals, ms.
    pub sdnn_ms: Option<f64>,
    /// Root mean square of the differences between neighbouring intervals, ms.
    pub rmssd_ms: Option<f64>,
    /// Neighbouring intervals that differ by more than 50 ms, per cent.
    pub pnn50_pct: Option<f64>,
    /// Power from 0.04 to 0.15 Hz, ms squared.
    pub lf_ms2: Option<f64>,
    /// Power from 0.15 to 0.40 Hz, ms squared.
    pub hf_ms2: Option<f64>,
    /// Ratio of the two.
    pub lf_hf: Option<f64>,
    /// Power up to 0.40 Hz, ms squared.
    pub total_ms2: Option<f64>,
}

impl From<Hrv> for HrvView {
    fn from(hrv: Hrv) -> Self {
        HrvView {
            sdnn_ms: hrv.sdnn_ms,
            rmssd_ms: hrv.rmssd_ms,
            pnn50_pct: hrv.pnn50_pct,
            lf_ms2: hrv.lf_ms2,
            hf_ms2: hrv.hf_ms2,
            lf_hf: hrv.lf_hf,
            total_ms2: hrv.total_ms2,
        }
    }
}

/// By what and from what a score was made; with `quality` it is the score's proof.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProofView {
    /// End of the last R-R interval that went into it, Unix ms of the hub's clock; found by it in "my data".
    pub last_rr_at: i64,
    /// The 64 s that were looked at, Unix ms of the hub's clock.
    pub window_start_at: i64,
    pub window_end_at: i64,
    /// Beats in the window.
    pub beats: u32,
    /// Version of the score's definition.
    pub algorithm: u32,
    /// Names the constants of that version: 16 hexadecimal digits of the SHA-256 of their text.
    #[schema(value_type = String)]
    pub settings: SettingsHash,
}

/// How good the window was.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quality {
    /// Share of the 64 s window covered by intervals, 0 to 1.
    pub coverage: f64,
    /// Share of beats that were repaired, per cent; null while there is no window.
    pub artefact_pct: Option<f64>,
    /// Age of the newest beat at the grid point, ms; null when there is none.
    pub age_ms: Option<i64>,
}

/// A strap: its label and its state, no address and no score. What else it tells of a heart is for
/// the facilitator ([`StrapView::for_everybody`]).
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StrapView {
    /// The hub's own number for it; only for the facilitator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no: Option<u32>,
    pub label: String,
    /// `ble`, `ant`, `text`, `virtual`, `replay`.
    pub transport: String,
    /// All radios over which it is heard; `transport` is the one that carries it now.
    pub radios: Vec<String>,
    /// Somebody wears it.
    pub claimed: bool,
    /// Who wears it; only for the facilitator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wearer: Option<WearerView>,
    pub state: StrapState,
    /// Why it gives no score: `warming_up`, `poor_signal`, `flat`, `silent`, `off_body`; null when it does.
    pub reason: Option<&'static str>,
    /// Why exactly, and what to do about it; left out when there is a score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<CauseView>,
    /// What the link last said, where it is not simply up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Skin contact; null when the strap can't tell.
    pub contact: Option<bool>,
    /// Battery in percent; null while unknown.
    pub battery_pct: Option<u8>,
    /// When the battery said so, Unix ms of the hub's clock; only for the facilitator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub battery_at: Option<i64>,
    /// Only for the facilitator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manufacturer: Option<String>,
    /// As the strap names its model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its version; only for the facilitator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    /// Where on the body it says it is worn: `chest`, `wrist`, `finger`, `hand`, `ear_lobe`, `foot`, `other`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<&'static str>,
    /// Signal strength of the last advertisement, dBm.
    pub rssi_dbm: Option<i16>,
    /// How its beats are told, where that is known: `electrical`, `pulse`, `computed` (from an average,
    /// no use for a score), `simulated` (no heart at all).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<&'static str>,
    /// When the hub heard of it for the first time, Unix ms of its clock; only for the facilitator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_seen_at: Option<i64>,
    /// When the hub last heard anything of it, Unix ms of its clock; only for the facilitator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen_at: Option<i64>,
    /// Age of the newest beat, ms; whole seconds except for the facilitator.
    pub last_beat_age_ms: Option<i64>,
    /// Beats on the tachogram since the hub began; only for the facilitator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beats_accepted: Option<u64>,
    /// Beats that were kept but are no part of a score; only for the facilitator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beats_rejected: Option<u64>,
    /// Beats that the strap counted and the hub did not hear; only for the facilitator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beats_missing: Option<u64>,
}

impl StrapView {
    /// As anybody in the room may see it: two looks at a count of beats would tell a heart rate,
    /// and the label tells whose.
    pub fn for_everybody(mut self) -> Self {
        self.last_beat_age_ms = self.last_beat_age_ms.map(|age_ms| age_ms / 1_000 * 1_000);
        self.beats_accepted = None;
        self.beats_rejected = None;
        self.beats_missing = None;
        self.no = None;
        self.wearer = None;
        self.battery_at = None;
        self.manufacturer = None;
        self.firmware = None;
        self.first_seen_at = None;
        self.last_seen_at = None;
        self
    }
}

/// Who wears a strap, as the facilitator calls them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct WearerView {
    /// Null for who gave none.
    pub name: Option<String>,
    /// Whether their phone is connected.
    pub phone: bool,
}

/// Why a strap gives no score, and what to do about it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CauseView {
    /// Stable: `warming_up`, `poor_signal`, `flat`, `off_body`, `silent`, `link_down`, `battery_empty`,
    /// `waiting_for_link`, `connecting`, `seen`, `not_heard`, `computed`, `simulated`.
    pub code: &'static str,
    /// What is.
    pub text: String,
    /// What to do.
    pub advice: &'static str,
}

/// A strap as the admin sees it, on the hub itself only: by this it is recognised.
#[derive(Clone, Debug, PartialEq)]
pub struct RegistryView {
    pub no: u32,
    /// May hold a radio address.
    pub identity: String,
    /// As the strap names itself.
    pub name: Option<String>,
    pub serial: Option<String>,
    /// Somebody gave it its label.
    pub labelled: bool,
    pub strap: StrapView,
}

/// Which strap is somebody's, by what they did to show it. Labels and words: no number of anybody's heart.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeartFoundView {
    /// The straps that fit, best first, at most five. Of those that others wear none but the proposal.
    pub candidates: Vec<CandidateView>,
    /// The one that clearly leads, for its wearer to confirm; null where none does.
    pub proposal: Option<String>,
    /// The hub watches for so long: ask again then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_ms: Option<i64>,
}

/// To the phone whose strap has just been shown to be somebody else's.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StrapMoved<'a> {
    /// The strap's label.
    pub label: &'a str,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CandidateView {
    /// The strap's label.
    pub label: String,
    pub fit: Fit,
    /// The probability that it is theirs, 0 to 1.
    pub certainty: f64,
}

/// Judged by data arriving, never by "connected".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StrapState {
    /// Beats arrive.
    Streaming,
    /// Beats arrive without skin contact.
    OffBody,
    /// No beat for more than 6 s.
    Silent,
    /// Connecting, or connected and not heard yet.
    Connecting,
    /// Heard in the air only.
    Seen,
    /// Known from before, not heard.
    Away,
}

/// The source of straps: a radio, a recording, the virtual room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceView {
    pub name: &'static str,
    pub up: bool,
    /// `starting`, `listening`, `recovering`, `finished`; of Bluetooth `no_bus`, `no_bluetoothd`, `no_adapter`,
    /// `adapter_off`; of a serial port `no_port`, `no_permission`, `port_in_use`, `not_a_port`, `port_failed`,
    /// `port_gone`; of a text sensor `wrong_profile`, `wrong_output`; of an ANT+ stick `no_key`, `key_refused`,
    /// `cannot_scan`, `no_strap`, `stick_silent`.
    pub code: &'static str,
    /// What is, and what to do about it.
    pub text: String,
    /// Who is carried and who waits, of a radio whose links are few.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub links: Option<LinksView>,
}

/// The links of a radio that can hold only so many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinksView {
    pub adapters: Vec<AdapterView>,
    /// Labels of the straps for which no adapter has a place, who waits longest first.
    pub waiting: Vec<String>,
}

/// One Bluetooth adapter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdapterView {
    pub name: String,
    /// Links it holds.
    pub held: u32,
    /// Links it may hold.
    pub limit: u32,
}

impl From<AdapterLinks> for AdapterView {
    fn from(links: AdapterLinks) -> Self {
        AdapterView {
            name: links.name,
            held: links.held,
            limit: links.limit,
        }
    }
}

impl StrapState {
    pub const ALL: [StrapState; 6] = [
        StrapState::Streaming,
        StrapState::OffBody,
        StrapState::Silent,
        StrapState::Connecting,
        StrapState::Seen,
        StrapState::Away,
    ];

    /// The word on the wire and in metrics.
    pub fn word(self) -> &'static str {
        match self {
            StrapState::Streaming => "streaming",
            StrapState::OffBody => "off_body",
            StrapState::Silent => "silent",
            StrapState::Connecting => "connecting",
            StrapState::Seen => "seen",
            StrapState::Away => "away",
        }
    }
}
