//! The way to the broker as a stream of bytes: name, address, TLS. Files are read anew for each
//! connection, so that a renewed certificate or password needs no restart. Not here: MQTT.
//!
//! The MQTT client's own TLS would bring an outdated certificate checker, so ours stands in between:
//! the client speaks to a private Unix socket, whose other end is joined to the stream made here.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::ClientConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{self, RootCertStore};

use super::cause::{Cause, plain};
use crate::config::Uplink;

/// How long a name, an address or a handshake may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Bytes to and from the broker.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Where the broker is, as the configuration says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broker {
    pub url: String,
    pub host: String,
    port: u16,
    pub tls: bool,
}

impl Broker {
    /// `None` when there is none. Its form was checked when the configuration was read.
    pub fn configured(url: &str) -> Option<Broker> {
        let (tls, rest) = match url.strip_prefix("mqtts://") {
            Some(rest) => (true, rest),
            None => (false, url.strip_prefix("mqtt://")?),
        };
        let (host, port) = rest.rsplit_once(':')?;
        Some(Broker {
            url: url.to_owned(),
            host: host.trim_matches(['[', ']']).to_owned(),
            port: port.parse().ok()?,
            tls,
        })
    }

    fn silent(&self) -> Cause {
        Cause::Silent {
            broker: self.url.clone(),
        }
    }
}

/// Connects to the broker.
pub(super) async fn dial(broker: &Broker, config: &Uplink) -> Result<Box<dyn Stream>, Cause> {
    // What is wrong with the files is told even while the broker is away.
    let tls = if broker.tls {
        Some(tls_config(config)?)
    } else {
        None
    };
    let tcp = connect(broker).await?;
    let Some(tls) = tls else {
        return Ok(Box::new(tcp));
    };
    let name = ServerName::try_from(broker.host.clone()).map_err(|_| Cause::WrongName {
        host: broker.host.clone(),
    })?;
    let handshake = TlsConnector::from(Arc::new(tls)).connect(name, tcp);
    match timeout(PATIENCE, handshake).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => Err(Cause::of_handshake(&error, &broker.host, &broker.url)),
        Err(_) => Err(broker.silent()),
    }
}

async fn connect(broker: &Broker) -> Result<TcpStream, Cause> {
    let resolve = |why: String| Cause::Resolve {
        host: broker.host.clone(),
        why,
    };
    let addresses = match timeout(PATIENCE, lookup_host((broker.host.as_str(), broker.port))).await
    {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(error)) => return Err(resolve(plain(&error))),
        Err(_) => return Err(resolve("no answer".to_owned())),
    };
    let mut cause = resolve("it has no address".to_owned());
    for address in addresses {
        cause = match timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Small packets are not to wait for each other; if they do, it only takes longer.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Cause::Refused {
                broker: broker.url.clone(),
            },
            Ok(Err(error)) => Cause::Unreachable {
                broker: broker.url.clone(),
                why: plain(&error),
            },
            Err(_) => broker.silent(),
        };
    }
    Err(cause)
}

/// What is wrong with the files that a connection by this configuration would read: of those for TLS the
/// first, and the password's.
pub(super) fn look_into_files(config: &Uplink) -> Vec<Cause> {
    let Some(broker) = Broker::configured(&config.broker) else {
        return Vec::new();
    };
    let tls = broker.tls.then(|| tls_config(config).err()).flatten();
    tls.into_iter().chain(password(config).err()).collect()
}

/// The first line of the password file; nothing without a user name.
pub(super) fn password(config: &Uplink) -> Result<Option<String>, Cause> {
    if config.username.is_empty() {
        return Ok(None);
    }
    if config.password_file.as_os_str().is_empty() {
        return Ok(Some(String::new()));
    }
    let text = std::fs::read_to_string(&config.password_file).map_err(|error| Cause::File {
        key: "uplink.password_file",
        path: config.password_file.clone(),
        why: plain(&error),
    })?;
    Ok(Some(text.lines().next().unwrap_or_default().to_owned()))
}

fn tls_config(config: &Uplink) -> Result<ClientConfig, Cause> {
    let mut roots = RootCertStore::empty();
    let authorities = certificates("uplink.ca_file", &config.ca_file)?;
    let (added, _) = roots.add_parsable_certificates(authorities);
    if added == 0 {
        return Err(unusable(
            "uplink.ca_file",
            &config.ca_file,
            "no certificate is in it",
        ));
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Cause::BadCertificate(error.to_string()))?
        .with_root_certificates(roots);
    if config.cert_file.as_os_str().is_empty() {
        return Ok(builder.with_no_client_auth());
    }
    let chain = certificates("uplink.cert_file", &config.cert_file)?;
    if chain.is_empty() {
        return Err(unusable(
            "uplink.cert_file",
            &config.cert_file,
            "no certificate is in it",
        ));
    }
    let key = PrivateKeyDer::from_pem_file(&config.key_file)
        .map_err(|error| pem_cause("uplink.key_file", &config.key_file, &error))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => unusable(
                "uplink.key_file",
                &config.key_file,
                "it is not the key of the certificate in uplink.cert_file",
            ),
            other => unusable("uplink.cert_file", &config.cert_file, &other.to_string()),
        })
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Cause> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| pem_cause(key, path, &error))
}

fn pem_cause(key: &'static str, path: &Path, error: &pem::Error) -> Cause {
    match error {
        pem::Error::Io(error) => unusable(key, path, &plain(error)),
        pem::Error::NoItemsFound => unusable(key, path, "no private key is in it"),
        _ => unusable(key, path, "it is not a PEM file"),
    }
}

fn unusable(key: &'static str, path: &Path, why: &str) -> Cause {
    Cause::File {
        key,
        path: path.to_owned(),
        why: why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_a_host_a_port_and_whether_it_speaks_tls() {
        let broker = Broker::configured("mqtts://[::1]:8883").unwrap();
        assert_eq!(
            (broker.host.as_str(), broker.port, broker.tls),
            ("::1", 8883, true)
        );
        assert!(!Broker::configured("mqtt://b.example:1883").unwrap().tls);
        assert_eq!(Broker::configured(""), None);
    }

    #[test]
    fn a_file_that_is_missing_or_empty_is_named_with_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("empty.pem");
        std::fs::write(&empty, "").unwrap();
        let told = |change: &dyn Fn(&mut Uplink)| {
            let mut config = Uplink::default();
            change(&mut config);
            tls_config(&config).unwrap_err().to_string()
        };
        let missing = told(&|c| c.ca_file = dir.path().join("none.pem"));
        assert!(
            missing.ends_with("none.pem (uplink.ca_file) can't be used: No such file or directory"),
            "{missing}"
        );
        let nothing = told(&|c| c.ca_file = empty.clone());
        assert!(nothing.contains("no certificate is in it"), "{nothing}");
    }

    #[test]
    fn the_password_is_the_first_line_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        std::fs::write(&file, "geheim\nnot this\n").unwrap();
        let mut config = Uplink {
            password_file: file,
            ..Uplink::default()
        };
        assert_eq!(password(&config), Ok(None), "no user, no password");
        config.username = "hub".into();
        assert_eq!(password(&config), Ok(Some("geheim".into())));
    }
}
