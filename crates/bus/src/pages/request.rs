//! Requests for pages.

use std::sync::Arc;

use ::pages::{FormError, FormFields, Page, PageError, address_of};
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::Response;
use contract::time::Timestamp;
use http::StatusCode;
use http::request::Parts;
use maud::{Markup, html};

use super::{Admin, SITE, error};

/// The field of the query with the token of a note.
const NOTE: &str = "note";

/// A request for a page: its path and its query.
pub(super) struct PageRequest {
    /// The path, and the query without the note.
    path: String,
    pub(super) query: FormFields,
    /// True if the request only reads.
    pub(super) is_read: bool,
    /// The token of the note to be shown once.
    note: Option<String>,
}

impl PageRequest {
    /// The page for this request.
    pub(super) fn page<'p>(&'p self, tab: &'p str, title: &'p str) -> Page<'p> {
        Page { site: &SITE, path: &self.path, tab, title, aside: Markup::default() }
    }

    /// The address of the page, relative to the site's root.
    pub(super) fn here(&self) -> &str {
        address_of(&SITE, &self.path)
    }

    /// An address with the query of this request.
    pub(super) fn with_query(&self, address: &str) -> String {
        match self.query.query() {
            query if query.is_empty() => address.to_owned(),
            query => format!("{address}?{query}"),
        }
    }

    /// Leads to another page of the site.
    pub(super) fn redirect(&self, to: &str) -> Response {
        ::pages::redirect(&SITE, &self.path, to)
    }

    /// Leads to another page of the site, which shows the note once.
    pub(super) fn redirect_with(&self, admin: &Admin, to: &str, note: Markup) -> Response {
        let token = admin.notes.keep(note);
        let mark = if to.contains('?') { '&' } else { '?' };
        self.redirect(&format!("{to}{mark}{NOTE}={token}"))
    }

    /// The note of the last action, which is shown this once.
    pub(super) fn note(&self, admin: &Admin) -> Markup {
        html! { @if let Some(note) = self.note.as_deref().and_then(|token| admin.notes.take(token)) { (note) } }
    }
}

impl FromRequestParts<Arc<Admin>> for PageRequest {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Admin>) -> Result<Self, PageError> {
        let mut query = fields(parts.uri.query().unwrap_or_default().as_bytes())?;
        let note = query.some(NOTE);
        query.remove(NOTE);
        let path = match query.query() {
            query if query.is_empty() => parts.uri.path().to_owned(),
            query => format!("{}?{query}", parts.uri.path()),
        };
        Ok(PageRequest { path, query, is_read: parts.method.is_safe(), note })
    }
}

/// A form that was sent.
pub(super) struct FormRequest {
    pub(super) page: PageRequest,
    pub(super) form: FormFields,
}

impl FromRequest<Arc<Admin>> for FormRequest {
    type Rejection = PageError;

    async fn from_request(request: Request, admin: &Arc<Admin>) -> Result<Self, PageError> {
        let (mut parts, body) = request.into_parts();
        let page = PageRequest::from_request_parts(&mut parts, admin).await?;
        let body = Bytes::from_request(Request::from_parts(parts, body), admin).await;
        let body = body.map_err(|rejection| error(rejection.status(), "the form is too large"))?;
        Ok(FormRequest { page, form: fields(&body)? })
    }
}

fn fields(text: &[u8]) -> Result<FormFields, PageError> {
    FormFields::read(text).map_err(|refused| error(StatusCode::BAD_REQUEST, &refused.to_string()))
}

/// The filter of a list, read from the query; what cannot be read is an error beside the form, which stays.
pub(super) struct Filter<'q> {
    pub(super) query: &'q FormFields,
    pub(super) errors: Vec<FormError>,
    now: Timestamp,
}

impl<'q> Filter<'q> {
    pub(super) fn new(query: &'q FormFields, now: Timestamp) -> Self {
        Filter { query, errors: Vec::new(), now }
    }

    /// The time since which: the range before now, or the exact time.
    pub(super) fn since(&mut self) -> Option<Timestamp> {
        let range = self.read("range", |query, now| query.time("range", now));
        range.or_else(|| self.read("since", |query, now| query.time("since", now)))
    }

    pub(super) fn until(&mut self) -> Option<Timestamp> {
        self.read("until", |query, now| query.time("until", now))
    }

    pub(super) fn number(&mut self, name: &str) -> Option<i64> {
        self.read(name, |query, _| query.number(name))
    }

    /// One of these values.
    pub(super) fn one_of<T: Copy>(&mut self, name: &str, values: &[(&str, T)]) -> Option<T> {
        let text = self.query.some(name)?;
        let found = values.iter().find(|(value, _)| *value == text).map(|(_, known)| *known);
        if found.is_none() {
            let known: Vec<_> = values.iter().map(|(value, _)| *value).collect();
            self.refuse(name, &format!("{text:?} is none of {}", known.join(", ")));
        }
        found
    }

    pub(super) fn refuse(&mut self, name: &str, reason: &str) {
        self.errors.push(FormError::new(name, format!("Filter {name}: {reason}.")));
    }

    fn read<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&FormFields, Timestamp) -> Result<Option<T>, FormError>,
    ) -> Option<T> {
        match read(self.query, self.now) {
            Ok(value) => value,
            Err(error) => {
                self.refuse(name, &error.reason);
                None
            }
        }
    }

    /// The status of the page.
    pub(super) fn status(&self) -> StatusCode {
        if self.errors.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY }
    }

    /// True if anything is filtered.
    pub(super) fn is_used(&self) -> bool {
        self.query.iter().any(|(name, _)| !matches!(name, "live" | "before" | "from"))
    }
}
