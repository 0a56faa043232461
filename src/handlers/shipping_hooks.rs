//! A hook without a model, from declaration to test: what a fork copies for one that nobody has described.
//!
//! Copy the file, rename it, and add two lines to `handlers/mod.rs`: `pub mod …;` and `.merge(…)`.

use serde::Deserialize;
use tracing::info;
use utoipa::ToSchema;
use webhook_receiver::{Catalog, Hook, HookCall, HookOutcome, Id, Json};

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

/// The one member that the handler looks at.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ShippingMethod {
    ship_method_id: Option<Id>,
}

async fn shipping(_: Context, call: HookCall<GetShipping>) -> HookOutcome<GetShipping> {
    let asked = call.request.read::<ShippingMethod>().ok();
    let method = asked.and_then(|asked| asked.ship_method_id).map(|id| id.to_string());
    info!(hook.id = GetShipping::ID, ship.method = method, "hook left to the vendor");
    Ok(call.callback.proceed(call.request).await?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use webhook_receiver::Script;

    use super::*;

    #[tokio::test]
    async fn any_json_is_handed_on_as_it_came() {
        for json in [GetShipping::example(), r#"{"ShipMethodId":null,"New":1.50}"#, "[]", "null"] {
            let vendor = Script::answers(GetShipping::example_response());
            let call = HookCall::sample(json, vendor.clone()).unwrap();
            let answer = shipping(Context::default(), call).await.unwrap();
            assert_eq!(answer.get(), GetShipping::example_response());
            assert_eq!(vendor.asked().unwrap(), json);
        }
    }

    /// Changes one member of a response: the others stay as they came, digit for digit.
    async fn free(call: HookCall<GetShipping>) -> HookOutcome<GetShipping> {
        let answer = call.callback.proceed(call.request).await?;
        let mut members: BTreeMap<String, Json> = answer.read()?;
        members.insert("ShippingAmount".into(), Json::of(&0)?);
        Ok(Json::of(&members)?.into())
    }

    #[tokio::test]
    async fn one_member_is_changed_and_the_others_stay() {
        let vendor = Script::answers(r#"{"ShippingAmount":4.95,"Tax":1.50}"#);
        let call = HookCall::example(vendor).unwrap();
        let answer = free(call).await.unwrap();
        assert_eq!(answer.get(), r#"{"ShippingAmount":0,"Tax":1.50}"#);
    }
}
