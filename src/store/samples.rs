//! Rows for the tests of the store. Nothing here is built into the program.

use uuid::Uuid;

use crate::room::rows::*;
use crate::room::{HeartKey, ParticipantId, SettingsHash, StrapNo, Window};
use crate::signal::Version;

/// Wall minus monotonic time in the samples.
pub const OFFSET_MS: i64 = 1_795_000_000_000;

pub fn at(mono_ms: i64) -> Stamp {
    Stamp {
        mono_ms,
        wall_ms: mono_ms + OFFSET_MS,
        synced: true,
    }
}

pub fn person(n: u8) -> ParticipantId {
    ParticipantId(Uuid::from_bytes([n; 16]))
}

pub fn session(id: &str, start_mono_ms: i64) -> SessionRow {
    SessionRow {
        id: id.to_owned(),
        starts_at_ms: start_mono_ms + OFFSET_MS,
        ends_at_ms: start_mono_ms + OFFSET_MS + 900_000,
        start_mono_ms,
        end_mono_ms: start_mono_ms + 900_000,
        offset_ms: OFFSET_MS,
        synced: true,
    }
}

pub fn strap(no: u32) -> Row {
    Row::Strap(StrapRow {
        name: Some("Polar H10".to_owned()),
        ..StrapRow::new(StrapNo(no), format!("ble:AA:BB:CC:00:00:{no:02X}"), at(0))
    })
}

pub fn participant(n: u8, name: &str) -> Row {
    Row::Participant(ParticipantRow {
        id: person(n),
        name: Some(name.to_owned()),
        intention: None,
        since: at(0),
        has_left: false,
    })
}

pub fn participation(session_id: &str, n: u8, joined_mono_ms: i64) -> Row {
    Row::Participation(ParticipationRow {
        session_id: session_id.to_owned(),
        participant: person(n),
        joined: at(joined_mono_ms),
        left: None,
    })
}

pub fn claim(
    no: i64,
    participant: ParticipantId,
    strap: u32,
    from: i64,
    until: Option<i64>,
) -> Row {
    Row::Claim(ClaimRow {
        no,
        participant,
        strap: StrapNo(strap),
        from: at(from),
        until: until.map(at),
    })
}

pub fn consent(n: u8, scope: &str, granted: bool) -> Row {
    Row::Consent(ConsentRow {
        participant: person(n),
        scope: scope.to_owned(),
        granted,
        text_version: "1".to_owned(),
        at: at(10),
    })
}

pub fn rr(id: i64, strap: u32, arrived_mono_ms: i64) -> Row {
    rr_of(id, HeartKey::Strap(StrapNo(strap)), arrived_mono_ms)
}

pub fn rr_of(id: i64, heart: HeartKey, arrived_mono_ms: i64) -> Row {
    Row::Rr(RrRow {
        id,
        heart,
        rr_ms: 832.03125,
        gap_ms: 0.0,
        begins: false,
        via: None,
        mark: RrMark::Accepted,
        beat_mono_ms: arrived_mono_ms as f64 - 12.5,
        arrived: at(arrived_mono_ms),
    })
}

pub fn score(
    session_id: &str,
    strap: u32,
    participant: Option<ParticipantId>,
    mono_ms: i64,
) -> Row {
    Row::Score(ScoreRow {
        session_id: session_id.to_owned(),
        at: at(mono_ms),
        heart: HeartKey::Strap(StrapNo(strap)),
        participant,
        score: Some(61.25),
        standard_error: Some(7.5),
        level: Some("high"),
        reason: None,
        status: Some("good"),
        last_rr: Some(1),
        window: Some(Window::ending_at(mono_ms as f64 - 700.5)),
        beats: 70,
        coverage: 0.97,
        artefact_pct: Some(1.5),
        age_ms: Some(700),
        peak_hz: Some(0.1),
        mean_hr_bpm: Some(66.0),
        sdnn_ms: Some(70.5),
        rmssd_ms: Some(45.0),
        pnn50_pct: Some(20.0),
        lf_ms2: Some(2_000.0),
        hf_ms2: Some(300.0),
        lf_hf: Some(6.7),
        total_ms2: Some(2_500.0),
        algorithm: Some(1),
        settings: Some(SettingsHash::of(Version::One)),
    })
}

pub fn group(session_id: &str, mono_ms: i64, average: Option<f64>) -> Row {
    Row::Group(GroupRow {
        session_id: session_id.to_owned(),
        at: at(mono_ms),
        average,
        standard_error: average.map(|_| 3.25),
        low: 1,
        medium: 2,
        high: 3,
        participants: 7,
        scored: 6,
        hearts: 6,
        suppressed: false,
        algorithm: Some(1),
        settings: Some(SettingsHash::of(Version::One)),
        synchrony: Some(SynchronyRow {
            index: 34.25,
            chance_high: 17.5,
            hearts: 6,
        }),
    })
}

pub fn pair(session_id: &str, a: u8, b: u8, mono_ms: i64) -> Row {
    Row::Pair(PairRow {
        session_id: session_id.to_owned(),
        at: at(mono_ms),
        a: person(a),
        b: person(b),
        plv: 0.875,
        lag_rad: -0.25,
    })
}
