//! A real, headless Chromium, driven over its own debugging protocol: opens a page at a given size,
//! asks it questions in JavaScript, takes pictures. Not here: what a page should look like.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::DEADLINE;

/// Browsers at the same time: more of them than cores only make each other late.
static SEATS: Semaphore = Semaphore::const_new(AT_ONCE as usize);
const AT_ONCE: u32 = 3;

/// A page may wait for a session's end or for a first score, which take about a minute.
const PATIENCE: Duration = Duration::from_secs(150);

/// A browser with one page.
pub struct Browser {
    child: Child,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next_id: u64,
    /// What the page complained about: uncaught errors, console errors, blocked requests.
    pub complaints: Vec<String>,
    _profile: TempDir,
    _seats: SemaphorePermit<'static>,
}

/// Keeps all other browsers away beside so many of one's own, until it is dropped: for what is measured, and
/// would be measured wrong where pages wait for a processor.
pub async fn alone_with(own: u32) -> SemaphorePermit<'static> {
    let others = SEATS.acquire_many(AT_ONCE - own).await;
    others.expect("never closed")
}

impl Browser {
    /// Opens `url` in a window of `width` x `height` CSS pixels, in English.
    pub async fn open(url: &str, width: u32, height: u32) -> Browser {
        Browser::in_language("en", url, width, height).await
    }

    /// The same, preferring a language.
    pub async fn in_language(language: &str, url: &str, width: u32, height: u32) -> Browser {
        let mut browser = Browser::blank(language, width, height).await;
        browser.go(url).await;
        browser
    }

    /// A browser without a page, for what must be prepared before one is opened.
    pub async fn blank(language: &str, width: u32, height: u32) -> Browser {
        let seats = SEATS.acquire().await.expect("never closed");
        let profile = tempfile::tempdir().expect("a directory for the profile");
        let mut child = Command::new("chromium")
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-quic",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .args(["--remote-debugging-port=0"])
            .arg(format!("--lang={language}"))
            .arg(format!("--accept-lang={language}"))
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("chromium is installed (Debian package chromium)");
        let stderr = child.stderr.take().expect("it was piped");
        let (found, address) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut found = Some(found);
            // Read to the end, so that the browser never blocks on a full pipe.
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some((_, address)) = line.split_once("DevTools listening on ws://")
                    && let Some(found) = found.take()
                {
                    let host = address.split('/').next().unwrap_or_default().to_owned();
                    let _ = found.send(host);
                }
            }
        });
        let host = tokio::time::timeout(DEADLINE, address)
            .await
            .expect("chromium starts in time")
            .expect("it listens");
        let targets: Value = reqwest::get(format!("http://{host}/json/list"))
            .await
            .expect("the debugging port answers")
            .json()
            .await
            .expect("JSON");
        let page = targets
            .as_array()
            .and_then(|all| all.iter().find(|target| target["type"] == "page"))
            .and_then(|target| target["webSocketDebuggerUrl"].as_str())
            .expect("there is a page")
            .to_owned();
        let (socket, _) = connect_async(page)
            .await
            .expect("the debugging port takes us");
        let mut browser = Browser {
            child,
            socket,
            next_id: 0,
            complaints: Vec::new(),
            _profile: profile,
            _seats: seats,
        };
        for domain in [
            "Page.enable",
            "Runtime.enable",
            "Log.enable",
            "Network.enable",
        ] {
            browser.call(domain, json!({})).await;
        }
        browser.resize(width, height).await;
        browser
    }

    pub async fn go(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url})).await;
    }

    pub async fn resize(&mut self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 1000});
        self.call("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Makes scripts so many times slower than this machine, as on an old phone.
    pub async fn slow_down(&mut self, times: u32) {
        self.call("Emulation.setCPUThrottlingRate", json!({"rate": times}))
            .await;
    }

    /// Runs a script in every page before its own.
    pub async fn prepare(&mut self, script: &str) {
        self.call(
            "Page.addScriptToEvaluateOnNewDocument",
            json!({"source": script}),
        )
        .await;
    }

    /// Lets the page save files into a directory.
    pub async fn downloads_to(&mut self, directory: &Path) {
        let wish = json!({"behavior": "allow", "downloadPath": directory});
        self.call("Browser.setDownloadBehavior", wish).await;
    }

    /// Presses a key, as on a keyboard.
    pub async fn key(&mut self, key: &str, code: u32) {
        for kind in ["keyDown", "keyUp"] {
            let press =
                json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            self.call("Input.dispatchKeyEvent", press).await;
        }
    }

    /// Clicks what a selector finds, which must be there and in reach.
    pub async fn click(&mut self, selector: &str) {
        let selector = json!(selector);
        self.wait_until(&format!(
            "(e => e && e.offsetParent !== null && !e.disabled)(document.querySelector({selector}))"
        ))
        .await;
        self.ask(&format!("document.querySelector({selector}).click()"))
            .await;
    }

    /// The text of what a selector finds.
    pub async fn text(&mut self, selector: &str) -> String {
        let found = self
            .ask(&format!(
                "document.querySelector({}).textContent",
                json!(selector)
            ))
            .await;
        found.as_str().expect("text").to_owned()
    }

    /// Prefers `dark` or `light`, and perhaps reduced motion.
    pub async fn prefer(&mut self, scheme: &str, reduced_motion: bool) {
        let motion = if reduced_motion {
            "reduce"
        } else {
            "no-preference"
        };
        let features = json!([
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": motion},
        ]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}))
            .await;
    }

    /// The value of a JavaScript expression in the page.
    pub async fn ask(&mut self, expression: &str) -> Value {
        let answer = self
            .call(
                "Runtime.evaluate",
                json!({"expression": expression, "returnByValue": true, "awaitPromise": true}),
            )
            .await;
        assert!(
            answer.get("exceptionDetails").is_none(),
            "{expression}: {answer:#}"
        );
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true in the page.
    pub async fn wait_until(&mut self, expression: &str) {
        let begin = Instant::now();
        // A page that is still loading lacks what is asked for.
        while self
            .ask(&format!(
                "(() => {{ try {{ return Boolean({expression}) }} catch {{ return false }} }})()"
            ))
            .await
            != true
        {
            if begin.elapsed() > PATIENCE {
                let text = self.ask("document.body.innerText").await;
                panic!(
                    "did not become true in the page: {expression}\n{text}\n{:?}",
                    self.complaints
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Takes a picture of what is seen.
    pub async fn picture(&mut self, path: &Path) {
        let shot = self
            .call("Page.captureScreenshot", json!({"format": "png"}))
            .await;
        let png = BASE64_STANDARD
            .decode(shot["data"].as_str().expect("text"))
            .expect("base64");
        std::fs::create_dir_all(path.parent().expect("a file in a folder"))
            .expect("the folder can be made");
        std::fs::write(path, png).expect("the picture can be written");
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.next_id += 1;
        let id = self.next_id;
        let call = json!({"id": id, "method": method, "params": params}).to_string();
        self.socket
            .send(Message::text(call))
            .await
            .expect("the browser listens");
        loop {
            let message = tokio::time::timeout(DEADLINE, self.socket.next())
                .await
                .expect("the browser answers in time");
            let Some(Ok(Message::Text(text))) = message else {
                panic!("the browser is gone: {message:?}")
            };
            let message: Value = serde_json::from_str(&text).expect("JSON");
            if message["id"] == id {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].clone();
            }
            self.note(&message);
        }
    }

    fn note(&mut self, event: &Value) {
        let complaint = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => Some(&event["params"]["exceptionDetails"]),
            Some("Log.entryAdded") if event["params"]["entry"]["level"] == "error" => {
                Some(&event["params"]["entry"])
            }
            Some("Runtime.consoleAPICalled") if event["params"]["type"] == "error" => {
                Some(&event["params"]["args"])
            }
            _ => None,
        };
        self.complaints.extend(complaint.map(Value::to_string));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Already gone is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
