//! The shape of "my data": everything the hub keeps of one person, told with the names and units of
//! the wire. No other person and no address is in it; which rows are theirs is the store's to say.

use std::collections::HashMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::room::rows::{RrRow, ScoreRow, Stamp};
use crate::room::{HeartKey, StrapNo};
use crate::store::ParticipantData;

/// Times are Unix ms of the hub's clock.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MyData {
    pub participant_id: String,
    pub name: Option<String>,
    pub intention: Option<String>,
    pub since_at: i64,
    pub participations: Vec<MyParticipation>,
    /// Which strap was worn, and when.
    pub claims: Vec<MyClaim>,
    /// In the order in which they were given and withdrawn.
    pub consents: Vec<MyConsent>,
    /// In order of time.
    pub scores: Vec<MyScore>,
    /// In the order of arrival; null where they are not told.
    pub rr: Option<Vec<MyRr>>,
    /// Why `rr` is null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rr_withheld: Option<&'static str>,
}

const RR_WITHHELD: &str = "R-R intervals are given over HTTPS or on the hub itself only: over plain \
    HTTP anybody in the network could read them along.";

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MyParticipation {
    pub session_id: String,
    pub joined_at: i64,
    /// Null while present.
    pub left_at: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MyClaim {
    /// The strap's label.
    pub strap: String,
    pub from_at: i64,
    /// Null while it is worn.
    pub until_at: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MyConsent {
    pub scope: String,
    pub granted: bool,
    pub text_version: String,
    pub at: i64,
}

/// One evaluation at a grid point.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MyScore {
    pub session_id: String,
    pub at: i64,
    /// The strap's label; null when the phone itself was the source.
    pub strap: Option<String>,
    /// 0 to 100; null when there is a reason.
    pub score: Option<f64>,
    pub level: Option<&'static str>,
    /// Why there is no score.
    pub reason: Option<&'static str>,
    /// Status of the signal; null for a score that a phone computed.
    pub status: Option<&'static str>,
    pub beats: u32,
    /// Share of the window covered by intervals, 0 to 1.
    pub coverage: f64,
    pub artefact_pct: Option<f64>,
    /// Age of the newest beat at the grid point.
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
    /// Version of the score's definition.
    pub algorithm: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MyRr {
    /// End of the interval, by the chain of intervals.
    pub at: i64,
    pub rr_ms: f64,
    /// Time lost before this interval; 0 almost always.
    pub gap_ms: f64,
    /// `accepted`, `implausible`, `suspect`, `off_body`, `zero`.
    pub mark: &'static str,
    /// The strap's label; null when the phone itself was the source.
    pub strap: Option<String>,
}

impl MyData {
    /// `with_rr`: nobody between here and there can read along.
    pub fn new(kept: ParticipantData, with_rr: bool) -> Self {
        let labels: HashMap<StrapNo, String> = kept.straps.into_iter().collect();
        let label = |no: StrapNo| {
            labels
                .get(&no)
                .cloned()
                .unwrap_or_else(|| format!("strap {}", no.0))
        };
        let strap = |heart: HeartKey| match heart {
            HeartKey::Strap(no) => Some(label(no)),
            HeartKey::Phone(_) => None,
        };
        let wall = |stamp: Stamp| stamp.wall_ms;
        MyData {
            participant_id: kept.participant.id.to_string(),
            name: kept.participant.name,
            intention: kept.participant.intention,
            since_at: kept.participant.since.wall_ms,
            participations: kept
                .participations
                .into_iter()
                .map(|row| MyParticipation {
                    session_id: row.session_id,
                    joined_at: row.joined.wall_ms,
                    left_at: row.left.map(wall),
                })
                .collect(),
            claims: kept
                .claims
                .into_iter()
                .map(|row| MyClaim {
                    strap: label(row.strap),
                    from_at: row.from.wall_ms,
                    until_at: row.until.map(wall),
                })
                .collect(),
            consents: kept
                .consents
                .into_iter()
                .map(|row| MyConsent {
                    scope: row.scope,
                    granted: row.granted,
                    text_version: row.text_version,
                    at: row.at.wall_ms,
                })
                .collect(),
            scores: kept
                .scores
                .into_iter()
                .map(|row| score(strap(row.heart), row))
                .collect(),
            rr: with_rr.then(|| {
                let rows = kept.rr.into_iter();
                rows.map(|row| rr(strap(row.heart), &row)).collect()
            }),
            rr_withheld: (!with_rr).then_some(RR_WITHHELD),
        }
    }
}

fn score(strap: Option<String>, row: ScoreRow) -> MyScore {
    MyScore {
        session_id: row.session_id,
        at: row.at.wall_ms,
        strap,
        score: row.score,
        level: row.level,
        reason: row.reason,
        status: row.status,
        beats: row.beats,
        coverage: row.coverage,
        artefact_pct: row.artefact_pct,
        age_ms: row.age_ms,
        peak_hz: row.peak_hz,
        mean_hr_bpm: row.mean_hr_bpm,
        sdnn_ms: row.sdnn_ms,
        rmssd_ms: row.rmssd_ms,
        pnn50_pct: row.pnn50_pct,
        lf_ms2: row.lf_ms2,
        hf_ms2: row.hf_ms2,
        lf_hf: row.lf_hf,
        total_ms2: row.total_ms2,
        algorithm: row.algorithm,
    }
}

fn rr(strap: Option<String>, row: &RrRow) -> MyRr {
    // The beat was before its bytes arrived, by as much on either clock.
    let lag_ms = row.arrived.mono_ms as f64 - row.beat_mono_ms;
    MyRr {
        at: (row.arrived.wall_ms as f64 - lag_ms).round() as i64,
        rr_ms: row.rr_ms,
        gap_ms: row.gap_ms,
        mark: row.mark.word(),
        strap,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::room::ParticipantId;
    use crate::room::rows::{ClaimRow, ParticipantRow, RrMark};
    use crate::web::guard::Peer;
    use serde_json::Value;
    use uuid::Uuid;

    fn at(mono_ms: i64) -> Stamp {
        Stamp {
            mono_ms,
            wall_ms: mono_ms + 1_000_000,
            synced: true,
        }
    }

    #[test]
    fn my_beats_stand_at_the_time_of_the_beat_and_name_the_strap_by_its_label() {
        let json = serde_json::to_value(MyData::new(kept(), true)).unwrap();
        assert_eq!(json["sinceAt"], 1_000_000);
        let claim = serde_json::json!({"strap": "strap 7", "fromAt": 1_000_010, "untilAt": null});
        assert_eq!(json["claims"][0], claim);
        let expected = serde_json::json!([
            {"at": 1_001_750, "rrMs": 812.5, "gapMs": 0.0, "mark": "accepted", "strap": "strap 7"},
            {"at": 1_002_000, "rrMs": 812.5, "gapMs": 0.0, "mark": "accepted", "strap": null},
        ]);
        assert_eq!(json["rr"], expected);
        assert!(json.get("rrWithheld").is_none());
    }

    #[test]
    fn what_may_not_leave_is_left_out_and_said() {
        let json = serde_json::to_value(MyData::new(kept(), false)).unwrap();
        assert_eq!((&json["rr"], &json["name"]), (&Value::Null, &"Noor".into()));
        assert!(json["rrWithheld"].as_str().unwrap().contains("HTTPS"));
    }

    #[test]
    fn beats_leave_by_https_or_not_at_all_but_to_the_hub_itself() {
        for (address, tls, leaves) in [
            ("127.0.0.1", false, true),
            ("::1", false, true),
            ("::ffff:127.0.0.1", false, true),
            ("192.168.1.20", false, false),
            ("fe80::1", false, false),
            ("192.168.1.20", true, true),
            ("10.0.0.1", false, false),
        ] {
            let address: IpAddr = address.parse().unwrap();
            let peer = Peer {
                address: (address, 50_000).into(),
                tls,
            };
            assert_eq!(peer.is_private(), leaves, "{peer:?}");
        }
    }

    fn kept() -> ParticipantData {
        let id = ParticipantId(Uuid::from_u128(5));
        let interval = |heart, beat_mono_ms| RrRow {
            id: 1,
            heart,
            rr_ms: 812.5,
            gap_ms: 0.0,
            begins: false,
            mark: RrMark::Accepted,
            beat_mono_ms,
            arrived: at(2000),
        };
        ParticipantData {
            participant: ParticipantRow {
                id,
                name: Some("Noor".into()),
                intention: None,
                since: at(0),
                has_left: false,
            },
            participations: vec![],
            claims: vec![ClaimRow {
                no: 1,
                participant: id,
                strap: StrapNo(7),
                from: at(10),
                until: None,
            }],
            straps: vec![(StrapNo(7), "strap 7".into())],
            consents: vec![],
            scores: vec![],
            rr: vec![
                interval(HeartKey::Strap(StrapNo(7)), 1_750.4),
                interval(HeartKey::Phone(id), 2000.0),
            ],
        }
    }
}
