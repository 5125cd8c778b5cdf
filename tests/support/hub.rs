//! The real program as a child process: started on a free port, asked over HTTP, killed or stopped.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::{Value, json};

use super::phone::Phone;
use super::{DEADLINE, wait_until};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_coherence-hub");

/// The configuration of a hub that hears nothing and begins a session at midnight only.
pub const HEARS_NOTHING: &str =
    "[straps]\nble = false\n[clock]\ntrust = \"always\"\n[session]\nlength_min = 1440\n";

/// A running hub; killed when dropped.
pub struct Hub {
    child: Child,
    pub address: SocketAddr,
    /// Sent with every request, where there is one.
    token: Option<String>,
    log: Arc<Mutex<Vec<String>>>,
}

/// Arguments of a hub that hears no radio and listens on a free port.
pub fn quiet(command: &mut Command) -> &mut Command {
    // Tests never meet the machine's own configuration, bus or service manager.
    command
        .env_remove("NOTIFY_SOCKET")
        .env_remove("JOURNAL_STREAM")
        .env_remove("COHERENCE_HUB__LOG__LEVEL")
        .env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus")
}

impl Hub {
    /// `coherence-hub demo` on this data directory.
    pub async fn demo(data_dir: &Path, more: &[&str]) -> Hub {
        let mut command = Command::new(PROGRAM);
        quiet(&mut command)
            .args(["demo", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir)
            .args(more);
        Hub::start(&mut command).await
    }

    /// `coherence-hub run` with this configuration, on this data directory.
    pub async fn run(data_dir: &Path, config: &str, bus: Option<&str>) -> Hub {
        let file = data_dir.join("hub.toml");
        std::fs::create_dir_all(data_dir).expect("the test's own directory");
        std::fs::write(&file, config).expect("the test's own directory");
        let mut command = Command::new(PROGRAM);
        quiet(&mut command)
            .args(["run", "--listen", "127.0.0.1:0", "--config"])
            .arg(file);
        command.arg("--data-dir").arg(data_dir);
        if let Some(bus) = bus {
            command.env("DBUS_SYSTEM_BUS_ADDRESS", bus);
        }
        Hub::start(&mut command).await
    }

    /// Starts a command and waits until it says on which address it serves.
    pub async fn start(command: &mut Command) -> Hub {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program was built for this test");
        let log = Arc::new(Mutex::new(Vec::new()));
        let stderr = child.stderr.take().expect("it was piped");
        let lines = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines
                    .lock()
                    .expect("no test panics while holding it")
                    .push(line);
            }
        });
        let begin = Instant::now();
        loop {
            let address = log
                .lock()
                .expect("no test panics while holding it")
                .iter()
                .find_map(|line| serving(line));
            if let Some(address) = address {
                return Hub {
                    child,
                    address,
                    token: None,
                    log,
                };
            }
            let ended = child.try_wait().expect("it is our child");
            assert!(
                ended.is_none() && begin.elapsed() < DEADLINE,
                "the hub does not serve ({ended:?}); it said:\n{}",
                log.lock()
                    .expect("no test panics while holding it")
                    .join("\n")
            );
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    /// The most memory it has held so far, MB.
    pub fn peak_memory_mb(&self) -> u64 {
        self.status_kb("VmHWM:") / 1_024
    }

    /// The memory it holds now, kB.
    pub fn memory_kb(&self) -> u64 {
        self.status_kb("VmRSS:")
    }

    fn status_kb(&self, key: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let kb = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        kb.expect("Linux tells it")
    }

    /// Processor time so far, user's and system's, s.
    pub fn processor_s(&self) -> f64 {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(path).expect("it runs");
        // After the name, which is in brackets: the 12th and 13th field, in hundredths of a second.
        let (_, rest) = stat.rsplit_once(") ").expect("as proc(5) says");
        let mut fields = rest.split(' ').skip(11);
        let mut next = || fields.next().and_then(|field| field.parse::<f64>().ok());
        (next().expect("a number") + next().expect("a number")) / 100.0
    }

    /// How many it has of what Linux lists for a process: `fd`, open files, or `task`, threads.
    pub fn counted_in(&self, what: &str) -> usize {
        let folder = format!("/proc/{}/{what}", self.child.id());
        std::fs::read_dir(folder).expect("it runs").count()
    }

    /// The process, as the system numbers it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The facilitator's PIN, as the log shows it at the first start.
    pub fn pin(&self) -> String {
        let log = self.log();
        let (_, pin) = log.split_once("pin=").expect("it is the first start");
        pin[..6].to_owned()
    }

    /// Asks as the facilitator from now on.
    pub async fn become_facilitator(&mut self) {
        let mut phone = Phone::connect(self).await;
        phone.send(json!({"type": "auth", "pin": self.pin()})).await;
        let token = phone.wait_for("auth_ok").await["token"].clone();
        self.token = Some(token.as_str().expect("a token").to_owned());
    }

    /// Everything the hub has logged so far.
    pub fn log(&self) -> String {
        self.log
            .lock()
            .expect("no test panics while holding it")
            .join("\n")
    }

    /// `GET`, as JSON, whatever the status.
    pub async fn get(&self, path: &str) -> Value {
        let mut request = reqwest::Client::new().get(self.url(path));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.expect("the hub answers");
        answer.json().await.expect("JSON")
    }

    /// `GET`, as text.
    pub async fn text(&self, path: &str) -> String {
        let answer = reqwest::get(self.url(path)).await;
        let answer = answer.expect("the hub answers");
        answer.text().await.expect("text")
    }

    /// What `/metrics` says of a series, labels and all; None while nothing was counted.
    pub async fn metric(&self, series: &str) -> Option<f64> {
        let metrics = self.text("/metrics").await;
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok())
    }

    /// Any other request: its status and its body, as JSON where there is one.
    pub async fn ask(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let mut request = reqwest::Client::new().request(method, self.url(path));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("the hub answers");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    /// Waits until a `GET` answers what is wanted; panics with the last answer when it does not.
    pub async fn until(&self, path: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begin = Instant::now();
        loop {
            let answer = self.get(path).await;
            if wanted(&answer) {
                return answer;
            }
            assert!(
                begin.elapsed() < DEADLINE,
                "{what} did not come; last answer: {answer:#}\nlog:\n{}",
                self.log()
            );
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }

    /// Sends a signal, such as `-HUP`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status()
            .expect("kill is everywhere");
        assert!(sent.success());
    }

    /// Waits until the log says so, for the first time or again.
    pub async fn says(&self, what: &str, times: usize) {
        let said = || self.log().matches(what).count() >= times;
        wait_until(&format!("the log says {what:?}"), said).await;
    }

    /// SIGTERM, and how it ended.
    pub async fn stop(mut self) -> (ExitStatus, String) {
        self.signal("-TERM");
        let mut status = None;
        wait_until("the hub ends after SIGTERM", || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        })
        .await;
        (status.expect("just seen"), self.log())
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // Already gone is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in the log line that says so.
fn serving(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("serving")?;
    let (_, address) = rest.split_once("address=")?;
    address.split_whitespace().next()?.parse().ok()
}
