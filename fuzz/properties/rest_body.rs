//! The body of a REST request, through every reader of bodies there is. A body and a frame with the
//! same fields are taken, or refused in the same words.

use axum::Json;
use axum::http::StatusCode;
use coherence_hub::web::fields::{
    ClaimFields, CoherenceFields, ConsentFields, HeartFields, JoinFields, RrFields,
};
use coherence_hub::web::wire::{self, Asked, ClientFrame};
use serde::Serialize;
use serde_json::{Map, Value};

use super::fields;

type Fields = Map<String, Value>;

pub fn holds(data: &[u8]) {
    let body = match Json::<Fields>::from_bytes(data) {
        Ok(Json(body)) => body,
        Err(rejection) => {
            let statuses = [StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY];
            assert!(statuses.contains(&rejection.status()), "{rejection}");
            // By this the layer that rewrites rejections knows what it is.
            let text = rejection.body_text();
            assert!(
                text.contains("JSON") || text.contains("invalid type: "),
                "{text}"
            );
            return;
        }
    };

    let join = JoinFields::read(&body);
    assert_eq!(
        as_frame(&body, "join_session").frame,
        join.clone().map(ClientFrame::JoinSession)
    );
    match join {
        Ok(join) => {
            fields::join(&join);
            assert_eq!(JoinFields::read(&again(&join)).as_ref(), Ok(&join));
        }
        Err(no) => fields::refused(no.code.word(), &no.detail, no.field.as_deref()),
    }

    match ConsentFields::read(&body, "") {
        Ok(consent) => {
            fields::consent(&consent);
            assert_eq!(
                ConsentFields::read(&again(&consent), "").as_ref(),
                Ok(&consent)
            );
        }
        Err(no) => fields::refused(no.code.word(), &no.detail, no.field.as_deref()),
    }

    let has = |name: &str| body.get(name).is_some_and(|value| !value.is_null());
    let rr = RrFields::read(&body);
    if has("rr") && !has("coherence") {
        assert_eq!(
            as_frame(&body, "update_coherence").frame,
            rr.clone().map(ClientFrame::UpdateRr)
        );
    }
    match rr {
        Ok(rr) => {
            fields::rr(&rr);
            assert_eq!(RrFields::read(&again(&rr)).as_ref(), Ok(&rr));
        }
        Err(no) => fields::refused(no.code.word(), &no.detail, no.field.as_deref()),
    }

    let sign = HeartFields::read(&body);
    assert_eq!(
        as_frame(&body, "find_my_heart").frame,
        sign.clone().map(ClientFrame::FindMyHeart)
    );
    match sign {
        Ok(sign) => {
            fields::heart(&sign);
            assert_eq!(HeartFields::read(&again(&sign)).as_ref(), Ok(&sign));
        }
        Err(no) => fields::refused(no.code.word(), &no.detail, no.field.as_deref()),
    }

    let claim = ClaimFields::read(&body);
    assert_eq!(
        as_frame(&body, "claim_strap").frame,
        claim.clone().map(ClientFrame::ClaimStrap)
    );
    match claim {
        Ok(claim) => {
            fields::text(Some(&claim.strap), 64);
            assert_eq!(ClaimFields::read(&again(&claim)).as_ref(), Ok(&claim));
        }
        Err(no) => fields::refused(no.code.word(), &no.detail, no.field.as_deref()),
    }

    let score = CoherenceFields::read(&body);
    if has("coherence") && !has("rr") {
        let score = score.clone().map(ClientFrame::UpdateCoherence);
        assert_eq!(as_frame(&body, "update_coherence").frame, score);
    }
    match score {
        Ok(score) => {
            fields::coherence(&score);
            assert_eq!(CoherenceFields::read(&again(&score)).as_ref(), Ok(&score));
        }
        Err(no) => fields::refused(no.code.word(), &no.detail, no.field.as_deref()),
    }
}

/// The same fields, sent over the socket.
fn as_frame(body: &Fields, kind: &str) -> Asked {
    let mut frame = body.clone();
    frame.insert("type".into(), kind.into());
    frame.remove("id");
    wire::read(&Value::Object(frame).to_string())
}

/// What was read, written and read as JSON once more.
fn again(read: &impl Serialize) -> Fields {
    let text = serde_json::to_string(read).expect("fields are JSON");
    serde_json::from_str(&text).expect("fields are an object")
}
