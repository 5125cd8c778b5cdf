//! Who is asking: tokens that prove themselves without a disk, and the facilitator's PIN with its
//! lock-out. What somebody may do is decided where it is done; here it is only proved who they are.
//!
//! A token is a claim and 16 bytes of HMAC-SHA-256 over it under the hub's key, so that joining
//! writes nothing and a restart forgets nobody. Times are handed in.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;

use crate::room::ParticipantId;

/// How long a facilitator's token is good for.
pub const FACILITATOR_MS: i64 = 12 * HOUR_MS;

/// Wrong PINs from one address before it must wait.
const FREE_TRIES: u32 = 5;
/// The first wait; each further wrong try doubles it.
const FIRST_WAIT_MS: i64 = 30_000;
const LONGEST_WAIT_MS: i64 = 24 * HOUR_MS;
/// Wrong PINs from all addresses together in one hour: of a million PINs, a patient crowd gets
/// through 2400 a day.
const HOURLY_TRIES: u32 = 100;
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
}

/// The token by which a participant is known again: `<uuid simple>.<tag>`.
pub fn participant_token(hub_key: &[u8; 32], id: ParticipantId) -> String {
    let tag = tag(hub_key, b"participant", id.0.as_bytes());
    format!("{}.{}", id.0.simple(), hex(&tag))
}

/// A facilitator's token: `f<expiry, Unix ms>.<tag>`.
pub fn facilitator_token(hub_key: &[u8; 32], expires_at_ms: i64) -> String {
    let tag = tag(hub_key, b"facilitator", &expires_at_ms.to_be_bytes());
    format!("f{expires_at_ms}.{}", hex(&tag))
}

/// Whom this token names, if this hub gave it and it is still good.
pub fn read_token(hub_key: &[u8; 32], token: &str, now_ms: i64) -> Option<Who> {
    let (claim, tag) = token.split_once('.')?;
    let tag = unhex(tag)?;
    if let Some(expiry) = claim.strip_prefix('f')
        && let Ok(expires_at_ms) = expiry.parse::<i64>()
    {
        let mac = mac(hub_key, b"facilitator", &expires_at_ms.to_be_bytes());
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

/// Whether a PIN is the right one, in a time that does not tell how much of it was.
pub fn pin_is_right(hub_key: &[u8; 32], right: &str, given: &str) -> bool {
    let expected = tag(hub_key, b"pin", right.as_bytes());
    mac(hub_key, b"pin", given.as_bytes())
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

fn hex(bytes: &[u8]) -> String {
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

/// Why a PIN was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinRefusal {
    /// `tries_left` before this address must wait.
    Wrong { tries_left: u32 },
    /// Not even looked at.
    Locked { retry_after_ms: i64 },
}

/// Counts wrong PINs by address and over all, and makes those who guess wait.
#[derive(Debug, Default)]
pub struct PinGuard {
    by_address: HashMap<IpAddr, Tries>,
    hour_began_ms: i64,
    wrong_this_hour: u32,
}

#[derive(Debug)]
struct Tries {
    wrong: u32,
    last_ms: i64,
    locked_until_ms: i64,
}

impl PinGuard {
    /// Takes a try; `is_right` is asked only if this address may try now. `now_ms` is monotonic.
    pub fn try_pin(
        &mut self,
        peer: IpAddr,
        is_right: impl FnOnce() -> bool,
        now_ms: i64,
    ) -> Result<(), PinRefusal> {
        let peer = guessers_address(peer);
        if now_ms - self.hour_began_ms >= HOUR_MS {
            self.hour_began_ms = now_ms;
            self.wrong_this_hour = 0;
            // At most a hundred new addresses an hour, so this map stays small.
            self.by_address
                .retain(|_, tries| now_ms - tries.last_ms < LONGEST_WAIT_MS);
        }
        if self.wrong_this_hour >= HOURLY_TRIES {
            let retry_after_ms = self.hour_began_ms + HOUR_MS - now_ms;
            return Err(PinRefusal::Locked { retry_after_ms });
        }
        if let Some(tries) = self.by_address.get(&peer)
            && tries.locked_until_ms > now_ms
        {
            let retry_after_ms = tries.locked_until_ms - now_ms;
            return Err(PinRefusal::Locked { retry_after_ms });
        }
        if is_right() {
            self.by_address.remove(&peer);
            return Ok(());
        }
        self.wrong_this_hour += 1;
        let tries = self.by_address.entry(peer).or_insert(Tries {
            wrong: 0,
            last_ms: now_ms,
            locked_until_ms: now_ms,
        });
        tries.wrong += 1;
        tries.last_ms = now_ms;
        if tries.wrong < FREE_TRIES {
            let tries_left = FREE_TRIES - tries.wrong;
            return Err(PinRefusal::Wrong { tries_left });
        }
        let doublings = (tries.wrong - FREE_TRIES).min(20);
        let wait_ms = (FIRST_WAIT_MS << doublings).min(LONGEST_WAIT_MS);
        tries.locked_until_ms = now_ms + wait_ms;
        Err(PinRefusal::Locked {
            retry_after_ms: wait_ms,
        })
    }
}

/// One guesser has a whole /64 of IPv6 addresses, and an IPv4 address can be written as IPv6.
fn guessers_address(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(network))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];
    const NOW_MS: i64 = 1_795_165_200_000;

    fn somebody() -> ParticipantId {
        ParticipantId(Uuid::from_u128(0x0123_4567_89ab_4cde_8f01_2345_6789_abcd))
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 168, 1, last])
    }

    #[test]
    fn a_participants_token_names_the_participant() {
        let token = participant_token(&KEY, somebody());
        assert_eq!(token.len(), 65);
        assert!(token.starts_with("0123456789ab4cde8f0123456789abcd."));
        let who = read_token(&KEY, &token, NOW_MS);
        assert_eq!(who, Some(Who::Participant(somebody())));
    }

    #[test]
    fn a_facilitators_token_is_good_until_it_expires() {
        let expires_at_ms = NOW_MS + FACILITATOR_MS;
        let token = facilitator_token(&KEY, expires_at_ms);
        let who = Some(Who::Facilitator { expires_at_ms });
        assert_eq!(read_token(&KEY, &token, NOW_MS), who);
        assert_eq!(read_token(&KEY, &token, expires_at_ms - 1), who);
        assert_eq!(read_token(&KEY, &token, expires_at_ms), None);
    }

    #[test]
    fn what_was_changed_cut_or_given_by_another_hub_is_no_token() {
        let token = participant_token(&KEY, somebody());
        let facilitator = facilitator_token(&KEY, NOW_MS + 1000);
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
            facilitator_token(&[8; 32], NOW_MS + 1000),
        ];
        for token in wrong {
            assert_eq!(read_token(&KEY, &token, NOW_MS), None, "{token}");
        }
    }

    #[test]
    fn only_the_whole_pin_is_right() {
        assert!(pin_is_right(&KEY, "042137", "042137"));
        for given in ["042138", "04213", "0421370", ""] {
            assert!(!pin_is_right(&KEY, "042137", given));
        }
    }

    #[test]
    fn five_wrong_pins_lock_an_address_out_and_each_further_one_doubles_the_wait() {
        let mut guard = PinGuard::default();
        for tries_left in (1..5).rev() {
            let answer = guard.try_pin(address(1), || false, NOW_MS);
            assert_eq!(answer, Err(PinRefusal::Wrong { tries_left }));
        }
        let mut now_ms = NOW_MS;
        for wait_ms in [30_000, 60_000, 120_000, 240_000] {
            let locked = Err(PinRefusal::Locked {
                retry_after_ms: wait_ms,
            });
            assert_eq!(guard.try_pin(address(1), || false, now_ms), locked);
            // Not even the right one is looked at now.
            let asked = guard.try_pin(address(1), || unreachable!("locked"), now_ms);
            assert_eq!(asked, locked);
            now_ms += wait_ms;
        }
        // Others are not concerned.
        assert_eq!(guard.try_pin(address(2), || true, NOW_MS), Ok(()));
        // The right one ends it.
        assert_eq!(guard.try_pin(address(1), || true, now_ms), Ok(()));
        let fresh = guard.try_pin(address(1), || false, now_ms);
        assert_eq!(fresh, Err(PinRefusal::Wrong { tries_left: 4 }));
    }

    #[test]
    fn a_crowd_of_guessers_gets_a_hundred_tries_an_hour() {
        let mut guard = PinGuard::default();
        for n in 0..100 {
            let answer = guard.try_pin(address(n), || false, NOW_MS);
            assert!(matches!(answer, Err(PinRefusal::Wrong { .. })));
        }
        let later_ms = NOW_MS + 600_000;
        let locked = Err(PinRefusal::Locked {
            retry_after_ms: 3_000_000,
        });
        assert_eq!(guard.try_pin(address(200), || true, later_ms), locked);
        let next_hour = guard.try_pin(address(200), || true, NOW_MS + HOUR_MS);
        assert_eq!(next_hour, Ok(()));
    }

    #[test]
    fn a_guesser_can_not_change_address_within_a_network_or_its_spelling() {
        let mut guard = PinGuard::default();
        for n in 1..5 {
            let peer: IpAddr = format!("2001:db8::{n}").parse().unwrap();
            let _ = guard.try_pin(peer, || false, NOW_MS);
        }
        let last = guard.try_pin("2001:db8::ffff".parse().unwrap(), || false, NOW_MS);
        assert!(matches!(last, Err(PinRefusal::Locked { .. })));

        let _ = guard.try_pin(address(9), || false, NOW_MS);
        let mapped = "::ffff:192.168.1.9".parse().unwrap();
        let answer = guard.try_pin(mapped, || false, NOW_MS);
        assert_eq!(answer, Err(PinRefusal::Wrong { tries_left: 3 }));
    }
}
