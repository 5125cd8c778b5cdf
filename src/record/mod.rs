//! PURE: what may leave the building. A [`Record`] is all that goes to the central store, and there
//! is no other way to make one than from pseudonyms, numbers, moments and words of closed lists:
//! names, intentions, free text, straps' labels and addresses, participant ids have no type here that
//! could carry them.
//!
//! The centre reads with the same types. A field it does not know is ignored; a schema it does not
//! know is told apart ([`Unreadable::OtherVersion`]), never guessed at. Which rows of the database go
//! into a record, and when, is the store's business; how it travels is the uplink's.
//!
//! - `pseudonym`: who somebody is outside of this building; `words`: the closed words
//! - `series`: what comes every minute (R-R, coherence, group); `facts`: what comes when it happens
//! - `message`: a record with its number, as JSON and gzip; `protocol`: acknowledgement, status, meta
//! - `schema/`, `example/`: JSON Schemas made from the types, and frozen examples of what is sent

mod facts;
mod message;
mod protocol;
mod pseudonym;
mod series;
#[cfg(test)]
mod tests;
mod words;

pub use self::facts::{
    ConsentRecord, ErasureRecord, ErasureScope, EventRecord, GapRecord, GapWhy, HubEvent, Lost,
    SeqRange, SessionRecord,
};
pub use self::message::{
    Head, Message, Schema, UNPACKED_BYTES_MAX, Unreadable, pack, seal, unpack,
};
pub use self::protocol::{Ack, HubState, Meta, Rejected, Status};
pub use self::pseudonym::{FacilityKey, NotAPseudonym, Pseudonym, Pseudonymiser};
pub use self::series::{
    CoherenceRecord, CoherenceSeries, GroupRecord, GroupSeries, Minute, RrRecord, RrSeries,
};
pub use self::words::{
    Mark, Num, Origin, Reason, Release, ResearchScope, SessionName, Settings, SignalStatus, Study,
    TextVersion, TimeKnown, known_word,
};

use serde::{Deserialize, Serialize};

/// What goes upstream, one topic each: `up/<word>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// A session that has ended.
    Session,
    /// The group's figures at the grid points of a minute.
    Group,
    /// Scores and heart-rate variability of single people in a minute.
    Coherence,
    /// R-R intervals of single people in a minute.
    Rr,
    /// A consent to research given or withdrawn.
    Consent,
    /// Somebody is to be erased.
    Erasure,
    /// Numbers that will never come.
    Gap,
    /// Something happened to the hub.
    Event,
}

impl Stream {
    pub const ALL: [Stream; 8] = [
        Stream::Session,
        Stream::Group,
        Stream::Coherence,
        Stream::Rr,
        Stream::Consent,
        Stream::Erasure,
        Stream::Gap,
        Stream::Event,
    ];

    /// The word in the topic, in the schema's name and in the database.
    pub fn word(self) -> &'static str {
        match self {
            Stream::Session => "session",
            Stream::Group => "group",
            Stream::Coherence => "coherence",
            Stream::Rr => "rr",
            Stream::Consent => "consent",
            Stream::Erasure => "erasure",
            Stream::Gap => "gap",
            Stream::Event => "event",
        }
    }

    pub fn of_word(word: &str) -> Option<Stream> {
        Stream::ALL.into_iter().find(|stream| stream.word() == word)
    }

    /// The major version of its schema; the whole name is `rr/1`.
    pub fn version(self) -> u32 {
        1
    }
}

/// One record of any stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    Session(SessionRecord),
    Group(GroupRecord),
    Coherence(CoherenceRecord),
    Rr(RrRecord),
    Consent(ConsentRecord),
    Erasure(ErasureRecord),
    Gap(GapRecord),
    Event(EventRecord),
}

impl Record {
    pub fn stream(&self) -> Stream {
        match self {
            Record::Session(_) => Stream::Session,
            Record::Group(_) => Stream::Group,
            Record::Coherence(_) => Stream::Coherence,
            Record::Rr(_) => Stream::Rr,
            Record::Consent(_) => Stream::Consent,
            Record::Erasure(_) => Stream::Erasure,
            Record::Gap(_) => Stream::Gap,
            Record::Event(_) => Stream::Event,
        }
    }

    /// Takes the series of these people out; what was told of consents stays. Of a group that they were
    /// in nothing more is said: beside the series of the others its mean would give them back.
    pub fn leave_out(&mut self, gone: &[Pseudonym]) {
        match self {
            Record::Rr(record) => record.series.retain(|s| !gone.contains(&s.pseudonym)),
            Record::Coherence(record) => record.series.retain(|s| !gone.contains(&s.pseudonym)),
            Record::Group(record) => record.series.iter_mut().for_each(GroupSeries::suppress),
            _ => {}
        }
    }
}
