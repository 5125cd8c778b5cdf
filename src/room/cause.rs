//! Why a strap gives no score, and what to do about it: one stable code and two sentences for each cause.
//! Not here: the words of a score (`heart::Reason`), which a cause only refines.

use coherence_hal::{Link, Origin};

use super::heart::{Heart, Reason};
use super::straps::Strap;
use super::view::{CauseView, StrapState};

/// A battery that says so little and a strap that says nothing are one trouble, per cent.
const EMPTY_PCT: u8 = 5;

/// Why a strap gives no score.
#[derive(Clone, Debug, PartialEq)]
pub enum Cause {
    WarmingUp {
        left_ms: Option<i64>,
    },
    PoorSignal,
    Flat,
    OffBody,
    /// It is near and sends no beats.
    Silent,
    /// The radio says why the link is gone.
    LinkDown {
        why: String,
    },
    BatteryEmpty {
        pct: u8,
    },
    WaitingForLink,
    Connecting,
    /// Heard in the air; nobody has connected to it yet.
    Seen,
    /// Known from before.
    NotHeard,
    /// The device makes its beats from an average.
    Computed,
    /// The device plays a heart.
    Simulated,
}

/// Every code, for the metric.
pub const CODES: [&str; 13] = [
    "warming_up",
    "poor_signal",
    "flat",
    "off_body",
    "silent",
    "link_down",
    "battery_empty",
    "waiting_for_link",
    "connecting",
    "seen",
    "not_heard",
    "computed",
    "simulated",
];

impl Cause {
    /// Why this strap, being so, gives no score; None when it does.
    pub fn of(strap: &Strap, heart: Option<&Heart>, state: StrapState) -> Option<Cause> {
        let verdict = heart
            .and_then(|heart| heart.latest.as_ref())
            .map(|scored| scored.verdict);
        let empty = strap
            .row
            .battery
            .map(|battery| battery.pct)
            .filter(|pct| *pct <= EMPTY_PCT);
        let cause = match (state, strap.row.origin) {
            (StrapState::Streaming, _) => match verdict {
                Some(Ok(_)) => return None,
                Some(Err(Reason::PoorSignal)) => Cause::PoorSignal,
                Some(Err(Reason::Flat)) => Cause::Flat,
                Some(Err(reason)) => Cause::WarmingUp {
                    left_ms: reason.left_ms(),
                },
                None => Cause::WarmingUp { left_ms: None },
            },
            (StrapState::OffBody, _) => Cause::OffBody,
            (StrapState::Silent, Some(Origin::Computed)) => Cause::Computed,
            (StrapState::Silent, Some(Origin::Simulated)) => Cause::Simulated,
            (StrapState::Seen | StrapState::Connecting, _) if strap.waits_for.is_some() => {
                Cause::WaitingForLink
            }
            (StrapState::Seen, _) if strap.link.is_none() => Cause::Seen,
            (StrapState::Connecting, _) => Cause::Connecting,
            (StrapState::Silent | StrapState::Seen | StrapState::Away, _) => {
                match (&strap.link, empty) {
                    (_, Some(pct)) => Cause::BatteryEmpty { pct },
                    _ if state == StrapState::Away => Cause::NotHeard,
                    (Some(Link::Down { why }), None) => Cause::LinkDown { why: why.clone() },
                    _ => Cause::Silent,
                }
            }
        };
        Some(cause)
    }

    /// Stable, for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Cause::WarmingUp { .. } => "warming_up",
            Cause::PoorSignal => "poor_signal",
            Cause::Flat => "flat",
            Cause::OffBody => "off_body",
            Cause::Silent => "silent",
            Cause::LinkDown { .. } => "link_down",
            Cause::BatteryEmpty { .. } => "battery_empty",
            Cause::WaitingForLink => "waiting_for_link",
            Cause::Connecting => "connecting",
            Cause::Seen => "seen",
            Cause::NotHeard => "not_heard",
            Cause::Computed => "computed",
            Cause::Simulated => "simulated",
        }
    }

    /// The word of the score: what a person reads of their own heart.
    pub fn reason(&self) -> &'static str {
        match self {
            Cause::WarmingUp { .. } => "warming_up",
            Cause::PoorSignal => "poor_signal",
            Cause::Flat => "flat",
            Cause::OffBody => "off_body",
            Cause::Silent
            | Cause::LinkDown { .. }
            | Cause::BatteryEmpty { .. }
            | Cause::WaitingForLink
            | Cause::Connecting
            | Cause::Seen
            | Cause::NotHeard
            | Cause::Computed
            | Cause::Simulated => "silent",
        }
    }

    /// Beats arrive; what is missing is only the score.
    pub fn is_of_the_score(&self) -> bool {
        matches!(
            self,
            Cause::WarmingUp { .. } | Cause::PoorSignal | Cause::Flat
        )
    }

    pub fn view(&self) -> CauseView {
        CauseView {
            code: self.code(),
            text: self.text(),
            advice: self.advice(),
        }
    }

    /// What is.
    pub fn text(&self) -> String {
        match self {
            Cause::WarmingUp {
                left_ms: Some(left_ms),
            } => format!(
                "Collecting beats: {} s to go.",
                left_ms.div_euclid(1_000) + 1
            ),
            Cause::WarmingUp { left_ms: None } => "Collecting beats.".to_owned(),
            Cause::PoorSignal => "Too many of its beats are disturbed or missing.".to_owned(),
            Cause::Flat => "Its intervals do not vary at all.".to_owned(),
            Cause::OffBody => "It has no skin contact.".to_owned(),
            Cause::Silent => "It is near and sends no beats.".to_owned(),
            Cause::LinkDown { why } => {
                let mut letters = why.chars();
                let first = letters.next().map(|first| first.to_uppercase().to_string());
                let rest = letters.as_str().trim_end_matches('.');
                format!("{}{rest}.", first.unwrap_or_default())
            }
            Cause::BatteryEmpty { pct } => {
                format!("It is silent, and its battery was at {pct} %.")
            }
            Cause::WaitingForLink => "No adapter has a free link for it.".to_owned(),
            Cause::Connecting => "The hub is connecting to it.".to_owned(),
            Cause::Seen => "It is heard in the air and not connected yet.".to_owned(),
            Cause::NotHeard => "Nothing is heard of it.".to_owned(),
            Cause::Computed => {
                "The device makes its beats from an average: nothing can be scored from them."
                    .to_owned()
            }
            Cause::Simulated => "The device plays a heart: there is none.".to_owned(),
        }
    }

    /// What to do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Cause::WarmingUp { .. } => "Wait: the first score takes about a minute of beats.",
            Cause::PoorSignal => "Wet the electrodes, tighten the belt, sit still for a minute.",
            Cause::Flat => "Take the strap off and put it on again; if it stays so, use another.",
            Cause::OffBody => "Put it on, wet the electrodes, tighten the belt.",
            Cause::Silent => {
                "Check that it is worn and wet; if it stays silent, take its battery out for a moment."
            }
            Cause::LinkDown { .. } => {
                "The hub goes on trying. Check that it is worn and near, and that no phone, watch or bike holds it."
            }
            Cause::BatteryEmpty { .. } => "Put in a new battery.",
            Cause::WaitingForLink => {
                "Switch off straps that nobody wears, or add an adapter: links pass on when a session begins."
            }
            Cause::Connecting | Cause::Seen => "Wait: it may take half a minute.",
            Cause::NotHeard => {
                "Put it on and come near. A strap that a phone, a watch or a bike holds can't be heard."
            }
            Cause::Computed => "Use a chest strap, or another sensor that tells single beats.",
            Cause::Simulated => "Switch its simulation off.",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_a_code_of_its_own_and_words_that_end() {
        let causes = [
            Cause::WarmingUp {
                left_ms: Some(12_000),
            },
            Cause::PoorSignal,
            Cause::Flat,
            Cause::OffBody,
            Cause::Silent,
            Cause::LinkDown {
                why: "the strap closed the link".to_owned(),
            },
            Cause::BatteryEmpty { pct: 3 },
            Cause::WaitingForLink,
            Cause::Connecting,
            Cause::Seen,
            Cause::NotHeard,
            Cause::Computed,
            Cause::Simulated,
        ];
        let codes: Vec<_> = causes.iter().map(Cause::code).collect();
        assert_eq!(codes, CODES);
        for cause in &causes {
            let (text, advice) = (cause.text(), cause.advice());
            for words in [text.as_str(), advice] {
                assert!(words.ends_with('.') && !words.ends_with(".."), "{words}");
                assert!(words.starts_with(char::is_uppercase), "{words}");
            }
        }
    }
}
