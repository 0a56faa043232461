//! The login of the console, and its end.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use http::StatusCode;
use http::header::{ACCEPT, HeaderMap, HeaderValue, SET_COOKIE};
use maud::{Markup, html};
use pages::{FormFields, Page, alert, hidden, input, text};
use server::password::Peer;
use server::problem::Problem;

use crate::access::SESSION;
use crate::{Console, ConsoleState, SITE};

/// The largest form.
const LARGEST: usize = 16 * 1024;

/// The routes that need no session.
pub(crate) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/console/login", get(form).post(log_in))
        .route("/console/logout", post(log_out))
}

/// The answer to a request without a session: the form for a person, a challenge for a program.
pub(crate) fn ask(request: &Request) -> Response {
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let is_browser =
        ["origin", "sec-fetch-mode"].iter().any(|name| request.headers().contains_key(*name));
    let is_person = is_browser || accept.is_some_and(|accept| accept.contains("text/html"));
    if !is_person {
        return Problem::unauthorized(
            "Basic realm=\"webhook-receiver console\", charset=\"UTF-8\"",
        )
        .into_response();
    }
    let path = request.uri().path();
    let below = path.strip_prefix(SITE.path).unwrap_or_default().trim_start_matches('/');
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    // A form that was sent is not sent again by the login.
    let next = match request.method().is_safe() {
        true => format!("{below}{query}"),
        false => String::new(),
    };
    page(path, StatusCode::UNAUTHORIZED, &next, "", None)
}

async fn form(request: Request) -> Response {
    page(request.uri().path(), StatusCode::OK, "", "", None)
}

/// The form; `next` is the address to go on with, from the root of the console.
fn page(path: &str, status: StatusCode, next: &str, name: &str, error: Option<&str>) -> Response {
    let content = html! {
        form.login method="post" action="login" {
            @if let Some(error) = error { (alert(error)) }
            (hidden("next", next))
            (text("name", "Your name", "It is written beside what you do. Any name will do.", name))
            (input("password", "password", "Password", "The operators' or the viewers'.", ""))
            p.bar { button.primary type="submit" { "Log in" } }
        }
    };
    let page = Page { site: &SITE, path, tab: "none", title: "Log in", aside: Markup::default() };
    page.with_status(status, content)
}

async fn log_in(State(console): ConsoleState, request: Request) -> Response {
    let (from, path) = (Peer::of(&request), request.uri().path().to_owned());
    let body = axum::body::to_bytes(request.into_body(), LARGEST).await.unwrap_or_default();
    let fields = match FormFields::read(&body) {
        Ok(fields) => fields,
        Err(error) => {
            return page(&path, StatusCode::BAD_REQUEST, "", "", Some(&error.to_string()));
        }
    };
    let (name, next) = (fields.get("name"), fields.get("next"));
    if name.is_empty() {
        return page(&path, StatusCode::BAD_REQUEST, next, name, Some("Give a name."));
    }
    let secret = password(&body);
    match console.access.log_in(name, secret, from).await {
        Ok(Some(token)) => {
            let mut response = Redirect::to(safe(next)).into_response();
            // Without a path the cookie is for the console, below whatever path a proxy serves it.
            let cookie = format!("{SESSION}={token}; HttpOnly; SameSite=Lax");
            if let Ok(cookie) = HeaderValue::try_from(cookie) {
                response.headers_mut().insert(SET_COOKIE, cookie);
            }
            response
        }
        Ok(None) => {
            page(&path, StatusCode::UNAUTHORIZED, next, name, Some("The password is wrong."))
        }
        Err(problem) => {
            let status =
                StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            page(
                &path,
                status,
                next,
                name,
                Some("There were too many attempts. Wait a minute, and try again."),
            )
        }
    }
}

/// The password as it was typed: with the spaces around it.
fn password(form: &Bytes) -> Vec<u8> {
    let pairs = FormFields::untrimmed(form);
    let own = pairs.into_iter().find(|(name, _)| name == "password");
    own.map(|(_, password)| password.into_bytes()).unwrap_or_default()
}

/// An address within the console; anything else leads to the overview.
fn safe(next: &str) -> &str {
    let first = next.split(['/', '?', '#']).next().unwrap_or_default();
    let is_own = !next.is_empty()
        && !first.contains([':', '\\'])
        && !next.starts_with(['/', '\\'])
        && next.bytes().all(|byte| byte.is_ascii_graphic());
    if is_own { next } else { "./" }
}

async fn log_out(State(console): ConsoleState, headers: HeaderMap) -> Response {
    console.access.log_out(&headers);
    let mut response = Redirect::to("login").into_response();
    if let Ok(cookie) =
        HeaderValue::try_from(format!("{SESSION}=; Max-Age=0; HttpOnly; SameSite=Lax"))
    {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_to_pages_of_the_console_alone() {
        for next in ["deliveries?state=dead", "deliveries/42", "acts"] {
            assert_eq!(safe(next), next);
        }
        for next in [
            "",
            "//evil.example",
            "/x",
            "https://evil.example",
            "\\\\evil",
            "javascript:alert(1)",
            "a b",
        ] {
            assert_eq!(safe(next), "./", "{next}");
        }
    }
}
