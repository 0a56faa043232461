//! The route of a delivery: its event in the catalog, and its order.

use std::sync::Arc;

use async_trait::async_trait;
use contract::canary::CANARY;
use contract::catalog::Table;
use contract::effect::{Acceptor, DeferredEvent};
use inbox::{AcceptOutcome, Deliveries, Route};
use source::{Refusal, Verified};
use tracing::warn;

/// Routes a delivery by the event that it declares, if the catalog knows it; otherwise by the event in the path. A delivery
/// with the canary mark is a canary, whatever the path names.
///
/// # Errors
/// If it is not what the event's model can be read from.
pub(crate) fn route(
    catalog: &Table,
    version: u16,
    path: &str,
    delivery: &Verified,
) -> Result<Route, Refusal> {
    let dialect = delivery.source.dialect;
    let declared = delivery.event_type.as_deref();
    if declared.unwrap_or(path) == CANARY || delivery.canary().is_some() {
        let event_type = CANARY.to_owned();
        return Ok(Route { event_type, version, handled: false, ordering_key: None });
    }
    let row = declared
        .and_then(|declared| catalog.event(dialect, version, declared))
        .or_else(|| catalog.event(dialect, version, path));
    let Some(row) = row else {
        let event_type = declared.unwrap_or(path).to_owned();
        return Ok(Route { event_type, version, handled: false, ordering_key: None });
    };
    if row.needs_object && !delivery.is_object {
        return Err(Refusal::NotObject(row.name.to_owned()));
    }
    let entity = row.entity.and_then(|field| Some((field, delivery.field(field)?)));
    Ok(Route {
        event_type: row.name.to_owned(),
        version,
        handled: true,
        ordering_key: entity.map(|(field, value)| ordering_key(delivery, field, &value)),
    })
}

/// Ordering key: one entity of one source, since live and stage use the same numbers for different orders.
fn ordering_key(delivery: &Verified, field: &str, value: &str) -> String {
    format!("{} {field}={value}", delivery.source.name)
}

/// The way of deferred events into the inbox.
pub(crate) struct Deferrals {
    inbox: Arc<dyn Deliveries>,
    catalog: Arc<Table>,
}

impl Deferrals {
    pub(crate) fn new(inbox: Arc<dyn Deliveries>, catalog: Arc<Table>) -> Arc<Self> {
        Arc::new(Deferrals { inbox, catalog })
    }
}

#[async_trait]
impl Acceptor for Deferrals {
    async fn accept(&self, event: DeferredEvent) -> anyhow::Result<()> {
        let version = event.version;
        let delivery = Verified::deferred(event);
        let route = route(&self.catalog, version, "", &delivery)?;
        if !route.handled {
            warn!(
                event.r#type = route.event_type,
                "deferred, but no handler takes it: register one with `.on` or `.once`, and replay it"
            );
        }
        let receipt = self.inbox.accept(delivery, route).await?;
        if receipt.outcome == AcceptOutcome::Conflict {
            warn!(
                delivery.id = receipt.id,
                message.id = receipt.message_id,
                "the id of a deferred event is known with other bytes; the first ones are kept"
            );
        }
        Ok(())
    }
}
