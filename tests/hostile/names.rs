//! Rows about who asks: under which name the hub is called, from which page it is asked, and with which
//! of the room's codes. A page that has made its own name point at this hub is found by that name.

use crate::ground::{Ground, ROOM_CODE};
use crate::http::{raw, request};
use crate::line::{TEXT, frame, upgrade};
use crate::row::{Answer, Row, Sent};

use Answer::{Error, Problem, Status};

pub fn rows(ground: &Ground) -> Vec<Row> {
    let mut rows = hosts(ground);
    rows.extend(origins(ground));
    rows.extend(codes(ground));
    rows
}

fn hosts(ground: &Ground) -> Vec<Row> {
    let misdirected = || Problem(421, "misdirected");
    let bad = || Problem(400, "bad_host");
    let mut rows = Vec::new();
    let long = "a".repeat(300);
    for (host, answer) in [
        ("evil.example", misdirected()),
        ("evil.example:8080", misdirected()),
        ("127.0.0.1.evil.example", misdirected()),
        ("localhost.evil.example", misdirected()),
        ("evil-localhost", misdirected()),
        ("router.lan", misdirected()),
        ("2130706433", misdirected()),
        ("0x7f.0.0.1", misdirected()),
        ("127.1", misdirected()),
        ("", bad()),
        (":8080", bad()),
        ("127.0.0.1:99999", bad()),
        ("127.0.0.1:80:80", bad()),
        ("user@127.0.0.1", bad()),
        ("127.0.0.1/health", bad()),
        ("[::1", bad()),
        ("<script>", bad()),
        ("evil.example, 127.0.0.1", bad()),
        (&long, bad()),
        ("LOCALHOST.:1", Status(200)),
        ("127.0.0.1:1", Status(200)),
        ("[::1]:8080", Status(200)),
    ] {
        let text = format!("GET /api/time HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        rows.push(Row::new(
            format!("the host {host:.40}"),
            Sent::Bytes(text.into_bytes()),
            answer,
        ));
    }
    let plain = |text: &str| Sent::Bytes(raw(ground, text));
    rows.extend([
        Row::new("no host", plain("GET /api/time HTTP/1.1\r\nConnection: close\r\n\r\n"), bad()),
        Row::new("no host in HTTP/1.0", plain("GET /api/time HTTP/1.0\r\n\r\n"), bad()),
        Row::new("two hosts", plain("GET /api/time HTTP/1.1\r\nHost: HOST\r\nHost: evil.example\r\nConnection: close\r\n\r\n"), bad()),
        Row::new("two hosts, both right", plain("GET /api/time HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\nConnection: close\r\n\r\n"), bad()),
        Row::new("another hub in the first line", plain("GET http://evil.example/api/time HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n"), misdirected()),
        Row::new("another hub in the header", plain("GET http://HOST/api/time HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"), misdirected()),
        Row::new("this hub in the first line", plain("GET http://HOST/api/time HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n"), Status(200)),
        Row::new("another host, says a header", Sent::Bytes(request(ground, "GET", "/api/time", &[("X-Forwarded-Host", "evil.example"), ("Forwarded", "host=evil.example")], b"")), Status(200)),
        Row::new("the page under another name", plain("GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"), misdirected()),
        Row::new("a socket under another name", Sent::Bytes(upgrade("evil.example", "/ws", &[])), misdirected()),
        Row::new("a join under another name", plain("POST /api/participants HTTP/1.1\r\nHost: evil.example\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"), misdirected()),
    ]);
    rows
}

fn origins(ground: &Ground) -> Vec<Row> {
    let foreign = || Problem(403, "foreign_origin");
    let own = format!("http://{}", ground.host());
    let mut rows = Vec::new();
    let join = format!("{{\"roomCode\":\"{ROOM_CODE}\"}}");
    let erase = format!("/api/participants/{}", ground.other);
    for origin in [
        "http://evil.example",
        "null",
        "",
        "file://",
        "http://127.0.0.1:1",
        &format!("https://{}", ground.host()),
        &format!("{own}.evil.example"),
        &format!("{own}/"),
        &format!("{own}, http://evil.example"),
        "http://localhost",
    ] {
        let socket = upgrade(&ground.host(), "/ws", &[("Origin", origin)]);
        rows.push(Row::new(
            format!("a socket for a page of {origin:?}"),
            Sent::Bytes(socket),
            foreign(),
        ));
        let headers = [("Origin", origin), ("Content-Type", "application/json")];
        let sent = request(
            ground,
            "POST",
            "/api/participants",
            &headers,
            join.as_bytes(),
        );
        rows.push(Row::new(
            format!("a join for a page of {origin:?}"),
            Sent::Bytes(sent),
            foreign(),
        ));
    }
    let evil = ("Origin", "http://evil.example");
    let twice = upgrade(&ground.host(), "/ws", &[("Origin", &own), evil]);
    rows.push(Row::new(
        "a socket for two pages",
        Sent::Bytes(twice),
        foreign(),
    ));
    let sent = request(ground, "DELETE", &erase, &[evil], b"");
    rows.push(Row::new(
        "an erasure for a page from elsewhere",
        Sent::Bytes(sent),
        foreign(),
    ));
    let preflight = [
        evil,
        ("Access-Control-Request-Method", "DELETE"),
        ("Access-Control-Request-Headers", "authorization"),
    ];
    let sent = request(ground, "OPTIONS", &erase, &preflight, b"");
    rows.push(Row::new(
        "a page from elsewhere asks whether it may",
        Sent::Bytes(sent),
        Problem(405, "method_not_allowed"),
    ));
    let sent = request(ground, "OPTIONS", "*", &[evil], b"");
    rows.push(Row::new(
        "a page from elsewhere asks what may be",
        Sent::Bytes(sent),
        Problem(404, "not_found"),
    ));
    let sent = request(ground, "GET", "/api/straps", &[evil], b"");
    rows.push(Row::new(
        "a page from elsewhere reads, and its browser keeps it from it",
        Sent::Bytes(sent),
        Status(200),
    ));
    rows.push(Row::new(
        "a socket for the hub's own page",
        Sent::Bytes(upgrade(&ground.host(), "/ws", &[("Origin", &own)])),
        Status(101),
    ));
    rows
}

fn codes(ground: &Ground) -> Vec<Row> {
    let join = |fields: &str| {
        Sent::Frames(frame(
            TEXT,
            format!(r#"{{"type":"join_session"{fields}}}"#).as_bytes(),
        ))
    };
    let post = |body: &str| {
        Sent::Bytes(request(
            ground,
            "POST",
            "/api/participants",
            &[("Content-Type", "application/json")],
            body.as_bytes(),
        ))
    };
    vec![
        Row::new(
            "a join without the room's code",
            join(""),
            Error("room_code"),
        ),
        Row::new(
            "a join with a wrong code",
            join(r#","roomCode":"loud-pond-7""#),
            Error("room_code"),
        ),
        Row::new(
            "a join with the code in capitals",
            join(&format!(r#","roomCode":"{}""#, ROOM_CODE.to_uppercase())),
            Error("room_code"),
        ),
        Row::new(
            "a join with half the code",
            join(&format!(r#","roomCode":"{}""#, &ROOM_CODE[..6])),
            Error("room_code"),
        ),
        Row::new(
            "a join with an empty code",
            join(r#","roomCode":"""#),
            Error("room_code"),
        ),
        Row::new(
            "a join with a code that is true",
            join(r#","roomCode":true"#),
            Error("bad_value"),
        ),
        Row::new(
            "a join with a code of 65 characters",
            join(&format!(r#","roomCode":"{}""#, "c".repeat(65))),
            Error("bad_value"),
        ),
        Row::new(
            "a join with a forged token in place of the code",
            join(&format!(r#","resumeToken":"{}""#, ground.forged[0].1)),
            Error("bad_token"),
        ),
        Row::new(
            "a join over HTTP without the room's code",
            post("{}"),
            Problem(403, "room_code"),
        ),
        Row::new(
            "a join over HTTP with a wrong code",
            post(r#"{"roomCode":"x"}"#),
            Problem(403, "room_code"),
        ),
    ]
}
