//! `coherence-hub pin`: shows the facilitator's PIN.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{EXIT_CONFIG, EXIT_INTERNAL};
use crate::config::{self, Overrides};
use crate::{control, store};

/// Show the facilitator's PIN
#[derive(Debug, clap::Args)]
pub struct PinArgs {
    /// Configuration file instead of /etc/coherence-hub/hub.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the database lives [default: store.data_dir of the configuration]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// Asks the running hub, or reads the database when none runs.
pub fn run(args: PinArgs) -> ExitCode {
    let overrides = Overrides {
        file: args.config,
        data_dir: args.data_dir,
        listen: None,
    };
    let data_dir = match config::load(&overrides) {
        Ok(loaded) => loaded.config.store.data_dir,
        Err(error) => {
            eprintln!("coherence-hub: {error}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    let pin = match control::ask(&data_dir, "pin") {
        Ok(Some(pin)) => Ok(pin),
        Ok(None) => {
            store::stored_pin(&data_dir.join(store::FILE_NAME)).map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    match pin {
        Ok(pin) => {
            println!("{pin}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("coherence-hub: the PIN can't be read: {error}");
            ExitCode::from(EXIT_INTERNAL)
        }
    }
}
