//! `coherence-hub demo`: the daemon with a virtual room, for the newcomer.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use super::ended;
use crate::app;

/// Try the hub: a virtual room of people, no straps and no configuration needed
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Address and port to serve on
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// People in the room
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u16).range(1..=500))]
    people: u16,
    /// The same seed gives the same hearts
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Keep the database here [default: a directory that is removed at the end]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// Runs until it is told to stop.
pub fn run(args: DemoArgs) -> ExitCode {
    ended(app::demo(app::Demo {
        listen: args.listen,
        people: usize::from(args.people),
        seed: args.seed,
        data_dir: args.data_dir,
    }))
}
