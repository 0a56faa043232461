//! The answer to a delivery that is safely kept.

use axum::response::Response;
use contract::canary::Echo;
use contract::event::DeliveryId;
use http::StatusCode;
use serde::Serialize;
use server::json;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::diagnosis::Arrival;

/// The delivery is kept and will be handled; there is no need to send it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Whether it was seen for the first time.
    pub status: Status,
    /// The number under which it is kept; a duplicate has the number of the first.
    #[schema(value_type = i64, example = 1)]
    pub delivery_id: DeliveryId,
    /// The sender's id for the message, or the SHA-256 of the body if it gave none.
    #[schema(example = "OrderEvent-1")]
    pub message_id: String,
    /// What was seen of a probe; nothing for any other delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub canary: Option<Box<Echo>>,
}

/// The body and the request line of a canary; nothing is known of its headers and its key.
pub(super) fn echo(body: &[u8], arrival: &Arrival, max_body: usize) -> Echo {
    Echo {
        sha256: hex::encode(Sha256::digest(body)),
        size: body.len(),
        query: arrival.query.as_deref().map(shown_query),
        headers: Vec::new(),
        received_at: arrival.time,
        key: None,
        conflict: false,
        handles: None,
        max_body,
    }
}

/// The query without the key that may stand in it.
fn shown_query(query: &str) -> String {
    let shown = |part: &str| match part.split_once('=') {
        Some((name @ "access_token", _)) => format!("{name}=****"),
        _ => part.to_owned(),
    };
    query.split('&').map(shown).collect::<Vec<_>>().join("&")
}

/// Whether a delivery was seen for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = AnswerStatus)]
pub enum Status {
    /// New, and on disk.
    Accepted,
    /// AcceptOutcome before; nothing new is handled.
    Duplicate,
}

impl Answer {
    /// The answer as a response, with the status that the source counts as success.
    pub fn respond(&self, status: StatusCode) -> Response {
        json(status, "application/json", self)
    }
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn the_answer_is_what_the_design_promises() {
        let answer = Answer {
            status: Status::Duplicate,
            delivery_id: 7,
            message_id: "m".to_owned(),
            canary: None,
        };
        let response = answer.respond(StatusCode::ACCEPTED);
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, r#"{"status":"duplicate","deliveryId":7,"messageId":"m"}"#);
    }
}
