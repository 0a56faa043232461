//! Live lists: the rows that are new or have changed, as server-sent events.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse as _;
use futures_util::stream;
use http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use maud::Markup;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::request::PageRequest;
use super::{Admin, AdminState, PageResult, attempts, error, events};
use crate::BusError;

/// The largest number of streams, the time between two looks at the outbox, and the looks between two signs of life, by
/// which a browser that has gone is noticed.
const STREAMS: usize = 16;
const EVERY: Duration = Duration::from_millis(400);
const QUIET: u32 = 5;

/// The looks after which a stream ends; a browser begins another.
const LONGEST: u32 = 9_000;

/// Tells a proxy not to keep what is sent until there is more.
const UNBUFFERED: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The places for streams.
pub(super) struct Streams(Arc<Semaphore>);

impl Default for Streams {
    fn default() -> Self {
        Streams(Arc::new(Semaphore::new(STREAMS)))
    }
}

/// A row of a list, newest first.
pub(super) struct LiveRow {
    pub(super) id: String,
    /// Content of the row, besides the time: another version is sent again.
    pub(super) version: String,
    pub(super) row: Markup,
}

/// The rows of a list, again and again.
struct Follower {
    admin: Arc<Admin>,
    request: PageRequest,
    list: List,
    known: HashMap<String, String>,
    looks: u32,
    _permit: OwnedSemaphorePermit,
}

#[derive(Clone, Copy)]
enum List {
    Events,
    Attempts,
}

pub(super) async fn events(State(admin): AdminState, request: PageRequest) -> PageResult {
    follow(admin, request, List::Events).await
}

pub(super) async fn attempts(State(admin): AdminState, request: PageRequest) -> PageResult {
    follow(admin, request, List::Attempts).await
}

async fn follow(admin: Arc<Admin>, request: PageRequest, list: List) -> PageResult {
    let Ok(permit) = Arc::clone(&admin.streams.0).try_acquire_owned() else {
        let busy =
            error(StatusCode::SERVICE_UNAVAILABLE, "too many live lists are open; close one");
        return Ok(([(RETRY_AFTER, "10")], busy).into_response());
    };
    let mut follower =
        Follower { admin, request, list, known: HashMap::new(), looks: 0, _permit: permit };
    // At first every row is sent: the page may be older than the stream.
    let first = follower.look().await?;
    let events = stream::unfold((follower, Some(first)), |(mut follower, first)| async move {
        let text = match first {
            Some(text) => text,
            None => follower.next().await?,
        };
        Some((Ok::<_, Infallible>(text), (follower, None)))
    });
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (UNBUFFERED, HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::from_stream(events)).into_response())
}

impl Follower {
    /// The next events, as soon as there are any; none at the end.
    async fn next(&mut self) -> Option<String> {
        for _ in 0..QUIET {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = self.admin.bus.stop.cancelled() => return None,
            }
            self.looks += 1;
            if self.looks > LONGEST {
                return None;
            }
            match self.look().await {
                Ok(text) if text == ALIVE => {}
                Ok(text) => return Some(text),
                // The outbox is not there now: the browser comes again.
                Err(_) => return None,
            }
        }
        Some(ALIVE.to_owned())
    }

    /// The rows that are new or have changed, oldest first.
    async fn look(&mut self) -> Result<String, BusError> {
        let rows = match self.list {
            List::Events => events::live_rows(&self.admin, &self.request.query).await?,
            List::Attempts => attempts::live_rows(&self.admin, &self.request.query).await?,
        };
        let mut text = String::new();
        for LiveRow { id, version, row } in rows.iter().rev() {
            if self.known.get(id) != Some(version) {
                text.push_str(&event(&row.0));
            }
        }
        self.known = rows.into_iter().map(|row| (row.id, row.version)).collect();
        if text.is_empty() {
            text.push_str(ALIVE);
        }
        Ok(text)
    }
}

/// A comment, which tells that the stream is open.
const ALIVE: &str = ":\n\n";

fn event(row: &str) -> String {
    let mut text = String::from("event: rows\n");
    for line in row.split(['\n', '\r']) {
        text.push_str("data: ");
        text.push_str(line);
        text.push('\n');
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_several_lines_is_one_event() {
        assert_eq!(event("a\nb"), "event: rows\ndata: a\ndata: b\n\n");
    }
}
