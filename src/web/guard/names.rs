//! PURE: under which names the hub may be called and which pages may ask it. A page from elsewhere
//! that has made its own name point at this hub (DNS rebinding) is found here: its browser sends that
//! name as `Host`. Names are compared in lower case, without a final dot; ports of the hub don't matter.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri};

use crate::web::problem::{Code, Problem};

/// The longest name that DNS knows, and a port.
const HOST_BYTES_MAX: usize = 253 + 1 + 5;

/// What comes after a machine's name in the networks of homes and offices. Nobody can register a name
/// below these, so no page from elsewhere can have one.
const HOME: [&str; 6] = [
    "local",
    "lan",
    "home",
    "home.arpa",
    "internal",
    "localdomain",
];

/// Who the hub is, and whose pages may ask it.
#[derive(Debug)]
pub struct Names {
    own: BTreeSet<String>,
    /// The first part of the machine's name; empty: it has none.
    label: String,
    origins: BTreeSet<String>,
}

/// What a request calls the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Called {
    /// A name in lower case, or an address; IPv6 in its brackets.
    name: String,
    is_address: bool,
    port: Option<u16>,
}

impl Names {
    /// `machine` is what the machine calls itself.
    pub fn new(machine: &str, hosts: &[String], origins: &[String]) -> Self {
        let mut own = BTreeSet::from(["localhost".to_owned()]);
        let machine = plain(machine);
        let label = machine.split('.').next().unwrap_or_default().to_owned();
        if !label.is_empty() {
            own.extend([label.clone(), machine]);
        }
        own.extend(hosts.iter().map(|host| plain(host)));
        let origins = origins
            .iter()
            .map(|origin| origin_of(origin).unwrap_or_default());
        Names {
            own,
            label,
            origins: origins.collect(),
        }
    }

    /// Reads what the request calls the hub, and refuses what is no name of its own.
    pub fn called(&self, target: &Uri, headers: &HeaderMap) -> Result<Called, Problem> {
        let garbage = |detail: &str| Problem::new(Code::BadHost, detail);
        let mut given = headers.get_all(HOST).iter();
        let host = match (given.next(), given.next()) {
            (Some(host), None) => host.to_str().ok().and_then(read),
            _ => None,
        };
        let host = host.ok_or_else(|| {
            garbage(
                "A request needs exactly one `Host` header: the name or the address of this hub.",
            )
        })?;
        self.check(&host)?;
        // Of a request that names the hub in its first line as well, that name is the one that counts.
        let Some(authority) = target.authority() else {
            return Ok(host);
        };
        let target = read_authority(authority)
            .ok_or_else(|| garbage("The target of this request is no address of a hub."))?;
        self.check(&target)?;
        Ok(target)
    }

    fn check(&self, called: &Called) -> Result<(), Problem> {
        if called.is_address || self.own.contains(&called.name) || self.is_home(&called.name) {
            return Ok(());
        }
        let detail = format!(
            "This hub does not go by the name {:?}. Call it by its address; its admin can add the name to web.hosts.",
            called.name
        );
        Err(Problem::new(Code::Misdirected, detail))
    }

    /// `hub.local`, `hub.lan` …, and `hub-2.local`, as Avahi calls the second machine of a name.
    fn is_home(&self, name: &str) -> bool {
        let Some(rest) = name
            .strip_prefix(&self.label)
            .filter(|_| !self.label.is_empty())
        else {
            return false;
        };
        match rest.split_once('.') {
            Some(("", domain)) => HOME.contains(&domain),
            Some((second, "local")) => second
                .strip_prefix('-')
                .is_some_and(|n| !n.is_empty() && n.bytes().all(|c| c.is_ascii_digit())),
            _ => false,
        }
    }

    /// Origins of pages from elsewhere, in one spelling.
    pub fn origins(&self) -> impl Iterator<Item = &str> {
        let origins = self.origins.iter().map(String::as_str);
        origins.filter(|origin| !origin.is_empty())
    }

    /// Refuses what a page of another origin asks. Who sends no `Origin` is no page.
    pub fn may_ask(&self, headers: &HeaderMap, called: &Called, tls: bool) -> Result<(), Problem> {
        let mut given = headers.get_all(ORIGIN).iter();
        let origin = match (given.next(), given.next()) {
            (None, _) => return Ok(()),
            (Some(origin), None) => origin.to_str().ok().and_then(origin_of),
            (Some(_), Some(_)) => None,
        };
        let own = called.origin(tls);
        if origin.is_some_and(|origin| origin == own || self.origins.contains(&origin)) {
            return Ok(());
        }
        let detail = "A page from elsewhere asked this. Open the hub's own page; its admin can add other pages to web.origins.";
        Err(Problem::new(Code::ForeignOrigin, detail))
    }
}

impl Called {
    /// As the browser that called it this way writes it.
    fn origin(&self, tls: bool) -> String {
        let (scheme, usual) = if tls { ("https", 443) } else { ("http", 80) };
        match self.port.filter(|port| *port != usual) {
            Some(port) => format!("{scheme}://{}:{port}", self.name),
            None => format!("{scheme}://{}", self.name),
        }
    }
}

/// An origin in one spelling; none for `null` and for what is no origin of the web.
fn origin_of(text: &str) -> Option<String> {
    let (scheme, host) = text.split_once("://")?;
    let tls = match scheme {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    Some(read(host)?.origin(tls))
}

fn plain(name: &str) -> String {
    let name = name.trim();
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn read_authority(authority: &Authority) -> Option<Called> {
    read(authority.as_str())
}

/// `name`, `address`, `[address]`, each with or without a port.
fn read(host: &str) -> Option<Called> {
    if host.len() > HOST_BYTES_MAX {
        return None;
    }
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']')?;
            let address: Ipv6Addr = address.parse().ok()?;
            let port = match rest {
                "" => None,
                rest => Some(rest.strip_prefix(':')?),
            };
            (format!("[{address}]"), port)
        }
        None => {
            let (name, port) = match host.split_once(':') {
                Some((name, port)) => (name, Some(port)),
                None => (host, None),
            };
            (plain(name), port)
        }
    };
    let port = match port {
        None | Some("") => None,
        Some(digits) if digits.bytes().all(|c| c.is_ascii_digit()) => Some(digits.parse().ok()?),
        Some(_) => return None,
    };
    let is_address = name.starts_with('[') || name.parse::<Ipv4Addr>().is_ok();
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"-._".contains(&c));
    (is_address || is_name).then_some(Called {
        name,
        is_address,
        port,
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn names() -> Names {
        let list = |words: &[&str]| {
            words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        Names::new(
            "Hub\n",
            &list(&["hub.example.org"]),
            &list(&["https://wall.example.org", "http://tool.lan:3000"]),
        )
    }

    fn headers(name: axum::http::HeaderName, values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&name, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    fn code(target: &str, hosts: &[&[u8]]) -> Result<String, &'static str> {
        let called = names().called(&target.parse().unwrap(), &headers(HOST, hosts));
        called
            .map(|called| called.name)
            .map_err(|problem| problem.code.word())
    }

    #[test]
    fn the_hub_goes_by_its_own_names_and_by_every_address() {
        for (host, name) in [
            ("hub", "hub"),
            ("HUB.local", "hub.local"),
            ("hub.local.", "hub.local"),
            ("hub.local:8080", "hub.local"),
            ("hub.local:", "hub.local"),
            ("hub-2.local", "hub-2.local"),
            ("hub.lan:8080", "hub.lan"),
            ("hub.home.arpa", "hub.home.arpa"),
            ("localhost:1", "localhost"),
            ("hub.example.org:443", "hub.example.org"),
            ("192.168.1.7:8080", "192.168.1.7"),
            ("[::1]", "[::1]"),
            ("[FE80::0:1]:8080", "[fe80::1]"),
        ] {
            assert_eq!(code("/", &[host.as_bytes()]), Ok(name.to_owned()), "{host}");
        }
    }

    #[test]
    fn any_other_name_is_misdirected() {
        for host in [
            "evil.example",
            "hub.evil.example",
            "evilhub",
            "hub.box",
            "hub2.local",
            "hub-.local",
            "hub-2.lan",
            "hub-2x.local",
            "x.hub.local",
            "hub.local.evil.example",
            "127.1",
            "2130706433",
            "0x7f.0.0.1",
            "hub.example.org.evil",
            "localhost.evil:8080",
        ] {
            assert_eq!(code("/", &[host.as_bytes()]), Err("misdirected"), "{host}");
        }
    }

    #[test]
    fn what_is_no_name_at_all_is_a_bad_host() {
        let long = "a".repeat(300);
        for host in [
            &b""[..],
            b":8080",
            b".",
            b"hub local",
            b"hub/..",
            b"user@hub",
            b"hub:80:80",
            b"hub:-1",
            b"hub:99999",
            b"hub:8o",
            b"[::1",
            b"[::1]x",
            b"[fe80::1%eth0]",
            b"::1",
            b"h\xc3\xbcb",
            b"<script>",
            long.as_bytes(),
        ] {
            let shown = String::from_utf8_lossy(host);
            assert_eq!(code("/", &[host]), Err("bad_host"), "{shown}");
        }
        assert_eq!(code("/", &[]), Err("bad_host"));
        assert_eq!(code("/", &[b"hub", b"hub"]), Err("bad_host"));
    }

    #[test]
    fn a_name_in_the_first_line_counts_as_well() {
        assert_eq!(
            code("http://hub.local/x", &[b"hub"]),
            Ok("hub.local".into())
        );
        assert_eq!(code("http://evil.example/", &[b"hub"]), Err("misdirected"));
        assert_eq!(code("http://hub/", &[b"evil.example"]), Err("misdirected"));
        assert_eq!(code("http://me@hub/", &[b"hub"]), Err("bad_host"));
    }

    fn asks(origins: &[&str], host: &str, tls: bool) -> Result<(), &'static str> {
        let names = names();
        let called = names.called(&"/".parse().unwrap(), &headers(HOST, &[host.as_bytes()]));
        let origins: Vec<_> = origins.iter().map(|origin| origin.as_bytes()).collect();
        names
            .may_ask(&headers(ORIGIN, &origins), &called.unwrap(), tls)
            .map_err(|problem| problem.code.word())
    }

    #[test]
    fn the_hubs_own_page_may_ask_under_the_name_by_which_it_was_opened() {
        for (origin, host, tls) in [
            ("http://hub.local:8080", "hub.local:8080", false),
            ("http://hub.local", "HUB.local:80", false),
            ("https://hub.local", "hub.local", true),
            ("https://hub.local", "hub.local:443", true),
            ("http://192.168.1.7:8080", "192.168.1.7:8080", false),
            ("http://[::1]:8080", "[0::1]:8080", false),
            ("https://wall.example.org", "hub", false),
            ("http://tool.lan:3000", "hub", true),
        ] {
            assert_eq!(asks(&[origin], host, tls), Ok(()), "{origin} {host}");
        }
        assert_eq!(asks(&[], "hub", false), Ok(()));
    }

    #[test]
    fn a_page_from_elsewhere_may_not() {
        for (origin, host, tls) in [
            ("http://evil.example", "hub", false),
            ("null", "hub", false),
            ("", "hub", false),
            ("http://hub:9000", "hub:8080", false),
            ("https://hub", "hub", false),
            ("http://hub", "hub", true),
            ("file://", "hub", false),
            ("http://wall.example.org", "hub", false),
            ("https://wall.example.org.evil", "hub", false),
            ("http://hub/x", "hub", false),
            ("http://localhost:8080", "hub:8080", false),
        ] {
            assert_eq!(
                asks(&[origin], host, tls),
                Err("foreign_origin"),
                "{origin} {host}"
            );
        }
        let twice = asks(&["http://hub", "http://hub"], "hub", false);
        assert_eq!(twice, Err("foreign_origin"));
    }
}
