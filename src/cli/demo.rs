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
    /// Minutes of a session, to see a whole one sooner; below 5 its quiet phases are short, too
    #[arg(long, value_name = "M", default_value_t = 15, value_parser = minutes)]
    session_min: u32,
    /// Keep the database here [default: a directory that is removed at the end]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// Sessions lie on the same slots everywhere.
fn minutes(text: &str) -> Result<u32, String> {
    let divides = |min: &u32| (1..=24 * 60).contains(min) && (24 * 60_u32).is_multiple_of(*min);
    let minutes = text.parse().ok().filter(divides);
    minutes.ok_or_else(|| {
        "minutes that divide a day: 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 60 … 1440".into()
    })
}

/// Runs until it is told to stop.
pub fn run(args: DemoArgs) -> ExitCode {
    ended(app::demo(app::Demo {
        listen: args.listen,
        people: usize::from(args.people),
        seed: args.seed,
        session_min: args.session_min,
        data_dir: args.data_dir,
    }))
}
