//! Commissions: ranks, split payments, and the parts of a bonus.

use contract::event::{Id, Json, Money, Open, Quantity};
use contract::hook::Hook;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::shared::EmptyResponse;

/// An associate's rank before and after.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct LogRealtimeRankAdvanceRequest {
    /// The number of the associate.
    pub associate_id: Option<Id>,
    /// The number of the rank before.
    pub old_rank: Option<Id>,
    /// The number of the rank now.
    pub new_rank: Option<Id>,
}

/// A request without members besides the payments.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct GetSplitPaymentsRequest {}

/// The payments that are split.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct GetSplitPaymentsResponse {
    /// The split payments.
    #[schema(value_type = Option<Vec<SplitPayment>>)]
    pub split_payments: Option<Vec<Open<SplitPayment>>>,
}

/// A part of an associate's commission that another one is paid.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct SplitPayment {
    /// The number of the associate who earned it.
    pub from_associate_id: Option<Id>,
    /// The number of the associate who is paid.
    pub to_associate_id: Option<Id>,
    /// The share; the unit (50 or 0.5 for a half) is not documented.
    pub percent: Option<Quantity>,
    /// The reason.
    pub comment: Option<String>,
}

/// The bonus and the associate whose details are requested.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct GetCommissionBonusDetailsRequest {
    /// The number of the associate.
    pub associate_id: Option<Id>,
    /// The number of the commission period.
    pub period_id: Option<Id>,
    /// The bonus.
    pub bonus_id: Option<Id>,
}

/// The details of a bonus.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct GetCommissionBonusDetailsResponse {
    /// Its parts.
    #[schema(value_type = Option<Vec<BonusDetail>>)]
    pub history_details: Option<Vec<Open<BonusDetail>>>,
}

/// A part of a bonus.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct BonusDetail {
    /// The number of the associate who is paid.
    pub associate_id: Option<Id>,
    /// The number of the commission period.
    pub commission_period_id: Option<Id>,
    /// The group with which it is paid.
    pub payment_group: Option<Id>,
    /// The amount.
    pub amount: Option<Money>,
    /// The reason.
    pub comment: Option<String>,
    /// The name of the associate from whom it was earned.
    pub earned_from_name: Option<String>,
    /// The number of the associate from whom it was earned.
    pub earned_from_id: Option<Id>,
    /// The group below the payment group.
    pub sub_group: Option<Id>,
    /// Its status.
    pub status: Option<Id>,
    /// The contributors to it; the members are not documented.
    pub contributors: Option<Json>,
}

/// An associate's rank has changed between two commission runs.
///
/// Source: clients' public code. The wire id and the response are not documented: the id is inferred from the class's
/// name.
#[derive(Debug, ToSchema)]
pub struct LogRealtimeRankAdvance;

impl Hook for LogRealtimeRankAdvance {
    const ID: &'static str = "Commissions.LogRealtimeRankAdvance";

    type Request = LogRealtimeRankAdvanceRequest;
    type Response = EmptyResponse;

    fn example() -> &'static str {
        r#"{"AssociateId":2,"OldRank":1,"NewRank":2}"#
    }

    fn example_response() -> &'static str {
        "{}"
    }
}

/// Returns the payments that are split.
///
/// Source: the vendor's page on commission hooks. The wire id is not documented: it is inferred from the class's name.
#[derive(Debug, ToSchema)]
pub struct GetSplitPayments;

impl Hook for GetSplitPayments {
    const ID: &'static str = "Commissions.GetSplitPayments";

    type Request = GetSplitPaymentsRequest;
    type Response = GetSplitPaymentsResponse;

    fn example() -> &'static str {
        "{}"
    }

    fn example_response() -> &'static str {
        r#"{"SplitPayments":[{"FromAssociateId":2,"ToAssociateId":3,"Percent":50,"Comment":"family"}]}"#
    }
}

/// Returns the details of a bonus.
///
/// Source: the vendor's page on commission hooks. The wire id is not documented: it is inferred from the class's name.
#[derive(Debug, ToSchema)]
pub struct GetCommissionBonusDetails;

impl Hook for GetCommissionBonusDetails {
    const ID: &'static str = "Commissions.GetCommissionBonusDetails";

    type Request = GetCommissionBonusDetailsRequest;
    type Response = GetCommissionBonusDetailsResponse;

    fn example() -> &'static str {
        r#"{"AssociateId":2,"PeriodId":12,"BonusId":"FastStart"}"#
    }

    fn example_response() -> &'static str {
        r#"{"HistoryDetails":[{"AssociateId":2,"CommissionPeriodId":12,"PaymentGroup":"Weekly","Amount":12.50,"Comment":null,"EarnedFromName":"Jane Doe","EarnedFromId":3,"SubGroup":null,"Status":"Paid","Contributors":null}]}"#
    }
}
