//! Tokens for programs: each opens one thing, has a name by which it is taken back, and ends by
//! itself. The hub keeps only the SHA-256 of the text; the text is 256 random bits, so nobody gets
//! from the one to the other.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::token::hex;

/// By this a token is recognised wherever it lies around.
pub const PREFIX: &str = "chub_";

/// How long a token may be good for.
pub const DAYS_MAX: u32 = 3650;
/// Tokens that a hub keeps at the same time.
pub const TOKENS_MAX: usize = 100;
const NAME_CHARS: usize = 64;
const DAY_MS: i64 = 86_400_000;
/// How exactly the last use is noted: each note is a write to the card.
const USE_MS: i64 = 3_600_000;

/// What a token opens. A new scope is one more line in each of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// `/metrics`.
    Metrics,
}

impl Scope {
    pub const ALL: &[Scope] = &[Scope::Metrics];

    pub fn word(self) -> &'static str {
        match self {
            Scope::Metrics => "metrics",
        }
    }

    /// What it opens, for people.
    pub fn opens(self) -> &'static str {
        match self {
            Scope::Metrics => "/metrics",
        }
    }

    pub fn of(word: &str) -> Option<Scope> {
        Scope::ALL
            .iter()
            .copied()
            .find(|scope| scope.word() == word)
    }
}

/// A token as the hub keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scoped {
    pub name: String,
    pub scope: Scope,
    pub hash: [u8; 32],
    pub made: Made,
    pub days: u32,
    /// Hub time, by the hour.
    pub used_at_ms: Option<i64>,
}

/// When a token was made. In the boot in which it was made its age is read off the clock that never
/// jumps: a hub that learns the right time must not take a new token for an old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// Hub time.
    pub wall_ms: i64,
    /// In the present boot.
    pub mono_ms: Option<i64>,
}

/// A moment on both clocks, as far as tokens need it.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub mono_ms: i64,
    pub wall_ms: i64,
}

impl Scoped {
    fn lasts_ms(&self) -> i64 {
        i64::from(self.days) * DAY_MS
    }

    /// Hub time.
    pub fn expires_at_ms(&self) -> i64 {
        self.made.wall_ms + self.lasts_ms()
    }

    pub fn is_good(&self, now: Now) -> bool {
        let age_ms = match self.made.mono_ms {
            Some(mono_ms) => now.mono_ms - mono_ms,
            None => now.wall_ms - self.made.wall_ms,
        };
        age_ms < self.lasts_ms()
    }

    /// Notes that it was used; true if that is to be written down.
    pub fn note_use(&mut self, now_wall_ms: i64) -> bool {
        // Either way: the clock may have been set back.
        let news = self
            .used_at_ms
            .is_none_or(|used_ms| (now_wall_ms - used_ms).abs() >= USE_MS);
        if news {
            self.used_at_ms = Some(now_wall_ms);
        }
        news
    }
}

/// The text of a new token.
pub fn text(random: [u8; 32]) -> String {
    format!("{PREFIX}{}", hex(&random))
}

/// What is kept of a token's text.
pub fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Why a token can't be made with this name or for so long, in words.
pub fn refuse(name: &str, days: u32) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.chars().count() > NAME_CHARS || !name.chars().all(plain) {
        return Some(format!(
            "a token's name has 1 to {NAME_CHARS} letters, digits, hyphens, dots and underscores"
        ));
    }
    if !(1..=DAYS_MAX).contains(&days) {
        return Some(format!("a token is good for 1 to {DAYS_MAX} days"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(made: Made, days: u32) -> Scoped {
        Scoped {
            name: "prometheus".into(),
            scope: Scope::Metrics,
            hash: hash(&text([1; 32])),
            made,
            days,
            used_at_ms: None,
        }
    }

    fn now(mono_ms: i64, wall_ms: i64) -> Now {
        Now { mono_ms, wall_ms }
    }

    #[test]
    fn a_tokens_text_is_recognised_and_not_kept() {
        let text = text([0xab; 32]);
        assert_eq!(text.len(), 69);
        assert!(text.starts_with("chub_abab"));
        let kept = format!(
            "{:?}",
            token(
                Made {
                    wall_ms: 0,
                    mono_ms: None
                },
                1
            )
        );
        assert!(!kept.contains(&text[5..15]));
        assert_ne!(hash("chub_a"), hash("chub_b"));
    }

    #[test]
    fn a_token_ends_by_itself() {
        let token = token(
            Made {
                wall_ms: 1_000,
                mono_ms: None,
            },
            2,
        );
        let end_ms = 1_000 + 2 * DAY_MS;
        assert_eq!(token.expires_at_ms(), end_ms);
        assert!(token.is_good(now(0, end_ms - 1)));
        assert!(!token.is_good(now(0, end_ms)));
    }

    #[test]
    fn a_clock_that_is_set_right_does_not_end_a_token_made_before() {
        let made = Made {
            wall_ms: 1_000,
            mono_ms: Some(50_000),
        };
        let token = token(made, 1);
        let years_ms = 10 * 365 * DAY_MS;
        assert!(token.is_good(now(60_000, years_ms)));
        assert!(!token.is_good(now(50_000 + DAY_MS, 1_000)));
    }

    #[test]
    fn the_last_use_is_noted_once_an_hour() {
        let mut token = token(
            Made {
                wall_ms: 0,
                mono_ms: None,
            },
            30,
        );
        assert!(token.note_use(10_000));
        assert!(!token.note_use(10_000 + USE_MS - 1));
        assert!(token.note_use(10_000 + USE_MS));
        assert!(token.note_use(0), "a clock that was set back");
    }

    #[test]
    fn names_and_days_are_held_to_what_can_be_typed() {
        assert_eq!(refuse("prometheus-1.eu_west", 365), None);
        for (name, days) in [("", 1), ("two words", 1), ("a/b", 1), ("x", 0), ("x", 3651)] {
            assert!(refuse(name, days).is_some(), "{name:?} {days}");
        }
        assert!(refuse(&"n".repeat(65), 1).is_some());
    }

    #[test]
    fn every_scope_is_found_by_its_word() {
        for scope in Scope::ALL {
            assert_eq!(Scope::of(scope.word()), Some(*scope));
        }
        assert_eq!(Scope::of("everything"), None);
    }
}
