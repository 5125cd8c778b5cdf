//! The files that a configuration names, looked into before a hub relies on them: certificates, keys,
//! passwords, recordings. Nothing is made and nothing put in force; whether the values themselves make sense
//! is `config`'s question.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use coherence_hal::decode::ant::NetworkKey;

use super::recordings;
use crate::config::Config;
use crate::store;
use crate::uplink;
use crate::web::Rules;

/// What is wrong with them, a sentence each.
pub fn complaints(config: &Config) -> Vec<String> {
    let facility_key = &config.privacy.facility_key_file;
    let facility_key = match facility_key.as_os_str().is_empty() {
        true => None, // the hub makes its own
        false => store::facility_key(facility_key, None, Path::new("")).err(),
    };
    let ant_key = match config.ant.port.is_empty() || config.ant.key_file.as_os_str().is_empty() {
        true => None, // a credential is there only for the service
        false => ant_key(config).err(),
    };
    let each = config.straps.replay.iter().map(std::slice::from_ref);
    let unreadable = each.filter_map(|one| recordings(one).err());
    Rules::of(&config.web)
        .err()
        .map(|error| error.to_string())
        .into_iter()
        .chain(facility_key.map(|error| error.to_string()))
        .chain(ant_key)
        .chain(uplink::look_into_files(&config.uplink))
        .chain(unreadable.map(|error| error.to_string()))
        .collect()
}

/// The credential that systemd may give.
const ANT_KEY: &str = "ant-key";

/// The ANT+ network key: from the configured file, else from systemd's credential. Why there is none is a
/// sentence, in which nothing of the file is shown.
pub fn ant_key(config: &Config) -> Result<NetworkKey, String> {
    let configured = &config.ant.key_file;
    let credential = || Some(PathBuf::from(env::var_os("CREDENTIALS_DIRECTORY")?).join(ANT_KEY));
    let path = match configured.as_os_str().is_empty() {
        false => configured.clone(),
        true => credential()
            .filter(|path| path.exists())
            .ok_or("There is no ANT+ network key (ant.key_file is not set).")?,
    };
    let text = fs::read_to_string(&path).map_err(|error| {
        let path = path.display();
        format!("The ANT+ network key can't be read from {path} (ant.key_file): {error}.")
    })?;
    NetworkKey::parse(&text).map_err(|wrong| {
        let path = path.display();
        format!("There is no ANT+ network key in {path} (ant.key_file): {wrong}.")
    })
}
