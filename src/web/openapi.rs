//! What is served, and its description: a route and its OpenAPI entry are one thing, so neither can
//! be there without the other. Not described here: the files of the page.

use std::sync::Arc;

use axum::Extension;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use bytes::Bytes;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{
    WebState, health, history, invite, rest, rest_claims, rest_participants, rest_straps, ws,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "coherence-hub",
        description = "One room breathing together: its session, its group figures, its straps, and \
            each person's own data. Times (`…At`, `at`, `serverTime`) are Unix milliseconds of the \
            hub's clock, durations end in `Ms`. Every error is `application/problem+json` (RFC 9457) \
            with a stable `code`. Any route may also answer what the guard in front of them says: 400 \
            `bad_host`, 403 `foreign_origin`, 405 `method_not_allowed`, 408 `too_slow`, 413 `too_large`, \
            414 `uri_too_long`, 415 `unsupported_media_type`, 421 `misdirected`, 429 `rate_limited`, 503 \
            `too_many_connections`. What happens live comes through the WebSocket at `/ws`.",
        license(name = "MIT", identifier = "MIT"),
    ),
    tags(
        (name = "room", description = "What everybody in the room may see"),
        (name = "participants", description = "What a person does and has"),
        (name = "hub", description = "The hub itself"),
    ),
    modifiers(&Bearer)
)]
struct Base;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        for (name, description) in [
            (
                "bearer",
                "The `resumeToken` of a join. It names one participant and opens only what is theirs.",
            ),
            (
                "token",
                "Made on the hub by `coherence-hub token new`, for one scope; or a facilitator's, given \
                 for the PIN over the WebSocket.",
            ),
        ] {
            let scheme = HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some(description))
                .build();
            components.add_security_scheme(name, SecurityScheme::Http(scheme));
        }
    }
}

/// Every route with its description.
pub fn routes() -> OpenApiRouter<Arc<WebState>> {
    OpenApiRouter::with_openapi(Base::openapi())
        .routes(routes!(ws::upgrade))
        .routes(routes!(health::health))
        .routes(routes!(history::history))
        .routes(routes!(rest::metrics))
        .routes(routes!(rest::time))
        .routes(routes!(rest::sessions))
        .routes(routes!(rest::current_session))
        .routes(routes!(rest::session))
        .routes(routes!(rest::stage))
        .routes(routes!(invite::room))
        .routes(routes!(invite::page_code))
        .routes(routes!(invite::wifi_code))
        .routes(routes!(rest_straps::straps))
        .routes(routes!(rest_straps::label, rest_straps::forget))
        .routes(routes!(rest_participants::join))
        .routes(routes!(rest_participants::erase))
        .routes(routes!(rest_participants::post_rr))
        .routes(routes!(rest_participants::post_coherence))
        .routes(routes!(rest_participants::put_consent))
        .routes(routes!(rest_participants::data))
        .routes(routes!(rest_participants::leave))
        .routes(routes!(rest_claims::find))
        .routes(routes!(rest_claims::claim, rest_claims::release))
        .routes(routes!(rest_claims::unite, rest_claims::part))
        .routes(routes!(document))
}

/// The document as JSON, written once.
#[derive(Clone)]
pub struct Document(Bytes);

impl Document {
    pub fn of(document: &utoipa::openapi::OpenApi) -> Self {
        let json = document
            .to_json()
            .expect("the document is made of plain values");
        Document(Bytes::from(json))
    }
}

/// This document.
#[utoipa::path(
    get,
    path = "/api/openapi.json",
    tag = "hub",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = serde_json::Value))
)]
async fn document(Extension(document): Extension<Document>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], document.0)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    fn document() -> Value {
        let (_, document) = super::routes().split_for_parts();
        serde_json::to_value(&document).unwrap()
    }

    fn operations(document: &Value) -> Vec<(String, &Value)> {
        let paths = document["paths"].as_object().unwrap();
        let of_path = |(path, item): (&String, &'_ Value)| {
            let path = path.clone();
            let methods = item
                .as_object()
                .unwrap()
                .iter()
                .map(|(method, _)| method.clone());
            methods
                .map(|method| (method, path.clone()))
                .collect::<Vec<_>>()
        };
        let names: Vec<_> = paths.iter().flat_map(of_path).collect();
        names
            .into_iter()
            .map(|(method, path)| {
                let operation = &paths[&path][&method];
                (format!("{} {path}", method.to_uppercase()), operation)
            })
            .collect()
    }

    #[test]
    fn the_document_lists_exactly_what_is_served() {
        let document = document();
        let mut listed: Vec<_> = operations(&document)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        listed.sort();
        let served = [
            "DELETE /api/participants/{id}",
            "DELETE /api/participants/{id}/strap",
            "DELETE /api/straps/{label}/twin",
            "DELETE /api/straps/{strap}",
            "GET /api/history",
            "GET /api/openapi.json",
            "GET /api/participants/{id}/data",
            "GET /api/room",
            "GET /api/room/page.svg",
            "GET /api/room/wifi.svg",
            "GET /api/sessions",
            "GET /api/sessions/current",
            "GET /api/sessions/{id}",
            "GET /api/straps",
            "GET /api/time",
            "GET /health",
            "GET /metrics",
            "GET /sessions/{id}",
            "GET /ws",
            "PATCH /api/straps/{strap}",
            "POST /api/participants",
            "POST /api/participants/{id}/coherence",
            "POST /api/participants/{id}/heart",
            "POST /api/participants/{id}/leave",
            "POST /api/participants/{id}/rr",
            "PUT /api/participants/{id}/consent",
            "PUT /api/participants/{id}/strap",
            "PUT /api/straps/{label}/twin",
        ];
        assert_eq!(listed, served);
    }

    #[test]
    fn every_error_is_described_as_a_problem() {
        let document = document();
        let mut described = 0;
        for (name, operation) in operations(&document) {
            for (status, response) in operation["responses"].as_object().unwrap() {
                if status.starts_with(['4', '5']) {
                    let content = response["content"].as_object().unwrap();
                    let kinds: Vec<_> = content.keys().collect();
                    assert_eq!(kinds, ["application/problem+json"], "{name} {status}");
                    described += 1;
                }
            }
        }
        assert!(described > 20, "{described}");
    }

    #[test]
    fn what_is_not_for_everybody_asks_for_the_bearer() {
        let document = document();
        for (name, operation) in operations(&document) {
            let asks = operation["security"][0].get("bearer").is_some();
            assert_eq!(asks, name.contains("/api/participants/{id}"), "{name}");
        }
        let scheme = &document["components"]["securitySchemes"]["bearer"];
        assert_eq!(
            (&scheme["type"], &scheme["scheme"]),
            (&"http".into(), &"bearer".into())
        );
    }

    #[test]
    fn how_the_hub_does_takes_a_token_from_elsewhere_and_none_at_home() {
        let document = document();
        for path in ["/metrics", "/api/history"] {
            let security = &document["paths"][path]["get"]["security"];
            assert_eq!(*security, serde_json::json!([{"token": []}, {}]), "{path}");
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let text = document.to_string();
        let references = text.split("\"$ref\":\"#").skip(1);
        let mut n = 0;
        for reference in references {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
            n += 1;
        }
        assert!(n > 10);
    }

    #[test]
    fn every_operation_says_what_it_does_and_every_field_of_ours_what_it_is() {
        let document = document();
        for (name, operation) in operations(&document) {
            assert!(operation["summary"].is_string(), "{name}");
            assert!(operation["tags"].is_array(), "{name}");
        }
    }
}
