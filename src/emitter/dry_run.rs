//! A plan as `--dry-run` shows it.

use std::fmt;

use serde_json::{Value, json};

use super::message::{Message, shown};
use super::plan::Plan;

impl Plan {
    /// The plan as `--dry-run --json` prints it, keys hidden.
    pub fn json(&self) -> Value {
        json!({ "requests": self.drafts.iter().map(request).collect::<Vec<_>>() })
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for draft in &self.drafts {
            writeln!(f, "POST {}", draft.url)?;
            for (name, value) in draft.headers() {
                writeln!(f, "{name}: {}", shown(&value))?;
            }
            writeln!(f, "\n{}\n", String::from_utf8_lossy(&draft.body))?;
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

fn request(message: &Message) -> Value {
    let headers: Vec<_> =
        message.headers().iter().map(|(name, value)| json!([name, shown(value)])).collect();
    json!({
        "method": "POST",
        "url": message.url.as_str(),
        "headers": headers,
        "body": String::from_utf8_lossy(&message.body),
    })
}
