//! Handlers and hooks that call the vendor's services, from the context to the unit test: what a fork copies.

use std::process::ExitCode;

use serde::Serialize;
use webhook_receiver::vendors::directscale::hooks::autoship::CreateAutoship;
use webhook_receiver::vendors::directscale::order::OrderEvent;
use webhook_receiver::{
    App, Catalog, Delivery, ExtensionApi, ExtensionScript, HookCall, HookOutcome, Id, Json,
    Outcome, Setup,
};

fn main() -> ExitCode {
    webhook_receiver::main(App::new(catalog(), Context::connect))
}

#[derive(Clone)]
struct Context {
    extension: ExtensionApi,
}

impl Context {
    /// Fails, and names the line to write, if `[sources.directscale.hooks]` has no `callback_url` or no key.
    async fn connect(setup: Setup) -> anyhow::Result<Self> {
        Ok(Context { extension: setup.extension_api("directscale")? })
    }
}

/// What tests give to handlers: services that answer `{}`.
impl Default for Context {
    fn default() -> Self {
        Context { extension: ExtensionScript::answers("{}").api() }
    }
}

fn catalog() -> Catalog<Context> {
    Catalog::new().on(placed).hook(create)
}

/// The request of `AssociateService.GetAssociate`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GetAssociate<'o> {
    associate_id: &'o Id,
}

/// Looks an associate up, which may be repeated, and posts an event, which may not.
async fn placed(cx: Context, order: Delivery<OrderEvent>) -> Outcome {
    let Some(associate_id) = &order.distributor_id else { return Ok(()) };
    let body = GetAssociate { associate_id };
    let call = cx.extension.call_idempotent::<Json>("AssociateService", "GetAssociate", &body);
    let associate = call.await?;
    cx.extension.post_event("AssociateOrderedEvent", &*associate).await?;
    Ok(())
}

/// Leaves slow work to the handler of an event, so that the vendor need not wait for it.
async fn create(cx: Context, call: HookCall<CreateAutoship>) -> HookOutcome<CreateAutoship> {
    let extension = cx.extension.time_limit(call.meta.time_left() / 2);
    extension.post_event("AutoshipWantedEvent", &call.request).await?;
    Ok(call.callback.proceed(call.request).await?)
}

#[cfg(test)]
mod tests {
    use webhook_receiver::{ExtensionCause, Failure, Script};

    use super::*;

    fn order() -> Delivery<OrderEvent> {
        Delivery::example().expect("the example fits the model")
    }

    #[tokio::test]
    async fn an_event_is_posted_with_the_associate_digit_for_digit() {
        let script = ExtensionScript::answers(r#"{"AssociateId":2,"Balance":1.50}"#);
        placed(Context { extension: script.api() }, order()).await.expect("it succeeds");
        let asked = script.asked();
        assert_eq!(asked[0].method, "GetAssociate");
        let posted = String::from_utf8_lossy(&asked[1].body);
        assert!(posted.contains(r#""Balance":1.50"#), "{posted}");
    }

    #[tokio::test]
    async fn an_unknown_associate_is_rejected() {
        let script = ExtensionScript::fails(ExtensionCause::status(404, "no associate"));
        let failure = placed(Context { extension: script.api() }, order()).await.unwrap_err();
        assert!(matches!(failure, Failure::Reject { .. }), "{failure:?}");
        assert_eq!(script.asked().len(), 1);
    }

    #[tokio::test]
    async fn a_hook_posts_its_event_and_proceeds() {
        let vendor = Script::answers(r#"{"AutoshipId":7}"#);
        let call = HookCall::example(vendor.clone()).expect("the example fits the model");
        create(Context::default(), call).await.expect("it succeeds");
        assert!(vendor.asked().is_some());
    }
}
