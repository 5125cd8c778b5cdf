//! The virtual room: people who are not there, wearing straps that do not exist.
//!
//! Here belongs the script a demo and the tests of the whole hub run on: [`VirtualRoom`] mixes the
//! cues of many imagined straps into one in the order of time. A heart is told in `heart.rs`, a
//! strap with its faults in `strap.rs`, arithmetic that is equal everywhere in `chance.rs`. Nothing
//! here waits; [`crate::script::Scripted`] plays it.
//!
//! People breathe with a pacer at 0.1 Hz, each in their own measure, which grows over the first ten
//! minutes or so: scores are low, medium and high from the first window on, and their average
//! rises. At first each does so in their own time; within the first minutes they come to breathe
//! together. About a third of the straps have something the matter with them, and at any moment at
//! least 70 % of those that could be heard are heard and worn.

pub(crate) mod chance;
mod heart;
mod strap;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::script::Cue;
use chance::Chance;
pub use strap::Beats;
use strap::{Strap, TROUBLES, Temperament};

/// An endless script of a room full of straps, `virtual:1`, `virtual:2`, ...
///
/// The same number of people and the same seed give the same bytes at the same times, on every
/// machine.
///
/// ```
/// use coherence_hal::{script::Act, virtual_room::VirtualRoom};
///
/// let first_minute: Vec<_> =
///     VirtualRoom::new(24, 1).take_while(|cue| cue.at_ms < 60_000).collect();
/// assert!(first_minute.iter().any(|cue| matches!(cue.act, Act::Bytes(_))));
/// assert!(first_minute == VirtualRoom::new(24, 1).take(first_minute.len()).collect::<Vec<_>>());
/// ```
#[derive(Debug)]
pub struct VirtualRoom {
    straps: Vec<Strap>,
    /// When each strap speaks next, soonest first; at the same time the lower number first.
    due: BinaryHeap<Reverse<(i64, usize)>>,
}

impl VirtualRoom {
    /// A room of `people`; without any the script is empty.
    ///
    /// ```
    /// # use coherence_hal::virtual_room::VirtualRoom;
    /// assert_eq!(VirtualRoom::new(1, 7).next().unwrap().strap.as_str(), "virtual:1");
    /// assert_eq!(VirtualRoom::new(0, 7).next(), None);
    /// ```
    pub fn new(people: usize, seed: u64) -> Self {
        VirtualRoom::of(straps(people, seed))
    }

    /// The same people, but about a third of them wear straps of another kind: the room without these, and
    /// the beats of their hearts. All of them are people whose straps have nothing the matter with them.
    ///
    /// ```
    /// # use coherence_hal::virtual_room::VirtualRoom;
    /// let (_, others) = VirtualRoom::with_others(24, 7);
    /// assert_eq!(others.len(), 8);
    /// ```
    pub fn with_others(people: usize, seed: u64) -> (Self, Vec<Beats>) {
        let mut well = 0;
        let (others, straps): (Vec<Strap>, Vec<Strap>) =
            straps(people, seed).into_iter().partition(|strap| {
                well += usize::from(strap.is_well());
                strap.is_well() && well.is_multiple_of(2)
            });
        let others = others.into_iter().map(Strap::into_beats).collect();
        (VirtualRoom::of(straps), others)
    }

    fn of(mut straps: Vec<Strap>) -> Self {
        let due = straps
            .iter_mut()
            .enumerate()
            .map(|(index, strap)| Reverse((strap.next_at_ms(), index)))
            .collect();
        VirtualRoom { straps, due }
    }
}

fn straps(people: usize, seed: u64) -> Vec<Strap> {
    let mut chance = Chance::new(seed);
    let talent_offset = chance.unit();
    temperaments(people, &mut chance)
        .into_iter()
        .enumerate()
        .map(|(index, (temperament, stagger))| {
            // Steps of the golden ratio spread talents evenly however many people there are.
            let talent = (talent_offset + index as f64 * 0.618_033_988_749_894_8).fract();
            Strap::new(index, seed, temperament, talent, stagger)
        })
        .collect()
}

impl Iterator for VirtualRoom {
    type Item = Cue;

    fn next(&mut self) -> Option<Cue> {
        let mut soonest = self.due.peek_mut()?;
        let Reverse((_, index)) = *soonest;
        let strap = &mut self.straps[index];
        let cue = strap.next_cue();
        *soonest = Reverse((strap.next_at_ms(), index));
        Some(cue)
    }
}

/// Who has which trouble, and how far into the common cycle its episodes start.
fn temperaments(people: usize, chance: &mut Chance) -> Vec<(Temperament, f64)> {
    let troubled = if people >= 8 {
        (people / 3).max(3)
    } else {
        people / 3
    };
    let first_place = chance.whole(0, people.max(1) as i64 - 1) as usize;
    let first_trouble = chance.whole(0, TROUBLES.len() as i64 - 1) as usize;
    let mut room = vec![(Temperament::Well, 0.0); people];
    for k in 0..troubled {
        let place = (first_place + k * people / troubled) % people;
        let trouble = TROUBLES[(first_trouble + k) % TROUBLES.len()];
        room[place] = (trouble, k as f64 / troubled as f64);
    }
    room
}

#[cfg(test)]
mod tests;
