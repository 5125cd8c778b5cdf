//! The subcommands, one small file each: what they are asked and what they print.
//!
//! Nothing is decided here; a subcommand calls what the daemon itself is made of.

pub mod check_config;

/// Exit code of a program whose configuration can't be used (`EX_CONFIG` of sysexits). The
/// systemd unit does not restart on it: the file won't get better by trying again.
pub const EXIT_CONFIG: u8 = 78;
