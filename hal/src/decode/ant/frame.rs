//! One frame: `A4 | LEN | ID | payload | CHK`, where CHK is the XOR of all bytes before it.
//!
//! Here belongs a frame whose bytes are complete; finding it among others is `stream`'s.

use std::fmt;
use std::ops::RangeInclusive;

/// What a frame begins with.
pub(super) const SYNC: u8 = 0xA4;
/// Sync, length, id and checksum.
pub(super) const AROUND: usize = 4;
/// The longest that is needed has 20 bytes of payload; whatever says that it is longer than this is a
/// false sync.
pub(super) const LENGTHS: RangeInclusive<usize> = 1..=64;

/// A message to or from a stick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub id: u8,
    pub payload: Vec<u8>,
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    Short,
    BadSync,
    BadLength,
    BadChecksum,
}

impl FrameError {
    /// A stable word.
    pub fn word(self) -> &'static str {
        match self {
            FrameError::Short => "short",
            FrameError::BadSync => "bad_sync",
            FrameError::BadLength => "bad_length",
            FrameError::BadChecksum => "bad_checksum",
        }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FrameError::Short => "there are fewer bytes than a frame has",
            FrameError::BadSync => "a frame begins with A4",
            FrameError::BadLength => "the length is not that of the frame",
            FrameError::BadChecksum => "the checksum is not that of the frame",
        })
    }
}

impl std::error::Error for FrameError {}

impl Frame {
    pub fn new(id: u8, payload: &[u8]) -> Self {
        debug_assert!(LENGTHS.contains(&payload.len()));
        Frame {
            id,
            payload: payload.to_vec(),
        }
    }

    /// Reads the bytes of exactly one frame.
    ///
    /// ```
    /// use coherence_hal::decode::ant::{Frame, FrameError};
    ///
    /// let reset = [0xA4, 0x01, 0x4A, 0x00, 0xEF];
    /// assert_eq!(Frame::parse(&reset), Ok(Frame::new(0x4A, &[0])));
    /// assert_eq!(Frame::new(0x4A, &[0]).bytes(), reset);
    /// assert_eq!(Frame::parse(&[0xA4, 0x01, 0x4A, 0x00, 0x00]), Err(FrameError::BadChecksum));
    /// ```
    pub fn parse(bytes: &[u8]) -> Result<Frame, FrameError> {
        let [sync, length, id, rest @ ..] = bytes else {
            return Err(FrameError::Short);
        };
        let Some((checksum, payload)) = rest.split_last() else {
            return Err(FrameError::Short);
        };
        if *sync != SYNC {
            return Err(FrameError::BadSync);
        }
        if !LENGTHS.contains(&payload.len()) || usize::from(*length) != payload.len() {
            return Err(FrameError::BadLength);
        }
        if xor(&bytes[..bytes.len() - 1]) != *checksum {
            return Err(FrameError::BadChecksum);
        }
        Ok(Frame::new(*id, payload))
    }

    /// The frame as it is sent.
    pub fn bytes(&self) -> Vec<u8> {
        let length = u8::try_from(self.payload.len()).expect("payloads have 64 bytes at most");
        let mut bytes = Vec::with_capacity(self.payload.len() + AROUND);
        bytes.extend([SYNC, length, self.id]);
        bytes.extend(&self.payload);
        bytes.push(xor(&bytes));
        bytes
    }
}

fn xor(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum ^ byte)
}
