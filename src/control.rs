//! The Unix socket through which the command line asks a running hub, and what is asked.
//!
//! One line of JSON in, one line of JSON out. Who may open the socket may ask: its file is open to
//! owner and group only. While no hub runs, the command line lets [`answer`] do the same on the
//! database itself.

mod straps;

use std::future::Future;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader as AsyncBufReader};
use tokio::net::UnixListener;

use crate::access::{Scope, Scoped};
use crate::gate::{Gate, GateError};
use crate::room::command::{Command, Refusal, Reply};
use crate::room::rows::Stamp;

pub use straps::StrapShown;

/// Longest request.
const REQUEST_BYTES: u64 = 4096;
/// For a question to come, and for its answer to be taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// The asker's: the hub may have to wait for its disk.
const ASKERS_PATIENCE: Duration = Duration::from_secs(15);

/// What the command line may ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Request {
    Pin,
    NewPin,
    /// Lets everybody try PIN and room code again.
    Unlock,
    NewToken {
        name: String,
        scope: Scope,
        days: u32,
    },
    Tokens,
    RevokeToken {
        name: String,
    },
    Straps,
    /// `strap`: its label or number.
    LabelStrap {
        strap: String,
        label: String,
    },
    ForgetStrap {
        strap: String,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Pin(String),
    /// So many addresses had to wait.
    Unlocked(usize),
    /// The text of a new token.
    Token(String),
    Tokens(Vec<TokenShown>),
    Straps {
        straps: Vec<StrapShown>,
        /// Unix ms of the hub's clock.
        now_at: i64,
        /// A hub runs: their state is as it is now.
        running: bool,
    },
    Done,
    /// It was not done; why, in words.
    Error(String),
}

/// A token as the admin sees it; times are Unix ms of the hub's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenShown {
    pub name: String,
    pub scope: Scope,
    pub made_at: i64,
    pub expires_at: i64,
    pub used_at: Option<i64>,
}

impl From<Scoped> for TokenShown {
    fn from(token: Scoped) -> Self {
        TokenShown {
            scope: token.scope,
            made_at: token.made.wall_ms,
            expires_at: token.expires_at_ms(),
            used_at: token.used_at_ms,
            name: token.name,
        }
    }
}

/// Does what is asked. `room` carries out what concerns straps.
pub async fn answer<F>(
    gate: &Gate,
    room: impl FnOnce(Command) -> F,
    request: Request,
    now: Stamp,
) -> Answer
where
    F: Future<Output = Result<Reply, Refusal>>,
{
    let command = match request {
        Request::Straps => Command::Registry,
        Request::LabelStrap { strap, label } => Command::LabelStrap { strap, label },
        Request::ForgetStrap { strap } => Command::ForgetStrap { strap },
        request => return at_the_gate(gate, request, now).await,
    };
    match room(command).await {
        Ok(Reply::Registry(registered)) => Answer::Straps {
            straps: registered.into_iter().map(StrapShown::from).collect(),
            now_at: now.wall_ms,
            running: true,
        },
        Ok(_) => Answer::Done,
        Err(refusal) => Answer::Error(refusal.message),
    }
}

async fn at_the_gate(gate: &Gate, request: Request, now: Stamp) -> Answer {
    let done = match request {
        Request::Pin => Ok(Answer::Pin(gate.pin())),
        Request::NewPin => gate.new_pin().await.map(Answer::Pin),
        Request::Unlock => gate.unlock(now).await.map(Answer::Unlocked),
        Request::NewToken { name, scope, days } => gate
            .new_token(name, scope, days, now)
            .await
            .map(Answer::Token),
        Request::Tokens => Ok(Answer::Tokens(
            gate.tokens().into_iter().map(TokenShown::from).collect(),
        )),
        Request::RevokeToken { name } => gate.revoke_token(&name).await.map(|()| Answer::Done),
        Request::Straps | Request::LabelStrap { .. } | Request::ForgetStrap { .. } => {
            unreachable!("the room answers what concerns straps")
        }
    };
    done.unwrap_or_else(|error: GateError| Answer::Error(error.to_string()))
}

/// Where a hub with this data directory listens: in the service's runtime directory for the
/// system's own data directory, beside the data for any other.
pub fn socket_path(data_dir: &Path) -> PathBuf {
    if data_dir == Path::new("/var/lib/coherence-hub") {
        PathBuf::from("/run/coherence-hub/hub.sock")
    } else {
        data_dir.join("hub.sock")
    }
}

/// Opens the socket; a socket file that a killed hub left behind is replaced.
///
/// # Errors
/// When the file can't be made there.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Answers for ever, one asker after the other. `now` tells the present moment in hub time.
pub async fn serve<F>(
    listener: UnixListener,
    gate: Arc<Gate>,
    room: impl Fn(Command) -> F + Clone + Send + 'static,
    now: impl Fn() -> Stamp,
) where
    F: Future<Output = Result<Reply, Refusal>> + Send + 'static,
{
    serve_patiently(listener, gate, room, now, PATIENCE).await;
}

async fn serve_patiently<F>(
    listener: UnixListener,
    gate: Arc<Gate>,
    room: impl Fn(Command) -> F + Clone + Send + 'static,
    now: impl Fn() -> Stamp,
    patience: Duration,
) where
    F: Future<Output = Result<Reply, Refusal>> + Send + 'static,
{
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, say: others are closed in time.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        // An asker who goes away in mid-question harms only himself.
        let _ = converse(stream, &gate, room.clone(), &now, patience).await;
    }
}

async fn converse<F>(
    stream: tokio::net::UnixStream,
    gate: &Arc<Gate>,
    room: impl FnOnce(Command) -> F + Send + 'static,
    now: impl Fn() -> Stamp,
    patience: Duration,
) -> io::Result<()>
where
    F: Future<Output = Result<Reply, Refusal>> + Send + 'static,
{
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let mut reader = AsyncBufReader::new(reader.take(REQUEST_BYTES));
    tokio::time::timeout(patience, reader.read_line(&mut line)).await??;
    let answer = match serde_json::from_str(&line) {
        Ok(request) => {
            // To its end, whoever stops waiting: what is on the disk must come into force.
            let (gate, now) = (Arc::clone(gate), now());
            let work = async move { answer(&gate, room, request, now).await };
            tokio::spawn(work).await.map_err(io::Error::other)?
        }
        Err(error) => Answer::Error(format!("the hub does not understand this: {error}")),
    };
    let answer = line_of(&answer)?;
    tokio::time::timeout(patience, writer.write_all(answer.as_bytes())).await?
}

fn line_of(message: &impl Serialize) -> io::Result<String> {
    Ok(serde_json::to_string(message)? + "\n")
}

/// Asks the hub that runs on this data directory; `None` when none runs.
///
/// # Errors
/// When a hub runs but can't be asked, or refuses.
pub fn ask(data_dir: &Path, request: &Request) -> io::Result<Option<Answer>> {
    let path = socket_path(data_dir);
    let mut stream = match UnixStream::connect(&path) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => {
            return Err(io::Error::new(
                error.kind(),
                format!("{}: {error}", path.display()),
            ));
        }
    };
    stream.set_read_timeout(Some(ASKERS_PATIENCE))?;
    stream.write_all(line_of(request)?.as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream)
        .read_line(&mut line)
        .map_err(in_words)?;
    match serde_json::from_str(&line) {
        Ok(Answer::Error(why)) => Err(io::Error::other(why)),
        Ok(answer) => Ok(Some(answer)),
        Err(_) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the hub gave no answer that this program understands",
        )),
    }
}

/// The system's own words for a time-out speak of a resource.
fn in_words(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => io::Error::new(
            io::ErrorKind::TimedOut,
            format!(
                "the hub gave no answer within {} s; it may still do what was asked: look before you \
                 ask again, and see its log",
                ASKERS_PATIENCE.as_secs()
            ),
        ),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::command::RefusalCode;
    use crate::store::{self, Boot};

    async fn no_room(_: Command) -> Result<Reply, Refusal> {
        Err(Refusal::new(RefusalCode::Busy, "There is no room."))
    }

    #[tokio::test]
    async fn a_running_hub_tells_its_pin_and_none_is_none() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        assert_eq!(
            ask(dir.path(), &Request::Pin).expect("no hub is no error"),
            None
        );
        let now = Stamp {
            mono_ms: 0,
            wall_ms: 0,
            synced: true,
        };
        let boot = Boot {
            boot_id: "a".into(),
            start: now,
        };
        let (store, memory) = store::open(&dir.path().join("hub.db"), boot).expect("it opens");
        let gate = Arc::new(Gate::new(store, &memory, 0));
        let listener = listen(&socket_path(dir.path())).expect("the directory is ours");
        let server = tokio::spawn(serve(listener, gate, no_room, move || now));
        let path = dir.path().to_owned();
        let asked = tokio::task::spawn_blocking(move || {
            let mut stream = UnixStream::connect(socket_path(&path)).expect("it listens");
            stream.write_all(b"key\n").expect("it reads");
            let mut line = String::new();
            let _ = BufReader::new(stream).read_line(&mut line);
            (ask(&path, &Request::Pin), line)
        });
        let (pin, nonsense) = asked.await.expect("the asker does not panic");
        assert_eq!(pin.expect("it is told"), Some(Answer::Pin(memory.pin)));
        assert!(nonsense.contains("does not understand"), "{nonsense}");
        server.abort();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_new_pin_on_the_disk_comes_into_force_however_long_that_took() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let database = dir.path().join("hub.db");
        let now = Stamp {
            mono_ms: 0,
            wall_ms: 0,
            synced: true,
        };
        let boot = Boot {
            boot_id: "a".into(),
            start: now,
        };
        let (store, memory) = store::open(&database, boot).expect("it opens");
        let gate = Arc::new(Gate::new(store, &memory, 0));
        let path = socket_path(dir.path());
        let listener = listen(&path).expect("the directory is ours");
        let patience = Duration::from_millis(300);
        let other = rusqlite::Connection::open(&database).expect("it is a database");
        other
            .execute_batch("BEGIN IMMEDIATE")
            .expect("nobody else writes");
        let mut stream = UnixStream::connect(&path).expect("it listens");
        let question = line_of(&Request::NewPin).expect("it is JSON");
        stream
            .write_all(question.as_bytes())
            .expect("it takes a line");
        let server = tokio::spawn(serve_patiently(
            listener,
            Arc::clone(&gate),
            no_room,
            move || now,
            patience,
        ));
        tokio::time::sleep(patience * 2).await;
        other
            .execute_batch("ROLLBACK")
            .expect("the lock is given back");
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while store::stored_pin(&database).expect("it is read") == memory.pin {
            assert!(std::time::Instant::now() < deadline, "it was never stored");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let stored = store::stored_pin(&database).expect("it is read");
        while gate.pin() != stored {
            assert!(std::time::Instant::now() < deadline, "not in force");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        server.abort();
    }

    #[test]
    fn a_hub_that_does_not_answer_is_told_of_in_words() {
        let told = in_words(io::ErrorKind::WouldBlock.into()).to_string();
        assert!(told.contains("no answer within 15 s"), "{told}");
    }
}
