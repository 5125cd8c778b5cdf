//! The configuration while the hub runs: what of it changes at a reload, and what waits for a restart.
//!
//! Pure, but for the one channel through which every part sees what is in force. Reading files is
//! `layers`', and who asks for a reload is the wiring's business.

use std::sync::Arc;

use tokio::sync::watch;

use super::Config;

/// The configuration in force. Everybody who needs a setting that may change holds one of these.
/// It is sent at every reload, also when no value has changed: files that it names may have.
pub type Live = watch::Receiver<Arc<Config>>;

/// Keys whose value was built into something at the start, each for a reason: a bound socket, an
/// open database, the shape of the running session, a clock that must not jump, an open radio, and
/// the secret behind pseudonyms that are out already.
const NEEDS_RESTART: [&str; 18] = [
    "ant.baud",
    "ant.key_file",
    "ant.port",
    "clock.trust",
    "privacy.facility_key_file",
    "serial",
    "session.integration_s",
    "session.length_min",
    "session.preparation_s",
    "store.data_dir",
    "straps.adapters",
    "straps.ble",
    "straps.max_links",
    "straps.replay",
    "test.clock_anchor_ms",
    "test.clock_speed",
    "web.listen",
    "web.max_connections",
];

/// Whether a change of this key (dotted, `serial[1].port` in a list) waits for a restart.
pub fn needs_restart(key: &str) -> bool {
    let list = key.split_once('[').map(|(list, _)| list);
    NEEDS_RESTART.contains(&list.unwrap_or(key))
}

/// What a reload comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What is to be in force: the wanted values, and the old ones where they need a restart.
    pub config: Config,
    /// Keys whose new value is in it.
    pub now: Vec<String>,
    /// Keys whose old value is in it.
    pub at_restart: Vec<String>,
}

/// From what is in force to what is wanted. Keys in the order of the configuration's sections.
pub fn change(in_force: &Config, wanted: &Config) -> Change {
    let mut table = in_force.to_table();
    let wanted = wanted.to_table();
    let (mut now, mut at_restart) = (Vec::new(), Vec::new());
    for (section, keys) in Config::every_key() {
        let Some(keys) = keys.as_table() else {
            // Of a list of tables nobody could say which one became which: all wait for the restart.
            if table.get(&section) != wanted.get(&section) {
                at_restart.push(section);
            }
            continue;
        };
        for key in keys.keys() {
            let dotted = format!("{section}.{key}");
            let new = wanted[&section].get(key);
            if table[&section].get(key) == new {
                continue;
            }
            if needs_restart(&dotted) {
                at_restart.push(dotted);
            } else if let (Some(section), Some(new)) = (table[&section].as_table_mut(), new) {
                section.insert(key.clone(), new.clone());
                now.push(dotted);
            }
        }
    }
    Change {
        // Both were configurations, and a value only takes the place of the same key's.
        config: table
            .try_into()
            .expect("values of two configurations make a configuration"),
        now,
        at_restart,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Serial;
    use crate::config::check::check;

    #[test]
    fn what_can_change_changes_and_what_can_not_is_named() {
        let running = Config::default();
        let mut wanted = Config::default();
        wanted.privacy.min_group_live = 4;
        wanted.access.room_code = "tulip".into();
        wanted.session.length_min = 10;
        wanted.web.listen = ([127, 0, 0, 1], 9090).into();
        wanted.test.clock_anchor_ms = Some(1);
        wanted.serial.push(Serial::default());
        let change = change(&running, &wanted);
        assert_eq!(change.now, ["access.room_code", "privacy.min_group_live"]);
        assert_eq!(
            change.at_restart,
            [
                "serial",
                "session.length_min",
                "test.clock_anchor_ms",
                "web.listen"
            ]
        );
        let mut expected = Config::default();
        expected.privacy.min_group_live = 4;
        expected.access.room_code = "tulip".into();
        assert_eq!(change.config, expected);
    }

    #[test]
    fn every_key_of_a_list_waits_as_the_list_does() {
        assert!(needs_restart("serial[2].port"));
        assert!(!needs_restart("serial.port") && !needs_restart("web[1].listen"));
    }

    #[test]
    fn the_same_configuration_changes_nothing() {
        let config = Config::default();
        let change = change(&config, &config);
        assert_eq!(change.config, config);
        assert!(change.now.is_empty() && change.at_restart.is_empty());
    }

    #[test]
    fn every_key_that_needs_a_restart_exists() {
        let known = Config::every_key();
        for key in NEEDS_RESTART {
            let found = match key.split_once('.') {
                Some((section, key)) => known[section].get(key),
                None => known.get(key).filter(|list| list.is_array()),
            };
            assert!(found.is_some(), "{key}");
        }
    }

    /// Rules that join keys must not join one of each kind: half a change could break them.
    #[test]
    fn half_of_an_allowed_change_is_allowed() {
        let mut wanted = Config::default();
        wanted.session.length_min = 1;
        wanted.session.preparation_s = 5;
        wanted.session.integration_s = 5;
        wanted.privacy.min_group_live = 9;
        wanted.privacy.min_distribution_live = 9;
        wanted.web.tls_cert = "/a.pem".into();
        wanted.web.tls_key = "/b.pem".into();
        wanted.uplink.cert_file = "/a.pem".into();
        wanted.uplink.key_file = "/b.pem".into();
        let there = change(&Config::default(), &wanted).config;
        assert!(check(&there).is_ok());
        assert!(check(&change(&wanted, &Config::default()).config).is_ok());
    }
}
