//! What of the configuration the guard goes by, made ready: `systemctl reload` puts another in its
//! place while everybody stays connected.

use axum::http::HeaderValue;

use super::names::Names;
use super::tls::{Tls, TlsError};
use crate::config;

/// Names, pages and the certificate.
#[derive(Debug)]
pub struct Rules {
    pub(super) names: Names,
    /// Origins of pages from elsewhere that may ask.
    pub(super) origins: Vec<HeaderValue>,
    /// None: plain HTTP.
    pub(super) tls: Option<Tls>,
}

impl Rules {
    /// # Errors
    /// The certificate can't be used.
    pub fn of(web: &config::Web) -> Result<Self, TlsError> {
        let with_tls = !web.tls_cert.as_os_str().is_empty();
        let load = || Tls::load(&web.tls_cert, &web.tls_key);
        let origins = web.origins.iter();
        Ok(Rules {
            names: Names::new(&machine_name(), &web.hosts, &web.origins),
            // Those that are no header are no origin of a browser either.
            origins: origins.filter_map(|origin| origin.parse().ok()).collect(),
            tls: with_tls.then(load).transpose()?,
        })
    }
}

fn machine_name() -> String {
    // Without it the hub still goes by its addresses.
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default()
}
