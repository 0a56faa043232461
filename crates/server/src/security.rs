//! Security headers of pages.

use axum::response::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

/// Browsers do not guess the type of a response.
pub const NOSNIFF: (HeaderName, HeaderValue) =
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));

/// Nothing on the way stores a response.
pub const NO_STORE: (HeaderName, HeaderValue) =
    (CACHE_CONTROL, HeaderValue::from_static("no-store"));

/// The headers of pages with this content security policy and this referrer policy.
pub fn headers(policy: HeaderValue, referrer: &'static str) -> [(HeaderName, HeaderValue); 3] {
    [
        (CONTENT_SECURITY_POLICY, policy),
        NOSNIFF,
        (REFERRER_POLICY, HeaderValue::from_static(referrer)),
    ]
}

/// Headers of pages that stand in no frame, for browsers that do not know the policy's `frame-ancestors`, and are not stored.
pub const UNFRAMED: [(HeaderName, HeaderValue); 2] =
    [(X_FRAME_OPTIONS, HeaderValue::from_static("DENY")), NO_STORE];

/// Adds headers to a response, unless it has them.
pub fn add(response: &mut Response, headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>) {
    for (name, value) in headers {
        response.headers_mut().entry(name).or_insert(value);
    }
}
