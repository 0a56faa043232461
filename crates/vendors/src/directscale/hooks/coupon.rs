//! Coupons: their discounts on an order and on its volume. Source: clients' public code.

use contract::event::{Code, Id, Money, Open};
use contract::hook::Hook;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::line_item::LineItem;
use crate::directscale::order_type::OrderType;

/// An order whose coupons are applied.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ProcessCouponCodesRequest {
    /// The number of the associate who orders.
    pub associate_id: Option<Id>,
    /// The price of all items.
    pub sub_total: Option<Money>,
    /// The kind of order.
    #[schema(value_type = Option<OrderType>)]
    pub order_type: Option<Code<OrderType>>,
    /// The items ordered.
    #[schema(value_type = Option<Vec<LineItem>>)]
    pub line_items: Option<Vec<Open<LineItem>>>,
}

/// The discounts of the coupons.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ProcessCouponCodesResponse {
    /// The coupons and their sum.
    #[schema(value_type = Option<OrderCoupons>)]
    pub order_coupons: Option<Open<OrderCoupons>>,
}

/// The coupons of an order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct OrderCoupons {
    /// The sum of all discounts.
    pub discount_total: Option<Money>,
    /// The split payments.
    #[schema(value_type = Option<Vec<OrderCoupon>>)]
    pub used_coupons: Option<Vec<Open<OrderCoupon>>>,
}

/// A coupon that is used on an order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct OrderCoupon {
    /// The coupon itself.
    #[schema(value_type = Option<Coupon>)]
    pub info: Option<Open<Coupon>>,
    /// The discount.
    pub discount_amount: Option<Money>,
}

/// A coupon.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Coupon {
    /// The number of the coupon.
    pub coupon_id: Option<Id>,
    /// The code that a customer enters.
    pub code: Option<String>,
    /// The discount's value: an amount or a percentage.
    pub discount: Option<Money>,
}

/// An order's totals and volume.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct GetCouponAdjustedVolumeRequest {
    /// The totals, one for each currency.
    #[schema(value_type = Option<Vec<OrderTotal>>)]
    pub totals: Option<Vec<Open<OrderTotal>>>,
    /// The volume before coupons.
    #[schema(value_type = Option<Volume>)]
    pub volume: Option<Open<Volume>>,
}

/// An order's total in one currency.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct OrderTotal {
    /// The number of the order.
    pub order_number: Option<Id>,
    /// The coupons that were used.
    #[schema(value_type = Option<OrderCoupons>)]
    pub coupons: Option<Open<OrderCoupons>>,
}

/// The volume and points that an order earns.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Volume {
    /// The commissionable volume.
    pub cv: Option<Money>,
    /// The qualifying volume.
    pub qv: Option<Money>,
}

/// An order's volume after coupons.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct GetCouponAdjustedVolumeResponse {
    /// The volume.
    #[schema(value_type = Option<Volume>)]
    pub coupon_adjusted_volume: Option<Open<Volume>>,
}

/// Applies the coupons of an order.
///
/// The wire id is not documented: it is inferred from the class's name.
#[derive(Debug, ToSchema)]
pub struct ProcessCouponCodes;

impl Hook for ProcessCouponCodes {
    const ID: &'static str = "Orders.ProcessCouponCodes";

    type Request = ProcessCouponCodesRequest;
    type Response = ProcessCouponCodesResponse;

    fn example() -> &'static str {
        r#"{"AssociateId":2,"SubTotal":20.00,"OrderType":1,"LineItems":[{"ItemId":1,"Quantity":2,"SKU":"TEA-1","ExtendedPrice":20.00,"QV":10.0}]}"#
    }

    fn example_response() -> &'static str {
        r#"{"OrderCoupons":{"DiscountTotal":2.00,"UsedCoupons":[{"Info":{"CouponId":5,"Code":"TEN","Discount":10},"DiscountAmount":2.00}]}}"#
    }
}

/// Returns the volume of an order with coupons.
///
/// The wire id is not documented: it is inferred from the class's name.
#[derive(Debug, ToSchema)]
pub struct GetCouponAdjustedVolume;

impl Hook for GetCouponAdjustedVolume {
    const ID: &'static str = "Orders.GetCouponAdjustedVolume";

    type Request = GetCouponAdjustedVolumeRequest;
    type Response = GetCouponAdjustedVolumeResponse;

    fn example() -> &'static str {
        r#"{"Totals":[{"OrderNumber":1,"Coupons":{"DiscountTotal":2.00,"UsedCoupons":[{"Info":{"CouponId":5,"Code":"TEN","Discount":10},"DiscountAmount":2.00}]}}],"Volume":{"Cv":16.0,"Qv":20.0}}"#
    }

    fn example_response() -> &'static str {
        r#"{"CouponAdjustedVolume":{"Cv":14.4,"Qv":18.0}}"#
    }
}
