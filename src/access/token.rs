//! Tokens that prove themselves without a disk: a participant's and a facilitator's.
//!
//! A token is a claim and 16 bytes of HMAC-SHA-256 over it under the hub's key, so that joining
//! writes nothing and a restart forgets nobody. Into a facilitator's goes the PIN as well: a new PIN
//! ends every token that was given for the old one.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;

use super::scoped::Scope;
use crate::room::ParticipantId;

/// How long a facilitator's token is good for.
pub const FACILITATOR_MS: i64 = 12 * HOUR_MS;

const HOUR_MS: i64 = 3_600_000;

/// Bytes of the HMAC that a token carries.
const TAG_BYTES: usize = 16;

/// Whom a token names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Participant(ParticipantId),
    /// `expires_at_ms`: hub time.
    Facilitator {
        expires_at_ms: i64,
    },
    /// A program, for one purpose.
    Scoped(Scope),
}

/// The token by which a participant is known again: `<uuid simple>.<tag>`.
pub fn participant_token(hub_key: &[u8; 32], id: ParticipantId) -> String {
    let tag = tag(hub_key, b"participant", id.0.as_bytes());
    format!("{}.{}", id.0.simple(), hex(&tag))
}

/// A facilitator's token: `f<expiry, Unix ms>.<tag>`; `pin` is the PIN that holds now.
pub fn facilitator_token(hub_key: &[u8; 32], pin: &str, expires_at_ms: i64) -> String {
    let tag = tag(
        hub_key,
        b"facilitator",
        &facilitator_claim(pin, expires_at_ms),
    );
    format!("f{expires_at_ms}.{}", hex(&tag))
}

fn facilitator_claim(pin: &str, expires_at_ms: i64) -> Vec<u8> {
    [&expires_at_ms.to_be_bytes(), pin.as_bytes()].concat()
}

/// Whom this token names, if this hub gave it and it is still good.
pub fn read_token(hub_key: &[u8; 32], pin: &str, token: &str, now_ms: i64) -> Option<Who> {
    let (claim, tag) = token.split_once('.')?;
    let tag = unhex(tag)?;
    if let Some(expiry) = claim.strip_prefix('f')
        && let Ok(expires_at_ms) = expiry.parse::<i64>()
    {
        let claim = facilitator_claim(pin, expires_at_ms);
        let mac = mac(hub_key, b"facilitator", &claim);
        mac.verify_truncated_left(&tag).ok()?;
        return (now_ms < expires_at_ms).then_some(Who::Facilitator { expires_at_ms });
    }
    // Other spellings of the same id are no token of ours.
    if claim.len() != 32 {
        return None;
    }
    let id = Uuid::try_parse(claim).ok()?;
    let mac = mac(hub_key, b"participant", id.as_bytes());
    mac.verify_truncated_left(&tag).ok()?;
    Some(Who::Participant(ParticipantId(id)))
}

/// Whether a PIN or a room code is the right one, in a time that does not tell how much of it was.
pub fn same_secret(hub_key: &[u8; 32], right: &str, given: &str) -> bool {
    let expected = tag(hub_key, b"secret", right.as_bytes());
    mac(hub_key, b"secret", given.as_bytes())
        .verify_truncated_left(&expected)
        .is_ok()
}

fn mac(hub_key: &[u8; 32], kind: &[u8], claim: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::new_from_slice(hub_key).expect("HMAC takes keys of any length");
    mac.update(kind);
    mac.update(claim);
    mac
}

fn tag(hub_key: &[u8; 32], kind: &[u8], claim: &[u8]) -> [u8; TAG_BYTES] {
    let whole = mac(hub_key, kind, claim).finalize().into_bytes();
    let mut tag = [0; TAG_BYTES];
    tag.copy_from_slice(&whole[..TAG_BYTES]);
    tag
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Exactly one tag in lower-case hex: a token has one spelling.
fn unhex(text: &str) -> Option<[u8; TAG_BYTES]> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    if text.len() != 2 * TAG_BYTES {
        return None;
    }
    let mut tag = [0; TAG_BYTES];
    for (byte, pair) in tag.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];
    const PIN: &str = "042137";
    const NOW_MS: i64 = 1_795_165_200_000;

    fn somebody() -> ParticipantId {
        ParticipantId(Uuid::from_u128(0x0123_4567_89ab_4cde_8f01_2345_6789_abcd))
    }

    #[test]
    fn a_participants_token_names_the_participant() {
        let token = participant_token(&KEY, somebody());
        assert_eq!(token.len(), 65);
        assert!(token.starts_with("0123456789ab4cde8f0123456789abcd."));
        let who = read_token(&KEY, PIN, &token, NOW_MS);
        assert_eq!(who, Some(Who::Participant(somebody())));
    }

    #[test]
    fn a_facilitators_token_is_good_until_it_expires() {
        let expires_at_ms = NOW_MS + FACILITATOR_MS;
        let token = facilitator_token(&KEY, PIN, expires_at_ms);
        let who = Some(Who::Facilitator { expires_at_ms });
        assert_eq!(read_token(&KEY, PIN, &token, NOW_MS), who);
        assert_eq!(read_token(&KEY, PIN, &token, expires_at_ms - 1), who);
        assert_eq!(read_token(&KEY, PIN, &token, expires_at_ms), None);
    }

    #[test]
    fn a_new_pin_ends_the_facilitators_tokens_and_nobody_elses() {
        let facilitator = facilitator_token(&KEY, PIN, NOW_MS + FACILITATOR_MS);
        assert!(read_token(&KEY, PIN, &facilitator, NOW_MS).is_some());
        assert_eq!(read_token(&KEY, "042138", &facilitator, NOW_MS), None);
        let participant = participant_token(&KEY, somebody());
        assert!(read_token(&KEY, "042138", &participant, NOW_MS).is_some());
    }

    #[test]
    fn what_was_changed_cut_or_given_by_another_hub_is_no_token() {
        let token = participant_token(&KEY, somebody());
        let facilitator = facilitator_token(&KEY, PIN, NOW_MS + 1000);
        let longer = facilitator.replacen(&format!("{}", NOW_MS + 1000), "9999999999999", 1);
        let (id, tag) = token.split_once('.').unwrap();
        let wrong = [
            String::new(),
            ".".into(),
            "f.".into(),
            id.into(),
            format!("{id}."),
            format!("{id}.{}", &tag[..30]),
            format!("{id}.{tag}00"),
            format!("{id}.{}", tag.to_uppercase() + "A"),
            format!("{id}.{}", "0".repeat(32)),
            format!("{}.{tag}", Uuid::from_u128(1).simple()),
            format!("{}.{tag}", somebody().0.hyphenated()),
            format!("ü{token}"),
            longer,
            participant_token(&[8; 32], somebody()),
            facilitator_token(&[8; 32], PIN, NOW_MS + 1000),
        ];
        for token in wrong {
            assert_eq!(read_token(&KEY, PIN, &token, NOW_MS), None, "{token}");
        }
    }

    #[test]
    fn only_the_whole_same_secret() {
        assert!(same_secret(&KEY, "042137", "042137"));
        for given in ["042138", "04213", "0421370", ""] {
            assert!(!same_secret(&KEY, "042137", given));
        }
    }
}
