//! New customers and associates.

use contract::event::{Event, Id, NetDateTime};
use serde::Deserialize;
use utoipa::ToSchema;

/// A customer or an associate has enrolled.
///
/// The vendor's id for it is `0`. Source: the vendor's Event Bus page and its sample receiver (2018).
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct EnrollmentEvent {
    /// The number of the new customer or associate; elsewhere called AssociateId.
    pub distributor_id: Id,
    /// The number of the base type: 1 distributor, 2 retail customer, others by configuration.
    pub distributor_type: Option<Id>,
    /// The number of the status; its meaning is the client's configuration.
    pub distributor_status: Option<Id>,
    /// The country code of the applicant's address.
    pub distributor_country: Option<String>,
    /// The number of the associate who sponsors the enrolment.
    pub sponsor_id: Option<Id>,
    /// The time at which the applicant signed up, in UTC.
    pub enrollment_date_utc: Option<NetDateTime>,
    /// The time of the event, in UTC.
    pub event_date_utc: Option<NetDateTime>,
    /// The event's name or number; the 2018 generation may lack it.
    pub event_type: Option<Id>,
    /// The vendor's grouping of events; not in the 2018 field lists.
    pub event_category: Option<String>,
}

impl Event for EnrollmentEvent {
    const TYPE: &'static str = "EnrollmentEvent";
    const ALIASES: &'static [&'static str] = &["0"];

    fn example() -> &'static str {
        r#"{"DistributorId":"3","DistributorType":"1","DistributorStatus":"1","DistributorCountry":"US","SponsorId":"2","EnrollmentDateUtc":"2021-10-12T18:01:39.497Z","EventDateUtc":"2021-10-12T18:01:39.5127343Z","EventType":"EnrollmentEvent"}"#
    }
}
