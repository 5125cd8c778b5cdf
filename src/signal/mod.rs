//! The coherence score: R-R intervals in, score and heart-rate variability out.
//!
//! PURE. No time, no input or output, no allocation that outlives a call; bad data is a value
//! (a [`Status`]), never an error.

/// Version of the score's definition; stored with every score.
pub const ALGORITHM_VERSION: u32 = 1;

/// One R-R interval, as placed on the tachogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    pub rr_ms: f64,
    /// Time lost before this interval, ms.
    pub gap_ms: f64,
}
