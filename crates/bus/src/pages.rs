//! The Admin pages: subscriptions, events, attempts and resending. Plain HTML that works without the script and loads
//! nothing from other hosts.

mod attempts;
mod bodies;
mod definition;
mod events;
mod form;
mod live;
mod notes;
mod publish;
mod request;
mod resend;
mod subscription;
mod subscriptions;
mod words;

use std::sync::Arc;

use ::pages::{PageError, Site, Tab};
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get, post};
use http::StatusCode;

use super::api::status;
use super::{Bus, BusError};
use live::Streams;
use notes::Notes;
use request::PageRequest;

/// The largest form, in bytes, not counting the largest event, which a form encodes in up to three bytes each.
const LARGEST_FORM: usize = 1024 * 1024;

/// The number of rows on a page.
const PAGE: usize = 50;

/// The site of the pages.
pub static SITE: Site = Site {
    brand: "Event bus",
    path: "/admin",
    tabs: &[
        Tab { href: "subscriptions", name: "Subscriptions" },
        Tab { href: "events", name: "Events" },
        Tab { href: "attempts", name: "Attempts" },
        Tab { href: "resend", name: "Resend" },
        Tab { href: "../swagger/", name: "API" },
    ],
};

/// What the pages share: the bus, the notes to be shown once, and the live streams.
struct Admin {
    bus: Arc<Bus>,
    notes: Notes,
    streams: Streams,
}

type AdminState = State<Arc<Admin>>;

type PageResult = Result<Response, PageFailure>;

/// The pages, under `/admin`. Forms are accepted from the pages themselves alone; the server that mounts them decides
/// who has access. [`SITE`] is the site in which their errors are shown.
pub fn router(bus: Arc<Bus>) -> Router {
    let largest = LARGEST_FORM.saturating_add(bus.max_event().saturating_mul(3));
    let admin = Arc::new(Admin { bus, notes: Notes::default(), streams: Streams::default() });
    let site = Router::new()
        .route("/", get(async || Redirect::to("admin/subscriptions")))
        .route("/admin", get(async || Redirect::to("admin/subscriptions")))
        .route("/admin/", get(async || Redirect::to("subscriptions")))
        .route("/admin/subscriptions", get(subscriptions::list).post(form::create))
        .route("/admin/new-subscription", get(form::new))
        .route("/admin/subscriptions/{name}", get(subscription::show))
        .route("/admin/subscriptions/{name}/edit", get(form::edit).post(form::change))
        .route(
            "/admin/subscriptions/{name}/delete",
            get(subscription::confirm).post(subscription::remove),
        )
        .route("/admin/subscriptions/{name}/rotate", post(subscription::rotate))
        .route("/admin/subscriptions/{name}/test", post(subscription::test))
        .route("/admin/subscriptions/{name}/{act}", post(subscription::action))
        .route("/admin/events", get(events::list).post(publish::publish))
        .route("/admin/publish", get(publish::new))
        .route("/admin/events/{id}", get(events::show))
        .route("/admin/events/{id}/{part}", get(bodies::of_event))
        .route("/admin/attempts", get(attempts::list))
        .route("/admin/attempts/{id}", get(attempts::show))
        .route("/admin/attempts/{id}/{part}", get(bodies::of_attempt))
        .route("/admin/live/events", get(live::events))
        .route("/admin/live/attempts", get(live::attempts))
        .route("/admin/resend", get(resend::confirm).post(resend::send))
        .route("/admin/{*rest}", any(unknown))
        .layer(DefaultBodyLimit::max(largest))
        .with_state(admin);
    ::pages::protect(site)
}

/// Answers an address that is not served; one with a slash too many leads to the page.
async fn unknown(request: PageRequest) -> PageResult {
    let here = request.here();
    let here = here.split('?').next().unwrap_or_default();
    match here.trim_end_matches('/') {
        trimmed if trimmed.len() < here.len() && request.is_read => {
            Ok(request.redirect(&request.with_query(trimmed)))
        }
        _ => Err(BusError::Missing("such page".into()).into()),
    }
}

/// The failure of a request for a page.
struct PageFailure(BusError);

impl<E: Into<BusError>> From<E> for PageFailure {
    fn from(error: E) -> Self {
        PageFailure(error.into())
    }
}

impl IntoResponse for PageFailure {
    fn into_response(self) -> Response {
        error(status(&self.0), &self.0.to_string()).into_response()
    }
}

fn error(status: StatusCode, reason: &str) -> PageError {
    PageError { status, reason: words::sentence(reason) }
}
