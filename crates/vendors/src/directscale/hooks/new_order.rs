//! Orders that are being placed.

use contract::event::{Code, Id, Money, NetDateTime, Open};
use contract::hook::Hook;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::codes::OrderSource;
use super::line_item::LineItem;
use super::shared::{Address, CustomFields};
use crate::directscale::order_type::OrderType;

/// An order that has no number yet.
///
/// Source: the vendor's client extension (2022) and its page on autoship hooks. Each has members that the other lacks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct NewOrderDetail {
    /// The number of the associate who orders.
    pub associate_id: Option<Id>,
    /// To whom it is shipped.
    pub ship_to_name: Option<String>,
    /// For whose attention.
    pub attention: Option<String>,
    /// The shipping address.
    #[schema(value_type = Option<Address>)]
    pub ship_address: Option<Open<Address>>,
    /// The number of the shipping method.
    pub ship_method_id: Option<Id>,
    /// The number of the warehouse that ships.
    pub warehouse_id: Option<Id>,
    /// The recipient's telephone.
    pub ship_phone: Option<String>,
    /// The number of the price group.
    pub price_group_id: Option<Id>,
    /// The customer's special instructions.
    pub special_instructions: Option<String>,
    /// The origin of the order.
    #[schema(value_type = Option<OrderSource>)]
    pub order_source: Option<Code<OrderSource>>,
    /// The kind of order.
    #[schema(value_type = Option<OrderType>)]
    pub order_type: Option<Code<OrderType>>,
    /// The number of the associate's base type.
    pub associate_type: Option<Id>,
    /// The number of the store.
    pub store_id: Option<Id>,
    /// The currency's code.
    pub currency_code: Option<String>,
    /// The codes of the coupons.
    pub coupon_codes: Option<Vec<String>>,
    /// The items ordered.
    #[schema(value_type = Option<Vec<LineItem>>)]
    pub line_items: Option<Vec<Open<LineItem>>>,
    /// Shipping and tax, if they are given instead of computed.
    #[schema(value_type = Option<ShippingTaxOverride>)]
    pub ship_tax_override: Option<Open<ShippingTaxOverride>>,
    /// The client's own texts about it.
    #[schema(value_type = Option<CustomFields>)]
    pub custom: Option<Open<CustomFields>>,
    /// The date of the invoice.
    pub invoice_date: Option<NetDateTime>,
    /// The date that decides in which period it earns commission.
    pub commission_date: Option<NetDateTime>,
    /// The latest shipping date.
    pub ship_by_date: Option<NetDateTime>,
    /// The number of the party at which it was ordered.
    pub party_id: Option<Id>,
}

/// Shipping and tax that replace the computed ones.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ShippingTaxOverride {
    /// The price of shipping.
    pub shipping: Option<Money>,
    /// The tax.
    pub tax: Option<Money>,
    /// True if the price of shipping counts.
    pub has_shipping_override: Option<bool>,
    /// True if the tax counts.
    pub has_tax_override: Option<bool>,
}

/// The order to place.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct SubmitOrderRequest {
    /// The order.
    #[schema(value_type = NewOrderDetail)]
    pub order: Open<NewOrderDetail>,
}

/// The order that was placed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct SubmitOrderResponse {
    /// The number of the order.
    pub order_number: Id,
    /// The order itself.
    #[schema(value_type = Option<NewOrderDetail>)]
    pub order: Option<Open<NewOrderDetail>>,
}

/// Places an order. Source: the vendor's client extension (2022).
#[derive(Debug, ToSchema)]
pub struct SubmitOrder;

impl Hook for SubmitOrder {
    const ID: &'static str = "Orders.SubmitOrder";

    type Request = SubmitOrderRequest;
    type Response = SubmitOrderResponse;

    fn example() -> &'static str {
        r#"{"Order":{"AssociateId":2,"ShipToName":"Jane Doe","ShipAddress":{"Id":0,"AddressLine1":"350 S. 400 W.","AddressLine2":null,"City":"Lindon","State":"UT","PostalCode":"84042","CountryCode":"us"},"ShipMethodId":1,"WarehouseId":1,"ShipPhone":null,"PriceGroupId":1,"SpecialInstructions":null,"OrderSource":1,"OrderType":1,"AssociateType":1,"StoreId":1,"CurrencyCode":"USD","CouponCodes":["TEN"],"LineItems":[{"ItemId":1,"Quantity":2,"SKU":"TEA-1","Price":10.00,"ExtendedPrice":20.00,"CV":8.0,"QV":10.0}],"ShipTaxOverride":{"Shipping":0,"Tax":0,"HasShippingOverride":false,"HasTaxOverride":false},"Custom":{"Field1":null,"Field2":null,"Field3":null,"Field4":null,"Field5":null},"Attention":null,"InvoiceDate":"2022-03-04T10:15:30.497","CommissionDate":"2022-03-04T00:00:00","ShipByDate":"0001-01-01T00:00:00","PartyId":0}}"#
    }

    fn example_response() -> &'static str {
        r#"{"OrderNumber":1,"Order":{"AssociateId":2,"ShipToName":"Jane Doe","ShipMethodId":1,"OrderSource":1,"OrderType":1,"CurrencyCode":"USD","LineItems":[{"ItemId":1,"Quantity":2,"SKU":"TEA-1","Price":10.00,"ExtendedPrice":20.00}]}}"#
    }
}
