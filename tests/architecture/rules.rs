//! The rules themselves, over files as pairs of path and text.

use crate::source::Source;

/// Modules that stand beside each other in the map and don't name each other.
const SIBLINGS: [&str; 3] = ["sources", "uplink", "web"];

/// Modules that get time handed in and touch nothing.
const PURE: [&str; 4] = ["signal", "room", "record", "access"];

/// Words that pure code has no use for.
const NOT_PURE: [&str; 6] = [
    "tokio",
    "axum",
    "rusqlite",
    "rumqttc",
    "Instant",
    "SystemTime",
];

/// Paths that pure code has no use for, with all below them.
const NOT_PURE_PATHS: [&str; 8] = [
    "crate::clock",
    "std::*",
    "std::fs",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::net::*",
    "std::time",
];

/// Functions whose last bit is each platform's own affair: a score must have the same bits everywhere.
const ROUNDED_BY_THE_PLATFORM: [&str; 23] = [
    "sin", "cos", "tan", "sin_cos", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh", "exp",
    "exp2", "exp_m1", "ln", "ln_1p", "log", "log2", "log10", "powf", "powi", "cbrt", "hypot",
];

const LONGEST_FILE_LINES: usize = 600;

/// The files of both crates, paths from the repository's root.
pub struct Tree {
    pub files: Vec<(String, String)>,
}

/// Each as `file:line: what`, in the order of the files.
pub fn violations(tree: &Tree) -> Vec<String> {
    let (_, map) = tree
        .files
        .iter()
        .find(|(path, _)| path == "src/lib.rs")
        .expect("the tree has a map");
    let order = Source::read(map).modules();
    let mut found = Vec::new();
    for (path, text) in &tree.files {
        let mut complain = |line: usize, what: String| found.push(format!("{path}:{line}: {what}"));
        let lines = text.lines().count();
        if lines > LONGEST_FILE_LINES {
            complain(
                lines,
                format!("{lines} lines; {LONGEST_FILE_LINES} is the most"),
            );
        }
        if !path.ends_with(".rs") {
            continue;
        }
        let source = Source::read(text);
        // A file of its own that is included as `#[cfg(test)] mod tests;`.
        let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
        if !is_test {
            for line in source.lines_of(&[".", "unwrap", "(", ")"]) {
                complain(
                    line,
                    "`.unwrap()` outside tests: say why it can't fail with `expect`".into(),
                );
            }
        }
        if path.starts_with("hal/") {
            for (_, line, _) in source
                .idents()
                .filter(|(word, _, _)| *word == "coherence_hub")
            {
                complain(line, "the edge names the hub".into());
            }
            continue;
        }
        let here = module_of(path);
        match here.first() {
            // The map and the programs: they see everything.
            None => {}
            Some(module) if !order.contains(module) => {
                complain(1, format!("`{module}` has no `mod` line in src/lib.rs"));
            }
            Some(module) => {
                imports(&source, &here, module, &order, &mut complain);
                if PURE.contains(&module.as_str()) && !is_test {
                    purity(&source, &here, module, &mut complain);
                }
                if module == "signal" && !is_test {
                    same_bits(&source, &mut complain);
                }
            }
        }
    }
    // One import of several names breaks a rule once.
    found.dedup();
    found
}

fn imports(
    source: &Source,
    here: &[String],
    module: &str,
    order: &[String],
    complain: &mut impl FnMut(usize, String),
) {
    let place = |name: &str| order.iter().position(|other| other == name);
    for path in source.paths(here) {
        let [root, named, ..] = path.parts.as_slice() else {
            continue;
        };
        if root != "crate" || named == module {
            continue;
        }
        if named == "*" {
            complain(path.line, "imports everything by `crate::*`".into());
        } else if SIBLINGS.contains(&module) && SIBLINGS.contains(&named.as_str()) {
            complain(path.line, format!("`{module}` names its sibling `{named}`"));
        } else if place(named) > place(module) {
            complain(
                path.line,
                format!("`{module}` names `{named}`, which comes later in src/lib.rs"),
            );
        }
    }
}

fn same_bits(source: &Source, complain: &mut impl FnMut(usize, String)) {
    for name in ROUNDED_BY_THE_PLATFORM {
        for row in [[".", name, "("], ["f64", "::", name], ["f32", "::", name]] {
            for line in source.lines_of(&row) {
                complain(
                    line,
                    format!("`{name}` rounds as each platform likes: take the one of `libm`"),
                );
            }
        }
    }
}

fn purity(
    source: &Source,
    here: &[String],
    module: &str,
    complain: &mut impl FnMut(usize, String),
) {
    for (word, line, in_test) in source.idents() {
        if !in_test && NOT_PURE.contains(&word) {
            complain(line, format!("pure `{module}` names `{word}`"));
        }
    }
    for path in source.paths(here).iter().filter(|path| !path.in_test) {
        let written = path.parts.join("::");
        let below = |root: &&&str| {
            written
                .strip_prefix(**root)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        if let Some(root) = NOT_PURE_PATHS.iter().find(below) {
            complain(path.line, format!("pure `{module}` names `{root}`"));
        }
    }
}

/// `src/room/view.rs` is `room::view`, `src/room/mod.rs` is `room`; the crate's root and programs
/// are nothing.
fn module_of(path: &str) -> Vec<String> {
    let inside = path
        .strip_prefix("src/")
        .and_then(|path| path.strip_suffix(".rs"))
        .expect("only Rust files under src/ come here");
    if inside == "lib" || inside == "main" || inside.starts_with("bin/") {
        return Vec::new();
    }
    inside
        .split('/')
        .filter(|part| *part != "mod")
        .map(str::to_owned)
        .collect()
}
