//! What is kept of a hook's call.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use contract::event::{Environment, without_bom};
use contract::time::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// How a call can end, as the log of calls, its filter and the metrics name it. A caller who leaves without a word looks
/// like one who waits; `hung-up` is a call that was cut off.
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

/// One call of a hook, as it ended.
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
    /// The user on whose behalf it called, if there was one.
    pub user: Option<String>,
    /// The request's id in the log.
    pub request_id: String,
    /// When the call came.
    pub received_at: Timestamp,
    /// How long its answer took, the callback included.
    #[serde(rename = "tookUs", serialize_with = "micros")]
    pub took: Duration,
    /// The answer's status.
    pub status: u16,
    /// One of [`HOOK_OUTCOMES`].
    pub outcome: Cow<'static, str>,
    /// The id under which the caller was told of a failure.
    pub error_id: Option<String>,
    /// Why it failed, for the owner.
    pub error: Option<String>,
    /// What came of the callback, if it was used.
    pub callback: Option<HookCallback>,
    /// What was said, if the settings keep it. A listing leaves it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bodies: Option<HookBodies>,
}

impl HookRecord {
    /// About the bytes that it takes in memory and on disk.
    pub fn size(&self) -> usize {
        let bodies = self.bodies.iter().flat_map(HookBodies::iter).map(|(_, body)| body.len());
        let error = self.error.as_ref().map_or(0, String::len);
        size_of::<HookRecord>() + 256 + error + self.hook.len() + bodies.sum::<usize>()
    }
}

/// What came of a call's callback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HookCallback {
    /// How long it took.
    #[serde(rename = "tookUs", serialize_with = "micros")]
    pub took: Duration,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// What was said in a call: JSON text, without what must not be kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HookBodies {
    /// What was asked.
    #[serde(serialize_with = "json")]
    pub request: Bytes,
    /// What the callback was asked, if it was used.
    #[serde(serialize_with = "optional_json")]
    pub callback_request: Option<Bytes>,
    /// What it answered, if it did.
    #[serde(serialize_with = "optional_json")]
    pub callback_response: Option<Bytes>,
    /// What was answered, if anything was.
    #[serde(serialize_with = "optional_json")]
    pub response: Option<Bytes>,
}

impl HookBodies {
    /// Each body that there is, with what it is, in the order in which they were said.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Bytes)> {
        [
            ("request", Some(&self.request)),
            ("callback request", self.callback_request.as_ref()),
            ("callback response", self.callback_response.as_ref()),
            ("response", self.response.as_ref()),
        ]
        .into_iter()
        .filter_map(|(what, body)| Some((what, body?)))
    }
}

/// A call that is kept, under its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HookEntry {
    /// The log's number.
    pub id: i64,
    /// The call.
    #[serde(flatten)]
    pub record: HookRecord,
}

/// Which calls. Every given condition must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HookFilter {
    /// From this source.
    pub source: Option<String>,
    /// Of this hook, without regard to case.
    pub hook: Option<String>,
    /// With this outcome.
    pub outcome: Option<String>,
    /// Whose caller was told this id of an error.
    pub error_id: Option<String>,
    /// Received at this time or later.
    pub since: Option<Timestamp>,
    /// Received before this time.
    pub until: Option<Timestamp>,
    /// With a smaller number: the cursor for the next page.
    pub before: Option<i64>,
    /// At most so many.
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
