//! Rows about HTTP: bytes that are no request, requests in two minds about where they end, bodies
//! that are not what they say, paths and methods that lead nowhere, proofs in the wrong place.

use crate::ground::{Ground, ROOM_CODE};
use crate::line::upgrade;
use crate::row::{Answer, Row, Sent};

use Answer::{Closed, Last, NoHttp, Problem, Status};

const JSON: (&str, &str) = ("Content-Type", "application/json");

pub fn rows(ground: &Ground) -> Vec<Row> {
    let mut rows = no_http(ground);
    rows.extend(two_minds(ground));
    rows.extend(bodies(ground));
    rows.extend(paths(ground));
    rows.extend(methods(ground));
    rows.extend(headers(ground));
    rows.extend(proofs(ground));
    rows.extend(upgrades(ground));
    rows
}

/// A request as a decent client sends it, whatever is in it.
pub fn request(
    ground: &Ground,
    method: &str,
    path: &str,
    more: &[(&str, &str)],
    body: &[u8],
) -> Vec<u8> {
    let host = ground.host();
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in more {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    let mut bytes = (head + "\r\n").into_bytes();
    bytes.extend(body);
    bytes
}

/// Bytes as they stand, with `HOST` for the hub's name.
pub fn raw(ground: &Ground, text: &str) -> Vec<u8> {
    text.replace("HOST", &ground.host()).into_bytes()
}

fn no_http(ground: &Ground) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row = |name: &str, text: &str, answer: Answer| {
        rows.push(Row::new(name, Sent::Bytes(raw(ground, text)), answer));
    };
    row("words", "hello there\r\n\r\n", NoHttp(400));
    row("zero bytes", &"\0".repeat(100), NoHttp(400));
    row("HTTP/0.9", "GET /\r\n\r\n", NoHttp(400));
    row(
        "the preface of HTTP/2",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        Closed,
    );
    row(
        "a version that is none",
        "GET / HTTP/9.9\r\nHost: HOST\r\n\r\n",
        NoHttp(400),
    );
    row(
        "a version with three digits",
        "GET / HTTP/1.11\r\nHost: HOST\r\n\r\n",
        NoHttp(400),
    );
    row(
        "a method with a blank",
        "GE T / HTTP/1.1\r\nHost: HOST\r\n\r\n",
        NoHttp(400),
    );
    row(
        "a method of control characters",
        "G\x01T / HTTP/1.1\r\nHost: HOST\r\n\r\n",
        NoHttp(400),
    );
    row(
        "a path with a raw zero byte",
        "GET /\0 HTTP/1.1\r\nHost: HOST\r\n\r\n",
        NoHttp(400),
    );
    row(
        "a path with a raw DEL",
        "GET /\x7f HTTP/1.1\r\nHost: HOST\r\n\r\n",
        NoHttp(400),
    );
    row(
        "a header without a colon",
        "GET / HTTP/1.1\r\nHost: HOST\r\nnonsense\r\n\r\n",
        NoHttp(400),
    );
    row(
        "a header with a blank before its colon",
        "GET / HTTP/1.1\r\nHost: HOST\r\nX : 1\r\n\r\n",
        NoHttp(400),
    );
    row(
        "a header that goes on in the next line",
        "GET / HTTP/1.1\r\nHost: HOST\r\nX: 1\r\n 2\r\n\r\n",
        NoHttp(400),
    );
    row(
        "a header with a zero byte",
        "GET / HTTP/1.1\r\nHost: HOST\r\nX: a\0b\r\n\r\n",
        NoHttp(400),
    );
    row(
        "a header with a lone carriage return",
        "GET / HTTP/1.1\r\nHost: HOST\r\nX: a\rb\r\n\r\n",
        NoHttp(400),
    );
    row(
        "a header without a name",
        "GET / HTTP/1.1\r\nHost: HOST\r\n: x\r\n\r\n",
        NoHttp(400),
    );
    let many: String = (0..200).map(|n| format!("X-{n}: {n}\r\n")).collect();
    row(
        "200 headers",
        &format!("GET / HTTP/1.1\r\nHost: HOST\r\n{many}\r\n"),
        NoHttp(431),
    );
    let huge = "x".repeat(700 * 1024);
    row(
        "a header of 700 KB",
        &format!("GET / HTTP/1.1\r\nHost: HOST\r\nX: {huge}\r\n\r\n"),
        NoHttp(431),
    );
    row(
        "a path of 700 KB",
        &format!("GET /{huge} HTTP/1.1\r\nHost: HOST\r\n\r\n"),
        NoHttp(431),
    );
    let long = "x".repeat(70_000);
    row(
        "a path of 70 KB",
        &format!("GET /{long} HTTP/1.1\r\nHost: HOST\r\n\r\n"),
        NoHttp(431),
    );
    // A client's first words to an HTTPS server.
    let mut tls = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    tls.extend([0xaa; 200]);
    rows.push(Row::new(
        "TLS on a plain port",
        Sent::Bytes(tls),
        NoHttp(400),
    ));
    rows.push(Row::new(
        "nothing, and gone",
        Sent::AllOf(Vec::new()),
        Closed,
    ));
    let half = raw(ground, "GET / HTTP/1.1\r\nHo");
    rows.push(Row::new("half a head, and gone", Sent::AllOf(half), Closed));
    rows
}

/// Requests that two readers could end at different places. None may be answered twice.
fn two_minds(ground: &Ground) -> Vec<Row> {
    let post =
        "POST /api/participants HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\n";
    let join = format!("{{\"roomCode\":\"{ROOM_CODE}\"}}");
    let chunk = format!("{:x}\r\n{join}\r\n", join.len());
    let inner = "GET /metrics HTTP/1.1\r\nHost: HOST\r\n\r\n";
    let mut rows = Vec::new();
    let mut row = |name: &str, text: String, answer: Answer| {
        rows.push(Row::new(name, Sent::Bytes(raw(ground, &text)), answer));
    };
    row(
        "a length and chunks",
        format!(
            "{post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n{inner}"
        ),
        Last(201),
    );
    row(
        "chunks and a length",
        format!(
            "{post}Transfer-Encoding: chunked\r\nContent-Length: 400\r\n\r\n{chunk}0\r\n\r\n{inner}"
        ),
        Last(201),
    );
    row(
        "two lengths",
        format!("{post}Content-Length: 2\r\nContent-Length: 40\r\n\r\n{{}}{inner}"),
        NoHttp(400),
    );
    row(
        "two lengths in one header",
        format!("{post}Content-Length: 2, 40\r\n\r\n{{}}{inner}"),
        NoHttp(400),
    );
    row(
        "a length below zero",
        format!("{post}Content-Length: -2\r\n\r\n{{}}{inner}"),
        NoHttp(400),
    );
    row(
        "a length with a plus",
        format!("{post}Content-Length: +2\r\n\r\n{{}}{inner}"),
        NoHttp(400),
    );
    row(
        "a length in hexadecimal",
        format!("{post}Content-Length: 0x2\r\n\r\n{{}}{inner}"),
        NoHttp(400),
    );
    row(
        "a length of thirty digits",
        format!("{post}Content-Length: {}\r\n\r\n{{}}", "9".repeat(30)),
        NoHttp(400),
    );
    row(
        "a length that is empty",
        format!("{post}Content-Length: \r\n\r\n{{}}"),
        NoHttp(400),
    );
    row(
        "an unknown transfer encoding",
        format!("{post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{inner}"),
        NoHttp(400),
    );
    row(
        "chunked, but not last",
        format!("{post}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n{inner}"),
        NoHttp(400),
    );
    row(
        "chunks in HTTP/1.0",
        format!(
            "POST /api/participants HTTP/1.0\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"
        ),
        NoHttp(400),
    );
    row(
        "a chunk whose size is no number",
        format!("{post}Transfer-Encoding: chunked\r\n\r\nzz\r\n{{}}\r\n0\r\n\r\n"),
        Problem(400, "bad_request"),
    );
    row(
        "a chunk whose size is beyond counting",
        format!(
            "{post}Transfer-Encoding: chunked\r\n\r\n{}\r\n{{}}\r\n0\r\n\r\n",
            "f".repeat(17)
        ),
        Problem(400, "bad_request"),
    );
    row(
        "a chunk with a lie about its size",
        format!("{post}Transfer-Encoding: chunked\r\n\r\n1\r\n{{}}\r\n0\r\n\r\n"),
        Problem(400, "bad_request"),
    );
    row(
        "a chunk with a long extension",
        format!(
            "{post}Transfer-Encoding: chunked\r\n\r\n2;{}\r\n{{}}\r\n0\r\n\r\n",
            "e".repeat(20_000)
        ),
        Problem(400, "bad_request"),
    );
    row(
        "trailers without end",
        format!(
            "{post}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n{}\r\n",
            "T: 1\r\n".repeat(5000)
        ),
        Problem(400, "bad_request"),
    );
    row(
        "a body before its request ends twice",
        format!(
            "{post}Content-Length: {}\r\nConnection: close\r\n\r\n{join}{inner}",
            join.len()
        ),
        Last(201),
    );
    // A single LF ends a line too (RFC 9112, 2.2); what then stands there is read once.
    row(
        "lines that end with LF alone",
        "GET /api/time HTTP/1.1\nHost: HOST\nConnection: close\n\n".into(),
        Last(200),
    );
    row(
        "a length behind a lone LF",
        format!(
            "{post}Content-Length: {}\nContent-Length: 400\r\n\r\n{join}{inner}",
            join.len()
        ),
        NoHttp(400),
    );
    row(
        "chunks behind a lone LF",
        format!(
            "{post}Content-Length: 400\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n{inner}"
        ),
        Last(201),
    );
    let half = raw(
        ground,
        &format!("{post}Content-Length: 100\r\n\r\n{{\"name\":"),
    );
    rows.push(Row::new(
        "half a body, and gone",
        Sent::AllOf(half),
        Problem(400, "bad_request"),
    ));
    rows
}

fn bodies(ground: &Ground) -> Vec<Row> {
    let path = "/api/participants";
    let mut rows = Vec::new();
    let mut row = |name: &str, kind: Option<&str>, body: &[u8], answer: Answer| {
        let headers: Vec<_> = kind
            .map(|kind| ("Content-Type", kind))
            .into_iter()
            .collect();
        rows.push(Row::new(
            name,
            Sent::Bytes(request(ground, "POST", path, &headers, body)),
            answer,
        ));
    };
    let json = Some("application/json");
    let not_json = || Problem(415, "unsupported_media_type");
    row("a body of no type", None, b"{}", not_json());
    row(
        "a body that says it is text",
        Some("text/plain"),
        b"{}",
        not_json(),
    );
    row(
        "a form",
        Some("application/x-www-form-urlencoded"),
        b"name=a",
        not_json(),
    );
    row(
        "a form with files",
        Some("multipart/form-data; boundary=x"),
        b"--x--",
        not_json(),
    );
    row(
        "a body of a type that is none",
        Some("json"),
        b"{}",
        not_json(),
    );
    row(
        "XML",
        Some("application/xml"),
        b"<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><x>&e;</x>",
        not_json(),
    );
    row("no body", json, b"", Problem(400, "bad_json"));
    row("half a body", json, b"{\"name\":", Problem(400, "bad_json"));
    row(
        "a body that is a list",
        json,
        b"[]",
        Problem(400, "bad_json"),
    );
    row(
        "a body that is null",
        json,
        b"null",
        Problem(400, "bad_json"),
    );
    row(
        "a body in UTF-16",
        json,
        b"\xff\xfe{\0}\0",
        Problem(400, "bad_json"),
    );
    row(
        "a body that is no UTF-8",
        json,
        b"{\"name\":\"\xff\"}",
        Problem(400, "bad_json"),
    );
    row(
        "a body of zero bytes",
        json,
        &[0; 64],
        Problem(400, "bad_json"),
    );
    row(
        "a body 3,000 deep",
        json,
        br#"{"a":"#.repeat(3_000).as_slice(),
        Problem(400, "bad_json"),
    );
    row(
        "a body with a number beyond numbers",
        json,
        b"{\"strap\":1e999}",
        Problem(400, "bad_json"),
    );
    row(
        "a body with something behind it",
        json,
        b"{} {}",
        Problem(400, "bad_json"),
    );
    row(
        "a body with a wrong value",
        json,
        b"{\"name\":{}}",
        Problem(422, "bad_value"),
    );
    row(
        "a body with a field twice, the second counts",
        json,
        b"{\"name\":\"a\",\"name\":7}",
        Problem(422, "bad_value"),
    );
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(1024 * 1024));
    row(
        "a body of 1 MiB",
        json,
        large.as_bytes(),
        Problem(413, "too_large"),
    );
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000)).repeat(20);
    let text = format!(
        "POST {path} HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n"
    );
    rows.push(Row::new(
        "80 KB in chunks",
        Sent::Bytes(raw(ground, &text)),
        Problem(413, "too_large"),
    ));
    let gzip = [JSON, ("Content-Encoding", "gzip")];
    let body = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xab\xae\x05\0\x43\xbf\xa6\xa3\x02\0\0\0";
    rows.push(Row::new(
        "a compressed body",
        Sent::Bytes(request(ground, "POST", path, &gzip, body)),
        Problem(400, "bad_json"),
    ));
    let asked = "POST /api/participants HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 10000000\r\n\r\n";
    rows.push(Row::new(
        "10 MB, asked for first",
        Sent::Bytes(raw(ground, asked)),
        Problem(413, "too_large"),
    ));
    let with = request(
        ground,
        "GET",
        "/api/time",
        &[JSON],
        b"{\"type\":\"heartbeat\"}",
    );
    rows.push(Row::new(
        "a body that nobody asked for",
        Sent::Bytes(with),
        Status(200),
    ));
    rows
}

fn paths(ground: &Ground) -> Vec<Row> {
    let mut rows = Vec::new();
    let long = format!("/{}", "a".repeat(2000));
    for path in [
        "/../../etc/passwd",
        "/page/../../Cargo.toml",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/%252e%252e/etc/passwd",
        "/%c0%ae%c0%ae/etc/passwd",
        "/..\\..\\windows\\win.ini",
        "//etc/passwd",
        "///",
        "/.git/config",
        "/hub.db",
        "/index.html%00.js",
        "/%00",
        "/index.html/",
        "/INDEX.HTML",
        "/index.html;x=1",
        "/%",
        "/%zz",
        "/caf%C3%A9",
        "/\u{e9}t\u{e9}",
        "/~root",
        "/api",
        "/api/",
        "/api//participants",
        "/api/participants/",
        "/health/",
        "/ws/",
        "/api/../health",
        &long,
    ] {
        let sent = Sent::Bytes(request(ground, "GET", path, &[], b""));
        rows.push(Row::new(
            format!("the path {path:.40}"),
            sent,
            Problem(404, "not_found"),
        ));
    }
    let longer = format!("/{}", "a".repeat(8000));
    for (path, answer) in [
        (
            "/api/sessions/..%2f..%2fhub.db",
            Problem(404, "unknown_session"),
        ),
        ("/api/sessions/%00", Problem(404, "unknown_session")),
        (
            "/api/sessions/'%20OR%201=1--",
            Problem(404, "unknown_session"),
        ),
        ("/api/sessions/%ff", Problem(400, "bad_request")),
        ("/api/sessions?limit=-1", Problem(400, "bad_request")),
        ("/api/sessions?limit=1e9", Problem(400, "bad_request")),
        (
            "/api/sessions?limit=4294967296",
            Problem(400, "bad_request"),
        ),
        ("/api/sessions?limit=100000", Problem(422, "bad_value")),
        ("/api/sessions?limit=1&limit=2", Problem(400, "bad_request")),
        (
            "/api/sessions?limit=1;DROP%20TABLE%20session",
            Problem(400, "bad_request"),
        ),
        (&longer, Problem(414, "uri_too_long")),
        ("/?%00%ff=%3Cscript%3E", Status(200)),
        ("/health?token=x", Status(200)),
    ] {
        let sent = Sent::Bytes(request(ground, "GET", path, &[], b""));
        rows.push(Row::new(format!("the path {path:.40}"), sent, answer));
    }
    rows
}

fn methods(ground: &Ground) -> Vec<Row> {
    let mut rows = Vec::new();
    for (method, path, answer) in [
        ("TRACE", "/", Problem(405, "method_not_allowed")),
        ("TRACE", "/health", Problem(405, "method_not_allowed")),
        ("TRACK", "/health", Problem(405, "method_not_allowed")),
        ("DELETE", "/", Problem(405, "method_not_allowed")),
        ("PUT", "/index.html", Problem(405, "method_not_allowed")),
        ("POST", "/metrics", Problem(405, "method_not_allowed")),
        (
            "PATCH",
            "/api/participants",
            Problem(405, "method_not_allowed"),
        ),
        (
            "PROPFIND",
            "/api/straps",
            Problem(405, "method_not_allowed"),
        ),
        ("get", "/health", Problem(405, "method_not_allowed")),
        ("POST", "/ws", Problem(405, "method_not_allowed")),
        (
            "DELETE",
            "/api/participants",
            Problem(405, "method_not_allowed"),
        ),
        (
            "CONNECT",
            "evil.example:443",
            Problem(405, "method_not_allowed"),
        ),
        ("HEAD", "/health", Status(200)),
    ] {
        let sent = Sent::Bytes(request(ground, method, path, &[], b""));
        rows.push(Row::new(format!("{method} {path}"), sent, answer));
    }
    let long = "M".repeat(5000);
    let sent = Sent::Bytes(request(ground, &long, "/health", &[], b""));
    rows.push(Row::new(
        "a method of 5000 letters",
        sent,
        Problem(405, "method_not_allowed"),
    ));
    let over = [("X-HTTP-Method-Override", "DELETE")];
    let sent = Sent::Bytes(request(ground, "GET", "/health", &over, b""));
    rows.push(Row::new("a method in a header", sent, Status(200)));
    rows
}

fn headers(ground: &Ground) -> Vec<Row> {
    let mut rows = Vec::new();
    let tags = "\"a\", ".repeat(500);
    for (name, header, answer) in [
        ("a part of a page", ("Range", "bytes=0-10"), Status(200)),
        (
            "a thousand parts of a page",
            ("Range", "bytes=0-,1-,2-,3-,4-,5-,6-,7-,8-,9-"),
            Status(200),
        ),
        (
            "a part of a page from behind its end",
            ("Range", "bytes=999999999-"),
            Status(200),
        ),
        ("a page that is any", ("If-None-Match", "*"), Status(304)),
        (
            "a page that is one of 500",
            ("If-None-Match", &tags),
            Status(200),
        ),
        ("a tag without quotes", ("If-None-Match", "W/"), Status(200)),
        (
            "a page since tomorrow",
            ("If-Modified-Since", "Sun, 06 Nov 2994 08:49:37 GMT"),
            Status(200),
        ),
        (
            "a cookie",
            ("Cookie", "session=admin; role=facilitator"),
            Status(200),
        ),
        (
            "an address in a header",
            ("X-Forwarded-For", "127.0.0.1"),
            Status(200),
        ),
        (
            "a type that is nothing",
            ("Accept", "nothing/at-all"),
            Status(200),
        ),
    ] {
        let sent = Sent::Bytes(request(ground, "GET", "/", &[header], b""));
        rows.push(Row::new(name, sent, answer));
    }
    rows
}

/// Proofs in the wrong place, or of somebody else.
fn proofs(ground: &Ground) -> Vec<Row> {
    let (id, token) = (&ground.id, &ground.token);
    let own = format!("/api/participants/{id}/data");
    let bearer = format!("Bearer {token}");
    let get = |path: &str, headers: &[(&str, &str)]| {
        Sent::Bytes(request(ground, "GET", path, headers, b""))
    };
    let unauthorized = || Problem(401, "unauthorized");
    let forbidden = || Problem(403, "forbidden");
    let mut rows = vec![
        Row::new("no token", get(&own, &[]), unauthorized()),
        Row::new(
            "a token in the query",
            get(&format!("{own}?token={token}&access_token={token}"), &[]),
            unauthorized(),
        ),
        Row::new(
            "a token in a cookie",
            get(&own, &[("Cookie", &format!("token={token}"))]),
            unauthorized(),
        ),
        Row::new(
            "a token as a password",
            get(&own, &[("Authorization", "Basic YTpi")]),
            unauthorized(),
        ),
        Row::new(
            "the word Bearer alone",
            get(&own, &[("Authorization", "Bearer")]),
            unauthorized(),
        ),
        Row::new(
            "a token without the word Bearer",
            get(&own, &[("Authorization", token)]),
            unauthorized(),
        ),
        Row::new(
            "an empty token",
            get(&own, &[("Authorization", "Bearer ")]),
            unauthorized(),
        ),
        Row::new(
            "a token that is not ASCII",
            get(&own, &[("Authorization", "Bearer \u{e9}")]),
            unauthorized(),
        ),
        Row::new(
            "two tokens in one",
            get(&own, &[("Authorization", &format!("{bearer}, {bearer}"))]),
            Problem(401, "bad_token"),
        ),
        Row::new(
            "another's data",
            get(
                &format!("/api/participants/{}/data", ground.other),
                &[("Authorization", &bearer)],
            ),
            forbidden(),
        ),
        Row::new(
            "the data of nobody",
            get("/api/participants/x/data", &[("Authorization", &bearer)]),
            forbidden(),
        ),
        Row::new(
            "everybody's data",
            get("/api/participants/*/data", &[("Authorization", &bearer)]),
            forbidden(),
        ),
        Row::new(
            "another's data by a detour",
            get(
                &format!("/api/participants/{id}%2f..%2f{}/data", ground.other),
                &[("Authorization", &bearer)],
            ),
            forbidden(),
        ),
        Row::new(
            "own data by the braces of the description",
            get("/api/participants/{id}/data", &[("Authorization", &bearer)]),
            forbidden(),
        ),
    ];
    for (name, token) in &ground.forged {
        let headers = [("Authorization", &*format!("Bearer {token}"))];
        rows.push(Row::new(
            format!("{name}, for data"),
            get(&own, &headers),
            Problem(401, "bad_token"),
        ));
    }
    let erase = format!("/api/participants/{}", ground.other);
    let sent = request(ground, "DELETE", &erase, &[("Authorization", &bearer)], b"");
    rows.push(Row::new("erasing another", Sent::Bytes(sent), forbidden()));
    let beats = format!("/api/participants/{}/rr", ground.other);
    let sent = request(
        ground,
        "POST",
        &beats,
        &[JSON, ("Authorization", &bearer)],
        b"{\"rr\":[800]}",
    );
    rows.push(Row::new(
        "beats for another",
        Sent::Bytes(sent),
        forbidden(),
    ));
    rows
}

fn upgrades(ground: &Ground) -> Vec<Row> {
    let host = ground.host();
    let plain = |text: String| Sent::Bytes(raw(ground, &text));
    let ws = "GET /ws HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade\r\n";
    vec![
        Row::new(
            "a socket that is not asked for",
            plain("GET /ws HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n".into()),
            Problem(426, "upgrade_required"),
        ),
        Row::new(
            "another protocol than WebSocket",
            plain(format!("{ws}Upgrade: h2c\r\n\r\n")),
            Problem(426, "upgrade_required"),
        ),
        Row::new(
            "a WebSocket of an old version",
            plain(format!(
                "{ws}Upgrade: websocket\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )),
            Problem(400, "bad_request"),
        ),
        Row::new(
            "a WebSocket without a key",
            plain(format!(
                "{ws}Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )),
            Problem(400, "bad_request"),
        ),
        Row::new(
            "a WebSocket over HTTP/1.0",
            plain(format!(
                "{}Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
                ws.replace("1.1", "1.0")
            )),
            Problem(426, "upgrade_required"),
        ),
        Row::new(
            "a WebSocket elsewhere",
            Sent::Bytes(upgrade(&host, "/api/time", &[("Connection", "close")])),
            Status(200),
        ),
        Row::new(
            "compression that is not offered",
            Sent::Bytes(upgrade(
                &host,
                "/ws",
                &[(
                    "Sec-WebSocket-Extensions",
                    "permessage-deflate; client_max_window_bits",
                )],
            )),
            Status(101),
        ),
        Row::new(
            "a subprotocol that is not spoken",
            Sent::Bytes(upgrade(
                &host,
                "/ws",
                &[("Sec-WebSocket-Protocol", "coherence.v999, mqtt")],
            )),
            Status(101),
        ),
    ]
}
