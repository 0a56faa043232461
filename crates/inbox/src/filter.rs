//! Filter of a delivery query, and its meaning.

use contract::event::DeliveryId;
use contract::time::Timestamp;

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
    /// With a smaller number: the cursor for the next page.
    pub before: Option<DeliveryId>,
    /// With a larger number.
    pub after: Option<DeliveryId>,
    /// Largest number of results.
    pub limit: Option<usize>,
}

/// One condition of a filter, which an engine writes as it can.
#[derive(Debug, Clone, Copy)]
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
            self.before.map(Condition::Before),
            self.after.map(Condition::After),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
