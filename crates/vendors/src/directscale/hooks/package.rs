//! Packages that are sent. Source: clients' public code.

use contract::event::{Id, Open};
use contract::hook::Hook;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::shared::EmptyResponse;

/// Packages that were sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct MarkPackagesShippedRequest {
    /// The packages.
    #[schema(value_type = Option<Vec<PackageStatusUpdate>>)]
    pub package_status_updates: Option<Vec<Open<PackageStatusUpdate>>>,
}

/// A package that was sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct PackageStatusUpdate {
    /// The number of the package.
    pub package_id: Option<Id>,
    /// The carrier's number of it.
    pub tracking_number: Option<Id>,
}

/// Marks packages as shipped.
///
/// Neither the wire id nor the response is documented. No id of a nested namespace is shown anywhere, so both readings
/// are taken.
#[derive(Debug, ToSchema)]
pub struct MarkPackagesShipped;

impl Hook for MarkPackagesShipped {
    const ID: &'static str = "Orders.Packages.MarkPackagesShipped";
    const ALIASES: &'static [&'static str] = &["Packages.MarkPackagesShipped"];

    type Request = MarkPackagesShippedRequest;
    type Response = EmptyResponse;

    fn example() -> &'static str {
        r#"{"PackageStatusUpdates":[{"PackageId":1,"TrackingNumber":"1Z999"}]}"#
    }

    fn example_response() -> &'static str {
        "{}"
    }
}
