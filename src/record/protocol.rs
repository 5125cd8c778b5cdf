//! What hub and centre say about the records: the acknowledgement (down), status and meta (up, both
//! retained). Nothing about people.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Stream;
use super::words::{Release, Study};

/// What the centre has, sent after its database has it: retained on `down/ack`. At most 1 MiB, with all
/// its `also` and `rejected`: the hub hangs up on more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Ack {
    /// The epoch of these numbers; of another one nothing is said.
    pub epoch: i64,
    /// All numbers up to this one are settled: stored, rejected, or told of in a gap.
    pub upto: i64,
    /// Beyond it, these are stored as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<i64>,
    /// These could not be stored and will not be, however often they come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<Rejected>,
}

/// A message that the centre does not take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Rejected {
    pub seq: i64,
    /// For an operator to read.
    pub why: String,
}

/// How the hub is: retained on `status`, and left behind as its last will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub state: HubState,
    /// Since when, Unix milliseconds.
    pub since: i64,
    /// The number of this start of the operating system.
    pub boot: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HubState {
    Online,
    Offline,
    /// It runs, and some part of it does not.
    Degraded,
}

/// What the hub is: retained on `meta`, sent at its birth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// Version of the program.
    pub sw: Release,
    /// For each stream the versions of its schema that this hub sends.
    pub schemas: BTreeMap<Stream, Vec<u32>>,
    pub epoch: i64,
    /// As the centre knows the facility; may be empty.
    pub facility: String,
    pub study: Study,
}

impl Meta {
    /// The versions that this program sends.
    pub fn schemas() -> BTreeMap<Stream, Vec<u32>> {
        Stream::ALL
            .into_iter()
            .map(|stream| (stream, vec![stream.version()]))
            .collect()
    }
}
