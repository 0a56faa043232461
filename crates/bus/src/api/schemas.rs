//! Schemas that are not those of one type: a subscription to create and its change, and publications in lists.

use contract::time::Timestamp;
use settings::{FaultsConfig, SubscriptionConfig};
use utoipa::openapi::schema::{
    AnyOfBuilder, ArrayBuilder, Object, ObjectBuilder, OneOfBuilder, Ref, SchemaType, Type,
};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::super::publication::{Publication, PublishReceipt};
use super::super::retry_policy::RETRY_POLICIES;
use super::BATCH;

/// The members of a definition without which there is no subscription.
const REQUIRED: [&str; 3] = ["name", "events", "target"];

/// The body of a publication.
pub(super) struct Publications;

impl PartialSchema for Publications {
    fn schema() -> RefOr<Schema> {
        one_or_list::<Publication>("One event, or a list of events.")
    }
}

impl ToSchema for Publications {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        add::<Publication>(schemas);
    }
}

/// The answer to a publication.
pub(super) struct PublishReceipts;

impl PartialSchema for PublishReceipts {
    fn schema() -> RefOr<Schema> {
        one_or_list::<PublishReceipt>("One receipt, or a list of them for a list of events.")
    }
}

impl ToSchema for PublishReceipts {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        add::<PublishReceipt>(schemas);
    }
}

/// The deliveries to send again: those of one attempt, of one event, or those that were given up.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is there for the document; ResendSelection is what is read")]
pub(super) enum Selection {
    Attempt(AttemptSelection),
    Event(EventSelection),
    Failed(FailedSelection),
}

/// The delivery of one attempt.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "it is there for the document")]
pub(super) struct AttemptSelection {
    /// The number of the attempt.
    attempt: i64,
}

/// All deliveries of one event.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "it is there for the document")]
pub(super) struct EventSelection {
    /// The id of the event.
    event: String,
}

/// The deliveries that were given up.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "it is there for the document")]
pub(super) struct FailedSelection {
    /// The subscription and the period.
    failed: FailedPeriod,
}

/// A subscription and a period.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "it is there for the document")]
pub(super) struct FailedPeriod {
    /// The name of the subscription; any if it is missing.
    subscription: Option<String>,
    /// The earliest time at which the delivery was given up.
    #[schema(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// The time before which the delivery was given up.
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
}

/// A subscription to create.
pub(super) struct NewSubscription;

impl PartialSchema for NewSubscription {
    fn schema() -> RefOr<Schema> {
        let mut new = definition();
        let members = std::mem::take(&mut new.properties);
        new.properties.insert("name".into(), name().into());
        new.properties.extend(members);
        for name in REQUIRED {
            let member = new.properties.get_mut(name);
            member.into_iter().for_each(without_default);
        }
        new.required = REQUIRED.map(str::to_owned).into();
        new.description = Some("A subscription to create. Secrets are write-only.".into());
        new.example = Some(serde_json::json!({
            "name": "warehouse",
            "events": ["OrderEvent"],
            "target": "https://example.com/webhooks/",
        }));
        new.into()
    }
}

impl ToSchema for NewSubscription {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        SubscriptionConfig::schemas(schemas);
    }
}

/// A change of a subscription.
pub(super) struct SubscriptionChange;

impl PartialSchema for SubscriptionChange {
    fn schema() -> RefOr<Schema> {
        let mut change = patch_of(definition());
        change.properties.insert("faults".into(), nullable(FaultsChange::reference()));
        change.description = Some(
            "The members to change, as a merge patch (RFC 7396): null resets a member to its default.".into(),
        );
        change.example = Some(serde_json::json!({"description": "The warehouse", "timeout": null}));
        change.into()
    }
}

impl ToSchema for SubscriptionChange {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        SubscriptionConfig::schemas(schemas);
        add::<FaultsChange>(schemas);
    }
}

/// A change of a subscription's faults.
struct FaultsChange;

impl FaultsChange {
    fn reference() -> RefOr<Schema> {
        Ref::from_schema_name(Self::name()).into()
    }
}

impl PartialSchema for FaultsChange {
    fn schema() -> RefOr<Schema> {
        patch_of(object(FaultsConfig::schema())).into()
    }
}

impl ToSchema for FaultsChange {}

fn add<T: ToSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}

fn one_or_list<T: ToSchema>(description: &str) -> RefOr<Schema> {
    let one = || Ref::from_schema_name(T::name());
    let list = ArrayBuilder::new().items(one()).min_items(Some(1)).max_items(Some(BATCH));
    OneOfBuilder::new().description(Some(description)).item(one()).item(list).into()
}

/// The schema of a definition in the settings, and what only the bus knows of it.
fn definition() -> Object {
    let mut definition = object(SubscriptionConfig::schema());
    definition.properties.insert("events".into(), events());
    definition.properties.insert("retries".into(), retries());
    definition
}

fn name() -> Object {
    text("The name: letters, digits and `- . _`. It cannot be changed later.")
        .min_length(Some(1))
        .max_length(Some(100))
        .pattern(Some("^[A-Za-z0-9][A-Za-z0-9._-]*$"))
        .examples(["warehouse"])
        .build()
}

fn events() -> RefOr<Schema> {
    let pattern = || ObjectBuilder::new().schema_type(Type::String).pattern(Some(r"\S")).build();
    AnyOfBuilder::new()
        .description(Some("The event names; `*` matches any text, and case is ignored. One may be given without a list."))
        .item(ArrayBuilder::new().items(pattern()).min_items(Some(1)))
        .item(pattern())
        .into()
}

fn retries() -> RefOr<Schema> {
    let names = RETRY_POLICIES.iter().map(|row| row.name);
    let known = text("The policy of a known sender.").enum_values(Some(names)).build();
    let own = text(
        "Delays such as `10s, 5m, 1h`, at most 100 of them and none longer than 30 days.",
    )
    .pattern(Some(
        r"^\d+ ?(ms|s|m|h|d)( \d+ ?(ms|s|m|h|d))*(, ?\d+ ?(ms|s|m|h|d)( \d+ ?(ms|s|m|h|d))*)*$",
    ))
    .build();
    AnyOfBuilder::new()
        .description(Some("The retry policy; absent for the dialect's."))
        .item(known)
        .item(own)
        .item(Object::with_type(Type::Null))
        .into()
}

fn text(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(description))
}

/// The schema of a merge patch: every member may be left out, or be null.
fn patch_of(mut object: Object) -> Object {
    for member in object.properties.values_mut() {
        without_default(member);
        *member = nullable(std::mem::take(member));
    }
    object.required.clear();
    object
}

fn without_default(schema: &mut RefOr<Schema>) {
    match schema {
        RefOr::T(Schema::Object(object)) => object.default = None,
        RefOr::T(Schema::Array(array)) => array.default = None,
        RefOr::Ref(reference) => reference.default = None,
        _ => {}
    }
}

fn nullable(schema: RefOr<Schema>) -> RefOr<Schema> {
    match schema {
        RefOr::T(Schema::Object(mut object)) => {
            object.schema_type = or_null(object.schema_type);
            if let Some(values) = &mut object.enum_values {
                values.push(serde_json::Value::Null);
            }
            object.into()
        }
        RefOr::T(Schema::AnyOf(mut any_of)) => {
            let null: RefOr<Schema> = Object::with_type(Type::Null).into();
            if !any_of.items.contains(&null) {
                any_of.items.push(null);
            }
            Schema::AnyOf(any_of).into()
        }
        other => AnyOfBuilder::new().item(other).item(Object::with_type(Type::Null)).into(),
    }
}

fn or_null(types: SchemaType) -> SchemaType {
    match types {
        SchemaType::Type(one) => SchemaType::from_iter([one, Type::Null]),
        SchemaType::Array(types) if !types.contains(&Type::Null) => {
            SchemaType::from_iter(types.into_iter().chain([Type::Null]))
        }
        other => other,
    }
}

/// The schema of a struct.
fn object(schema: RefOr<Schema>) -> Object {
    match schema {
        RefOr::T(Schema::Object(object)) => object,
        _ => Object::default(),
    }
}
