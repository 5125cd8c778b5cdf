//! The constants of a definition, written down in one way: what the settings' hash is made of.
//!
//! Here belongs the text alone. Each file keeps the list of its own constants beside them (`SETTINGS`);
//! the hash is taken where it is kept with a score. A constant that decides about a stored figure belongs
//! into the list of its file; a test reads the files and sees that none is missing.

use super::clean::{self, count, forecast, misplaced, placing, reading};
use super::{Version, hrv, likely, reader, resample, rhythm, spectrum, tachogram};

/// The name of a constant and its value, or values.
pub(super) type Setting = (&'static str, &'static [f64]);

impl Version {
    /// All constants of this version of the definition: a line `coherence <version>`, then for each a line
    /// `<file>.<constant> <value>…`, in a fixed order, every number in the shortest form that reads back to
    /// the same bits. Each line ends with a line feed.
    pub fn settings(self) -> String {
        let files: &[(&str, &[Setting])] = match self {
            Version::One => &[
                ("signal", super::SETTINGS),
                ("tachogram", tachogram::SETTINGS),
                ("clean", clean::SETTINGS),
                ("count", count::SETTINGS),
                ("misplaced", misplaced::SETTINGS),
                ("resample", resample::SETTINGS),
                ("spectrum", spectrum::SETTINGS),
                ("hrv", hrv::SETTINGS),
                ("tachogram", tachogram::SETTINGS_OF_ONE),
            ],
            Version::Two => &[
                ("signal", super::SETTINGS),
                ("tachogram", tachogram::SETTINGS),
                ("clean", clean::SETTINGS),
                ("resample", resample::SETTINGS),
                ("spectrum", spectrum::SETTINGS),
                ("hrv", hrv::SETTINGS),
                ("tachogram", tachogram::SETTINGS_OF_TWO),
                ("clean", clean::SETTINGS_OF_TWO),
                ("forecast", forecast::SETTINGS),
                ("reading", reading::SETTINGS),
                ("placing", placing::SETTINGS),
                ("likely", likely::SETTINGS),
                ("rhythm", rhythm::SETTINGS),
                ("reader", reader::SETTINGS),
            ],
        };
        let mut text = format!("coherence {}\n", self.number());
        for (file, settings) in files {
            for (name, values) in *settings {
                text += &format!("{file}.{name}");
                for value in *values {
                    text += &format!(" {value}");
                }
                text.push('\n');
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_text_names_the_version_and_each_constant_once() {
        let text = Version::One.settings();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["coherence 1", "signal.WINDOW_MS 64000"]);
        assert!(lines.contains(&"misplaced.SUSPICIOUS_SHARES 0.08 0.25"));
        assert!(lines.contains(&"spectrum.PEAK_CELLS 11 66"));
        let mut names: Vec<&str> = lines
            .iter()
            .filter_map(|line| line.split(' ').next())
            .collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), lines.len());
    }

    /// Files and constants that decide about no stored figure of a single heart.
    const NO_DEFINITION: [&str; 3] = ["course", "settings", "synchrony"];
    const NOT_STORED: [&str; 1] = ["BREATH_FROM_HZ"];

    #[test]
    fn no_constant_of_the_definition_is_missing() {
        let texts = Version::ALL.map(Version::settings).concat();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/signal");
        let mut files = Vec::new();
        for (folder, own) in [(folder.join("clean"), "clean"), (folder, "signal")] {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
                if path.is_file() && !NO_DEFINITION.contains(&name.as_str()) {
                    let name = if name == "mod" { own.to_owned() } else { name };
                    files.push((name, std::fs::read_to_string(path).unwrap()));
                }
            }
        }
        let mut found = 0;
        for (file, source) in files {
            let (code, _) = source.split_once("#[cfg(test)]").unwrap_or((&source, ""));
            for line in code.lines() {
                let Some((_, rest)) = line.split_once("const ") else {
                    continue;
                };
                let Some((name, _)) = rest.split_once(": ") else {
                    continue;
                };
                let constant = name
                    .chars()
                    .all(|c| c.is_ascii_uppercase() || "_0123456789".contains(c));
                if line.starts_with(' ')
                    || !constant
                    || name.starts_with("SETTINGS")
                    || NOT_STORED.contains(&name)
                {
                    continue;
                }
                assert!(
                    texts.contains(&format!("\n{file}.{name} ")),
                    "{file}: {name}"
                );
                found += 1;
            }
        }
        assert!(found > 30, "{found}");
    }
}
