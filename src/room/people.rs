//! The people: who is known, who is present, who takes part in this session, who wears what.
//!
//! A participant lives with the phone's token until erased; a participation is one participant in
//! one session; a claim is who wore which strap, as an interval in time. Two minutes without a sign
//! of life decide presence and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::rows::{ClaimRow, ParticipantRow, ParticipationRow, Row, Stamp};
use super::{HeartKey, ParticipantId, StrapNo};
use crate::signal::course::Point;

/// Absent after this long without an open socket or a request.
pub const ABSENT_MS: i64 = 120_000;

/// People remembered at a time, twice the largest room; the store remembers everybody. Beyond it those
/// are forgotten here who were only ever names, and of these the longest gone first: joining over and
/// over must not fill the memory, nor push out those who came with a heart.
const REMEMBERED_MAX: usize = 20_000;
/// So many at a time, because looking for them means looking at everybody.
const FORGOTTEN_AT_ONCE: usize = 200;

/// R-R intervals that a phone may hand in at once, after a while without the network say.
const RR_AT_ONCE: f64 = 1_024.0;
/// And per second in the long run: more than twice what the fastest heart makes.
const RR_PER_SECOND: f64 = 10.0;

/// How often somebody may ask at once which strap is theirs: after 8 touches, and then with each touch or
/// two. And one question in so long in the long run, ms: each is compared with every strap.
const HEART_ASKS_AT_ONCE: f64 = 12.0;
const HEART_ASK_MS: f64 = 3_000.0;

/// One person.
#[derive(Clone, Debug)]
pub struct Person {
    pub row: ParticipantRow,
    /// Network address of the phone.
    pub peer: Option<IpAddr>,
    /// The open socket.
    pub socket: Option<u64>,
    last_sign: Stamp,
    participation: Option<ParticipationRow>,
    pub claim: Option<ClaimRow>,
    /// Worn last, and taken up again on coming back.
    pub last_strap: Option<StrapNo>,
    /// How many intervals the phone may hand in, and as of when.
    rr_allowed: (f64, i64),
    /// How many questions for the own heart, likewise.
    heart_asks: (f64, i64),
    /// The strap that the hub has proposed last, and when: proof that it is theirs.
    pub shown: Option<(StrapNo, i64)>,
    /// Since when they lift their strap.
    pub lifts_since_ms: Option<i64>,
    /// Has worn a strap or handed in beats.
    had_heart: bool,
    /// Own scores in this session, as the hub made them, in order of time (hub time).
    pub course: Vec<Point>,
}

impl Person {
    fn new(row: ParticipantRow, now: Stamp) -> Self {
        Person {
            row,
            peer: None,
            socket: None,
            last_sign: now,
            participation: None,
            claim: None,
            last_strap: None,
            rr_allowed: (RR_AT_ONCE, now.mono_ms),
            heart_asks: (HEART_ASKS_AT_ONCE, now.mono_ms),
            shown: None,
            lifts_since_ms: None,
            had_heart: false,
            course: Vec::new(),
        }
    }

    /// Whether the phone may hand in this many intervals now: no heart is so fast that it needs
    /// more, and every one is kept on the disk.
    pub fn may_post_rr(&mut self, count: usize, now_ms: i64) -> bool {
        let (left, as_of_ms) = self.rr_allowed;
        let since_s = (now_ms - as_of_ms).max(0) as f64 / 1_000.0;
        let left = (left + since_s * RR_PER_SECOND).min(RR_AT_ONCE) - count as f64;
        if left >= 0.0 {
            self.rr_allowed = (left, now_ms);
            self.had_heart = true;
        }
        left >= 0.0
    }

    /// Whether the hub may be asked now which strap is theirs.
    pub fn may_ask_for_heart(&mut self, now_ms: i64) -> bool {
        let (left, as_of_ms) = self.heart_asks;
        let since_ms = (now_ms - as_of_ms).max(0) as f64;
        let left = (left + since_ms / HEART_ASK_MS).min(HEART_ASKS_AT_ONCE) - 1.0;
        if left >= 0.0 {
            self.heart_asks = (left, now_ms);
        }
        left >= 0.0
    }

    /// Takes part in the session that runs.
    pub fn takes_part(&self) -> bool {
        self.participation
            .as_ref()
            .is_some_and(|participation| participation.left.is_none())
    }

    /// The heart that is this person's.
    pub fn heart(&self) -> HeartKey {
        match &self.claim {
            Some(claim) => HeartKey::Strap(claim.strap),
            None => HeartKey::Phone(self.row.id),
        }
    }

    fn absent(&self, now_ms: i64) -> bool {
        self.socket.is_none() && now_ms - self.last_sign.mono_ms >= ABSENT_MS
    }
}

/// Everybody the hub knows.
#[derive(Clone, Debug, Default)]
pub struct People {
    known: BTreeMap<ParticipantId, Person>,
    /// Who wore each strap last, or wears it now.
    last_wearer: BTreeMap<StrapNo, ParticipantId>,
    next_claim_no: i64,
}

impl People {
    /// Everybody as a restart finds them: who took part is given two minutes to come back.
    pub fn remembered(
        participants: Vec<ParticipantRow>,
        participations: Vec<ParticipationRow>,
        claims: Vec<ClaimRow>,
        last_straps: Vec<(ParticipantId, StrapNo)>,
        next_claim_no: i64,
        now: Stamp,
    ) -> Self {
        let mut people = People {
            next_claim_no,
            ..People::default()
        };
        for row in participants {
            people.known.insert(row.id, Person::new(row, now));
        }
        for row in participations {
            if let Some(person) = people.known.get_mut(&row.participant) {
                person.participation = Some(row);
            }
        }
        for (id, strap) in last_straps {
            people.last_wearer.insert(strap, id);
            if let Some(person) = people.known.get_mut(&id) {
                person.had_heart = true;
            }
        }
        for row in claims {
            if let Some(person) = people.known.get_mut(&row.participant) {
                person.last_strap = Some(row.strap);
                person.claim = Some(row);
                person.had_heart = true;
            }
        }
        people.make_room(REMEMBERED_MAX);
        people
    }

    pub fn get(&self, id: ParticipantId) -> Option<&Person> {
        self.known.get(&id)
    }

    pub fn get_mut(&mut self, id: ParticipantId) -> Option<&mut Person> {
        self.known.get_mut(&id)
    }

    pub fn present(&self) -> u32 {
        u32::try_from(
            self.known
                .values()
                .filter(|person| person.takes_part())
                .count(),
        )
        .unwrap_or(u32::MAX)
    }

    pub fn taking_part(&self) -> impl Iterator<Item = &Person> {
        self.known.values().filter(|person| person.takes_part())
    }

    /// Whether the beats of this strap so far are somebody else's, as far as anybody said.
    pub fn was_anothers(&self, strap: StrapNo, id: ParticipantId) -> bool {
        self.last_wearer.get(&strap).is_some_and(|last| *last != id)
    }

    /// All straps that somebody wears.
    pub fn worn(&self) -> BTreeSet<StrapNo> {
        let claims = self
            .known
            .values()
            .filter_map(|person| person.claim.as_ref());
        claims.map(|claim| claim.strap).collect()
    }

    pub fn wearer(&self, strap: StrapNo) -> Option<ParticipantId> {
        let wears = |person: &&Person| {
            person
                .claim
                .as_ref()
                .is_some_and(|claim| claim.strap == strap)
        };
        self.known.values().find(wears).map(|person| person.row.id)
    }

    /// A newcomer, or somebody known who joins (again), perhaps under another name.
    pub fn meet(
        &mut self,
        id: ParticipantId,
        name: Option<String>,
        intention: Option<String>,
        now: Stamp,
    ) -> Row {
        if !self.known.contains_key(&id) {
            self.make_room(REMEMBERED_MAX);
        }
        let person = self.known.entry(id).or_insert_with(|| {
            Person::new(
                ParticipantRow {
                    id,
                    name: None,
                    intention: None,
                    since: now,
                    has_left: false,
                },
                now,
            )
        });
        person.row.name = name.or(person.row.name.take());
        person.row.intention = intention.or(person.row.intention.take());
        person.row.has_left = false;
        Row::Participant(person.row.clone())
    }

    /// A sign of life. Who was absent takes part again; who has left does not. Returns the row of a participation that began or was resumed.
    pub fn sign_of_life(&mut self, id: ParticipantId, session_id: &str, now: Stamp) -> Option<Row> {
        let person = self.known.get_mut(&id)?;
        person.last_sign = now;
        if person.row.has_left {
            return None;
        }
        let here = person
            .participation
            .as_ref()
            .filter(|row| row.session_id == session_id);
        let row = match here {
            Some(row) if row.left.is_none() => return None,
            Some(row) => ParticipationRow {
                left: None,
                ..row.clone()
            },
            None => ParticipationRow {
                session_id: session_id.to_owned(),
                participant: id,
                joined: now,
                left: None,
            },
        };
        person.participation = Some(row.clone());
        Some(Row::Participation(row))
    }

    /// Ends the participation of one person.
    pub fn leave(&mut self, id: ParticipantId, at: Stamp, rows: &mut Vec<Row>) {
        self.release(id, at, rows);
        let Some(person) = self.known.get_mut(&id) else {
            return;
        };
        // Who leaves hands the strap back: coming again, they say which one they wear.
        person.last_strap = None;
        person.socket = None;
        person.row.has_left = true;
        rows.push(Row::Participant(person.row.clone()));
        if let Some(row) = person
            .participation
            .as_mut()
            .filter(|row| row.left.is_none())
        {
            row.left = Some(at);
            rows.push(Row::Participation(row.clone()));
        }
    }

    /// Begins a claim, ending any other of the same person. Who wears the strap has been checked.
    pub fn claim(&mut self, id: ParticipantId, strap: StrapNo, at: Stamp, rows: &mut Vec<Row>) {
        let worn = self.known.get(&id).and_then(|person| person.claim.as_ref());
        if worn.is_some_and(|claim| claim.strap == strap) {
            return;
        }
        self.release(id, at, rows);
        if let Some(person) = self.known.get_mut(&id) {
            let row = ClaimRow {
                no: self.next_claim_no,
                participant: id,
                strap,
                from: at,
                until: None,
            };
            self.next_claim_no += 1;
            person.claim = Some(row.clone());
            person.last_strap = Some(strap);
            person.had_heart = true;
            self.last_wearer.insert(strap, id);
            rows.push(Row::Claim(row));
        }
    }

    /// Says that this strap is not theirs: coming back does not take it up again.
    pub fn take_off(&mut self, id: ParticipantId, at: Stamp, rows: &mut Vec<Row>) {
        self.release(id, at, rows);
        if let Some(person) = self.known.get_mut(&id) {
            person.last_strap = None;
            person.shown = None;
        }
    }

    fn release(&mut self, id: ParticipantId, at: Stamp, rows: &mut Vec<Row>) {
        if let Some(row) = self
            .known
            .get_mut(&id)
            .and_then(|person| person.claim.take())
        {
            rows.push(Row::Claim(ClaimRow {
                until: Some(at),
                ..row
            }));
        }
    }

    /// The hub forgets a strap: nobody wears it any more, and nobody takes it up again.
    pub fn forget_strap(&mut self, strap: StrapNo, at: Stamp, rows: &mut Vec<Row>) {
        if let Some(id) = self.wearer(strap) {
            self.release(id, at, rows);
        }
        self.last_wearer.remove(&strap);
        for person in self.known.values_mut() {
            person.last_strap = person.last_strap.filter(|last| *last != strap);
        }
    }

    /// Notes who has become absent; true when anybody has.
    pub fn note_absent(&mut self, now_ms: i64, rows: &mut Vec<Row>) -> bool {
        let mut changed = false;
        for person in self.known.values_mut() {
            if !person.absent(now_ms) {
                continue;
            }
            let last_sign = person.last_sign;
            if let Some(row) = person
                .participation
                .as_mut()
                .filter(|row| row.left.is_none())
            {
                // Carried over while already silent: nobody leaves before they came.
                let after = last_sign.wall_ms >= row.joined.wall_ms;
                row.left = Some(if after { last_sign } else { row.joined });
                rows.push(Row::Participation(row.clone()));
                changed = true;
            }
        }
        changed
    }

    /// A new session began: who is present takes part in it, who is absent gives the strap back.
    pub fn carry_over(&mut self, session_id: &str, at: Stamp, rows: &mut Vec<Row>) {
        let ids: Vec<_> = self.known.keys().copied().collect();
        for id in ids {
            let Some(person) = self.known.get_mut(&id) else {
                continue;
            };
            let Some(ended) = person.participation.take() else {
                continue;
            };
            if ended.session_id == session_id {
                person.participation = Some(ended);
            } else if ended.left.is_none() {
                let row = ParticipationRow {
                    session_id: session_id.to_owned(),
                    participant: id,
                    joined: at,
                    left: None,
                };
                rows.push(Row::Participation(ParticipationRow {
                    left: Some(at),
                    ..ended
                }));
                rows.push(Row::Participation(row.clone()));
                person.participation = Some(row);
            } else {
                self.release(id, at, rows);
            }
        }
    }

    /// The hub was off for so long that everybody has gone: nobody takes part, nobody wears anything.
    /// Their participations end with what the hub heard of that session.
    pub fn all_gone(&mut self, at: Stamp, rows: &mut Vec<Row>) {
        for person in self.known.values_mut() {
            person.participation = None;
            person.last_strap = None;
            if let Some(row) = person.claim.take() {
                rows.push(Row::Claim(ClaimRow {
                    until: Some(at),
                    ..row
                }));
            }
        }
    }

    /// Another score of this session.
    pub fn note_score(&mut self, id: ParticipantId, point: Point) {
        if let Some(person) = self.known.get_mut(&id) {
            person.course.push(point);
        }
    }

    /// A new session began: nobody has a score in it.
    pub fn begin_course(&mut self) {
        for person in self.known.values_mut() {
            person.course = Vec::new();
        }
    }

    /// Who was away for a whole session finds the strap on somebody else's chest: they must say anew
    /// what they wear.
    pub fn forget_straps_of_the_absent(&mut self) {
        for person in self.known.values_mut() {
            if person.participation.is_none() {
                person.last_strap = None;
            }
        }
    }

    /// Forgets whoever was not here for so long, as the store does.
    pub fn forget_old(&mut self, keep_ms: i64, now_ms: i64) {
        self.known.retain(|_, person| {
            let here = person.socket.is_some() || person.takes_part();
            here || person.claim.is_some() || now_ms - person.last_sign.mono_ms < keep_ms
        });
    }

    /// Room for one more among at most `max`.
    fn make_room(&mut self, max: usize) {
        let Some(too_many) = (self.known.len() + 1).checked_sub(max).filter(|n| *n > 0) else {
            return;
        };
        let gone = self.known.values().filter(|person| {
            person.socket.is_none() && !person.takes_part() && person.claim.is_none()
        });
        let mut gone: Vec<_> = gone
            .map(|person| (person.had_heart, person.last_sign.mono_ms, person.row.id))
            .collect();
        gone.sort_unstable();
        for (_, _, id) in gone.iter().take(too_many.max(FORGOTTEN_AT_ONCE)) {
            self.known.remove(id);
        }
    }

    /// Forgets one person.
    pub fn erase(&mut self, id: ParticipantId) -> Option<Person> {
        self.known.remove(&id)
    }

    /// The person whose socket this is.
    pub fn by_socket(&mut self, socket: u64) -> Option<&mut Person> {
        self.known
            .values_mut()
            .find(|person| person.socket == Some(socket))
    }

    /// The socket is gone: from now on absence counts.
    pub fn detach(&mut self, socket: u64, now: Stamp) {
        if let Some(person) = self.by_socket(socket) {
            person.socket = None;
            person.last_sign = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn at(mono_ms: i64) -> Stamp {
        Stamp {
            mono_ms,
            wall_ms: mono_ms,
            synced: true,
        }
    }

    fn id(n: u128) -> ParticipantId {
        ParticipantId(Uuid::from_u128(n))
    }

    #[test]
    fn joining_and_leaving_for_ever_fills_no_memory_and_forgets_nobody_with_a_heart() {
        let mut people = People::default();
        let mut rows = Vec::new();
        let come = |people: &mut People, n: u128, now: Stamp| {
            people.meet(id(n), None, None, now);
            people.sign_of_life(id(n), "s", now);
        };
        // One wore a strap and left long ago, one is still here and says nothing.
        come(&mut people, 1, at(0));
        people.claim(id(1), StrapNo(1), at(0), &mut rows);
        people.leave(id(1), at(1), &mut rows);
        come(&mut people, 2, at(2));
        for n in 3..50_000_u128 {
            let now = at(i64::try_from(n).unwrap());
            come(&mut people, n, now);
            people.leave(id(n), now, &mut rows);
            rows.clear();
            assert!(people.known.len() <= REMEMBERED_MAX);
        }
        assert!(people.get(id(1)).is_some() && people.get(id(2)).is_some());
        assert!(people.get(id(3)).is_none(), "the longest gone goes first");
        assert!(people.get(id(49_999)).is_some());
    }
}
