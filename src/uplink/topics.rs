//! PURE. The topics of one hub. The hub's name stands right behind `hub/`, so that one line of the
//! broker's rules serves every hub: `pattern write coherence/v1/hub/%u/up/#`.

use crate::record::Stream;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Topics {
    /// `coherence/v1/hub/<name>`
    base: String,
}

impl Topics {
    pub fn new(root: &str, name: &str) -> Self {
        Topics {
            base: format!("{root}/v1/hub/{name}"),
        }
    }

    /// Retained: whether the hub is there.
    pub fn status(&self) -> String {
        format!("{}/status", self.base)
    }

    /// Retained: what the hub is.
    pub fn meta(&self) -> String {
        format!("{}/meta", self.base)
    }

    /// What the hub sends.
    pub fn up(&self, stream: Stream) -> String {
        format!("{}/up/{}", self.base, stream.word())
    }

    /// Retained: what the collector has.
    pub fn ack(&self) -> String {
        format!("{}/down/ack", self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_as_the_brokers_rules_expect_them() {
        let topics = Topics::new("coherence", "hub-7");
        assert_eq!(topics.up(Stream::Rr), "coherence/v1/hub/hub-7/up/rr");
        assert_eq!(topics.ack(), "coherence/v1/hub/hub-7/down/ack");
        assert_eq!(topics.status(), "coherence/v1/hub/hub-7/status");
        assert_eq!(topics.meta(), "coherence/v1/hub/hub-7/meta");
    }
}
