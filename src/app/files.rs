//! The files that a configuration names, looked into before a hub relies on them: certificates, keys,
//! passwords, recordings. Nothing is made and nothing put in force; whether the values themselves make sense
//! is `config`'s question.

use std::path::Path;

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
    let each = config.straps.replay.iter().map(std::slice::from_ref);
    let unreadable = each.filter_map(|one| recordings(one).err());
    Rules::of(&config.web)
        .err()
        .map(|error| error.to_string())
        .into_iter()
        .chain(facility_key.map(|error| error.to_string()))
        .chain(uplink::look_into_files(&config.uplink))
        .chain(unreadable.map(|error| error.to_string()))
        .collect()
}
