//! What a score can be held to: the definition by which it was made and the stretch that it looked at.
//! Not here: the definition itself, which is `signal`'s, and how a proof is kept or told.

use std::fmt::{self, Write as _};
use std::sync::OnceLock;

use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::signal::{Version, WINDOW_MS};

/// Names the constants of a version of the score's definition: the first 64 bits of the SHA-256 of
/// their text ([`Version::settings`]), as 16 hexadecimal digits. Two scores of the same version and the
/// same settings were made in the same way; a program whose constants differ has another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SettingsHash(u64);

impl SettingsHash {
    /// Computed once for each version.
    pub fn of(version: Version) -> Self {
        static HASHES: OnceLock<[SettingsHash; Version::ALL.len()]> = OnceLock::new();
        let hashes =
            HASHES.get_or_init(|| Version::ALL.map(|version| Self::of_text(&version.settings())));
        let place = Version::ALL.iter().position(|other| *other == version);
        hashes[place.expect("every version is among all versions")]
    }

    fn of_text(text: &str) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        let first = digest.iter().take(8);
        SettingsHash(first.fold(0, |bits, byte| bits << 8 | u64::from(*byte)))
    }

    /// Reads the 16 digits.
    pub fn read(text: &str) -> Option<Self> {
        let digits = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        let fits = text.len() == 16 && text.bytes().all(digits);
        let bits = u64::from_str_radix(text, 16).ok().filter(|_| fits)?;
        Some(SettingsHash(bits))
    }
}

impl fmt::Display for SettingsHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for SettingsHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut digits = String::with_capacity(16);
        write!(digits, "{self}").expect("a String takes everything");
        serializer.serialize_str(&digits)
    }
}

/// The stretch of a heart's beats that was looked at, on the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// [`WINDOW_MS`] before the end, by the chain of intervals.
    pub start_mono_ms: f64,
    /// End of the last interval that went into it.
    pub end_mono_ms: f64,
}

impl Window {
    pub fn ending_at(end_mono_ms: f64) -> Self {
        Window {
            start_mono_ms: end_mono_ms - WINDOW_MS,
            end_mono_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_have_the_hash_that_stands_in_every_database() {
        for (version, frozen) in [
            (Version::One, "cc1f3089418c99f0"),
            (Version::Two, "35b9c3455ea02e8c"),
        ] {
            assert_eq!(SettingsHash::of(version).to_string(), frozen);
        }
    }

    #[test]
    fn the_settings_have_another_hash_when_any_of_them_is_another() {
        for version in Version::ALL {
            let text = version.settings();
            let mut seen = vec![SettingsHash::of_text(&text)];
            for line in text.lines() {
                let changed = text.replacen(line, &format!("{line}1"), 1);
                let hash = SettingsHash::of_text(&changed);
                assert!(!seen.contains(&hash), "{line}");
                seen.push(hash);
            }
        }
    }

    #[test]
    fn a_hash_is_sixteen_digits_and_reads_back() {
        let hash = SettingsHash::of_text("abc");
        // As `printf abc | sha256sum` says.
        assert_eq!(hash.to_string(), "ba7816bf8f01cfea");
        assert_eq!(SettingsHash::read("ba7816bf8f01cfea"), Some(hash));
        let small = SettingsHash(7);
        assert_eq!(SettingsHash::read(&small.to_string()), Some(small));
        for bad in [
            "",
            "ba7816bf8f01cfe",
            "BA7816BF8F01CFEA",
            "+a7816bf8f01cfea",
        ] {
            assert_eq!(SettingsHash::read(bad), None, "{bad}");
        }
    }
}
