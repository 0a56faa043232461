//! The fork's pages, which the vendor shows in a frame; the vendor's page token authenticates the user.
//!
//! The vendor opens a page with `pageId` and `pageToken` in its query; its API resolves the token to a user.
//! Source: the vendor's "How External Pages Work" and "Securing Client Web Applications".

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use contract::event::Environment;
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use http::request::Parts;
use percent_encoding::percent_decode_str;
use server::problem::{BAD_REQUEST, INTERNAL, Problem, UNAUTHORIZED};
use server::security;
use source::{HookRoute, PageError};
use tokio::time::Instant;

use super::record::SharedFacts;

/// Time limit for the vendor to resolve a token.
const PATIENCE: Duration = Duration::from_secs(10);

/// `Retry-After` if the vendor could not be asked.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// User of a page. As a parameter of a page's handler it rejects requests without a valid page token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageUser {
    /// The user's name at the vendor.
    pub name: String,
    /// The vendor's environment.
    pub environment: Environment,
    /// The configured source of the vendor.
    pub source: String,
}

impl<S: Send + Sync> FromRequestParts<S> for PageUser {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let Some(route) = parts.extensions.get::<Arc<HookRoute>>() else {
            // The route is outside of `pages`, so no vendor can be asked.
            return Err(Problem::new(&INTERNAL).into_response());
        };
        let user = ask(route, parts.uri.query().unwrap_or_default()).await;
        user.map_err(|error| {
            SharedFacts::of(&parts.extensions).note(|known| {
                known.source = Some(route.source.name.clone());
                known.reason = Some(error.to_string());
            });
            refusal(&error)
        })
    }
}

async fn ask(route: &HookRoute, query: &str) -> Result<PageUser, PageError> {
    let page = parameter(query, "pageId").ok_or(PageError::Missing("pageId"))?;
    let token = parameter(query, "pageToken").ok_or(PageError::Missing("pageToken"))?;
    let name = route.page_user(&page, &token, Instant::now() + PATIENCE).await?;
    let (environment, source) = (route.source.environment, route.source.name.clone());
    Ok(PageUser { name, environment, source })
}

/// A query parameter, its name without regard to case. A plus sign is not decoded, since tokens contain it.
fn parameter(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.into_iter().find(|(own, _)| own.eq_ignore_ascii_case(name))?;
    let value = percent_decode_str(value).decode_utf8().ok()?;
    (!value.is_empty()).then(|| value.into_owned())
}

fn refusal(error: &PageError) -> Response {
    let problem = match error {
        PageError::Missing(_) => Problem::new(&BAD_REQUEST).detail(error.to_string()),
        PageError::Refused => Problem::new(&UNAUTHORIZED),
        PageError::NoUser | PageError::Unchecked(_) => Problem::unavailable(RETRY_AFTER),
    };
    problem.into_response()
}

/// Routes the pages under the path of each hook route that has one, with headers against caching and foreign frames.
pub fn router(routes: &[Arc<HookRoute>], pages: &Router) -> Router {
    let served = routes.iter().filter_map(|route| Some((route, route.pages.as_ref()?)));
    served.fold(Router::new(), |router, (route, path)| {
        let guards = guards(route);
        let own = pages
            .clone()
            .layer(axum::Extension(Arc::clone(route)))
            .layer(map_response(move |response: Response| guarded(response, guards.clone())));
        router.nest(path, own)
    })
}

/// Default headers of every page: its URL contains a token, and only the vendor may frame it.
fn guards(route: &HookRoute) -> Vec<(HeaderName, HeaderValue)> {
    let vendor = route.api.as_ref().map_or_else(|| "'none'".to_owned(), |api| api.origin());
    let framed = HeaderValue::try_from(format!("frame-ancestors {vendor}"))
        .unwrap_or(HeaderValue::from_static("frame-ancestors 'none'"));
    let headers = security::headers(framed, "no-referrer").into_iter();
    headers.chain([(CACHE_CONTROL, HeaderValue::from_static("no-store"))]).collect()
}

async fn guarded(mut response: Response, guards: Vec<(HeaderName, HeaderValue)>) -> Response {
    security::add(&mut response, guards);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_in_any_case_and_decoded_once() {
        let query = "pageid=x&PageToken=a%2Fb+c%2525&empty=";
        assert_eq!(parameter(query, "pageId").as_deref(), Some("x"));
        assert_eq!(parameter(query, "pageToken").as_deref(), Some("a/b+c%25"));
        assert_eq!(parameter(query, "empty"), None);
        assert_eq!(parameter(query, "other"), None);
    }
}
