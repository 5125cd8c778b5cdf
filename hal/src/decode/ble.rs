//! Heart Rate Measurement (characteristic 0x2A37), Bluetooth SIG Heart Rate Service 1.0, section 3.1.

use crate::Rr;

/// One decoded value of the Heart Rate Measurement characteristic.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// Beats per minute as the strap averages it; 0 means "no value".
    pub hr_bpm: u16,
    /// Skin contact; `None` when the strap does not support the feature (flag bit 2 clear).
    pub contact: Option<bool>,
    /// Energy expended since the last reset, in kJ, saturating at 65535.
    pub energy_kj: Option<u16>,
    /// Whether flag bit 4 announced R-R intervals.
    pub rr_flag: bool,
    /// R-R intervals, oldest first.
    pub rr: Vec<Rr>,
    /// Flag bits 5 to 7, reserved and ignored.
    pub reserved_flags: u8,
    /// Bytes that belong to no field.
    pub trailing_bytes: usize,
}

/// Why bytes are no Heart Rate Measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    Empty,
    TruncatedHr,
    TruncatedEnergy,
}
