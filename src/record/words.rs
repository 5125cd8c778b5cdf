//! The closed words and the numbers of which records are made. What is not in a list here, or does not
//! have the shape that is asked for, can't be said upstream.

use serde::de::IntoDeserializer;
use serde::de::value::Error as WordError;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::room::rows::RrMark;

/// Whether the hub knew the time, then or later: otherwise the moments of the record are by a clock
/// that may be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TimeKnown {
    /// The moments are right.
    Synced,
    /// Only their distances are right.
    Unknown,
}

/// Who measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A strap that the hub heard.
    Strap,
    /// The person's phone said so.
    Phone,
}

/// What became of an R-R interval on arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// On the tachogram.
    Accepted,
    /// On the tachogram, outside 250 to 3000 ms.
    Implausible,
    /// Not on the tachogram: the extra short value that some straps append.
    Suspect,
    /// Not on the tachogram: the strap said that it had no skin contact.
    OffBody,
    /// Not on the tachogram: an interval of zero length.
    Zero,
    /// Not on the tachogram: the device made it from an average.
    Computed,
    /// Not on the tachogram: the device plays a heart.
    Simulated,
}

impl Mark {
    pub fn on_tachogram(self) -> bool {
        matches!(self, Mark::Accepted | Mark::Implausible)
    }
}

impl From<RrMark> for Mark {
    fn from(mark: RrMark) -> Self {
        match mark {
            RrMark::Accepted => Mark::Accepted,
            RrMark::Implausible => Mark::Implausible,
            RrMark::Suspect => Mark::Suspect,
            RrMark::OffBody => Mark::OffBody,
            RrMark::Zero => Mark::Zero,
            RrMark::Computed => Mark::Computed,
            RrMark::Simulated => Mark::Simulated,
        }
    }
}

/// Status of the signal from which a score was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SignalStatus {
    Warmup,
    Good,
    Fair,
    Poor,
    Flat,
}

/// Why there is no score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    WarmingUp,
    PoorSignal,
    Flat,
    Silent,
    OffBody,
    NoStrap,
}

/// The word of a closed list that is written like this; `None` for any other text.
pub fn known_word<'de, T: Deserialize<'de>>(text: &'de str) -> Option<T> {
    let text: serde::de::value::StrDeserializer<'de, WordError> = text.into_deserializer();
    T::deserialize(text).ok()
}

/// The one scope of consent that lets anything personal leave the building.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ResearchScope {
    Research,
}

/// A number, written as short as it can be without losing a bit: 832 and not 832.0.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Num(f64);

impl Num {
    pub const ZERO: Num = Num(0.0);

    /// All of it; `None` where it is no number.
    pub fn exact(value: f64) -> Option<Num> {
        value.is_finite().then_some(Num(value))
    }

    /// To so many decimals; `None` where it is no number.
    pub fn rounded(value: f64, decimals: i32) -> Option<Num> {
        let scale = 10_f64.powi(decimals);
        let rounded = (value * scale).round() / scale;
        // A value too large to be scaled is whole anyway.
        Num::exact(if rounded.is_finite() { rounded } else { value })
    }

    pub fn get(self) -> f64 {
        self.0
    }
}

impl Serialize for Num {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        const WHOLE: f64 = 9_007_199_254_740_992.0;
        if self.0.fract() == 0.0 && self.0.abs() < WHOLE {
            to.serialize_i64(self.0 as i64)
        } else {
            to.serialize_f64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Num {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = f64::deserialize(from)?;
        Num::exact(value).ok_or_else(|| serde::de::Error::custom("not a finite number"))
    }
}

/// A text of one shape: the shape is the only thing that makes one.
macro_rules! shaped {
    ($(#[$doc:meta])* $name:ident, $pattern:literal, $fits:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        #[serde(try_from = "String")]
        pub struct $name(#[cfg_attr(test, schemars(regex(pattern = $pattern)))] String);

        impl $name {
            /// `None` for anything that has not its shape.
            pub fn of(text: &str) -> Option<Self> {
                let fits: fn(&str) -> bool = $fits;
                fits(text).then(|| $name(text.to_owned()))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                $name::of(&text).ok_or_else(|| concat!("does not match ", $pattern).to_owned())
            }
        }
    };
}

shaped!(
    /// Id of a session: its slot in UTC, or of a hub that did not know the time the beginning of the
    /// name of its boot and the session's number in it; a number behind it where a slot came again.
    /// Unique together with the hub's id.
    SessionName,
    r"^([0-9]{8}T[0-9]{4}Z|b[0-9a-fA-F]{0,8}-[0-9]{1,19})(-[0-9]{1,19})?$",
    |text| {
        let number = |text: &str| {
            (1..=19).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
        };
        let slot = |text: &str| {
            text.strip_suffix('Z').and_then(|t| t.split_once('T')).is_some_and(
                |(day, time)| day.len() == 8 && number(day) && time.len() == 4 && number(time),
            )
        };
        let own = |tag: &str, n: &str| {
            tag.strip_prefix('b').is_some_and(|tag| {
                tag.len() <= 8 && tag.bytes().all(|b| b.is_ascii_hexdigit())
            }) && number(n)
        };
        let parts: Vec<&str> = text.split('-').collect();
        match parts[..] {
            [first] => slot(first),
            [first, second] => (slot(first) && number(second)) || own(first, second),
            [tag, n, again] => own(tag, n) && number(again),
            _ => false,
        }
    }
);

shaped!(
    /// Name of a study, as the hub's configuration has it.
    Study,
    r"^[0-9A-Za-z._\-]{1,64}$",
    |text| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    }
);

shaped!(
    /// Version of the text of a consent: digits, dots and hyphens, perhaps after a `v`. Phones say it,
    /// so it must not hold more.
    TextVersion,
    r"^v?[0-9][0-9.\-]{0,15}$",
    |text| {
        let text = text.strip_prefix('v').unwrap_or(text);
        (1..=16).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_digit())
            && text.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-')
    }
);

shaped!(
    /// Version of a program.
    Release,
    r"^[0-9A-Za-z.+\-]{1,64}$",
    |text| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".+-".contains(&b))
    }
);

shaped!(
    /// Names the constants of a version of the score's definition.
    Settings,
    r"^[0-9a-f]{16}$",
    |text| text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
);
