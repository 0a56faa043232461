//! Taxes.

use contract::event::{Json, Open};
use contract::hook::Hook;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::order::Order;
use super::shared::EmptyResponse;

/// An order whose tax is recorded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct CommitTaxRequest {
    /// The order.
    #[schema(value_type = Order)]
    pub order_info: Open<Order>,
}

/// Records the tax of an order with the tax service.
///
/// Source: the vendor's page on tax hooks. The wire id is not documented: it is inferred from the class's name.
#[derive(Debug, ToSchema)]
pub struct CommitTax;

impl Hook for CommitTax {
    const ID: &'static str = "Taxes.CommitTax";

    type Request = CommitTaxRequest;
    type Response = EmptyResponse;

    fn example() -> &'static str {
        r#"{"OrderInfo":{"OrderNumber":1,"AssociateId":2,"OrderDate":"2022-03-04T10:15:30.497","OrderType":1,"Status":"Paid","LineItems":[],"USDSubTotal":20.00,"USDTotal":21.45}}"#
    }

    fn example_response() -> &'static str {
        "{}"
    }
}

/// Returns the tax of an order.
///
/// Source: the vendor's page on tax service providers. Neither the wire id nor the models are documented: the id is
/// inferred from the class's name.
#[derive(Debug, ToSchema)]
pub struct GetTax;

impl Hook for GetTax {
    const ID: &'static str = "Taxes.GetTax";

    type Request = Json;
    type Response = Json;

    fn example() -> &'static str {
        "{}"
    }

    fn example_response() -> &'static str {
        "{}"
    }
}
