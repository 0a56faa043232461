//! Records of hook calls.

use std::time::Duration;

use contract::event::Environment;
use inbox::{HookBodies, HookCallback, HookRecord};

use crate::harness::deliveries::at;

/// A call that was answered, received at this second.
pub(crate) fn call(request_id: &str, received_at: i64) -> HookRecord {
    HookRecord {
        source: "one".into(),
        environment: Environment::Stage,
        hook: "Orders.SubmitOrder".into(),
        user: None,
        request_id: request_id.into(),
        received_at: at(received_at),
        took: Duration::from_micros(1_500),
        status: 200,
        outcome: "answered".into(),
        error_id: None,
        error: None,
        callback: None,
        bodies: None,
    }
}

/// A call with everything that can be known of it.
pub(crate) fn full_call(request_id: &str, received_at: i64) -> HookRecord {
    HookRecord {
        environment: Environment::Live,
        user: Some("jsmith".into()),
        status: 500,
        outcome: "failed".into(),
        error_id: Some("3f9a61c2".into()),
        error: Some("the callback was answered 404".into()),
        callback: Some(HookCallback {
            took: Duration::from_micros(700),
            error: Some("the callback was answered 404".into()),
        }),
        bodies: Some(HookBodies {
            request: r#"{"Total":1.50,"PaymentMethodId":"[redacted]"}"#.into(),
            callback_request: Some("{}".into()),
            callback_response: Some("\"not found\"".into()),
            response: Some("\u{0}\"".into()),
        }),
        ..call(request_id, received_at)
    }
}
