//! Associates (distributors and customers) that are created or changed.

use std::ops::Deref;

use contract::event::{Event, Id, NetDateTime};
use serde::Deserialize;
use utoipa::ToSchema;

/// An associate's record, as both associate events carry it.
///
/// Source: the vendor's Event Bus page and its sample receiver (2018).
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Associate {
    /// The associate's number; elsewhere called DistributorId, CustomerId or DirectScale ID.
    pub associate_id: Id,
    /// The name used to log in.
    pub username: Option<String>,
    /// The first name.
    pub first_name: Option<String>,
    /// The last name.
    pub last_name: Option<String>,
    /// The company's name, if the associate is one.
    pub company_name: Option<String>,
    /// The e-mail address.
    pub email_address: Option<String>,
    /// The number of the status; its meaning is the client's configuration.
    pub associate_status: Option<Id>,
    /// The number of the base type: 1 distributor, 2 retail customer, others by configuration.
    pub associate_type: Option<Id>,
    /// The names of the associate's personal web sites.
    pub web_aliases: Option<Vec<String>>,
    /// The id shown to people; may have a prefix, a suffix and letters.
    pub back_office_id: Option<Id>,
    /// The associate's id in a system outside the vendor's.
    pub external_reference_id: Option<Id>,
    /// The time of the event, in UTC.
    pub event_date_utc: Option<NetDateTime>,
    /// The event's name or number; the 2018 generation may lack it.
    pub event_type: Option<Id>,
    /// The vendor's grouping of events; not in the 2018 field lists.
    pub event_category: Option<String>,
}

/// An associate was created.
///
/// The vendor's id for it is `2`. Bodies hold personal data.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct CreateAssociateEvent(pub Associate);

impl Deref for CreateAssociateEvent {
    type Target = Associate;

    fn deref(&self) -> &Associate {
        &self.0
    }
}

impl Event for CreateAssociateEvent {
    const TYPE: &'static str = "CreateAssociateEvent";
    const ALIASES: &'static [&'static str] = &["2"];

    fn example() -> &'static str {
        r#"{"AssociateId":2,"Username":"jdoe","FirstName":"Jane","LastName":"Doe","CompanyName":"Example Ltd","EmailAddress":"jane.doe@example.com","AssociateStatus":1,"AssociateType":1,"WebAliases":["jdoe"],"BackOfficeId":"A2F","ExternalReferenceId":"EXT-2","EventDateUtc":"2021-10-12T18:01:39.5127343Z","EventType":"CreateAssociateEvent"}"#
    }
}

/// An associate's record was updated.
///
/// The vendor's id for it is `3`, inferred from a client's subscription, not documented. Bodies hold personal data.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct UpdateAssociateEvent(pub Associate);

impl Deref for UpdateAssociateEvent {
    type Target = Associate;

    fn deref(&self) -> &Associate {
        &self.0
    }
}

impl Event for UpdateAssociateEvent {
    const TYPE: &'static str = "UpdateAssociateEvent";
    const ALIASES: &'static [&'static str] = &["3"];

    fn example() -> &'static str {
        r#"{"AssociateId":2,"Username":"jdoe","FirstName":"Jane","LastName":"Doe","CompanyName":null,"EmailAddress":"jane.doe@example.com","AssociateStatus":1,"AssociateType":1,"WebAliases":["jdoe","jane"],"BackOfficeId":"A2F","ExternalReferenceId":"EXT-2","EventDateUtc":"2021-10-13T09:12:04.0310277Z","EventType":"UpdateAssociateEvent"}"#
    }
}
