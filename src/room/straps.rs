//! The registry: which straps the hub knows, by number and label, what their radio last said, and for how
//! long they are remembered. Not here: their beats (`heart`), who wears them (`people`), why one gives no
//! score (`cause`), what the room does with all this (`registry`).
//!
//! A strap gets the lowest free number when it is first heard. The room hears strangers' devices too, so
//! one that never delivered a beat, was never worn and has no label is dropped a day after it was heard
//! last; any other, unless somebody gave it a label, after `privacy.keep_days`. A number that rows name is
//! given to nobody else until they are gone.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use coherence_hal::{About, Link, Origin, StrapId};

use super::StrapNo;
use super::cause::Cause;
use super::heart::Heart;
use super::rows::{Battery, Row, Stamp, StrapRow};
use super::view::{StrapState, StrapView, WearerView};

/// A strap that was not heard in the air for longer is away.
const AWAY_MS: i64 = 30_000;
/// A stranger's device is remembered so long after it was heard last: a strap that was carried through the
/// room today keeps its number until tomorrow.
const STRANGER_MS: i64 = 86_400_000;
/// Straps known at a time, several times the largest room: who sends under ever new addresses must not
/// fill memory and disk.
const KNOWN_MAX: usize = 1_000;
/// The longest label, characters.
const LABEL_CHARS: usize = 32;
/// Labels that are offered where one is unknown.
const NEAR_LABELS: usize = 3;

/// How loud a strap was heard is old after this, ms: twice as long as from one word of it to the next.
const NEAR_MS: i64 = 12_000;

/// One known strap.
#[derive(Clone, Debug)]
pub struct Strap {
    pub row: StrapRow,
    transport: String,
    pub link: Option<Link>,
    pub rssi_dbm: Option<i16>,
    /// The source that has no free link for it.
    pub waits_for: Option<&'static str>,
    /// How loud, smoothed over some messages, and when it was heard last.
    near: Option<(f64, i64)>,
    /// When anything was last heard of it in this run of the hub.
    last_sign_ms: Option<i64>,
    /// `last_seen` as it was written last, monotonic.
    written_seen_ms: i64,
    /// What the log was told of it, and what it may have to be told.
    pub told: super::registry::Told,
}

/// All known straps.
#[derive(Clone, Debug, Default)]
pub struct Straps {
    by_no: BTreeMap<StrapNo, Strap>,
    by_identity: HashMap<String, StrapNo>,
    /// Numbers of forgotten straps that rows name.
    resting: BTreeSet<StrapNo>,
    /// When this run of the hub began, monotonic.
    since_ms: i64,
    /// Rows of dropped straps, and the straps whose rows are to be written with the next commit.
    gone: Vec<Row>,
    owed: BTreeSet<StrapNo>,
}

impl Straps {
    /// The registry as a restart finds it.
    pub fn remembered(rows: Vec<StrapRow>, resting: BTreeSet<StrapNo>, now_ms: i64) -> Self {
        let mut straps = Straps {
            resting,
            since_ms: now_ms,
            ..Straps::default()
        };
        for row in rows {
            straps.insert(row);
        }
        straps
    }

    fn insert(&mut self, row: StrapRow) -> StrapNo {
        let no = row.no;
        let transport = StrapId::from_stored(&row.identity).transport().to_owned();
        self.by_identity.insert(row.identity.clone(), no);
        let strap = Strap {
            transport,
            link: None,
            rssi_dbm: None,
            waits_for: None,
            near: None,
            last_sign_ms: None,
            written_seen_ms: row.last_seen.mono_ms,
            told: super::registry::Told::default(),
            row,
        };
        self.by_no.insert(no, strap);
        no
    }

    /// The strap of this identity; a stranger gets a number. True when it is new.
    pub fn meet(&mut self, id: &StrapId, at: Stamp) -> (&mut Strap, bool) {
        let known = self.by_identity.get(id.as_str()).copied();
        let no = known.unwrap_or_else(|| {
            let no = self.free_no();
            self.owed.insert(no);
            self.insert(StrapRow::new(no, id.as_str(), at))
        });
        let strap = self
            .by_no
            .get_mut(&no)
            .expect("both maps hold the same straps");
        strap.last_sign_ms = Some(at.mono_ms);
        strap.row.last_seen = at;
        (strap, known.is_none())
    }

    /// A strap was heard over its other radio.
    pub fn note_sign(&mut self, no: StrapNo, at: Stamp) {
        if let Some(strap) = self.by_no.get_mut(&no) {
            strap.last_sign_ms = Some(at.mono_ms);
            strap.row.last_seen = at;
        }
    }

    /// The lowest number that is nobody's and whose label nobody has.
    fn free_no(&self) -> StrapNo {
        (1..)
            .map(StrapNo)
            .find(|no| {
                !self.by_no.contains_key(no)
                    && !self.resting.contains(no)
                    && self.labelled(&StrapRow::number_label(*no)).is_none()
            })
            .expect("there are more numbers than straps")
    }

    /// Whom to forget before another stranger is met, where there are as many as may be: never one that
    /// somebody wears or has labelled.
    pub fn one_too_many(&self, id: &StrapId, worn: &BTreeSet<StrapNo>) -> Option<StrapNo> {
        if self.by_no.len() < KNOWN_MAX || self.by_identity.contains_key(id.as_str()) {
            return None;
        }
        let may_go = self
            .by_no
            .values()
            .filter(|strap| !strap.row.is_labelled() && !worn.contains(&strap.row.no));
        may_go
            .min_by_key(|strap| (strap.row.used, strap.last_sign_ms))
            .map(|strap| strap.row.no)
    }

    /// Who was not heard for so long that the hub forgets them.
    pub fn outdated(&self, keep_ms: i64, worn: &BTreeSet<StrapNo>, now: Stamp) -> Vec<StrapNo> {
        let is_outdated = |strap: &&Strap| {
            let kept_ms = if strap.row.used { keep_ms } else { STRANGER_MS };
            !strap.row.is_labelled()
                && !worn.contains(&strap.row.no)
                && self.unheard_ms(strap, now) >= kept_ms
        };
        let outdated = self.by_no.values().filter(is_outdated);
        outdated.map(|strap| strap.row.no).collect()
    }

    /// How long nothing was heard of it, as far as that is certain.
    fn unheard_ms(&self, strap: &Strap, now: Stamp) -> i64 {
        let in_this_run_ms = now.mono_ms - strap.last_sign_ms.unwrap_or(self.since_ms);
        let seen = strap.row.last_seen;
        if strap.last_sign_ms.is_none() && seen.synced && now.synced {
            in_this_run_ms.max(now.wall_ms - seen.wall_ms)
        } else {
            in_this_run_ms
        }
    }

    /// Takes a strap out; what is to be written of it, which also goes with the next commit.
    pub fn forget(&mut self, no: StrapNo, at: Stamp) -> Option<(Strap, Row)> {
        let strap = self.by_no.remove(&no)?;
        self.by_identity.remove(&strap.row.identity);
        self.owed.remove(&no);
        let rests = strap.row.used;
        if rests {
            self.resting.insert(no);
        }
        let row = Row::ForgetStrap {
            strap: no,
            rests,
            at,
        };
        // Also where it can't be stored at once.
        self.gone.push(row.clone());
        Some((strap, row))
    }

    /// The row of this strap has changed: it is written with the next commit.
    pub fn owe(&mut self, no: StrapNo) {
        self.owed.insert(no);
    }

    /// From now on rows name it.
    pub fn note_use(&mut self, no: StrapNo) {
        if let Some(strap) = self.by_no.get_mut(&no)
            && !strap.row.used
        {
            strap.row.used = true;
            self.owed.insert(no);
        }
    }

    /// Who was heard since that was last written: a card does not last if each advertisement is.
    pub fn owe_last_seen(&mut self) {
        for (no, strap) in &self.by_no {
            if strap
                .last_sign_ms
                .is_some_and(|ms| ms != strap.written_seen_ms)
            {
                self.owed.insert(*no);
            }
        }
    }

    /// What is to be written, before any row that names a strap.
    pub fn take_owed(&mut self) -> Vec<Row> {
        let mut rows = std::mem::take(&mut self.gone);
        for no in std::mem::take(&mut self.owed) {
            if let Some(strap) = self.by_no.get_mut(&no) {
                strap.written_seen_ms = strap.row.last_seen.mono_ms;
                rows.push(Row::Strap(strap.row.clone()));
            }
        }
        rows
    }

    /// What a source says of its links: who waits for one.
    pub fn note_waiting(&mut self, source: &'static str, waiting: &[StrapId]) {
        for strap in self.by_no.values_mut() {
            if strap.waits_for == Some(source) {
                strap.waits_for = None;
            }
        }
        for id in waiting {
            let no = self.by_identity.get(id.as_str());
            if let Some(strap) = no.and_then(|no| self.by_no.get_mut(no)) {
                strap.waits_for = Some(source);
            }
        }
    }

    pub fn get(&self, no: StrapNo) -> Option<&Strap> {
        self.by_no.get(&no)
    }

    pub fn get_mut(&mut self, no: StrapNo) -> Option<&mut Strap> {
        self.by_no.get_mut(&no)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Strap> {
        self.by_no.values()
    }

    pub fn numbers(&self) -> Vec<StrapNo> {
        self.by_no.keys().copied().collect()
    }

    /// The label of a known strap.
    pub fn label_of(&self, id: &StrapId) -> Option<String> {
        let no = self.by_identity.get(id.as_str())?;
        self.get(*no).map(|strap| strap.row.label.clone())
    }

    /// How the sources call it.
    pub fn id_of(&self, no: StrapNo) -> Option<StrapId> {
        self.get(no)
            .map(|strap| StrapId::from_stored(&strap.row.identity))
    }

    /// `strap 7`, `Strap 7` or `7`; what is written on a strap goes before the hub's own number of
    /// another. `#7` is always the number.
    pub fn by_label(&self, label: &str) -> Option<StrapNo> {
        let label = label.trim();
        let numbered = |text: &str| {
            let no = text.parse().ok().map(StrapNo);
            no.filter(|no| self.by_no.contains_key(no))
        };
        if let Some(number) = label.strip_prefix('#') {
            return numbered(number);
        }
        self.labelled(label)
            .or_else(|| self.labelled(&format!("strap {label}")))
            .or_else(|| numbered(label))
    }

    fn labelled(&self, label: &str) -> Option<StrapNo> {
        let label = label.to_lowercase();
        let found = self.by_no.values();
        let mut found = found.filter(|strap| strap.row.label.to_lowercase() == label);
        found.next().map(|strap| strap.row.no)
    }

    /// The strap that has this label already, other than `no`.
    pub fn other_labelled(&self, label: &str, no: StrapNo) -> Option<StrapNo> {
        self.labelled(label).filter(|other| *other != no)
    }

    /// Labels that are spelt like one that nobody has, the nearest first.
    pub fn near_labels(&self, label: &str) -> Vec<&str> {
        let label = label.trim().to_lowercase();
        let mut near: Vec<_> = self
            .by_no
            .values()
            .map(|strap| {
                let other = strap.row.label.to_lowercase();
                let bare = other.strip_prefix("strap ").unwrap_or(&other);
                let whole = strsim::damerau_levenshtein(&other, &label);
                let distance = whole.min(strsim::damerau_levenshtein(bare, &label));
                (distance, strap.row.label.as_str())
            })
            .filter(|(distance, other)| *distance <= other.chars().count().div_ceil(3))
            .collect();
        near.sort();
        near.truncate(NEAR_LABELS);
        near.into_iter().map(|(_, label)| label).collect()
    }
}

/// A label as it is kept.
///
/// # Errors
/// What is wrong with it, as a sentence.
pub fn tidy_label(label: &str) -> Result<String, String> {
    let label = label.trim();
    if !(1..=LABEL_CHARS).contains(&label.chars().count()) {
        return Err(format!("A label has 1 to {LABEL_CHARS} characters."));
    }
    if label.chars().any(char::is_control) {
        return Err("A label must not hold control characters.".to_owned());
    }
    if label.starts_with('#') {
        return Err(
            "A label must not begin with #: that stands for the hub's own number.".to_owned(),
        );
    }
    Ok(label.to_owned())
}

impl Strap {
    /// The kind of its radio.
    pub fn transport(&self) -> &str {
        &self.transport
    }

    /// Takes note of how loud it is heard.
    pub fn hear_signal(&mut self, rssi_dbm: Option<i16>, at_ms: i64) {
        let Some(dbm) = rssi_dbm else { return };
        self.rssi_dbm = rssi_dbm;
        let before = self.near.filter(|(_, last)| at_ms - last <= NEAR_MS);
        let mean = before.map_or(f64::from(dbm), |(mean, _)| {
            mean + (f64::from(dbm) - mean) / 2.0
        });
        self.near = Some((mean, at_ms));
    }

    /// How loud it is heard now, dBm; None where that is not known.
    pub fn signal_dbm(&self, now_ms: i64) -> Option<f64> {
        self.near
            .filter(|(_, last)| now_ms - last <= NEAR_MS)
            .map(|(mean, _)| mean)
    }

    /// Takes over what it says of itself; what it does not say now, it may have said before. True where
    /// that is news.
    pub fn learn(&mut self, about: About) -> bool {
        let known = self.row.about.clone();
        self.row.about = About {
            manufacturer: about.manufacturer.or(known.manufacturer.clone()),
            model: about.model.or(known.model.clone()),
            serial: about.serial.or(known.serial.clone()),
            firmware: about.firmware.or(known.firmware.clone()),
            location: about.location.or(known.location),
        };
        self.row.about != known
    }

    /// Its battery says something; true where that is news.
    pub fn battery(&mut self, pct: u8, at: Stamp) -> bool {
        let before = self.row.battery.replace(Battery { pct, at });
        before.is_none_or(|before| before.pct != pct)
    }

    /// It says how its beats are told; true where that is news.
    pub fn is_of(&mut self, origin: Origin) -> bool {
        self.row.origin.replace(origin) != Some(origin)
    }

    pub fn state(&self, heart: Option<&Heart>, now_ms: i64) -> StrapState {
        let beating = heart.is_some_and(|heart| !heart.silent(now_ms));
        let heard = heart.is_some_and(|heart| heart.beats_accepted + heart.beats_rejected > 0);
        let near = self
            .last_sign_ms
            .is_some_and(|last| now_ms - last <= AWAY_MS);
        match &self.link {
            Some(Link::Down { .. }) if heard && near => StrapState::Silent,
            _ if heart.is_some_and(|heart| heart.off_body(now_ms)) => StrapState::OffBody,
            _ if beating => StrapState::Streaming,
            _ if heard && near => StrapState::Silent,
            Some(Link::Connecting | Link::Up) if near => StrapState::Connecting,
            _ if near => StrapState::Seen,
            _ => StrapState::Away,
        }
    }

    /// All that may be seen of it; what is not for everybody is taken out later.
    pub fn view(
        &self,
        heart: Option<&Heart>,
        wearer: Option<WearerView>,
        now_ms: i64,
    ) -> StrapView {
        let state = self.state(heart, now_ms);
        let cause = Cause::of(self, heart, state);
        StrapView {
            no: Some(self.row.no.0),
            label: self.row.label.clone(),
            transport: self.transport.clone(),
            radios: vec![self.transport.clone()],
            claimed: wearer.is_some(),
            wearer,
            state,
            reason: cause.as_ref().map(|cause| cause.reason()),
            link: match &self.link {
                Some(Link::Down { why }) => Some(why.clone()),
                Some(Link::Connecting) => Some("connecting".to_owned()),
                Some(Link::Up) | None => None,
            },
            cause: cause.map(|cause| cause.view()),
            contact: heart.and_then(|heart| heart.contact),
            battery_pct: self.row.battery.map(|battery| battery.pct),
            battery_at: self.row.battery.map(|battery| battery.at.wall_ms),
            manufacturer: self.row.about.manufacturer.clone(),
            model: self.row.about.model.clone(),
            firmware: self.row.about.firmware.clone(),
            location: self.row.about.location,
            rssi_dbm: self.rssi_dbm,
            origin: self.row.origin.map(Origin::word),
            first_seen_at: Some(self.row.first_seen.wall_ms),
            last_seen_at: Some(self.row.last_seen.wall_ms),
            last_beat_age_ms: heart.and_then(|heart| heart.age_ms(now_ms)),
            beats_accepted: Some(heart.map_or(0, |heart| heart.beats_accepted)),
            beats_rejected: Some(heart.map_or(0, |heart| heart.beats_rejected)),
            beats_missing: Some(heart.map_or(0, |heart| heart.beats_missing)),
        }
    }
}
