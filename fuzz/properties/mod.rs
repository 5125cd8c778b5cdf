//! What must hold for every input whatever, one file for each door through which strangers' bytes
//! come in, and for what is made of them. Nothing may panic; beyond that, what is let in keeps its bounds and means the same when
//! it is said again, and what is refused is refused in words that can be shown.
//!
//! The same files are built twice: with a fuzzer behind them (`targets/`, run by `tests/fuzz`) and
//! as a test over all seeds (`tests/fuzz_seeds.rs`).

pub mod ack;
pub mod ant_stream;
pub mod config;
mod fields;
pub mod heart_rate_measurement;
pub mod recording;
pub mod rest_body;
pub mod score;
pub mod serial_lines;
pub mod ws_frame;
