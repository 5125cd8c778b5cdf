//! The facility's certificate, read from its files. Not here: when (`rules`) and for whom (`serve`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// Why a certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{key} {}: {error}; give a PEM file that this service may read", path.display())]
    Unreadable {
        /// The key of the configuration.
        key: &'static str,
        path: PathBuf,
        error: pem::Error,
    },
    #[error("web.tls_cert {}: there is no certificate in it; give a PEM file with the certificate and its chain", path.display())]
    NoCertificate { path: PathBuf },
    #[error("web.tls_cert {} and web.tls_key {} can't be used together: {error}", cert.display(), key.display())]
    Unusable {
        cert: PathBuf,
        key: PathBuf,
        error: rustls::Error,
    },
}

/// HTTPS with one certificate.
#[derive(Debug)]
pub struct Tls(Arc<ServerConfig>);

impl Tls {
    /// # Errors
    /// The files can't be read, or don't belong together.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        read(cert, key).map(Tls)
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0))
    }
}

fn read(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let unreadable = |key, path: &Path| {
        let path = path.to_owned();
        move |error| TlsError::Unreadable { key, path, error }
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(unreadable("web.tls_cert", cert))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate {
            path: cert.to_owned(),
        });
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(unreadable("web.tls_key", key))?;
    let unusable = |error| TlsError::Unusable {
        cert: cert.to_owned(),
        key: key.to_owned(),
        error,
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(unusable)?;
    // WebSockets here are HTTP/1.1's.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn made(dir: &Path, name: &str) -> (PathBuf, PathBuf) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let cert = dir.join(format!("{name}.crt"));
        let key = dir.join(format!("{name}.key"));
        fs::write(&cert, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        (cert, key)
    }

    #[test]
    fn a_certificate_and_its_key_are_taken_and_anything_else_is_told_clearly() {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = made(dir.path(), "a");
        let (_, other) = made(dir.path(), "b");
        let empty = dir.path().join("empty");
        fs::write(&empty, "nothing").unwrap();
        let missing = dir.path().join("missing");
        assert!(Tls::load(&cert, &key).is_ok());
        for (cert, key, told) in [
            (&cert, &other, "can't be used together"),
            (&missing, &key, "web.tls_cert"),
            (&cert, &missing, "web.tls_key"),
            (&empty, &key, "there is no certificate in it"),
            (&cert, &empty, "web.tls_key"),
        ] {
            let error = Tls::load(cert, key).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
