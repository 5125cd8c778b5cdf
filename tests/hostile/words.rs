//! Rows about what is said: text frames that are no JSON, no frame, or hold no acceptable value. The
//! socket answers each with an `error` and lives on.

use crate::ground::{Ground, ROOM_CODE};
use crate::line::{TEXT, frame};
use crate::row::{Answer, Row, Sent};

use Answer::{Error, Frame};

pub fn rows(ground: &Ground) -> Vec<Row> {
    let mut rows = no_json();
    rows.extend(no_frame());
    rows.extend(joins());
    rows.extend(beats());
    rows.extend(proofs(ground));
    rows
}

fn all(rows: Vec<(&str, String, Answer)>) -> Vec<Row> {
    rows.into_iter()
        .map(|(name, text, answer)| Row::text(name, text, answer))
        .collect()
}

fn no_json() -> Vec<Row> {
    let bad = || Error("bad_json");
    all(vec![
        ("nothing at all", String::new(), bad()),
        ("blanks", "   \r\n\t ".into(), bad()),
        ("half an object", "{\"type\":".into(), bad()),
        ("a bare word", "heartbeat".into(), bad()),
        ("a list", "[]".into(), bad()),
        ("a number", "1".into(), bad()),
        ("null", "null".into(), bad()),
        ("text alone", "\"heartbeat\"".into(), bad()),
        (
            "two objects",
            r#"{"type":"heartbeat"}{"type":"heartbeat"}"#.into(),
            bad(),
        ),
        (
            "something behind the object",
            r#"{"type":"heartbeat"};"#.into(),
            bad(),
        ),
        ("a comma too many", r#"{"type":"heartbeat",}"#.into(), bad()),
        (
            "a comment",
            r#"{"type":"heartbeat"/* hello */}"#.into(),
            bad(),
        ),
        ("single quotes", "{'type':'heartbeat'}".into(), bad()),
        (
            "a byte order mark",
            "\u{feff}{\"type\":\"heartbeat\"}".into(),
            bad(),
        ),
        ("a zero byte", "{\"type\":\"heart\0beat\"}".into(), bad()),
        (
            "a raw line break in text",
            "{\"type\":\"heart\nbeat\"}".into(),
            bad(),
        ),
        (
            "half a surrogate pair",
            r#"{"type":"\ud800"}"#.into(),
            bad(),
        ),
        ("an escape that is none", r#"{"type":"\x41"}"#.into(), bad()),
        ("lists 4000 deep", "[".repeat(4000), bad()),
        ("objects 500 deep", r#"{"a":"#.repeat(500), bad()),
        (
            "a deep value in a field that nobody reads",
            format!(
                r#"{{"type":"heartbeat","x":{}{}}}"#,
                "[".repeat(200),
                "]".repeat(200)
            ),
            bad(),
        ),
        (
            "NaN",
            r#"{"type":"update_coherence","coherence":NaN}"#.into(),
            bad(),
        ),
        (
            "Infinity",
            r#"{"type":"update_coherence","coherence":-Infinity}"#.into(),
            bad(),
        ),
        (
            "1e999",
            r#"{"type":"update_coherence","coherence":1e999}"#.into(),
            bad(),
        ),
        (
            "a hexadecimal number",
            r#"{"type":"update_coherence","coherence":0x32}"#.into(),
            bad(),
        ),
        (
            "a number with a leading zero",
            r#"{"type":"update_coherence","coherence":050}"#.into(),
            bad(),
        ),
    ])
}

fn no_frame() -> Vec<Row> {
    let value = || Error("bad_value");
    let unknown = || Error("unknown_type");
    all(vec![
        ("no type", "{}".into(), value()),
        ("a type that is a number", r#"{"type":7}"#.into(), value()),
        ("a type that is null", r#"{"type":null}"#.into(), value()),
        (
            "a type that is a list",
            r#"{"type":["heartbeat"]}"#.into(),
            value(),
        ),
        ("an unknown type", r#"{"type":"dance"}"#.into(), unknown()),
        ("an empty type", r#"{"type":""}"#.into(), unknown()),
        (
            "a type in capitals",
            r#"{"type":"HEARTBEAT"}"#.into(),
            unknown(),
        ),
        (
            "a type of the hub",
            r#"{"type":"group_metrics_update","average":99}"#.into(),
            unknown(),
        ),
        (
            "a type from a prototype",
            r#"{"type":"__proto__","__proto__":{"role":"facilitator"}}"#.into(),
            unknown(),
        ),
        (
            "a type of 4000 letters",
            format!(r#"{{"type":"{}"}}"#, "a".repeat(4000)),
            unknown(),
        ),
        (
            "a type of control characters",
            r#"{"type":"\u0000\u001b[2J\r\n"}"#.into(),
            unknown(),
        ),
        (
            "the type twice, the second counts",
            r#"{"type":"heartbeat","type":"dance"}"#.into(),
            unknown(),
        ),
        (
            "the type twice, the other way round",
            r#"{"type":"dance","type":"heartbeat"}"#.into(),
            Frame("heartbeat_response"),
        ),
        (
            "an id that is an object",
            r#"{"type":"heartbeat","id":{"a":1}}"#.into(),
            value(),
        ),
        (
            "an id of 65 characters",
            format!(r#"{{"type":"heartbeat","id":"{}"}}"#, "i".repeat(65)),
            value(),
        ),
        (
            "an id with control characters",
            r#"{"type":"heartbeat","id":"\u0000\n"}"#.into(),
            Frame("heartbeat_response"),
        ),
        (
            "a hundred fields that nobody knows",
            format!(
                r#"{{"type":"heartbeat"{}}}"#,
                (0..100)
                    .map(|n| format!(r#","f{n}":{n}"#))
                    .collect::<String>()
            ),
            Frame("heartbeat_response"),
        ),
        (
            "a time that is text",
            r#"{"type":"sync_request","clientTime":"now"}"#.into(),
            value(),
        ),
        (
            "a time that is absent",
            r#"{"type":"sync_request"}"#.into(),
            value(),
        ),
        (
            "a time beyond all times",
            r#"{"type":"sync_request","clientTime":-1.7e308}"#.into(),
            Frame("sync_response"),
        ),
    ])
}

/// A join of somebody who knows the room's code.
fn join_with(fields: &str) -> String {
    format!(r#"{{"type":"join_session","roomCode":"{ROOM_CODE}",{fields}}}"#)
}

fn joins() -> Vec<Row> {
    let value = || Error("bad_value");
    let join = |fields: &str| join_with(fields);
    let long = |field: &str, length: usize| join(&format!(r#""{field}":"{}""#, "ä".repeat(length)));
    let scopes = vec![r#""store""#; 17].join(",");
    all(vec![
        ("a name of 65 characters", long("name", 65), value()),
        (
            "an intention of 201 characters",
            long("intention", 201),
            value(),
        ),
        (
            "a name with a line break",
            join(r#""name":"a\nb""#),
            value(),
        ),
        (
            "a name with a zero byte",
            join(r#""name":"a\u0000b""#),
            value(),
        ),
        ("a name that is a list", join(r#""name":["a"]"#), value()),
        (
            "a name that is an object",
            join(r#""name":{"$gt":""}"#),
            value(),
        ),
        (
            "a name that is SQL",
            join(r#""name":"'); DROP TABLE participant; --""#),
            Frame("session_joined"),
        ),
        (
            "a name that is HTML",
            join(r#""name":"<script>alert(1)</script>""#),
            Frame("session_joined"),
        ),
        (
            "a name from right to left",
            join(r#""name":"\u202eevil""#),
            Frame("session_joined"),
        ),
        ("a strap below zero", join(r#""strap":-1"#), value()),
        ("half a strap", join(r#""strap":1.5"#), value()),
        ("a strap that is true", join(r#""strap":true"#), value()),
        (
            "a strap that nobody has",
            join(r#""strap":"99""#),
            Error("unknown_strap"),
        ),
        (
            "a strap of a large number",
            join(r#""strap":18446744073709551615"#),
            Error("unknown_strap"),
        ),
        (
            "a strap by its radio address",
            join(r#""strap":"ble:D0:5F:B8:00:00:01""#),
            Error("unknown_strap"),
        ),
        (
            "a session that is a path",
            join(r#""sessionId":"../../etc/passwd""#),
            value(),
        ),
        (
            "a session that is not this one",
            join(r#""sessionId":"20200101T0000Z""#),
            Error("unknown_session"),
        ),
        ("a consent that is true", join(r#""consent":true"#), value()),
        (
            "a consent to a text without a name",
            join(r#""consent":{"textVersion":"","scopes":[]}"#),
            value(),
        ),
        (
            "a consent to everything",
            join(r#""consent":{"textVersion":"1","scopes":["everything"]}"#),
            value(),
        ),
        (
            "a consent with 17 scopes",
            join(&format!(
                r#""consent":{{"textVersion":"1","scopes":[{scopes}]}}"#
            )),
            value(),
        ),
        (
            "a consent with scopes of other kinds",
            join(r#""consent":{"textVersion":"1","scopes":[1,null,{}]}"#),
            value(),
        ),
    ])
}

fn beats() -> Vec<Row> {
    let mut rows = all(vec![
        (
            "beats before joining",
            r#"{"type":"update_coherence","rr":[800]}"#.into(),
            Error("not_joined"),
        ),
        (
            "a score before joining",
            r#"{"type":"update_coherence","coherence":99}"#.into(),
            Error("not_joined"),
        ),
        (
            "leaving before joining",
            r#"{"type":"leave_session"}"#.into(),
            Error("not_joined"),
        ),
    ]);
    let many = format!("\"rr\":[{}800]", "800,".repeat(256));
    for (name, fields) in [
        ("no beats and no score", ""),
        ("an empty list of beats", "\"rr\":[]"),
        ("257 beats", &many),
        ("beats and a score", "\"rr\":[800],\"coherence\":50"),
        ("a beat that is no list", "\"rr\":800"),
        ("a beat of zero", "\"rr\":[800,0]"),
        ("a beat of minus zero", "\"rr\":[-0.0]"),
        ("a beat below zero", "\"rr\":[-800]"),
        ("a beat above 65535", "\"rr\":[65535.0001]"),
        ("a beat of 1e308", "\"rr\":[1e308]"),
        (
            "a beat of thirty digits",
            "\"rr\":[800000000000000000000000000000]",
        ),
        ("a beat that is text", "\"rr\":[\"800\"]"),
        ("a beat that is null", "\"rr\":[null]"),
        ("a beat in a list in a list", "\"rr\":[[800]]"),
        (
            "a beat that ended before time began",
            "\"rr\":[800],\"timestamp\":-1",
        ),
        (
            "a beat that ended at 1e300",
            "\"rr\":[800],\"timestamp\":1e300",
        ),
        (
            "a beat that ended \"now\"",
            "\"rr\":[800],\"timestamp\":\"now\"",
        ),
        ("a score above 100", "\"coherence\":100.0001"),
        ("a score below 0", "\"coherence\":-0.0001"),
        ("a score of 1e308", "\"coherence\":1e308"),
        ("a score that is text", "\"coherence\":\"50\""),
        ("a score that is true", "\"coherence\":true"),
    ] {
        let comma = if fields.is_empty() { "" } else { "," };
        let text = format!(r#"{{"type":"update_coherence"{comma}{fields}}}"#);
        rows.push(Row::new(
            name,
            Sent::Joined(frame(TEXT, text.as_bytes())),
            Error("bad_value"),
        ));
    }
    for (name, rr) in [
        (
            "a beat too short for any heart is taken and marked",
            "[1e-300]",
        ),
        (
            "a beat too long for any heart is taken and marked",
            "[65535]",
        ),
    ] {
        let text = format!(r#"{{"type":"update_coherence","rr":{rr},"id":1}}"#);
        rows.push(Row::new(
            name,
            Sent::Joined(frame(TEXT, text.as_bytes())),
            Frame("personal_feedback"),
        ));
    }
    let flood = format!(
        r#"{{"type":"update_coherence","rr":[{}300]}}"#,
        "300,".repeat(255)
    );
    let flood = frame(TEXT, flood.as_bytes()).repeat(10);
    rows.push(Row::new(
        "more beats than a heart can make",
        Sent::Joined(flood),
        Error("rate_limited"),
    ));
    rows
}

fn proofs(ground: &Ground) -> Vec<Row> {
    let mut rows = all(vec![
        (
            "a proof of nothing",
            r#"{"type":"auth"}"#.into(),
            Error("bad_value"),
        ),
        (
            "a token and a PIN",
            r#"{"type":"auth","token":"a.b","pin":"123456"}"#.into(),
            Error("bad_value"),
        ),
        (
            "a PIN that is a number",
            r#"{"type":"auth","pin":123456}"#.into(),
            Error("bad_value"),
        ),
        (
            "a PIN of five digits",
            r#"{"type":"auth","pin":"12345"}"#.into(),
            Error("bad_value"),
        ),
        (
            "a PIN of letters",
            r#"{"type":"auth","pin":"abcdef"}"#.into(),
            Error("bad_value"),
        ),
        (
            "a PIN of digits of another script",
            r#"{"type":"auth","pin":"１２３４５６"}"#.into(),
            Error("bad_value"),
        ),
        (
            "a PIN that is a list of guesses",
            r#"{"type":"auth","pin":["000000","000001"]}"#.into(),
            Error("bad_value"),
        ),
        (
            "a token of 200 characters",
            format!(r#"{{"type":"auth","token":"{}"}}"#, "a".repeat(200)),
            Error("bad_value"),
        ),
    ]);
    let path = format!(
        "/ws?token={0}&access_token={0}&resumeToken={0}",
        ground.token
    );
    let beats = frame(TEXT, br#"{"type":"update_coherence","rr":[800]}"#);
    rows.push(Row::new(
        "a token in the query of a socket",
        Sent::At(path, beats),
        Error("not_joined"),
    ));
    for (name, token) in &ground.forged {
        let auth = format!(r#"{{"type":"auth","token":"{token}"}}"#);
        rows.push(Row::text(
            format!("{name}, to prove oneself"),
            auth,
            Error("bad_token"),
        ));
        let join = format!(r#"{{"type":"join_session","resumeToken":"{token}"}}"#);
        rows.push(Row::text(
            format!("{name}, to come back"),
            join,
            Error("bad_token"),
        ));
    }
    rows
}
