//! Filter of a delivery query, and its meaning.

use contract::event::{BodyFormat, Content, DeliveryId, Environment, without_bom};
use contract::time::Timestamp;
use text::json::Pointer;

use super::State;

/// Filter of a delivery query. All given conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// With one of these ids; empty for any.
    pub ids: Vec<DeliveryId>,
    /// In this state.
    pub state: Option<State>,
    /// From this source.
    pub source: Option<String>,
    /// Of this event type, without regard to case.
    pub event_type: Option<String>,
    /// With this message id.
    pub message_id: Option<String>,
    /// Accepted at this time or later.
    pub since: Option<Timestamp>,
    /// Accepted before this time.
    pub until: Option<Timestamp>,
    /// With at least one conflicting resend.
    pub conflicts: bool,
    /// With at least one resend that was recognised by the digest alone.
    pub recognised: bool,
    /// From a source of this environment.
    pub environment: Option<Environment>,
    /// With this client id of the sender's.
    pub client_id: Option<String>,
    /// With a message id that begins with this.
    pub message_id_prefix: Option<String>,
    /// Of this entity: with exactly this ordering key.
    pub ordering_key: Option<String>,
    /// Authenticated by the key with this fingerprint.
    pub key: Option<String>,
    /// With this text in the last error, without regard to the case of ASCII letters.
    pub error: Option<String>,
    /// With this in the body.
    pub body: Option<BodyTest>,
    /// Replayed at least once.
    pub replayed: bool,
    /// Order of a listing.
    pub order: Order,
    /// With a smaller number: the cursor for the next page, or the end of a listing that begins with the oldest.
    pub before: Option<DeliveryId>,
    /// With a larger number: the end of a listing, or the cursor for the next page if it begins with the oldest.
    pub after: Option<DeliveryId>,
    /// Largest number of results.
    pub limit: Option<usize>,
}

/// Order of a listing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// From the newest delivery to the oldest.
    #[default]
    NewestFirst,
    /// From the oldest delivery to the newest.
    OldestFirst,
}

/// Test of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyTest {
    /// The bytes of this text are in the body as it was received.
    Contains(String),
    /// The JSON body has this value at this JSON pointer: a string with this text, or another value with this JSON text.
    Member {
        /// The JSON pointer, such as `/order/id`. A text that is none matches nothing.
        pointer: String,
        /// The text.
        value: String,
    },
}

/// Largest size of a compressed body in which a member is looked for, in bytes after it is decompressed.
const LARGEST_DECODED: usize = 16 * 1024 * 1024;

/// A member of a body, as it is looked for.
pub(crate) struct MemberTest<'f> {
    pointer: Option<Pointer>,
    value: &'f str,
}

impl MemberTest<'_> {
    /// True if the body, of the format of this name, has the member. Nothing is decoded but its text, so that no depth of a body
    /// exhausts the stack.
    pub(crate) fn holds(&self, format: &str, body: &[u8]) -> bool {
        let Some(pointer) = &self.pointer else { return false };
        let Some(format) = BodyFormat::from_name(format) else { return false };
        if format.content != Content::Json {
            return false;
        }
        let Ok((json, false)) = format.decoded(body, LARGEST_DECODED) else { return false };
        let Ok(json) = std::str::from_utf8(without_bom(&json)) else { return false };
        let Some(found) = pointer.find(json) else { return false };
        found.get() == self.value
            || found.get().starts_with('"')
                && text::json::scalar(found).is_some_and(|text| text == self.value)
    }
}

/// One condition of a filter, which an engine writes as it can.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(
    not(feature = "postgres"),
    allow(dead_code, reason = "a file's walk is bounded by these, not its statements")
)]
pub(crate) enum Condition<'f> {
    /// With one of these ids.
    Ids(&'f [DeliveryId]),
    /// In this state.
    State(State),
    /// From this source.
    Source(&'f str),
    /// Of this event type, without regard to the case of ASCII letters.
    EventType(&'f str),
    /// With this message id.
    MessageId(&'f str),
    /// Accepted at this time or later.
    Since(Timestamp),
    /// Accepted before this time.
    Until(Timestamp),
    /// With at least one conflict.
    Conflicts,
    /// With at least one resend that was recognised by the digest.
    Recognised,
    /// From a source of this environment.
    Environment(Environment),
    /// With this client id.
    ClientId(&'f str),
    /// With a message id that begins with this.
    MessageIdPrefix(&'f str),
    /// With this ordering key.
    OrderingKey(&'f str),
    /// With this fingerprint of its key.
    Key(&'f str),
    /// With this text in the last error, without regard to the case of ASCII letters.
    Error(&'f str),
    /// With these bytes in the body.
    Contains(&'f [u8]),
    /// With these bytes, a backslash, or anything compressed in the body, which every body with a [member](MemberTest) has.
    Hint(&'f [u8]),
    /// Replayed at least once.
    Replayed,
    /// With a smaller id.
    Before(DeliveryId),
    /// With a larger id.
    After(DeliveryId),
}

impl Filter {
    /// The conditions, all of which must hold.
    pub(crate) fn conditions(&self) -> Vec<Condition<'_>> {
        [
            (!self.ids.is_empty()).then_some(Condition::Ids(&self.ids)),
            self.state.map(Condition::State),
            self.source.as_deref().map(Condition::Source),
            self.event_type.as_deref().map(Condition::EventType),
            self.message_id.as_deref().map(Condition::MessageId),
            self.since.map(Condition::Since),
            self.until.map(Condition::Until),
            self.conflicts.then_some(Condition::Conflicts),
            self.recognised.then_some(Condition::Recognised),
            self.environment.map(Condition::Environment),
            self.client_id.as_deref().map(Condition::ClientId),
            self.message_id_prefix.as_deref().map(Condition::MessageIdPrefix),
            self.ordering_key.as_deref().map(Condition::OrderingKey),
            self.key.as_deref().map(Condition::Key),
            self.replayed.then_some(Condition::Replayed),
            self.error.as_deref().map(Condition::Error),
            self.body.as_ref().map(|test| match test {
                BodyTest::Contains(text) => Condition::Contains(text.as_bytes()),
                BodyTest::Member { value, .. } => Condition::Hint(value.as_bytes()),
            }),
            self.before.map(Condition::Before),
            self.after.map(Condition::After),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The test of the body that an engine cannot write as a condition.
    pub(crate) fn member(&self) -> Option<MemberTest<'_>> {
        match self.body.as_ref()? {
            BodyTest::Contains(_) => None,
            BodyTest::Member { pointer, value } => {
                Some(MemberTest { pointer: Pointer::parse(pointer).ok(), value })
            }
        }
    }

    /// The filter of what follows after this delivery in its order.
    pub(crate) fn beyond(&self, id: DeliveryId) -> Filter {
        match self.order {
            Order::NewestFirst => Filter { before: Some(id), ..self.clone() },
            Order::OldestFirst => Filter { after: Some(id), ..self.clone() },
        }
    }

    /// The filter of what comes in its order up to this delivery, which is one of them.
    pub(crate) fn up_to(&self, id: DeliveryId) -> Filter {
        match self.order {
            Order::NewestFirst => {
                let after = self.after.map_or(id - 1, |after| after.max(id - 1));
                Filter { after: Some(after), ..self.clone() }
            }
            Order::OldestFirst => {
                let before = self.before.map_or(id + 1, |before| before.min(id + 1));
                Filter { before: Some(before), ..self.clone() }
            }
        }
    }
}
