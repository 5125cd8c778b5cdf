//! coherence-hub: hears the hearts of a room, scores their coherence and shows it live.

pub mod signal;

pub mod room;

pub mod store;
