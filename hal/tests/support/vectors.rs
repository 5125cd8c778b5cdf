//! The decoder vectors, wherever there is a copy of them.
//!
//! The project's own copy is always read. A folder of the same format named by `COHERENCE_VECTORS` (a
//! relative path counts from the project's root) is read as well, and so is a `shared/vectors` beside the
//! project, so that a newer copy there can't go unseen.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Shows every vector of `file` in every folder to `check`, with its id; `at_least` so many are in the
/// project's own copy.
pub fn for_each(file: &str, at_least: usize, mut check: impl FnMut(&str, &Value)) {
    for (place, folder) in folders() {
        let path = folder.join(file);
        let text = fs::read_to_string(&path)
            .unwrap_or_else(|e| panic!("{place}: {}: {e}", path.display()));
        let vectors: Vec<Value> = serde_json::from_str(&text)
            .unwrap_or_else(|e| panic!("{place}: {}: {e}", path.display()));
        let expected = if place == OWN { at_least } else { 1 };
        assert!(
            vectors.len() >= expected,
            "{} has only {} vectors",
            path.display(),
            vectors.len()
        );
        for vector in &vectors {
            let id = vector["id"]
                .as_str()
                .unwrap_or_else(|| panic!("{}: a vector without an id: {vector}", path.display()));
            check(&format!("{place}: {id}"), vector);
        }
    }
}

/// The bytes that a text of hex digits stands for.
pub fn bytes_of(hex: &Value) -> Vec<u8> {
    let hex = hex
        .as_str()
        .unwrap_or_else(|| panic!("no hex digits: {hex}"));
    (0..hex.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
        .collect()
}

const OWN: &str = "the project's own";

fn folders() -> Vec<(&'static str, PathBuf)> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders = vec![(OWN, project.join("tests/data/vectors"))];
    if let Some(named) = env::var_os("COHERENCE_VECTORS") {
        folders.push(("COHERENCE_VECTORS", project.join(named)));
    }
    let shared = project.join("../shared/vectors");
    if shared.is_dir() {
        folders.push(("shared", shared));
    } else {
        eprintln!("NOT CHECKED: there is no {}", shared.display());
    }
    folders
}
