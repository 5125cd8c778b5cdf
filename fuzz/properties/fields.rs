//! The bounds of what phones may ask, held against what was let in. They are written down here once
//! more, from the description of the product: a check that called the code it checks would agree
//! with anything.

use coherence_hub::web::fields::{
    CoherenceFields, ConsentFields, HeartFields, JoinFields, RrFields,
};

/// Text that was let in: trimmed, not empty, without control characters.
pub fn text(text: Option<&String>, chars_max: usize) {
    let Some(text) = text else { return };
    assert!((1..=chars_max).contains(&text.chars().count()), "{text:?}");
    assert_eq!(text.trim(), text);
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

pub fn join(join: &JoinFields) {
    text(join.session_id.as_ref(), 64);
    text(join.name.as_ref(), 64);
    text(join.intention.as_ref(), 200);
    text(join.strap.as_ref(), 64);
    text(join.resume_token.as_ref(), 128);
    text(join.room_code.as_ref(), 64);
    if let Some(id) = &join.session_id {
        assert!(
            id.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-'),
            "{id:?}"
        );
    }
    if let Some(agreed) = &join.consent {
        consent(agreed);
    }
}

pub fn consent(agreed: &ConsentFields) {
    text(Some(&agreed.text_version), 64);
    assert!(agreed.scopes.len() <= 16);
    assert!(agreed.scopes.iter().all(|scope| scope.len() <= 64));
}

pub fn rr(beats: &RrFields) {
    assert!((1..=256).contains(&beats.rr.len()));
    // NaN is above nothing.
    assert!(
        beats
            .rr
            .iter()
            .all(|&rr_ms| rr_ms > 0.0 && rr_ms <= 65_535.0),
        "{beats:?}"
    );
    assert!(
        beats
            .timestamp
            .is_none_or(|at_ms| (0..1 << 53).contains(&at_ms)),
        "{beats:?}"
    );
}

pub fn coherence(score: &CoherenceFields) {
    assert!(
        score.coherence >= 0.0 && score.coherence <= 100.0,
        "{score:?}"
    );
}

pub fn heart(sign: &HeartFields) {
    let HeartFields::Tap { taps } = sign else {
        return;
    };
    assert!((8..=48).contains(&taps.len()));
    let sane = |at_ms: &f64| (0.0..=9_007_199_254_740_991.0).contains(at_ms);
    assert!(taps.iter().all(sane), "{taps:?}");
}

/// A refusal that can be shown: a code, and a sentence of one line.
pub fn refused(code: &str, detail: &str, field: Option<&str>) {
    assert!(
        ["bad_json", "bad_value", "unknown_type"].contains(&code),
        "{code}"
    );
    assert!(
        detail.ends_with('.') && detail.chars().count() <= 500,
        "{detail:?}"
    );
    assert!(!detail.chars().any(char::is_control), "{detail:?}");
    assert_eq!(field.is_some(), code == "bad_value");
}
