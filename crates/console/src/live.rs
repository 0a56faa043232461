//! Live views: new and changed deliveries as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use contract::event::DeliveryId;
use futures_util::stream;
use http::HeaderMap;
use inbox::{Entry, Filter, Follower};
use server::problem::Problem;
use tokio::sync::OwnedSemaphorePermit;

use crate::access::SessionKey;
use crate::deliveries::{live_row, row_id};
use crate::visit::{Visit, now};
use crate::{Console, ConsoleState, filter};

/// The most live views at once.
pub(crate) const MOST_STREAMS: usize = 64;

/// Time between two looks at the inbox.
const INTERVAL: Duration = Duration::from_millis(200);

/// Time between two writes to a view for which there is nothing new.
const CHECK: Duration = Duration::from_secs(2);

/// The most deliveries since the page was made that a view catches up with.
const MOST_MISSED: DeliveryId = 500;

/// The stream of the deliveries that match the query: rows of the list's table.
pub(crate) async fn deliveries(
    State(console): ConsoleState,
    visit: Visit,
    headers: HeaderMap,
) -> Response {
    let Ok(permit) = Arc::clone(&console.streams).try_acquire_owned() else {
        return Problem::unavailable(Duration::from_secs(10))
            .detail("too many live views are open; close some")
            .into_response();
    };
    let filter = match filter::of(&visit, now(&console)) {
        Ok(filter) => filter,
        Err(error) => return crate::visit::Failure::from(error).show(&console, &visit).await,
    };
    let (ids, state) = (filter.ids.clone(), filter.state);
    let newest = console.parts.inbox.list(Filter { limit: Some(1), ..Filter::default() }).await;
    let newest = match newest {
        Ok(newest) => newest.first().map_or(0, |entry| entry.id),
        Err(error) => return crate::visit::Failure::from(error).show(&console, &visit).await,
    };
    // The page, or the stream that was interrupted, says where it ended.
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let begin: DeliveryId = last.or(visit.query.number("from").ok().flatten()).unwrap_or(newest);
    let begin = begin.clamp(newest.saturating_sub(MOST_MISSED), newest);
    // A delivery that changes its state leaves a list of states.
    let follower = Follower::new(begin).with_filter(Filter { state: None, ..filter });
    let view = View {
        console,
        follower,
        ids,
        state,
        session: visit.session,
        may_act: visit.may_act(),
        _permit: permit,
    };
    let events = stream::unfold((view, Vec::new()), next);
    // A browser that has gone is noticed by a write alone.
    Sse::new(events).keep_alive(KeepAlive::new().interval(CHECK)).into_response()
}

struct View {
    console: Arc<Console>,
    follower: Follower,
    /// The deliveries and the state that the list is limited to.
    ids: Vec<DeliveryId>,
    state: Option<inbox::State>,
    session: Option<SessionKey>,
    may_act: bool,
    _permit: OwnedSemaphorePermit,
}

/// The next event: a row that is left, or the first of the next look that finds any. Ends with the receiver or the session.
async fn next(
    (mut view, mut rows): (View, Vec<Entry>),
) -> Option<(Result<Event, Infallible>, (View, Vec<Entry>))> {
    while rows.is_empty() {
        let stop = view.console.parts.stop.clone();
        let is_over = tokio::time::timeout(INTERVAL, stop.cancelled()).await.is_ok();
        if is_over || !view.console.access.lasts(view.session) {
            return None;
        }
        // An inbox that is away for a while is asked again.
        rows = view.follower.next(view.console.parts.inbox.as_ref()).await.unwrap_or_default();
        rows.retain(|entry| view.ids.is_empty() || view.ids.contains(&entry.id));
        rows.reverse();
    }
    let entry = rows.pop()?;
    let event = Event::default().id(entry.id.to_string());
    let event = match view.state.is_none_or(|state| state == entry.state) {
        true => {
            let row = live_row(&entry, now(&view.console), view.may_act).replace('\n', " ");
            event.event("row").data(row)
        }
        // It has left the list.
        false => event.event("gone").data(row_id(entry.id)),
    };
    Some((Ok(event), (view, rows)))
}
