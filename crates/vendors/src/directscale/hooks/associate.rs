//! Associates: enrolled, changed, titled, and the autoships that their services make.

use contract::event::{Id, Json, NetDateTime, Open, Quantity};
use contract::hook::Hook;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::shared::{Address, EmptyResponse};

/// An associate's record before and after a change.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateAssociateRequest {
    /// The record as it is.
    #[schema(value_type = Option<AssociateInfo>)]
    pub old_associate_info: Option<Open<AssociateInfo>>,
    /// The record after the change.
    #[schema(value_type = AssociateInfo)]
    pub updated_associate_info: Open<AssociateInfo>,
}

/// An associate's record. Source: clients' public code, which uses these members; there are many more.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct AssociateInfo {
    /// The number of the associate.
    pub associate_id: Option<Id>,
    /// The number of the base type: 1 distributor, 2 retail customer, others by configuration.
    pub associate_base_type: Option<Id>,
    /// The number of the status; its meaning is the client's configuration.
    pub status_id: Option<Id>,
}

/// The application of a person who wants to become an associate.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct WriteApplicationRequest {
    /// The data entered.
    #[schema(value_type = Application)]
    pub application: Open<Application>,
}

/// The data entered while enrolling. Personal data. Source: clients' public code; there are more members.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Application {
    /// The first name.
    pub first_name: Option<String>,
    /// The last name.
    pub last_name: Option<String>,
    /// The e-mail address.
    pub email_address: Option<String>,
    /// The telephone.
    pub primary_phone: Option<String>,
    /// The language's code.
    pub language_code: Option<String>,
    /// The date of birth.
    pub birth_date: Option<NetDateTime>,
    /// The applicant's address.
    #[schema(value_type = Option<Address>)]
    pub applicant_address: Option<Open<Address>>,
    /// The id in a system outside the vendor's.
    pub external_id: Option<Id>,
    /// The id that is shown to people.
    pub back_office_id: Option<Id>,
}

/// The associate that was made of an application.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct WriteApplicationResponse {
    /// The associate.
    #[schema(value_type = Option<ApplicationResponse>)]
    pub application_response: Option<Open<ApplicationResponse>>,
}

/// The ids of a new associate.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ApplicationResponse {
    /// The number of the associate.
    pub associate_id: Option<Id>,
    /// The id that is shown to people.
    pub back_office_id: Option<Id>,
}

/// The associate whose second title is requested.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct GetSecondaryTitleRequest {
    /// The number of the associate.
    pub associate_id: Id,
}

/// An associate's second title.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct GetSecondaryTitleResponse {
    /// The title.
    pub title: Option<String>,
}

/// A service for which an autoship is created.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct GetAssociateServiceAutoshipSettingsRequest {
    /// The number of the associate.
    pub associate_id: Option<Id>,
    /// The service.
    #[schema(value_type = Option<AssociateService>)]
    pub service: Option<Open<AssociateService>>,
}

/// A service that an associate subscribes to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct AssociateService {
    /// The number of the subscription.
    pub subscription_id: Option<Id>,
    /// The number of the item.
    pub item_id: Option<Id>,
    /// The number of units of time in a period.
    pub period: Option<Quantity>,
    /// The number of the unit of time.
    pub period_type: Option<Id>,
    /// The time for which the service continues without payment.
    pub grace_period: Option<Quantity>,
    /// True if an autoship is created for it.
    pub create_autoship: Option<bool>,
    /// True if it is renewed each year.
    pub yearly_renewal: Option<bool>,
}

/// The autoship settings of a service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct GetAssociateServiceAutoshipSettingsResponse {
    /// The settings.
    #[schema(value_type = Option<ServiceAutoshipSettings>)]
    pub autoship_settings: Option<Open<ServiceAutoshipSettings>>,
}

/// The settings of a service's autoship.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ServiceAutoshipSettings {
    /// The number of the shipping method.
    pub ship_method_id: Option<Id>,
    /// The number of the item that replaces the service's own.
    pub overridden_autoship_item_id: Option<Id>,
}

/// Changes an associate's record.
///
/// Source: clients' public code. The wire id and the response are not documented: the id is inferred from the class's
/// name.
#[derive(Debug, ToSchema)]
pub struct UpdateAssociate;

impl Hook for UpdateAssociate {
    const ID: &'static str = "Associates.UpdateAssociate";

    type Request = UpdateAssociateRequest;
    type Response = EmptyResponse;

    fn example() -> &'static str {
        r#"{"OldAssociateInfo":{"AssociateId":2,"AssociateBaseType":2,"StatusId":1},"UpdatedAssociateInfo":{"AssociateId":2,"AssociateBaseType":1,"StatusId":1}}"#
    }

    fn example_response() -> &'static str {
        "{}"
    }
}

/// Enrols an associate.
///
/// Source: clients' public code. The wire id is not documented. No id of a nested namespace is shown anywhere, so both
/// readings are taken.
#[derive(Debug, ToSchema)]
pub struct WriteApplication;

impl Hook for WriteApplication {
    const ID: &'static str = "Associates.Enrollment.WriteApplication";
    const ALIASES: &'static [&'static str] = &["Enrollment.WriteApplication"];

    type Request = WriteApplicationRequest;
    type Response = WriteApplicationResponse;

    fn example() -> &'static str {
        r#"{"Application":{"FirstName":"Jane","LastName":"Doe","EmailAddress":"jane.doe@example.com","PrimaryPhone":null,"LanguageCode":"en","BirthDate":"1990-01-31T00:00:00","ApplicantAddress":{"AddressLine1":"350 S. 400 W.","City":"Lindon","State":"UT","PostalCode":"84042","CountryCode":"us"},"ExternalId":null,"BackOfficeId":null}}"#
    }

    fn example_response() -> &'static str {
        r#"{"ApplicationResponse":{"AssociateId":3,"BackOfficeId":"A30"}}"#
    }
}

/// Returns an associate's second title.
///
/// Source: the vendor's page on associate hooks. The wire id is not documented: it is inferred from the class's name.
#[derive(Debug, ToSchema)]
pub struct GetSecondaryTitle;

impl Hook for GetSecondaryTitle {
    const ID: &'static str = "Associates.GetSecondaryTitle";

    type Request = GetSecondaryTitleRequest;
    type Response = GetSecondaryTitleResponse;

    fn example() -> &'static str {
        r#"{"AssociateId":2}"#
    }

    fn example_response() -> &'static str {
        r#"{"Title":"Founder"}"#
    }
}

/// Returns the autoship settings of a service.
///
/// Source: the vendor's page on associate hooks. The wire id is not documented: it is inferred from the class's name.
#[derive(Debug, ToSchema)]
pub struct GetAssociateServiceAutoshipSettings;

impl Hook for GetAssociateServiceAutoshipSettings {
    const ID: &'static str = "Associates.GetAssociateServiceAutoshipSettings";

    type Request = GetAssociateServiceAutoshipSettingsRequest;
    type Response = GetAssociateServiceAutoshipSettingsResponse;

    fn example() -> &'static str {
        r#"{"AssociateId":2,"Service":{"SubscriptionId":1,"ItemId":9,"Period":1,"PeriodType":2,"GracePeriod":5,"CreateAutoship":true,"YearlyRenewal":false}}"#
    }

    fn example_response() -> &'static str {
        r#"{"AutoshipSettings":{"ShipMethodId":1,"OverriddenAutoshipItemId":9}}"#
    }
}

/// Handles a notification event.
///
/// Source: the vendor's page on associate hooks. Neither the wire id nor the models are documented: the id is inferred
/// from the class's name.
#[derive(Debug, ToSchema)]
pub struct OnNotificationEvent;

impl Hook for OnNotificationEvent {
    const ID: &'static str = "Associates.OnNotificationEvent";

    type Request = Json;
    type Response = Json;

    fn example() -> &'static str {
        "{}"
    }

    fn example_response() -> &'static str {
        "{}"
    }
}

/// Tells if an email address can be enrolled.
///
/// Source: clients' public code. Neither the wire id nor the models are documented: the id is inferred from the class's
/// name.
#[derive(Debug, ToSchema)]
pub struct IsEmailAvailable;

impl Hook for IsEmailAvailable {
    const ID: &'static str = "Associates.Enrollment.IsEmailAvailable";
    const ALIASES: &'static [&'static str] = &["Enrollment.IsEmailAvailable"];

    type Request = Json;
    type Response = Json;

    fn example() -> &'static str {
        "{}"
    }

    fn example_response() -> &'static str {
        "{}"
    }
}
