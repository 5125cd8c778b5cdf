//! What the room does with its registry of straps: labels them, forgets them, tells the log what changed
//! about them, and has their rows written. Not here: the registry itself (`straps`).

use coherence_hal::Wish;

use super::cause::Cause;
use super::command::{Refusal, RefusalCode, Reply};
use super::rows::Row;
use super::straps::{Strap, tidy_label};
use super::view::{RegistryView, StrapState, StrapView, WearerView};
use super::{HeartKey, Note, Outcome, Room, StrapNo};

/// How long a change about a strap must hold before it is news.
const STABLE_MS: i64 = 3_000;
/// And where beats arrive and only the score is missing: more than two grid points, because one poor
/// window in between is none.
const STABLE_SCORE_MS: i64 = 12_000;

/// What the log was told of a strap.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The code of the cause; [`SCORED`] where there is a score.
    code: Option<&'static str>,
    beats: bool,
    /// Another code, and since when.
    next: Option<(&'static str, i64)>,
}

/// Instead of a cause.
const SCORED: &str = "scored";

impl Room {
    /// The registry as the admin sees it.
    pub fn registry(&self, now_ms: i64) -> Vec<RegistryView> {
        let view = |strap: &Strap| RegistryView {
            no: strap.row.no.0,
            identity: strap.row.identity.clone(),
            name: strap.row.name.clone(),
            serial: strap.row.about.serial.clone(),
            labelled: strap.row.is_labelled(),
            strap: self.strap_view(strap.row.no, now_ms),
        };
        self.straps.iter().map(view).collect()
    }

    /// Gives a strap another label, or its number's own again.
    pub(super) fn label_strap(
        &mut self,
        strap: &str,
        label: &str,
        now_ms: i64,
    ) -> Result<Outcome, Refusal> {
        let no = self.known_strap(strap)?;
        let label = tidy_label(label).map_err(|why| Refusal::new(RefusalCode::BadValue, why))?;
        if let Some(other) = self.straps.other_labelled(&label, no) {
            return Err(Refusal::new(
                RefusalCode::LabelTaken,
                format!(
                    "Strap number {} has the label {label:?} already: give that one another label first.",
                    other.0
                ),
            ));
        }
        let strap = self.straps.get_mut(no).expect("it was found just now");
        strap.row.label = label;
        let row = Row::Strap(strap.row.clone());
        self.straps.owe(no); // also where it can't be stored at once
        self.changes.links = true;
        let mut outcome = Outcome::of(Reply::Strap(self.strap_view(no, now_ms)));
        outcome.durable = vec![row];
        Ok(outcome)
    }

    /// A strap leaves the registry, over whatever radios it is heard. What it has delivered stays whose it was: R-R are the person's data,
    /// and go with their erasure or with `privacy.keep_days`; what nobody claimed goes with the latter.
    pub(super) fn forget_strap(&mut self, strap: &str, now_ms: i64) -> Result<Outcome, Refusal> {
        let lead = self.radios.lead(self.known_strap(strap)?);
        let at = self.clock.stamp(now_ms);
        // What is still held belongs to whoever wore it up to now.
        self.begin_anew(HeartKey::Strap(lead));
        let mut outcome = Outcome::of(Reply::Done);
        let both = [Some(lead), self.radios.other(lead)];
        for no in both.into_iter().flatten() {
            self.people.forget_strap(no, at, &mut self.facts);
            if let Some((strap, row)) = self.straps.forget(no, at) {
                outcome.durable.push(row);
                self.let_go(&strap);
            }
        }
        Ok(outcome)
    }

    /// Who was not heard for long is forgotten, as the store does.
    pub(super) fn forget_outdated_straps(&mut self, now_ms: i64) {
        let now = self.clock.stamp(now_ms);
        let worn = self.people.worn();
        let outdated = self.straps.outdated(self.settings.keep_ms, &worn, now);
        for no in outdated {
            self.drop_strap(no, now_ms);
        }
    }

    /// Before a stranger is met among too many.
    pub(super) fn make_room_for(&mut self, id: &coherence_hal::StrapId, now_ms: i64) {
        if let Some(no) = self.straps.one_too_many(id, &self.people.worn()) {
            self.drop_strap(no, now_ms);
        }
    }

    fn drop_strap(&mut self, no: StrapNo, now_ms: i64) {
        let at = self.clock.stamp(now_ms);
        self.people.forget_strap(no, at, &mut self.facts);
        if let Some((strap, _)) = self.straps.forget(no, at) {
            self.counts.straps_forgotten += 1;
            self.let_go(&strap);
        }
    }

    fn let_go(&mut self, strap: &Strap) {
        self.forget_radio(strap.row.no);
        self.hearts.remove(&HeartKey::Strap(strap.row.no));
        let id = coherence_hal::StrapId::from_stored(&strap.row.identity);
        self.wishes.push(Wish::Forget(id));
        self.changes.links = true;
    }

    fn known_strap(&self, strap: &str) -> Result<StrapNo, Refusal> {
        self.straps.by_label(strap).ok_or_else(|| {
            let strap: String = strap.trim().chars().take(64).collect();
            let hint = match self.straps.near_labels(&strap).as_slice() {
                [] => "The list of straps shows all labels.".to_owned(),
                near => {
                    let near: Vec<_> = near.iter().map(|label| format!("{label:?}")).collect();
                    format!("Is it {}?", near.join(" or "))
                }
            };
            Refusal::new(
                RefusalCode::UnknownStrap,
                format!("The hub knows no strap {strap:?}. {hint}"),
            )
        })
    }

    /// A known strap as it is seen: under its own number and label, by what the radio that carries its
    /// heart now has to say.
    pub(super) fn strap_view(&self, no: StrapNo, now_ms: i64) -> StrapView {
        let strap = self.straps.get(no).expect("a strap that is known");
        let lead = self.radios.lead(no);
        let heart = self.hearts.get(&HeartKey::Strap(lead));
        let carrier = self.straps.get(self.radios.carrier(lead)).unwrap_or(strap);
        let wearer = self.people.wearer(lead).and_then(|id| self.people.get(id));
        let wearer = wearer.map(|person| WearerView {
            name: person.row.name.clone(),
            phone: person.socket.is_some(),
        });
        let other = self.radios.other(lead).and_then(|no| self.transport(no));
        let radios = [self.transport(lead), other].into_iter().flatten();
        StrapView {
            no: Some(no.0),
            label: strap.row.label.clone(),
            radios: radios.map(str::to_owned).collect(),
            ..carrier.view(heart, wearer, now_ms)
        }
    }

    /// Rows of straps go before whatever names them.
    pub(super) fn facts_with_straps(&mut self) -> Vec<Row> {
        for row in &self.facts {
            if let Row::Claim(claim) = row {
                self.straps.note_use(claim.strap);
            }
        }
        let mut rows = self.straps.take_owed();
        rows.append(&mut self.facts);
        rows
    }

    /// What is worth a line in the log: that beats arrive or don't, and why there is no score, once it
    /// has been so for a while.
    pub(super) fn note_straps(&mut self, now_ms: i64) {
        for no in self.straps.numbers() {
            if self.radios.lead(no) != no {
                continue; // its heart is told of under the other label
            }
            let said = self.of_log(no, now_ms);
            let Some(((state, code, note), strap)) = said.zip(self.straps.get_mut(no)) else {
                continue;
            };
            let beats = state == StrapState::Streaming;
            let told = &mut strap.told;
            if told.code == Some(code) {
                told.next = None;
                continue;
            }
            let since = match told.next {
                Some((next, since)) if next == code => since,
                _ => {
                    told.next = Some((code, now_ms));
                    now_ms
                }
            };
            let only_score = beats && told.beats;
            let stable_ms = if only_score {
                STABLE_SCORE_MS
            } else {
                STABLE_MS
            };
            if now_ms - since < stable_ms {
                continue;
            }
            let begins = beats && !told.beats;
            *told = Told {
                code: Some(code),
                beats,
                next: None,
            };
            if begins {
                self.notes.push(Note::StrapStreaming {
                    label: strap.row.label.clone(),
                });
            } else {
                self.notes.extend(note);
            }
        }
    }

    /// How the straps are now is known to everybody: a restart is no news of the room.
    pub fn straps_are_no_news(&mut self, now_ms: i64) {
        for no in self.straps.numbers() {
            let said = self.of_log(no, now_ms);
            if let Some(((state, code, _), strap)) = said.zip(self.straps.get_mut(no)) {
                strap.told = Told {
                    code: Some(code),
                    beats: state == StrapState::Streaming,
                    next: None,
                };
            }
        }
    }

    /// How a strap is, by what code, and the line for it. That one is on its way needs none: what the radio
    /// does about it is told as a step.
    fn of_log(&self, no: StrapNo, now_ms: i64) -> Option<(StrapState, &'static str, Option<Note>)> {
        let strap = self.straps.get(no)?;
        let label = strap.row.label.clone();
        let heart = self.hearts.get(&HeartKey::Strap(no));
        let carrier = self.straps.get(self.radios.carrier(no)).unwrap_or(strap);
        let state = carrier.state(heart, now_ms);
        let Some(cause) = Cause::of(carrier, heart, state) else {
            return Some((state, SCORED, Some(Note::StrapScored { label })));
        };
        let code = cause.code();
        let note = match (cause.is_of_the_score(), code) {
            (_, "connecting" | "seen") => None,
            (true, _) => Some(Note::StrapUnscored {
                label,
                code,
                why: cause.text(),
            }),
            (false, _) => Some(Note::StrapSilent {
                label,
                code,
                why: cause.text(),
                advice: cause.advice(),
            }),
        };
        Some((state, code, note))
    }

    /// The registry is to be written as it is now: a session begins, or the hub stops.
    pub fn write_down_straps(&mut self) {
        self.straps.owe_last_seen();
    }
}
