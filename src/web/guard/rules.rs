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
        let names = Names::new(&machine_name(), &web.hosts, &web.origins);
        Ok(Rules {
            // In the spelling of browsers. Those that are no header are no origin of theirs either.
            origins: names.origins().filter_map(|o| o.parse().ok()).collect(),
            names,
            tls: with_tls.then(load).transpose()?,
        })
    }
}

fn machine_name() -> String {
    // Without it the hub still goes by its addresses.
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_shared_with_in_the_spelling_of_browsers() {
        let web = config::Web {
            origins: vec![
                "https://X.example:443".into(),
                "http://y.example:8080".into(),
            ],
            ..config::Web::default()
        };
        let rules = Rules::of(&web).unwrap();
        let shared: Vec<_> = rules.origins.iter().map(|o| o.to_str().unwrap()).collect();
        assert_eq!(shared, ["http://y.example:8080", "https://x.example"]);
    }
}
