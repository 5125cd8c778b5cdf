//! Frames among whatever comes: padding, noise, halves of frames.
//!
//! Here belongs finding the beginning of a frame and finding it again after damage. A frame whose
//! checksum is wrong gives up its sync byte alone, so that a good frame that it seemed to contain is
//! still found. Every byte that belongs to no frame is counted.

use std::collections::VecDeque;

use super::frame::{AROUND, Frame, FrameError, LENGTHS, SYNC};

/// Finds frames, whatever the pieces are in which bytes come.
///
/// ```
/// use coherence_hal::decode::ant::{Frame, Stream};
///
/// let mut stream = Stream::default();
/// stream.feed(1_000, &[0x00, 0xFF, 0xA4, 0x01, 0x4A]);
/// assert!(stream.next_frame().is_none());
/// stream.feed(1_003, &[0x00, 0xEF]);
/// let heard = stream.next_frame().unwrap();
/// assert_eq!((heard.at_ms, heard.frame), (1_003, Frame::new(0x4A, &[0])));
/// assert_eq!(stream.take_losses().skipped_bytes, 2);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// Bytes that are not yet known to be part of a frame or of none.
    pending: VecDeque<u8>,
    /// How many of them came when, oldest first.
    arrivals: VecDeque<(usize, i64)>,
    losses: Losses,
}

/// A frame and the time at which its last byte came, which may lie before the time at which it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    pub at_ms: i64,
    pub frame: Frame,
}

/// What was in the stream and is no frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    pub skipped_bytes: u64,
    pub bad_checksum: u64,
    pub bad_length: u64,
}

impl Stream {
    /// Takes bytes that were read at `at_ms`.
    pub fn feed(&mut self, at_ms: i64, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.pending.extend(bytes);
            self.arrivals.push_back((bytes.len(), at_ms));
        }
    }

    /// The next complete frame.
    pub fn next_frame(&mut self) -> Option<Heard> {
        loop {
            let noise = self.pending.iter().position(|&byte| byte == SYNC);
            self.skip(noise.unwrap_or(self.pending.len()));
            let length = usize::from(*self.pending.get(1)?);
            if !LENGTHS.contains(&length) {
                self.losses.bad_length += 1;
                self.skip(1);
                continue;
            }
            let whole = length + AROUND;
            if self.pending.len() < whole {
                return None;
            }
            let bytes: Vec<u8> = self.pending.range(..whole).copied().collect();
            match Frame::parse(&bytes) {
                Ok(frame) => {
                    let at_ms = self.consume(whole);
                    return Some(Heard { at_ms, frame });
                }
                Err(error) => {
                    debug_assert_eq!(error, FrameError::BadChecksum, "the rest was looked at");
                    self.losses.bad_checksum += 1;
                    self.skip(1);
                }
            }
        }
    }

    /// What was skipped since it was last asked for.
    pub fn take_losses(&mut self) -> Losses {
        std::mem::take(&mut self.losses)
    }

    /// Bytes that may yet become a frame.
    pub fn pending(&self) -> Vec<u8> {
        self.pending.iter().copied().collect()
    }

    /// Gives up what is pending: it can't be gone on with.
    pub fn flush(&mut self) {
        self.skip(self.pending.len());
    }

    fn skip(&mut self, bytes: usize) {
        self.losses.skipped_bytes += bytes as u64;
        self.consume(bytes);
    }

    /// Drops bytes from the front; when the last of them came.
    fn consume(&mut self, mut bytes: usize) -> i64 {
        self.pending.drain(..bytes);
        let mut last_ms = 0;
        while bytes > 0
            && let Some((count, at_ms)) = self.arrivals.front_mut()
        {
            last_ms = *at_ms;
            let taken = bytes.min(*count);
            *count -= taken;
            bytes -= taken;
            if *count == 0 {
                self.arrivals.pop_front();
            }
        }
        last_ms
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_frame_that_a_false_sync_held_back_keeps_the_time_of_its_own_bytes() {
        let mut stream = Stream::default();
        // Seems to begin a frame of 64 bytes, and swallows the real one.
        stream.feed(1_000, &[SYNC, 64]);
        stream.feed(1_100, &Frame::new(0x4A, &[0]).bytes());
        assert!(stream.next_frame().is_none());
        stream.feed(1_900, &[0; 64]);
        let heard = stream.next_frame().expect("the rest has come");
        assert_eq!(heard.at_ms, 1_100);
    }

    #[test]
    fn what_is_flushed_is_counted() {
        let mut stream = Stream::default();
        stream.feed(0, &[SYNC, 4, 1]);
        assert!(stream.next_frame().is_none());
        stream.flush();
        assert_eq!(stream.take_losses().skipped_bytes, 3);
        assert!(stream.pending().is_empty());
    }

    proptest! {
        /// Every byte is part of a frame, counted as skipped, or pending.
        #[test]
        fn every_byte_is_accounted_for_however_it_is_cut(
            bytes in prop::collection::vec(prop_oneof![Just(SYNC), Just(1), Just(4), any::<u8>()], 0..400),
            cut in 1_usize..40,
        ) {
            let mut frames = Vec::new();
            let mut whole = Stream::default();
            whole.feed(0, &bytes);
            while let Some(heard) = whole.next_frame() {
                frames.push(heard.frame);
            }
            let mut pieces = Stream::default();
            let mut found = Vec::new();
            for piece in bytes.chunks(cut) {
                pieces.feed(0, piece);
                while let Some(heard) = pieces.next_frame() {
                    found.push(heard.frame);
                }
            }
            let losses = whole.take_losses();
            let used: usize = frames.iter().map(|frame| frame.bytes().len()).sum();
            prop_assert_eq!(used + losses.skipped_bytes as usize + whole.pending().len(), bytes.len());
            prop_assert_eq!(frames, found);
            prop_assert_eq!(losses, pieces.take_losses());
            prop_assert_eq!(whole.pending(), pieces.pending());
        }
    }
}
