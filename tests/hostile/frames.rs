//! Rows about the WebSocket itself: frames that RFC 6455 forbids, that are too large, or that no phone
//! would send. What breaks the protocol closes the socket with 1002, bad UTF-8 with 1007, what is too
//! large with 1009; what is allowed is answered.

use crate::line::{BINARY, PING, PONG, TEXT, frame, frame_head, raw_frame};
use crate::row::{Answer, Row, Sent};

use Answer::{Close, Error, Frame, Nothing, Pong, TooLarge};

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2: u8 = 0x20;
const RSV3: u8 = 0x10;
const CONTINUED: u8 = 0;

const HEARTBEAT: &[u8] = br#"{"type":"heartbeat"}"#;
const MIB: usize = 1024 * 1024;

pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row = |name: &str, frames: Vec<u8>, answer: Answer| {
        rows.push(Row::new(name, Sent::Frames(frames), answer));
    };
    row(
        "a binary frame",
        frame(BINARY, &[1, 2, 3]),
        Error("not_text"),
    );
    row(
        "an empty binary frame",
        frame(BINARY, &[]),
        Error("not_text"),
    );
    row(
        "JSON in a binary frame",
        frame(BINARY, HEARTBEAT),
        Error("not_text"),
    );

    row(
        "a text frame of 1 MiB",
        frame(TEXT, &vec![b'x'; MIB]),
        TooLarge,
    );
    row(
        "a binary frame of 1 MiB",
        frame(BINARY, &vec![0; MIB]),
        TooLarge,
    );
    row(
        "a text frame of 4097 bytes",
        frame(TEXT, &vec![b' '; 4097]),
        TooLarge,
    );
    row(
        "a text frame of 4096 bytes",
        frame(TEXT, &[b' '; 4096]),
        Error("bad_json"),
    );
    row(
        "a frame that says it has 2^63 - 1 bytes",
        frame_head(FIN | TEXT, true, i64::MAX as u64),
        TooLarge,
    );
    row(
        "a frame that says it has 2^64 - 1 bytes",
        frame_head(FIN | TEXT, true, u64::MAX),
        TooLarge,
    );
    let piece = [b' '; 1000];
    let mut pieces = raw_frame(TEXT, true, &piece);
    pieces.extend(raw_frame(CONTINUED, true, &piece).repeat(9));
    row("fragments of 10,000 bytes together", pieces, TooLarge);
    let mut endless = raw_frame(TEXT, true, b"{");
    endless.extend(raw_frame(CONTINUED, true, b" ").repeat(5000));
    row(
        "a message of fragments that does not end",
        endless,
        TooLarge,
    );

    let (first, last) = HEARTBEAT.split_at(7);
    let mut fragmented = raw_frame(TEXT, true, first);
    fragmented.extend(raw_frame(FIN, true, last));
    row(
        "a message in two fragments",
        fragmented,
        Frame("heartbeat_response"),
    );
    let mut letters = raw_frame(TEXT, true, b"");
    for letter in HEARTBEAT {
        letters.extend(raw_frame(CONTINUED, true, &[*letter]));
        letters.extend(raw_frame(CONTINUED, true, b""));
    }
    letters.extend(raw_frame(FIN, true, b""));
    row(
        "a message letter by letter",
        letters,
        Frame("heartbeat_response"),
    );
    let mut between = raw_frame(TEXT, true, first);
    between.extend(frame(PONG, b""));
    between.extend(raw_frame(FIN, true, last));
    row(
        "a pong between two fragments",
        between,
        Frame("heartbeat_response"),
    );
    row(
        "a fragment of nothing that began",
        raw_frame(FIN, true, HEARTBEAT),
        Close(1002),
    );
    let mut again = raw_frame(TEXT, true, first);
    again.extend(frame(TEXT, HEARTBEAT));
    row(
        "a new message before the last has ended",
        again,
        Close(1002),
    );

    row(
        "a compressed frame (RSV1), never agreed on",
        raw_frame(FIN | RSV1 | TEXT, true, HEARTBEAT),
        Close(1002),
    );
    row(
        "a frame with RSV2",
        raw_frame(FIN | RSV2 | TEXT, true, HEARTBEAT),
        Close(1002),
    );
    row(
        "a frame with RSV3",
        raw_frame(FIN | RSV3 | TEXT, true, HEARTBEAT),
        Close(1002),
    );
    row(
        "a frame that is not masked",
        raw_frame(FIN | TEXT, false, HEARTBEAT),
        Close(1002),
    );
    row(
        "a ping that is not masked",
        raw_frame(FIN | PING, false, b""),
        Close(1002),
    );
    row(
        "an unknown opcode for data",
        raw_frame(FIN | 3, true, b""),
        Close(1002),
    );
    row(
        "an unknown opcode for control",
        raw_frame(FIN | 11, true, b""),
        Close(1002),
    );
    row(
        "HTTP in the middle of a socket",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        Close(1002),
    );
    row("bytes of 0xff", vec![0xff; 200], Close(1002));

    row("a ping", frame(PING, b"hello"), Pong);
    row("a ping of 125 bytes", frame(PING, &[7; 125]), Pong);
    row("a ping of 126 bytes", frame(PING, &[7; 126]), Close(1002));
    row(
        "a ping in fragments",
        raw_frame(PING, true, b"hel"),
        Close(1002),
    );
    row(
        "a pong that nobody asked for",
        frame(PONG, b"hello"),
        Nothing,
    );
    row(
        "a frame of no bytes after many pongs",
        frame(PONG, b"").repeat(50),
        Nothing,
    );
    row(
        "150 heartbeats at once",
        frame(TEXT, HEARTBEAT).repeat(150),
        Frame("heartbeat_response"),
    );

    row(
        "bytes that are no UTF-8",
        frame(TEXT, b"{\"type\":\"\xff\xfe\"}"),
        Close(1007),
    );
    row(
        "UTF-8 that is longer than it must be",
        frame(TEXT, b"{\"type\":\"\xc0\xaf\"}"),
        Close(1007),
    );
    row(
        "half a surrogate pair as UTF-8",
        frame(TEXT, b"{\"type\":\"\xed\xa0\x80\"}"),
        Close(1007),
    );
    row(
        "UTF-8 beyond Unicode",
        frame(TEXT, b"{\"type\":\"\xf5\x80\x80\x80\"}"),
        Close(1007),
    );
    row(
        "UTF-8 that ends in mid-character",
        frame(TEXT, b"{\"type\":\"\xe2\x82"),
        Close(1007),
    );
    let euro = b"{\"type\":\"heartbeat\",\"x\":\"\xe2\x82\xac\"}";
    let (first, last) = euro.split_at(26);
    let mut split = raw_frame(TEXT, true, first);
    split.extend(raw_frame(FIN, true, last));
    row(
        "a character cut by the border of a fragment",
        split,
        Frame("heartbeat_response"),
    );
    rows
}
