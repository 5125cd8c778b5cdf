//! What a text sensor writes, by every profile: the same however it is cut, and nothing lost uncounted.

use coherence_hal::decode::serial::{Profile, Reading, SerialDecoder, Tally};

const PROFILES: [Profile; 7] = [
    Profile::PulseSensor,
    Profile::PulseSensorMulti(1),
    Profile::PulseSensorMulti(2),
    Profile::PulseSensorMulti(12),
    Profile::IbiLines,
    Profile::Csv4,
    Profile::Psws,
];

/// `data`: the profile, sizes of pieces up to a zero, and what the sensor writes.
pub fn holds(data: &[u8]) {
    let Some((number, rest)) = data.split_first() else {
        return;
    };
    let profile = PROFILES[usize::from(*number) % PROFILES.len()];
    let end = rest.iter().position(|byte| *byte == 0);
    let (sizes, stream) = rest.split_at(end.unwrap_or(0));
    let stream = stream.strip_prefix(&[0]).unwrap_or(stream);

    let whole = read(profile, [stream].into_iter());
    assert_eq!(whole, read(profile, pieces(stream, sizes)), "{profile}");
    assert_eq!(whole, read(profile, stream.chunks(1)), "{profile}");
    accounted(profile, stream, &whole);
}

#[derive(Debug, PartialEq)]
struct Read {
    readings: Vec<Reading>,
    tally: Tally,
    pending: Vec<u8>,
}

fn read<'a>(profile: Profile, pieces: impl Iterator<Item = &'a [u8]>) -> Read {
    let mut decoder = SerialDecoder::new(profile);
    let mut readings = Vec::new();
    let mut tally = Tally::default();
    for piece in pieces {
        let before = readings.len();
        let more = decoder.feed(piece, &mut readings);
        tally.good += more.good;
        tally.bad += more.bad;
        tally.plotter += more.plotter;
        tally.long += more.long;
        assert!(
            more.good > 0 || readings.len() == before,
            "only lines speak"
        );
        assert!(decoder.pending().len() <= 257);
    }
    let pending = decoder.pending().to_vec();
    Read {
        readings,
        tally,
        pending,
    }
}

/// `bytes` in pieces of these sizes, over and over.
fn pieces<'a>(mut bytes: &'a [u8], sizes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut sizes = sizes.iter().cycle();
    std::iter::from_fn(move || {
        let size = sizes.next().map_or(bytes.len(), |size| usize::from(*size));
        let (piece, rest) = bytes.split_at(size.min(bytes.len()));
        bytes = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Each line behind the first is good, bad, long or empty, and what is read is a number that it may be.
fn accounted(profile: Profile, stream: &[u8], read: &Read) {
    let lines: Vec<&[u8]> = stream.split(|byte| *byte == b'\n').skip(1).collect();
    let ended = &lines[..lines.len().saturating_sub(1)];
    let filled = |line: &&&[u8]| !line.strip_suffix(b"\r").unwrap_or(line).is_empty();
    let ended = ended.iter().filter(filled).count() as u64;
    let Tally {
        good,
        bad,
        plotter,
        long,
    } = read.tally;
    // The last, unfinished one may already be known to be too long.
    let counted = good + bad + long;
    assert!(
        (ended..=ended + 1).contains(&counted),
        "{counted} of {ended}"
    );
    assert!(plotter <= bad);
    if let Some(last) = lines.last() {
        assert!(last.ends_with(&read.pending));
    }
    for reading in &read.readings {
        match *reading {
            Reading::Ibi { sensor, rr, .. } => {
                assert!(sensor < profile.sensors());
                assert!((0.0..1_000_000.0).contains(&rr.ms()));
            }
            Reading::Bpm { sensor, bpm } => {
                assert!(sensor < profile.sensors());
                assert!((0.0..1_000_000.0).contains(&bpm));
            }
            Reading::Simulated => assert_eq!(profile, Profile::Psws),
        }
    }
}
