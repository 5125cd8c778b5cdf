//! The subcommands, one small file each: what they are asked and what they print.
//!
//! Nothing is decided here; a subcommand calls what the daemon itself is made of.

mod ask;
pub mod check_config;
pub mod demo;
pub mod pin;
pub mod run;
pub mod score;
pub mod straps;
pub mod token;

use std::process::ExitCode;

use crate::app::AppError;

/// Exit code of a program whose configuration can't be used (`EX_CONFIG` of sysexits). The
/// systemd unit does not restart on it: the file won't get better by trying again.
pub const EXIT_CONFIG: u8 = 78;
/// Exit code when something inside failed (`EX_SOFTWARE`).
pub const EXIT_INTERNAL: u8 = 70;

/// How the daemon ended, as an exit code, with the reason in words.
fn ended(end: Result<(), AppError>) -> ExitCode {
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("coherence-hub: {error}");
            ExitCode::from(if error.is_permanent() {
                EXIT_CONFIG
            } else {
                EXIT_INTERNAL
            })
        }
    }
}
