//! The wire, frozen: each frame as it is written and read, byte for byte. Clients out there were
//! built on these; a change here is a change of the protocol.

use coherence_hub::room::my_heart::Fit;
use coherence_hub::room::stage_view::{
    AnchorView, NamedSessionView, NamesView, SnapshotView, StatsView,
};
use coherence_hub::room::view::{
    CandidateView, Distribution, EarlyView, FeedbackView, GroupView, HeartFoundView, HrvView,
    Phase, ProofView, Quality, SessionView, StrapMoved, Synchrony, TrendView, frame,
};
use coherence_hub::room::{
    ParticipantId, Role as StageRole, Scene, SettingsHash, StageWish, State,
};
use coherence_hub::web::fields::{ClaimFields, HeartFields};
use coherence_hub::web::wire::{self, ClientFrame, Role, ServerFrame};
use serde_json::{Value, json};

fn session() -> SessionView {
    SessionView {
        id: "20261120T0945Z".into(),
        starts_at: 1_795_167_900_000,
        ends_at: 1_795_168_800_000,
        phase: Phase::Active,
        phase_ends_at: 1_795_168_680_000,
        participants: 18,
        scored: 16,
    }
}

fn group() -> GroupView {
    GroupView {
        session_id: "20261120T0945Z".into(),
        at: 1_795_168_305_000,
        average: Some(52),
        standard_error: Some(2),
        peak: Some(61),
        distribution: Some(Distribution {
            low: 4,
            medium: 7,
            high: 5,
        }),
        participants: 18,
        scored: 16,
        synchrony: Some(Synchrony {
            index: 34.5,
            chance_high: 17.0,
        }),
        suppressed: None,
    }
}

fn feedback() -> FeedbackView {
    FeedbackView {
        at: 1_795_168_305_000,
        score: Some(57.25),
        standard_error: Some(7.5),
        level: Some("medium"),
        early: None,
        trend: Some(TrendView {
            per_min: 1.5,
            standard_error: 0.75,
        }),
        baseline: Some(48.5),
        contribution: Some(0.3),
        quality: Quality {
            coverage: 0.98,
            artefact_pct: Some(1.5),
            age_ms: Some(640),
        },
        reason: None,
        left_ms: None,
        heart_rate: Some(64.0),
        breaths_per_min: Some(6.09375),
        hrv: Some(HrvView {
            sdnn_ms: Some(70.5),
            rmssd_ms: Some(45.25),
            pnn50_pct: Some(20.0),
            lf_ms2: Some(2000.5),
            hf_ms2: Some(300.25),
            lf_hf: Some(6.5),
            total_ms2: Some(2500.0),
        }),
        proof: Some(ProofView {
            last_rr_at: 1_795_168_304_360,
            window_start_at: 1_795_168_240_360,
            window_end_at: 1_795_168_304_360,
            beats: 68,
            algorithm: 1,
            settings: SettingsHash::read("0123456789abcdef").expect("sixteen digits"),
        }),
        origin: Some("strap"),
        strap: Some("strap 7".into()),
    }
}

fn snapshot() -> SnapshotView {
    SnapshotView {
        session_id: "20261120T0945Z".into(),
        anchor: AnchorView {
            state: State::Playing,
            position_ms: 20_000.5,
            rate: 1.25,
            at: 1_795_168_300_000,
            version: 12,
        },
        tempo: 7.5,
        turn_ms: 10_000,
        scene: Scene::Stage,
        message: Some("Let the breath come.".into()),
        message_at: Some(1_795_168_290_000),
        leaders: 1,
        followers: 17,
        names: None,
    }
}

fn written(frame: &ServerFrame<'_>, re: Option<Value>) -> String {
    String::from_utf8(frame.write(re.as_ref()).to_vec()).unwrap()
}

const SESSION: &str = r#"{"id":"20261120T0945Z","startsAt":1795167900000,"endsAt":1795168800000,"phase":"active","phaseEndsAt":1795168680000,"participants":18,"scored":16}"#;
const SNAPSHOT: &str = r#""sessionId":"20261120T0945Z","anchor":{"state":"playing","positionMs":20000.5,"rate":1.25,"at":1795168300000,"version":12},"tempo":7.5,"turnMs":10000,"scene":"stage","message":"Let the breath come.","messageAt":1795168290000,"leaders":1,"followers":17"#;
const GROUP: &str = r#""sessionId":"20261120T0945Z","at":1795168305000,"average":52,"standardError":2,"peak":61,"distribution":{"low":4,"medium":7,"high":5},"participants":18,"scored":16,"synchrony":{"index":34.5,"chanceHigh":17.0}"#;

#[test]
fn frames_for_everybody_are_written_so() {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let view = group();
    assert_eq!(
        text(frame("group_metrics_update", &view)),
        format!(r#"{{"type":"group_metrics_update",{GROUP}}}"#)
    );
    let few = GroupView {
        average: None,
        standard_error: None,
        peak: None,
        distribution: None,
        scored: 2,
        synchrony: None,
        suppressed: Some("too_few"),
        ..view
    };
    assert_eq!(
        text(frame("group_metrics_update", &few)),
        r#"{"type":"group_metrics_update","sessionId":"20261120T0945Z","at":1795168305000,"average":null,"standardError":null,"peak":null,"distribution":null,"participants":18,"scored":2,"synchrony":null,"suppressed":"too_few"}"#
    );
    let moved = StrapMoved { label: "strap 7" };
    assert_eq!(
        text(frame("strap_moved", &moved)),
        r#"{"type":"strap_moved","label":"strap 7"}"#
    );
    #[derive(serde::Serialize)]
    struct Body {
        session: SessionView,
    }
    assert_eq!(
        text(frame("session_state", &Body { session: session() })),
        format!(r#"{{"type":"session_state","session":{SESSION}}}"#)
    );
    let everybody = snapshot();
    assert_eq!(
        text(frame("snapshot", &everybody)),
        format!(r#"{{"type":"snapshot",{SNAPSHOT}}}"#)
    );
    let facilitator = SnapshotView {
        anchor: AnchorView {
            state: State::Paused,
            ..everybody.anchor
        },
        scene: Scene::Rest,
        message: None,
        message_at: None,
        names: Some(NamesView {
            leaders: Vec::new(),
            followers: vec!["Noor".into()],
        }),
        ..everybody
    };
    assert_eq!(
        text(frame("snapshot", &facilitator)),
        r#"{"type":"snapshot","sessionId":"20261120T0945Z","anchor":{"state":"paused","positionMs":20000.5,"rate":1.25,"at":1795168300000,"version":12},"tempo":7.5,"turnMs":10000,"scene":"rest","message":null,"messageAt":null,"leaders":1,"followers":17,"names":{"leaders":[],"followers":["Noor"]}}"#
    );
    let stats = StatsView {
        session_id: "20261120T0945Z".into(),
        participants: 18,
        leaders: 1,
        followers: 16,
    };
    assert_eq!(
        text(frame("room_stats", &stats)),
        r#"{"type":"room_stats","sessionId":"20261120T0945Z","participants":18,"leaders":1,"followers":16}"#
    );
}

#[test]
fn frames_for_one_phone_are_written_so() {
    let (session, group, feedback) = (session(), group(), feedback());
    let (stage, named) = (
        snapshot(),
        NamedSessionView::new("jam-1".into(), 1_795_168_300_000, 1),
    );
    let joined = ServerFrame::SessionJoined {
        participant_id: "6f9619ff-8b86-4011-b42d-00c04fc964ff".into(),
        resume_token: "6f9619ff8b864011b42d00c04fc964ff.00112233445566778899aabbccddeeff".into(),
        session: &session,
        group: &group,
        strap: Some("strap 7"),
        role: StageRole::Follower,
        server_time: 1_795_168_306_123,
    };
    let cases = [
        (
            joined,
            Some(json!("j1")),
            format!(
                r#"{{"type":"session_joined","participantId":"6f9619ff-8b86-4011-b42d-00c04fc964ff","resumeToken":"6f9619ff8b864011b42d00c04fc964ff.00112233445566778899aabbccddeeff","session":{SESSION},"group":{{{GROUP}}},"strap":"strap 7","role":"follower","serverTime":1795168306123,"re":"j1"}}"#
            ),
        ),
        (
            ServerFrame::PersonalFeedback(&feedback),
            Some(json!(7)),
            r#"{"type":"personal_feedback","at":1795168305000,"score":57.25,"standardError":7.5,"level":"medium","trend":{"perMin":1.5,"standardError":0.75},"baseline":48.5,"contribution":0.3,"quality":{"coverage":0.98,"artefactPct":1.5,"ageMs":640},"reason":null,"heartRate":64.0,"breathsPerMin":6.09375,"hrv":{"sdnnMs":70.5,"rmssdMs":45.25,"pnn50Pct":20.0,"lfMs2":2000.5,"hfMs2":300.25,"lfHf":6.5,"totalMs2":2500.0},"proof":{"lastRrAt":1795168304360,"windowStartAt":1795168240360,"windowEndAt":1795168304360,"beats":68,"algorithm":1,"settings":"0123456789abcdef"},"origin":"strap","strap":"strap 7","re":7}"#.into(),
        ),
        (
            ServerFrame::AuthOk { role: Role::Facilitator, token: Some("f1.00".into()), expires_at: Some(1) },
            None,
            r#"{"type":"auth_ok","role":"facilitator","token":"f1.00","expiresAt":1}"#.into(),
        ),
        (
            ServerFrame::AuthOk { role: Role::Participant, token: None, expires_at: None },
            None,
            r#"{"type":"auth_ok","role":"participant","expiresAt":null}"#.into(),
        ),
        (
            ServerFrame::HeartFound(&HeartFoundView {
                candidates: vec![CandidateView { label: "strap 7".into(), fit: Fit::FitsWell, certainty: 0.99 }],
                proposal: Some("strap 7".into()),
                left_ms: None,
            }),
            Some(json!(3)),
            r#"{"type":"heart_found","candidates":[{"label":"strap 7","fit":"fits_well","certainty":0.99}],"proposal":"strap 7","re":3}"#.into(),
        ),
        (
            ServerFrame::HeartFound(&HeartFoundView {
                candidates: vec![CandidateView { label: "strap 2".into(), fit: Fit::FitsALittle, certainty: 0.5 }],
                proposal: None,
                left_ms: Some(7_500),
            }),
            None,
            r#"{"type":"heart_found","candidates":[{"label":"strap 2","fit":"fits_a_little","certainty":0.5}],"proposal":null,"leftMs":7500}"#.into(),
        ),
        (
            ServerFrame::StrapClaimed { strap: "strap 7" },
            None,
            r#"{"type":"strap_claimed","strap":"strap 7"}"#.into(),
        ),
        (ServerFrame::StrapReleased {}, None, r#"{"type":"strap_released"}"#.into()),
        (ServerFrame::SessionLeft {}, Some(json!(1.5)), r#"{"type":"session_left","re":1.5}"#.into()),
        (
            ServerFrame::HeartbeatResponse { server_time: 1_795_168_306_123 },
            None,
            r#"{"type":"heartbeat_response","serverTime":1795168306123}"#.into(),
        ),
        (
            ServerFrame::SyncResponse {
                client_time: serde_json::from_str("1234.5").unwrap(),
                received_at: 1_795_168_306_123,
                sent_at: 1_795_168_306_124,
                anchor: snapshot().anchor,
            },
            None,
            r#"{"type":"sync_response","clientTime":1234.5,"receivedAt":1795168306123,"sentAt":1795168306124,"anchor":{"state":"playing","positionMs":20000.5,"rate":1.25,"at":1795168300000,"version":12}}"#.into(),
        ),
        (
            ServerFrame::NamedJoined {
                participant_id: "6f9619ff-8b86-4011-b42d-00c04fc964ff".into(),
                resume_token: "6f96.0011".into(),
                session: &named,
                group: None,
                strap: None,
                role: StageRole::Leader,
                server_time: 1_795_168_306_123,
            },
            None,
            r#"{"type":"session_joined","participantId":"6f9619ff-8b86-4011-b42d-00c04fc964ff","resumeToken":"6f96.0011","session":{"id":"jam-1","startsAt":1795168300000,"endsAt":null,"phase":null,"phaseEndsAt":null,"participants":1,"scored":0},"group":null,"strap":null,"role":"leader","serverTime":1795168306123}"#.into(),
        ),
        (
            ServerFrame::Snapshot(&stage),
            Some(json!(9)),
            format!(r#"{{"type":"snapshot",{SNAPSHOT},"re":9}}"#),
        ),
        (
            ServerFrame::ScrollTick { at: 1_795_168_306_123, position_ms: 27_654.125, version: 12 },
            None,
            r#"{"type":"scroll_tick","at":1795168306123,"positionMs":27654.125,"version":12}"#.into(),
        ),
        (
            ServerFrame::Error {
                code: "bad_value",
                message: "`rr[0]` must be a number.",
                field: Some("rr[0]"),
                retry_after_ms: None,
            },
            Some(json!("x")),
            r#"{"type":"error","code":"bad_value","message":"`rr[0]` must be a number.","field":"rr[0]","re":"x"}"#.into(),
        ),
        (
            ServerFrame::Error {
                code: "pin_locked",
                message: "Too many wrong PINs.",
                field: None,
                retry_after_ms: Some(30_000),
            },
            None,
            r#"{"type":"error","code":"pin_locked","message":"Too many wrong PINs.","retryAfterMs":30000}"#.into(),
        ),
        (
            ServerFrame::RateLimitExceeded { retry_after_ms: 420 },
            None,
            r#"{"type":"rate_limit_exceeded","retryAfterMs":420}"#.into(),
        ),
    ];
    for (frame, re, expected) in cases {
        assert_eq!(written(&frame, re), expected);
    }
}

#[test]
fn a_score_that_is_not_there_yet_is_written_with_its_reason() {
    let warming = FeedbackView {
        score: None,
        standard_error: None,
        level: None,
        early: Some(EarlyView {
            score: 41.5,
            standard_error: 16.25,
        }),
        trend: None,
        baseline: None,
        contribution: None,
        quality: Quality {
            coverage: 0.3,
            artefact_pct: None,
            age_ms: None,
        },
        reason: Some("warming_up"),
        left_ms: Some(42_000),
        heart_rate: None,
        breaths_per_min: None,
        hrv: None,
        proof: None,
        origin: None,
        strap: None,
        ..feedback()
    };
    let expected = r#"{"type":"personal_feedback","at":1795168305000,"score":null,"standardError":null,"level":null,"early":{"score":41.5,"standardError":16.25},"trend":null,"baseline":null,"contribution":null,"quality":{"coverage":0.3,"artefactPct":null,"ageMs":null},"reason":"warming_up","leftMs":42000,"heartRate":null,"breathsPerMin":null,"hrv":null,"proof":null,"origin":null,"strap":null}"#;
    assert_eq!(
        written(&ServerFrame::PersonalFeedback(&warming), None),
        expected
    );
}

#[test]
fn frames_of_phones_are_read_so() {
    let read = |text: &str| wire::read(text).frame.expect(text);

    assert_eq!(
        read(r#"{"type":"auth","pin":"042137"}"#),
        ClientFrame::AuthPin("042137".into())
    );
    assert_eq!(
        read(r#"{"type":"auth","token":"a.b"}"#),
        ClientFrame::AuthToken("a.b".into())
    );
    assert_eq!(
        read(r#"{"type":"leave_session"}"#),
        ClientFrame::LeaveSession
    );
    let taps: Vec<f64> = (0..8)
        .map(|n| 1_795_168_305_000.5 + 800.0 * f64::from(n))
        .collect();
    let tapped = json!({"type": "find_my_heart", "method": "tap", "taps": taps});
    assert_eq!(
        read(&tapped.to_string()),
        ClientFrame::FindMyHeart(HeartFields::Tap { taps })
    );
    for (method, sign) in [("lift", HeartFields::Lift), ("hold", HeartFields::Hold)] {
        let asked = json!({"type": "find_my_heart", "method": method});
        assert_eq!(read(&asked.to_string()), ClientFrame::FindMyHeart(sign));
    }
    for strap in ["7", "\"7\""] {
        assert_eq!(
            read(&format!(r#"{{"type":"claim_strap","strap":{strap}}}"#)),
            ClientFrame::ClaimStrap(ClaimFields { strap: "7".into() })
        );
    }
    assert_eq!(
        read(r#"{"type":"release_strap"}"#),
        ClientFrame::ReleaseStrap
    );
    assert_eq!(read(r#"{"type":"heartbeat"}"#), ClientFrame::Heartbeat);
    assert_eq!(
        read(r#"{"type":"sync_request","clientTime":1234.5}"#),
        ClientFrame::SyncRequest {
            client_time: serde_json::from_str("1234.5").unwrap()
        }
    );

    let full = r#"{"type":"join_session","sessionId":"20261120T0945Z","name":" Noor ","intention":"Calm","strap":7,"role":"follower","roomCode":"abc","consent":{"textVersion":"en-3","scopes":["store","research"]},"resumeToken":"a.b","id":"j1"}"#;
    let ClientFrame::JoinSession(join) = read(full) else {
        panic!("a join")
    };
    assert_eq!(
        serde_json::to_value(&join).unwrap(),
        json!({
            "sessionId": "20261120T0945Z",
            "name": "Noor",
            "intention": "Calm",
            "strap": "7",
            "role": "follower",
            "consent": {"textVersion": "en-3", "scopes": ["store", "research"]},
            "resumeToken": "a.b",
            "roomCode": "abc",
        })
    );
    let ClientFrame::JoinSession(join) = read(r#"{"type":"join_session"}"#) else {
        panic!("a join")
    };
    assert_eq!(join, Default::default());

    let wish = |wish| ClientFrame::Stage(wish);
    for (text, frame) in [
        (
            r#"{"type":"set_role","role":"leader"}"#,
            ClientFrame::SetRole(StageRole::Leader),
        ),
        (
            r#"{"type":"set_tempo","tempo":5.5}"#,
            wish(StageWish::Tempo(5.5)),
        ),
        (r#"{"type":"play"}"#, wish(StageWish::Play)),
        (r#"{"type":"pause"}"#, wish(StageWish::Pause(Scene::Stage))),
        (
            r#"{"type":"pause","scene":"rest"}"#,
            wish(StageWish::Pause(Scene::Rest)),
        ),
        (
            r#"{"type":"seek","positionMs":12000.5}"#,
            wish(StageWish::Seek(12_000.5)),
        ),
        (
            r#"{"type":"update_message","message":" Rest. "}"#,
            wish(StageWish::Message(Some("Rest.".into()))),
        ),
        (
            r#"{"type":"update_message","message":""}"#,
            wish(StageWish::Message(None)),
        ),
        (
            r#"{"type":"update_message","message":null}"#,
            wish(StageWish::Message(None)),
        ),
        (
            r#"{"type":"subscribe_ticks"}"#,
            ClientFrame::SubscribeTicks { interval_ms: 16 },
        ),
        (
            r#"{"type":"subscribe_ticks","intervalMs":250}"#,
            ClientFrame::SubscribeTicks { interval_ms: 250 },
        ),
        (
            r#"{"type":"unsubscribe_ticks"}"#,
            ClientFrame::UnsubscribeTicks,
        ),
    ] {
        assert_eq!(read(text), frame, "{text}");
    }

    let ClientFrame::UpdateRr(rr) =
        read(r#"{"type":"update_coherence","rr":[812,809.5],"timestamp":1795168305999.7}"#)
    else {
        panic!("beats")
    };
    assert_eq!(
        (rr.rr, rr.timestamp),
        (vec![812.0, 809.5], Some(1_795_168_305_999))
    );
    let ClientFrame::UpdateCoherence(score) =
        read(r#"{"type":"update_coherence","coherence":61.5}"#)
    else {
        panic!("a score")
    };
    assert_eq!(score.coherence, 61.5);
}

#[test]
fn a_participant_is_named_by_a_hyphenated_uuid() {
    let id = "6f9619ff-8b86-4011-b42d-00c04fc964ff";
    assert_eq!(ParticipantId(id.parse().unwrap()).to_string(), id);
}
