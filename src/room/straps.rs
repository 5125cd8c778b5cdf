//! The registry: which straps the hub knows, by number and label, and what their radio last said.
//! Not here: their beats (`heart`), who wears them (`people`).

use std::collections::{BTreeMap, HashMap};

use coherence_hal::{About, Link, Origin, StrapId};

use super::StrapNo;
use super::heart::Heart;
use super::rows::{Stamp, StrapRow};
use super::view::{StrapState, StrapView};

/// A strap that was not heard in the air for longer is away.
const AWAY_MS: i64 = 30_000;

/// How loud a strap was heard is old after this, ms: twice as long as from one word of it to the next.
const NEAR_MS: i64 = 12_000;

/// One known strap.
#[derive(Clone, Debug)]
pub struct Strap {
    pub row: StrapRow,
    transport: String,
    pub link: Option<Link>,
    pub battery_pct: Option<u8>,
    pub rssi_dbm: Option<i16>,
    /// The same, smoothed over some messages, and when it was heard last.
    near: Option<(f64, i64)>,
    /// What it says of itself.
    pub about: About,
    /// When anything was last heard of it in this run of the hub.
    last_sign_ms: Option<i64>,
    /// Whether its beats were flowing when last looked at, for the notes of changes.
    pub streaming: bool,
}

/// All known straps.
#[derive(Clone, Debug, Default)]
pub struct Straps {
    by_no: BTreeMap<StrapNo, Strap>,
    by_identity: HashMap<String, StrapNo>,
}

impl Straps {
    pub fn remembered(rows: Vec<StrapRow>) -> Self {
        let mut straps = Straps::default();
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
            row,
            transport,
            link: None,
            battery_pct: None,
            rssi_dbm: None,
            near: None,
            about: About::default(),
            last_sign_ms: None,
            streaming: false,
        };
        self.by_no.insert(no, strap);
        no
    }

    /// The strap of this identity; a stranger gets the next number. True when it is new.
    pub fn meet(&mut self, id: &StrapId, at: Stamp) -> (&mut Strap, bool) {
        let known = self.by_identity.get(id.as_str()).copied();
        let no = known.unwrap_or_else(|| {
            let no = StrapNo(
                self.by_no
                    .last_key_value()
                    .map_or(1, |(last, _)| last.0 + 1),
            );
            self.insert(StrapRow {
                no,
                identity: id.as_str().to_owned(),
                label: format!("strap {}", no.0),
                name: None,
                first_seen: at,
            })
        });
        let strap = self
            .by_no
            .get_mut(&no)
            .expect("both maps hold the same straps");
        strap.last_sign_ms = Some(at.mono_ms);
        (strap, known.is_none())
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

    /// `strap 7`, `Strap 7` or `7`.
    pub fn by_label(&self, label: &str) -> Option<StrapNo> {
        let label = label.trim();
        let named = self
            .by_no
            .values()
            .find(|strap| strap.row.label.eq_ignore_ascii_case(label));
        let numbered = || {
            label
                .parse()
                .ok()
                .map(StrapNo)
                .filter(|no| self.by_no.contains_key(no))
        };
        named.map(|strap| strap.row.no).or_else(numbered)
    }
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

    /// Takes over what it says of itself; what it does not say now, it may have said before.
    pub fn learn(&mut self, about: About) {
        let known = std::mem::take(&mut self.about);
        self.about = About {
            manufacturer: about.manufacturer.or(known.manufacturer),
            model: about.model.or(known.model),
            serial: about.serial.or(known.serial),
            firmware: about.firmware.or(known.firmware),
            location: about.location.or(known.location),
        };
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

    /// What anybody may see of it.
    pub fn view(&self, heart: Option<&Heart>, claimed: bool, now_ms: i64) -> StrapView {
        let state = self.state(heart, now_ms);
        let verdict = heart
            .and_then(|heart| heart.latest.as_ref())
            .map(|scored| scored.verdict);
        let reason = match state {
            StrapState::OffBody => Some("off_body"),
            StrapState::Streaming => match verdict {
                Some(Ok(_)) => None,
                Some(Err(reason)) => Some(reason.word()),
                None => Some("warming_up"),
            },
            StrapState::Silent | StrapState::Connecting | StrapState::Seen | StrapState::Away => {
                Some("silent")
            }
        };
        StrapView {
            label: self.row.label.clone(),
            transport: self.transport.clone(),
            radios: vec![self.transport.clone()],
            claimed,
            state,
            reason,
            link: match &self.link {
                Some(Link::Down { why }) => Some(why.clone()),
                Some(Link::Connecting) => Some("connecting".to_owned()),
                Some(Link::Up) | None => None,
            },
            contact: heart.and_then(|heart| heart.contact),
            battery_pct: self.battery_pct,
            model: self.about.model.clone(),
            location: self.about.location,
            rssi_dbm: self.rssi_dbm,
            origin: heart.and_then(|heart| heart.origin).map(Origin::word),
            last_beat_age_ms: heart.and_then(|heart| heart.age_ms(now_ms)),
            beats_accepted: Some(heart.map_or(0, |heart| heart.beats_accepted)),
            beats_rejected: Some(heart.map_or(0, |heart| heart.beats_rejected)),
            beats_missing: Some(heart.map_or(0, |heart| heart.beats_missing)),
        }
    }
}
