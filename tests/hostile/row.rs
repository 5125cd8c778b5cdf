//! One row of the table: what is sent, and the answer that is documented for it.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use crate::ground::{self, Ground};
use crate::line::{self, Answered, Line, PONG, TEXT, frame, shown};

/// After which a question is asked again.
const AGAIN: Duration = Duration::from_millis(1200);

/// After which an answer will not come any more.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Row {
    pub name: String,
    pub sent: Sent,
    pub answer: Answer,
}

pub enum Sent {
    /// On a new connection.
    Bytes(Vec<u8>),
    /// On a new connection, after which nothing more will be sent.
    AllOf(Vec<u8>),
    /// Over a new WebSocket.
    Frames(Vec<u8>),
    /// Over a new WebSocket that was opened under this path.
    At(String, Vec<u8>),
    /// Over a new WebSocket that has joined the session.
    Joined(Vec<u8>),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// This status, whatever the body.
    Status(u16),
    /// A problem document with this status and code.
    Problem(u16, &'static str),
    /// This status, and then the connection closes: what follows is not read.
    Last(u16),
    /// A status without a body, and the connection closes: these bytes were no HTTP.
    NoHttp(u16),
    /// The connection closes without a word.
    Closed,
    /// A frame of this type; the socket lives on.
    Frame(&'static str),
    /// An `error` frame with this code; the socket lives on.
    Error(&'static str),
    /// A pong; the socket lives on.
    Pong,
    /// No answer; the socket lives on.
    Nothing,
    /// Told why in an `error` frame with this code, then closed with 1009.
    TooLarge,
    /// The socket is closed with this code.
    Close(u16),
}

impl Row {
    pub fn new(name: impl Into<String>, sent: Sent, answer: Answer) -> Row {
        let name = name.into();
        Row { name, sent, answer }
    }

    /// A text frame over a new socket.
    pub fn text(name: impl Into<String>, text: impl AsRef<str>, answer: Answer) -> Row {
        Row::new(
            name,
            Sent::Frames(frame(TEXT, text.as_ref().as_bytes())),
            answer,
        )
    }

    /// Sends it and says what is wrong with what came back.
    pub async fn run(&self, ground: &Ground, from: Ipv4Addr) -> Result<(), String> {
        match timeout(PATIENCE, self.seen(ground, from)).await {
            Ok(Ok(seen)) if seen == self.answer => Ok(()),
            Ok(Ok(seen)) => Err(format!(
                "{}: {seen:?} came, not {:?}",
                self.name, self.answer
            )),
            Ok(Err(what)) => Err(format!("{}: {what}, not {:?}", self.name, self.answer)),
            Err(_) => Err(format!("{}: no answer, not {:?}", self.name, self.answer)),
        }
    }

    async fn seen(&self, ground: &Ground, from: Ipv4Addr) -> Result<Answer, String> {
        match &self.sent {
            Sent::Bytes(bytes) | Sent::AllOf(bytes) => {
                let mut line = Line::open(ground.hub, from).await;
                line.send(bytes).await;
                if matches!(self.sent, Sent::AllOf(_)) {
                    line.end().await;
                }
                self.http_answer(ground, line).await
            }
            Sent::Frames(bytes) | Sent::At(_, bytes) | Sent::Joined(bytes) => {
                let path = match &self.sent {
                    Sent::At(path, _) => path,
                    _ => "/ws",
                };
                let mut line = Line::open_socket_at(ground.hub, from, path).await;
                if matches!(self.sent, Sent::Joined(_)) {
                    let joined = line.ask(&ground::join_frame()).await;
                    if joined["type"] != "session_joined" {
                        return Err(format!("could not join: {joined}"));
                    }
                    ground.remember(joined);
                }
                line.send(bytes).await;
                self.socket_answer(ground, line).await
            }
        }
    }

    async fn http_answer(&self, ground: &Ground, mut line: Line) -> Result<Answer, String> {
        let Some(answer) = line.answer().await else {
            return Ok(Answer::Closed);
        };
        let more = line.count_answers().await;
        if more > 0 {
            return Err(format!(
                "{} and {more} more answers to one request",
                answer.status
            ));
        }
        let code = answer.code();
        if let Some(lax) = lax(&answer) {
            return Err(format!("an answer {lax}"));
        }
        if answer.status == 201 {
            ground.remember(
                serde_json::from_slice(&answer.body).expect("a join is answered in JSON"),
            );
        }
        Ok(match (&self.answer, code) {
            (Answer::Problem(_, wanted), Some(code)) if code == *wanted => {
                Answer::Problem(answer.status, wanted)
            }
            (Answer::NoHttp(_), None) if answer.body.is_empty() && line.ended => {
                Answer::NoHttp(answer.status)
            }
            (Answer::Last(_), None) if line.ended => Answer::Last(answer.status),
            (Answer::Status(_), None) => Answer::Status(answer.status),
            (_, code) => {
                let (status, body) = (answer.status, shown(&answer.body));
                return Err(format!("{status} {code:?} {body} (closed: {})", line.ended));
            }
        })
    }

    async fn socket_answer(&self, ground: &Ground, mut line: Line) -> Result<Answer, String> {
        if self.answer == Answer::Nothing {
            return lives(&mut line).await.map(|()| Answer::Nothing);
        }
        let Some(heard) = line.own_frame().await else {
            return Ok(Answer::Closed);
        };
        if let Some(code) = heard.close_code() {
            line.send(&frame(line::CLOSE, &code.to_be_bytes())).await;
            while line.frame().await.is_some() {}
            return Ok(Answer::Close(code));
        }
        let answer = heard.json().unwrap_or_default();
        let kind = answer["type"].as_str().unwrap_or_default();
        let code = answer["code"].as_str().unwrap_or_default();
        if kind == "session_joined" {
            ground.remember(answer.clone());
        }
        let seen = match &self.answer {
            Answer::Pong if heard.opcode == PONG => Answer::Pong,
            Answer::Frame(wanted) if kind == *wanted => Answer::Frame(wanted),
            Answer::Error(wanted) if code == *wanted && kind == "error" => Answer::Error(wanted),
            Answer::TooLarge if code == "too_large" => {
                let end = line.own_frame().await;
                return match end.and_then(|end| end.close_code()) {
                    Some(1009) => Ok(Answer::TooLarge),
                    other => Err(format!("too_large, then {other:?}")),
                };
            }
            _ => return Err(format!("a frame {answer}")),
        };
        lives(&mut line).await?;
        Ok(seen)
    }
}

/// The socket still answers.
async fn lives(line: &mut Line) -> Result<(), String> {
    // After a flood the rest of that second is not heard.
    for attempt in 0..50 {
        let ask = json!({"type": "heartbeat", "id": format!("alive {attempt}")});
        line.send(&frame(TEXT, ask.to_string().as_bytes())).await;
        while let Ok(heard) = timeout(AGAIN, line.own_frame()).await {
            let Some(heard) = heard.filter(|heard| heard.close_code().is_none()) else {
                return Err("the socket did not live on".into());
            };
            let answer = heard.json().unwrap_or_default();
            if answer["type"] == "heartbeat_response" && answer["re"] == ask["id"] {
                return Ok(());
            }
        }
    }
    Err("the socket does not answer any more".into())
}

/// What an answer lacks of what every answer of the hub has; bytes that are no HTTP have none of it.
fn lax(answer: &Answered) -> Option<String> {
    if answer.header("access-control-allow-origin").is_some() {
        return Some("that other pages may read".into());
    }
    let is_ours = answer.status != 101 && !(answer.body.is_empty() && answer.status >= 400);
    [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
    ]
    .into_iter()
    .find(|(name, value)| is_ours && answer.header(name) != Some(value))
    .map(|(name, _)| format!("without {name}"))
}
