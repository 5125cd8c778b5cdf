//! "This is my heart": which strap a person wears, told by what they do. Here belongs what each way of
//! asking says of a strap, and when one strap may be proposed; the ways themselves are in `taps` and
//! `sensed`. Not here: who may ask and what a claim is (`claims`).
//!
//! Nothing here decides: the hub proposes, the person confirms.

pub mod sensed;
pub mod taps;

use serde::Serialize;
use utoipa::ToSchema;

/// A strap is proposed from this certainty on: it leaves the second best 0.02 at most.
pub const CLEAR: f64 = 0.98;

/// How well a strap's beats go with what the person did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    DoesNotFit,
    FitsALittle,
    FitsWell,
}

/// One strap among those compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Match {
    pub fit: Fit,
    /// The probability that this is the person's strap, where it is among those compared 9 times in 10.
    pub certainty: f64,
}

impl Match {
    pub const NONE: Match = Match {
        fit: Fit::DoesNotFit,
        certainty: 0.0,
    };
}

/// The place of the strap to propose: only one that fits well and clearly leads.
pub fn proposed(matches: &[Match]) -> Option<usize> {
    matches
        .iter()
        .position(|one| one.fit == Fit::FitsWell && one.certainty >= CLEAR)
}
