//! `coherence-hub pin`: shows the facilitator's PIN, changes it, forgives wrong tries.

use std::process::ExitCode;

use super::ask::{WhichHub, odd};
use crate::control::{Answer, Request};

/// Show the facilitator's PIN, change it, or lift lock-outs
#[derive(Debug, clap::Args)]
pub struct PinArgs {
    /// Make a new PIN and show it. Whoever entered with the old one must enter the new one
    #[arg(long, conflicts_with = "unlock")]
    new: bool,
    /// Let everybody try again who had to wait after wrong PINs or wrong room codes
    #[arg(long)]
    unlock: bool,
    #[command(flatten)]
    hub: WhichHub,
}

/// Asks the running hub, or its database when none runs.
pub fn run(args: PinArgs) -> ExitCode {
    let (request, what) = match (args.new, args.unlock) {
        (true, _) => (Request::NewPin, "the PIN can't be changed"),
        (_, true) => (Request::Unlock, "the lock-outs of the PIN can't be lifted"),
        _ => (Request::Pin, "the PIN can't be read"),
    };
    match args.hub.ask(request, what) {
        Ok(Answer::Pin(pin)) => println!("{pin}"),
        Ok(Answer::Unlocked(0)) => println!("nobody had to wait"),
        Ok(Answer::Unlocked(1)) => println!("1 address had to wait and may try again"),
        Ok(Answer::Unlocked(n)) => println!("{n} addresses had to wait and may try again"),
        Ok(_) => return odd(),
        Err(code) => return code,
    }
    ExitCode::SUCCESS
}
