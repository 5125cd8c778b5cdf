//! The pages: files that live in the program, with their hash as ETag. What they show comes from
//! `/ws` and `/api`; nothing is put into them here.

use axum::body::Body;
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

use super::problem::{Code, Problem};

#[derive(RustEmbed)]
#[folder = "src/web/page/"]
struct Files;

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
    let etag = etag(&file);
    let same = asked
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|tag| tag.trim().trim_start_matches("W/") == etag || tag.trim() == "*");
    let mut response = if same {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Response::new(Body::from(file.data.into_owned()))
    };
    let headers = response.headers_mut();
    let value = |text: &str| HeaderValue::from_str(text).expect("plain ASCII");
    headers.insert(ETAG, value(&etag));
    // Kept, and asked for again each time: an updated hub shows its new page at once.
    headers.insert(CACHE_CONTROL, value("no-cache"));
    headers.insert(CONTENT_TYPE, value(content_type(path)));
    response
}

fn etag(file: &EmbeddedFile) -> String {
    let hash = file.metadata.sha256_hash();
    let hex: String = hash[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("\"{hex}\"")
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
            ("/app.js", "text/javascript; charset=utf-8"),
            ("/style.css", "text/css; charset=utf-8"),
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
        let first = get("/app.js", &[]).await;
        let etag = first.headers()[ETAG].to_str().unwrap().to_owned();
        for known in [
            etag.clone(),
            format!("\"other\", {etag}"),
            format!("W/{etag}"),
            "*".into(),
        ] {
            let again = get("/app.js", &[(IF_NONE_MATCH, &known)]).await;
            assert_eq!(again.status(), 304, "{known}");
            assert_eq!(again.headers()[ETAG], *etag);
        }
        let changed = get("/app.js", &[(IF_NONE_MATCH, "\"other\"")]).await;
        assert_eq!(changed.status(), 200);
    }

    #[tokio::test]
    async fn a_page_that_does_not_exist_or_is_written_to_is_a_problem() {
        assert_eq!(get("/secret", &[]).await.status(), 404);
        assert_eq!(get("/../mod.rs", &[]).await.status(), 404);
        let response = serve(Method::POST, "/".parse().unwrap(), HeaderMap::new()).await;
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()[ALLOW], "GET,HEAD");
    }

    #[test]
    fn the_page_asks_nobody_else() {
        for name in Files::iter() {
            let file = Files::get(&name).unwrap();
            let text = String::from_utf8(file.data.into_owned()).unwrap();
            let foreign = text.match_indices("//").filter(|(at, _)| {
                text[..*at].ends_with("http:") || text[..*at].ends_with("https:")
            });
            let foreign: Vec<_> = foreign
                .map(|(at, _)| &text[at..(at + 30).min(text.len())])
                .collect();
            // The name of SVG's namespace is no address.
            let foreign: Vec<_> = foreign
                .iter()
                .filter(|f| !f.starts_with("//www.w3.org/"))
                .collect();
            assert!(foreign.is_empty(), "{name}: {foreign:?}");
        }
    }
}
