//! The registry of straps through the running program: REST for the facilitator, the command line for the
//! admin, with a hub and without one.

mod support;

use std::path::Path;
use std::process::{Command, Output};

use reqwest::Method;
use serde_json::{Value, json};
use support::hub::{Hub, PROGRAM, quiet};

fn straps(data_dir: &Path, args: &[&str]) -> Output {
    quiet(&mut Command::new(PROGRAM))
        .arg("straps")
        .args(args)
        .args(["--config", "/dev/null", "--data-dir"])
        .arg(data_dir)
        .output()
        .expect("the program runs")
}

fn listed(data_dir: &Path) -> Vec<Value> {
    let output = straps(data_dir, &["list", "--json"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let list: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    list.as_array().expect("a list").clone()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_facilitator_labels_and_forgets_straps_and_nobody_else_does() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let mut hub = Hub::demo(dir.path(), &["--people", "6"]).await;
    let few = hub.get("/api/straps").await;
    assert!(few["straps"][0].get("no").is_none(), "{few}");
    let (status, problem) = hub
        .ask(Method::PATCH, "/api/straps/2", Some(json!({"label": "x"})))
        .await;
    assert_eq!((status, &problem["code"]), (401, &json!("unauthorized")));
    let (status, _) = hub.ask(Method::DELETE, "/api/straps/2", None).await;
    assert_eq!(status, 401);

    hub.become_facilitator().await;
    let all = hub.get("/api/straps").await;
    assert_eq!(all["straps"][1]["no"], 2, "{all}");
    assert!(all["straps"][1]["lastSeenAt"].is_i64(), "{all}");
    let (status, strap) = hub
        .ask(
            Method::PATCH,
            "/api/straps/strap%202",
            Some(json!({"label": " red belt "})),
        )
        .await;
    assert_eq!((status, &strap["label"]), (200, &json!("red belt")));
    for (body, code, expected) in [
        (json!({"label": "Red Belt"}), "label_taken", 409),
        (json!({"label": "a\u{7}b"}), "bad_value", 422),
        (json!({"label": ""}), "bad_value", 422),
        (json!({"label": "x".repeat(33)}), "bad_value", 422),
        (json!({"label": 7}), "bad_value", 422),
        (json!({}), "bad_value", 422),
    ] {
        let (status, problem) = hub.ask(Method::PATCH, "/api/straps/3", Some(body)).await;
        assert_eq!((status, &problem["code"]), (expected, &json!(code)));
    }
    let (status, problem) = hub
        .ask(
            Method::PATCH,
            "/api/straps/red%20bell",
            Some(json!({"label": "x"})),
        )
        .await;
    assert_eq!((status, &problem["code"]), (404, &json!("unknown_strap")));
    let detail = problem["detail"].as_str().expect("a sentence");
    assert!(detail.contains("Is it \"red belt\"?"), "{detail}");

    let (status, _) = hub.ask(Method::DELETE, "/api/straps/%233", None).await;
    assert_eq!(status, 204);
    // It still beats: it is heard again, as another.
    let another = |straps: &Value| {
        let all = straps["straps"].as_array().into_iter().flatten();
        let numbers: Vec<_> = all.filter_map(|strap| strap["no"].as_u64()).collect();
        !numbers.contains(&3) && numbers.contains(&7)
    };
    hub.until("/api/straps", "the forgotten strap as a new one", another)
        .await;
    let metrics = hub.text("/metrics").await;
    assert!(metrics.contains("coherence_straps_unscored{cause=\"warming_up\"}"));

    let path = dir.path();
    let list = listed(path);
    let red = list.iter().find(|strap| strap["label"] == "red belt");
    let red = red.expect("it is listed");
    assert_eq!(red["no"], 2);
    assert!(red["state"].is_string(), "{red}");
    assert!(red["address"].is_string());
    let output = straps(path, &["label", "red belt", "blue belt"]);
    assert!(output.status.success(), "{}", said(&output));
    let output = straps(path, &["label", "blue bell", "x"]);
    assert!(!output.status.success());
    assert!(
        said(&output).contains("Is it \"blue belt\""),
        "{}",
        said(&output)
    );
    let output = straps(path, &["list"]);
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(
        table.contains("blue belt") && table.contains("streaming"),
        "{table}"
    );
    let (status, log) = hub.stop().await;
    assert!(status.success(), "{log}");

    // Without a hub on the database itself.
    let labels: Vec<_> = listed(path)
        .iter()
        .map(|strap| strap["label"].as_str().expect("text").to_owned())
        .collect();
    assert!(labels.contains(&"blue belt".to_owned()), "{labels:?}");
    let output = straps(path, &["forget", "blue belt"]);
    assert!(output.status.success(), "{}", said(&output));
    let output = straps(path, &["label", "#1", "green belt"]);
    assert!(output.status.success(), "{}", said(&output));
    let output = straps(path, &["forget", "blue belt"]);
    assert!(
        said(&output).contains("knows no strap"),
        "{}",
        said(&output)
    );
    let output = straps(path, &["list"]);
    assert!(said(&output).contains("not running"), "{}", said(&output));

    let hub = Hub::demo(path, &["--people", "6"]).await;
    hub.until("/api/straps", "the label after a restart", |straps| {
        straps.to_string().contains("green belt")
    })
    .await;
}
