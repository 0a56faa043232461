//! Events of the fork's own, deferred by a handler or a hook.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;

use super::cause;
use crate::event::{DecodeError, Delivery, Dialect, Environment, Event, Meta, uuid_of};

/// An event on its way to the inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeferredEvent {
    /// The run that defers it.
    pub cause: String,
    /// Its place among the events of its cause.
    pub number: u32,
    /// The source of the delivery or the call that defers it.
    pub source: String,
    /// The source's environment.
    pub environment: Environment,
    /// The sender's id for the client account; empty if there is none.
    pub client_id: String,
    /// The dialect of the event.
    pub dialect: Dialect,
    /// The event's name.
    pub event_type: String,
    /// The version of its model.
    pub version: u16,
    /// The event as JSON.
    pub body: Bytes,
}

impl DeferredEvent {
    /// The id under which the inbox knows it: the same whenever it is handed over again.
    pub fn message_id(&self) -> String {
        uuid_of(&["webhook-receiver deferred event", &self.cause, &self.number.to_string()])
    }

    /// The event, decoded as its model.
    ///
    /// # Errors
    /// [`DecodeError`] if it is another event.
    pub fn decode<E: Event>(&self) -> Result<E, DecodeError> {
        let meta = Meta::sample(self.dialect, &self.event_type, self.version);
        Ok(Delivery::new(meta, self.body.clone()).decode::<E>()?.payload)
    }

    fn is_a<E: Event>(&self) -> bool {
        let own = (self.dialect, self.event_type.as_str(), self.version);
        own == (E::DIALECT, E::TYPE, E::VERSION)
    }
}

/// The events of one type among deferred ones.
pub(super) fn of_type<E: Event>(events: &[DeferredEvent]) -> Vec<E> {
    let own = events.iter().filter(|event| event.is_a::<E>());
    own.filter_map(|event| event.decode().ok()).collect()
}

/// The reason why an event cannot be deferred.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeferError {
    /// The event cannot be written as JSON.
    #[error("the event cannot be written as JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// The JSON cannot be read back, as if `Serialize` and `Deserialize` name a field differently.
    #[error("the event's JSON is not its own model: {0}")]
    NotModel(#[from] DecodeError),
    /// The inbox does not take it now.
    #[error("the event is not in the inbox: {0}")]
    NotAccepted(String),
}

/// The cause of deferred events: a delivery's run, or a hook's call.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The name of the run or the call.
    pub cause: String,
    /// The source.
    pub source: String,
    /// The source's environment.
    pub environment: Environment,
    /// The sender's id for the client account; empty if there is none.
    pub client_id: String,
}

impl Origin {
    pub(super) fn of(meta: &Meta) -> Self {
        Origin {
            cause: cause(meta),
            source: meta.source.clone(),
            environment: meta.environment,
            client_id: meta.client_id.clone().unwrap_or_default(),
        }
    }

    pub(super) fn event<E: Event + Serialize>(
        &self,
        event: &E,
        number: u32,
    ) -> Result<DeferredEvent, DeferError> {
        let event = DeferredEvent {
            cause: self.cause.clone(),
            number,
            source: self.source.clone(),
            environment: self.environment,
            client_id: self.client_id.clone(),
            dialect: E::DIALECT,
            event_type: E::TYPE.to_owned(),
            version: E::VERSION,
            body: serde_json::to_vec(event)?.into(),
        };
        event.decode::<E>()?;
        Ok(event)
    }
}

/// The inbox, for deferred events.
#[async_trait]
pub trait Acceptor: Send + Sync + 'static {
    /// Makes the event a delivery. Once this returns, it is durable; one that the inbox knows is no error.
    async fn accept(&self, event: DeferredEvent) -> anyhow::Result<()>;
}

/// Keeps what is deferred, for tests.
#[derive(Default)]
pub(super) struct Recorder(pub(super) Mutex<Vec<DeferredEvent>>);

impl Recorder {
    pub(super) fn events(&self) -> Vec<DeferredEvent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Acceptor for Recorder {
    async fn accept(&self, event: DeferredEvent) -> anyhow::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        Ok(())
    }
}

/// Defers events of a hook's call: work that its caller does not wait for.
#[derive(Clone)]
pub struct Deferrer {
    acceptor: Arc<dyn Acceptor>,
    origin: Origin,
    /// The number of events so far.
    count: Arc<Mutex<u32>>,
    recorder: Option<Arc<Recorder>>,
}

impl Deferrer {
    /// A deferrer to an inbox.
    pub fn new(acceptor: Arc<dyn Acceptor>, origin: Origin) -> Self {
        Deferrer { acceptor, origin, count: Arc::default(), recorder: None }
    }

    /// A deferrer that keeps the events, for tests.
    pub(crate) fn recording(source: &str, environment: Environment) -> Self {
        let recorder = Arc::<Recorder>::default();
        let origin = Origin {
            cause: "sample".into(),
            source: source.into(),
            environment,
            client_id: String::new(),
        };
        Deferrer { recorder: Some(Arc::clone(&recorder)), ..Deferrer::new(recorder, origin) }
    }

    /// Makes an event of the fork's own a delivery, which is handled like any other: in the order of its entity, with retries,
    /// in the inbox. Once this returns, it is durable.
    ///
    /// # Errors
    /// [`DeferError`] if the event's JSON is not its own model, or the inbox does not take it now. Through `?` the call fails.
    pub async fn defer<E: Event + Serialize>(&self, event: E) -> Result<(), DeferError> {
        let number = {
            let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
            *count += 1;
            *count - 1
        };
        let event = self.origin.event(&event, number)?;
        let accepted = self.acceptor.accept(event).await;
        accepted.map_err(|error| DeferError::NotAccepted(format!("{error:#}")))
    }

    /// The events of one type that a test's call has deferred.
    pub fn deferred<E: Event>(&self) -> Vec<E> {
        of_type(&self.recorder.as_ref().map(|recorder| recorder.events()).unwrap_or_default())
    }
}

impl fmt::Debug for Deferrer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Deferrer")
    }
}
