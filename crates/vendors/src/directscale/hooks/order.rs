//! Orders that have a number: paid or not, refunded, cancelled.

use contract::event::{Code, Id, Json, Money, NetDateTime, Open};
use contract::hook::Hook;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::shared::{Address, CustomFields, EmptyResponse};
use crate::directscale::order_type::OrderType;

/// An order that has a number.
///
/// Source: the vendor's page on order hooks. It names the lists but not what is in them: those stay JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Order {
    /// The number of the order.
    pub order_number: Option<Id>,
    /// The number of the associate who ordered.
    pub associate_id: Option<Id>,
    /// The associate's id that is shown to people.
    pub backoffice_id: Option<Id>,
    /// The customer's name.
    pub name: Option<String>,
    /// The customer's e-mail address.
    pub email: Option<String>,
    /// The customer's telephone.
    pub bill_phone: Option<String>,
    /// The billing address.
    #[schema(value_type = Option<Address>)]
    pub bill_address: Option<Open<Address>>,
    /// The kind of order.
    #[schema(value_type = Option<OrderType>)]
    pub order_type: Option<Code<OrderType>>,
    /// `Paid`, `Pending Payment` and others; an open set in mixed case.
    pub status: Option<Id>,
    /// The date of the order.
    pub order_date: Option<NetDateTime>,
    /// The date of the invoice.
    pub invoice_date: Option<NetDateTime>,
    /// The date that decides in which period it earns commission.
    pub commission_date: Option<NetDateTime>,
    /// The time of the last change.
    pub last_modified_date: Option<NetDateTime>,
    /// The invoice's number in its country.
    pub local_invoice_number: Option<Id>,
    /// The customer's special instructions.
    pub special_instructions: Option<String>,
    /// The bonus of the order.
    pub total_bonus: Option<Money>,
    /// The client's cost.
    pub total_cost: Option<Money>,
    /// The commissionable volume.
    #[serde(rename = "TotalCV")]
    pub total_cv: Option<Money>,
    /// The qualifying volume.
    #[serde(rename = "TotalQV")]
    pub total_qv: Option<Money>,
    /// True if it is void.
    pub void: Option<bool>,
    /// The number of the party at which it was ordered.
    pub party_id: Option<Id>,
    /// True if it is paid.
    pub is_paid: Option<bool>,
    /// True if it is shipped.
    pub is_shipped: Option<bool>,
    /// The client's own texts about it.
    #[schema(value_type = Option<CustomFields>)]
    pub custom: Option<Open<CustomFields>>,
    /// True if its payment can be retried.
    pub can_rerun: Option<bool>,
    /// The items ordered.
    pub line_items: Option<Json>,
    /// The packages it is shipped in.
    pub packages: Option<Json>,
    /// Its totals, one for each currency.
    pub totals: Option<Json>,
    /// Its payments.
    pub payments: Option<Json>,
    /// The coupons that were used.
    pub order_coupons: Option<Json>,
    /// The price of all items in US dollars.
    #[serde(rename = "USDSubTotal")]
    pub usd_sub_total: Option<Money>,
    /// The total in US dollars.
    #[serde(rename = "USDTotal")]
    pub usd_total: Option<Money>,
    /// True if it can be moved to another associate.
    #[schema(value_type = Option<OrderMovability>)]
    pub is_moveable: Option<Open<OrderMovability>>,
}

/// The permission to move an order to another associate, with the reason if it is refused.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct OrderMovability {
    /// True if it can be moved.
    pub is_order_movable: Option<bool>,
    /// The kind of message.
    pub message_type: Option<Id>,
    /// The reason for a refusal.
    pub message: Option<String>,
}

/// A request about an order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct OrderRequest {
    /// The order.
    #[schema(value_type = Order)]
    pub order: Open<Order>,
}

/// An order that is named by its number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct CancelOrderRequest {
    /// The number of the order.
    pub order_number: Id,
}

/// Finalizes an accepted order.
///
/// Source: the vendor's page on order hooks. The wire id is not documented: it is inferred from the class's name.
#[derive(Debug, ToSchema)]
pub struct FinalizeAcceptedOrder;

impl Hook for FinalizeAcceptedOrder {
    const ID: &'static str = "Orders.FinalizeAcceptedOrder";

    type Request = OrderRequest;
    type Response = EmptyResponse;

    fn example() -> &'static str {
        r#"{"Order":{"BackofficeId":"A2F","LastModifiedDate":"2022-03-04T10:15:31.2730412","BillPhone":null,"CommissionDate":"2022-03-04T00:00:00","AssociateId":2,"Email":"jane.doe@example.com","InvoiceDate":"2022-03-04T10:15:30.497","LocalInvoiceNumber":null,"Name":"Jane Doe","OrderDate":"2022-03-04T10:15:30.497","OrderType":1,"OrderNumber":1,"SpecialInstructions":null,"Status":"Paid","TotalBonus":0,"TotalCost":8.50,"TotalCV":16.0,"TotalQV":20.0,"Void":false,"BillAddress":{"Id":4,"AddressLine1":"350 S. 400 W.","City":"Lindon","State":"UT","PostalCode":"84042","CountryCode":"us"},"PartyId":0,"IsPaid":true,"IsShipped":false,"Custom":{"Field1":null,"Field2":null,"Field3":null,"Field4":null,"Field5":null},"CanRerun":false,"LineItems":[],"Packages":[],"Totals":[],"Payments":[],"OrderCoupons":null,"USDSubTotal":20.00,"USDTotal":21.45,"IsMoveable":{"IsOrderMovable":true,"MessageType":0,"Message":null}}}"#
    }

    fn example_response() -> &'static str {
        "{}"
    }
}

/// Finalizes an order that was not accepted.
///
/// Source: the vendor's page on order hooks and clients' public code. The wire id and the response are not documented:
/// the id is inferred from the class's name.
#[derive(Debug, ToSchema)]
pub struct FinalizeNonAcceptedOrder;

impl Hook for FinalizeNonAcceptedOrder {
    const ID: &'static str = "Orders.FinalizeNonAcceptedOrder";

    type Request = OrderRequest;
    type Response = EmptyResponse;

    fn example() -> &'static str {
        r#"{"Order":{"OrderNumber":1,"AssociateId":2,"OrderType":2,"Status":"Pending Payment","IsPaid":false,"CanRerun":true,"USDTotal":21.45}}"#
    }

    fn example_response() -> &'static str {
        "{}"
    }
}

/// Refunds the whole of an order.
///
/// Source: clients' public code. The wire id and the response are not documented: the id is inferred from the class's
/// name.
#[derive(Debug, ToSchema)]
pub struct FullRefundOrder;

impl Hook for FullRefundOrder {
    const ID: &'static str = "Orders.FullRefundOrder";

    type Request = OrderRequest;
    type Response = EmptyResponse;

    fn example() -> &'static str {
        r#"{"Order":{"OrderNumber":1,"AssociateId":2,"OrderType":1,"Status":"Paid","IsPaid":true,"USDTotal":21.45}}"#
    }

    fn example_response() -> &'static str {
        "{}"
    }
}

/// Cancels an order.
///
/// Source: the vendor's page on order hooks and clients' public code. The wire id and the response are not documented:
/// the id is inferred from the class's name.
#[derive(Debug, ToSchema)]
pub struct CancelOrder;

impl Hook for CancelOrder {
    const ID: &'static str = "Orders.CancelOrder";

    type Request = CancelOrderRequest;
    type Response = EmptyResponse;

    fn example() -> &'static str {
        r#"{"OrderNumber":1}"#
    }

    fn example_response() -> &'static str {
        "{}"
    }
}
