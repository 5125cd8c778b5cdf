//! A record with its number: as JSON, as gzip, and read back with the unknown told apart.
//!
//! In the database a message lies without its number (`pack`), because the epoch may change while it
//! waits; the number is put before it when it leaves (`seal`).

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::words::Study;
use super::{Record, Stream};

/// What a message may unpack to, bytes: ten times the largest minute of a full room.
pub const UNPACKED_BYTES_MAX: u64 = 32 << 20;

/// Name and major version of what a message holds: `rr/1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema {
    pub stream: Stream,
    pub version: u32,
}

/// What stands before every record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub epoch: i64,
    pub seq: i64,
    pub study: Study,
}

/// A record with its number.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub head: Head,
    pub record: Record,
}

/// Why a message can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("not a gzip of at most {UNPACKED_BYTES_MAX} bytes: {0}")]
    NotGzip(std::io::Error),
    #[error("not a record: {0}")]
    NotARecord(#[from] serde_json::Error),
    /// To be kept for a program that knows it.
    #[error("schema {0:?} is not known here")]
    OtherVersion(String),
}

/// What lies in the database.
#[derive(Serialize)]
struct Unnumbered<'a, B: Serialize> {
    study: &'a Study,
    #[serde(flatten)]
    body: &'a B,
}

/// Head and record as they lie in one JSON object; each is read by itself and ignores the other's fields.
#[derive(Deserialize)]
struct WireHead {
    schema: String,
    epoch: i64,
    seq: i64,
    study: Study,
}

#[derive(Deserialize)]
struct OnlyStudy {
    study: Study,
}

/// A record as it waits in the database: gzip, without its number.
pub fn pack(study: &Study, record: &Record) -> Vec<u8> {
    gzip(unnumbered(study, record).as_bytes())
}

/// Reads a waiting record back.
///
/// # Errors
/// Another program, or nobody, wrote it.
pub fn unpack(stream: Stream, packed: &[u8]) -> Result<(Study, Record), Unreadable> {
    let json = gunzip(packed)?;
    let OnlyStudy { study } = serde_json::from_slice(&json)?;
    Ok((study, record(stream, &json)?))
}

/// Puts the number before a waiting record: the gzip that goes upstream.
///
/// # Errors
/// What waits is no gzip.
pub fn seal(stream: Stream, epoch: i64, seq: i64, packed: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let json = gunzip(packed)?;
    let mut sealed = head(stream, epoch, seq).into_bytes();
    sealed.extend_from_slice(json.get(1..).unwrap_or_default());
    Ok(gzip(&sealed))
}

impl Message {
    pub fn to_json(&self) -> String {
        let Head { epoch, seq, study } = &self.head;
        let rest = unnumbered(study, &self.record);
        format!("{}{}", head(self.record.stream(), *epoch, *seq), &rest[1..])
    }

    /// # Errors
    /// It is no message, or one that a later program wrote.
    pub fn from_json(json: &[u8]) -> Result<Message, Unreadable> {
        let WireHead {
            schema,
            epoch,
            seq,
            study,
        } = serde_json::from_slice(json)?;
        let Some(known) = Schema::of_name(&schema) else {
            return Err(Unreadable::OtherVersion(schema));
        };
        let record = record(known.stream, json)?;
        let head = Head { epoch, seq, study };
        Ok(Message { head, record })
    }

    /// # Errors
    /// As [`Message::from_json`], or it is no gzip.
    pub fn from_gzip(body: &[u8]) -> Result<Message, Unreadable> {
        Message::from_json(&gunzip(body)?)
    }
}

impl Schema {
    pub fn of(stream: Stream) -> Self {
        Schema {
            stream,
            version: stream.version(),
        }
    }

    /// `None` for a stream or a version that this program does not know.
    pub fn of_name(name: &str) -> Option<Self> {
        let known = |stream: &Stream| Schema::of(*stream).to_string() == name;
        Stream::ALL.into_iter().find(known).map(Schema::of)
    }
}

impl std::fmt::Display for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.stream.word(), self.version)
    }
}

/// The beginning of the JSON object, up to and with the comma.
fn head(stream: Stream, epoch: i64, seq: i64) -> String {
    format!(
        "{{\"schema\":\"{}\",\"epoch\":{epoch},\"seq\":{seq},",
        Schema::of(stream)
    )
}

fn unnumbered(study: &Study, record: &Record) -> String {
    fn json<B: Serialize>(study: &Study, body: &B) -> String {
        serde_json::to_string(&Unnumbered { study, body })
            .expect("records have text keys and finite numbers")
    }
    match record {
        Record::Session(body) => json(study, body),
        Record::Group(body) => json(study, body),
        Record::Coherence(body) => json(study, body),
        Record::Rr(body) => json(study, body),
        Record::Consent(body) => json(study, body),
        Record::Erasure(body) => json(study, body),
        Record::Gap(body) => json(study, body),
        Record::Event(body) => json(study, body),
    }
}

fn record(stream: Stream, json: &[u8]) -> Result<Record, serde_json::Error> {
    fn body<B: DeserializeOwned>(json: &[u8]) -> Result<B, serde_json::Error> {
        serde_json::from_slice(json)
    }
    Ok(match stream {
        Stream::Session => Record::Session(body(json)?),
        Stream::Group => Record::Group(body(json)?),
        Stream::Coherence => Record::Coherence(body(json)?),
        Stream::Rr => Record::Rr(body(json)?),
        Stream::Consent => Record::Consent(body(json)?),
        Stream::Erasure => Record::Erasure(body(json)?),
        Stream::Gap => Record::Gap(body(json)?),
        Stream::Event => Record::Event(body(json)?),
    })
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .expect("memory takes all that is written to it")
}

fn gunzip(bytes: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let mut unpacked = Vec::new();
    let mut decoder = GzDecoder::new(bytes).take(UNPACKED_BYTES_MAX + 1);
    decoder
        .read_to_end(&mut unpacked)
        .map_err(Unreadable::NotGzip)?;
    if unpacked.len() as u64 > UNPACKED_BYTES_MAX {
        let larger = std::io::Error::from(std::io::ErrorKind::FileTooLarge);
        return Err(Unreadable::NotGzip(larger));
    }
    Ok(unpacked)
}
