//! Who somebody is outside of this building: a keyed hash of their participant id, one for each study.
//! The key never leaves the facility; without it neither the id nor the same person in another study
//! can be found.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::room::ParticipantId;

/// Characters of a pseudonym: 130 bits.
const LENGTH: usize = 26;

/// The facility's secret. Hubs that share it give one person the same pseudonym.
#[derive(Clone, PartialEq, Eq)]
pub struct FacilityKey(pub [u8; 32]);

/// Nothing of it gets into a log.
impl fmt::Debug for FacilityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FacilityKey(…)")
    }
}

/// Makes the pseudonyms of one study.
#[derive(Clone, PartialEq, Eq)]
pub struct Pseudonymiser {
    /// HMAC-SHA-256 of the study's name under the facility's key.
    study_key: [u8; 32],
}

/// Nothing of it gets into a log.
impl fmt::Debug for Pseudonymiser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pseudonymiser(…)")
    }
}

impl Pseudonymiser {
    pub fn new(key: &FacilityKey, study: &str) -> Self {
        Pseudonymiser {
            study_key: mac(&key.0, &[b"study/", study.as_bytes()]),
        }
    }

    pub fn pseudonym(&self, participant: ParticipantId) -> Pseudonym {
        let tag = mac(&self.study_key, &[participant.0.as_bytes()]);
        let mut text = BASE32_NOPAD.encode(&tag);
        text.truncate(LENGTH);
        text.make_ascii_lowercase();
        Pseudonym(text)
    }
}

fn mac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// A person as the centre knows them: 26 characters of lower-case base32.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String")]
pub struct Pseudonym(#[cfg_attr(test, schemars(regex(pattern = r"^[a-z2-7]{26}$")))] String);

impl Pseudonym {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text has not the shape of a pseudonym.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pseudonym is {LENGTH} characters of a-z and 2-7")]
pub struct NotAPseudonym;

/// For what was written down before: a pseudonym is made by a [`Pseudonymiser`] only.
impl TryFrom<String> for Pseudonym {
    type Error = NotAPseudonym;

    fn try_from(text: String) -> Result<Self, NotAPseudonym> {
        let fits = |b: u8| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b);
        if text.len() == LENGTH && text.bytes().all(fits) {
            Ok(Pseudonym(text))
        } else {
            Err(NotAPseudonym)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn key(byte: u8) -> FacilityKey {
        FacilityKey([byte; 32])
    }

    fn person(n: u128) -> ParticipantId {
        ParticipantId(Uuid::from_u128(n))
    }

    #[test]
    fn no_key_shows_itself() {
        let shown = format!("{:?} {:?}", key(7), Pseudonymiser::new(&key(7), "s"));
        assert_eq!(shown, "FacilityKey(…) Pseudonymiser(…)");
    }

    #[test]
    fn only_the_shape_of_a_pseudonym_is_read_as_one() {
        let good = "abcdefghijklmnopqrstuvwxyz";
        assert_eq!(
            serde_json::from_str::<Pseudonym>(&format!("{good:?}"))
                .unwrap()
                .as_str(),
            good
        );
        for bad in [
            "",
            "abcdefghijklmnopqrstuvwxy",
            "abcdefghijklmnopqrstuvwxyz2",
            "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
            "abcdefghijklmnopqrstuvwxy1",
            "abcdefghijklmnopqrstuvwx é",
        ] {
            assert!(
                serde_json::from_str::<Pseudonym>(&format!("{bad:?}")).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn another_study_another_key_or_another_person_is_another_pseudonym() {
        let of = |byte, study, n| Pseudonymiser::new(&key(byte), study).pseudonym(person(n));
        let one = of(1, "a", 1);
        assert_eq!(one, of(1, "a", 1));
        for other in [of(2, "a", 1), of(1, "b", 1), of(1, "a", 2)] {
            assert_ne!(one, other);
        }
    }
}
