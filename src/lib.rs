//! coherence-hub: hears the hearts of a room, scores their coherence and shows it live.
//!
//! This page is the map. The order of the modules is the law of imports: a module names only
//! modules above it, and `sources`, `uplink`, `control` and `web` never name each other. `ARCHITECTURE.md`
//! follows one heartbeat and one command through the files.
//!
//! | module | what belongs there |
//! |---|---|
//! | [`config`] | the configuration: layers, limits, complaints with line and suggestion |
//! | [`clock`] | the monotonic and the wall clock, and waiting on them |
//! | [`telemetry`] | the log (journal or terminal) and the metrics |
//! | [`systemd`] | readiness, reloads, watchdog |
//! | [`signal`] | PURE: R-R intervals in, coherence score and heart-rate variability out |
//! | [`room`] | PURE: the session clock, people, straps, claims, the group; what may be seen |
//! | [`record`] | PURE: what may leave the building, under pseudonyms |
//! | [`access`] | PURE: who is asking, who is guessing: tokens, lock-outs |
//! | [`store`] | SQLite: one thread owns the connection |
//! | [`gate`] | what opens doors while the hub runs: the PIN, lock-outs, tokens |
//! | [`room_task`] | the one task that owns the room |
//! | [`sources`] | runs every source of straps |
//! | [`uplink`] | outbox → MQTT → the collector's acknowledgement |
//! | [`control`] | the Unix socket through which the command line asks a running hub |
//! | [`web`] | WebSocket, REST, OpenAPI and the page |
//! | [`app`] | WIRING: the only file that sees everything |
//! | [`cli`] | the subcommands |
//!
//! Bytes and radios live in the leaf crate [`coherence_hal`].

pub mod config;

pub mod clock;

pub mod telemetry;

pub mod systemd;

pub mod signal;

pub mod room;

pub mod record;

pub mod access;

pub mod store;

pub mod gate;

pub mod room_task;

pub mod sources;

pub mod uplink;

pub mod control;

pub mod web;

pub mod app;

pub mod cli;
