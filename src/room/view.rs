//! What the room lets be seen: the shapes of the wire, already free of what is private. Fields are
//! camelCase, times (`…At`, `at`) are Unix milliseconds of the hub's clock, durations end in `Ms`.

use serde::Serialize;
use utoipa::ToSchema;

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
    /// Highest average so far in this session, a whole number.
    pub peak: Option<i64>,
    /// Null below the threshold of its own (five hearts by default).
    pub distribution: Option<Distribution>,
    /// People present.
    pub participants: u32,
    /// Hearts with a score.
    pub scored: u32,
    /// How much the hearts move together; null where it is not computed.
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

#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Synchrony {
    /// 0 to 100.
    pub index: f64,
    /// What chance alone reaches.
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
    /// `low`, `medium`, `high`.
    pub level: Option<&'static str>,
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
    /// The label of the strap, or null when the phone itself is the source.
    pub strap: Option<String>,
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
    pub label: String,
    /// `ble`, `virtual`, `replay`.
    pub transport: String,
    /// Somebody wears it.
    pub claimed: bool,
    pub state: StrapState,
    /// Why it gives no score: `warming_up`, `poor_signal`, `flat`, `silent`, `off_body`; null when it does.
    pub reason: Option<&'static str>,
    /// What the link last said, where it is not simply up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Skin contact; null when the strap can't tell.
    pub contact: Option<bool>,
    /// Battery in percent; null while unknown.
    pub battery_pct: Option<u8>,
    /// Signal strength of the last advertisement, dBm.
    pub rssi_dbm: Option<i16>,
    /// Age of the newest beat, ms; whole seconds except for the facilitator.
    pub last_beat_age_ms: Option<i64>,
    /// Beats on the tachogram since the hub began; only for the facilitator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beats_accepted: Option<u64>,
    /// Beats that were kept but are no part of a score; only for the facilitator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beats_rejected: Option<u64>,
}

impl StrapView {
    /// As anybody in the room may see it: two looks at a count of beats would tell a heart rate,
    /// and the label tells whose.
    pub fn for_everybody(mut self) -> Self {
        self.last_beat_age_ms = self.last_beat_age_ms.map(|age_ms| age_ms / 1_000 * 1_000);
        self.beats_accepted = None;
        self.beats_rejected = None;
        self
    }
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
    /// `listening`, `no_bus`, `no_bluetoothd`, `no_adapter`, `adapter_off`, `recovering`, `finished`, `starting`.
    pub code: &'static str,
    /// What is, and what to do about it.
    pub text: String,
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
