//! The sources of the pages: only what iOS 15 Safari and Chrome 96 understand, nothing from elsewhere, every
//! language complete, and small enough for a first view on a weak line.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::support::root;

/// What came after iOS 15.0 Safari or Chrome 96, or never came there.
const TOO_NEW: &[(&str, &[&str])] = &[
    (
        "js",
        &[
            ".at(",
            ".findLast",
            ".hasOwn(",
            "structuredClone",
            ".toSorted",
            ".toReversed",
            ".toSpliced",
            ".groupBy",
            "Promise.withResolvers",
            "Array.fromAsync",
            "(?<=",
            "(?<!",
            "static {",
            "randomUUID",
            "BroadcastChannel",
            "navigator.locks",
            "requestIdleCallback",
            "AbortSignal.timeout",
            "AbortSignal.any",
            "showModal",
            ".inert",
            "showPicker",
            "Intl.Segmenter",
            "URL.canParse",
            "scrollend",
            "startViewTransition",
            "OffscreenCanvas",
            "roundRect(",
            "createConicGradient",
            "import.meta.resolve",
            "with { type",
            "Iterator.",
            ".isWellFormed",
            ".checkVisibility",
            "ViewTransition",
            "popover",
        ],
    ),
    (
        "css",
        &[
            ":has(",
            "@layer",
            "@container",
            "dvh",
            "svh",
            "lvh",
            "color-mix(",
            "accent-color",
            "overflow: clip",
            "text-wrap",
            "@property",
            "@scope",
            "subgrid",
            "font-palette",
            "scroll-behavior",
            "offset-path",
            "animation-timeline",
            "@media (width",
            "light-dark(",
            "oklch(",
            "lch(",
            "inert",
            "\n  &",
            "{ &",
        ],
    ),
    (
        "html",
        &[
            "<dialog",
            " inert",
            "popover",
            "loading=\"lazy\"",
            "enterkeyhint",
        ],
    ),
];

/// A page asks nobody but its hub, and the policy forbids what stands inside of attributes.
const NEVER: &[&str] = &[
    "https://",
    "http://",
    "//cdn",
    " style=\"",
    " onclick",
    " onload",
    "javascript:",
    "eval(",
    "new Function",
    "@import",
    "document.write",
];

fn folder() -> PathBuf {
    root().join("src/web/page")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the project's folder") {
        let path = entry.expect("a file").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The text of a source without the addresses that are names and not places.
fn source(path: &Path) -> String {
    let text = std::fs::read_to_string(path).expect("text");
    text.replace("http://www.w3.org/2000/svg", "")
}

/// What is too new or forbidden in a source of this kind.
fn faults(kind: &str, text: &str) -> Vec<String> {
    let new = TOO_NEW.iter().filter(|(of, _)| *of == kind);
    let new = new.flat_map(|(_, words)| words.iter());
    let bad = new.chain(NEVER).filter(|word| text.contains(**word));
    bad.map(|word| (*word).to_owned()).collect()
}

#[test]
fn pages_use_only_what_old_phones_understand_and_ask_only_their_hub() {
    let mut faulty = Vec::new();
    for path in files(&folder()) {
        let kind = path
            .extension()
            .and_then(|kind| kind.to_str())
            .unwrap_or_default();
        for word in faults(kind, &source(&path)) {
            faulty.push(format!("{}: {word:?}", path.display()));
        }
    }
    assert_eq!(faulty, Vec::<String>::new());
}

#[test]
fn the_lint_finds_what_it_looks_for() {
    assert_eq!(faults("js", "const last = list.at(-1);"), [".at("]);
    assert_eq!(
        faults("css", "main:has(p) { height: 100dvh }"),
        [":has(", "dvh"]
    );
    assert_eq!(faults("html", "<p style=\"color: red\">"), [" style=\""]);
    assert_eq!(
        faults("js", "const list = [1].map((n) => n ?? 2);"),
        Vec::<String>::new()
    );
}

fn texts(language: &str) -> Map<String, Value> {
    let path = folder().join("texts").join(format!("{language}.json"));
    let text = std::fs::read_to_string(path).expect("a language");
    serde_json::from_str(&text).expect("a flat JSON object")
}

/// The `{names}` that a sentence takes.
fn holes(text: &str) -> BTreeSet<&str> {
    let after = text.split('{').skip(1);
    after
        .filter_map(|part| part.split_once('}').map(|(name, _)| name))
        .collect()
}

#[test]
fn every_language_says_the_same_with_the_same_values() {
    let english = texts("en");
    for path in files(&folder().join("texts")) {
        let language = path
            .file_stem()
            .and_then(|name| name.to_str())
            .expect("a name")
            .to_owned();
        let other = texts(&language);
        let keys = |texts: &Map<String, Value>| texts.keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(keys(&english), keys(&other), "{language}");
        for (key, text) in &english {
            let (text, other) = (
                text.as_str().expect("text"),
                other[key].as_str().expect("text"),
            );
            assert!(!other.trim().is_empty(), "{language} {key}");
            // One of two forms may leave out the number that it says in words.
            if !key.ends_with(".one") && !key.ends_with(".value") {
                assert_eq!(holes(text), holes(other), "{language} {key}");
            }
        }
    }
}

#[test]
fn every_sentence_that_a_page_asks_for_exists_and_every_reason_has_one() {
    let english = texts("en");
    let mut missing = BTreeSet::new();
    for path in files(&folder()) {
        let text = source(&path);
        for (before, after) in [
            ("say('", '\''),
            ("data-say=\"", '"'),
            ("data-say-label=\"", '"'),
            ("data-say-hint=\"", '"'),
        ] {
            for part in text.split(before).skip(1) {
                let key = part.split(after).next().unwrap_or_default();
                if !english.contains_key(key) {
                    missing.insert(key.to_owned());
                }
            }
        }
        for part in text.split("count('").skip(1) {
            let key = part.split('\'').next().unwrap_or_default();
            for form in ["one", "other"] {
                if !english.contains_key(&format!("{key}.{form}")) {
                    missing.insert(format!("{key}.{form}"));
                }
            }
        }
    }
    let reasons = [
        "warming_up",
        "poor_signal",
        "flat",
        "silent",
        "off_body",
        "no_strap",
    ];
    let of_reasons = reasons.map(|reason| [format!("no.{reason}"), format!("no.{reason}.do")]);
    // What broke a link only the hub can say; who is away is only counted.
    let causes = [
        "warming_up",
        "poor_signal",
        "flat",
        "off_body",
        "silent",
        "battery_empty",
        "waiting_for_link",
        "connecting",
        "seen",
        "computed",
        "simulated",
    ];
    let of_causes = causes.map(|cause| format!("lead.no.{cause}"));
    for key in of_reasons.into_iter().flatten().chain(of_causes) {
        if !english.contains_key(&key) {
            missing.insert(key);
        }
    }
    assert_eq!(missing, BTreeSet::new());
}

#[test]
fn every_sentence_is_said_by_some_page() {
    let pages: String = files(&folder()).iter().map(|path| source(path)).collect();
    // The beginnings of keys that are put together, as in `phase.${level}`.
    let beginnings: BTreeSet<&str> = pages
        .split('`')
        .filter_map(|part| part.split_once("${"))
        .map(|(beginning, _)| beginning)
        .filter(|beginning| beginning.ends_with('.'))
        .collect();
    let is_said = |key: &str| {
        let whole = key.trim_end_matches(".one").trim_end_matches(".other");
        let quoted = ['\'', '"', '`'].iter().any(|quote| {
            [key, whole]
                .iter()
                .any(|key| pages.contains(&format!("{quote}{key}{quote}")))
        });
        quoted
            || beginnings
                .iter()
                .any(|beginning| key.starts_with(beginning))
    };
    let english = texts("en");
    let unsaid: Vec<&String> = english.keys().filter(|key| !is_said(key)).collect();
    assert_eq!(unsaid, Vec::<&String>::new());
}
