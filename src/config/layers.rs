//! Reads the layers of the configuration and lays them over each other.
//!
//! built in < `hub.toml` < `conf.d/*.toml` beside it < `COHERENCE_HUB__SECTION__KEY` < flags.
//!
//! Each layer is checked by itself before it is merged: afterwards nobody could say any more in
//! which file, on which line, a mistake was made.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::check::check;
use super::{Config, ConfigError, Origin, Place, SECRETS, shown_secret};

/// Read if it is there, unless another file is named.
pub const CONFIG_FILE: &str = "/etc/coherence-hub/hub.toml";

/// Begins every variable: `COHERENCE_HUB__SECTION__KEY`.
pub const ENV_PREFIX: &str = "COHERENCE_HUB__";

/// What the command line has to say.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--config`: must exist, and stands in the place of [`CONFIG_FILE`].
    pub file: Option<PathBuf>,
    /// `--data-dir`
    pub data_dir: Option<PathBuf>,
    /// `--listen`
    pub listen: Option<std::net::SocketAddr>,
}

/// A configuration that can be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// In the order in which they were laid over each other.
    pub files_read: Vec<PathBuf>,
    /// By dotted key; what is absent is built in.
    origins: BTreeMap<String, Origin>,
}

impl Loaded {
    /// Where the value of `key` (dotted, `serial[1].port` in a list) comes from. What a table of a list does
    /// not say comes with the table.
    pub fn origin(&self, key: &str) -> Origin {
        let table = key.find(']').map(|end| &key[..=end]);
        let said = self.origins.get(key);
        let said = said.or_else(|| self.origins.get(table?));
        said.cloned().unwrap_or(Origin::BuiltIn)
    }

    /// Every key with its value as TOML and its origin; of a secret only whether it is set.
    pub fn effective(&self) -> Vec<(String, String, Origin)> {
        let mut all = Vec::new();
        let mut sections = Vec::new();
        for (section, keys) in self.config.to_table() {
            match keys {
                Value::Table(keys) => sections.push((section, keys)),
                Value::Array(list) => {
                    let tables = list
                        .into_iter()
                        .enumerate()
                        .filter_map(|(at, keys)| match keys {
                            Value::Table(keys) => Some((place_in_list(&section, at), keys)),
                            _ => None,
                        });
                    sections.extend(tables);
                }
                _ => {}
            }
        }
        for (section, keys) in sections {
            for (key, value) in keys {
                let key = format!("{section}.{key}");
                let origin = self.origin(&key);
                let shown = match value.as_str() {
                    Some(secret) if SECRETS.contains(&key.as_str()) => {
                        format!("({})", shown_secret(secret))
                    }
                    _ => value.to_string(),
                };
                all.push((key, shown, origin));
            }
        }
        all
    }
}

/// Reads everything there is to read, from the real environment.
pub fn load(overrides: &Overrides) -> Result<Loaded, ConfigError> {
    load_from(overrides, Path::new(CONFIG_FILE), std::env::vars_os())
}

/// Reads the file that is named, else `standard_file`, and what lies beside it, with this environment.
pub fn load_from(
    overrides: &Overrides,
    standard_file: &Path,
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, ConfigError> {
    let mut merged = Table::new();
    let mut origins = BTreeMap::new();
    let mut files_read = Vec::new();

    let main = overrides.file.as_deref().unwrap_or(standard_file);
    let drop_ins = drop_ins(main)?;
    for (path, may_be_absent) in std::iter::once((main.to_owned(), overrides.file.is_none()))
        .chain(drop_ins.into_iter().map(|path| (path, false)))
    {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if may_be_absent && e.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(ConfigError::Read { path, source }),
        };
        merge(&mut merged, read_file(&path, &text, &mut origins)?);
        files_read.push(path);
    }

    // In the order of their names, so that the first mistake reported is always the same one.
    let mut variables: Vec<(String, OsString)> = env
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(ENV_PREFIX))
        .collect();
    variables.sort();
    for (variable, value) in variables {
        let (section, key, value) = read_variable(&variable, value)?;
        set(&mut merged, &section, &key, value);
        origins.insert(format!("{section}.{key}"), Origin::Environment(variable));
    }

    // Every layer was read as a Config by itself, and merging changes no value's type.
    let mut config: Config = merged
        .try_into()
        .expect("layers that were each a configuration are one when merged");
    if let Some(data_dir) = &overrides.data_dir {
        config.store.data_dir.clone_from(data_dir);
        origins.insert("store.data_dir".into(), Origin::Flag("--data-dir"));
    }
    if let Some(listen) = overrides.listen {
        config.web.listen = listen;
        origins.insert("web.listen".into(), Origin::Flag("--listen"));
    }

    let loaded = Loaded {
        config,
        files_read,
        origins,
    };
    check(&loaded.config).map_err(|refused| ConfigError::Value {
        origin: loaded.origin(&refused.key),
        key: refused.key,
        value: refused.value,
        allowed: refused.allowed,
    })?;
    Ok(loaded)
}

/// `conf.d/*.toml` beside the main file, in the order of their names.
fn drop_ins(main: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let dir = main.with_file_name("conf.d");
    let entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(ConfigError::Read { path: dir, source }),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry
            .map_err(|source| ConfigError::Read {
                path: dir.clone(),
                source,
            })?
            .path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// One file, checked by itself; notes the line of each key it sets.
fn read_file(
    path: &Path,
    text: &str,
    origins: &mut BTreeMap<String, Origin>,
) -> Result<Table, ConfigError> {
    let place = |offset| Place::of(path.to_owned(), text, offset);
    let error = |offset, key, problem: &str, suggestion| ConfigError::File {
        place: Box::new(place(offset)),
        key,
        problem: problem.into(),
        suggestion,
    };
    let start = |e: &toml::de::Error| e.span().map_or(0, |span| span.start);

    let tree = DeTable::parse(text).map_err(|e| error(start(&e), None, e.message(), None))?;
    let mut keys = Vec::new();
    collect(tree.get_ref(), "", "", &mut keys);
    keys.sort_by_key(|key| key.at.start);

    let known = Config::every_key();
    let is_list = |key: &&Key| {
        !key.dotted.contains('.') && known.get(&key.dotted).is_some_and(Value::is_array)
    };
    if let Some(single) = keys.iter().filter(is_list).find(|key| key.is_table) {
        let problem = format!(
            "is a list of tables: write [[{}]], with two brackets",
            single.dotted
        );
        return Err(error(
            single.at.start,
            Some(single.dotted.clone()),
            &problem,
            None,
        ));
    }
    if let Some(unknown) = keys.iter().find(|key| !is_known(&known, &key.dotted)) {
        let suggestion = suggest(&known, &unknown.dotted);
        return Err(error(
            unknown.at.start,
            Some(unknown.dotted.clone()),
            "unknown key",
            suggestion,
        ));
    }
    toml::from_str::<Config>(text).map_err(|e| {
        let at = start(&e);
        // The innermost key around the mistake: the longest that holds it.
        let key = keys
            .iter()
            .filter(|key| key.at.contains(&at) || key.value.contains(&at))
            .max_by_key(|key| key.dotted.len())
            .map(|key| key.dotted.clone());
        if key.as_deref().is_some_and(|key| SECRETS.contains(&key)) {
            // The message would tell the value.
            return error(at, key, "must be text, in quotes", None);
        }
        error(at, key, e.message(), None)
    })?;

    // A list takes the place of the one below it, as a whole.
    for list in keys.iter().filter(is_list) {
        let start = format!("{}[", list.dotted);
        origins.retain(|key, _| !key.starts_with(&start));
    }
    for key in &keys {
        let origin = Origin::File {
            path: path.to_owned(),
            line: place(key.at.start).line,
        };
        origins.insert(key.placed.clone(), origin);
    }
    Ok(toml::from_str(text).expect("the same text was just parsed"))
}

/// A key in a file. Sections count as keys, so that unknown ones are found.
struct Key {
    dotted: String,
    /// As `dotted`; in a list with its place there.
    placed: String,
    at: Range<usize>,
    value: Range<usize>,
    is_table: bool,
}

/// A table in a list, counted from 1 as people do.
fn place_in_list(section: &str, at: usize) -> String {
    format!("{section}[{}]", at + 1)
}

/// `prefix` and `placed`: what the table is called.
fn collect(table: &DeTable<'_>, prefix: &str, placed: &str, keys: &mut Vec<Key>) {
    let below = |prefix: &str, name: &str| match prefix {
        "" => name.to_owned(),
        prefix => format!("{prefix}.{name}"),
    };
    for (name, value) in table {
        let dotted = below(prefix, name.get_ref());
        let placed = below(placed, name.get_ref());
        let key = Key {
            dotted: dotted.clone(),
            placed: placed.clone(),
            at: name.span(),
            value: value.span(),
            is_table: matches!(value.get_ref(), DeValue::Table(_)),
        };
        keys.push(key);
        match value.get_ref() {
            DeValue::Table(inner) => collect(inner, &dotted, &placed, keys),
            DeValue::Array(list) => {
                for (at, item) in list.iter().enumerate() {
                    let DeValue::Table(inner) = item.get_ref() else {
                        continue;
                    };
                    let placed = place_in_list(&placed, at);
                    keys.push(Key {
                        dotted: dotted.clone(),
                        placed: placed.clone(),
                        at: item.span(),
                        value: item.span(),
                        is_table: false,
                    });
                    collect(inner, &dotted, &placed, keys);
                }
            }
            _ => {}
        }
    }
}

fn is_known(known: &Table, dotted: &str) -> bool {
    let mut parts = dotted.split('.');
    let section = parts.next().and_then(|section| known.get(section));
    match (section, parts.next(), parts.next()) {
        (found, None, _) => found.is_some(),
        (Some(section), Some(key), None) => {
            Config::keys(section).is_some_and(|keys| keys.contains_key(key))
        }
        // Deeper than any key goes, or a section that is none: the outer key is already reported.
        _ => false,
    }
}

/// What was probably meant by a key that does not exist: something spelt alike in the same
/// place, or the same key in another section.
fn suggest(known: &Table, unknown: &str) -> Option<String> {
    let (section, key) = match unknown.split_once('.') {
        Some((section, key)) => (Some(section), key),
        None => (None, unknown),
    };
    let here: Vec<&String> = match section {
        Some(section) => Config::keys(known.get(section)?)?.keys().collect(),
        None => known.keys().collect(),
    };
    let alike = here
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(candidate, key), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3))
        .min()
        .map(|(_, candidate)| match section {
            Some(section) => format!("{section}.{candidate}"),
            None => candidate.clone(),
        });
    alike.or_else(|| {
        known
            .iter()
            .find(|(_, keys)| keys.as_table().is_some_and(|keys| keys.contains_key(key)))
            .map(|(section, _)| format!("{section}.{key}"))
    })
}

/// One variable, checked by itself: section, key, value.
fn read_variable(variable: &str, value: OsString) -> Result<(String, String, Value), ConfigError> {
    let error = |problem: String, suggestion| ConfigError::Environment {
        variable: variable.into(),
        problem,
        suggestion,
    };
    let dotted = variable[ENV_PREFIX.len()..]
        .to_ascii_lowercase()
        .replace("__", ".");
    let known = Config::every_key();
    let found = dotted
        .split_once('.')
        .and_then(|(section, key)| Some((section, key, known.get(section)?.get(key)?)));
    let Some((section, key, example)) = found else {
        let meant = suggest(&known, &dotted).filter(|meant| meant.contains('.'));
        let meant = meant.map(|key| {
            format!(
                "{ENV_PREFIX}{}",
                key.to_ascii_uppercase().replace('.', "__")
            )
        });
        return Err(error("there is no such key".into(), meant));
    };
    let text = value
        .into_string()
        .map_err(|_| error("its value is not UTF-8".into(), None))?;
    let value = match example {
        Value::String(_) => Value::String(text),
        // A single path needs no brackets.
        Value::Array(_) if !text.trim_start().starts_with('[') => {
            let parts = text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty());
            Value::Array(parts.map(Value::from).collect())
        }
        _ => DeValue::parse(text.trim())
            .ok()
            .and_then(|_| toml::from_str::<Table>(&format!("v = {}", text.trim())).ok())
            .and_then(|mut table| table.remove("v"))
            .ok_or_else(|| error(format!("{text:?} is not {}", kind(example)), None))?,
    };

    let mut alone = Table::new();
    set(&mut alone, section, key, value.clone());
    alone
        .try_into::<Config>()
        .map_err(|e| error(e.message().into(), None))?;
    Ok((section.into(), key.into(), value))
}

fn kind(example: &Value) -> &'static str {
    match example {
        Value::Boolean(_) => "true or false",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        _ => "a list",
    }
}

fn set(into: &mut Table, section: &str, key: &str, value: Value) {
    let mut keys = Table::new();
    keys.insert(key.into(), value);
    let mut sections = Table::new();
    sections.insert(section.into(), Value::Table(keys));
    merge(into, sections);
}

/// Tables are merged key by key; everything else, lists too, is replaced.
fn merge(into: &mut Table, over: Table) {
    for (key, value) in over {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests;
