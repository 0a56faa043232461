//! A hook without a model, whose handler leaves the answer to the vendor.

use contract::catalog::Catalog;
use contract::event::Json;
use contract::hook::{Hook, HookCall, HookOutcome};
use utoipa::ToSchema;

use super::Context;

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new().hook(shipping)
}

/// The price of shipping is wanted. Source: clients' public code; the wire id is inferred from the class's name.
#[derive(Debug, ToSchema)]
pub struct GetShipping;

impl Hook for GetShipping {
    const ID: &'static str = "Orders.Shipping.GetShipping";
    const ALIASES: &'static [&'static str] = &["Shipping.GetShipping"];

    // Any JSON is taken, and handed on as it came.
    type Request = Json;
    type Response = Json;

    fn example() -> &'static str {
        r#"{"Items":[{"ChargeShipping":true,"ExtendedPrice":20.00}],"ShipMethodId":1}"#
    }

    fn example_response() -> &'static str {
        r#"{"ShippingAmount":4.95}"#
    }
}

async fn shipping(_: Context, call: HookCall<GetShipping>) -> HookOutcome<GetShipping> {
    Ok(call.callback.proceed(call.request).await?)
}
