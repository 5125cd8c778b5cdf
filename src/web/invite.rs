//! What brings people in: the page's address, the room's Wi-Fi, and both as QR codes for the wall.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, State};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use qrcode::{Color, EcLevel, QrCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::WebState;
use super::guard::Peer;
use super::problem::{Code, Problem, ProblemBody};
use super::rest::fresh;
use super::rest_participants::bearer;
use crate::access::Who;
use crate::config::Config;

/// The light border that a reader needs around a code, modules (ISO/IEC 18004).
const QUIET: usize = 4;

/// What a page needs to know of this room before anything happens.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoomCard {
    /// Where phones find the page; null while the hub has no address but its own.
    pub address: Option<String>,
    /// The name of the room's Wi-Fi; null where none is configured.
    pub wifi_name: Option<String>,
    /// Whether joining takes the room's code.
    pub room_code: bool,
    /// The language of the wall.
    pub language: String,
    /// Length of the first phase of a session.
    pub preparation_ms: i64,
    /// Length of the last phase of a session.
    pub integration_ms: i64,
    /// Hearts with a score from which on the room shows figures of the group.
    pub min_group: u32,
    /// Hearts with a score from which on it shows how they are distributed.
    pub min_distribution: u32,
    /// Of the program: a wall that sees another one loads itself anew.
    pub version: &'static str,
}

/// The room's address, Wi-Fi, language and phases.
#[utoipa::path(get, path = "/api/room", tag = "room", responses((status = 200, body = RoomCard)))]
pub async fn room(State(web): State<Arc<WebState>>) -> impl IntoResponse {
    let config = web.config.borrow().clone();
    let name = &config.wall.wifi_name;
    fresh(RoomCard {
        address: address(&config),
        wifi_name: Some(name.clone()).filter(|name| !name.is_empty()),
        room_code: !config.access.room_code.is_empty(),
        language: config.wall.language.clone(),
        preparation_ms: i64::from(config.session.preparation_s) * 1_000,
        integration_ms: i64::from(config.session.integration_s) * 1_000,
        min_group: config.privacy.min_group_live,
        min_distribution: config.privacy.min_distribution_live,
        version: web.version,
    })
}

/// The page's address as a QR code. On the hub's own screen, and for a facilitator's token, it
/// carries the room's code (in the fragment, which no server sees), where there is one.
#[utoipa::path(
    get, path = "/api/room/page.svg", tag = "room", security(("token" = []), ()),
    responses(
        (status = 200, description = "QR code", content_type = "image/svg+xml", body = String),
        (status = 401, description = "bad_token", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "not_configured: the hub has no address that phones could reach", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn page_code(
    State(web): State<Arc<WebState>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let config = web.config.borrow().clone();
    let of_the_house = match headers.contains_key(AUTHORIZATION) {
        true => matches!(web.who(bearer(&headers)?)?, Who::Facilitator { .. }),
        false => peer.ip().is_loopback(),
    };
    let mut address = address(&config).ok_or_else(|| {
        let detail = "The hub has no address that phones could reach: connect it to a network, or set wall.address.";
        Problem::new(Code::NotConfigured, detail)
    })?;
    let code = &config.access.room_code;
    if of_the_house && !code.is_empty() {
        address += "#code=";
        address.extend(code.bytes().map(|byte| format!("%{byte:02X}")));
    }
    Ok(svg(&address))
}

/// The room's Wi-Fi as a QR code that phones join by.
#[utoipa::path(
    get, path = "/api/room/wifi.svg", tag = "room",
    responses(
        (status = 200, description = "QR code", content_type = "image/svg+xml", body = String),
        (status = 404, description = "not_configured: no Wi-Fi is configured", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn wifi_code(State(web): State<Arc<WebState>>) -> Result<impl IntoResponse, Problem> {
    let wall = web.config.borrow().wall.clone();
    if wall.wifi_name.is_empty() {
        let detail = "No Wi-Fi is configured: wall.wifi_name and wall.wifi_password.";
        return Err(Problem::new(Code::NotConfigured, detail));
    }
    Ok(svg(&wifi(&wall.wifi_name, &wall.wifi_password)))
}

/// As phones read it: `WIFI:T:WPA;S:name;P:password;;`.
fn wifi(name: &str, password: &str) -> String {
    let kind = if password.is_empty() { "nopass" } else { "WPA" };
    let password = match password {
        "" => String::new(),
        password => format!("P:{};", escaped(password)),
    };
    format!("WIFI:T:{kind};S:{};{password};", escaped(name))
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if r#"\;,:""#.contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Where phones find the page.
fn address(config: &Config) -> Option<String> {
    let wall = &config.wall.address;
    if !wall.is_empty() {
        return Some(wall.clone());
    }
    let listen = config.web.listen;
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        _ => outward(
            if_addrs::get_if_addrs()
                .unwrap_or_default()
                .iter()
                .map(if_addrs::Interface::ip),
        )?,
    };
    let tls = !config.web.tls_cert.as_os_str().is_empty();
    let (scheme, usual) = if tls { ("https", 443) } else { ("http", 80) };
    Some(match listen.port() {
        port if port == usual => format!("{scheme}://{}/", bracketed(ip)),
        port => format!("{scheme}://{}/", SocketAddr::new(ip, port)),
    })
}

fn bracketed(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// The address that phones in the room will most likely reach: a private IPv4 one before any other.
fn outward(addresses: impl Iterator<Item = IpAddr>) -> Option<IpAddr> {
    let rank = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) if ip.is_private() => 0,
        IpAddr::V4(ip) if !ip.is_link_local() => 1,
        IpAddr::V6(ip) if !ip.is_unicast_link_local() => 2,
        _ => 3,
    };
    let reachable = addresses.filter(|ip| !ip.is_loopback() && !ip.is_unspecified());
    reachable.filter(|ip| rank(ip) < 3).min_by_key(rank)
}

/// A QR code with medium error correction: a hand's shadow over an edge is no harm.
fn svg(text: &str) -> impl IntoResponse + use<> {
    let headers = [(CONTENT_TYPE, "image/svg+xml"), (CACHE_CONTROL, "no-store")];
    (headers, drawn(text))
}

fn drawn(text: &str) -> String {
    let code = QrCode::with_error_correction_level(text, EcLevel::M)
        .expect("a configured address or Wi-Fi is far shorter than the largest code");
    let (width, side) = (code.width(), code.width() + 2 * QUIET);
    let mut path = String::new();
    for (place, color) in code.to_colors().into_iter().enumerate() {
        if color == Color::Dark {
            let (x, y) = (place % width + QUIET, place / width + QUIET);
            path += &format!("M{x} {y}h1v1h-1z");
        }
    }
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}" shape-rendering="crispEdges"><rect width="{side}" height="{side}" fill="#fff"/><path fill="#0a0f16" d="{path}"/></svg>"##
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wifi_is_written_as_phones_read_it() {
        assert_eq!(wifi("Room", ""), "WIFI:T:nopass;S:Room;;");
        assert_eq!(
            wifi(r#"a;b"c"#, r"p\:,word1"),
            r#"WIFI:T:WPA;S:a\;b\"c;P:p\\\:\,word1;;"#
        );
    }

    #[test]
    fn phones_are_sent_to_the_address_in_the_room() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let all = ["127.0.0.1", "::1", "169.254.3.4", "fe80::1", "2001:db8::5"];
        assert_eq!(outward(all.iter().map(|a| ip(a))), Some(ip("2001:db8::5")));
        let more = ["203.0.113.9", "10.42.0.1", "192.168.1.2"];
        let more = all.iter().chain(&more).map(|a| ip(a));
        assert_eq!(outward(more), Some(ip("10.42.0.1")));
        assert_eq!(outward(all[..4].iter().map(|a| ip(a))), None);
    }

    #[test]
    fn the_address_is_what_is_configured_or_what_is_listened_to() {
        let mut config = Config::default();
        config.web.listen = "10.0.0.5:80".parse().unwrap();
        assert_eq!(address(&config).as_deref(), Some("http://10.0.0.5/"));
        config.web.listen = "[fd00::5]:8080".parse().unwrap();
        assert_eq!(address(&config).as_deref(), Some("http://[fd00::5]:8080/"));
        config.wall.address = "http://room.example/".into();
        assert_eq!(address(&config).as_deref(), Some("http://room.example/"));
    }

    #[test]
    fn a_code_has_its_quiet_border_and_its_finders() {
        let svg = drawn("http://10.42.0.1:8080/");
        assert!(
            svg.contains(r#"viewBox="0 0 33 33""#),
            "version 2 is 25 modules: {svg}"
        );
        for corner in ["M4 4h1", "M28 4h1", "M4 28h1"] {
            assert!(svg.contains(corner), "{corner}");
        }
        assert!(!svg.contains("M3 "), "nothing in the border");
    }
}
