//! The pages: files that live in the program, with their hash as ETag. What they show comes from
//! `/ws` and `/api`; nothing is put into them here.

use std::collections::HashMap;
use std::io::Write;
use std::sync::LazyLock;

use axum::body::Body;
use axum::http::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use rust_embed::{EmbeddedFile, RustEmbed};

use super::problem::{Code, Problem};

#[derive(RustEmbed)]
#[folder = "src/web/page/"]
struct Files;

/// Every file, made small once: a phone on a weak line waits for the bytes.
static SMALL: LazyLock<HashMap<String, Bytes>> = LazyLock::new(|| {
    let small = |path: String| {
        let data = Files::get(&path)?.data;
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&data).ok()?;
        Some((path, Bytes::from(gzip.finish().ok()?)))
    };
    Files::iter()
        .filter_map(|path| small(path.into_owned()))
        .collect()
});

/// Answers for every path that is no route.
pub async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = match uri.path() {
        "/" => "index.html",
        "/wall" => "wall.html",
        "/lead" => "lead.html",
        path => path.trim_start_matches('/'),
    };
    let Some(file) = Files::get(path) else {
        let detail =
            "There is no such page here. The room is at /, the interface at /api/openapi.json.";
        return Problem::new(Code::NotFound, detail).into_response();
    };
    if method != Method::GET && method != Method::HEAD {
        let detail = "A page can only be read: GET or HEAD.";
        let refusal = Problem::new(Code::MethodNotAllowed, detail);
        return ([(ALLOW, "GET,HEAD")], refusal).into_response();
    }
    answer(path, file, &headers)
}

fn answer(path: &str, file: EmbeddedFile, asked: &HeaderMap) -> Response {
    let small = SMALL.get(path).filter(|_| takes_gzip(asked));
    let etag = etag(&file, small.is_some());
    let same = asked
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|tag| tag.trim().trim_start_matches("W/") == etag || tag.trim() == "*");
    let mut response = match (same, small) {
        (true, _) => StatusCode::NOT_MODIFIED.into_response(),
        (false, Some(small)) => Response::new(Body::from(small.clone())),
        (false, None) => Response::new(Body::from(file.data.into_owned())),
    };
    let headers = response.headers_mut();
    if small.is_some() && !same {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    let value = |text: &str| HeaderValue::from_str(text).expect("plain ASCII");
    headers.insert(ETAG, value(&etag));
    // Kept, and asked for again each time: an updated hub shows its new page at once.
    headers.insert(CACHE_CONTROL, value("no-cache"));
    headers.insert(CONTENT_TYPE, value(content_type(path)));
    response
}

/// Whether the asker says that it reads gzip (RFC 9110, 12.5.3).
fn takes_gzip(asked: &HeaderMap) -> bool {
    let codings = asked.get_all(ACCEPT_ENCODING).iter();
    let mut codings = codings
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|coding| coding.split_once(';').unwrap_or((coding, "")));
    codings.any(|(name, weight)| {
        name.trim().eq_ignore_ascii_case("gzip") && !matches!(weight.trim(), "q=0" | "q=0.0")
    })
}

/// Another for each coding, since other bytes come (RFC 9110, 8.8.3.3).
fn etag(file: &EmbeddedFile, small: bool) -> String {
    let hash = file.metadata.sha256_hash();
    let hex: String = hash[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("\"{hex}{}\"", if small { "-gz" } else { "" })
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, end)| end) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(path: &str, headers: &[(axum::http::HeaderName, &str)]) -> Response {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(name, value.parse().unwrap());
        }
        serve(Method::GET, path.parse().unwrap(), map).await
    }

    #[tokio::test]
    async fn each_file_of_the_page_comes_with_its_type() {
        let cases = [
            ("/", "text/html; charset=utf-8"),
            ("/index.html", "text/html; charset=utf-8"),
            ("/phone.js", "text/javascript; charset=utf-8"),
            ("/phone.css", "text/css; charset=utf-8"),
            ("/wall", "text/html; charset=utf-8"),
            ("/lead", "text/html; charset=utf-8"),
            ("/texts/de.json", "application/json"),
            ("/tokens.css", "text/css; charset=utf-8"),
        ];
        for (path, kind) in cases {
            let response = get(path, &[]).await;
            assert_eq!(response.status(), 200, "{path}");
            assert_eq!(response.headers()[CONTENT_TYPE], kind, "{path}");
        }
    }

    #[tokio::test]
    async fn a_page_that_is_known_already_is_not_sent_again() {
        let first = get("/phone.js", &[]).await;
        let etag = first.headers()[ETAG].to_str().unwrap().to_owned();
        for known in [
            etag.clone(),
            format!("\"other\", {etag}"),
            format!("W/{etag}"),
            "*".into(),
        ] {
            let again = get("/phone.js", &[(IF_NONE_MATCH, &known)]).await;
            assert_eq!(again.status(), 304, "{known}");
            assert_eq!(again.headers()[ETAG], *etag);
        }
        let changed = get("/phone.js", &[(IF_NONE_MATCH, "\"other\"")]).await;
        assert_eq!(changed.status(), 200);
    }

    #[tokio::test]
    async fn who_reads_gzip_gets_less_and_the_same() {
        let plain = get("/mandala.js", &[]).await;
        assert!(!plain.headers().contains_key(CONTENT_ENCODING));
        let none = get("/mandala.js", &[(ACCEPT_ENCODING, "br, gzip;q=0")]).await;
        assert!(!none.headers().contains_key(CONTENT_ENCODING));
        let small = get("/mandala.js", &[(ACCEPT_ENCODING, "br, gzip;q=0.5")]).await;
        assert_eq!(small.headers()[CONTENT_ENCODING], "gzip");
        assert_ne!(small.headers()[ETAG], plain.headers()[ETAG]);
        let bytes = async |response: Response| {
            let body = axum::body::to_bytes(response.into_body(), usize::MAX);
            body.await.unwrap()
        };
        let (plain, small) = (bytes(plain).await, bytes(small).await);
        assert!(
            small.len() < plain.len() / 2,
            "{} of {}",
            small.len(),
            plain.len()
        );
        let mut read = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&small[..]), &mut read)
            .unwrap();
        assert_eq!(read, plain);
    }

    #[tokio::test]
    async fn a_page_that_does_not_exist_or_is_written_to_is_a_problem() {
        assert_eq!(get("/secret", &[]).await.status(), 404);
        assert_eq!(get("/../mod.rs", &[]).await.status(), 404);
        let response = serve(Method::POST, "/".parse().unwrap(), HeaderMap::new()).await;
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()[ALLOW], "GET,HEAD");
    }
}
