//! Records of hook calls, as the hook log stores them.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use contract::event::{Environment, without_bom};
use contract::time::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// Outcomes of a hook call, as named by the hook log, its filter and the metrics. `hung-up` is a call whose connection was
/// cut; a caller that leaves without closing it cannot be told from one that waits.
pub const HOOK_OUTCOMES: [&str; 10] = [
    "answered",
    "passed-through",
    "vendor-error",
    "told",
    "failed",
    "panicked",
    "timed-out",
    "unreadable",
    "unhandled",
    "hung-up",
];

/// Record of one finished hook call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HookRecord {
    /// The source that called.
    pub source: String,
    /// The source's environment.
    #[serde(serialize_with = "name")]
    pub environment: Environment,
    /// The hook's id: the catalog's spelling, or the caller's if the catalog does not know it.
    pub hook: String,
    /// The user on whose behalf the source called, if there was one.
    pub user: Option<String>,
    /// The request's id in the log.
    pub request_id: String,
    /// Time at which the call was received.
    pub received_at: Timestamp,
    /// Time until the response, the callback included.
    #[serde(rename = "tookUs", serialize_with = "micros")]
    pub took: Duration,
    /// HTTP status of the response.
    pub status: u16,
    /// One of [`HOOK_OUTCOMES`].
    pub outcome: Cow<'static, str>,
    /// Error id that the response gave the caller, if the call failed.
    pub error_id: Option<String>,
    /// Reason of the failure, for the owner.
    pub error: Option<String>,
    /// Result of the callback, if it was used.
    pub callback: Option<HookCallback>,
    /// Request and response bodies, if the settings keep them. A listing leaves them out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bodies: Option<HookBodies>,
}

impl HookRecord {
    /// Approximate size in memory and on disk, in bytes.
    pub fn size(&self) -> usize {
        let bodies = self.bodies.iter().flat_map(HookBodies::iter).map(|(_, body)| body.len());
        let error = self.error.as_ref().map_or(0, String::len);
        size_of::<HookRecord>() + 256 + error + self.hook.len() + bodies.sum::<usize>()
    }
}

/// Result of a call's callback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HookCallback {
    /// Duration of the callback.
    #[serde(rename = "tookUs", serialize_with = "micros")]
    pub took: Duration,
    /// Reason of the failure, if it failed.
    pub error: Option<String>,
}

/// Bodies of a call, as JSON text without secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HookBodies {
    /// Body of the request.
    #[serde(serialize_with = "json")]
    pub request: Bytes,
    /// Body of the callback's request, if it was used.
    #[serde(serialize_with = "optional_json")]
    pub callback_request: Option<Bytes>,
    /// Body of the callback's response, if there was one.
    #[serde(serialize_with = "optional_json")]
    pub callback_response: Option<Bytes>,
    /// Body of the response, if there was one.
    #[serde(serialize_with = "optional_json")]
    pub response: Option<Bytes>,
}

impl HookBodies {
    /// Iterates over the bodies that exist, each with its name, in the order of the conversation.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Bytes)> {
        [
            ("request", Some(&self.request)),
            ("callback request", self.callback_request.as_ref()),
            ("callback response", self.callback_response.as_ref()),
            ("response", self.response.as_ref()),
        ]
        .into_iter()
        .filter_map(|(name, body)| Some((name, body?)))
    }
}

/// Stored call, with its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HookEntry {
    /// Number of the call in the hook log.
    pub id: i64,
    /// The call.
    #[serde(flatten)]
    pub record: HookRecord,
}

/// Filter of a hook log query. All given conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HookFilter {
    /// From this source.
    pub source: Option<String>,
    /// Of this hook, without regard to case.
    pub hook: Option<String>,
    /// With this outcome.
    pub outcome: Option<String>,
    /// With this error id.
    pub error_id: Option<String>,
    /// Received at this time or later.
    pub since: Option<Timestamp>,
    /// Received before this time.
    pub until: Option<Timestamp>,
    /// With a smaller number: the cursor for the next page.
    pub before: Option<i64>,
    /// Largest number of results.
    pub limit: Option<usize>,
}

fn name<S: Serializer>(environment: &Environment, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(environment.as_str())
}

fn micros<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).serialize(serializer)
}

fn json<S: Serializer>(body: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    match serde_json::from_slice::<&RawValue>(without_bom(body)) {
        Ok(json) => json.serialize(serializer),
        Err(_) => serializer.serialize_str(&String::from_utf8_lossy(body)),
    }
}

fn optional_json<S: Serializer>(body: &Option<Bytes>, serializer: S) -> Result<S::Ok, S::Error> {
    match body {
        Some(body) => json(body, serializer),
        None => serializer.serialize_none(),
    }
}
