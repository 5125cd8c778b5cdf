//! The room's rules, pure: who is here, whose heart is whose, what the session clock says, what may
//! be seen. Every method takes the time; nothing here waits, reads a clock or touches a disk.

pub mod command;
pub mod rows;
pub mod view;

use std::fmt;

use uuid::Uuid;

/// A person in the room: random (version 4), so that it says nothing about when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParticipantId(pub Uuid);

impl fmt::Display for ParticipantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A strap's number in the hub's registry, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StrapNo(pub u32);

/// A heart as the room hears it: through a strap, or through the phone of a person without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HeartKey {
    Strap(StrapNo),
    Phone(ParticipantId),
}
