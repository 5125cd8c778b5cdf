//! A configuration: the main file, one beside it and the environment, through the real layers on a
//! real disk.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use coherence_hub::config::{Config, ConfigError, Loaded, Origin, Overrides, load_from};
use tempfile::TempDir;

/// A folder like `/etc/coherence-hub`.
pub struct Etc {
    main: PathBuf,
    drop_in: PathBuf,
    _dir: TempDir,
}

impl Etc {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder for the files");
        let drop_in = dir.path().join("conf.d/10-more.toml");
        fs::create_dir(dir.path().join("conf.d")).expect("the folder is ours");
        Etc {
            main: dir.path().join("hub.toml"),
            drop_in,
            _dir: dir,
        }
    }

    /// `data`: the main file, the one beside it, then variables as NAME=VALUE, with zero bytes
    /// between them.
    pub fn holds(&self, data: &[u8]) {
        let mut parts = data.split(|byte| *byte == 0);
        let main = parts.next().unwrap_or_default();
        let drop_in = parts.next().unwrap_or_default();
        let env: Vec<(OsString, OsString)> = parts
            .filter_map(|part| {
                let at = part.iter().position(|byte| *byte == b'=')?;
                let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
                Some((text(&part[..at]), text(&part[at + 1..])))
            })
            .collect();
        match self.load(main, drop_in, env) {
            Ok(loaded) => self.usable(&loaded),
            Err(error) => explained(&error, &[main, drop_in]),
        }
    }

    fn load(
        &self,
        main: &[u8],
        drop_in: &[u8],
        env: Vec<(OsString, OsString)>,
    ) -> Result<Loaded, ConfigError> {
        fs::write(&self.main, main).expect("the folder is ours");
        fs::write(&self.drop_in, drop_in).expect("the folder is ours");
        load_from(&Overrides::default(), &self.main, env)
    }

    fn usable(&self, loaded: &Loaded) {
        let config = &loaded.config;
        let session = &config.session;
        let around_s = u64::from(session.preparation_s) + u64::from(session.integration_s);
        assert_eq!(1440 % session.length_min, 0);
        assert!(around_s + 5 <= u64::from(session.length_min) * 60);
        assert!(
            (2..=config.privacy.min_distribution_live).contains(&config.privacy.min_group_live)
        );
        assert!(config.store.data_dir.is_absolute());
        assert!(config.test.clock_speed > 0.0 && config.test.clock_speed <= 1000.0);

        // A value that differs from what is built in was said by somebody.
        let built_in = Config::default();
        let built_in: toml::Table =
            toml::from_str(&built_in.to_toml()).expect("what is printed is TOML");
        for (key, value, origin) in loaded.effective() {
            let (section, name) = key.split_once('.').expect("keys are dotted");
            let same = built_in
                .get(section)
                .and_then(|keys| keys.get(name))
                .is_some_and(|built_in| built_in.to_string() == value);
            // A secret is not shown; whether it is there is.
            let secret = ["access.room_code", "wall.wifi_password"].contains(&key.as_str());
            assert!(!secret || ["(not set)", "(set)"].contains(&&*value));
            assert!(
                same || secret || origin != Origin::BuiltIn,
                "{key} = {value} from nowhere"
            );
        }

        // What is in force, written down as a file, is in force again: all but the secret.
        let printed = config.to_toml();
        let again = self.load(printed.as_bytes(), b"", Vec::new());
        let again = again.unwrap_or_else(|e| panic!("{e}\nof what was printed:\n{printed}"));
        let mut wanted = config.clone();
        wanted.access.room_code.clear();
        wanted.wall.wifi_password.clear();
        assert_eq!(again.config, wanted);
    }
}

impl Default for Etc {
    fn default() -> Self {
        Self::new()
    }
}

/// A mistake is explained in words, and its place is one that the file has.
fn explained(error: &ConfigError, files: &[&[u8]]) {
    assert!(!error.to_string().trim().is_empty());
    match error {
        ConfigError::File { place, problem, .. } => {
            assert!(!problem.is_empty());
            let there = files.iter().any(|file| {
                let text = String::from_utf8_lossy(file);
                // Behind the last line is where something is missing.
                let line = text.split('\n').nth(place.line - 1);
                line.is_some_and(|line| place.column <= line.chars().count() + 1)
            });
            assert!(there, "{error}");
        }
        ConfigError::Environment {
            variable, problem, ..
        } => {
            assert!(
                variable.starts_with("COHERENCE_HUB__") && !problem.is_empty(),
                "{error}"
            );
        }
        ConfigError::Value { allowed, .. } => assert!(!allowed.is_empty(), "{error}"),
        ConfigError::Read { .. } => {}
    }
}
