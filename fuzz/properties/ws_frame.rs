//! A text frame of a phone, and the frame that answers it.

use coherence_hub::room::stage_view::AnchorView;
use coherence_hub::room::{Role, Scene, StageWish, State};
use coherence_hub::web::wire::{self, Asked, ClientFrame, FRAME_BYTES_MAX, ServerFrame};
use serde_json::{Value, json};

use super::fields;

pub fn holds(data: &[u8]) {
    // Longer frames and other bytes end the socket before anybody reads them.
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    if text.len() > FRAME_BYTES_MAX {
        return;
    }
    let asked = wire::read(text);
    match &asked.re {
        None | Some(Value::Number(_)) => {}
        Some(Value::String(id)) => assert!(id.chars().count() <= 64, "{id:?}"),
        Some(other) => panic!("an id of another kind: {other}"),
    }
    match &asked.frame {
        Ok(frame) => {
            bounds(frame);
            let again = as_sent(frame, asked.re.as_ref()).to_string();
            assert_eq!(wire::read(&again), asked, "said again as {again}");
            if let ClientFrame::SyncRequest { client_time } = frame {
                let anchor = AnchorView {
                    state: State::Playing,
                    position_ms: 0.5,
                    rate: 1.0,
                    at: 3,
                    version: 4,
                };
                let answer = ServerFrame::SyncResponse {
                    client_time: client_time.clone(),
                    received_at: 1,
                    sent_at: 2,
                    anchor,
                };
                let answer = answered(&answer, &asked);
                assert_eq!(answer["clientTime"], Value::from(client_time.clone()));
            }
        }
        Err(problem) => {
            fields::refused(
                problem.code.word(),
                &problem.detail,
                problem.field.as_deref(),
            );
            let answer = answered(&ServerFrame::from(problem), &asked);
            assert_eq!(answer["type"], "error");
            assert_eq!(answer["code"], problem.code.word());
            assert_eq!(answer["message"], problem.detail);
        }
    }
}

/// The answer as the phone reads it: small, JSON, and with the `id` as it came.
fn answered(answer: &ServerFrame<'_>, asked: &Asked) -> Value {
    let bytes = answer.write(asked.re.as_ref());
    assert!(bytes.len() <= FRAME_BYTES_MAX);
    let answer: Value = serde_json::from_slice(&bytes).expect("answers are JSON");
    assert_eq!(answer.get("re"), asked.re.as_ref());
    answer
}

fn bounds(frame: &ClientFrame) {
    match frame {
        ClientFrame::AuthToken(token) => fields::text(Some(token), 128),
        ClientFrame::AuthPin(pin) => {
            assert!(
                pin.len() == 6 && pin.bytes().all(|c| c.is_ascii_digit()),
                "{pin:?}"
            );
        }
        ClientFrame::JoinSession(join) => fields::join(join),
        ClientFrame::UpdateRr(rr) => fields::rr(rr),
        ClientFrame::UpdateCoherence(score) => fields::coherence(score),
        ClientFrame::Stage(StageWish::Tempo(tempo)) => assert!(tempo.is_finite()),
        ClientFrame::Stage(StageWish::Seek(position_ms)) => {
            assert!((0.0..=9_007_199_254_740_991.0).contains(position_ms));
        }
        ClientFrame::Stage(StageWish::Message(message)) => fields::text(message.as_ref(), 500),
        ClientFrame::SubscribeTicks { interval_ms } => {
            assert!((16..=60_000).contains(interval_ms));
        }
        ClientFrame::FindMyHeart(sign) => fields::heart(sign),
        ClientFrame::ClaimStrap(claim) => fields::text(Some(&claim.strap), 64),
        ClientFrame::LeaveSession
        | ClientFrame::ReleaseStrap
        | ClientFrame::Heartbeat
        | ClientFrame::SyncRequest { .. }
        | ClientFrame::SetRole(_)
        | ClientFrame::Stage(StageWish::Play | StageWish::Pause(_))
        | ClientFrame::UnsubscribeTicks => {}
    }
}

/// The frame as a tidy phone would have sent it.
fn as_sent(frame: &ClientFrame, id: Option<&Value>) -> Value {
    let (kind, mut sent) = match frame {
        ClientFrame::AuthToken(token) => ("auth", json!({"token": token})),
        ClientFrame::AuthPin(pin) => ("auth", json!({"pin": pin})),
        ClientFrame::JoinSession(join) => ("join_session", json!(join)),
        ClientFrame::UpdateRr(rr) => ("update_coherence", json!(rr)),
        ClientFrame::UpdateCoherence(score) => ("update_coherence", json!(score)),
        ClientFrame::LeaveSession => ("leave_session", json!({})),
        ClientFrame::FindMyHeart(sign) => ("find_my_heart", json!(sign)),
        ClientFrame::ClaimStrap(claim) => ("claim_strap", json!(claim)),
        ClientFrame::ReleaseStrap => ("release_strap", json!({})),
        ClientFrame::Heartbeat => ("heartbeat", json!({})),
        ClientFrame::SyncRequest { client_time } => {
            ("sync_request", json!({"clientTime": client_time}))
        }
        ClientFrame::SetRole(Role::Leader) => ("set_role", json!({"role": "leader"})),
        ClientFrame::SetRole(Role::Follower) => ("set_role", json!({"role": "follower"})),
        ClientFrame::Stage(StageWish::Tempo(tempo)) => ("set_tempo", json!({"tempo": tempo})),
        ClientFrame::Stage(StageWish::Play) => ("play", json!({})),
        ClientFrame::Stage(StageWish::Pause(Scene::Stage)) => ("pause", json!({})),
        ClientFrame::Stage(StageWish::Pause(Scene::Rest)) => ("pause", json!({"scene": "rest"})),
        ClientFrame::Stage(StageWish::Seek(at)) => ("seek", json!({"positionMs": at})),
        ClientFrame::Stage(StageWish::Message(message)) => {
            ("update_message", json!({"message": message}))
        }
        ClientFrame::SubscribeTicks { interval_ms } => {
            ("subscribe_ticks", json!({"intervalMs": interval_ms}))
        }
        ClientFrame::UnsubscribeTicks => ("unsubscribe_ticks", json!({})),
    };
    sent["type"] = kind.into();
    sent["id"] = id.cloned().into();
    sent
}
