//! How a mistake in the configuration is explained: where it is, what is wrong, what was meant.
//!
//! The reader is somebody in front of a terminal or a journal who has not seen this program's
//! source. Finding the mistake is not done here.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::PathBuf;

use super::{Config, SECRETS};

/// A configuration that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },

    #[error("{place}: {}{problem}\n{}{}", named(key), place.shown(), hint(suggestion))]
    File {
        place: Box<Place>,
        /// Dotted, `session.length_min`; absent where the text is no TOML at all.
        key: Option<String>,
        problem: String,
        suggestion: Option<String>,
    },

    #[error("environment variable {variable}: {problem}{}", hint(suggestion))]
    Environment {
        variable: String,
        problem: String,
        suggestion: Option<String>,
    },

    #[error("`{key} = {value}` ({origin}) cannot be used\n  allowed: {allowed}")]
    Value {
        key: Cow<'static, str>,
        value: String,
        origin: Origin,
        allowed: String,
    },
}

impl ConfigError {
    /// The same in one line, for a log: without the picture of the line in its file.
    pub fn in_one_line(&self) -> String {
        let text = match self {
            ConfigError::File {
                place,
                key,
                problem,
                suggestion,
            } => format!("{place}: {}{problem}{}", named(key), hint(suggestion)),
            other => other.to_string(),
        };
        let parts: Vec<&str> = text.lines().map(str::trim).collect();
        parts.join("; ")
    }
}

/// A place in a file; line and column count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub path: PathBuf,
    pub line: usize,
    /// In characters.
    pub column: usize,
    /// The line itself, to be shown; without the value of a secret.
    pub text: String,
}

impl Place {
    /// The place of byte `offset` of `text`, the content of `path`.
    pub(super) fn of(path: PathBuf, text: &str, offset: usize) -> Self {
        let before = &text[..text.floor_char_boundary(offset)];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place {
            path,
            line: before.matches('\n').count() + 1,
            column: before[start..].chars().count() + 1,
            text: without_secret(text[start..].lines().next().unwrap_or_default()),
        }
    }

    /// The line with a caret under the column.
    fn shown(&self) -> String {
        // A tab stays a tab, so that the caret stands under its character whatever a tab's width.
        let indent: String = self
            .text
            .chars()
            .take(self.column - 1)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        format!("    {}\n    {indent}^", self.text)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path.display(), self.line, self.column)
    }
}

/// Where a value comes from; the last one that names a key wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    BuiltIn,
    File {
        path: PathBuf,
        line: usize,
    },
    /// The variable's name.
    Environment(String),
    /// The flag, with its dashes.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::BuiltIn => f.write_str("built in"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Environment(variable) => f.write_str(variable),
            Origin::Flag(flag) => f.write_str(flag),
        }
    }
}

/// A line of a file as it may be shown. A value is, if its key is known and no secret: behind a misspelt
/// one, in a table in one line or in text over several there may be a code or a password.
fn without_secret(line: &str) -> String {
    let Some((name, value)) = line.split_once('=') else {
        let shown = line.trim_start().starts_with('[') || line.trim().is_empty();
        return if shown { line } else { "…" }.to_owned();
    };
    let known = Config::every_key();
    let key = name.trim().replace(['"', '\''], "");
    let key = key.rsplit('.').next().unwrap_or_default();
    let is_plain = known.iter().any(|(section, keys)| {
        Config::keys(keys).is_some_and(|keys| keys.contains_key(key))
            && !SECRETS.contains(&format!("{section}.{key}").as_str())
    });
    // An address of a broker may hold a password.
    if is_plain && !value.contains('@') {
        line.to_owned()
    } else {
        format!("{name}= …")
    }
}

fn named(key: &Option<String>) -> String {
    key.as_ref()
        .map(|key| format!("`{key}`: "))
        .unwrap_or_default()
}

fn hint(suggestion: &Option<String>) -> String {
    suggestion
        .as_ref()
        .map(|meant| format!("\n  did you mean `{meant}`?"))
        .unwrap_or_default()
}
