//! `coherence-hub run`: the daemon.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use super::{EXIT_CONFIG, ended};
use crate::app;
use crate::config::{self, Overrides};

/// Run the hub: straps, room, database, phones
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Configuration file instead of /etc/coherence-hub/hub.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the database lives [default: store.data_dir of the configuration]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address and port to serve phones on [default: web.listen of the configuration]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
}

/// Runs until it is told to stop (SIGTERM, SIGINT).
pub fn run(args: RunArgs) -> ExitCode {
    let overrides = Overrides {
        file: args.config,
        data_dir: args.data_dir,
        listen: args.listen,
    };
    match config::load(&overrides) {
        Ok(loaded) => ended(app::run(loaded.config, overrides)),
        Err(error) => {
            eprintln!("coherence-hub: {error}");
            ExitCode::from(EXIT_CONFIG)
        }
    }
}
