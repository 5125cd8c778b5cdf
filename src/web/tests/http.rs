//! REST, the health and the errors over HTTP.

use super::*;

/// Method, path, content type, body, expected status and code.
type Case<'a> = (&'a str, &'a str, Option<&'a str>, &'a str, u16, &'a str);

#[tokio::test]
async fn every_error_over_http_is_a_problem_with_its_code() {
    let hub = hub().await;
    let (id, _) = hub.join(json!({})).await;
    let own = format!("/api/participants/{id}/rr");
    let json_type = Some("application/json");
    let big = format!("{{\"name\":\"{}\"}}", "x".repeat(17_000));
    let cases: &[Case] = &[
        ("GET", "/nowhere", None, "", 404, "not_found"),
        ("GET", "/api/nowhere", None, "", 404, "not_found"),
        ("POST", "/", None, "", 405, "method_not_allowed"),
        ("POST", "/health", None, "", 405, "method_not_allowed"),
        ("DELETE", "/api/straps", None, "", 405, "method_not_allowed"),
        (
            "GET",
            "/api/sessions?limit=many",
            None,
            "",
            400,
            "bad_request",
        ),
        ("GET", "/api/sessions?limit=0", None, "", 422, "bad_value"),
        (
            "GET",
            "/api/sessions/20200101T0000Z",
            None,
            "",
            404,
            "unknown_session",
        ),
        ("GET", "/api/sessions/%ff", None, "", 400, "bad_request"),
        ("GET", "/ws", None, "", 426, "upgrade_required"),
        (
            "POST",
            "/api/participants",
            None,
            "{}",
            415,
            "unsupported_media_type",
        ),
        (
            "POST",
            "/api/participants",
            Some("text/plain"),
            "{}",
            415,
            "unsupported_media_type",
        ),
        ("POST", "/api/participants", json_type, "{", 400, "bad_json"),
        (
            "POST",
            "/api/participants",
            json_type,
            "[]",
            400,
            "bad_json",
        ),
        (
            "POST",
            "/api/participants",
            json_type,
            &big,
            413,
            "too_large",
        ),
        (
            "POST",
            "/api/participants",
            json_type,
            "{\"name\":5}",
            422,
            "bad_value",
        ),
        (
            "POST",
            "/api/participants",
            json_type,
            "{\"strap\":\"99\"}",
            404,
            "unknown_strap",
        ),
        (
            "POST",
            "/api/participants",
            json_type,
            "{\"sessionId\":\"other\"}",
            404,
            "unknown_session",
        ),
        (
            "POST",
            "/api/participants",
            json_type,
            "{\"resumeToken\":\"x\"}",
            401,
            "bad_token",
        ),
        (
            "POST",
            &own,
            json_type,
            "{\"rr\":[800]}",
            401,
            "unauthorized",
        ),
    ];
    for (method, path, kind, body, status, code) in cases {
        let mut request = hub
            .http
            .request(method.parse().unwrap(), hub.url(path))
            .body((*body).to_owned());
        if let Some(kind) = kind {
            request = request.header("content-type", *kind);
        }
        let answer = request.send().await.unwrap();
        let case = format!("{method} {path} {body:.20}");
        assert_eq!(answer.status(), *status, "{case}");
        assert_eq!(
            answer.headers()["content-type"],
            "application/problem+json",
            "{case}"
        );
        if *status == 405 {
            assert!(answer.headers().contains_key("allow"), "{case}");
        }
        let length: usize = answer.headers()["content-length"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        let bytes = answer.bytes().await.unwrap();
        assert_eq!(bytes.len(), length, "{case}");
        let problem: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(problem["code"], *code, "{case}");
        assert_eq!(
            problem["type"],
            format!("urn:coherence-hub:problem:{code}"),
            "{case}"
        );
        assert_eq!(problem["status"], *status, "{case}");
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|detail| !detail.is_empty()),
            "{case}"
        );
    }
}

#[tokio::test]
async fn every_described_route_is_served_and_nothing_of_it_is_missing() {
    let hub = hub().await;
    let (_, document) = hub.ask(Method::GET, "/api/openapi.json", None, None).await;
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let path = path.replace("{id}", "x");
            let (status, body) = hub.ask(method.clone(), &path, None, None).await;
            assert_ne!(status, 405, "{method} {path}");
            assert_ne!(body["code"], "not_found", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_person_joins_hands_in_beats_reads_its_data_and_is_erased() {
    let hub = hub().await;
    let (id, resume_token) = hub
        .join(json!({"name": "Noor", "consent": {"textVersion": "1", "scopes": ["store"]}}))
        .await;
    let (other, _) = hub.join(json!({})).await;
    let own = |end: &str| format!("/api/participants/{id}{end}");
    let token = Some(resume_token.as_str());

    let (status, feedback) = hub
        .ask(
            Method::POST,
            &own("/rr"),
            token,
            Some(json!({"rr": [800, 810.5]})),
        )
        .await;
    assert_eq!(
        (status.as_u16(), &feedback["reason"]),
        (200, &json!("warming_up"))
    );
    let (status, _) = hub
        .ask(
            Method::POST,
            &own("/coherence"),
            token,
            Some(json!({"coherence": 61})),
        )
        .await;
    assert_eq!(status, 200);
    let withdrawn = json!({"textVersion": "1", "scopes": []});
    let (status, _) = hub
        .ask(Method::PUT, &own("/consent"), token, Some(withdrawn))
        .await;
    assert_eq!(status, 204);
    let (status, data) = hub.ask(Method::GET, &own("/data"), token, None).await;
    assert_eq!((status.as_u16(), &data["name"]), (200, &json!("Noor")));
    let of_store = |consent: &&Value| consent["scope"] == "store";
    let consents = data["consents"].as_array().unwrap();
    let granted: Vec<_> = consents
        .iter()
        .filter(of_store)
        .map(|consent| &consent["granted"])
        .collect();
    assert_eq!(granted, [&json!(true), &json!(false)]);

    // Nobody else's, and not with another's token.
    let foreign = format!("/api/participants/{other}/data");
    let (status, problem) = hub.ask(Method::GET, &foreign, token, None).await;
    assert_eq!(
        (status.as_u16(), &problem["code"]),
        (403, &json!("forbidden"))
    );
    let (status, problem) = hub
        .ask(Method::GET, &own("/data"), Some("no.token"), None)
        .await;
    assert_eq!(
        (status.as_u16(), &problem["code"]),
        (401, &json!("bad_token"))
    );

    let (status, _) = hub.ask(Method::POST, &own("/leave"), token, None).await;
    assert_eq!(status, 204);
    let (status, _) = hub.ask(Method::DELETE, &own(""), token, None).await;
    assert_eq!(status, 204);
    let (status, problem) = hub.ask(Method::GET, &own("/data"), token, None).await;
    assert_eq!(
        (status.as_u16(), &problem["code"]),
        (404, &json!("unknown_participant"))
    );
    let again = json!({"resumeToken": resume_token});
    let (status, problem) = hub
        .ask(Method::POST, "/api/participants", None, Some(again))
        .await;
    assert_eq!(
        (status.as_u16(), &problem["code"]),
        (404, &json!("unknown_participant"))
    );
}

#[tokio::test]
async fn health_sessions_straps_and_time_are_there_for_everybody() {
    let hub = hub().await;
    let (status, health) = hub.ask(Method::GET, "/health", None, None).await;
    assert_eq!((status.as_u16(), &health["status"]), (200, &json!("ok")));
    assert_eq!(health["parts"]["uplink"]["status"], "off");
    let (_, current) = hub
        .ask(Method::GET, "/api/sessions/current", None, None)
        .await;
    let id = current["session"]["id"].as_str().unwrap();
    assert_eq!(health["session"]["id"], id);
    let (_, same) = hub
        .ask(Method::GET, &format!("/api/sessions/{id}"), None, None)
        .await;
    assert_eq!(same["session"]["endsAt"], current["session"]["endsAt"]);
    let (_, list) = hub
        .ask(Method::GET, "/api/sessions?limit=1", None, None)
        .await;
    assert_eq!(list["sessions"].as_array().unwrap().len(), 1);
    let (_, straps) = hub.ask(Method::GET, "/api/straps", None, None).await;
    assert_eq!(straps, json!({"straps": [], "sources": []}));
    let (_, time) = hub.ask(Method::GET, "/api/time", None, None).await;
    assert!(time["serverTime"].is_i64() && time["clockSynced"] == true);
    let metrics = hub.http.get(hub.url("/metrics")).send().await.unwrap();
    assert_eq!(
        metrics.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
}

#[tokio::test]
async fn whatever_is_asked_of_a_route_none_fails() {
    let hub = hub().await;
    let (_, document) = hub.ask(Method::GET, "/api/openapi.json", None, None).await;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let path = path.replace("{id}", "somebody");
            let body = (method != Method::GET).then(|| json!({}));
            let (status, answer) = hub.ask(method.clone(), &path, None, body).await;
            assert!(status.as_u16() < 500, "{method} {path}: {answer}");
        }
    }
}
