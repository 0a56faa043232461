//! The checks that the façade offers to a fork's tests: the fixture passes them, and each finds what it is for.

use contract::catalog::Catalog;
use contract::event::{Delivery, Dialect, Event, Failure, Id, Outcome};
use contract::hook::{Hook, HookCall, HookOutcome, Script};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use vendors::directscale::hooks::autoship::{CancelAutoship, CreateAutoship};
use webhook_receiver::testing::violations;

async fn take<E: Event>(_: (), _: Delivery<E>) -> Outcome {
    Ok(())
}

async fn refuse<E: Event>(_: (), _: Delivery<E>) -> Outcome {
    Err(Failure::reject("not this one"))
}

/// The violations of a catalog with this event alone.
async fn of<E: Event>() -> Vec<String> {
    violations(Catalog::new().on(take::<E>), ()).await
}

/// Declares an event whose model has this example.
macro_rules! event {
    ($(#[$attribute:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $type:ty),* } $example:literal $($constant:item)*) => {
        $(#[$attribute])*
        #[derive(Deserialize, ToSchema)]
        #[serde(rename_all = "PascalCase")]
        #[allow(dead_code, reason = "only the model matters")]
        struct $name { $($(#[$doc])* $field: $type),* }

        impl Event for $name {
            const TYPE: &'static str = stringify!($name);
            $($constant)*

            fn example() -> &'static str {
                $example
            }
        }
    };
}

event! {
    /// A sound event.
    Sound {
        /// The number.
        order_id: Id,
        /// A note.
        note: Option<String>
    } r#"{"OrderId":1,"Note":"x"}"#
    const ENTITY: Option<&'static str> = Some("OrderId");
}
event! { /// Its field has no description.
Undescribed { note: Option<String> } r#"{"Note":"x"}"# }
event! { /// The model lacks a field of the example.
Incomplete { /// A note.
    note: Option<String> } r#"{"Note":"x","More":1}"# }
event! { /// The example is not the model.
Misfit { /// A count.
    count: i64 } r#"{"Count":"many"}"# }
event! { /// Its id is a number only.
Numbered { /// The number.
    order_id: i64 } r#"{"OrderId":1}"# }
event! { /// Its entity is no field.
Lost { /// A note.
    note: Option<String> } r#"{"Note":"x"}"#
const ENTITY: Option<&'static str> = Some("OrderId"); }
event! { /// Its example names another event.
Misnamed { /// The event's name.
    event_type: Option<String> } r#"{"EventType":"Other"}"# }

#[tokio::test]
async fn the_fixture_is_sound() {
    let found = violations(fixture::catalog(), fixture::Context::default()).await;
    assert_eq!(found, [""; 0], "{}", found.join("\n"));
    assert_eq!(of::<Sound>().await, [""; 0]);
}

#[tokio::test]
async fn each_fault_of_a_model_is_found() {
    for (found, expected) in [
        (of::<Undescribed>().await, "Undescribed.Note has no description"),
        (of::<Incomplete>().await, "does not know all of the example"),
        (of::<Misfit>().await, "the example is not the model"),
        (of::<Numbered>().await, "OrderId must take a number and a string"),
        (of::<Lost>().await, "ENTITY names \"OrderId\""),
        (of::<Misnamed>().await, "its example names the event \"Other\""),
    ] {
        assert!(
            found.iter().any(|violation| violation.contains(expected)),
            "{expected}: {found:?}"
        );
    }
}

#[tokio::test]
async fn a_handler_that_fails_on_its_own_example_is_found() {
    let found = violations(Catalog::new().on(refuse::<Sound>), ()).await;
    assert!(found[0].contains("its handler fails on the example"), "{found:?}");
}

#[tokio::test]
async fn two_handlers_of_one_event_are_found() {
    let found = violations(Catalog::new().on(take::<Sound>).on(refuse::<Sound>), ()).await;
    assert!(found.len() == 1 && found[0].contains("claimed twice"), "{found:?}");
}

#[tokio::test]
async fn one_schema_name_for_two_types_is_found() {
    mod other {
        /// Not the contract's.
        #[derive(serde::Deserialize, utoipa::ToSchema)]
        pub(super) struct Id {}

        /// An event with it.
        #[derive(serde::Deserialize, utoipa::ToSchema)]
        pub(super) struct OtherEvent {
            /// The other id.
            #[expect(dead_code, reason = "only its schema matters")]
            id: Option<Id>,
        }
    }
    impl Event for other::OtherEvent {
        const TYPE: &'static str = "OtherEvent";
        const DIALECT: Dialect = Dialect::Generic;

        fn example() -> &'static str {
            "{}"
        }
    }
    let both = Catalog::new().on(take::<Sound>).on(take::<other::OtherEvent>);
    let found = violations(both, ()).await;
    assert!(found.iter().any(|v| v.contains("two types are called Id")), "{found:?}");
}

/// A hook whose response loses what it does not know.
#[derive(Debug, ToSchema)]
struct Forgetful;

/// A request that keeps nothing but its note.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Forgotten {
    /// A part, whose unknown members are lost since it is not `Open`.
    part: Option<Part>,
}

/// A part.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Part {
    /// The number, which cannot be a string.
    part_id: Option<i64>,
}

impl Hook for Forgetful {
    const ID: &'static str = "Tests.Forgetful";
    type Request = Forgotten;
    type Response = Forgotten;

    fn example() -> &'static str {
        r#"{"Part":{"PartId":1}}"#
    }

    fn example_response() -> &'static str {
        r#"{"Part":{"PartId":1}}"#
    }
}

#[tokio::test]
async fn each_fault_of_a_hooks_model_is_found() {
    async fn proceed(_: (), call: HookCall<Forgetful>) -> HookOutcome<Forgetful> {
        Ok(call.callback.proceed(call.request).await?)
    }
    let found = violations(Catalog::new().hook(proceed), ()).await;
    for expected in ["are lost (use Open)", "PartId must take a number and a string"] {
        assert!(
            found.iter().any(|violation| violation.contains(expected)),
            "{expected}: {found:?}"
        );
    }
}

#[tokio::test]
async fn a_logic_may_answer_nothing_where_nothing_is_expected() {
    for nothing in ["", "null", "{}"] {
        let call = HookCall::<CancelAutoship>::example(Script::answers(nothing)).unwrap();
        let answer = call.callback.proceed(call.request).await.unwrap();
        assert_eq!(serde_json::to_string(&answer).unwrap(), "{}", "{nothing}");
    }
    let call = HookCall::<CreateAutoship>::example(Script::answers("")).unwrap();
    assert!(call.callback.proceed(call.request).await.is_err());
}
