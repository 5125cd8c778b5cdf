//! The house rules, held by a test: imports run one way, pure code is pure, files stay short.
//!
//! The order of `mod` lines in `src/lib.rs` is the law. The rules are in `rules`, the reading of
//! Rust in `source`; here they meet the tree, and a bad sample that must be found out.

mod rules;
mod source;

use std::path::Path;

use rules::{Tree, violations};

fn read(root: &Path, dir: &str, into: &mut Vec<(String, String)>) {
    let mut entries: Vec<_> = std::fs::read_dir(root.join(dir))
        .unwrap_or_else(|e| panic!("{dir}: {e}"))
        .map(|entry| entry.unwrap())
        .collect();
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let path = format!("{dir}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            read(root, &path, into);
        } else if [".rs", ".js"].iter().any(|kind| path.ends_with(kind)) {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            into.push((path, text));
        }
    }
}

#[test]
fn the_house_keeps_its_own_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    read(root, "src", &mut files);
    read(root, "hal/src", &mut files);
    let found = violations(&Tree { files });
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn the_edge_does_not_depend_on_the_hub() {
    let manifest = include_str!("../../hal/Cargo.toml");
    assert!(
        !manifest
            .lines()
            .any(|line| line.starts_with("coherence-hub"))
    );
}

const MAP: &str = "
pub mod config;
pub mod clock;
pub mod signal;
pub mod room;
pub mod store;
pub mod sources;
pub mod web;
#[cfg(feature = \"x\")]
pub mod app;
";

/// What is found in one file of a small tree.
fn found(path: &str, text: &str) -> Vec<String> {
    let mut files = vec![("src/lib.rs".to_owned(), MAP.to_owned())];
    files.push((path.to_owned(), text.to_owned()));
    violations(&Tree { files })
}

#[test]
fn a_lawful_file_is_left_alone() {
    let text = r####"
        //! May speak of crate::web and tokio::spawn, and of .unwrap() too.
        use std::collections::HashMap;
        use crate::{config::{self, Web}, signal};
        use super::room::view;
        use self::inner::Thing;
        mod inner { use super::HashMap; pub struct Thing; }
        /* crate::app /* crate::web */ crate::app */
        fn f<'a>(x: &'a str) -> char {
            let _ = (r#"crate::app" .unwrap() "#, "\" crate::web", b"crate::web", 'c', '\'', '"');
            signal::g(x).expect("why").unwrap_or_default();
            crate::clock::now()
        }
        #[cfg(test)]
        mod tests {
            use super::*;
            #[test]
            fn t() { f("").unwrap(); crate::room::x().unwrap() }
        }
    "####;
    assert_eq!(found("src/store/mod.rs", text), Vec::<String>::new());
}

#[test]
fn later_modules_are_found_however_they_are_named() {
    let cases = [
        ("src/room/mod.rs", "use crate::store::Row;"),
        ("src/room/mod.rs", "fn f() { crate::store::open() }"),
        ("src/room/mod.rs", "use crate::{config, store};"),
        (
            "src/room/mod.rs",
            "use crate::{\nconfig::{A, B},\nstore::{C, D}};",
        ),
        ("src/room/mod.rs", "use {crate::store as s, std::fmt};"),
        ("src/room/mod.rs", "use super::store;"),
        ("src/room/mod.rs", "use super::{signal, store::Row};"),
        ("src/room/deep.rs", "use super::super::store;"),
        ("src/room/deep/er.rs", "use super::super::super::store;"),
        ("src/room/mod.rs", "mod a { use super::super::store; }"),
        ("src/room/mod.rs", "pub use coherence_hub::store::Row;"),
        ("src/room/mod.rs", "type T = Vec<crate::store::Row>;"),
        ("src/room.rs", "use self::super::store;"),
        (
            "src/room/mod.rs",
            "#[cfg(test)] mod tests { use crate::store; }",
        ),
        ("src/room/mod.rs", "pub(in crate::store) struct A;"),
    ];
    for (path, text) in cases {
        let found = found(path, text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].contains("`room` names `store`"), "{found:?}");
    }
}

#[test]
fn siblings_do_not_name_each_other() {
    for (path, text, what) in [
        (
            "src/web/ws.rs",
            "\n\nuse crate::sources;",
            "3: `web` names its sibling `sources`",
        ),
        (
            "src/sources.rs",
            "use crate::web::X;",
            "1: `sources` names its sibling `web`",
        ),
    ] {
        assert_eq!(found(path, text), [format!("{path}:{what}")]);
    }
    assert_eq!(
        found("src/web/ws.rs", "use crate::web::rest;"),
        Vec::<String>::new()
    );
}

#[test]
fn everything_at_once_by_glob_is_no_way_around() {
    assert_eq!(
        found("src/room/mod.rs", "use crate::*;"),
        ["src/room/mod.rs:1: imports everything by `crate::*`"]
    );
}

#[test]
fn pure_code_names_no_clock_and_no_shell() {
    let cases = [
        ("use tokio::sync::mpsc;", "tokio"),
        ("fn f() { axum::serve() }", "axum"),
        ("use rusqlite as sql;", "rusqlite"),
        ("use rumqttc;", "rumqttc"),
        ("use std::time::Duration;", "std::time"),
        ("use std::{fmt, time::Duration};", "std::time"),
        ("fn f(now: Instant) {}", "Instant"),
        ("fn f() { chrono::SystemTime::now() }", "SystemTime"),
        ("use std::fs;", "std::fs"),
        ("use std::{fs::{self, File}};", "std::fs"),
        ("use std::net::TcpStream;", "std::net::TcpStream"),
        ("use std::net::{IpAddr, UdpSocket};", "std::net::UdpSocket"),
        ("use std::*;", "std::*"),
        ("use crate::clock::Clock;", "crate::clock"),
    ];
    for (text, word) in cases {
        for path in ["src/signal/mod.rs", "src/room/a.rs"] {
            let module = path.split('/').nth(1).unwrap();
            assert_eq!(
                found(path, &format!("\n{text}\n")),
                [format!("{path}:2: pure `{module}` names `{word}`")],
                "{text}"
            );
        }
        let elsewhere = found("src/store/mod.rs", text);
        assert_eq!(elsewhere, Vec::<String>::new(), "{text}");
    }
    // An address is a value; so is a word inside another.
    for fine in [
        "use std::net::IpAddr;",
        "struct Instants;",
        "let tokio_like = 1;",
    ] {
        assert_eq!(found("src/room/mod.rs", fine), Vec::<String>::new());
    }
    // Tests of pure code may read their vectors.
    let test = "#[cfg(test)]\nmod tests { use std::fs; }";
    assert_eq!(found("src/signal/mod.rs", test), Vec::<String>::new());
}

#[test]
fn the_score_takes_no_function_that_a_platform_rounds_its_own_way() {
    for text in [
        "fn f(x: f64) -> f64 { x.sin() }",
        "fn f(x: f64) -> f64 { f64::sin(x) }",
        "const F: fn(f32) -> f32 = f32::sin;",
    ] {
        assert_eq!(
            found("src/signal/a.rs", text),
            ["src/signal/a.rs:1: `sin` rounds as each platform likes: take the one of `libm`"]
        );
        assert_eq!(found("src/room/a.rs", text), Vec::<String>::new());
    }
    for fine in [
        "fn f(x: f64) -> f64 { libm::sin(x) + x.sqrt() }",
        "fn sin(x: f64) -> f64 { x }",
        "#[cfg(test)]\nmod tests { fn f(x: f64) -> f64 { x.sin() } }",
    ] {
        assert_eq!(found("src/signal/a.rs", fine), Vec::<String>::new());
    }
}

#[test]
fn the_edge_names_nothing_of_the_hub() {
    assert_eq!(
        found("hal/src/ble.rs", "use std::fmt;\nuse coherence_hub::room;"),
        ["hal/src/ble.rs:2: the edge names the hub"]
    );
    let inside = "use crate::web;\nuse super::room;";
    assert_eq!(found("hal/src/ble.rs", inside), Vec::<String>::new());
}

#[test]
fn unwrap_is_for_tests() {
    let text = "fn f() {\n    a()\n        .unwrap ();\n}\n";
    assert_eq!(
        found("src/web/mod.rs", text),
        ["src/web/mod.rs:3: `.unwrap()` outside tests: say why it can't fail with `expect`"]
    );
    assert_eq!(found("hal/src/a.rs", text).len(), 1);
    assert_eq!(found("src/web/tests.rs", text), Vec::<String>::new());
    for test in [
        "#[cfg(test)]\nfn f() { a().unwrap() }",
        "#[cfg(all(test, unix))] mod t { fn f() { a().unwrap() } }",
        "#[cfg(test)]\n#[allow(dead_code)]\nmod t { fn f() { a().unwrap() } }",
        "#[cfg(test)] const A: [u8; 2] = [b().unwrap(), 1];",
    ] {
        assert_eq!(
            found("src/web/mod.rs", test),
            Vec::<String>::new(),
            "{test}"
        );
    }
    for live in [
        "#[cfg(not(test))] fn f() { a().unwrap() }",
        "#[cfg(test)] use b::c; fn f() { a().unwrap() }",
        "#[cfg(test)] mod tests; fn f() { a().unwrap() }",
        "#[cfg(test)] mod tests {} fn f() { a().unwrap() }",
        "fn f(a: &'static str, b: &'a str) { a().unwrap() }",
    ] {
        assert_eq!(found("src/web/mod.rs", live).len(), 1, "{live}");
    }
}

#[test]
fn files_stay_short() {
    let long = "// a line\n".repeat(601);
    for path in ["src/web/mod.rs", "src/web/page/room.js", "hal/src/a.rs"] {
        assert_eq!(
            found(path, &long),
            [format!("{path}:601: 601 lines; 600 is the most")]
        );
    }
}

#[test]
fn every_module_is_on_the_map() {
    assert_eq!(
        found("src/stray.rs", ""),
        ["src/stray.rs:1: `stray` has no `mod` line in src/lib.rs"]
    );
    assert_eq!(
        found("src/main.rs", "use coherence_hub::app;"),
        Vec::<String>::new()
    );
}
