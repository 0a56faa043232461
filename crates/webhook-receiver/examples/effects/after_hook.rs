//! A hook that leaves a call of a third party to an event's handler, from the hook to the unit test: what a fork copies.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use webhook_receiver::vendors::directscale::hooks::order::FinalizeAcceptedOrder;
use webhook_receiver::{Catalog, Delivery, Event, HookCall, HookOutcome, Id, Outcome};

/// The context of every handler.
#[derive(Debug, Clone, Default)]
pub struct Context {}

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new().hook(finalized).on(tell)
}

/// A carrier is to be told of an order. This program's own event.
#[derive(Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct TellCarrierEvent {
    /// The number of the order.
    pub order_number: Id,
}

impl Event for TellCarrierEvent {
    const TYPE: &'static str = "TellCarrierEvent";
    const ENTITY: Option<&'static str> = Some("OrderNumber");

    fn example() -> &'static str {
        r#"{"OrderNumber":1}"#
    }
}

/// After: the vendor's own logic finalises the order, and then the carrier is to be told.
async fn finalized(
    _: Context,
    call: HookCall<FinalizeAcceptedOrder>,
) -> HookOutcome<FinalizeAcceptedOrder> {
    let order_number = call.request.order.order_number.clone();
    let response = call.callback.proceed(call.request).await?;
    if let Some(order_number) = order_number {
        call.deferrer.defer(TellCarrierEvent { order_number }).await?;
    }
    Ok(response)
}

/// Tells the carrier, with retries for three days. The vendor does not wait for it.
async fn tell(_: Context, order: Delivery<TellCarrierEvent>) -> Outcome {
    let key = order.meta.effect_key("carrier");
    post("https://carrier.example/orders", &key, order.raw()).await?;
    Ok(())
}

/// Stands for a request through an HTTP client of yours.
async fn post(_url: &str, _idempotency_key: &str, _body: &[u8]) -> anyhow::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use webhook_receiver::{CallbackError, Hook, Script};

    use super::*;

    #[tokio::test]
    async fn the_carrier_is_told_after_the_vendors_logic_has_run() {
        let vendor = Script::answers(FinalizeAcceptedOrder::example_response());
        let call = HookCall::<FinalizeAcceptedOrder>::example(vendor.clone()).unwrap();
        let deferrer = call.deferrer.clone();
        finalized(Context::default(), call).await.unwrap();
        assert!(vendor.asked().is_some());
        assert_eq!(deferrer.deferred::<TellCarrierEvent>().len(), 1);
    }

    #[tokio::test]
    async fn nobody_is_told_of_an_order_that_the_vendor_has_not_finalised() {
        let call = HookCall::example(Script::fails(CallbackError::TimedOut)).unwrap();
        let deferrer = call.deferrer.clone();
        assert!(finalized(Context::default(), call).await.is_err());
        assert_eq!(deferrer.deferred::<TellCarrierEvent>(), []);
    }
}
