//! What the room wants kept: plain facts, written by `store` in the order in which they were made.
//!
//! Rows are values, not tables: here belongs what a fact *is*, with its units. How it is laid out
//! on disk is the store's business.

use coherence_hal::{About, Origin};

use super::{
    HeartKey, Message, ParticipantId, Scene, SettingsHash, StageId, State, StrapNo, Window,
};

/// A moment on both clocks. The boot to which `mono_ms` belongs is the store's to add: a process
/// lives in one boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Milliseconds of the monotonic clock (since boot).
    pub mono_ms: i64,
    /// Hub time in Unix milliseconds, by the offset in use at that moment.
    pub wall_ms: i64,
    /// Whether the wall clock was known to be right.
    pub synced: bool,
}

/// One fact to keep.
// A row lives for a moment, in a list that is mostly scores and R-R: boxing would cost more.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq)]
pub enum Row {
    Session(SessionRow),
    Strap(StrapRow),
    Twins(TwinsRow),
    Participant(ParticipantRow),
    Participation(ParticipationRow),
    Claim(ClaimRow),
    Consent(ConsentRow),
    Rr(RrRow),
    Score(ScoreRow),
    Group(GroupRow),
    Pair(PairRow),
    Stage(StageRow),
    /// A named session ended.
    StageFreed {
        name: String,
    },
    /// Everything about this participant goes: name, participations, claims, scores, pairs, consents,
    /// and the R-R of a strap inside this participant's claims. Group figures stay.
    Erase {
        participant: ParticipantId,
        at: Stamp,
    },
    /// A strap leaves the registry: what it is recognised by, and what it says of itself, goes, and whoever
    /// wears it wears it no longer. Its R-R stay whose they are.
    ForgetStrap {
        strap: StrapNo,
        /// Rows name it: until they are gone its number is nobody else's.
        rests: bool,
        at: Stamp,
    },
}

/// A session, written when it begins and again when its end or offset changed (same id: replaced).
#[derive(Clone, Debug, PartialEq)]
pub struct SessionRow {
    /// `20261120T0945Z`, or `b<boot>-<n>` on a hub that does not know the time.
    pub id: String,
    pub starts_at_ms: i64,
    pub ends_at_ms: i64,
    pub start_mono_ms: i64,
    pub end_mono_ms: i64,
    /// Hub time minus monotonic time while this session ran.
    pub offset_ms: i64,
    pub synced: bool,
}

/// A strap of the registry (same number: all but `first_seen` replaced).
#[derive(Clone, Debug, PartialEq)]
pub struct StrapRow {
    pub no: StrapNo,
    /// The id by which it is recognised again; may hold a radio address.
    pub identity: String,
    pub label: String,
    /// As the strap names itself.
    pub name: Option<String>,
    /// What else it says of itself.
    pub about: About,
    /// How its beats are told, where it says so.
    pub origin: Option<Origin>,
    pub battery: Option<Battery>,
    pub first_seen: Stamp,
    /// When anything was heard of it last; written now and then.
    pub last_seen: Stamp,
    /// It has delivered a beat or was worn: rows may name it.
    pub used: bool,
}

/// The battery of a strap, as it said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Battery {
    /// Per cent.
    pub pct: u8,
    pub at: Stamp,
}

impl StrapRow {
    /// A strap that was just heard for the first time.
    pub fn new(no: StrapNo, identity: impl Into<String>, at: Stamp) -> Self {
        StrapRow {
            no,
            identity: identity.into(),
            label: StrapRow::number_label(no),
            name: None,
            about: About::default(),
            origin: None,
            battery: None,
            first_seen: at,
            last_seen: at,
            used: false,
        }
    }

    /// The label of a strap to which nobody gave another.
    pub fn number_label(no: StrapNo) -> String {
        format!("strap {}", no.0)
    }

    /// Somebody gave it a label.
    pub fn is_labelled(&self) -> bool {
        self.label != StrapRow::number_label(self.no)
    }
}

/// Two entries of the registry that are one strap with two radios, or that are not (same pair: replaced).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TwinsRow {
    /// The lower number of the two.
    pub low: StrapNo,
    pub high: StrapNo,
    /// They are one.
    pub one: bool,
    pub at: Stamp,
}

/// A person in the room (same id: all but `since` replaced).
#[derive(Clone, Debug, PartialEq)]
pub struct ParticipantRow {
    pub id: ParticipantId,
    pub name: Option<String>,
    pub intention: Option<String>,
    pub since: Stamp,
    /// Has said goodbye, and takes part again only by joining.
    pub has_left: bool,
}

/// One participant in one session (same pair: replaced).
#[derive(Clone, Debug, PartialEq)]
pub struct ParticipationRow {
    pub session_id: String,
    pub participant: ParticipantId,
    pub joined: Stamp,
    pub left: Option<Stamp>,
}

/// Who wore which strap, as an interval in time (same number: replaced).
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimRow {
    pub no: i64,
    pub participant: ParticipantId,
    pub strap: StrapNo,
    pub from: Stamp,
    pub until: Option<Stamp>,
}

/// One consent given or withdrawn; only ever appended.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsentRow {
    pub participant: ParticipantId,
    /// `display`, `store`, `sync`, `research` or `publish`.
    pub scope: String,
    pub granted: bool,
    /// The version of the text that was shown.
    pub text_version: String,
    pub at: Stamp,
}

/// What became of an R-R interval on arrival; decided once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RrMark {
    /// On the tachogram.
    Accepted,
    /// On the tachogram, outside 250 to 3000 ms: the cleaner will judge it.
    Implausible,
    /// Not on the tachogram: the extra short value some straps append.
    Suspect,
    /// Not on the tachogram: the strap said it has no skin contact.
    OffBody,
    /// Not on the tachogram: an interval of zero length.
    Zero,
    /// Not on the tachogram: the device made it from an average.
    Computed,
    /// Not on the tachogram: the device plays a heart.
    Simulated,
}

impl RrMark {
    pub const ALL: [RrMark; 7] = [
        RrMark::Accepted,
        RrMark::Implausible,
        RrMark::Suspect,
        RrMark::OffBody,
        RrMark::Zero,
        RrMark::Computed,
        RrMark::Simulated,
    ];

    pub fn on_tachogram(self) -> bool {
        matches!(self, RrMark::Accepted | RrMark::Implausible)
    }

    /// The word in the database and in exports.
    pub fn word(self) -> &'static str {
        match self {
            RrMark::Accepted => "accepted",
            RrMark::Implausible => "implausible",
            RrMark::Suspect => "suspect",
            RrMark::OffBody => "off_body",
            RrMark::Zero => "zero",
            RrMark::Computed => "computed",
            RrMark::Simulated => "simulated",
        }
    }
}

/// One R-R interval as it was placed.
#[derive(Clone, Debug, PartialEq)]
pub struct RrRow {
    /// Counts up over the life of the database; the order of arrival.
    pub id: i64,
    pub heart: HeartKey,
    /// The entry of the registry whose radio delivered it, where that is not the heart's own strap.
    pub via: Option<StrapNo>,
    /// Interval in ms, exact (1/1024 s have a finite decimal form).
    pub rr_ms: f64,
    /// Time lost before this interval, in ms; 0 almost always.
    pub gap_ms: f64,
    /// A heart begins anew here (another person's, or the first that the hub knows of it): no window
    /// reaches back beyond this interval.
    pub begins: bool,
    pub mark: RrMark,
    /// End of the interval on the monotonic clock, by the chain of intervals, ms.
    pub beat_mono_ms: f64,
    /// When its bytes were read.
    pub arrived: Stamp,
}

/// The evaluation of one heart at one grid point, with its proof.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreRow {
    pub session_id: String,
    pub at: Stamp,
    pub heart: HeartKey,
    /// Who wore the heart's strap at that moment.
    pub participant: Option<ParticipantId>,
    /// Score 0 to 100; none when there is a reason.
    pub score: Option<f64>,
    /// Standard error of the score, points; none where the definition in force tells none.
    pub standard_error: Option<f64>,
    /// `low`, `medium`, `high`.
    pub level: Option<&'static str>,
    /// Why there is no score: `warming_up`, `poor_signal`, `flat`, `silent`, `off_body`.
    pub reason: Option<&'static str>,
    /// Status of the signal: `warmup`, `good`, `fair`, `poor`, `flat`; none for a score that a phone computed.
    pub status: Option<&'static str>,
    /// The last R-R row that went into it; the window is what `signal` takes before it.
    pub last_rr: Option<i64>,
    /// None where nothing was computed, and in rows from before it was kept.
    pub window: Option<Window>,
    pub beats: u32,
    /// Share of the window covered by intervals, 0 to 1.
    pub coverage: f64,
    pub artefact_pct: Option<f64>,
    /// Age of the newest beat at the grid point, ms.
    pub age_ms: Option<i64>,
    pub peak_hz: Option<f64>,
    pub mean_hr_bpm: Option<f64>,
    pub sdnn_ms: Option<f64>,
    pub rmssd_ms: Option<f64>,
    pub pnn50_pct: Option<f64>,
    pub lf_ms2: Option<f64>,
    pub hf_ms2: Option<f64>,
    pub lf_hf: Option<f64>,
    pub total_ms2: Option<f64>,
    /// Version of the score's definition; none when a phone computed it.
    pub algorithm: Option<u32>,
    /// The constants of that version; none in rows from before they were kept.
    pub settings: Option<SettingsHash>,
}

/// The group at one grid point, exact and before suppression.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupRow {
    pub session_id: String,
    pub at: Stamp,
    pub average: Option<f64>,
    /// Of the average; none where one of the scores has none.
    pub standard_error: Option<f64>,
    pub low: u32,
    pub medium: u32,
    pub high: u32,
    pub participants: u32,
    pub scored: u32,
    /// Hearts that count towards the threshold of suppression.
    pub hearts: u32,
    /// Whether the public saw no figures.
    pub suppressed: bool,
    /// Version of the definition by which the hub made the scores; none where it made none.
    pub algorithm: Option<u32>,
    /// The constants of that version.
    pub settings: Option<SettingsHash>,
    /// How much the hearts move together; none where fewer than two could be compared.
    pub synchrony: Option<SynchronyRow>,
}

/// The synchrony of the group at one grid point, exact and before suppression.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SynchronyRow {
    /// 0 to 100.
    pub index: f64,
    /// What these hearts reach by chance, 95 times in 100; 0 to 100.
    pub chance_high: f64,
    /// The hearts in it, counted as those of the group.
    pub hearts: u32,
}

/// Two people whose hearts moved together before one grid point.
#[derive(Clone, Debug, PartialEq)]
pub struct PairRow {
    pub session_id: String,
    pub at: Stamp,
    pub a: ParticipantId,
    pub b: ParticipantId,
    /// Phase-locking value, up to 1.
    pub plv: f64,
    /// By how much `a` is ahead of `b`, in radians of their common rhythm.
    pub lag_rad: f64,
}

/// A stage as it is (same id: replaced). Of who is on it only the one who leads is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct StageRow {
    pub id: StageId,
    /// The room's session in which it was written.
    pub session_id: String,
    /// When it was opened, hub time.
    pub opened_at_ms: i64,
    pub state: State,
    /// Position at `at`, ms.
    pub position_ms: f64,
    /// Ms of position per ms.
    pub rate: f64,
    pub at: Stamp,
    pub version: u64,
    /// Turns per minute.
    pub tempo: f64,
    pub scene: Scene,
    pub message: Option<Message>,
    /// Who leads, where one person does.
    pub leader: Option<ParticipantId>,
}
