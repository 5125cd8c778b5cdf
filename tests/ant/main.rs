//! ANT+ straps through a stick: the real source, the real hub, a real pseudo-terminal, and at its other end a
//! virtual stick.

#![cfg(feature = "serial")]

mod bench;
mod hub;
mod losses;
mod stick;
#[path = "../support/mod.rs"]
mod support;
