//! Live views: new and changed deliveries as server-sent events. Views with the same filter share one look at the inbox.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use contract::event::DeliveryId;
use futures_util::stream;
use http::HeaderMap;
use inbox::{Entry, Filter, Follower};
use server::problem::Problem;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast};

use crate::access::SessionKey;
use crate::deliveries::{live_row, row_id};
use crate::visit::{Failure, Visit, now};
use crate::{Console, ConsoleState, filter};

/// The most live views at once.
pub(crate) const MOST_STREAMS: usize = 64;

/// Time between two looks at the inbox.
const INTERVAL: Duration = Duration::from_millis(200);

/// Time between two writes to a view for which there is nothing new.
const CHECK: Duration = Duration::from_secs(2);

/// The most rows that a look shows: nobody reads more. And of how many new deliveries the matching ones are looked for.
const SHOWN: usize = 25;
const LOOKED_AT: usize = 1_000;

/// Looks that a view may be behind. It misses those before.
const KEPT_LOOKS: usize = 16;

/// What a look finds: the rows of a table, or the deliveries that have left it.
type Events = Vec<Event>;

/// What views look at. Those with the same subject look together.
#[derive(Debug, Clone, PartialEq)]
struct Subject {
    filter: Filter,
    /// Rows of an operator have buttons.
    may_act: bool,
}

impl Subject {
    fn matches(&self, entry: &Entry) -> bool {
        (self.filter.ids.is_empty() || self.filter.ids.contains(&entry.id))
            && self.filter.state.is_none_or(|state| state == entry.state)
    }

    fn follower(&self, begin: DeliveryId) -> Follower {
        let is_any = self.filter == Filter::default();
        // A delivery that changes its state leaves a list of states.
        Follower::new(begin)
            .with_filter(Filter { state: None, ..self.filter.clone() })
            .newest_only(if is_any { SHOWN } else { LOOKED_AT })
    }
}

/// The looks that are shared at the moment.
#[derive(Default)]
pub(crate) struct Looks(Mutex<Vec<(Subject, broadcast::Sender<Arc<Events>>)>>);

impl Looks {
    /// Joins the looks at a subject, or begins them after this delivery.
    fn join(
        console: &Arc<Console>,
        subject: Subject,
        begin: DeliveryId,
    ) -> broadcast::Receiver<Arc<Events>> {
        let mut looks = console.looks.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, sender)) = looks.iter().find(|(own, _)| *own == subject) {
            return sender.subscribe();
        }
        let (sender, receiver) = broadcast::channel(KEPT_LOOKS);
        looks.push((subject.clone(), sender.clone()));
        tokio::spawn(look(Arc::clone(console), subject, begin, sender));
        receiver
    }

    /// Ends the looks at a subject unless a view is left.
    fn leave(&self, subject: &Subject) -> bool {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looks.retain(|(own, sender)| own != subject || sender.receiver_count() > 0);
        !looks.iter().any(|(own, _)| own == subject)
    }
}

/// Looks at the inbox for as long as a view is left.
async fn look(
    console: Arc<Console>,
    subject: Subject,
    begin: DeliveryId,
    views: broadcast::Sender<Arc<Events>>,
) {
    let mut follower = subject.follower(begin);
    let mut shown = BTreeSet::new();
    while !console.looks.leave(&subject) {
        tokio::time::sleep(INTERVAL).await;
        // An inbox that is away for a while is asked again.
        let found = follower.next(console.parts.inbox.as_ref()).await.unwrap_or_default();
        let events = events(&console, &subject, &mut shown, &found);
        if !events.is_empty() {
            let _ = views.send(Arc::new(events));
        }
    }
}

/// The newest rows, and what has left the list of those that were shown before.
fn events(
    console: &Console,
    subject: &Subject,
    shown: &mut BTreeSet<DeliveryId>,
    found: &[Entry],
) -> Events {
    let (rows, others): (Vec<&Entry>, Vec<&Entry>) =
        found.iter().partition(|entry| subject.matches(entry));
    let gone = others.into_iter().filter(|entry| shown.remove(&entry.id));
    let mut events: Events =
        gone.map(|entry| Event::default().event("gone").data(row_id(entry.id))).collect();
    let rows = &rows[rows.len().saturating_sub(SHOWN)..];
    if let Some(newest) = rows.last() {
        let html: String =
            rows.iter().map(|entry| live_row(entry, now(console), subject.may_act)).collect();
        let event = Event::default().event("rows").id(newest.id.to_string());
        events.push(event.data(html.replace(['\n', '\r'], " ")));
    }
    shown.extend(rows.iter().map(|entry| entry.id));
    while shown.len() > LOOKED_AT {
        shown.pop_first();
    }
    events
}

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
    let opened = async {
        let filter = filter::of(&visit, now(&console))?;
        let newest = Filter { limit: Some(1), ..Filter::default() };
        let newest = console.parts.inbox.list(newest).await?.first().map_or(0, |entry| entry.id);
        // The page, or the stream that was interrupted, says where it ended.
        let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
        let begin = last.or(visit.query.number("from").ok().flatten()).unwrap_or(newest);
        let begin: DeliveryId = begin.clamp(0, newest);
        // What arrives is newer than any past time.
        let since = filter.since.filter(|since| *since > now(&console));
        let subject =
            Subject { filter: Filter { since, limit: None, ..filter }, may_act: visit.may_act() };
        let looks = Looks::join(&console, subject.clone(), newest);
        let mut missed = subject.follower(begin);
        let missed = missed.next(console.parts.inbox.as_ref()).await?;
        let first = events(&console, &subject, &mut BTreeSet::new(), &missed);
        Ok::<_, Failure>((looks, first))
    };
    let (looks, first) = match opened.await {
        Ok(opened) => opened,
        Err(error) => return error.show(&console, &visit).await,
    };
    let view = View { console, looks, ready: first, session: visit.session, _permit: permit };
    // A browser that has gone is noticed by a write alone.
    let events = Sse::new(stream::unfold(view, next));
    events.keep_alive(KeepAlive::new().interval(CHECK)).into_response()
}

struct View {
    console: Arc<Console>,
    looks: broadcast::Receiver<Arc<Events>>,
    /// Events to be sent, the last first.
    ready: Events,
    session: Option<SessionKey>,
    _permit: OwnedSemaphorePermit,
}

/// The next event. Ends with the receiver or the session.
async fn next(mut view: View) -> Option<(Result<Event, Infallible>, View)> {
    loop {
        if let Some(event) = view.ready.pop() {
            return Some((Ok(event), view));
        }
        if !view.console.access.lasts(view.session) {
            return None;
        }
        tokio::select! {
            () = view.console.parts.stop.cancelled() => return None,
            look = tokio::time::timeout(CHECK, view.looks.recv()) => match look {
                Ok(Ok(events)) => view.ready = events.iter().rev().cloned().collect(),
                Ok(Err(RecvError::Closed)) => return None,
                Ok(Err(RecvError::Lagged(_))) | Err(_) => {}
            }
        }
    }
}
