//! Heart Rate Measurement (characteristic 0x2A37), Bluetooth SIG Heart Rate Service 1.0, section 3.1.
//!
//! Here belongs the way from one notification's bytes to values ([`decode`]), the way back for
//! scripted straps ([`encode`]) and the one step between them and the hub: [`Deduplicator::event`].
//! Not here: connections, scans and retries (`crate::ble`), and any judgement about a heart; a
//! value that looks wrong is handed on as it came.

use std::collections::HashMap;
use std::fmt;

use crate::{Rr, StrapEvent, StrapId, StrapNews};

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

impl DecodeError {
    /// A stable word for counters and stored rows.
    ///
    /// ```
    /// # use coherence_hal::decode::ble::DecodeError;
    /// assert_eq!(DecodeError::TruncatedHr.word(), "truncated_hr");
    /// ```
    pub fn word(self) -> &'static str {
        match self {
            DecodeError::Empty => "empty",
            DecodeError::TruncatedHr => "truncated_hr",
            DecodeError::TruncatedEnergy => "truncated_energy",
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DecodeError::Empty => "the strap sent a measurement without a single byte",
            DecodeError::TruncatedHr => "the measurement ends before its heart rate is complete",
            DecodeError::TruncatedEnergy => {
                "the measurement announces energy expended but ends before the two bytes of it"
            }
        })
    }
}

impl std::error::Error for DecodeError {}

const HR_IS_U16: u8 = 1 << 0;
const CONTACT_DETECTED: u8 = 1 << 1;
const CONTACT_SUPPORTED: u8 = 1 << 2;
const ENERGY_PRESENT: u8 = 1 << 3;
const RR_PRESENT: u8 = 1 << 4;
const RESERVED_SHIFT: u32 = 5;

/// Reads one notification.
///
/// The length alone says how many R-R values there are, so nothing is assumed about the size of a
/// notification. A last odd byte is counted and never becomes half an interval.
///
/// ```
/// use coherence_hal::{Rr, decode::ble::decode};
///
/// // Contact supported and detected, 77 bpm, one interval of 790/1024 s.
/// let value = decode(&[0x16, 77, 0x16, 0x03]).unwrap();
/// assert_eq!((value.hr_bpm, value.contact), (77, Some(true)));
/// assert_eq!(value.rr, [Rr::Ticks(790)]);
/// ```
pub fn decode(bytes: &[u8]) -> Result<Measurement, DecodeError> {
    let (&flags, mut rest) = bytes.split_first().ok_or(DecodeError::Empty)?;

    let hr_bpm = if flags & HR_IS_U16 != 0 {
        take_u16(&mut rest)
    } else {
        rest.split_first().map(|(&hr, after)| {
            rest = after;
            u16::from(hr)
        })
    }
    .ok_or(DecodeError::TruncatedHr)?;

    let energy_kj = if flags & ENERGY_PRESENT != 0 {
        Some(take_u16(&mut rest).ok_or(DecodeError::TruncatedEnergy)?)
    } else {
        None
    };

    let rr_flag = flags & RR_PRESENT != 0;
    let mut rr = Vec::new();
    if rr_flag {
        rr.reserve_exact(rest.len() / 2);
        while let Some(ticks) = take_u16(&mut rest) {
            rr.push(Rr::Ticks(ticks));
        }
    }

    Ok(Measurement {
        hr_bpm,
        // Without support the detected bit means nothing, whatever it says.
        contact: (flags & CONTACT_SUPPORTED != 0).then_some(flags & CONTACT_DETECTED != 0),
        energy_kj,
        rr_flag,
        rr,
        reserved_flags: flags >> RESERVED_SHIFT,
        trailing_bytes: rest.len(),
    })
}

fn take_u16(rest: &mut &[u8]) -> Option<u16> {
    let (&field, after) = rest.split_first_chunk::<2>()?;
    *rest = after;
    Some(u16::from_le_bytes(field))
}

/// How wide [`encode_as`] writes the heart rate. A strap may change it from one value to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HrFormat {
    /// One byte as long as the rate fits, else two.
    #[default]
    Shortest,
    /// Always two bytes.
    U16,
}

/// Writes one notification as a strap would, the heart rate as short as it can be.
///
/// Bytes that belong to no field are not written: `trailing_bytes` is something a decoder saw.
/// How many R-R fit into one notification is the caller's business ([`rr_capacity`]).
///
/// # Panics
/// If `rr` holds an [`Rr::Ms`]: the characteristic has no such unit, and rounding here would hide
/// from the caller that its beats drift.
///
/// ```
/// use coherence_hal::decode::ble::{decode, encode};
///
/// let bytes = [0x10, 73, 0x5e, 0x03, 0x96, 0x03];
/// assert_eq!(encode(&decode(&bytes).unwrap()), bytes);
/// ```
pub fn encode(measurement: &Measurement) -> Vec<u8> {
    encode_as(measurement, HrFormat::Shortest)
}

/// [`encode`] with a say in the width of the heart rate.
///
/// # Panics
/// As [`encode`] does.
///
/// ```
/// use coherence_hal::decode::ble::{HrFormat, decode, encode_as};
///
/// let bytes = [0x01, 180, 0];
/// assert_eq!(encode_as(&decode(&bytes).unwrap(), HrFormat::U16), bytes);
/// ```
pub fn encode_as(measurement: &Measurement, format: HrFormat) -> Vec<u8> {
    let mut flags = measurement.reserved_flags << RESERVED_SHIFT;
    let mut fields = Vec::with_capacity(4 + 2 * measurement.rr.len());

    match u8::try_from(measurement.hr_bpm) {
        Ok(hr) if format == HrFormat::Shortest => fields.push(hr),
        _ => {
            flags |= HR_IS_U16;
            fields.extend(measurement.hr_bpm.to_le_bytes());
        }
    }
    flags |= match measurement.contact {
        None => 0,
        Some(false) => CONTACT_SUPPORTED,
        Some(true) => CONTACT_SUPPORTED | CONTACT_DETECTED,
    };
    if let Some(energy_kj) = measurement.energy_kj {
        flags |= ENERGY_PRESENT;
        fields.extend(energy_kj.to_le_bytes());
    }
    if measurement.rr_flag || !measurement.rr.is_empty() {
        flags |= RR_PRESENT;
    }
    for rr in &measurement.rr {
        match rr {
            Rr::Ticks(ticks) => fields.extend(ticks.to_le_bytes()),
            Rr::Ms(_) => panic!("a Heart Rate Measurement carries 1/1024 s only"),
        }
    }

    fields.insert(0, flags);
    fields
}

/// R-R intervals that fit one notification at the smallest ATT_MTU (23, leaving 20 bytes), which
/// a strap can rely on with every central. `Shortest` counts on a rate that fits one byte.
///
/// ```
/// # use coherence_hal::decode::ble::{HrFormat, rr_capacity};
/// assert_eq!(rr_capacity(HrFormat::Shortest, false), 9);
/// assert_eq!(rr_capacity(HrFormat::U16, true), 7);
/// ```
pub fn rr_capacity(format: HrFormat, with_energy: bool) -> usize {
    const VALUE_BYTES: usize = 20;
    let hr_bytes = match format {
        HrFormat::Shortest => 1,
        HrFormat::U16 => 2,
    };
    (VALUE_BYTES - 1 - hr_bytes - if with_energy { 2 } else { 0 }) / 2
}

/// The same bytes again are a copy only if they come sooner than this after the first.
pub const DUPLICATE_WITHIN_MS: i64 = 20;

/// Beyond this many remembered arrivals the outdated ones are thrown away.
const REMEMBERED: usize = 256;

/// Turns arriving bytes into events, and drops what the system delivered twice.
///
/// BlueZ has been seen to hand out each notification twice within about a millisecond. A value
/// counts as such a copy when it equals the strap's previous value byte by byte, carries an R-R,
/// and came less than [`DUPLICATE_WITHIN_MS`] after it. All three are needed: equal beats are
/// common in calm hearts, and a burst after a radio fade is closely packed but not equal.
#[derive(Debug, Default)]
pub struct Deduplicator {
    previous: HashMap<StrapId, Arrival>,
}

#[derive(Debug)]
struct Arrival {
    at_ms: i64,
    bytes: Vec<u8>,
}

impl Deduplicator {
    /// Remembers nothing yet. One for all straps of a source is enough.
    pub fn new() -> Self {
        Self::default()
    }

    /// The one path from bytes to an event, for radio, recording and virtual room alike.
    ///
    /// ```
    /// use coherence_hal::{StrapId, StrapNews, decode::ble::Deduplicator};
    ///
    /// let strap = StrapId::new("ble", "D0:5F:B8:00:00:01");
    /// let mut arrivals = Deduplicator::new();
    /// let first = arrivals.event(&strap, 5_000, &[0x10, 72, 0x2c, 0x03]);
    /// assert!(matches!(first.news, StrapNews::Measurement(_)));
    /// let copy = arrivals.event(&strap, 5_001, &[0x10, 72, 0x2c, 0x03]);
    /// assert_eq!(copy.news, StrapNews::Duplicate);
    /// ```
    pub fn event(&mut self, strap: &StrapId, at_ms: i64, bytes: &[u8]) -> StrapEvent {
        let news = match decode(bytes) {
            Err(error) => StrapNews::Malformed(error),
            Ok(value) if !value.rr.is_empty() && self.is_copy(strap, at_ms, bytes) => {
                StrapNews::Duplicate
            }
            Ok(value) => StrapNews::Measurement(value),
        };
        self.remember(strap, at_ms, bytes);
        StrapEvent {
            strap: strap.clone(),
            at_ms,
            news,
        }
    }

    fn is_copy(&self, strap: &StrapId, at_ms: i64, bytes: &[u8]) -> bool {
        self.previous.get(strap).is_some_and(|previous| {
            previous.bytes == bytes && (0..DUPLICATE_WITHIN_MS).contains(&(at_ms - previous.at_ms))
        })
    }

    fn remember(&mut self, strap: &StrapId, at_ms: i64, bytes: &[u8]) {
        // Phones that change their address would let this grow for ever; what is older than the
        // window can no longer decide anything.
        if self.previous.len() >= REMEMBERED && !self.previous.contains_key(strap) {
            self.previous
                .retain(|_, arrival| at_ms - arrival.at_ms < DUPLICATE_WITHIN_MS);
        }
        if let Some(arrival) = self.previous.get_mut(strap) {
            arrival.at_ms = at_ms;
            arrival.bytes.clear();
            arrival.bytes.extend_from_slice(bytes);
        } else {
            self.previous.insert(
                strap.clone(),
                Arrival {
                    at_ms,
                    bytes: bytes.to_vec(),
                },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any stream of numbers does; this one is Knuth's MMIX generator.
    struct Numbers(u64);

    impl Numbers {
        fn next(&mut self) -> u16 {
            self.0 = self
                .0
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (self.0 >> 48) as u16
        }

        fn below(&mut self, end: u16) -> u16 {
            self.next() % end
        }
    }

    fn any_measurement(numbers: &mut Numbers) -> Measurement {
        let rr: Vec<Rr> = (0..numbers.below(10))
            .map(|_| Rr::Ticks(numbers.next()))
            .collect();
        Measurement {
            hr_bpm: numbers.below(400),
            contact: [None, Some(false), Some(true)][usize::from(numbers.below(3))],
            energy_kj: (numbers.below(2) == 0).then(|| numbers.next()),
            rr_flag: !rr.is_empty() || numbers.below(2) == 0,
            rr,
            reserved_flags: numbers.below(8) as u8,
            trailing_bytes: 0,
        }
    }

    #[test]
    fn no_bytes_whatever_make_the_decoder_panic_or_lose_a_byte() {
        let mut numbers = Numbers(1);
        for _ in 0..50_000 {
            let bytes: Vec<u8> = (0..numbers.below(26))
                .map(|_| numbers.next() as u8)
                .collect();
            let Ok(value) = decode(&bytes) else { continue };
            let hr_bytes = if bytes[0] & 1 == 0 { 1 } else { 2 };
            let energy_bytes = if value.energy_kj.is_some() { 2 } else { 0 };
            let accounted = 1 + hr_bytes + energy_bytes + 2 * value.rr.len() + value.trailing_bytes;
            assert_eq!(accounted, bytes.len(), "{bytes:02x?}");
            assert!(!value.rr_flag || value.trailing_bytes <= 1, "{bytes:02x?}");
        }
    }

    #[test]
    fn failure_12_every_flag_mix_cut_at_every_length_gives_a_value_or_a_named_error() {
        for flags in 0..=255u8 {
            let whole = [flags, 60, 0, 7, 0, 0, 4, 0, 4];
            for length in 0..=whole.len() {
                let least = 2 + usize::from(flags & 1) + if flags & 8 != 0 { 2 } else { 0 };
                assert_eq!(
                    decode(&whole[..length]).is_ok(),
                    length >= least,
                    "{flags:08b} {length}"
                );
            }
        }
    }

    #[test]
    fn what_was_encoded_decodes_to_itself_in_both_widths() {
        let mut numbers = Numbers(2);
        for _ in 0..20_000 {
            let value = any_measurement(&mut numbers);
            assert_eq!(decode(&encode(&value)).as_ref(), Ok(&value));
            assert_eq!(
                decode(&encode_as(&value, HrFormat::U16)).as_ref(),
                Ok(&value)
            );
        }
    }

    #[test]
    fn a_full_value_fits_the_smallest_notification() {
        for (format, energy_kj) in [
            (HrFormat::Shortest, None),
            (HrFormat::Shortest, Some(1)),
            (HrFormat::U16, None),
            (HrFormat::U16, Some(1)),
        ] {
            let fits = rr_capacity(format, energy_kj.is_some());
            let value = Measurement {
                hr_bpm: 60,
                contact: None,
                energy_kj,
                rr_flag: true,
                rr: vec![Rr::Ticks(1024); fits],
                reserved_flags: 0,
                trailing_bytes: 0,
            };
            assert!((19..=20).contains(&encode_as(&value, format).len()));
        }
    }

    #[test]
    #[should_panic(expected = "1/1024 s")]
    fn milliseconds_can_not_be_encoded() {
        let mut value = decode(&[0x10, 60, 0, 4]).unwrap();
        value.rr = vec![Rr::Ms(1000.0)];
        encode(&value);
    }

    const TWO_BEATS: &[u8] = &[0x10, 119, 0x08, 0x02, 0x08, 0x02];
    const NO_BEAT: &[u8] = &[0x06, 72];

    fn news(arrivals: &[(i64, &[u8])]) -> Vec<StrapNews> {
        let strap = StrapId::new("ble", "a");
        let mut deduplicator = Deduplicator::new();
        arrivals
            .iter()
            .map(|(at_ms, bytes)| deduplicator.event(&strap, *at_ms, bytes).news)
            .collect()
    }

    #[test]
    fn a_copy_within_20_ms_is_dropped_and_one_after_20_ms_is_kept() {
        assert_eq!(
            news(&[(0, TWO_BEATS), (19, TWO_BEATS)])[1],
            StrapNews::Duplicate
        );
        assert_eq!(
            news(&[(0, TWO_BEATS), (0, TWO_BEATS)])[1],
            StrapNews::Duplicate
        );
        assert!(matches!(
            news(&[(0, TWO_BEATS), (20, TWO_BEATS)])[1],
            StrapNews::Measurement(_)
        ));
    }

    #[test]
    fn a_value_without_a_beat_is_never_a_duplicate() {
        assert!(matches!(
            news(&[(0, NO_BEAT), (1, NO_BEAT)])[1],
            StrapNews::Measurement(_)
        ));
    }

    #[test]
    fn only_the_previous_value_counts() {
        let seen = news(&[(0, TWO_BEATS), (1, NO_BEAT), (2, TWO_BEATS)]);
        assert!(matches!(seen[2], StrapNews::Measurement(_)));
    }

    #[test]
    fn malformed_bytes_are_named_each_time_they_come() {
        let broken = StrapNews::Malformed(DecodeError::TruncatedHr);
        assert_eq!(
            news(&[(0, &[0x10]), (1, &[0x10])]),
            [broken.clone(), broken]
        );
    }

    #[test]
    fn two_straps_with_the_same_bytes_are_both_heard() {
        let mut deduplicator = Deduplicator::new();
        for identity in ["a", "b"] {
            let event = deduplicator.event(&StrapId::new("ble", identity), 0, TWO_BEATS);
            assert!(matches!(event.news, StrapNews::Measurement(_)));
        }
    }

    #[test]
    fn a_thousand_passing_addresses_are_not_remembered() {
        let mut deduplicator = Deduplicator::new();
        for n in 0..1000 {
            deduplicator.event(&StrapId::new("ble", &n.to_string()), n * 30, TWO_BEATS);
        }
        assert!(deduplicator.previous.len() <= REMEMBERED);
    }
}
