//! Bytes to lines. What a line means is not known here.

/// Longer lines are dropped: no sensor writes them, but a wrong speed makes them.
pub const LONGEST: usize = 256;

/// What the splitter found.
pub enum Line<'a> {
    /// Without its end; never empty.
    Whole(&'a [u8]),
    /// Dropped, said once, when it has got too long.
    TooLong,
}

/// Collects bytes until a line is whole.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    pending: Vec<u8>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Stage {
    /// In a line of which the beginning is not known.
    #[default]
    Head,
    Collecting,
    /// In a line that has got too long.
    Dropping,
}

impl Lines {
    pub fn feed(&mut self, bytes: &[u8], mut found: impl FnMut(Line<'_>)) {
        for &byte in bytes {
            match (self.stage, byte) {
                (_, b'\n') => {
                    if self.pending.last() == Some(&b'\r') {
                        self.pending.pop();
                    }
                    if !self.pending.is_empty() {
                        found(Line::Whole(&self.pending));
                    }
                    self.pending.clear();
                    self.stage = Stage::Collecting;
                }
                (Stage::Head | Stage::Dropping, _) => {}
                (Stage::Collecting, _) => {
                    // One more may be the first half of a line's end.
                    let room = if byte == b'\r' { LONGEST + 1 } else { LONGEST };
                    if self.pending.len() < room {
                        self.pending.push(byte);
                    } else {
                        self.pending.clear();
                        self.stage = Stage::Dropping;
                        found(Line::TooLong);
                    }
                }
            }
        }
    }

    /// The unfinished last line.
    pub fn pending(&self) -> &[u8] {
        &self.pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths of lines, and how many were too long.
    fn split(text: &[u8]) -> (Vec<usize>, usize) {
        let (mut lengths, mut long) = (Vec::new(), 0);
        Lines::default().feed(text, |line| match line {
            Line::Whole(line) => lengths.push(line.len()),
            Line::TooLong => long += 1,
        });
        (lengths, long)
    }

    #[test]
    fn a_line_of_256_bytes_is_read_and_one_of_257_is_not_whatever_its_end() {
        for end in ["\n", "\r\n"] {
            let line = |length: usize| format!("\n{}{end}", "x".repeat(length));
            assert_eq!(split(line(256).as_bytes()), (vec![256], 0));
            assert_eq!(split(line(257).as_bytes()), (vec![], 1));
            assert_eq!(split(line(9_999).as_bytes()), (vec![], 1));
        }
        let inside = format!("\n{}\rx\n812\n", "x".repeat(256));
        assert_eq!(split(inside.as_bytes()), (vec![3], 1));
    }

    #[test]
    fn without_any_line_end_nothing_is_held() {
        let mut lines = Lines::default();
        lines.feed(&[b'x'; 100_000], |_| panic!("there is no line"));
        assert!(lines.pending().is_empty());
        lines.feed(b"\n", |_| panic!("the first is cut"));
        lines.feed(&[b'x'; 100_000], |line| {
            assert!(matches!(line, Line::TooLong))
        });
        assert!(lines.pending.capacity() < 1_000);
    }
}
