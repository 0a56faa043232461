//! Errors as pages: whatever a site refuses is told to a browser by a page, with the status it has.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use maud::{Markup, html};
use serde::Deserialize;
use server::problem;

use crate::layout::{Page, Site};
use crate::parts::alert;
use crate::site::secured;

/// The largest problem document that is shown as a page, in bytes.
const LARGEST_PROBLEM: usize = 64 * 1024;

/// An error of a request. [`show_errors`] makes a page of it.
#[derive(Debug, Clone)]
pub struct PageError {
    /// Status of the response.
    pub status: StatusCode,
    /// The reason, for people.
    pub reason: String,
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Shows the errors of a site's pages as pages: a [`PageError`], an address that is not served, and, to a browser, a
/// problem document such as that of a missing login. Status and headers stay. It belongs outside of the site's login.
pub fn show_errors(site: &'static Site, routes: Router) -> Router {
    routes.layer(from_fn(move |request: Request, next: Next| async move {
        let path = request.uri().path().to_owned();
        let is_ours = path
            .strip_prefix(site.path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let reads_pages = is_ours && accepts_html(request.headers());
        let response = next.run(request).await;
        if is_ours { shown(site, &path, reads_pages, response).await } else { response }
    }))
}

async fn shown(site: &'static Site, path: &str, reads_pages: bool, response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let is_problem =
        parts.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == problem::CONTENT_TYPE);
    let is_empty = !parts.headers.contains_key(CONTENT_TYPE);
    let reason = match parts.extensions.remove::<PageError>() {
        Some(error) => error.reason,
        None if is_problem && reads_pages => detail(body).await,
        None if is_empty && parts.status == StatusCode::NOT_FOUND => {
            "There is no such page.".to_owned()
        }
        None if is_empty && parts.status == StatusCode::METHOD_NOT_ALLOWED => {
            "This address is of a form, and shows nothing by itself.".to_owned()
        }
        None => return Response::from_parts(parts, body),
    };
    let page = Page { site, path, tab: "", title: title(parts.status), aside: Markup::default() };
    let tabs = site.tabs.iter().filter(|tab| !tab.href.starts_with(['.', '/']));
    let mut shown = page.with_status(
        parts.status,
        html! {
            (alert(&reason))
            p.bar { @for tab in tabs { a href=(if tab.href.is_empty() { "./" } else { tab.href }) { (tab.name) } " " } }
        },
    );
    // The length and type are those of the page.
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.remove(CONTENT_TYPE);
    shown.headers_mut().extend(parts.headers);
    secured(shown).await
}

fn accepts_html(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT).and_then(|accepted| accepted.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains("text/html"))
}

/// Detail of a problem document.
async fn detail(body: Body) -> String {
    #[derive(Deserialize)]
    struct Said {
        title: String,
        detail: Option<String>,
    }
    let bytes = to_bytes(body, LARGEST_PROBLEM).await.unwrap_or_default();
    match serde_json::from_slice::<Said>(&bytes) {
        Ok(said) => said.detail.unwrap_or(said.title),
        Err(_) => "The request is refused.".to_owned(),
    }
}

fn title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::UNAUTHORIZED => "Please log in",
        StatusCode::FORBIDDEN => "Not permitted",
        StatusCode::METHOD_NOT_ALLOWED => "Nothing to show",
        StatusCode::CONFLICT => "Not possible now",
        status if status.is_server_error() => "Not available now",
        _ => "Not possible",
    }
}
