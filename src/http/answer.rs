//! The answer to a delivery that is safely kept.

use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::event::DeliveryId;
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
        let answer =
            Answer { status: Status::Duplicate, delivery_id: 7, message_id: "m".to_owned() };
        let response = answer.respond(StatusCode::ACCEPTED);
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, r#"{"status":"duplicate","deliveryId":7,"messageId":"m"}"#);
    }
}
