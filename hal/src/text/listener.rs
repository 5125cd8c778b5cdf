//! One configured port: what arrives there, as events of its hearts. Nothing here waits or reads; the port is
//! `text`'s.

use std::collections::VecDeque;

use super::TextPort;
use super::judge::{Judge, Verdict};
use crate::decode::serial::{Reading, SerialDecoder};
use crate::port::{PortNews, Trouble};
use crate::{
    BeatItem, Beats, Link, Origin, RecoveryStep, SourceEvent, SourceState, StrapEvent, StrapId,
    StrapNews,
};

pub(super) struct Listener {
    settings: TextPort,
    /// One for each sensor.
    straps: Vec<StrapId>,
    decoder: SerialDecoder,
    stage: Stage,
    /// It was told that the device plays a heart.
    simulated: bool,
    readings: Vec<Reading>,
}

enum Stage {
    NotTried,
    Shut(Trouble),
    Open(Judge, Verdict),
}

impl Listener {
    pub(super) fn new(settings: TextPort) -> Self {
        let identity = |sensor| StrapId::new("text", &format!("{}:{sensor}", settings.name));
        Listener {
            straps: (0..settings.profile.sensors()).map(identity).collect(),
            decoder: SerialDecoder::new(settings.profile),
            settings,
            stage: Stage::NotTried,
            simulated: false,
            readings: Vec::new(),
        }
    }

    pub(super) fn hear(&mut self, news: PortNews, events: &mut VecDeque<SourceEvent>) {
        match news {
            PortNews::Opened { at_ms } => self.opened(at_ms, events),
            PortNews::Shut { at_ms, trouble } => self.shut(at_ms, trouble, events),
            PortNews::Bytes { at_ms, bytes } => self.bytes(at_ms, &bytes, events),
        }
    }

    /// How it is with this port, in one sentence; None as long as it was not tried.
    pub(super) fn state(&self) -> Option<SourceState> {
        let TextPort {
            name,
            path,
            baud,
            profile,
        } = &self.settings;
        let (up, code, text) = match &self.stage {
            Stage::NotTried => return None,
            Stage::Shut(trouble) => (false, trouble.code, trouble.text.clone()),
            Stage::Open(_, Verdict::Fine) => (
                true,
                "listening",
                format!("listening on {path} ({profile}, {baud} baud)."),
            ),
            Stage::Open(_, Verdict::WrongSpeedOrProfile) => (
                false,
                "wrong_profile",
                format!(
                    "wrong baud rate or profile: what arrives on {path} at {baud} baud does not read as {profile}."
                ),
            ),
            Stage::Open(_, Verdict::ForPlotter) => (
                false,
                "wrong_output",
                format!(
                    "wrong baud rate or profile: the sensor on {path} writes for a plotter, where beats can't \
                     be told apart: change OUTPUT_TYPE in its sketch from SERIAL_PLOTTER to \
                     PROCESSING_VISUALIZER, and use the profile pulsesensor."
                ),
            ),
        };
        Some(SourceState {
            up,
            code,
            text: format!("{name}: {text}"),
        })
    }

    fn opened(&mut self, at_ms: i64, events: &mut VecDeque<SourceEvent>) {
        if matches!(self.stage, Stage::Shut(_)) {
            events.push_back(SourceEvent::Step(RecoveryStep {
                rung: "reopen_port",
                strap: None,
                why: format!("the port of {} could not be used", self.settings.name),
            }));
        }
        // What was half received belongs to a stream that has ended.
        self.decoder = SerialDecoder::new(self.settings.profile);
        self.stage = Stage::Open(Judge::new(at_ms), Verdict::Fine);
        self.simulated = false;
        for (sensor, strap) in self.straps.iter().enumerate() {
            let name = match self.straps.len() {
                1 => self.settings.name.clone(),
                _ => format!("{} {sensor}", self.settings.name),
            };
            let seen = StrapNews::Seen {
                name: Some(name),
                rssi_dbm: None,
            };
            for news in [seen, StrapNews::Link(Link::Up)] {
                events.push_back(event(strap, at_ms, news));
            }
        }
    }

    fn shut(&mut self, at_ms: i64, trouble: Trouble, events: &mut VecDeque<SourceEvent>) {
        if matches!(self.stage, Stage::Open(..)) {
            // Everybody may see this; which device it is is said to whom it concerns, by the source.
            let why = match trouble.code {
                "port_gone" => "the sensor was unplugged",
                _ => "the sensor's port fails",
            };
            for strap in &self.straps {
                let why = why.to_owned();
                events.push_back(event(strap, at_ms, StrapNews::Link(Link::Down { why })));
            }
        }
        self.stage = Stage::Shut(trouble);
    }

    fn bytes(&mut self, at_ms: i64, bytes: &[u8], events: &mut VecDeque<SourceEvent>) {
        self.readings.clear();
        let tally = self.decoder.feed(bytes, &mut self.readings);
        if let Stage::Open(judge, verdict) = &mut self.stage {
            *verdict = judge.heard(at_ms, tally);
        }
        let fillers = self.beats(at_ms, events);
        for (what, count) in [
            ("bad_lines", tally.bad),
            ("long_lines", tally.long),
            ("fillers", fillers),
        ] {
            if count > 0 {
                events.push_back(SourceEvent::Counted { what, count });
            }
        }
    }

    /// What was read, by heart; returns how many intervals were the library's own.
    fn beats(&mut self, at_ms: i64, events: &mut VecDeque<SourceEvent>) -> u64 {
        let mut fillers = 0;
        let mut by_sensor = vec![Vec::new(); self.straps.len()];
        let mut simulated = false;
        for reading in &self.readings {
            match *reading {
                // The sensor paused, and the beats around the pause are no neighbours.
                Reading::Ibi {
                    sensor,
                    filler: true,
                    ..
                } => {
                    fillers += 1;
                    by_sensor[usize::from(sensor)].push(BeatItem::Gap);
                }
                Reading::Ibi { sensor, rr, .. } => {
                    by_sensor[usize::from(sensor)].push(BeatItem::Rr(rr));
                }
                Reading::Bpm { .. } => {}
                Reading::Simulated => simulated = true,
            }
        }
        for (strap, items) in self.straps.iter().zip(by_sensor) {
            if !items.is_empty() {
                self.simulated = false;
                events.push_back(beats(strap, at_ms, items, Origin::Pulse));
            }
        }
        if simulated && !self.simulated {
            self.simulated = true;
            events.push_back(beats(&self.straps[0], at_ms, Vec::new(), Origin::Simulated));
        }
        fillers
    }
}

fn beats(strap: &StrapId, at_ms: i64, items: Vec<BeatItem>, origin: Origin) -> SourceEvent {
    let beats = Beats {
        items,
        origin,
        counted: false,
    };
    event(strap, at_ms, StrapNews::Beats(beats))
}

fn event(strap: &StrapId, at_ms: i64, news: StrapNews) -> SourceEvent {
    SourceEvent::Strap(StrapEvent {
        strap: strap.clone(),
        at_ms,
        news,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rr;
    use crate::decode::serial::Profile;

    fn listener(profile: Profile) -> Listener {
        let mut listener = Listener::new(TextPort {
            name: "desk".into(),
            path: "/dev/x".into(),
            baud: 9_600,
            profile,
        });
        hear(&mut listener, PortNews::Opened { at_ms: 0 });
        listener
    }

    fn hear(listener: &mut Listener, news: PortNews) -> Vec<SourceEvent> {
        let mut events = VecDeque::new();
        listener.hear(news, &mut events);
        events.into()
    }

    fn say(listener: &mut Listener, at_ms: i64, text: &str) -> Vec<SourceEvent> {
        let bytes = text.as_bytes().to_vec();
        hear(listener, PortNews::Bytes { at_ms, bytes })
    }

    fn trouble() -> Trouble {
        Trouble {
            code: "port_gone",
            text: "/dev/x is gone.".into(),
        }
    }

    fn id(sensor: u8) -> StrapId {
        StrapId::new("text", &format!("desk:{sensor}"))
    }

    fn rr(ms: f64) -> BeatItem {
        BeatItem::Rr(Rr::Ms(ms))
    }

    #[test]
    fn each_sensor_of_a_port_is_a_heart_of_its_own() {
        let mut desk = listener(Profile::PulseSensorMulti(2));
        let events = say(&mut desk, 7, "\nA70\nM845\na512\nB60\nN909\nM850\n");
        let expected = [
            beats(&id(0), 7, vec![rr(845.0), rr(850.0)], Origin::Pulse),
            beats(&id(1), 7, vec![rr(909.0)], Origin::Pulse),
        ];
        assert_eq!(events, expected);
    }

    #[test]
    fn a_filler_is_a_gap_and_counted_and_never_a_beat() {
        let mut desk = listener(Profile::PulseSensor);
        let events = say(&mut desk, 7, "\nB70\nQ812\nB0\nQ600\nB74\nQ805\n");
        let items = vec![rr(812.0), BeatItem::Gap, rr(805.0)];
        assert_eq!(events[0], beats(&id(0), 7, items, Origin::Pulse));
        let counted = SourceEvent::Counted {
            what: "fillers",
            count: 1,
        };
        assert_eq!(events[1..], [counted]);
    }

    #[test]
    fn a_port_that_is_lost_takes_its_links_along_and_half_a_line_with_it() {
        let mut desk = listener(Profile::IbiLines);
        say(&mut desk, 7, "\n812\n80");
        let lost = hear(
            &mut desk,
            PortNews::Shut {
                at_ms: 9,
                trouble: trouble(),
            },
        );
        let why = "the sensor was unplugged".to_owned();
        let down = StrapNews::Link(Link::Down { why });
        assert_eq!(lost, [event(&id(0), 9, down)]);
        assert!(!desk.state().unwrap().up);
        let back = hear(&mut desk, PortNews::Opened { at_ms: 20 });
        assert!(matches!(&back[0], SourceEvent::Step(step) if step.rung == "reopen_port"));
        assert_eq!(back[2..], [event(&id(0), 20, StrapNews::Link(Link::Up))]);
        assert_eq!(say(&mut desk, 21, "5\n"), [], "neither 805 nor 5");
        assert_eq!(
            say(&mut desk, 22, "799\n"),
            [beats(&id(0), 22, vec![rr(799.0)], Origin::Pulse)]
        );
    }

    #[test]
    fn a_port_that_never_was_there_brings_no_down() {
        let mut desk = Listener::new(TextPort {
            name: "desk".into(),
            path: "/dev/x".into(),
            baud: 9_600,
            profile: Profile::Csv4,
        });
        assert!(desk.state().is_none());
        let shut = PortNews::Shut {
            at_ms: 1,
            trouble: trouble(),
        };
        assert_eq!(hear(&mut desk, shut), []);
        assert_eq!(desk.state().unwrap().text, "desk: /dev/x is gone.");
    }

    #[test]
    fn damage_is_counted_and_after_ten_seconds_told() {
        let mut desk = listener(Profile::IbiLines);
        let long = "x".repeat(300);
        let events = say(&mut desk, 0, &format!("\nhello\nworld\n{long}\n"));
        let counted = |what, count| SourceEvent::Counted { what, count };
        assert_eq!(events, [counted("bad_lines", 2), counted("long_lines", 1)]);
        for s in 1..12 {
            say(&mut desk, s * 1_000, "\u{fffd}\u{fffd}\n");
        }
        let state = desk.state().unwrap();
        assert_eq!((state.up, state.code), (false, "wrong_profile"));
        assert!(
            state.text.contains("wrong baud rate or profile"),
            "{}",
            state.text
        );
        assert!(state.text.contains("9600 baud"), "{}", state.text);
    }

    #[test]
    fn a_sketch_that_writes_for_a_plotter_gets_a_hint() {
        let mut desk = listener(Profile::PulseSensor);
        for s in 0..12 {
            say(&mut desk, s * 1_000, &"72,834,512\r\n".repeat(50));
        }
        let state = desk.state().unwrap();
        assert_eq!((state.up, state.code), (false, "wrong_output"));
        assert!(state.text.contains("OUTPUT_TYPE"), "{}", state.text);
    }

    #[test]
    fn a_device_that_plays_a_heart_is_told_once_as_simulated() {
        let mut desk = listener(Profile::Psws);
        let line = "PSWS,1,SIM,10,1000,512,74,812,1,90,OK\n";
        let events = say(&mut desk, 7, &format!("\n{line}{line}"));
        assert_eq!(events, [beats(&id(0), 7, vec![], Origin::Simulated)]);
        assert_eq!(say(&mut desk, 8, line), []);
        let live = line.replace("SIM", "LIVE");
        assert_eq!(
            say(&mut desk, 9, &live),
            [beats(&id(0), 9, vec![rr(812.0)], Origin::Pulse)]
        );
        assert_eq!(
            say(&mut desk, 10, line),
            [beats(&id(0), 10, vec![], Origin::Simulated)]
        );
    }
}
