//! Autoships: orders that repeat by a schedule.

use contract::event::{Code, Id, Json, Money, NetDateTime, Open};
use contract::hook::Hook;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::codes::{AutoshipType, Frequency};
use super::line_item::LineItem;
use super::shared::{Address, CustomFields, EmptyResponse};

/// An order that repeats by a schedule.
///
/// Source: the vendor's sample of CreateAutoship, and its client extension (2022). Each has members that the other
/// lacks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Autoship {
    /// The number of the autoship; 0 before it is created.
    pub autoship_id: Option<Id>,
    /// The number of the associate whose autoship it is.
    pub associate_id: Option<Id>,
    /// The shipping address.
    #[schema(value_type = Option<Address>)]
    pub ship_address: Option<Open<Address>>,
    /// The start date.
    pub start_date: Option<NetDateTime>,
    /// The interval at which it is processed.
    #[schema(value_type = Option<Frequency>)]
    pub frequency: Option<Code<Frequency>>,
    /// The date on which it was last processed.
    pub last_process_date: Option<NetDateTime>,
    /// The date on which it is processed next.
    pub next_process_date: Option<NetDateTime>,
    /// The amount last charged.
    pub last_charge_amount: Option<Money>,
    /// Its status; the values are not documented.
    pub status: Option<Id>,
    /// The number of the shipping method.
    pub ship_method_id: Option<Id>,
    /// The merchant's token for the means of payment. No card number.
    pub payment_method_id: Option<Id>,
    /// The number of the merchant that is charged.
    pub payment_merchant_id: Option<Id>,
    /// The client's own texts about it.
    #[schema(value_type = Option<CustomFields>)]
    pub custom: Option<Open<CustomFields>>,
    /// The kind of autoship.
    #[schema(value_type = Option<AutoshipType>)]
    pub autoship_type: Option<Code<AutoshipType>>,
    /// The items shipped.
    #[schema(value_type = Option<Vec<LineItem>>)]
    pub line_items: Option<Vec<Open<LineItem>>>,
    /// The interval, in words.
    pub frequency_string: Option<String>,
    /// The commissionable volume; not in the vendor's sample.
    #[serde(rename = "TotalCV")]
    pub total_cv: Option<Money>,
    /// The qualifying volume; not in the vendor's sample.
    #[serde(rename = "TotalQV")]
    pub total_qv: Option<Money>,
    /// The currency's code.
    pub currency_code: Option<String>,
    /// The price of all items; not in the vendor's sample.
    pub sub_total: Option<Money>,
}

/// A request about an autoship.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct AutoshipRequest {
    /// The autoship.
    #[schema(value_type = Autoship)]
    pub autoship_info: Open<Autoship>,
}

/// The autoship that was created.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct CreateAutoshipResponse {
    /// The number of the autoship.
    pub autoship_id: Id,
}

/// Creates an autoship. Source: the vendor's "How Process Hooks Work".
#[derive(Debug, ToSchema)]
pub struct CreateAutoship;

impl Hook for CreateAutoship {
    const ID: &'static str = "Autoships.CreateAutoship";

    type Request = AutoshipRequest;
    type Response = CreateAutoshipResponse;

    fn example() -> &'static str {
        include_str!("create_autoship.json")
    }

    fn example_response() -> &'static str {
        r#"{"AutoshipId":1}"#
    }
}

/// The associate whose autoships are requested.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct GetAutoshipsRequest {
    /// The number of the associate.
    pub associate_id: Id,
    /// True if autoships for services are included.
    pub include_service_autoships: Option<bool>,
}

/// An associate's autoships.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct GetAutoshipsResponse {
    /// The autoships.
    #[schema(value_type = Option<Vec<Autoship>>)]
    pub autoships: Option<Vec<Open<Autoship>>>,
}

/// Returns an associate's autoships. Source: the vendor's client extension (2022).
#[derive(Debug, ToSchema)]
pub struct GetAutoships;

impl Hook for GetAutoships {
    const ID: &'static str = "Autoships.GetAutoships";

    type Request = GetAutoshipsRequest;
    type Response = GetAutoshipsResponse;

    fn example() -> &'static str {
        r#"{"AssociateId":2,"IncludeServiceAutoships":true}"#
    }

    fn example_response() -> &'static str {
        include_str!("get_autoships_response.json")
    }
}

/// Changes an autoship.
///
/// Source: clients' public code. The wire id and the response are not documented: the id is inferred from the class's
/// name.
#[derive(Debug, ToSchema)]
pub struct UpdateAutoship;

impl Hook for UpdateAutoship {
    const ID: &'static str = "Autoships.UpdateAutoship";

    type Request = AutoshipRequest;
    type Response = EmptyResponse;

    fn example() -> &'static str {
        r#"{"AutoshipInfo":{"AutoshipId":1,"AssociateId":2,"Frequency":2,"NextProcessDate":"2022-05-04T00:00:00","Status":null,"Custom":{"Field1":"skips April"},"AutoshipType":0,"LineItems":[{"ItemId":1,"Quantity":2}]}}"#
    }

    fn example_response() -> &'static str {
        "{}"
    }
}

/// Cancels an autoship.
///
/// Source: clients' public code. The wire id and the response are not documented: the id is inferred from the class's
/// name.
#[derive(Debug, ToSchema)]
pub struct CancelAutoship;

impl Hook for CancelAutoship {
    const ID: &'static str = "Autoships.CancelAutoship";

    type Request = AutoshipRequest;
    type Response = EmptyResponse;

    fn example() -> &'static str {
        r#"{"AutoshipInfo":{"AutoshipId":1,"AssociateId":2,"Frequency":2,"LastProcessDate":"2022-04-04T00:00:00","LastChargeAmount":20.00,"AutoshipType":0,"LineItems":[{"ItemId":1,"Quantity":2}]}}"#
    }

    fn example_response() -> &'static str {
        "{}"
    }
}

/// Applies coupon codes to an order of an autoship.
///
/// Source: the vendor's page on autoship hooks, which has a request without its types, and no response. Neither the
/// wire id nor the models are documented: the id is inferred from the class's name.
#[derive(Debug, ToSchema)]
pub struct ApplyAutoshipCouponCodes;

impl Hook for ApplyAutoshipCouponCodes {
    const ID: &'static str = "Autoships.ApplyAutoshipCouponCodes";

    type Request = Json;
    type Response = Json;

    fn example() -> &'static str {
        r#"{"Order":{"AssociateId":2,"LineItems":[{"ItemId":1,"Quantity":2}]},"CouponCodes":null}"#
    }

    fn example_response() -> &'static str {
        "{}"
    }
}

/// Tells if an order of an autoship that failed is tried again.
///
/// Source: clients' public code. Neither the wire id nor the models are documented: the id is inferred from the class's
/// name.
#[derive(Debug, ToSchema)]
pub struct ShouldRetryAutoshipOrder;

impl Hook for ShouldRetryAutoshipOrder {
    const ID: &'static str = "Autoships.ShouldRetryAutoshipOrder";

    type Request = Json;
    type Response = Json;

    fn example() -> &'static str {
        "{}"
    }

    fn example_response() -> &'static str {
        "{}"
    }
}

/// Runs once a day. In practice DailyEvent has taken its place.
///
/// Source: a client's public code (2022). Neither the wire id nor the models are documented: the id is inferred from
/// the class's name.
#[derive(Debug, ToSchema)]
pub struct DailyRun;

impl Hook for DailyRun {
    const ID: &'static str = "Autoships.DailyRun";

    type Request = Json;
    type Response = Json;

    fn example() -> &'static str {
        "{}"
    }

    fn example_response() -> &'static str {
        "{}"
    }
}
