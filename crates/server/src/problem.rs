//! Problem documents of RFC 9457: one table of refusals, read by the responses and by the OpenAPI document.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{ALLOW, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;
use utoipa::ToSchema;

use super::json;

/// `Retry-After` of a busy server.
pub const SOON: Duration = Duration::from_secs(1);

/// Media type of a problem document.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// A kind of refusal.
#[derive(Debug, PartialEq, Eq)]
pub struct ProblemKind {
    /// HTTP status of the response.
    pub status: StatusCode,
    /// Stable URI of the kind.
    pub uri: &'static str,
    /// Short title of the kind; the same for every occurrence.
    pub title: &'static str,
    /// Condition of the response, for the documentation.
    pub when: &'static str,
    /// Response header that belongs to it.
    pub header: Option<&'static str>,
}

/// The body or the head is malformed.
pub const BAD_REQUEST: ProblemKind = ProblemKind {
    status: StatusCode::BAD_REQUEST,
    uri: "/problems/bad-request",
    title: "Bad request",
    when: "The body is not JSON, not UTF-8, or not an object where the event is one; a call names no hook, two hooks, or no callback token.",
    header: None,
};

/// The request does not prove who sent it.
pub const UNAUTHORIZED: ProblemKind = ProblemKind {
    status: StatusCode::UNAUTHORIZED,
    uri: "/problems/unauthorized",
    title: "Unauthorized",
    when: "The request does not prove who sent it.",
    header: Some("WWW-Authenticate"),
};

/// The request is not allowed from its origin.
pub const FORBIDDEN: ProblemKind = ProblemKind {
    status: StatusCode::FORBIDDEN,
    uri: "/problems/forbidden",
    title: "Forbidden",
    when: "The page is served to this machine only, or a form comes from another site.",
    header: None,
};

/// The path does not exist.
pub const NOT_FOUND: ProblemKind = ProblemKind {
    status: StatusCode::NOT_FOUND,
    uri: "/problems/not-found",
    title: "Not found",
    when: "Nothing is served under this path.",
    header: None,
};

/// The path has other methods.
pub const METHOD_NOT_ALLOWED: ProblemKind = ProblemKind {
    status: StatusCode::METHOD_NOT_ALLOWED,
    uri: "/problems/method-not-allowed",
    title: "Method not allowed",
    when: "The path takes another method.",
    header: Some("Allow"),
};

/// The body took too long.
pub const REQUEST_TIMEOUT: ProblemKind = ProblemKind {
    status: StatusCode::REQUEST_TIMEOUT,
    uri: "/problems/request-timeout",
    title: "Request timeout",
    when: "The body did not arrive in time.",
    header: None,
};

/// The body is too large.
pub const CONTENT_TOO_LARGE: ProblemKind = ProblemKind {
    status: StatusCode::PAYLOAD_TOO_LARGE,
    uri: "/problems/content-too-large",
    title: "Content too large",
    when: "The body is larger than the receiver takes.",
    header: None,
};

/// The head is too large.
pub const HEAD_TOO_LARGE: ProblemKind = ProblemKind {
    status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    uri: "/problems/head-too-large",
    title: "Request header fields too large",
    when: "The head is larger than the receiver takes.",
    header: None,
};

/// The request's target is too long.
pub const URI_TOO_LONG: ProblemKind = ProblemKind {
    status: StatusCode::URI_TOO_LONG,
    uri: "/problems/uri-too-long",
    title: "URI too long",
    when: "The request's target is longer than the receiver takes.",
    header: None,
};

/// The body is of another media type.
pub const UNSUPPORTED_MEDIA_TYPE: ProblemKind = ProblemKind {
    status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
    uri: "/problems/unsupported-media-type",
    title: "Unsupported media type",
    when: "The content type is not JSON, or its charset not UTF-8.",
    header: None,
};

/// The source sends too fast.
pub const TOO_MANY_REQUESTS: ProblemKind = ProblemKind {
    status: StatusCode::TOO_MANY_REQUESTS,
    uri: "/problems/too-many-requests",
    title: "Too many requests",
    when: "The source sends faster than its rate limit.",
    header: Some("Retry-After"),
};

/// The receiver itself failed.
pub const INTERNAL: ProblemKind = ProblemKind {
    status: StatusCode::INTERNAL_SERVER_ERROR,
    uri: "/problems/internal",
    title: "Internal server error",
    when: "The receiver failed; nothing is acknowledged.",
    header: None,
};

/// No handler takes the hook.
pub const NOT_IMPLEMENTED: ProblemKind = ProblemKind {
    status: StatusCode::NOT_IMPLEMENTED,
    uri: "/problems/not-implemented",
    title: "Not implemented",
    when: "No handler takes the hook, and it is not passed through.",
    header: None,
};

/// The receiver is overloaded, full or stopping.
pub const UNAVAILABLE: ProblemKind = ProblemKind {
    status: StatusCode::SERVICE_UNAVAILABLE,
    uri: "/problems/unavailable",
    title: "Service unavailable",
    when: "The receiver is overloaded, full or stopping. Send the request again later.",
    header: Some("Retry-After"),
};

/// Problem document (RFC 9457): the response to a request that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// Stable URI of the kind of problem.
    #[serde(rename = "type")]
    #[schema(format = "uri-reference", example = "/problems/unauthorized")]
    kind: &'static str,
    /// Short title of the kind.
    #[schema(example = "Unauthorized")]
    title: &'static str,
    /// The HTTP status, repeated.
    #[schema(minimum = 400, maximum = 599, example = 401)]
    status: u16,
    /// Explanation of this occurrence, if the sender may know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    detail: Option<String>,
    /// Request id, which leads to the details in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    instance: Option<String>,
    #[serde(skip)]
    challenge: Option<HeaderValue>,
    #[serde(skip)]
    allowed: Option<&'static str>,
    #[serde(skip)]
    retry_after: Option<Duration>,
}

impl Problem {
    /// Creates a problem of this kind.
    pub fn new(kind: &ProblemKind) -> Self {
        Problem {
            kind: kind.uri,
            title: kind.title,
            status: kind.status.as_u16(),
            detail: None,
            instance: None,
            challenge: None,
            allowed: None,
            retry_after: None,
        }
    }

    /// 401 with a challenge, e.g. `Bearer`.
    pub fn unauthorized(challenge: &'static str) -> Self {
        let challenge = Some(HeaderValue::from_static(challenge));
        Problem { challenge, ..Problem::new(&UNAUTHORIZED) }
    }

    /// 405 with the allowed methods, e.g. `POST, HEAD`.
    pub fn method_not_allowed(allowed: &'static str) -> Self {
        Problem { allowed: Some(allowed), ..Problem::new(&METHOD_NOT_ALLOWED) }
    }

    /// 429 with the time after which to retry.
    pub fn too_many_requests(after: Duration) -> Self {
        Problem { retry_after: Some(after), ..Problem::new(&TOO_MANY_REQUESTS) }
    }

    /// 503 with the time after which to retry.
    pub fn unavailable(after: Duration) -> Self {
        Problem { retry_after: Some(after), ..Problem::new(&UNAVAILABLE) }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Adds a public explanation of this occurrence.
    #[must_use]
    pub fn detail(self, detail: impl Into<String>) -> Self {
        Problem { detail: Some(detail.into()), ..self }
    }

    /// Identifies this occurrence, e.g. by the request id.
    #[must_use]
    pub fn instance(self, instance: impl Into<String>) -> Self {
        Problem { instance: Some(instance.into()), ..self }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = json(status, CONTENT_TYPE, &self);
        if let Some(challenge) = self.challenge {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(allowed) = self.allowed {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        }
        if let Some(after) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, whole_seconds(after).into());
        }
        response
    }
}

/// Rounds up to whole seconds, at least one.
fn whole_seconds(time: Duration) -> u64 {
    let rounded_up = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    rounded_up.max(1)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_problem_is_a_problem_document() {
        let response = Problem::new(&BAD_REQUEST).detail("not JSON").into_response();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(response.headers()["content-type"], CONTENT_TYPE);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(
            body,
            r#"{"type":"/problems/bad-request","title":"Bad request","status":400,"detail":"not JSON"}"#
        );
    }

    #[test]
    fn a_challenge_and_a_time_to_come_again_are_headers() {
        let response = Problem::unauthorized("Bearer").into_response();
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
        let response = Problem::unavailable(Duration::from_millis(1200)).into_response();
        assert_eq!(response.headers()[RETRY_AFTER], "2");
    }
}
