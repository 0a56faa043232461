//! Documentation pages: Swagger UI and the OpenAPI document, served without loading anything from the network.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerFile, serve};

use super::login::{Login, require_login};
use super::problem::{INTERNAL, NOT_FOUND, Problem};
use super::security;

const DOCUMENT: &str = "/openapi.json";

/// Content security policy of the pages: they may load their own files only.
///
/// Swagger UI's icons are `data:` URLs; its inline styles are set by script, which needs no permission.
const POLICY: &str = "default-src 'self'; style-src 'self'; img-src 'self' data:; \
     object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Routes of the pages, behind the login if there is one. The root redirects to them.
///
/// # Errors
/// If the document cannot be written as JSON.
pub fn router(document: &OpenApi, login: Option<Login>) -> serde_json::Result<Router> {
    let home = Router::new().route("/", get(|| async { Redirect::temporary("/swagger") }));
    beside(home, document, login)
}

/// Adds the pages to others, all of them behind the login if there is one.
///
/// # Errors
/// If the document cannot be written as JSON.
pub fn beside(
    pages: Router,
    document: &OpenApi,
    login: Option<Login>,
) -> serde_json::Result<Router> {
    let swagger = Swagger {
        config: Arc::new(Config::new([DOCUMENT])),
        index: index_page(&document.info.title).into(),
    };
    let document = Bytes::from(document.to_json()?);
    let own = Router::new()
        .route("/swagger", get(|| async { Redirect::temporary("/swagger/") }))
        .route("/swagger/", get(index))
        .route("/swagger/{file}", get(file))
        .route(DOCUMENT, get(|| async { ([(CONTENT_TYPE, "application/json")], document) }))
        .with_state(swagger);
    let pages = pages.merge(own);
    let pages = match login {
        Some(login) => pages.layer(from_fn_with_state(login, require_login)),
        None => pages,
    };
    Ok(pages.layer(map_response(guarded)))
}

/// Swagger UI and the page around it.
#[derive(Clone)]
struct Swagger {
    config: Arc<Config<'static>>,
    index: Bytes,
}

/// The page in place of the library's own, which has no title of the program, no viewport and no colour scheme.
fn index_page(title: &str) -> String {
    let title = title.replace('&', "&amp;").replace('<', "&lt;");
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · API</title>
<link rel="icon" type="image/png" href="favicon-32x32.png" sizes="32x32">
<link rel="stylesheet" href="swagger-ui.css">
<link rel="stylesheet" href="index.css">
<link rel="stylesheet" href="{PAGE_STYLE}">
<script src="{SCHEME_SCRIPT}"></script>
</head>
<body>
<main id="swagger-ui"></main>
<noscript>These pages need scripts; the document itself is <a href="{DOCUMENT}">{DOCUMENT}</a>.</noscript>
<script src="swagger-ui-bundle.js"></script>
<script src="{INITIALIZER}"></script>
</body>
</html>
"#
    )
}

const PAGE_STYLE: &str = "page.css";
const SCHEME_SCRIPT: &str = "scheme.js";
const INITIALIZER: &str = "initializer.js";

async fn index(State(swagger): State<Swagger>) -> Response {
    page("index.html", swagger)
}

async fn file(Path(name): Path<String>, State(swagger): State<Swagger>) -> Response {
    page(&name, swagger)
}

fn page(name: &str, swagger: Swagger) -> Response {
    let own: (&str, Bytes) = match name {
        "index.html" => ("text/html", swagger.index),
        PAGE_STYLE => ("text/css", Bytes::from_static(include_bytes!("docs/page.css"))),
        SCHEME_SCRIPT => ("text/javascript", Bytes::from_static(include_bytes!("docs/scheme.js"))),
        INITIALIZER => {
            ("text/javascript", Bytes::from_static(include_bytes!("docs/initializer.js")))
        }
        _ => return library_file(name, swagger.config),
    };
    ([(CONTENT_TYPE, format!("{}; charset=utf-8", own.0))], own.1).into_response()
}

fn library_file(name: &str, config: Arc<Config<'static>>) -> Response {
    match serve(name, config) {
        Ok(Some(file)) => response(name, file),
        Ok(None) => Problem::new(&NOT_FOUND).into_response(),
        Err(_) => Problem::new(&INTERNAL).into_response(),
    }
}

fn response(name: &str, file: SwaggerFile<'static>) -> Response {
    let mut response = ([(CONTENT_TYPE, file.content_type)], file.bytes).into_response();
    let headers = response.headers_mut();
    if file.gzpipped {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if name.starts_with("swagger-ui") {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, max-age=3600"));
    }
    response
}

/// Adds the security headers; pages without a cache policy are not stored.
async fn guarded(mut response: Response) -> Response {
    security::add(
        &mut response,
        security::headers(HeaderValue::from_static(POLICY), "no-referrer"),
    );
    security::add(&mut response, security::UNFRAMED);
    response
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use settings::Docs;
    use tower::ServiceExt;

    use super::*;
    use crate::password::hash;

    async fn call(login: Option<Login>, path: &str) -> Response {
        let request = Request::get(path).body(Body::empty()).unwrap();
        router(&OpenApi::default(), login).unwrap().oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn the_root_leads_to_swagger() {
        assert_eq!(call(None, "/").await.headers()["location"], "/swagger");
        assert_eq!(call(None, "/swagger").await.headers()["location"], "/swagger/");
    }

    #[tokio::test]
    async fn every_page_is_guarded() {
        for path in
            ["/", "/swagger", "/swagger/", "/swagger/swagger-ui.css", DOCUMENT, "/swagger/x"]
        {
            let response = call(None, path).await;
            let policy = security::headers(HeaderValue::from_static(POLICY), "no-referrer");
            for (name, value) in policy.into_iter().chain(security::UNFRAMED.into_iter().take(1)) {
                assert_eq!(response.headers()[name], value, "{path}");
            }
        }
    }

    #[test]
    fn the_page_has_the_title_of_the_program() {
        let page = index_page("A & B <i>");
        assert!(page.contains("<title>A &amp; B &lt;i> · API</title>"), "{page}");
    }

    #[tokio::test]
    async fn what_the_page_loads_is_served() {
        for file in
            index_page("").split('"').filter(|text| text.ends_with(".css") || text.ends_with(".js"))
        {
            assert_eq!(call(None, &format!("/swagger/{file}")).await.status(), 200, "{file}");
        }
    }

    #[tokio::test]
    async fn only_the_library_is_stored_by_browsers() {
        for (path, stored) in [
            ("/swagger/", false),
            ("/swagger/initializer.js", false),
            ("/swagger/swagger-ui-bundle.js", true),
            (DOCUMENT, false),
        ] {
            let response = call(None, path).await;
            assert_eq!(response.status(), 200, "{path}");
            assert_eq!(response.headers()[CACHE_CONTROL] != "no-store", stored, "{path}");
        }
    }

    #[tokio::test]
    async fn behind_a_login_every_page_asks_for_it() {
        let password_hash = Some(hash(&"secret".into()).unwrap().into());
        let settings = Docs { user: Some("docs".into()), password_hash };
        let login = Login::new(&settings).unwrap();
        for path in ["/", "/swagger", "/swagger/", "/swagger/swagger-ui.css", DOCUMENT] {
            let response = call(login.clone(), path).await;
            assert_eq!(response.status(), 401, "{path}");
            assert!(response.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic"));
        }
    }
}
