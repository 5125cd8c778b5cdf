//! The Unix socket through which the command line asks a running hub.
//!
//! One line in, one line out: `pin` is answered by `ok 123456`, anything else by `error` and a
//! sentence. Who may open the socket may ask: its file is readable for owner and group only.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader as AsyncBufReader};
use tokio::net::UnixListener;

/// Longest request.
const REQUEST_BYTES: u64 = 256;
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a hub with this data directory listens: in the service's runtime directory for the
/// system's own data directory, beside the data for any other.
pub fn socket_path(data_dir: &Path) -> PathBuf {
    if data_dir == Path::new("/var/lib/coherence-hub") {
        PathBuf::from("/run/coherence-hub/hub.sock")
    } else {
        data_dir.join("hub.sock")
    }
}

/// What a running hub answers.
#[derive(Clone)]
pub struct Answers {
    pub pin: String,
}

impl Answers {
    fn to(&self, request: &str) -> String {
        match request.trim() {
            "pin" => format!("ok {}", self.pin),
            other => format!("error the hub does not know the request {other:?}"),
        }
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

/// Answers for ever, one asker after the other.
pub async fn serve(listener: UnixListener, answers: Answers) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, say: others are closed in time.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        // An asker who goes away in mid-question harms only himself.
        let _ = tokio::time::timeout(PATIENCE, converse(stream, &answers)).await;
    }
}

async fn converse(stream: tokio::net::UnixStream, answers: &Answers) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut request = String::new();
    AsyncBufReader::new(reader.take(REQUEST_BYTES))
        .read_line(&mut request)
        .await?;
    writer
        .write_all(format!("{}\n", answers.to(&request)).as_bytes())
        .await
}

/// Asks the hub that runs on this data directory; `None` when none runs.
///
/// # Errors
/// When a hub runs but can't be asked, or refuses.
pub fn ask(data_dir: &Path, request: &str) -> io::Result<Option<String>> {
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
    stream.set_read_timeout(Some(PATIENCE))?;
    writeln!(stream, "{request}")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    match answer.trim_end().split_once(' ') {
        Some(("ok", answer)) => Ok(Some(answer.to_owned())),
        Some(("error", why)) => Err(io::Error::other(why.to_owned())),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the hub gave no answer",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_running_hub_tells_its_pin_and_none_is_none() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        assert_eq!(ask(dir.path(), "pin").expect("no hub is no error"), None);
        let listener = listen(&socket_path(dir.path())).expect("the directory is ours");
        let server = tokio::spawn(serve(
            listener,
            Answers {
                pin: "042137".into(),
            },
        ));
        let path = dir.path().to_owned();
        let asked =
            tokio::task::spawn_blocking(move || (ask(&path, "pin"), ask(&path, "key"))).await;
        let (pin, key) = asked.expect("the asker does not panic");
        assert_eq!(pin.expect("it is told"), Some("042137".to_owned()));
        assert!(
            key.expect_err("nothing else is told")
                .to_string()
                .contains("does not know")
        );
        server.abort();
    }
}
