//! What every answer tells the browser not to do with it. `Strict-Transport-Security` is never sent:
//! a hub may go back to plain HTTP, and its phones must still find it.

use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderName,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The page needs none of these, except a screen that stays on.
const PERMISSIONS: &str = "accelerometer=(), autoplay=(), camera=(), display-capture=(), \
    encrypted-media=(), fullscreen=(self), geolocation=(), gyroscope=(), hid=(), magnetometer=(), \
    microphone=(), midi=(), payment=(), serial=(), usb=(), xr-spatial-tracking=(), \
    screen-wake-lock=(self)";

/// Puts them on every answer.
pub async fn harden(request: Request, next: Next) -> Response {
    let policy = policy(request.headers().get(HOST));
    let mut response = next.run(request).await;
    put(response.headers_mut(), policy);
    response
}

fn put(headers: &mut HeaderMap, policy: HeaderValue) {
    let fixed = [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (X_FRAME_OPTIONS, "DENY"),
        (PERMISSIONS_POLICY, PERMISSIONS),
        (OPENER_POLICY, "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    if !headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    }
    // Who says nothing else is true only now, and may be about a person.
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
}

/// Nothing from elsewhere. `'self'` covers a WebSocket to the same host only since Safari 15.4, so
/// the host by which we were called is named too, if it looks like one.
fn policy(host: Option<&HeaderValue>) -> HeaderValue {
    let host = host.and_then(|host| host.to_str().ok()).filter(|host| {
        host.bytes()
            .all(|c| c.is_ascii_alphanumeric() || b".-:[]".contains(&c))
    });
    let sockets = match host {
        Some(host) if !host.is_empty() => format!(" ws://{host} wss://{host}"),
        _ => String::new(),
    };
    let policy = format!(
        "default-src 'self'; connect-src 'self'{sockets}; object-src 'none'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).expect("made of plain ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy_for(host: &'static str) -> String {
        let policy = policy(Some(&HeaderValue::from_static(host)));
        policy.to_str().unwrap().to_owned()
    }

    #[test]
    fn the_policy_names_the_host_by_which_we_were_called() {
        let policy = policy_for("hub.local:8080");
        assert!(policy.starts_with(
            "default-src 'self'; connect-src 'self' ws://hub.local:8080 wss://hub.local:8080; "
        ));
    }

    #[test]
    fn a_host_that_is_none_does_not_get_into_the_policy() {
        for host in ["a b", "x;script-src *", "", "*"] {
            let policy = policy_for(host);
            assert!(policy.contains("connect-src 'self';"), "{policy}");
        }
    }

    #[test]
    fn what_is_kept_by_choice_or_shared_by_choice_stays_so() {
        let mut headers = HeaderMap::new();
        put(&mut headers, policy(None));
        assert_eq!(headers[CACHE_CONTROL], "no-store");
        assert_eq!(headers[RESOURCE_POLICY], "same-origin");
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(
            ACCESS_CONTROL_ALLOW_ORIGIN,
            HeaderValue::from_static("https://x.org"),
        );
        put(&mut headers, policy(None));
        assert_eq!(headers[CACHE_CONTROL], "no-cache");
        assert!(!headers.contains_key(RESOURCE_POLICY));
    }
}
