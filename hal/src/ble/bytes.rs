//! Stand-in until `decode::ble` is merged.
use crate::decode::ble::{DecodeError, Measurement};
use crate::{Rr, StrapEvent, StrapId, StrapNews};
#[derive(Default)]
pub(super) struct Deduplicator;
impl Deduplicator {
    pub(super) fn read(&mut self, strap: &StrapId, at_ms: i64, b: &[u8]) -> StrapEvent {
        let news = if b.len() < 2 {
            StrapNews::Malformed(DecodeError::Empty)
        } else {
            StrapNews::Measurement(Measurement {
                hr_bpm: b[1].into(),
                contact: None,
                energy_kj: None,
                rr_flag: true,
                rr: b[2..]
                    .chunks_exact(2)
                    .map(|c| Rr::Ticks(u16::from_le_bytes([c[0], c[1]])))
                    .collect(),
                reserved_flags: 0,
                trailing_bytes: 0,
            })
        };
        StrapEvent {
            strap: strap.clone(),
            at_ms,
            news,
        }
    }
}
