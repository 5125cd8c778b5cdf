//! The guard with a certificate.

use std::path::Path;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::gate::{DEADLINE, exchange, problem, status};
use super::*;
use crate::config;
use crate::web::guard::{Allowances, Times};

fn certificate(dir: &Path) -> config::Web {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let (cert, key) = (dir.join("hub.crt"), dir.join("hub.key"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    config::Web {
        tls_cert: cert,
        tls_key: key,
        ..config::Web::default()
    }
}

/// A connection that trusts this certificate and no other.
async fn secure(hub: &Hub, cert: &Path) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(cert).unwrap())
        .unwrap();
    let provider = tokio_rustls::rustls::crypto::ring::default_provider();
    let config = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(hub.address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

/// One request on a connection that stays open.
async fn healthy(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let wish = b"GET /api/time HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(wish).await.unwrap();
    let mut said = Vec::new();
    while !said.ends_with(b"}") {
        let mut some = [0; 1024];
        let read = tokio::time::timeout(DEADLINE, stream.read(&mut some));
        let count = read.await.unwrap().unwrap();
        assert_ne!(count, 0, "the hub hung up");
        said.extend_from_slice(&some[..count]);
    }
    assert!(said.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn with_a_certificate_the_hub_speaks_https_and_takes_a_new_one_without_dropping_anybody() {
    let dir = tempfile::tempdir().unwrap();
    let web = certificate(dir.path());
    let cert = &web.tls_cert;
    let hub = hub_with(guard(&web)).await;
    let mut stream = secure(&hub, cert).await.unwrap();
    healthy(&mut stream).await;

    // Somebody who typed http:// is told.
    let answer = exchange(&hub, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(
        (status(&answer), &problem(&answer)["code"]),
        ("400", &json!("https_needed"))
    );

    // The socket and the page's origin are of https.
    let secure_socket = |origin: &'static str| {
        let hub = &hub;
        async move {
            let mut request = "wss://localhost/ws".into_client_request().unwrap();
            let origin = origin.parse().unwrap();
            request.headers_mut().insert("origin", origin);
            let stream = secure(hub, cert).await.unwrap();
            tokio_tungstenite::client_async(request, stream).await
        }
    };
    let (mut socket, _) = secure_socket("https://localhost").await.unwrap();
    let first = socket.next().await.unwrap().unwrap();
    assert!(first.to_text().unwrap().contains("session_state"));
    assert!(secure_socket("http://localhost").await.is_err());

    // Half a file is no rule; a whole one is taken, and whoever is connected stays.
    let old = dir.path().join("old.crt");
    std::fs::copy(cert, &old).unwrap();
    std::fs::write(&web.tls_key, "nothing").unwrap();
    assert!(Rules::of(&web).is_err());
    secure(&hub, &old).await.unwrap();
    certificate(dir.path());
    hub.guard.obey(Rules::of(&web).unwrap());
    healthy(&mut stream).await;
    secure(&hub, cert).await.unwrap();
    assert!(secure(&hub, &old).await.is_err());
}

#[tokio::test]
async fn a_handshake_that_does_not_come_ends() {
    let dir = tempfile::tempdir().unwrap();
    let web = certificate(dir.path());
    let rules = Rules::of(&web).unwrap();
    let times = Times {
        handshake: Duration::from_millis(200),
        ..Times::default()
    };
    let guard = Guard::with(rules, 100, times, Allowances::default());
    let hub = hub_with(guard).await;
    assert_eq!(exchange(&hub, "").await, "");
    assert_eq!(exchange(&hub, "\u{16}\u{3}").await, "");
}
