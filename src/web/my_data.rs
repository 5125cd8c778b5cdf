//! The shape of "my data": everything the hub keeps of one person, told with the names and units of
//! the wire. No other person and no address is in it; which rows are theirs is the store's to say.

use std::collections::HashMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::room::rows::{ParticipationRow, RrRow, ScoreRow, Stamp};
use crate::room::view::TrendView;
use crate::room::{HeartKey, SettingsHash, StrapNo};
use crate::signal::breaths_per_min;
use crate::signal::course::{self, Point};
use crate::store::{InStep, ParticipantData};

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
    /// Minutes in which my heart moved together with others'; those of other people only, whose straps
    /// are claimed. In order of time.
    pub in_step: Vec<MyInStep>,
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
    /// Grid points at which the hub made a score of the own heart.
    pub scored: u32,
    /// Median of the scores of the first 2 minutes with scores; null where there were too few.
    pub baseline: Option<f64>,
    /// Where the scores went over the session; null where there were less than 3 minutes of them.
    pub trend: Option<TrendView>,
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
    /// Who measured: `strap` or `phone`.
    pub origin: &'static str,
    /// The strap's label; null when the phone itself was the source.
    pub strap: Option<String>,
    /// 0 to 100; null when there is a reason.
    pub score: Option<f64>,
    /// Standard error of the score, points; null for a score that a phone computed.
    pub standard_error: Option<f64>,
    pub level: Option<&'static str>,
    /// Why there is no score.
    pub reason: Option<&'static str>,
    /// Status of the signal; null for a score that a phone computed.
    pub status: Option<&'static str>,
    /// The 64 s that were looked at; null where nothing was computed. Their end is the end of the last
    /// interval that went into the score: the one of `rr` that has the same `at`.
    pub window_start_at: Option<i64>,
    pub window_end_at: Option<i64>,
    pub beats: u32,
    /// Share of the window covered by intervals, 0 to 1.
    pub coverage: f64,
    pub artefact_pct: Option<f64>,
    /// Age of the newest beat at the grid point.
    pub age_ms: Option<i64>,
    pub peak_hz: Option<f64>,
    /// Breaths per minute, read from the peak where one rhythm leads that can be the breath.
    pub breaths_per_min: Option<f64>,
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
    /// Names the constants of that version: 16 hexadecimal digits of the SHA-256 of their text.
    #[schema(value_type = Option<String>)]
    pub settings: Option<SettingsHash>,
}

/// How many they were, and nothing of them: the rest is theirs.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MyInStep {
    pub session_id: String,
    /// End of the minute.
    pub at: i64,
    pub others: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MyRr {
    /// End of the interval, by the chain of intervals.
    pub at: i64,
    pub rr_ms: f64,
    /// Time lost before this interval; 0 almost always.
    pub gap_ms: f64,
    /// `accepted`, `implausible`, `suspect`, `off_body`, `zero`, `computed`, `simulated`.
    pub mark: &'static str,
    /// Who measured: `strap` or `phone`.
    pub origin: &'static str,
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
        let mut courses: HashMap<String, Vec<Point>> = HashMap::new();
        // As the room made trend and baseline: of scores that the hub computed.
        for row in kept.scores.iter().filter(|row| row.algorithm.is_some()) {
            let at_ms = row.at.wall_ms;
            let point = row.score.map(|score| Point { at_ms, score });
            let course = courses.entry(row.session_id.clone()).or_default();
            course.extend(point);
        }
        let participation = |row: ParticipationRow| {
            let course = courses.get(&row.session_id).map_or(&[][..], Vec::as_slice);
            MyParticipation {
                joined_at: row.joined.wall_ms,
                left_at: row.left.map(wall),
                scored: u32::try_from(course.len()).unwrap_or(u32::MAX),
                baseline: course::baseline(course),
                trend: course::trend(course).map(Into::into),
                session_id: row.session_id,
            }
        };
        MyData {
            participant_id: kept.participant.id.to_string(),
            name: kept.participant.name,
            intention: kept.participant.intention,
            since_at: kept.participant.since.wall_ms,
            participations: kept.participations.into_iter().map(participation).collect(),
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
            in_step: kept.in_step.into_iter().map(in_step).collect(),
            rr: with_rr.then(|| {
                let rows = kept.rr.into_iter();
                rows.map(|row| rr(strap(row.heart), &row)).collect()
            }),
            rr_withheld: (!with_rr).then_some(RR_WITHHELD),
        }
    }
}

fn score(strap: Option<String>, row: ScoreRow) -> MyScore {
    let offset_ms = row.at.wall_ms - row.at.mono_ms;
    let wall_ms = |mono_ms: f64| mono_ms.round() as i64 + offset_ms;
    MyScore {
        window_start_at: row.window.map(|window| wall_ms(window.start_mono_ms)),
        window_end_at: row.window.map(|window| wall_ms(window.end_mono_ms)),
        breaths_per_min: breaths_per_min(row.peak_hz, row.score),
        session_id: row.session_id,
        at: row.at.wall_ms,
        origin: row.heart.origin(),
        strap,
        score: row.score,
        standard_error: row.standard_error,
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
        settings: row.settings,
    }
}

fn in_step(row: InStep) -> MyInStep {
    MyInStep {
        session_id: row.session_id,
        at: row.at.wall_ms,
        others: row.others,
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
        origin: row.heart.origin(),
        strap,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::room::rows::{ClaimRow, ParticipantRow, RrMark};
    use crate::room::{ParticipantId, Window};
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
            {"at": 1_001_750, "rrMs": 812.5, "gapMs": 0.0, "mark": "accepted", "origin": "strap", "strap": "strap 7"},
            {"at": 1_002_000, "rrMs": 812.5, "gapMs": 0.0, "mark": "accepted", "origin": "phone", "strap": null},
        ]);
        assert_eq!(json["rr"], expected);
        let in_step =
            serde_json::json!([{"sessionId": "20261120T0945Z", "at": 1_060_000, "others": 4}]);
        assert_eq!(json["inStep"], in_step);
        assert!(json.get("rrWithheld").is_none());
    }

    #[test]
    fn my_scores_carry_their_proof_and_a_session_its_baseline_and_trend() {
        let mut kept = kept();
        let id = kept.participant.id;
        kept.participations = vec![ParticipationRow {
            session_id: "20261120T0945Z".into(),
            participant: id,
            joined: at(0),
            left: None,
        }];
        let score = |k: i64| ScoreRow {
            session_id: "20261120T0945Z".into(),
            at: at(5_000 * k),
            heart: HeartKey::Strap(StrapNo(7)),
            participant: Some(id),
            score: Some(50.0 + k as f64 / 6.0),
            standard_error: Some(7.5),
            level: Some("medium"),
            reason: None,
            status: Some("good"),
            last_rr: Some(1),
            window: Some(Window::ending_at((5_000 * k) as f64 - 249.6)),
            beats: 70,
            coverage: 1.0,
            artefact_pct: Some(0.0),
            age_ms: Some(100),
            peak_hz: Some(26.0 / 256.0),
            mean_hr_bpm: None,
            sdnn_ms: None,
            rmssd_ms: None,
            pnn50_pct: None,
            lf_ms2: None,
            hf_ms2: None,
            lf_hf: None,
            total_ms2: None,
            algorithm: Some(1),
            settings: SettingsHash::read("00000000000000aa"),
        };
        kept.scores = (0..60).map(score).collect();
        // What a phone computed is in neither.
        kept.scores.push(ScoreRow {
            algorithm: None,
            score: Some(0.0),
            ..score(60)
        });
        let json = serde_json::to_value(MyData::new(kept, false)).unwrap();
        let mine = &json["participations"][0];
        assert_eq!(mine["scored"], 60);
        let baseline = mine["baseline"].as_f64().unwrap();
        assert!((baseline - 50.0 - 11.5 / 6.0).abs() < 1e-9, "{baseline}");
        let slope = mine["trend"]["perMin"].as_f64().unwrap();
        assert!((slope - 2.0).abs() < 1e-9, "{slope}");
        let first = &json["scores"][0];
        assert_eq!(first["windowEndAt"], 1_000_000 - 250);
        assert_eq!(first["windowStartAt"], 1_000_000 - 250 - 64_000);
        assert_eq!(
            (&first["standardError"], &first["settings"]),
            (&7.5.into(), &"00000000000000aa".into())
        );
        assert_eq!(first["breathsPerMin"], 6.09375);
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
            via: None,
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
            in_step: vec![InStep {
                session_id: "20261120T0945Z".into(),
                at: at(60_000),
                others: 4,
            }],
            rr: vec![
                interval(HeartKey::Strap(StrapNo(7)), 1_750.4),
                interval(HeartKey::Phone(id), 2000.0),
            ],
        }
    }
}
