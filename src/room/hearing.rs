//! What the sources say: states, steps, links, and everything that comes from a strap. Not here: what
//! time alone brings (`Room::tick`), where an interval belongs (`arrival`).

use coherence_hal::{Link, SourceEvent, StrapEvent, StrapId, StrapNews};

use super::arrival::Placed;
use super::rows::Row;
use super::view::{BeatView, LinksView, SourceView};
use super::{HeartKey, Note, Room};

impl Room {
    /// Names a source of straps, so that it is shown before it has spoken.
    pub fn expect_source(&mut self, name: &'static str) {
        let text = "Starting.".to_owned();
        self.sources.push(SourceView {
            name,
            up: false,
            code: "starting",
            text,
            links: None,
        });
    }

    /// What a source of straps says.
    pub fn source_event(&mut self, name: &'static str, event: SourceEvent) {
        match event {
            SourceEvent::State(state) => {
                let seat = self.source(name);
                let said = (state.up, state.code, state.text.as_str());
                if (seat.up, seat.code, seat.text.as_str()) == said {
                    return;
                }
                (seat.up, seat.code) = (state.up, state.code);
                seat.text.clone_from(&state.text);
                self.notes.push(Note::SourceChanged { name, state });
            }
            SourceEvent::Strap(event) => self.strap_event(event),
            SourceEvent::Step(step) => {
                *self.counts.steps.entry(step.rung).or_default() += 1;
                let strap = step.strap.and_then(|id| self.straps.label_of(&id));
                self.notes.push(Note::Recovery {
                    source: name,
                    rung: step.rung,
                    strap,
                    why: step.why,
                });
            }
            SourceEvent::Counted { what, count } => {
                *self.counts.of_sources.entry(what).or_default() += count;
            }
            SourceEvent::Links(links) => {
                let label = |id: &StrapId| self.straps.label_of(id);
                let waiting = links.waiting;
                let links = LinksView {
                    waiting: waiting.iter().filter_map(label).collect(),
                    adapters: links.adapters.into_iter().map(Into::into).collect(),
                };
                self.straps.note_waiting(name, &waiting);
                self.source(name).links = Some(links);
                self.changes.links = true;
            }
        }
    }

    /// The seat of a source among the views; one that nobody expected gets its own.
    fn source(&mut self, name: &'static str) -> &mut SourceView {
        let place = self.sources.iter().position(|source| source.name == name);
        let place = place.unwrap_or_else(|| {
            self.expect_source(name);
            self.sources.len() - 1
        });
        &mut self.sources[place]
    }

    fn strap_event(&mut self, event: StrapEvent) {
        let at_ms = event.at_ms;
        self.make_room_for(&event.strap, at_ms);
        let (strap, new) = self.straps.meet(&event.strap, self.clock.stamp(at_ms));
        let no = strap.row.no;
        if new {
            self.notes.push(Note::StrapNew {
                label: strap.row.label.clone(),
            });
        }
        let lead = self.radios.lead(no);
        let key = HeartKey::Strap(lead);
        self.radios.hear(no, at_ms, &event.news);
        match event.news {
            StrapNews::Seen { name, rssi_dbm } => {
                strap.hear_signal(rssi_dbm, at_ms);
                if name.is_some() && name != strap.row.name {
                    strap.row.name = name;
                    self.straps.owe(no);
                }
            }
            StrapNews::Link(link) => {
                let is_down = matches!(link, Link::Down { .. });
                strap.link = Some(link);
                self.changes.links = true;
                if is_down {
                    self.radios.tear(no);
                    if self.radios.carrier(lead) == no
                        && let Some(heart) = self.hearts.get_mut(&key)
                    {
                        let mut placed = std::mem::take(&mut self.placed);
                        heart.link_down(&mut placed);
                        self.keep(key, placed);
                    }
                }
            }
            StrapNews::Battery(percent) => {
                let before = strap.row.battery.map(|battery| battery.pct);
                if percent < 15 && before.is_none_or(|before| before >= 15) {
                    self.notes.push(Note::StrapBatteryLow {
                        label: strap.row.label.clone(),
                        percent,
                    });
                }
                if strap.battery(percent, self.clock.stamp(at_ms)) {
                    self.straps.owe(no);
                }
            }
            StrapNews::About(about) => {
                if strap.learn(about) {
                    self.straps.owe(no);
                }
            }
            StrapNews::Malformed(_) => self.counts.malformed += 1,
            StrapNews::Duplicate => self.counts.duplicates += 1,
            StrapNews::Measurement(measurement) => {
                strap.link = Some(Link::Up);
                self.counts.trailing_bytes += measurement.trailing_bytes as u64;
                if self.carries(no, at_ms) {
                    let mut placed = std::mem::take(&mut self.placed);
                    self.hearts.entry(key).or_default().measurement(
                        at_ms,
                        &measurement,
                        &mut placed,
                    );
                    self.keep(key, placed);
                }
                self.look_for_twin(no, at_ms);
            }
            StrapNews::Beats(beats) => {
                strap.link = Some(Link::Up);
                if strap.is_of(beats.origin) {
                    self.straps.owe(no);
                }
                if self.carries(no, at_ms) {
                    let mut placed = std::mem::take(&mut self.placed);
                    let heart = self.hearts.entry(key).or_default();
                    self.counts.missing += heart.beats(at_ms, &beats, &mut placed);
                    self.keep(key, placed);
                }
                self.look_for_twin(no, at_ms);
            }
        }
        if lead != no {
            self.straps.note_sign(lead, self.clock.stamp(at_ms));
        }
    }

    /// Keeps what has found its place, and hands the scratch back.
    pub(super) fn keep(&mut self, key: HeartKey, mut placed: Vec<Placed>) {
        let wearer = match key {
            HeartKey::Strap(no) => self.people.wearer(no),
            HeartKey::Phone(_) => None, // it knows its own
        };
        let via = match key {
            HeartKey::Strap(lead) => Some(self.radios.carrier(lead)).filter(|no| *no != lead),
            HeartKey::Phone(_) => None,
        };
        let Room {
            hearts,
            straps,
            clock,
            counts,
            beats,
            next_rr_id,
            pulses,
            ..
        } = self;
        if let HeartKey::Strap(no) = key
            && !placed.is_empty()
        {
            straps.note_use(no);
            via.into_iter().for_each(|no| straps.note_use(no));
        }
        if let Some(heart) = hearts.get_mut(&key) {
            for placed in placed.drain(..) {
                *counts.rr.entry(placed.mark).or_default() += 1;
                counts.gaps += u64::from(placed.gap_ms > 0.0);
                if let Some(wearer) = wearer.filter(|_| placed.mark.on_tachogram()) {
                    let at = clock.hub_time_ms(placed.beat_mono_ms.round() as i64);
                    let rr_ms = placed.rr_ms;
                    pulses.push((wearer, BeatView { at, rr_ms }));
                }
                let arrived = clock.stamp(placed.arrived_mono_ms);
                beats.push(Row::Rr(heart.keep(
                    *next_rr_id,
                    (key, via),
                    placed,
                    arrived,
                )));
                *next_rr_id += 1;
            }
        }
        self.placed = placed;
    }
}
