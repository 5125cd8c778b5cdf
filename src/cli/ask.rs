//! What a subcommand asks of the hub on this machine: of the daemon while it runs, else of its
//! database.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use super::{EXIT_CONFIG, EXIT_INTERNAL};
use crate::config::{self, Config, Overrides};
use crate::control::{self, Answer, Request};
use crate::{app, store};

/// Which hub is asked.
#[derive(Debug, clap::Args)]
pub struct WhichHub {
    /// Configuration file instead of /etc/coherence-hub/hub.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the database lives [default: store.data_dir of the configuration]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl WhichHub {
    /// Asks; what went wrong is told on standard error, where `what` begins the sentence ("the PIN
    /// can't be read").
    pub fn ask(self, request: Request, what: &str) -> Result<Answer, ExitCode> {
        let overrides = Overrides {
            file: self.config,
            data_dir: self.data_dir,
            listen: None,
        };
        let config = match config::load(&overrides) {
            Ok(loaded) => loaded.config,
            Err(error) => {
                eprintln!("coherence-hub: {error}");
                return Err(ExitCode::from(EXIT_CONFIG));
            }
        };
        asked(&config, &request).map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    "\n  this is for root and for members of the group coherence-hub: try it with sudo"
                }
                io::ErrorKind::NotFound => {
                    "\n  no hub has begun there: start it once, or name its directory with --data-dir"
                }
                _ => "",
            };
            eprintln!("coherence-hub: {what}: {error}{hint}");
            ExitCode::from(EXIT_INTERNAL)
        })
    }
}

fn asked(config: &Config, request: &Request) -> io::Result<Answer> {
    let data_dir = &config.store.data_dir;
    if let Some(answer) = control::ask(data_dir, request)? {
        return Ok(answer);
    }
    let database = data_dir.join(store::FILE_NAME);
    // The database's own error does not say what keeps it from opening its file; and a command must
    // not make a hub where there is none.
    let found = File::open(&database).and_then(|file| file.metadata());
    let metadata = found.map_err(|error| {
        io::Error::new(error.kind(), format!("{}: {error}", database.display()))
    })?;
    if metadata.len() == 0 {
        let why = format!("{}: the file is empty", database.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, why));
    }
    let answer = match request {
        // Read without touching anything, be the database of this version or not.
        Request::Pin => store::stored_pin(&database)
            .map(Answer::Pin)
            .map_err(io::Error::other)?,
        _ => app::answer_offline(config, request.clone()).map_err(io::Error::other)?,
    };
    match answer {
        Answer::Error(why) => Err(io::Error::other(why)),
        answer => Ok(answer),
    }
}

/// The answer fits no question of this program's.
pub fn odd() -> ExitCode {
    eprintln!("coherence-hub: the hub answers something else than it was asked");
    ExitCode::from(EXIT_INTERNAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_no_hub_and_none_is_made_of_it() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let mut config = Config::default();
        config.store.data_dir = dir.path().to_owned();
        let database = dir.path().join(store::FILE_NAME);
        std::fs::write(&database, "").expect("the directory is ours");
        for request in [Request::Tokens, Request::Pin] {
            let refused = asked(&config, &request).expect_err("there is no hub");
            assert!(refused.to_string().contains("hub.db: the file is empty"));
        }
        let length = std::fs::metadata(&database)
            .expect("it is still there")
            .len();
        assert_eq!(length, 0);
    }

    #[test]
    fn a_pin_that_can_t_be_read_names_the_file() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let mut config = Config::default();
        config.store.data_dir = dir.path().to_owned();
        let database = dir.path().join(store::FILE_NAME);
        std::fs::write(&database, "no database at all").expect("the directory is ours");
        let told = asked(&config, &Request::Pin).expect_err("it is no database");
        let told = told.to_string();
        assert!(told.contains(&database.display().to_string()), "{told}");
        assert!(told.contains("start the hub"), "{told}");
    }
}
