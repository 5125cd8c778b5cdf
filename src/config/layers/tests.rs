//! The layers, read from real files and a made-up environment.

use super::*;
use crate::config::Trust;

struct Etc {
    dir: tempfile::TempDir,
    env: Vec<(OsString, OsString)>,
    overrides: Overrides,
}

impl Etc {
    fn new() -> Self {
        Etc {
            dir: tempfile::tempdir().unwrap(),
            env: Vec::new(),
            overrides: Overrides::default(),
        }
    }

    fn file(self, name: &str, text: &str) -> Self {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    fn load(&self) -> Result<Loaded, ConfigError> {
        let standard = self.dir.path().join("hub.toml");
        load_from(&self.overrides, &standard, self.env.clone())
    }

    /// The message, with the temporary directory taken out.
    fn complaint(&self) -> String {
        let message = self.load().expect_err("should be refused").to_string();
        message.replace(&format!("{}/", self.dir.path().display()), "")
    }
}

#[test]
fn without_any_file_everything_is_built_in() {
    let loaded = Etc::new().load().unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.files_read, Vec::<PathBuf>::new());
    assert_eq!(loaded.origin("session.length_min"), Origin::BuiltIn);
}

#[test]
fn each_layer_lies_over_the_one_before() {
    let mut etc = Etc::new()
        .file(
            "hub.toml",
            "[session]\nlength_min = 60\npreparation_s = 60\n\
             [privacy]\nkeep_days = 1\n[room]\nmax_participants = 7\n",
        )
        .file("conf.d/20-b.toml", "privacy.keep_days = 3\n")
        .file(
            "conf.d/10-a.toml",
            "[privacy]\nkeep_days = 2\n[clock]\ntrust = \"always\"\n",
        )
        .file("conf.d/30-c.toml.bak", "not read")
        .env("COHERENCE_HUB__ROOM__MAX_PARTICIPANTS", "9")
        .env("COHERENCE_HUB__WEB__LISTEN", "127.0.0.1:1")
        .env("COHERENCE_HUBS", "not ours");
    etc.overrides.listen = Some("127.0.0.1:2".parse().unwrap());
    etc.overrides.data_dir = Some("/tmp/data".into());

    let loaded = etc.load().unwrap();
    let config = &loaded.config;
    assert_eq!(config.session.length_min, 60);
    assert_eq!(config.session.preparation_s, 60);
    assert_eq!(config.session.integration_s, 120, "not mentioned: built in");
    assert_eq!(
        config.privacy.keep_days, 3,
        "20-b.toml comes after 10-a.toml"
    );
    assert_eq!(config.clock.trust, Trust::Always);
    assert_eq!(config.room.max_participants, 9);
    assert_eq!(config.web.listen.port(), 2);
    assert_eq!(config.store.data_dir, Path::new("/tmp/data"));

    let names: Vec<_> = loaded
        .files_read
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(names, ["hub.toml", "10-a.toml", "20-b.toml"]);
    let from = |key: &str| {
        let origin = loaded.origin(key).to_string();
        origin.rsplit('/').next().unwrap().to_owned()
    };
    assert_eq!(from("session.preparation_s"), "hub.toml:3");
    assert_eq!(from("privacy.keep_days"), "20-b.toml:1");
    assert_eq!(
        from("room.max_participants"),
        "COHERENCE_HUB__ROOM__MAX_PARTICIPANTS"
    );
    assert_eq!(from("web.listen"), "--listen");
    assert_eq!(from("session.integration_s"), "built in");
}

#[test]
fn drop_ins_are_read_without_a_main_file() {
    let etc = Etc::new().file("conf.d/a.toml", "log.level = \"debug\"\n");
    assert_eq!(etc.load().unwrap().config.log.level, "debug");
}

#[test]
fn a_file_that_was_named_must_exist() {
    let mut etc = Etc::new();
    etc.overrides.file = Some(etc.dir.path().join("other.toml"));
    assert_eq!(
        etc.complaint(),
        "cannot read other.toml: No such file or directory (os error 2)"
    );
}

#[test]
fn a_misspelt_key_is_shown_with_its_place_and_what_was_meant() {
    let etc = Etc::new().file("hub.toml", "[session]\n# ten\n  lenght_min = 10\n");
    assert_eq!(
        etc.complaint(),
        "hub.toml:3:3: `session.lenght_min`: unknown key\n\
         \x20     lenght_min = …\n\
         \x20     ^\n\
         \x20 did you mean `session.length_min`?"
    );
}

#[test]
fn a_misspelt_section_is_found_before_its_keys() {
    let etc = Etc::new().file("hub.toml", "[sesion]\nlength_min = 10\n");
    assert!(
        etc.complaint()
            .starts_with("hub.toml:1:2: `sesion`: unknown key")
    );
    assert!(etc.complaint().ends_with("did you mean `session`?"));
}

#[test]
fn a_key_in_the_wrong_section_is_pointed_to_the_right_one() {
    for text in ["length_min = 10\n", "[room]\nlength_min = 10\n"] {
        let complaint = Etc::new().file("hub.toml", text).complaint();
        assert!(
            complaint.ends_with("did you mean `session.length_min`?"),
            "{complaint}"
        );
    }
}

#[test]
fn nothing_is_suggested_for_a_key_like_no_other() {
    let complaint = Etc::new()
        .file("hub.toml", "[web]\nzzzzzz = 1\n")
        .complaint();
    assert!(!complaint.contains("did you mean"), "{complaint}");
}

#[test]
fn a_value_of_the_wrong_type_is_shown_with_its_key() {
    let etc = Etc::new()
        .file("hub.toml", "")
        .file("conf.d/a.toml", "[session]\nlength_min = \"ten\"\n");
    let complaint = etc.complaint();
    assert!(
        complaint.starts_with("conf.d/a.toml:2:14: `session.length_min`: invalid type"),
        "{complaint}"
    );
}

#[test]
fn text_that_is_no_toml_is_shown_with_its_place() {
    let complaint = Etc::new()
        .file("hub.toml", "[web]\nlisten = \n")
        .complaint();
    assert!(complaint.starts_with("hub.toml:2:"), "{complaint}");
}

#[test]
fn variables_take_the_type_of_their_key() {
    let loaded = Etc::new()
        .env("COHERENCE_HUB__STRAPS__BLE", "false")
        .env("COHERENCE_HUB__STRAPS__ADAPTERS", "hci0, hci1")
        .env("COHERENCE_HUB__STRAPS__REPLAY", "/a.csv, /b.csv")
        .env("COHERENCE_HUB__TEST__CLOCK_SPEED", "60")
        .env("COHERENCE_HUB__TEST__CLOCK_ANCHOR_MS", "1700000000000")
        .load()
        .unwrap();
    let config = loaded.config;
    assert!(!config.straps.ble);
    assert_eq!(config.straps.adapters, ["hci0", "hci1"]);
    assert_eq!(
        config.straps.replay,
        [Path::new("/a.csv"), Path::new("/b.csv")]
    );
    assert_eq!(config.test.clock_speed, 60.0);
    assert_eq!(config.test.clock_anchor_ms, Some(1_700_000_000_000));

    let list = Etc::new().env("COHERENCE_HUB__STRAPS__REPLAY", "[\"/a,b.csv\"]");
    assert_eq!(
        list.load().unwrap().config.straps.replay,
        [Path::new("/a,b.csv")]
    );
}

#[test]
fn a_mistake_in_a_variable_names_the_variable() {
    let complaint = |name: &str, value: &str| Etc::new().env(name, value).complaint();
    assert_eq!(
        complaint("COHERENCE_HUB__SESSION__LENGHT_MIN", "10"),
        "environment variable COHERENCE_HUB__SESSION__LENGHT_MIN: there is no such key\n  \
         did you mean `COHERENCE_HUB__SESSION__LENGTH_MIN`?"
    );
    assert_eq!(
        complaint("COHERENCE_HUB__SESSION__LENGTH_MIN", "ten"),
        "environment variable COHERENCE_HUB__SESSION__LENGTH_MIN: \"ten\" is not a whole number"
    );
    assert!(
        complaint("COHERENCE_HUB__CLOCK__TRUST", "sometimes")
            .starts_with("environment variable COHERENCE_HUB__CLOCK__TRUST: unknown variant")
    );
    assert!(complaint("COHERENCE_HUB__WEB", "1").contains("no such key"));
    // Nothing can be smuggled in behind a value.
    assert!(
        complaint("COHERENCE_HUB__SESSION__LENGTH_MIN", "10\nx = 1").contains("not a whole number")
    );
}

#[test]
fn a_value_out_of_range_names_its_origin_and_what_is_allowed() {
    let etc = Etc::new().file("hub.toml", "[privacy]\nkeep_days = 0\n");
    assert_eq!(
        etc.complaint(),
        "`privacy.keep_days = 0` (hub.toml:2) cannot be used\n  allowed: 1 to 3650"
    );
    let etc = Etc::new().env("COHERENCE_HUB__PRIVACY__KEEP_DAYS", "0");
    assert!(
        etc.complaint()
            .contains("(COHERENCE_HUB__PRIVACY__KEEP_DAYS)")
    );
}

#[test]
fn a_room_code_is_shown_by_no_mistake_and_no_list() {
    for text in [
        "[access]\nroom_code = 7391\n",
        "[access]\nroom_code = \"7391\n",
        "[access]\n  \"room_code\" = 7391\n",
        "access.room_code = 7391\n",
        "[access]\nroom_code = \" 7391\"\n",
        "[access]\nroom_kode = \"7391\"\n",
        "access = { room_code = \"7391 }\n",
        "access = { room_code = 7391 }\n",
        "[access]\nroom_code = \"\"\"\n7391 \\q\n\"\"\"\n",
        "[uplink]\npassword = \"7391\"\n",
        "[uplink]\nbroker = \"mqtts://hub:7391@host:8883\"\n",
    ] {
        let complaint = Etc::new().file("hub.toml", text).complaint();
        assert!(!complaint.contains("7391"), "{complaint}");
        assert!(complaint.contains("hub.toml:"), "{complaint}");
    }
    let loaded = Etc::new()
        .env("COHERENCE_HUB__ACCESS__ROOM_CODE", "7391")
        .load()
        .unwrap();
    assert_eq!(loaded.config.access.room_code, "7391");
    let shown = |loaded: &Loaded| {
        let all = loaded.effective().into_iter();
        all.map(|(key, value, _)| format!("{key} = {value}"))
            .collect::<Vec<_>>()
    };
    assert!(shown(&loaded).contains(&"access.room_code = (set)".to_owned()));
    let without = Etc::new().load().unwrap();
    assert!(shown(&without).contains(&"access.room_code = (not set)".to_owned()));
    assert!(!format!("{loaded:?}").contains("7391"));
}

const TWO_SENSORS: &str = r#"
[[serial]]
name = "ear-clip"
port = "/dev/ttyACM0"
profile = "ibi-lines"

[[serial]]
name = "desk"
port = "/dev/ttyUSB0"
baud = 9600
profile = "pulsesensor-multi:2"
"#;

#[test]
fn a_list_of_tables_is_shown_table_by_table_with_the_line_of_each_key() {
    let loaded = Etc::new().file("hub.toml", TWO_SENSORS).load().unwrap();
    assert_eq!(loaded.config.serial.len(), 2);
    let line = |key: &str| match loaded.origin(key) {
        Origin::File { line, .. } => line,
        other => panic!("{key}: {other}"),
    };
    assert_eq!(line("serial[1].port"), 4);
    assert_eq!(line("serial[2].baud"), 10);
    assert_eq!(line("serial[1].baud"), 2, "as built in, in this table");
    let shown: Vec<String> = loaded
        .effective()
        .into_iter()
        .filter(|(key, _, _)| key.starts_with("serial"))
        .map(|(key, value, _)| format!("{key} = {value}"))
        .collect();
    assert_eq!(shown.len(), 8);
    assert!(shown.contains(&"serial[2].profile = \"pulsesensor-multi:2\"".to_owned()));
}

#[test]
fn a_list_in_a_later_file_takes_the_place_of_the_whole_one_below() {
    let etc = Etc::new().file("hub.toml", TWO_SENSORS).file(
        "conf.d/a.toml",
        "[[serial]]\nname = \"one\"\nport = \"/dev/x\"\nprofile = \"csv4\"\n",
    );
    let loaded = etc.load().unwrap();
    assert_eq!(loaded.config.serial.len(), 1);
    let origin = loaded.origin("serial[1].baud").to_string();
    assert!(origin.ends_with("a.toml:1"), "{origin}");
    assert_eq!(loaded.origin("serial[2].baud"), Origin::BuiltIn);
}

#[test]
fn a_mistake_in_a_list_names_its_place_and_what_is_allowed() {
    let complaint = |from: &str, to: &str| {
        let text = TWO_SENSORS.replace(from, to);
        Etc::new().file("hub.toml", &text).complaint()
    };
    let profile = complaint("pulsesensor-multi:2", "pulse");
    assert!(
        profile.starts_with("`serial[2].profile = pulse` (hub.toml:11) cannot be used"),
        "{profile}"
    );
    assert!(
        profile.contains("ibi-lines") && profile.contains("psws"),
        "{profile}"
    );
    let missing = complaint("profile = \"ibi-lines\"", "");
    assert!(missing.contains("(hub.toml:2)"), "{missing}");
    let misspelt = complaint("baud = 9600", "buad = 9600");
    assert!(
        misspelt.starts_with("hub.toml:10:1: `serial.buad`: unknown key"),
        "{misspelt}"
    );
    assert!(
        misspelt.ends_with("did you mean `serial.baud`?"),
        "{misspelt}"
    );
    let kind = complaint("9600", "\"9600\"");
    assert!(
        kind.starts_with("hub.toml:10:8: `serial.baud`: invalid type"),
        "{kind}"
    );
    let brackets = Etc::new().file("hub.toml", "[serial]\nname = \"x\"\n");
    assert!(
        brackets.complaint().contains("write [[serial]]"),
        "{}",
        brackets.complaint()
    );
}
