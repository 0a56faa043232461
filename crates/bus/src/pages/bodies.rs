//! Bodies as they were sent or came, byte for byte.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};

use super::request::PageRequest;
use super::{AdminState, PageResult};
use crate::BusError;
use crate::outbox::StoredBody;

/// The data or the object record of an event.
pub(super) async fn of_event(
    State(admin): AdminState,
    Path((id, part)): Path<(String, String)>,
    request: PageRequest,
) -> PageResult {
    let found = admin.bus.outbox.event_bodies(id.clone()).await?;
    let body = match (found, part.as_str()) {
        (Some((data, _)), "data") => Some(data),
        (Some((_, record)), "record") => record,
        _ => None,
    };
    let body = body.ok_or_else(|| BusError::Missing(format!("body {part} of event {id}")))?;
    Ok(raw(body, &request, &format!("event-{part}.json")))
}

/// The body of an attempt's request or response.
pub(super) async fn of_attempt(
    State(admin): AdminState,
    Path((id, part)): Path<(String, String)>,
    request: PageRequest,
) -> PageResult {
    let missing = || BusError::Missing(format!("body {part} of attempt {id}"));
    let number = id.parse().map_err(|_| missing())?;
    let wanted = match part.as_str() {
        "request" => StoredBody::Request(number),
        "response" => StoredBody::Response(number),
        _ => return Err(missing().into()),
    };
    let body = admin.bus.outbox.body(wanted).await?.ok_or_else(missing)?;
    Ok(raw(body, &request, &format!("attempt-{number}-{part}.txt")))
}

/// It is shown as text or saved, whatever its type.
fn raw(body: Vec<u8>, request: &PageRequest, name: &str) -> Response {
    let disposition = if request.query.is_on("download") { "attachment" } else { "inline" };
    let headers = [
        (CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (CONTENT_DISPOSITION, format!("{disposition}; filename=\"{name}\"")),
    ];
    (headers, body).into_response()
}
