//! coherence-hub: hears the hearts of a room, scores their coherence and shows it live.

pub mod config;

pub mod clock;

pub mod telemetry;

pub mod systemd;

pub mod signal;

pub mod room;

pub mod cli;
