//! The filter flags of `inbox` and `tail`.

use contract::event::{DeliveryId, Environment};
use contract::time::Timestamp;
use inbox::{BodyTest, Filter, State};
use serde::{Serialize, Serializer};
use text::json::Pointer;

use crate::commands::browse::parse_time;

/// The filter arguments; all conditions must hold.
#[derive(clap::Args, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::commands) struct DeliveryFilterArgs {
    /// In this state
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<State>,
    /// From this source
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    /// Of this event, in any case
    #[arg(long, value_name = "EVENT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    /// With this message id
    #[arg(long, value_name = "ID")]
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    /// With a message id that begins with this
    #[arg(long, value_name = "TEXT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id_prefix: Option<String>,
    /// Accepted at or after: 2h (ago), 2026-01-31 or 2026-01-31T12:00:00Z
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    /// Accepted before: as --since
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    /// From a source of this environment: live or stage
    #[arg(long, value_parser = parse_environment, value_name = "ENV")]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "environment_name")]
    environment: Option<Environment>,
    /// With this client id
    #[arg(long, value_name = "ID")]
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    /// Of this entity: with this ordering key
    #[arg(long, value_name = "KEY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    entity: Option<String>,
    /// Authenticated by the key with this fingerprint, as `keys` shows it
    #[arg(long, value_name = "FINGERPRINT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// With this text in the last error, in any case
    #[arg(long, value_name = "TEXT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// With this text in the body, byte for byte
    #[arg(long, value_name = "TEXT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// With this value at a JSON pointer of the body, such as /order/id=7
    #[arg(long, value_parser = parse_member, value_name = "POINTER=VALUE", conflicts_with = "body")]
    #[serde(skip_serializing_if = "Option::is_none")]
    body_member: Option<Member>,
    /// Resent with other bytes under the same id
    #[arg(long)]
    #[serde(skip_serializing_if = "is_false")]
    conflicts: bool,
    /// Resent and recognised by the bytes alone, because the sender gives no id
    #[arg(long)]
    #[serde(skip_serializing_if = "is_false")]
    recognised: bool,
    /// Replayed at least once
    #[arg(long)]
    #[serde(skip_serializing_if = "is_false")]
    replayed: bool,
}

/// A member of a body, and its value.
#[derive(Clone, Serialize)]
struct Member {
    pointer: String,
    value: String,
}

impl DeliveryFilterArgs {
    pub(in crate::commands) fn filter(self) -> Filter {
        let member =
            self.body_member.map(|Member { pointer, value }| BodyTest::Member { pointer, value });
        Filter {
            state: self.state,
            source: self.source,
            event_type: self.event,
            message_id: self.message_id,
            message_id_prefix: self.message_id_prefix,
            since: self.since,
            until: self.until,
            environment: self.environment,
            client_id: self.client,
            ordering_key: self.entity,
            key: self.key,
            error: self.error,
            body: self.body.map(BodyTest::Contains).or(member),
            conflicts: self.conflicts,
            recognised: self.recognised,
            replayed: self.replayed,
            ..Filter::default()
        }
    }

    /// The filter with these ids as JSON text, as an act has it.
    pub(super) fn subject(&self, ids: &[DeliveryId]) -> String {
        let mut subject = serde_json::to_value(self).unwrap_or_default();
        if !ids.is_empty() {
            subject["ids"] = ids.into();
        }
        subject.to_string()
    }
}

fn parse_environment(name: &str) -> Result<Environment, String> {
    Environment::from_name(&name.to_ascii_lowercase())
        .ok_or_else(|| "write live or stage".to_owned())
}

fn parse_member(text: &str) -> Result<Member, String> {
    let (pointer, value) = text
        .split_once('=')
        .ok_or_else(|| "write a JSON pointer and a value, such as /order/id=7".to_owned())?;
    Pointer::parse(pointer).map_err(|error| format!("the pointer {error}"))?;
    Ok(Member { pointer: pointer.to_owned(), value: value.to_owned() })
}

fn environment_name<S: Serializer>(
    environment: &Option<Environment>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    environment.map(Environment::as_str).serialize(serializer)
}

fn is_false(value: &bool) -> bool {
    !value
}
