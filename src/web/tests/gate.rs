//! The guard, on raw sockets: what is let in, what is turned away and with which words. With a
//! certificate: `https`.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::config;
use crate::web::guard::{Allowance, Allowances, Times};

pub const DEADLINE: Duration = Duration::from_secs(10);

/// Everything the hub says until it hangs up.
async fn last_words(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut said = Vec::new();
    let read = stream.read_to_end(&mut said);
    let read = tokio::time::timeout(DEADLINE, read).await;
    // A reset is an end, too.
    let _ = read.expect("the hub hangs up");
    String::from_utf8_lossy(&said).into_owned()
}

/// Sends these bytes and hears what comes of it.
pub async fn exchange(hub: &Hub, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(hub.address).await.unwrap();
    // Whoever is hung up on in mid-sentence still hears why.
    let _ = stream.write_all(bytes.as_ref()).await;
    last_words(&mut stream).await
}

pub fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

pub fn problem(answer: &str) -> Value {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    serde_json::from_str(body).unwrap_or(Value::Null)
}

/// How often this was counted.
async fn counted(hub: &Hub, series: &str) -> u64 {
    let text = hub.http.get(hub.url("/metrics")).send().await.unwrap();
    let text = text.text().await.unwrap();
    let line = text.lines().find(|line| line.starts_with(series));
    line.map_or(0, |line| {
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64
    })
}

fn with(times: Times, allowed: Allowances) -> Guard {
    let web = config::Web::default();
    Guard::with(
        Rules::of(&web).unwrap(),
        web.max_connections,
        times,
        allowed,
    )
}

async fn hub_with_times(times: Times) -> Hub {
    hub_with(with(times, Allowances::default())).await
}

#[tokio::test]
async fn every_shape_of_a_request_has_its_answer() {
    let hub = hub().await;
    let get = |rest: &str| format!("GET /api/time HTTP/1.1\r\nHost: localhost\r\n{rest}\r\n\r\n");
    let post = |rest: &str| {
        format!(
            "POST /api/participants HTTP/1.1\r\nHost: localhost\r\n\
             Content-Type: application/json\r\n{rest}"
        )
    };
    let long_target = format!(
        "GET /{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "x".repeat(3_000)
    );
    let many: String = (0..200).map(|n| format!("X-{n}: 1\r\n")).collect();
    let chunk = "2\r\n{}\r\n0\r\n\r\n";
    // An empty status: the hub hangs up without a word.
    let cases: &[(&str, String, &str, &str)] = &[
        (
            "an ordinary request",
            "GET /api/time HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".into(),
            "200",
            "",
        ),
        (
            "lines that end in LF alone",
            "GET /api/time HTTP/1.1\nHost: localhost\nConnection: close\n\n".into(),
            "200",
            "",
        ),
        (
            "HTTP/1.0",
            "GET /api/time HTTP/1.0\r\nHost: localhost\r\n\r\n".into(),
            "200",
            "",
        ),
        (
            "the target in full",
            "GET http://localhost/api/time HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                .into(),
            "200",
            "",
        ),
        (
            "the target in full, of somebody else",
            "GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                .into(),
            "421",
            "misdirected",
        ),
        (
            "the name of somebody else",
            "GET /health HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".into(),
            "421",
            "misdirected",
        ),
        (
            "no name",
            "GET / HTTP/1.1\r\nConnection: close\r\n\r\n".into(),
            "400",
            "bad_host",
        ),
        (
            "two names",
            "GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                .into(),
            "400",
            "bad_host",
        ),
        (
            "CONNECT",
            "CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".into(),
            "405",
            "method_not_allowed",
        ),
        (
            "TRACE",
            "TRACE / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".into(),
            "405",
            "method_not_allowed",
        ),
        (
            "a method nobody knows",
            "BREW / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".into(),
            "405",
            "method_not_allowed",
        ),
        ("a target too long", long_target, "414", "uri_too_long"),
        (
            "a body in chunks",
            post(&format!("Transfer-Encoding: chunked\r\n\r\n{chunk}")),
            "201",
            "",
        ),
        (
            "a body in chunks and of a length",
            post(&format!(
                "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"
            )),
            "201",
            "",
        ),
        (
            "the same length twice",
            post("Connection: close\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}"),
            "201",
            "",
        ),
        (
            "two different lengths",
            post("Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
            "400",
            "",
        ),
        (
            "a length that is no number",
            post("Content-Length: +2\r\n\r\n{}"),
            "400",
            "",
        ),
        (
            "an encoding that is not chunked",
            post("Transfer-Encoding: gzip\r\n\r\n{}"),
            "400",
            "",
        ),
        (
            "chunks under HTTP/1.0",
            format!(
                "POST /api/participants HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"
            ),
            "400",
            "",
        ),
        ("a folded header", get("X-A: 1\r\n 2"), "400", ""),
        ("a space before the colon", get("X-A : 1"), "400", ""),
        ("a line without a colon", get("nothing"), "400", ""),
        ("a zero byte", get("X-A: \0"), "400", ""),
        ("too many headers", get(&many), "431", ""),
        (
            "headers too large",
            get(&format!("X-A: {}", "x".repeat(20_000))),
            "431",
            "",
        ),
        ("HTTP/0.9", "GET /\r\n\r\n".into(), "400", ""),
        (
            "HTTP/2",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(),
            "",
            "",
        ),
        (
            "TLS",
            "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\r\n\r\n".into(),
            "400",
            "",
        ),
        ("nonsense", "\u{1}\u{2}\u{3}\r\n\r\n".into(), "400", ""),
    ];
    let mut wrong = Vec::new();
    for (shape, request, expected, code) in cases {
        let answer = exchange(&hub, request).await;
        let told = problem(&answer)["code"].as_str().unwrap_or("").to_owned();
        if (status(&answer), told.as_str()) != (*expected, *code) {
            wrong.push(format!(
                "{shape}: {} {told:?}, expected {expected} {code:?}",
                status(&answer)
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(counted(&hub, "coherence_refused_total{reason=\"misdirected\"}").await >= 2);
    assert!(counted(&hub, "coherence_refused_total{reason=\"unreadable\"}").await >= 5);
}

#[tokio::test]
async fn nothing_can_hide_behind_a_body_in_chunks() {
    let hub = hub().await;
    let hidden = "POST /api/participants HTTP/1.1\r\nHost: localhost\r\n\
         Content-Type: application/json\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\n{}\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answer = exchange(&hub, hidden).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
}

#[tokio::test]
async fn a_head_that_comes_drop_by_drop_ends_and_so_does_a_connection_that_idles() {
    let head = Duration::from_millis(300);
    let hub = hub_with_times(Times {
        head,
        ..Times::default()
    })
    .await;
    let series = "coherence_refused_total{reason=\"slow_head\"}";
    let before = counted(&hub, series).await;
    let mut idle = TcpStream::connect(hub.address).await.unwrap();
    idle.write_all(b"GET /api/time HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(status(&last_words(&mut idle).await), "200");
    let silent = exchange(&hub, "").await;
    assert_eq!(silent, "");
    assert_eq!(counted(&hub, series).await, before);
    let begin = Instant::now();
    let answer = exchange(&hub, "GET /api/time HTTP/1.1\r\nHo").await;
    assert_eq!(answer, "");
    assert!(begin.elapsed() >= head);
    assert_eq!(counted(&hub, series).await, before + 1);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_told_so() {
    let hub = hub_with_times(Times {
        body: Duration::from_millis(200),
        ..Times::default()
    })
    .await;
    for kind in ["Content-Length: 20", "Transfer-Encoding: chunked"] {
        let begun = format!(
            "POST /api/participants HTTP/1.1\r\nHost: localhost\r\n\
             Content-Type: application/json\r\n{kind}\r\n\r\n"
        );
        let answer = exchange(&hub, begun).await;
        assert_eq!(status(&answer), "408", "{answer}");
        assert_eq!(problem(&answer)["code"], "too_slow");
    }
}

#[tokio::test]
async fn bodies_that_are_read_at_the_same_time_have_an_end_together() {
    let hub = hub_with(with(
        Times::default(),
        Allowances {
            bodies_bytes: 30,
            ..Allowances::default()
        },
    ))
    .await;
    let begun = |length: usize| {
        format!(
            "POST /api/participants HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let mut slow = TcpStream::connect(hub.address).await.unwrap();
    slow.write_all(begun(20).as_bytes()).await.unwrap();
    let second = begun(20) + "{                  }";
    let refused = tokio::time::timeout(DEADLINE, async {
        loop {
            let answer = exchange(&hub, &second).await;
            if status(&answer) != "201" {
                return answer;
            }
        }
    });
    let refused = refused.await.expect("the first is being read by now");
    assert_eq!(status(&refused), "503", "{refused}");
    assert!(refused.contains("retry-after: 1"), "{refused}");
    assert_eq!(problem(&refused)["code"], "busy");
    assert_eq!(status(&exchange(&hub, begun(2) + "{}").await), "201");
    slow.write_all(b"{                  }").await.unwrap();
    assert_eq!(status(&last_words(&mut slow).await), "201");
    assert_eq!(status(&exchange(&hub, &second).await), "201");
}

#[tokio::test]
async fn who_takes_nothing_is_let_go() {
    let hub = hub_with_times(Times {
        write: Duration::from_millis(300),
        ..Times::default()
    })
    .await;
    let mut greedy = TcpStream::connect(hub.address).await.unwrap();
    let wish = "GET /api/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1_000);
    // Never reads. Once the hub has let go, writing fails.
    let let_go = async {
        while greedy.write_all(wish.as_bytes()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let let_go = tokio::time::timeout(DEADLINE, let_go).await;
    let_go.expect("the hub still holds on");
}

#[tokio::test]
async fn beyond_the_last_seat_the_hub_says_so_and_serves_again_when_one_is_free() {
    let web = config::Web {
        max_connections: 10,
        ..config::Web::default()
    };
    let hub = hub_with(guard(&web)).await;
    let mut phones = Vec::new();
    for _ in 0..9 {
        phones.push(hub.phone().await);
    }
    let mut tenth = TcpStream::connect(hub.address).await.unwrap();
    let wish = b"GET /api/time HTTP/1.1\r\nHost: localhost\r\n\r\n";
    tenth.write_all(wish).await.unwrap();
    let mut first = [0; 12];
    tenth.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    for _ in 0..3 {
        let answer = exchange(&hub, wish).await;
        assert_eq!(status(&answer), "503", "{answer}");
        assert_eq!(problem(&answer)["code"], "too_many_connections");
        assert!(answer.contains("\r\nretry-after: 5\r\n"), "{answer}");
    }
    // A socket keeps its seat until it is gone.
    drop(phones.pop());
    let begin = Instant::now();
    while status(&exchange(&hub, "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n").await) != "200" {
        assert!(begin.elapsed() < DEADLINE, "the seat stays taken");
    }
    drop(tenth);
    let series = "coherence_refused_total{reason=\"connections_full\"}";
    let begin = Instant::now();
    while counted(&hub, series).await < 3 {
        assert!(begin.elapsed() < DEADLINE);
    }
}

#[tokio::test]
async fn every_answer_tells_the_browser_what_not_to_do() {
    let hub = hub().await;
    for path in ["/", "/health", "/api/straps", "/nowhere", "/ws", "/metrics"] {
        let answer = hub.http.get(hub.url(path)).send().await.unwrap();
        let headers = answer.headers();
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(headers[name], value, "{path}");
        }
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("frame-ancestors 'none'"), "{path}");
        let permissions = headers["permissions-policy"].to_str().unwrap();
        assert!(permissions.contains("camera=()"), "{path}");
        let kept = if path == "/" { "no-cache" } else { "no-store" };
        assert_eq!(headers["cache-control"], kept, "{path}");
        for absent in [
            "server",
            "strict-transport-security",
            "access-control-allow-origin",
        ] {
            assert!(!headers.contains_key(absent), "{path} {absent}");
        }
    }
    let (_, answer) = connect_async(format!("ws://{}/ws", hub.address))
        .await
        .unwrap();
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
}

#[tokio::test]
async fn a_page_from_elsewhere_neither_opens_a_socket_nor_joins() {
    let hub = hub().await;
    let own = format!("http://{}", hub.address);
    for (origin, lets_in) in [
        (own.as_str(), true),
        ("http://evil.example", false),
        ("null", false),
    ] {
        let mut request = format!("ws://{}/ws", hub.address)
            .into_client_request()
            .unwrap();
        let value = origin.parse().unwrap();
        request.headers_mut().insert("origin", value);
        assert_eq!(connect_async(request).await.is_ok(), lets_in, "{origin}");
        let join = hub.http.post(hub.url("/api/participants"));
        let join = join.header("origin", origin).json(&json!({}));
        let answer = join.send().await.unwrap();
        let expected = if lets_in { 201 } else { 403 };
        assert_eq!(answer.status(), expected, "{origin}");
        if !lets_in {
            let told: Value = answer.json().await.unwrap();
            assert_eq!(told["code"], "foreign_origin");
        }
        // What everybody may read is refused by the browser, which finds no word of consent.
        let read = hub.http.get(hub.url("/health")).header("origin", origin);
        let answer = read.send().await.unwrap();
        assert!(!answer.headers().contains_key("access-control-allow-origin"));
    }
}

#[tokio::test]
async fn a_page_that_is_configured_may_ask_from_elsewhere() {
    let web = config::Web {
        origins: vec!["https://wall.example.org".into()],
        ..config::Web::default()
    };
    let hub = hub_with(guard(&web)).await;
    let preflight = |origin: &'static str| {
        hub.http
            .request(Method::OPTIONS, hub.url("/api/participants"))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type")
            .send()
    };
    let answer = preflight("https://wall.example.org").await.unwrap();
    assert_eq!(answer.status(), 200);
    let headers = answer.headers();
    assert_eq!(
        headers["access-control-allow-origin"],
        "https://wall.example.org"
    );
    let allowed = headers["access-control-allow-headers"].to_str().unwrap();
    assert!(allowed.contains("authorization") && allowed.contains("if-match"));
    assert!(!headers.contains_key("access-control-allow-credentials"));
    let answer = preflight("https://evil.example").await.unwrap();
    assert!(!answer.headers().contains_key("access-control-allow-origin"));

    let join = hub.http.post(hub.url("/api/participants"));
    let join = join.header("origin", "https://wall.example.org");
    let answer = join.json(&json!({})).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    let headers = answer.headers();
    assert!(
        headers["access-control-expose-headers"]
            .to_str()
            .unwrap()
            .contains("etag")
    );
    assert!(!headers.contains_key("cross-origin-resource-policy"));
}

#[tokio::test]
async fn what_is_not_json_is_not_read() {
    let hub = hub().await;
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ] {
        let join = hub.http.post(hub.url("/api/participants")).body("{}");
        let answer = join.header("content-type", kind).send().await.unwrap();
        assert_eq!(answer.status(), 415, "{kind}");
    }
}

fn few() -> Guard {
    let few = |burst| Allowance {
        burst,
        per_second: 1,
    };
    let allowed = Allowances {
        of_person: few(3),
        of_address: few(40),
        joins: few(4),
        returns: few(4),
        sockets: few(3),
        loopback_times: 1,
        ..Allowances::default()
    };
    with(Times::default(), allowed)
}

#[tokio::test]
async fn joins_are_counted_together_however_they_come_but_coming_back_is_counted_apart() {
    let hub = hub_with(few()).await;
    let (_, token) = hub.join(json!({})).await;
    hub.join(json!({})).await;
    let mut phone = hub.phone().await;
    phone
        .ask(json!({"type": "join_session"}), "session_joined")
        .await;
    phone
        .ask(json!({"type": "leave_session"}), "session_left")
        .await;
    // The same socket is the same person.
    phone
        .ask(json!({"type": "join_session"}), "session_joined")
        .await;
    hub.join(json!({})).await;
    let answer = hub.http.post(hub.url("/api/participants"));
    let answer = answer.json(&json!({})).send().await.unwrap();
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.headers()["retry-after"], "1");
    let told: Value = answer.json().await.unwrap();
    assert_eq!(told["code"], "rate_limited");
    let mut other = hub.phone().await;
    let told = other.ask(json!({"type": "join_session"}), "error").await;
    assert_eq!(told["code"], "rate_limited");
    assert!(told["retryAfterMs"].as_i64().unwrap() > 0, "{told}");
    for _ in 0..4 {
        hub.join(json!({"resumeToken": token})).await;
    }
    let back = hub.http.post(hub.url("/api/participants"));
    let back = back.json(&json!({"resumeToken": token})).send().await;
    assert_eq!(back.unwrap().status(), 429);
}

#[tokio::test]
async fn who_asks_too_often_waits_and_others_do_not() {
    let hub = hub_with(few()).await;
    let (id, token) = hub.join(json!({})).await;
    let (_, other) = hub.join(json!({})).await;
    let data = format!("/api/participants/{id}/data");
    let mut answers = Vec::new();
    for _ in 0..6 {
        answers.push(
            hub.ask(Method::GET, &data, Some(&token), None)
                .await
                .0
                .as_u16(),
        );
    }
    assert!(answers.starts_with(&[200, 200, 200]), "{answers:?}");
    assert!(answers.contains(&429), "{answers:?}");
    let (status, _) = hub.ask(Method::GET, &data, Some(&other), None).await;
    assert_eq!(status, 403);
    let mut refused = false;
    for _ in 0..100 {
        refused |= hub.ask(Method::GET, "/api/time", None, None).await.0 == 429;
    }
    assert!(refused);
}

#[tokio::test]
async fn sockets_can_t_be_opened_without_end() {
    let hub = hub_with(few()).await;
    let mut refused = None;
    for _ in 0..10 {
        if let Err(error) = connect_async(format!("ws://{}/ws", hub.address)).await {
            refused = Some(error.to_string());
        }
    }
    let refused = refused.expect("at some time it is too many");
    assert!(refused.contains("429"), "{refused}");
}
