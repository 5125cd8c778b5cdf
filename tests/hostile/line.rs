//! A raw line to the hub: bytes out, HTTP answers and WebSocket frames in. It is written here by
//! hand because a decent client would refuse to say most of what is said in these tests.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::support::DEADLINE;

/// How long a line must be quiet before it counts as left open.
const QUIET: Duration = Duration::from_millis(400);

/// More than any answer has.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Any will do: nobody listens in.
const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// A connection, and what was read from it and not looked at yet.
pub struct Line {
    stream: TcpStream,
    read: Vec<u8>,
    /// The hub has closed, or the system has cut the connection.
    pub ended: bool,
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answered {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A frame of the hub.
#[derive(Debug)]
pub struct Heard {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

impl Line {
    /// Connects from an address of its own: everybody here has a network card of theirs.
    pub async fn open(hub: SocketAddr, from: Ipv4Addr) -> Line {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket
            .bind(SocketAddr::new(IpAddr::V4(from), 0))
            .expect("all of 127/8 is ours");
        let stream = timeout(DEADLINE, socket.connect(hub)).await;
        Line {
            stream: stream
                .expect("a connection in time")
                .expect("the hub takes connections"),
            read: Vec::new(),
            ended: false,
        }
    }

    /// Connects and becomes a WebSocket.
    pub async fn open_socket(hub: SocketAddr, from: Ipv4Addr) -> Line {
        Line::open_socket_at(hub, from, "/ws").await
    }

    pub async fn open_socket_at(hub: SocketAddr, from: Ipv4Addr, path: &str) -> Line {
        let mut line = Line::open(hub, from).await;
        line.send(&upgrade(&hub.to_string(), path, &[])).await;
        let answer = line.answer().await.expect("the hub answers");
        assert_eq!(answer.status, 101, "{answer:?}");
        line
    }

    /// Sends what can be sent: who breaks rules must be ready to be cut off.
    pub async fn send(&mut self, bytes: &[u8]) {
        // The hub reads nothing more from some of us. Then the rest is not sent.
        let sent = timeout(Duration::from_secs(2), self.stream.write_all(bytes)).await;
        if !matches!(sent, Ok(Ok(()))) {
            return;
        }
        let _ = self.stream.flush().await;
    }

    /// Says that nothing more will be sent.
    pub async fn end(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Reads on; false when nothing came within `patience` or the hub has closed.
    async fn more(&mut self, patience: Duration) -> bool {
        let mut chunk = [0; 16 * 1024];
        match timeout(patience, self.stream.read(&mut chunk)).await {
            Ok(Ok(0) | Err(_)) => {
                self.ended = true;
                false
            }
            Ok(Ok(n)) => {
                self.read.extend_from_slice(&chunk[..n]);
                assert!(self.read.len() < ANSWER_BYTES_MAX, "an answer without end");
                true
            }
            Err(_) => false,
        }
    }

    /// The next HTTP answer, whole; none if the hub closes without one.
    pub async fn answer(&mut self) -> Option<Answered> {
        let head_end = loop {
            if let Some(at) = find(&self.read, b"\r\n\r\n") {
                break at;
            }
            if !self.more(DEADLINE).await {
                assert!(self.ended, "no answer in time");
                assert!(
                    self.read.is_empty(),
                    "half an answer: {:?}",
                    shown(&self.read)
                );
                return None;
            }
        };
        let head = String::from_utf8(self.read[..head_end].to_vec()).expect("heads are ASCII");
        self.read.drain(..head_end + 4);
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let status = status_line
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.get(2..5)?.parse().ok());
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut answered = Answered {
            status: status.unwrap_or_else(|| panic!("no status line: {status_line:?}")),
            headers,
            body: Vec::new(),
        };
        if answered.status == 101 || answered.status == 100 {
            return Some(answered);
        }
        match answered
            .header("content-length")
            .map(|length| length.parse::<usize>().expect("a length"))
        {
            Some(length) => {
                while self.read.len() < length && self.more(DEADLINE).await {}
                // HEAD says a length and sends nothing.
                answered.body = self.read.drain(..length.min(self.read.len())).collect();
            }
            None => {
                while self.more(QUIET).await {}
                answered.body = std::mem::take(&mut self.read);
            }
        }
        Some(answered)
    }

    /// Reads until the hub closes or is quiet, and how many HTTP answers that was.
    pub async fn count_answers(&mut self) -> usize {
        while self.more(QUIET).await {}
        let rest = String::from_utf8_lossy(&self.read);
        rest.matches("HTTP/1.1 ").count()
    }

    /// The next frame; none if the hub closes without one.
    pub async fn frame(&mut self) -> Option<Heard> {
        loop {
            if let Some((heard, length)) = parse_frame(&self.read) {
                self.read.drain(..length);
                return Some(heard);
            }
            if !self.more(DEADLINE).await {
                assert!(self.ended, "no frame in time");
                return None;
            }
        }
    }

    /// The next frame that is for this socket alone. What everybody gets, and the hub's own pings,
    /// are passed over.
    pub async fn own_frame(&mut self) -> Option<Heard> {
        const FOR_ALL: [&str; 5] = [
            "snapshot",
            "session_state",
            "group_metrics_update",
            "participant_update",
            "room_stats",
        ];
        loop {
            let heard = self.frame().await?;
            let for_all = heard.json().is_some_and(|frame| {
                let kind = frame["type"].as_str().unwrap_or_default();
                // A score at a grid point answers nothing either.
                FOR_ALL.contains(&kind)
                    || (kind == "personal_feedback" && frame.get("re").is_none())
            });
            if !for_all && heard.opcode != PING {
                return Some(heard);
            }
        }
    }

    /// Sends a text frame and returns the frame that answers it.
    pub async fn ask(&mut self, text: &str) -> Value {
        self.send(&frame(TEXT, text.as_bytes())).await;
        let heard = self.own_frame().await.expect("the socket is open");
        heard.json().unwrap_or_else(|| panic!("{text}: {heard:?}"))
    }
}

impl Answered {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
    }

    /// The code of a problem document.
    pub fn code(&self) -> Option<String> {
        if self.header("content-type") != Some("application/problem+json") {
            return None;
        }
        let problem: Value = serde_json::from_slice(&self.body).expect("a problem is JSON");
        assert_eq!(problem["status"], self.status, "{problem}");
        Some(
            problem["code"]
                .as_str()
                .expect("every problem has a code")
                .to_owned(),
        )
    }
}

impl Heard {
    pub fn json(&self) -> Option<Value> {
        (self.opcode == TEXT)
            .then(|| serde_json::from_slice(&self.payload).expect("frames are JSON"))
    }

    pub fn close_code(&self) -> Option<u16> {
        let code = self
            .payload
            .first_chunk::<2>()
            .filter(|_| self.opcode == CLOSE)?;
        Some(u16::from_be_bytes(*code))
    }
}

/// The request that turns a line into a WebSocket.
pub fn upgrade(host: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    );
    for (name, value) in more {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    (request + "\r\n").into_bytes()
}

/// A whole, masked frame, as a phone sends it.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    raw_frame(0x80 | opcode, true, payload)
}

/// A frame with this first byte (FIN 0x80, RSV1 0x40, RSV2 0x20, RSV3 0x10, opcode), masked or not.
pub fn raw_frame(first: u8, masked: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame_head(first, masked, payload.len() as u64);
    if masked {
        bytes.extend(
            payload
                .iter()
                .zip(MASK.iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
    } else {
        bytes.extend(payload);
    }
    bytes
}

/// The head alone, with a length that may be a lie.
pub fn frame_head(first: u8, masked: bool, length: u64) -> Vec<u8> {
    let mask_bit = if masked { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match length {
        0..126 => bytes.push(mask_bit | length as u8),
        126..65_536 => {
            bytes.push(mask_bit | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(mask_bit | 127);
            bytes.extend(length.to_be_bytes());
        }
    }
    if masked {
        bytes.extend(MASK);
    }
    bytes
}

/// The first frame in `bytes` and its length, if it is there whole.
fn parse_frame(bytes: &[u8]) -> Option<(Heard, usize)> {
    let (&[first, second], _) = bytes.split_first_chunk::<2>()?;
    assert!(second & 0x80 == 0, "a server does not mask");
    assert!(
        first & 0xf0 == 0x80,
        "the hub sends whole frames, without extensions"
    );
    let (length, head) = match second {
        126 => (
            u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)),
            4,
        ),
        127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?), 10),
        short => (u64::from(short), 2),
    };
    let end = head + length as usize;
    let payload = bytes.get(head..end)?.to_vec();
    let opcode = first & 0x0f;
    Some((Heard { opcode, payload }, end))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Bytes for a person to read, not too many of them.
pub fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(160)]);
    text.escape_debug().to_string()
}
