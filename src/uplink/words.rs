//! How the uplink is, in words: for `/health`, and line by line for the log. It is told what is; it
//! finds nothing out.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rumqttc::v5::mqttbytes::v5::PubAckReason;

use super::cause::Cause;
use crate::telemetry::Report;

/// What there is to tell.
#[derive(Clone, Debug, Default)]
pub(super) struct Picture {
    pub way: Way,
    /// Where it leads.
    pub broker: String,
    pub clock_known: bool,
    /// Messages that wait, the unanswered included.
    pub waiting: u64,
    pub dead_letters: u64,
    /// Topics on which the broker refuses what this hub writes, and in which words.
    pub denied: BTreeMap<String, PubAckReason>,
    /// The broker said that nobody would get it.
    pub nobody_listens: bool,
    /// Since when the collector owes acknowledgements, Unix ms.
    pub silent_since_ms: Option<i64>,
    pub ack_topic: String,
    /// A message that ended one connection after the other.
    pub set_aside: Option<i64>,
    /// Why the outbox can't be read or written.
    pub store: Option<String>,
    /// Why nothing is put into it.
    pub not_filling: Option<String>,
}

/// Where the connection is. Moments are Unix ms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Way {
    #[default]
    Trying,
    Up,
    Down {
        since_ms: i64,
        next_ms: i64,
        cause: Cause,
    },
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// Without figures that change: the same problem is the same text.
    pub text: String,
    /// It passes by itself; nobody has to do anything.
    pub passes: bool,
}

impl Picture {
    pub fn report(&self) -> Report {
        let problems = self.problems();
        let mut text: Vec<String> = match &self.way {
            Way::Trying => vec![format!("Connecting to {}.", self.broker)],
            Way::Up => vec![format!("Connected to {}.", self.broker)],
            Way::Down {
                since_ms, next_ms, ..
            } if self.clock_known => vec![format!(
                "Not connected since {}; next attempt at {}.",
                time(*since_ms),
                time(*next_ms)
            )],
            Way::Down { .. } => vec!["Not connected.".to_owned()],
        };
        text.extend(problems.iter().map(|problem| capital(&problem.text)));
        text.push(match self.waiting {
            0 => "Nothing waits.".to_owned(),
            1 => "1 message waits.".to_owned(),
            many => format!("{many} messages wait."),
        });
        match self.dead_letters {
            0 => {}
            1 => text.push("1 was set aside for good: too large, or rejected.".to_owned()),
            many => text.push(format!(
                "{many} were set aside for good: too large, or rejected."
            )),
        }
        let text = text.join(" ");
        if problems.is_empty() {
            Report::ok(text)
        } else {
            Report::degraded(text)
        }
    }

    /// The broker refused what was published there.
    pub fn refuse(&mut self, topic: String, reason: PubAckReason) {
        self.denied.insert(topic, reason);
    }

    /// As `/metrics` has it.
    pub fn state_figure(&self) -> f64 {
        match self.way {
            Way::Trying | Way::Down { .. } => 1.0,
            Way::Up => 2.0,
        }
    }

    /// Each in a sentence, the gravest first.
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        let mut add = |text: String, passes| found.push(Problem { text, passes });
        if !self.clock_known {
            let text = "waiting for the clock: what is recorded now leaves once the time is known.";
            add(text.to_owned(), true);
        }
        if let Some(why) = &self.store {
            add(
                format!("the outbox can't be read or written: {why}."),
                false,
            );
        }
        if let Some(why) = &self.not_filling {
            add(format!("nothing can be queued: {why}."), false);
        }
        match &self.way {
            // The clock was named already.
            Way::Down { cause, .. } if !self.clock_known && cause.may_be_the_clock() => {}
            Way::Down { cause, .. } => {
                let text = cause.to_string();
                let stop = if text.ends_with('?') { "" } else { "." };
                add(format!("{text}{stop}"), false);
            }
            Way::Trying => {}
            Way::Up => {
                for (topic, reason) in &self.denied {
                    let text = match reason {
                        PubAckReason::NotAuthorized => format!(
                            "the broker denies publishing on {topic}: its rules must let this hub write there."
                        ),
                        PubAckReason::QuotaExceeded => {
                            format!("the broker has no room for what is published on {topic}.")
                        }
                        other => {
                            format!("the broker refuses what is published on {topic} ({other:?}).")
                        }
                    };
                    add(text, false);
                }
                if self.nobody_listens {
                    let text = "the collector is not subscribed: the broker has nobody to give messages to.";
                    add(text.to_owned(), false);
                }
                if let Some(since_ms) = self.silent_since_ms {
                    let text = format!(
                        "the collector has acknowledged nothing since {}, though the broker took messages: \
                         does it run, and may this hub read {}?",
                        time(since_ms),
                        self.ack_topic
                    );
                    add(text, false);
                }
            }
        }
        if let Some(seq) = self.set_aside {
            let text = format!(
                "message {seq} ended every connection on which it was sent: it is tried again later, alone."
            );
            add(text, false);
        }
        found
    }
}

/// What the log has been told. One line for each problem until all is well again, however often the
/// problems take turns.
#[derive(Debug, Default)]
pub(super) struct Told {
    problems: BTreeSet<String>,
    connected: bool,
    dead_letters: u64,
}

impl Told {
    /// Logs what is new. `settled`: the connection has proved itself.
    pub fn tell(&mut self, picture: &Picture, settled: bool) {
        let problems = picture.problems();
        for problem in &problems {
            if !self.problems.insert(problem.text.clone()) {
                continue;
            }
            let problem_text = &problem.text;
            if problem.passes {
                tracing::info!("{problem_text}");
            } else {
                tracing::warn!("{problem_text}");
            }
        }
        if picture.way == Way::Up && problems.is_empty() {
            if !self.connected && self.problems.is_empty() {
                self.connected = true;
                tracing::info!(broker = %picture.broker, "connected");
            } else if settled && !self.problems.is_empty() {
                self.problems.clear();
                self.connected = true;
                tracing::info!(broker = %picture.broker, "all is well again");
            }
        }
        if picture.dead_letters > self.dead_letters {
            let count = picture.dead_letters;
            tracing::warn!(
                count,
                "messages were set aside for good: too large for the broker, or rejected by the collector"
            );
        }
        self.dead_letters = picture.dead_letters;
    }
}

/// `14:05:10 UTC`
fn time(unix_ms: i64) -> String {
    match Timestamp::from_millisecond(unix_ms) {
        Ok(at) => at.strftime("%H:%M:%S UTC").to_string(),
        Err(_) => "an unknown time".to_owned(),
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Condition;

    fn up() -> Picture {
        Picture {
            way: Way::Up,
            broker: "mqtts://b.example:8883".into(),
            clock_known: true,
            ..Picture::default()
        }
    }

    fn down(cause: Cause) -> Picture {
        Picture {
            way: Way::Down {
                since_ms: 50_400_000,
                next_ms: 50_710_000,
                cause,
            },
            waiting: 12,
            ..up()
        }
    }

    #[test]
    fn a_connection_on_which_all_is_well_is_ok() {
        let report = up().report();
        assert_eq!(report.status, Condition::Ok);
        assert_eq!(
            report.text,
            "Connected to mqtts://b.example:8883. Nothing waits."
        );
    }

    #[test]
    fn a_broken_connection_says_since_when_why_and_when_next() {
        let report = down(Cause::Expired).report();
        assert_eq!(report.status, Condition::Degraded);
        assert_eq!(
            report.text,
            "Not connected since 14:00:00 UTC; next attempt at 14:05:10 UTC. The broker's certificate \
             has expired: it needs a new one. 12 messages wait."
        );
    }

    #[test]
    fn a_hub_that_does_not_know_the_time_waits_for_it_and_blames_no_certificate() {
        let picture = Picture {
            clock_known: false,
            ..down(Cause::NotYetValid)
        };
        let text = picture.report().text;
        assert!(text.contains("Waiting for the clock"), "{text}");
        assert!(!text.contains("certificate"), "{text}");
        assert!(picture.problems().iter().all(|problem| problem.passes));
    }

    #[test]
    fn what_goes_wrong_on_a_good_connection_is_said_by_name() {
        let picture = Picture {
            denied: BTreeMap::from([("c/v1/hub/7/up/rr".into(), PubAckReason::NotAuthorized)]),
            nobody_listens: true,
            silent_since_ms: Some(50_400_000),
            ack_topic: "c/v1/hub/7/down/ack".into(),
            dead_letters: 2,
            store: Some("the disk is full".into()),
            ..up()
        };
        let report = picture.report();
        assert_eq!(report.status, Condition::Degraded);
        for part in [
            "denies publishing on c/v1/hub/7/up/rr",
            "collector is not subscribed",
            "acknowledged nothing since 14:00:00 UTC",
            "2 were set aside for good",
            "can't be read or written: the disk is full",
        ] {
            assert!(report.text.contains(part), "no {part} in {}", report.text);
        }
    }
}
