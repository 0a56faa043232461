//! What is called while autoships are created, listed, changed and cancelled.

use tracing::info;

use super::Context;
use crate::catalog::Catalog;
use crate::hook::{HookCall, HookOutcome};
use crate::hooks::directscale::autoship::{
    CancelAutoship, CreateAutoship, GetAutoships, UpdateAutoship,
};
use crate::hooks::directscale::shared::EmptyResponse;

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new().hook(create).hook(list).hook(cancel).unhandled::<UpdateAutoship>()
}

/// Before: change the request, proceed, return.
async fn create(_: Context, mut call: HookCall<CreateAutoship>) -> HookOutcome<CreateAutoship> {
    let custom = call.request.autoship_info.custom.get_or_insert_default();
    custom.field1 = Some("This message was added from the CreateAutoshipHook".into());
    Ok(call.callback.proceed(call.request).await?)
}

/// After: proceed, change the response, return.
async fn list(_: Context, call: HookCall<GetAutoships>) -> HookOutcome<GetAutoships> {
    let mut response = call.callback.proceed(call.request).await?;
    response.autoships.iter_mut().flatten().for_each(|it| it.payment_method_id = None);
    Ok(response)
}

/// Override: never proceed, so that the vendor's own logic does not run.
async fn cancel(_: Context, call: HookCall<CancelAutoship>) -> HookOutcome<CancelAutoship> {
    let associate = call.request.autoship_info.associate_id.as_ref().map(ToString::to_string);
    info!(associate.id = associate, "to be called before the autoship ends");
    Ok(EmptyResponse {}.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::Script;

    #[tokio::test]
    async fn the_first_custom_field_is_set_before_the_vendor_creates() {
        let vendor = Script::answers(r#"{"AutoshipId":1}"#);
        let call = HookCall::example(vendor.clone()).unwrap();
        let response = create(Context::default(), call).await.unwrap();
        assert_eq!(response.autoship_id.as_i64(), Some(1));
        let asked = String::from_utf8(vendor.asked().unwrap().to_vec()).unwrap();
        assert!(asked.contains(r#""Field1":"This message was added"#), "{asked}");
    }

    #[tokio::test]
    async fn how_it_is_paid_is_not_listed() {
        let vendor = Script::answers(r#"{"Autoships":[{"PaymentMethodId":"_TESTCARD_1"}]}"#);
        let call = HookCall::example(vendor).unwrap();
        let response = list(Context::default(), call).await.unwrap();
        assert_eq!(response.autoships.as_ref().unwrap()[0].payment_method_id, None);
    }

    #[tokio::test]
    async fn the_vendor_does_not_cancel() {
        let vendor = Script::answers("{}");
        let call = HookCall::example(vendor.clone()).unwrap();
        assert!(cancel(Context::default(), call).await.is_ok());
        assert_eq!(vendor.asked(), None);
    }
}
