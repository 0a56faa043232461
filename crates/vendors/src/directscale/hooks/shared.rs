//! Models that several hooks share: addresses, custom fields, responses without members.

use contract::event::Id;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A postal address.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Address {
    /// The number of the address; 0 as long as it is not kept.
    pub id: Option<Id>,
    /// The street and the house.
    pub address_line1: Option<String>,
    /// More of it.
    pub address_line2: Option<String>,
    /// Still more of it; in the vendor's sample only.
    pub address_line3: Option<String>,
    /// The city.
    pub city: Option<String>,
    /// The state, e.g. `UT`.
    pub state: Option<String>,
    /// The postal code.
    pub postal_code: Option<String>,
    /// The country's code, e.g. `us`.
    pub country_code: Option<String>,
}

/// Five texts for the client's own use.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct CustomFields {
    /// The first.
    pub field1: Option<String>,
    /// The second.
    pub field2: Option<String>,
    /// The third.
    pub field3: Option<String>,
    /// The fourth.
    pub field4: Option<String>,
    /// The fifth.
    pub field5: Option<String>,
}

/// A response without documented members; received ones are forwarded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct EmptyResponse {}
