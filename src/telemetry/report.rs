//! How a part of the hub is, in its own words: what `/health`, the log and `systemctl status` show.

use serde::Serialize;
use utoipa::ToSchema;

/// What a part says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Part)]
pub struct Report {
    pub status: Condition,
    /// What is, and what to do about it.
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    Ok,
    Degraded,
    /// Not wanted by the configuration.
    Off,
}

impl Report {
    pub fn new(status: Condition, text: impl Into<String>) -> Self {
        Report {
            status,
            text: text.into(),
        }
    }

    pub fn ok(text: impl Into<String>) -> Self {
        Report::new(Condition::Ok, text)
    }

    pub fn degraded(text: impl Into<String>) -> Self {
        Report::new(Condition::Degraded, text)
    }

    pub fn off(text: impl Into<String>) -> Self {
        Report::new(Condition::Off, text)
    }
}
