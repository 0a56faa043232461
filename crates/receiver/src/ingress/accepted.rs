//! Response to an accepted delivery.

use axum::response::{IntoResponse, Response};
use contract::canary::CanaryReport;
use contract::event::DeliveryId;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use server::json;
use sha2::{Digest, Sha256};
use source::Auth;
use utoipa::ToSchema;

use super::diagnosis::Arrival;

/// Response to a delivery that is stored: it need not be sent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Answer)]
pub struct AcceptedBody {
    /// New or duplicate.
    pub status: AcceptedStatus,
    /// Id of the stored delivery; a duplicate has the id of the first one.
    #[schema(value_type = i64, example = 1)]
    pub delivery_id: DeliveryId,
    /// The sender's id for the message, or the SHA-256 of the body if it gave none.
    #[schema(example = "OrderEvent-1")]
    pub message_id: String,
    /// The report on a canary; absent for all other deliveries.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub canary: Option<Box<CanaryReport>>,
}

/// The report on a canary's body and request line; its headers and key are added by the caller.
pub(super) fn echo(body: &[u8], arrival: &Arrival, auth: &Auth, max_body: usize) -> CanaryReport {
    CanaryReport {
        sha256: hex::encode(Sha256::digest(body)),
        size: body.len(),
        query: arrival.uri.query().map(|query| shown_query(query, auth)),
        headers: Vec::new(),
        received_at: arrival.time,
        key: None,
        conflict: false,
        handles: None,
        max_body,
    }
}

/// Query string without the keys in it.
fn shown_query(query: &str, auth: &Auth) -> String {
    let is_secret =
        |name: &str| name == "access_token" || auth.secret_parameters().any(|own| own == name);
    let shown = |part: &str| match part.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}=****"),
        _ => part.to_owned(),
    };
    query.split('&').map(shown).collect::<Vec<_>>().join("&")
}

/// Status of an accepted delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = AnswerStatus)]
pub enum AcceptedStatus {
    /// The delivery is new, and on disk.
    Accepted,
    /// The message id is known; nothing new is handled.
    Duplicate,
}

impl AcceptedBody {
    /// Converts it to a response with this status, the one that the source's sender counts as success, and with this
    /// body, if the sender needs another than the receipt.
    pub fn respond(&self, status: StatusCode, body: Option<&str>) -> Response {
        match body {
            None => json(status, "application/json", self),
            Some("") => status.into_response(),
            Some(text) => {
                let is_json = text.starts_with('{');
                let content_type =
                    if is_json { "application/json" } else { "text/plain; charset=utf-8" };
                (status, [(CONTENT_TYPE, content_type)], text.to_owned()).into_response()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn the_answer_is_what_the_design_promises() {
        let answer = AcceptedBody {
            status: AcceptedStatus::Duplicate,
            delivery_id: 7,
            message_id: "m".to_owned(),
            canary: None,
        };
        let response = answer.respond(StatusCode::ACCEPTED, None);
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, r#"{"status":"duplicate","deliveryId":7,"messageId":"m"}"#);
    }
}
