//! A visit: one request of a person, and the answer in the form that was asked for.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRequestParts, Request, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::any;
use contract::time::Timestamp;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue, VARY};
use http::request::Parts;
use http::{StatusCode, Uri};
use inbox::{InboxError, Pause};
use maud::{Markup, html};
use pages::{FormError, FormFields, Page, alert, button, redirect};
use serde::Serialize;
use server::problem::{BAD_REQUEST, INTERNAL, NOT_FOUND, Problem, SOON};

use crate::access::{Actor, Known, Role, SessionKey};
use crate::{Console, ConsoleState, SITE};

/// The longest that a page takes, with an inbox that does not answer; and that it waits for its banner.
const LONGEST: Duration = Duration::from_secs(10);
const BANNER: Duration = Duration::from_secs(1);

/// Form of an answer, by the request's `Accept`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Page,
    Json,
    Lines,
}

/// A request to the console. Handlers take it as a parameter.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    pub(crate) actor: Actor,
    pub(crate) query: FormFields,
    /// The session that the request belongs to, if a login is needed.
    pub(crate) session: Option<SessionKey>,
    /// Path and query.
    path: String,
    form: Form,
}

impl Visit {
    pub(crate) fn of(request: &Request, known: Known) -> Result<Self, FormError> {
        let query = request.uri().query().unwrap_or_default();
        let query = FormFields::read(query.as_bytes())?;
        Ok(Visit {
            actor: known.actor,
            session: known.session,
            query,
            path: request.uri().path_and_query().map_or_else(String::new, ToString::to_string),
            form: form(request.headers().get(ACCEPT)),
        })
    }

    /// True if a page was asked for.
    pub(crate) fn is_page(&self) -> bool {
        self.form == Form::Page
    }

    /// True if the person may change something.
    pub(crate) fn may_act(&self) -> bool {
        self.actor.role == Role::Operator
    }

    /// The data as JSON, if it was asked for; otherwise a page with the content that `content` makes.
    pub(crate) async fn show<T: Serialize>(
        &self,
        console: &Console,
        (tab, title): (&str, &str),
        data: &T,
        content: impl FnOnce() -> Markup,
    ) -> Response {
        match self.form {
            Form::Page => self.page(console, tab, title, content()).await,
            _ => json(data),
        }
    }

    /// As [`show`](Self::show), with a list that can also be had as JSON Lines.
    pub(crate) async fn list<T: Serialize, R: Serialize>(
        &self,
        console: &Console,
        heads: (&str, &str),
        (data, rows): (&T, &[R]),
        content: impl FnOnce() -> Markup,
    ) -> Response {
        match self.form {
            Form::Lines => lines(rows),
            _ => self.show(console, heads, data, content).await,
        }
    }

    /// A page.
    pub(crate) async fn page(
        &self,
        console: &Console,
        tab: &str,
        title: &str,
        content: Markup,
    ) -> Response {
        self.with_status(console, StatusCode::OK, (tab, title), content).await
    }

    /// A page with an error, in the form that was asked for.
    pub(crate) async fn error(&self, console: &Console, status: StatusCode, why: &str) -> Response {
        if self.form != Form::Page {
            let kind = match status {
                StatusCode::NOT_FOUND => &NOT_FOUND,
                StatusCode::BAD_REQUEST => &BAD_REQUEST,
                StatusCode::SERVICE_UNAVAILABLE => {
                    return Problem::unavailable(SOON).into_response();
                }
                _ => &INTERNAL,
            };
            return Problem::new(kind).detail(why).into_response();
        }
        let content = html! { (alert(why)) p { a href="./" { "Overview" } " · " a href="deliveries" { "Deliveries" } } };
        self.with_status(console, status, ("none", "Error"), content).await
    }

    async fn with_status(
        &self,
        console: &Console,
        status: StatusCode,
        (tab, title): (&str, &str),
        content: Markup,
    ) -> Response {
        // The banner is of help; a page is worth showing without it, and one that says that the inbox is away does not ask it.
        let pause = match status {
            StatusCode::SERVICE_UNAVAILABLE => None,
            _ => tokio::time::timeout(BANNER, console.parts.inbox.paused()).await.ok(),
        };
        let pause = pause.and_then(Result::ok).flatten();
        let page = Page { site: &SITE, path: &self.path, tab, title, aside: self.aside(console) };
        let content =
            html! { (banner(pause.as_ref(), console.parts.config.dispatch.paused)) (content) };
        page.with_status(status, content)
    }

    fn aside(&self, console: &Console) -> Markup {
        let is_open = console.access.is_open();
        html! {
            div.aside {
                @if console.parts.has_docs { a href="../swagger/" { "API" } }
                @if !is_open {
                    span { (self.actor.name) " (" (self.actor.role.as_str()) ")" }
                    (button("logout", "Log out", ""))
                }
            }
        }
    }

    /// A redirect to another page of the console, by its address from the root of the console.
    pub(crate) fn to(&self, address: &str) -> Response {
        redirect(&SITE, &self.path, address)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        // Every route of the console is behind the access check, which adds it.
        parts.extensions.get().cloned().ok_or_else(|| Problem::new(&INTERNAL).into_response())
    }
}

/// The form that `Accept` asks for; a page, unless JSON is wanted and HTML is not.
fn form(accept: Option<&HeaderValue>) -> Form {
    let accept = accept.and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let accepts = |kind: &str| accept.to_ascii_lowercase().contains(kind);
    match () {
        () if accepts("text/html") => Form::Page,
        () if accepts("application/x-ndjson") || accepts("application/jsonl") => Form::Lines,
        () if accepts("application/json") => Form::Json,
        () => Form::Page,
    }
}

/// A JSON document.
pub(crate) fn json<T: Serialize>(data: &T) -> Response {
    varying(server::json(StatusCode::OK, "application/json", data))
}

fn lines<T: Serialize>(rows: &[T]) -> Response {
    let lines: Result<Vec<String>, _> = rows.iter().map(serde_json::to_string).collect();
    match lines {
        Ok(lines) => {
            let body = lines.into_iter().map(|line| line + "\n").collect::<String>();
            varying(([(CONTENT_TYPE, "application/x-ndjson")], body).into_response())
        }
        Err(_) => Problem::new(&INTERNAL).into_response(),
    }
}

fn varying(mut response: Response) -> Response {
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    response
}

fn banner(pause: Option<&Pause>, is_paused_in_settings: bool) -> Markup {
    html! {
        @if let Some(pause) = pause {
            p.banner { strong { "Dispatch is paused" } " by " (pause.by) " since " (pages::time(pause.since))
                @if let Some(reason) = &pause.reason { ": " (reason) } ". Deliveries are accepted and wait. " a href="dispatch" { "Resume" } }
        }
        @if is_paused_in_settings {
            p.banner { strong { "Dispatch is paused" } " by " code { "paused = true" } " in [dispatch] of this process's settings. Deliveries are accepted and wait." }
        }
    }
}

/// Reason why a page cannot be shown.
pub(crate) enum Failure {
    /// The inbox is away, busy or full.
    Inbox(InboxError),
    /// A field cannot be read.
    Field(FormError),
    /// There is no such thing.
    Missing(String),
    /// Too many others look for as long.
    Crowded,
    /// The inbox has not answered in time.
    Late,
}

impl From<InboxError> for Failure {
    fn from(error: InboxError) -> Self {
        Failure::Inbox(error)
    }
}

impl From<FormError> for Failure {
    fn from(error: FormError) -> Self {
        Failure::Field(error)
    }
}

impl Failure {
    /// The error as a page, or as a problem document.
    pub(crate) async fn show(self, console: &Console, visit: &Visit) -> Response {
        let (status, why) = match self {
            Failure::Inbox(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
            Failure::Field(error) => (StatusCode::BAD_REQUEST, error.to_string()),
            Failure::Missing(what) => (StatusCode::NOT_FOUND, what),
            Failure::Crowded => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many others preview acts or listen at the moment; try again shortly.".into(),
            ),
            Failure::Late => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The inbox does not answer. What was asked for may still be done; see the acts."
                    .into(),
            ),
        };
        visit.error(console, status, &why).await
    }
}

/// Shows what a page's function returns, or why it cannot be shown.
pub(crate) async fn answer(
    console: &Console,
    visit: &Visit,
    shown: impl Future<Output = Result<Response, Failure>>,
) -> Response {
    answer_within(LONGEST, console, visit, shown).await
}

/// The same for what takes longer than other pages.
pub(crate) async fn answer_within(
    limit: Duration,
    console: &Console,
    visit: &Visit,
    shown: impl Future<Output = Result<Response, Failure>>,
) -> Response {
    match tokio::time::timeout(limit, shown).await.unwrap_or(Err(Failure::Late)) {
        Ok(response) => response,
        Err(failure) => failure.show(console, visit).await,
    }
}

/// Now, by the receiver's clock.
pub(crate) fn now(console: &Console) -> Timestamp {
    (console.parts.clock)()
}

/// Routes of all other addresses below the console's.
pub(crate) fn elsewhere() -> Router<Arc<Console>> {
    Router::new().route("/console/{*rest}", any(not_found))
}

async fn not_found(State(console): ConsoleState, visit: Visit, uri: Uri) -> Response {
    if let Some(path) = uri.path().strip_suffix('/') {
        let name = path.rsplit('/').next().unwrap_or_default();
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        return Redirect::permanent(&format!("../{name}{query}")).into_response();
    }
    visit.error(&console, StatusCode::NOT_FOUND, "There is no such page.").await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_pages_and_programs_what_they_ask_for() {
        for (accept, expected) in [
            (None, Form::Page),
            (Some("text/html,application/xhtml+xml,*/*;q=0.8"), Form::Page),
            (Some("application/json"), Form::Json),
            (Some("application/x-ndjson"), Form::Lines),
            (Some("*/*"), Form::Page),
        ] {
            let accept = accept.map(HeaderValue::from_static);
            assert_eq!(form(accept.as_ref()), expected, "{accept:?}");
        }
    }
}
