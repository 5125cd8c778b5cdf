//! What a stick's port may say: bytes, in pieces, to frames, pages and beats of several straps.

use std::collections::HashMap;

use coherence_hal::decode::ant::{
    AntHeart, Data, Frame, HEART_RATE, HrPage, Message, Pulse, Stream,
};

/// `data`: pieces, each as ms since the one before (in steps of 64), length, and the bytes.
pub fn holds(mut data: &[u8]) {
    let mut stream = Stream::default();
    let mut hearts: HashMap<u32, Chain> = HashMap::new();
    let (mut at_ms, mut fed, mut framed, mut skipped) = (0_i64, 0, 0, 0);
    while let Some(([later, length], rest)) = data.split_first_chunk::<2>() {
        let (bytes, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        data = rest;
        at_ms += i64::from(*later) * 64;
        fed += bytes.len();
        stream.feed(at_ms, bytes);
        while let Some(heard) = stream.next_frame() {
            assert!(heard.at_ms <= at_ms);
            let bytes = heard.frame.bytes();
            assert_eq!(Frame::parse(&bytes).as_ref(), Ok(&heard.frame));
            framed += bytes.len();
            if let Ok(Message::Data(data)) = Message::of(&heard.frame) {
                told(&mut hearts, heard.at_ms, &data);
            }
        }
        skipped += stream.take_losses().skipped_bytes as usize;
        assert_eq!(
            fed,
            framed + skipped + stream.pending().len(),
            "every byte is accounted for"
        );
        assert!(stream.pending().len() < 68);
    }
}

fn told(hearts: &mut HashMap<u32, Chain>, at_ms: i64, data: &Data) {
    let extension = data.extension.as_ref();
    if let Some(device) = extension.and_then(|extension| extension.device)
        && device.kind == HEART_RATE
    {
        assert!(device.id20() < 1 << 20);
        let heart = hearts.entry(device.id20()).or_default();
        heart.page(at_ms, &HrPage::of(data.page));
    }
}

/// One heart, and what its strap's own clock and count say.
#[derive(Default)]
struct Chain {
    heart: AntHeart,
    newest: Option<(u16, u8)>,
}

impl Chain {
    /// Nothing is invented: what is told of a message is what the strap's clock and count went on by.
    fn page(&mut self, at_ms: i64, page: &HrPage) {
        let pulses = self.heart.page(at_ms, page);
        if page.without_beat() {
            assert!(pulses.is_empty());
            return;
        }
        let next = (page.event_time, page.beat_count);
        let Some(before) = self.newest.replace(next) else {
            assert!(pulses.is_empty());
            return;
        };
        let beats = next.1.wrapping_sub(before.1);
        let span = next.0.wrapping_sub(before.0);
        if beats == 0 {
            assert!(pulses.is_empty(), "a beat that the strap did not count");
            return;
        }
        if let [Pulse::Gap(_)] = pulses[..] {
            return;
        }
        let (mut told_beats, mut told_span) = (0, 0);
        for pulse in &pulses {
            match *pulse {
                Pulse::Rr(rr) => {
                    assert!(rr >= 205, "two beats within 200 ms");
                    told_beats += 1;
                    told_span += u32::from(rr);
                }
                Pulse::Missing { beats, span } => {
                    assert!(beats > 0);
                    told_beats += u32::from(beats);
                    told_span += u32::from(span);
                }
                Pulse::Gap(_) => panic!("a gap stands alone: {pulses:?}"),
            }
        }
        assert_eq!((told_beats, told_span), (u32::from(beats), u32::from(span)));
    }
}
