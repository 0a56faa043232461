//! The output of `--dry-run`.

use std::fmt;

use reqwest::Url;
use serde_json::{Value, json};

use super::message::{Message, redacted};
use super::plan::Plan;
use super::proof::{HttpDraft, NamedHeader};

impl Plan {
    /// The plan as `--dry-run --json` prints it, keys hidden.
    ///
    /// # Errors
    /// If a message cannot be signed.
    pub fn json(&self) -> anyhow::Result<Value> {
        let requests: Vec<Value> = self.drafts.iter().map(request).collect::<Result<_, _>>()?;
        Ok(json!({ "requests": requests }))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for draft in &self.drafts {
            let HttpDraft { url, headers, body } = draft.shown().map_err(|_| fmt::Error)?;
            write_request(f, &url, &headers, &body)?;
        }
        match self.total() {
            1 => Ok(()),
            total => writeln!(
                f,
                "{total} requests in all: {} messages of each event, each sent {} times",
                self.count,
                self.duplicate.saturating_add(1)
            ),
        }
    }
}

fn request(message: &Message) -> anyhow::Result<Value> {
    let HttpDraft { url, headers, body } = message.shown()?;
    Ok(request_json(&url, &headers, &body))
}

/// A request as text, keys hidden.
pub(super) fn write_request(
    f: &mut fmt::Formatter<'_>,
    url: &Url,
    headers: &[NamedHeader],
    body: &[u8],
) -> fmt::Result {
    writeln!(f, "POST {url}")?;
    for (name, value) in headers {
        writeln!(f, "{name}: {}", redacted(name, value))?;
    }
    writeln!(f, "\n{}\n", String::from_utf8_lossy(body))
}

/// A request for scripts, keys hidden.
pub(super) fn request_json(url: &Url, headers: &[NamedHeader], body: &[u8]) -> Value {
    let headers: Vec<_> =
        headers.iter().map(|(name, value)| json!([name, redacted(name, value)])).collect();
    json!({
        "method": "POST",
        "url": url.as_str(),
        "headers": headers,
        "body": String::from_utf8_lossy(body),
    })
}
