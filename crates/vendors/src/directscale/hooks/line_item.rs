//! Items and their prices. Source: the vendor's sample of CreateAutoship, and its client extension (2022).

use contract::event::{Id, Money, Open, Quantity};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::shared::CustomFields;

/// An item of an autoship or an order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct LineItem {
    /// The number of the item.
    pub item_id: Option<Id>,
    /// The quantity.
    pub quantity: Option<Quantity>,
    /// The client's cost of one.
    pub cost: Option<Money>,
    /// True if the item can no longer be bought.
    pub disabled: Option<bool>,
    /// The price of all; not in the vendor's sample.
    pub extended_price: Option<Money>,
    /// The price of all before discounts; not in the vendor's sample.
    pub extended_original_price: Option<Money>,
    /// The bonus for all; not in the vendor's sample.
    pub extended_bonus: Option<Money>,
    /// The commissionable volume of all; not in the vendor's sample.
    #[serde(rename = "ExtendedCV")]
    pub extended_cv: Option<Money>,
    /// The qualifying volume of all; not in the vendor's sample.
    #[serde(rename = "ExtendedQV")]
    pub extended_qv: Option<Money>,
    /// The reward points for all; not in the vendor's sample.
    pub extended_reward_points: Option<Money>,
    /// The client's cost of all; not in the vendor's sample.
    pub extended_cost: Option<Money>,
    /// The item's name.
    pub product_name: Option<String>,
    /// The description.
    pub description: Option<String>,
    /// Its specifications.
    pub specifications: Option<String>,
    /// The language of these texts.
    pub language_code: Option<String>,
    /// The stock keeping unit.
    #[serde(rename = "SKU")]
    pub sku: Option<String>,
    /// The category in which it is sold.
    #[schema(value_type = Option<ItemCategory>)]
    pub category: Option<Open<ItemCategory>>,
    /// True if shipping is charged for it.
    pub charge_shipping: Option<bool>,
    /// The height, in the unit of the length.
    pub height: Option<Quantity>,
    /// The place of its image.
    pub image: Option<String>,
    /// The length.
    pub length: Option<Quantity>,
    /// The unit of the length.
    #[serde(rename = "LengthUOM")]
    pub length_uom: Option<String>,
    /// The manufacturer's number of the part.
    #[serde(rename = "MPN")]
    pub mpn: Option<String>,
    /// The number of pieces in a pack.
    pub pack_count: Option<Quantity>,
    /// The number of the group with which it is packed.
    pub package_group_id: Option<Id>,
    /// The number of its tax class.
    pub tax_class_id: Option<Id>,
    /// The unit in which it is counted.
    pub unit_of_measure: Option<String>,
    /// The universal product code.
    #[serde(rename = "UPC")]
    pub upc: Option<String>,
    /// The weight.
    pub weight: Option<Quantity>,
    /// The unit of the weight.
    #[serde(rename = "WeightUOM")]
    pub weight_uom: Option<String>,
    /// The width, in the unit of the length.
    pub width: Option<Quantity>,
    /// True if a warning of birth defects is due.
    pub flag_birth_defects: Option<bool>,
    /// True if it is a kit of groups.
    pub has_kit_groups: Option<bool>,
    /// True if a warning of cancer is due.
    pub flag_cancer: Option<bool>,
    /// The number of the price group.
    pub price_group: Option<Id>,
    /// The client's own texts about it.
    #[schema(value_type = Option<CustomFields>)]
    pub custom: Option<Open<CustomFields>>,
    /// Its images.
    #[schema(value_type = Option<Vec<ItemImage>>)]
    pub images: Option<Vec<Open<ItemImage>>>,
    /// Its prices, one for each price group.
    #[schema(value_type = Option<Vec<LineItemPrice>>)]
    pub prices: Option<Vec<Open<LineItemPrice>>>,
    /// The options that were chosen.
    #[schema(value_type = Option<Vec<LineItemOption>>)]
    pub options: Option<Vec<Open<LineItemOption>>>,
    /// The options that there are.
    #[schema(value_type = Option<Vec<ItemOption>>)]
    pub item_options: Option<Vec<Open<ItemOption>>>,
    /// Its texts in other languages.
    #[schema(value_type = Option<Vec<ItemLanguage>>)]
    pub languages: Option<Vec<Open<ItemLanguage>>>,
    /// The item of each combination of options.
    #[schema(value_type = Option<Vec<ItemOptionKey>>)]
    pub options_map: Option<Vec<Open<ItemOptionKey>>>,
    /// True if there are options; not in the vendor's sample.
    pub has_options: Option<bool>,
    /// The price of one; not in the vendor's sample.
    pub price: Option<Money>,
    /// The currency of the prices; not in the vendor's sample.
    pub price_currency: Option<String>,
    /// The price of one before discounts; not in the vendor's sample.
    pub original_price: Option<Money>,
    /// The bonus for one; not in the vendor's sample.
    pub bonus: Option<Money>,
    /// The commissionable volume of one; not in the vendor's sample.
    #[serde(rename = "CV")]
    pub cv: Option<Money>,
    /// The qualifying volume of one; not in the vendor's sample.
    #[serde(rename = "QV")]
    pub qv: Option<Money>,
    /// The reward points for one; not in the vendor's sample.
    pub reward_points: Option<Money>,
    /// The number of coupons used on it.
    pub coupons_being_used: Option<Quantity>,
    /// The number of what is done when it is out of stock.
    pub out_of_stock_status: Option<Id>,
    /// The numbers of all its price groups; not in the vendor's sample.
    pub price_groups: Option<Vec<Id>>,
}

/// The price and the volume of an item in one price group.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct LineItemPrice {
    /// The number of the price group.
    pub group_id: Option<Id>,
    /// The price of one.
    pub price: Option<Money>,
    /// The currency's code.
    pub price_currency: Option<String>,
    /// The price of one before discounts.
    pub original_price: Option<Money>,
    /// The bonus for one.
    pub bonus: Option<Money>,
    /// The commissionable volume of one.
    #[serde(rename = "CV")]
    pub cv: Option<Money>,
    /// The qualifying volume of one.
    #[serde(rename = "QV")]
    pub qv: Option<Money>,
    /// The reward points for one.
    pub reward_points: Option<Money>,
}

/// A category of items.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ItemCategory {
    /// Its number.
    pub id: Option<Id>,
    /// Its name.
    pub name: Option<String>,
    /// Its texts in other languages.
    #[schema(value_type = Option<Vec<CategoryTranslation>>)]
    pub category_translations: Option<Vec<Open<CategoryTranslation>>>,
    /// The description.
    pub description: Option<String>,
    /// The sort order.
    pub display_index: Option<Quantity>,
    /// The address of its image.
    pub image_url: Option<String>,
    /// The number of the category above it.
    pub parent_id: Option<Id>,
    /// The number of the product line.
    pub product_line_id: Option<Id>,
    /// The short description.
    pub short_description: Option<String>,
    /// The numbers of the stores that have it.
    pub store_ids: Option<Vec<Id>>,
    /// True if there are categories below it.
    pub has_children: Option<bool>,
}

/// A category's texts in one language.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct CategoryTranslation {
    /// The number of the translation.
    pub id: Option<Id>,
    /// The number of the category.
    pub category_id: Option<Id>,
    /// The description.
    pub description: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// The language's code.
    pub language_code: Option<String>,
}

/// An image of an item.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ItemImage {
    /// The subject of the image.
    pub description: Option<String>,
    /// The path of the image.
    pub path: Option<String>,
}

/// An option that was chosen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct LineItemOption {
    /// The number of the option.
    pub option_id: Option<Id>,
    /// The chosen value.
    pub option: Option<String>,
}

/// An option that there is, e.g. a size.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ItemOption {
    /// Its number.
    pub option_id: Option<Id>,
    /// Its name.
    pub option: Option<String>,
    /// The number of its kind.
    pub option_type: Option<Id>,
    /// The values to choose from.
    #[schema(value_type = Option<Vec<ItemOptionValue>>)]
    pub values: Option<Vec<Open<ItemOptionValue>>>,
}

/// One value of an option.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ItemOptionValue {
    /// Its name.
    pub option: Option<String>,
    /// The suffix of the stock keeping unit.
    pub sku_ext: Option<String>,
}

/// An item's texts in one language.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ItemLanguage {
    /// The description.
    pub description: Option<String>,
    /// The language's code.
    pub language_code: Option<String>,
    /// Its name.
    pub product_name: Option<String>,
    /// Words for search engines.
    #[serde(rename = "SEOKeywords")]
    pub seo_keywords: Option<String>,
    /// Its specifications.
    pub specifications: Option<String>,
}

/// The item of a combination of options.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ItemOptionKey {
    /// The choice.
    pub key: Option<String>,
    /// True if it is chosen.
    pub checked: Option<bool>,
    /// The number of the item.
    pub item_id: Option<Id>,
    /// The place of its image.
    pub image: Option<String>,
    /// The suffix of the stock keeping unit.
    pub ext_sku: Option<String>,
}
