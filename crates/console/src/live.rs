//! Live views: new and changed deliveries as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use inbox::{Entry, Filter, Follower};
use server::problem::Problem;
use tokio::sync::OwnedSemaphorePermit;

use crate::deliveries::live_row;
use crate::visit::{Visit, now};
use crate::{Console, ConsoleState, filter};

/// The most live views at once.
pub(crate) const MOST_STREAMS: usize = 64;

/// Time between two looks at the inbox.
const INTERVAL: Duration = Duration::from_millis(200);

/// Time between two writes to a view for which there is nothing new.
const CHECK: Duration = Duration::from_secs(2);

/// The most rows that one look sends: more cannot be read anyway.
const MOST_ROWS: usize = 50;

/// The stream of the deliveries that match the query: rows of the list's table.
pub(crate) async fn deliveries(State(console): ConsoleState, visit: Visit) -> Response {
    let Ok(permit) = Arc::clone(&console.streams).try_acquire_owned() else {
        return Problem::unavailable(Duration::from_secs(10))
            .detail("too many live views are open; close some")
            .into_response();
    };
    let filter = match filter::read(&visit.query, now(&console)) {
        Ok(filter) => filter,
        Err(error) => return crate::visit::Failure::from(error).show(&console, &visit).await,
    };
    let newest = console.parts.inbox.list(Filter { limit: Some(1), ..Filter::default() }).await;
    let newest = match newest {
        Ok(newest) => newest.first().map_or(0, |entry| entry.id),
        Err(error) => return crate::visit::Failure::from(error).show(&console, &visit).await,
    };
    let follower = Follower::new(newest).with_filter(filter);
    let view = View { console, follower, may_act: visit.may_act(), _permit: permit };
    let events = stream::unfold((view, Vec::new()), next);
    // A browser that has gone is noticed by a write alone.
    Sse::new(events).keep_alive(KeepAlive::new().interval(CHECK)).into_response()
}

struct View {
    console: Arc<Console>,
    follower: Follower,
    may_act: bool,
    _permit: OwnedSemaphorePermit,
}

/// The next event: a row that is left, or the first of the next look that finds any. Ends with the receiver.
async fn next(
    (mut view, mut rows): (View, Vec<Entry>),
) -> Option<(Result<Event, Infallible>, (View, Vec<Entry>))> {
    while rows.is_empty() {
        let stop = view.console.parts.stop.clone();
        if tokio::time::timeout(INTERVAL, stop.cancelled()).await.is_ok() {
            return None;
        }
        // An inbox that is away for a while is asked again.
        rows = view.follower.next(view.console.parts.inbox.as_ref()).await.unwrap_or_default();
        let surplus = rows.len().saturating_sub(MOST_ROWS);
        rows.drain(..surplus);
        rows.reverse();
    }
    let entry = rows.pop()?;
    let row = live_row(&entry, now(&view.console), view.may_act).replace('\n', " ");
    Some((Ok(Event::default().event("row").id(entry.id.to_string()).data(row)), (view, rows)))
}
