//! The program's `score`: the same series through the command line, and its manners.

#[path = "support/series.rs"]
mod series;

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use series::{Deviation, Expected, FIGURES, Row, all_series};

/// Runs the program's `score` with `stdin`; its exit code, output and complaints.
fn score(args: &[&str], stdin: &str) -> (Option<i32>, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_coherence-hub"))
        .arg("score")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(stdin.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn our_copy(name: &str) -> String {
    format!(
        "{}/tests/data/signal/synthetic/{name}.rr.csv",
        env!("CARGO_MANIFEST_DIR")
    )
}

#[test]
fn the_program_writes_the_expected_rows_as_csv() {
    let mut failures = String::new();
    for series in all_series() {
        let (code, out, complaints) = score(
            &[
                "--algorithm",
                "1",
                "--format",
                "csv",
                series.input.to_str().unwrap(),
            ],
            "",
        );
        assert_eq!(
            (code, complaints.as_str()),
            (Some(0), ""),
            "{}",
            series.name
        );
        let mut lines = out.lines();
        let header: Vec<&str> = lines.next().unwrap().split(',').collect();
        assert_eq!(
            header.join(","),
            "tick_s,n_beats,status,score,phase,peak_hz,artefact_pct,mean_hr,sdnn,rmssd,pnn50,lf,hf,lf_hf,total,standard_error,early_score,early_standard_error,breaths_per_min"
        );
        let rows: Vec<Expected> = lines
            .map(|line| Expected {
                columns: header
                    .iter()
                    .zip(line.split(','))
                    .map(|(&n, v)| (n.to_owned(), v.to_owned()))
                    .collect(),
            })
            .collect();
        assert_eq!(rows.len(), series.expected.len(), "{}", series.name);
        let mut deviation = Deviation::default();
        for (ours, expected) in rows.iter().zip(&series.expected) {
            for column in ["tick_s", "n_beats"] {
                assert_eq!(ours.text(column), expected.text(column), "{}", series.name);
            }
            let row = Row {
                status: ours.text("status").to_owned(),
                score: ours.number("score"),
                level: ours.text("phase").to_owned(),
                figures: FIGURES
                    .into_iter()
                    .map(|column| (column, ours.number(column)))
                    .collect(),
            };
            deviation.take(&series.name, expected, &row);
        }
        failures += &deviation.failures;
    }
    assert!(failures.is_empty(), "\n{failures}");
}

/// Version 2 is defined by its text; what it makes of our series is written down to the last decimal,
/// so that no change of it goes unseen. After one that is meant, `UPDATE=1 cargo test --test score` writes
/// the files anew, and the difference is to be looked at.
#[test]
fn version_two_says_of_our_series_what_it_always_said() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/signal/synthetic");
    let mut compared = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let input = entry.unwrap().path();
        let Some(name) = input.to_str().unwrap().strip_suffix(".rr.csv") else {
            continue;
        };
        let (code, out, _) = score(
            &[
                "--algorithm",
                "2",
                "--format",
                "csv",
                input.to_str().unwrap(),
            ],
            "",
        );
        assert_eq!(code, Some(0));
        let file = format!("{name}.version2.csv");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&file, &out).unwrap();
        }
        assert_eq!(out, fs::read_to_string(&file).unwrap(), "{file}");
        compared += 1;
    }
    assert_eq!(compared, 18);
}

#[test]
fn several_files_are_told_apart_and_a_bad_one_spoils_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("bad.csv");
    fs::write(&bad, "rr_ms\n800\neight hundred\n").unwrap();
    let bad = bad.to_str().unwrap();
    let flat = our_copy("flat_1000");
    let (code, out, complaints) = score(&["--format", "csv", bad, &flat, "/no/such.csv"], "");
    assert_eq!(code, Some(1));
    assert!(out.starts_with("file,tick_s,"), "{out}");
    assert_eq!(out.lines().count(), 31);
    assert!(
        out.lines()
            .skip(1)
            .all(|line| line.starts_with(&format!("{flat},"))),
        "{out}"
    );
    assert!(complaints.contains(&format!("{bad}:3: ")), "{complaints}");
    assert!(complaints.contains("/no/such.csv: "), "{complaints}");
}

#[test]
fn json_tells_every_tick_of_every_file() {
    let (tone, flat) = (our_copy("tone_100mHz"), our_copy("flat_1000"));
    let (code, out, _) = score(&["--format", "json", &tone, &flat], "");
    assert_eq!(code, Some(0));
    let files: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(files.as_array().unwrap().len(), 2);
    assert_eq!(files[0]["file"], tone);
    assert_eq!(files[0]["algorithm"], 2);
    assert_eq!(files[0]["settings"].as_str().unwrap().len(), 16);
    let breaths = files[0]["ticks"][48]["breaths_per_min"].as_f64().unwrap();
    assert!((breaths - 6.0).abs() < 0.01, "{breaths}");
    assert_eq!(files[0]["ticks"].as_array().unwrap().len(), 49);
    assert_eq!(files[0]["ticks"][0]["status"], "warmup");
    assert_eq!(files[0]["ticks"][0]["score"], serde_json::Value::Null);
    assert!(files[0]["ticks"][48]["score"].as_f64().unwrap() > 90.0);
    assert_eq!(files[1]["ticks"][29]["status"], "flat");
    assert_eq!(files[1]["ticks"][29]["mean_hr_bpm"], 60.0);
}

#[test]
fn a_recording_on_the_standard_input_becomes_a_table() {
    let recording = fs::read_to_string(our_copy("tone_100mHz")).unwrap();
    let (code, out, complaints) = score(&["-"], &recording);
    assert_eq!((code, complaints.as_str()), (Some(0), ""));
    assert!(
        out.starts_with("standard input: 329 intervals in 4:58 min"),
        "{out}"
    );
    assert!(
        out.contains("mean score 100.0 (0 low, 0 medium, 46 high)"),
        "{out}"
    );
}

#[test]
fn a_reader_that_went_away_is_no_complaint() {
    let files: Vec<String> = std::iter::repeat_n(our_copy("tone_100mHz"), 90).collect();
    let mut child = Command::new(env!("CARGO_BIN_EXE_coherence-hub"))
        .args(["score", "--format", "csv"])
        .args(&files)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}
