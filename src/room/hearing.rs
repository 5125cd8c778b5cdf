//! What the sources say: states, steps, links, and everything that comes from a strap. Not here: what
//! time alone brings (`Room::tick`), where an interval belongs (`arrival`).

use coherence_hal::{Link, SourceEvent, StrapEvent, StrapId, StrapNews};

use super::arrival::Placed;
use super::rows::Row;
use super::view::{LinksView, SourceView};
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
                *self.counts.of_sources.entry((name, what)).or_default() += count;
            }
            SourceEvent::Links(links) => {
                let label = |id: &StrapId| self.straps.label_of(id);
                let links = LinksView {
                    waiting: links.waiting.iter().filter_map(label).collect(),
                    adapters: links.adapters.into_iter().map(Into::into).collect(),
                };
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
        let (strap, new) = self.straps.meet(&event.strap, self.clock.stamp(at_ms));
        let no = strap.row.no;
        if new {
            self.facts.push(Row::Strap(strap.row.clone()));
            self.notes.push(Note::StrapNew {
                label: strap.row.label.clone(),
            });
        }
        let key = HeartKey::Strap(no);
        match event.news {
            StrapNews::Seen { name, rssi_dbm } => {
                strap.rssi_dbm = rssi_dbm.or(strap.rssi_dbm);
                if name.is_some() && name != strap.row.name {
                    strap.row.name = name;
                    self.facts.push(Row::Strap(strap.row.clone()));
                }
            }
            StrapNews::Link(link) => {
                let is_down = matches!(link, Link::Down { .. });
                strap.link = Some(link);
                self.changes.links = true;
                if is_down && let Some(heart) = self.hearts.get_mut(&key) {
                    let mut placed = std::mem::take(&mut self.placed);
                    heart.link_down(&mut placed);
                    self.keep(key, placed);
                }
            }
            StrapNews::Battery(percent) => {
                if percent < 15 && strap.battery_pct.is_none_or(|before| before >= 15) {
                    self.notes.push(Note::StrapBatteryLow {
                        label: strap.row.label.clone(),
                        percent,
                    });
                }
                strap.battery_pct = Some(percent);
            }
            StrapNews::About(about) => strap.learn(about),
            StrapNews::Malformed(_) => self.counts.malformed += 1,
            StrapNews::Duplicate => self.counts.duplicates += 1,
            StrapNews::Measurement(measurement) => {
                strap.link = Some(Link::Up);
                self.counts.trailing_bytes += measurement.trailing_bytes as u64;
                let mut placed = std::mem::take(&mut self.placed);
                self.hearts
                    .entry(key)
                    .or_default()
                    .measurement(at_ms, &measurement, &mut placed);
                self.keep(key, placed);
            }
        }
    }

    /// Keeps what has found its place, and hands the scratch back.
    pub(super) fn keep(&mut self, key: HeartKey, mut placed: Vec<Placed>) {
        let Room {
            hearts,
            clock,
            counts,
            beats,
            next_rr_id,
            ..
        } = self;
        if let Some(heart) = hearts.get_mut(&key) {
            for placed in placed.drain(..) {
                *counts.rr.entry(placed.mark).or_default() += 1;
                counts.gaps += u64::from(placed.gap_ms > 0.0);
                let arrived = clock.stamp(placed.arrived_mono_ms);
                beats.push(Row::Rr(heart.keep(*next_rr_id, key, placed, arrived)));
                *next_rr_id += 1;
            }
        }
        self.placed = placed;
    }
}
