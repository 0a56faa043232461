//! The answer to a delivery that is safely kept.

use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::diagnosis::Arrival;
use crate::event::{DeliveryId, Timestamp};
use crate::web::json;

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

/// What the receiver saw of a canary, so that `doctor` can tell what was changed on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Echo {
    /// SHA-256 of the bytes that were verified, in hexadecimal digits.
    pub sha256: String,
    /// How many bytes that were.
    pub size: usize,
    /// The query of the request, its `access_token` left out.
    pub query: Option<String>,
    /// The names of the headers that arrived.
    pub headers: Vec<String>,
    /// The receiver's clock.
    pub received_at: Timestamp,
    /// The fingerprint of the key that proved it.
    pub key: Option<String>,
    /// Whether its id was seen before with other bytes.
    pub conflict: bool,
    /// The catalog's name for the event or hook that the mark or else the path names, if a handler takes it.
    pub handles: Option<String>,
    /// The largest body that the receiver takes, in bytes.
    pub max_body: usize,
}

impl Echo {
    /// What the body and the request line tell; nothing is known of its headers and its key.
    pub(super) fn of(body: &[u8], arrival: &Arrival<'_>, max_body: usize) -> Self {
        Echo {
            sha256: hex::encode(Sha256::digest(body)),
            size: body.len(),
            query: arrival.query.map(shown_query),
            headers: Vec::new(),
            received_at: arrival.time,
            key: None,
            conflict: false,
            handles: None,
            max_body,
        }
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
    /// Seen before; nothing new is handled.
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
