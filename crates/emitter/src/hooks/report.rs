//! The results of hook calls, and the changes that each hook made.

use std::time::Duration;

use bytes::Bytes;
use contract::hook::RemoteError;
use http::StatusCode;
use reqwest::Url;

use crate::report::is_refusal;

use super::diff::{Change, Text, diff};
use super::mock_vendor::CallbackRecord;
use super::services::ServiceRecord;
use crate::attempt::HttpResponse;

/// The report of a run of hook calls.
#[derive(Debug)]
pub struct HookReport {
    pub(super) planned: usize,
    /// True if the calls were forged.
    pub(super) is_forged: bool,
    pub(super) calls: Vec<CallResult>,
}

/// The result of one call.
#[derive(Debug)]
pub(super) struct CallResult {
    pub(super) hook: String,
    pub(super) url: Url,
    pub(super) request: Bytes,
    pub(super) callbacks: Vec<CallbackRecord>,
    pub(super) services: Vec<ServiceResult>,
    /// The hook's response, or the reason why there is none.
    pub(super) result: Result<HttpResponse, String>,
    pub(super) took: Duration,
}

/// A call of a service by the hook.
#[derive(Debug)]
pub(super) struct ServiceResult {
    pub(super) call: ServiceRecord,
    /// The receiver's answer to the posted event, or the reason why there is none.
    pub(super) delivered: Option<Result<StatusCode, String>>,
}

impl HookReport {
    /// True if every call was answered 200, or every forged call 401.
    pub fn is_as_expected(&self) -> bool {
        self.as_expected() == self.planned
    }

    pub(super) fn as_expected(&self) -> usize {
        self.calls.iter().filter(|call| self.is_call_as_expected(call)).count()
    }

    pub(super) fn is_call_as_expected(&self, call: &CallResult) -> bool {
        call.result.as_ref().is_ok_and(|answer| match self.is_forged {
            true => is_refusal(answer.status),
            false => answer.status == StatusCode::OK,
        })
    }
}

impl CallResult {
    /// The callback that was accepted: there can be only one.
    pub(super) fn callback(&self) -> Option<&CallbackRecord> {
        self.callbacks.iter().find(|callback| callback.refusal.is_none())
    }

    /// The changes that the hook made before its callback; none if it has not called back, or not with JSON.
    pub(super) fn before(&self) -> Option<Vec<Change>> {
        compare(&self.request, &self.callback()?.request)
    }

    /// The changes that the hook made after its callback; none if there is nothing to compare, such as a response and
    /// an error.
    pub(super) fn after(&self) -> Option<Vec<Change>> {
        let (status, response) = self.callback()?.answer.as_ref()?;
        let answer = self.result.as_ref().ok().filter(|answer| answer.status == *status)?;
        compare(response, &answer.body)
    }

    /// The error id of the hook's own failure. A forwarded failure of the vendor's logic has one of the vendor's.
    pub(super) fn error_id(&self) -> Option<String> {
        let answer = self.result.as_ref().ok()?;
        let vendors = self.callback().and_then(|callback| callback.answer.as_ref());
        if vendors.is_some_and(|(_, body)| body[..] == answer.body[..]) {
            return None;
        }
        let error: RemoteError = serde_json::from_slice(&answer.body).ok()?;
        Some(error.disco_remote_exception.error_id)
    }
}

fn compare(was: &[u8], is: &[u8]) -> Option<Vec<Change>> {
    Some(diff(&Text::of(was)?, &Text::of(is)?))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn a_failure_of_the_hooks_own_says_where_its_reason_stands() {
        let body = serde_json::to_vec(&RemoteError::new("3f9a61c2", "Sold out.")).unwrap();
        let call = CallResult {
            hook: "Tests.Before".into(),
            url: Url::parse("http://127.0.0.1/").unwrap(),
            request: Bytes::from_static(b"{}"),
            callbacks: Vec::new(),
            services: Vec::new(),
            result: Ok(HttpResponse { status: StatusCode::INTERNAL_SERVER_ERROR, body }),
            took: Duration::ZERO,
        };
        let report = HookReport { planned: 1, is_forged: false, calls: vec![call] };
        let text = report.to_string();
        assert!(text.contains("hooks list --error-id 3f9a61c2"), "{text}");
    }
}
