//! The Admin pages: subscriptions, events, attempts and resending. Plain HTML that needs no script and loads nothing
//! from other hosts.

mod attempts;
mod definition;
mod events;
mod fields;
mod layout;
mod resend;
mod subscriptions;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::middleware::{from_fn, map_response};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::header::{CONTENT_TYPE, HeaderValue};
use maud::html;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use server::origin::same_origin_only;
use server::security;

use super::api::status;
use super::{Bus, BusError};
use layout::{Tab, page};

/// The content security policy: the pages' own style sheet, and forms to themselves. No script at all.
const POLICY: &str = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

type BusState = State<Arc<Bus>>;

const STYLE: &str = include_str!("pages/style.css");

/// The pages, under `/admin`. Forms are accepted from the pages themselves alone; the server that mounts them decides
/// who has access.
pub fn router(bus: Arc<Bus>) -> Router {
    Router::new()
        .route("/", get(async || Redirect::to("/admin/subscriptions")))
        .route("/admin", get(async || Redirect::to("/admin/subscriptions")))
        .route(
            "/admin/style.css",
            get(async || ([(CONTENT_TYPE, "text/css; charset=utf-8")], STYLE)),
        )
        .route("/admin/subscriptions", get(subscriptions::list).post(subscriptions::create))
        .route("/admin/subscriptions/new", get(subscriptions::new))
        .route("/admin/subscriptions/{name}", get(subscriptions::show))
        .route(
            "/admin/subscriptions/{name}/edit",
            get(subscriptions::edit).post(subscriptions::change),
        )
        .route(
            "/admin/subscriptions/{name}/delete",
            get(subscriptions::confirm).post(subscriptions::remove),
        )
        .route("/admin/subscriptions/{name}/rotate", post(subscriptions::rotate))
        .route("/admin/subscriptions/{name}/test", post(subscriptions::test))
        .route("/admin/subscriptions/{name}/{act}", post(subscriptions::action))
        .route("/admin/events", get(events::list).post(events::publish))
        .route("/admin/events/new", get(events::new))
        .route("/admin/events/{id}", get(events::show))
        .route("/admin/attempts", get(attempts::list))
        .route("/admin/attempts/{id}", get(attempts::show))
        .route("/admin/resend", get(resend::confirm).post(resend::send))
        .layer(from_fn(same_origin_only))
        .layer(map_response(guarded))
        .with_state(bus)
}

async fn guarded(mut response: Response) -> Response {
    // A browser sends the origin of a form only if the page permits it: hence not `no-referrer`.
    let policy = HeaderValue::from_static(POLICY);
    security::add(&mut response, security::headers(policy, "same-origin"));
    security::add(&mut response, security::UNFRAMED);
    response
}

/// The error page of a request.
struct PageFailure(BusError);

impl<E: Into<BusError>> From<E> for PageFailure {
    fn from(error: E) -> Self {
        PageFailure(error.into())
    }
}

impl IntoResponse for PageFailure {
    fn into_response(self) -> Response {
        let body = html! {
            p.alert role="alert" { (self.0) }
            p { a href="/admin/subscriptions" { "Subscriptions" } }
        };
        (status(&self.0), page("Error", Tab::None, body)).into_response()
    }
}

/// The text percent-encoded for a path or a query.
fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
