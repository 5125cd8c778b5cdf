//! `signal`, and nothing else of the hub.

#[path = "../../../src/signal/mod.rs"]
pub mod signal;
