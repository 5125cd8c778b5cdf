//! `coherence-hub check-config`: is the configuration usable, with the files that it names, and what is in
//! force?

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::app::files;
use crate::config::{self, ConfigError, Loaded, Overrides};

use super::EXIT_CONFIG;

/// Check the configuration, and the files that it names, and show what is in force
///
/// Keys and passwords are opened too: run it as root, or as the user of the hub.
#[derive(Debug, clap::Args)]
pub struct CheckConfigArgs {
    /// File to check instead of /etc/coherence-hub/hub.toml; conf.d beside it and the
    /// environment count too
    file: Option<PathBuf>,
    /// Print the merged configuration as TOML
    #[arg(long)]
    show: bool,
}

/// Prints the answer; 0 if the configuration can be used, else [`EXIT_CONFIG`].
pub fn run(args: CheckConfigArgs) -> ExitCode {
    let show = args.show;
    match answer(args, config::load) {
        Ok((text, complaints)) => {
            print!("{text}");
            for complaint in &complaints {
                eprintln!("coherence-hub: {complaint}");
            }
            if !complaints.is_empty() {
                return ExitCode::from(EXIT_CONFIG);
            }
            // Standard output may be a file that somebody is going to use as a configuration.
            if show {
                eprintln!("ok");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("coherence-hub: {error}");
            ExitCode::from(EXIT_CONFIG)
        }
    }
}

fn answer(
    args: CheckConfigArgs,
    load: impl FnOnce(&Overrides) -> Result<Loaded, ConfigError>,
) -> Result<(String, Vec<String>), ConfigError> {
    let loaded = load(&Overrides {
        file: args.file,
        ..Overrides::default()
    })?;
    let complaints = files::complaints(&loaded.config);
    if args.show {
        return Ok((loaded.config.to_toml(), complaints));
    }
    let mut text = match complaints.is_empty() {
        true => String::from("ok\n"),
        false => String::from("the values make sense; files can't be used\n"),
    };
    let mut line = |line: std::fmt::Arguments<'_>| {
        writeln!(text, "{line}").expect("a String takes everything");
    };
    if loaded.files_read.is_empty() {
        line(format_args!("no file read: everything is built in"));
    }
    for path in &loaded.files_read {
        line(format_args!("read {}", path.display()));
    }
    let effective = loaded.effective();
    let width = effective
        .iter()
        .map(|(key, value, _)| key.len() + value.len())
        .max()
        .unwrap_or_default();
    for (key, value, origin) in effective {
        let padding = width - key.len() - value.len();
        let restart = if config::needs_restart(&key) {
            "; needs a restart"
        } else {
            ""
        };
        line(format_args!(
            "{key} = {value}{:padding$}  # {origin}{restart}",
            ""
        ));
    }
    Ok((text, complaints))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, show: bool) -> Result<String, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hub.toml");
        std::fs::write(&file, text).unwrap();
        let args = CheckConfigArgs {
            file: Some(file),
            show,
        };
        let (text, complaints) = answer(args, config::load)?;
        assert_eq!(complaints, [""; 0]);
        Ok(text.replace(dir.path().to_str().unwrap(), "."))
    }

    #[test]
    fn every_file_that_can_not_be_used_is_named_with_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        let not_pem = dir.path().join("hub.toml");
        let text = format!(
            "[web]\ntls_cert = {missing:?}\ntls_key = {missing:?}\n[privacy]\nfacility_key_file = {missing:?}\n\
             [uplink]\nbroker = \"mqtts://broker.example:8883\"\nca_file = {not_pem:?}\nusername = \"hub\"\npassword_file = {missing:?}\n\
             [straps]\nreplay = [{missing:?}, {not_pem:?}]\n"
        );
        std::fs::write(&not_pem, text).unwrap();
        let args = CheckConfigArgs {
            file: Some(not_pem.clone()),
            show: false,
        };
        let (text, complaints) = answer(args, config::load).unwrap();
        assert!(!text.starts_with("ok"), "{text}");
        let about = [
            "web.tls_cert",
            "the facility's key",
            "uplink.ca_file",
            "uplink.password_file",
            "missing",
            "hub.toml",
        ];
        assert_eq!(complaints.len(), about.len(), "{complaints:#?}");
        for (complaint, about) in complaints.iter().zip(about) {
            assert!(complaint.contains(about), "{about}: {complaint}");
        }
    }

    #[test]
    fn a_good_file_is_ok_with_every_value_and_its_origin() {
        let text = check("[session]\nlength_min = 10\n", false).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("ok"));
        assert_eq!(lines.next(), Some("read ./hub.toml"));
        let has = |start: &str, end: &str| {
            text.lines()
                .any(|line| line.starts_with(start) && line.ends_with(end))
        };
        assert!(
            has(
                "session.length_min = 10 ",
                "# ./hub.toml:2; needs a restart"
            ),
            "{text}"
        );
        assert!(has("privacy.keep_days = 30 ", "# built in"), "{text}");
    }

    #[test]
    fn shown_toml_is_the_merged_configuration() {
        let text = check("[session]\nlength_min = 10\n", true).unwrap();
        let config: config::Config = toml::from_str(&text).unwrap();
        assert_eq!(config.session.length_min, 10);
        assert_eq!(config.privacy, config::Privacy::default());
    }

    #[test]
    fn a_bad_file_is_an_error() {
        assert!(check("[session]\nlength_min = 7\n", false).is_err());
    }
}
