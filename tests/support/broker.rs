//! A real Mosquitto with a configuration of its own, on a free port of the loopback; and certificates,
//! good and bad. Not here: who connects to it (`collector.rs`, the hub).

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, date_time_ymd,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use super::DEADLINE;

/// A running broker; killed when dropped.
pub struct Broker {
    child: Option<Child>,
    /// For hubs.
    port: u16,
    /// For the collector, which may do everything.
    pub inner_port: u16,
    pub dir: TempDir,
    tls: bool,
}

impl Broker {
    /// One that lets everybody do everything, keeps nothing over its death, and has room for many
    /// messages.
    pub async fn open() -> Broker {
        Broker::start("allow_anonymous true", None, &[]).await
    }

    /// `more` is the configuration of the hubs' door, after `---` where something general stands before
    /// it; `DIR` in it is the broker's directory, into which `files` are laid. With a certificate the
    /// door speaks TLS.
    pub async fn start(more: &str, certificate: Option<&Pem>, files: &[(&str, &str)]) -> Broker {
        let dir = tempfile::tempdir().expect("a directory for the broker");
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).expect("the broker's own directory");
        }
        let tls = certificate.map_or(String::new(), |pem| {
            pem.write(dir.path(), "server");
            let at = |name: &str| dir.path().join(name).display().to_string();
            format!(
                "certfile {}\nkeyfile {}\n",
                at("server.pem"),
                at("server.key")
            )
        });
        let mut broker = Broker {
            child: None,
            port: 0,
            inner_port: 0,
            dir,
            tls: certificate.is_some(),
        };
        // Somebody else may take the port between here and there.
        for _ in 0..20 {
            broker.port = free_port();
            broker.inner_port = free_port();
            let (port, inner_port) = (broker.port, broker.inner_port);
            let more = more.replace("DIR", &broker.dir.path().display().to_string());
            let (general, more) = match more.split_once("---\n") {
                Some((general, more)) => (general.to_owned(), more.to_owned()),
                None => ("max_queued_messages 100000\n".to_owned(), more),
            };
            let text = format!(
                "user root\nper_listener_settings true\npersistence false\nlog_type all\n{general}\n\
                 listener {inner_port} 127.0.0.1\nallow_anonymous true\n\
                 listener {port} 127.0.0.1\n{tls}{more}\n"
            );
            std::fs::write(broker.dir.path().join("mosquitto.conf"), text)
                .expect("the broker's own directory");
            if broker.spawn().await {
                return broker;
            }
        }
        panic!("Mosquitto does not start:\n{}", broker.log());
    }

    /// As the hub's configuration has it.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        format!("{scheme}://localhost:{}", self.port)
    }

    /// `kill -9`: what it held is lost.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it is our child");
            child.wait().expect("it is our child");
        }
    }

    /// Starts it again, on the same port, with the same configuration and nothing else.
    pub async fn restart(&mut self) {
        self.kill();
        assert!(self.spawn().await, "Mosquitto does not start again");
    }

    /// Adds a user to the file `passwords`; [`Broker::reload`] makes it known.
    pub fn password(&self, user: &str, password: &str) {
        let done = Command::new("mosquitto_passwd")
            .arg("-b")
            .arg(self.dir.path().join("passwords"))
            .args([user, password])
            .status()
            .expect("mosquitto_passwd comes with mosquitto");
        assert!(done.success());
    }

    /// Reads its rules again.
    pub fn reload(&self) {
        let child = self.child.as_ref().expect("it runs");
        let sent = Command::new("kill")
            .args(["-HUP", &child.id().to_string()])
            .status()
            .expect("kill is everywhere");
        assert!(sent.success());
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    async fn spawn(&mut self) -> bool {
        let log =
            std::fs::File::create(self.dir.path().join("log")).expect("the broker's own directory");
        let program = ["/usr/sbin/mosquitto", "/usr/bin/mosquitto"]
            .into_iter()
            .find(|path| Path::new(path).exists())
            .expect("mosquitto is not installed: tests/run installs it");
        let mut child = Command::new(program)
            .arg("-c")
            .arg(self.dir.path().join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("mosquitto can be started");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let begin = Instant::now();
        while TcpStream::connect(address).is_err() {
            if child.try_wait().expect("it is our child").is_some() {
                return false;
            }
            assert!(begin.elapsed() < DEADLINE, "Mosquitto does not listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.child = Some(child);
        true
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

/// A broker that lets everybody in and then takes nothing: it answers no publication.
pub struct Deaf {
    port: u16,
    heard: Arc<Mutex<Vec<usize>>>,
    task: JoinHandle<()>,
}

impl Deaf {
    pub async fn listen() -> Deaf {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let heard: Arc<Mutex<Vec<usize>>> = Arc::default();
        let counts = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let nth = {
                    let mut counts = counts.lock().expect("nobody panics");
                    counts.push(0);
                    counts.len() - 1
                };
                let counts = Arc::clone(&counts);
                tokio::spawn(async move {
                    // A client that goes is done.
                    let _ = hear(stream, |_| counts.lock().expect("nobody panics")[nth] += 1).await;
                });
            }
        });
        Deaf { port, heard, task }
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    pub fn connections(&self) -> usize {
        self.heard.lock().expect("nobody panics").len()
    }

    /// Publications on the connection that had most.
    pub fn most_publications(&self) -> usize {
        let heard = self.heard.lock().expect("nobody panics");
        heard.iter().copied().max().unwrap_or(0)
    }
}

impl Drop for Deaf {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads packets; answers connecting, subscribing and pings.
async fn hear(
    mut stream: tokio::net::TcpStream,
    mut publication: impl FnMut(&[u8]),
) -> std::io::Result<()> {
    loop {
        let kind = stream.read_u8().await? >> 4;
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let byte = stream.read_u8().await?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        match kind {
            1 => stream.write_all(&[0x20, 3, 0, 0, 0]).await?,
            3 => publication(&body),
            8 => stream.write_all(&[0x90, 4, body[0], body[1], 0, 1]).await?,
            12 => stream.write_all(&[0xd0, 0]).await?,
            _ => {}
        }
    }
}

/// A certificate and its key.
pub struct Pem {
    pub certificate: String,
    pub key: String,
}

impl Pem {
    /// Writes `<name>.pem` and `<name>.key`.
    pub fn write(&self, dir: &Path, name: &str) {
        std::fs::write(dir.join(format!("{name}.pem")), &self.certificate)
            .expect("the test's own directory");
        std::fs::write(dir.join(format!("{name}.key")), &self.key)
            .expect("the test's own directory");
    }
}

/// When a certificate holds.
pub enum Valid {
    Now,
    Once,
    Later,
}

/// Somebody who signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = params(&[], name, &Valid::Now);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Authority(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// Its own certificate, for those who are to trust it.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// For a broker of this name.
    pub fn server(&self, host: &str, valid: &Valid) -> Pem {
        let mut params = params(&[host.to_owned()], host, valid);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    /// For a client of this name.
    pub fn client(&self, name: &str) -> Pem {
        let mut params = params(&[], name, &Valid::Now);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Pem {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Pem {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

fn params(names: &[String], common_name: &str, valid: &Valid) -> CertificateParams {
    let mut params = CertificateParams::new(names).expect("names of hosts");
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    (params.not_before, params.not_after) = match valid {
        Valid::Now => (date_time_ymd(2020, 1, 1), date_time_ymd(2120, 1, 1)),
        Valid::Once => (date_time_ymd(2010, 1, 1), date_time_ymd(2011, 1, 1)),
        Valid::Later => (date_time_ymd(2110, 1, 1), date_time_ymd(2111, 1, 1)),
    };
    params
}
