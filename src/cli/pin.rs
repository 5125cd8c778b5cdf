//! `coherence-hub pin`: shows the facilitator's PIN.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
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
    match read(&data_dir) {
        Ok(pin) => {
            println!("{pin}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let hint = match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    "\n  the service's PIN is for root and for members of the group coherence-hub: \
                     try sudo coherence-hub pin"
                }
                _ => "",
            };
            eprintln!("coherence-hub: the PIN can't be read: {error}{hint}");
            ExitCode::from(EXIT_INTERNAL)
        }
    }
}

fn read(data_dir: &Path) -> io::Result<String> {
    if let Some(pin) = control::ask(data_dir, "pin")? {
        return Ok(pin);
    }
    let database = data_dir.join(store::FILE_NAME);
    // The database's own error does not say what keeps it from opening its file.
    File::open(&database).map_err(|error| {
        io::Error::new(error.kind(), format!("{}: {error}", database.display()))
    })?;
    store::stored_pin(&database).map_err(io::Error::other)
}
