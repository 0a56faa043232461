//! Hooks called while autoships are created, listed, changed and cancelled.

use tracing::info;
use webhook_receiver::vendors::directscale::hooks::autoship::{
    CancelAutoship, CreateAutoship, GetAutoships, UpdateAutoship,
};
use webhook_receiver::vendors::directscale::hooks::shared::EmptyResponse;
use webhook_receiver::{Catalog, HookCall, HookOutcome};

use super::Context;

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
    info!(associate.id = associate, "autoship kept until the associate has been called");
    Ok(EmptyResponse {}.into())
}
