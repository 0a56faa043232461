//! The fields of a form or a query.

use std::collections::BTreeMap;

use contract::time::Timestamp;
use serde::de::DeserializeOwned;

use super::super::BusError;

/// The fields of a form or a query that are not empty.
#[derive(Debug, Clone, Default)]
pub(super) struct FormFields(BTreeMap<String, String>);

impl FormFields {
    /// Parses the body of a form or a query.
    pub(super) fn read(text: &[u8]) -> Result<Self, BusError> {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(text)
            .map_err(|error| BusError::Invalid(format!("not a form: {error}")))?;
        let known = pairs.into_iter().map(|(name, text)| (name, text.trim().to_owned()));
        Ok(FormFields(known.filter(|(_, text)| !text.is_empty()).collect()))
    }

    /// The text of a field; empty if it is missing.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// The text of a field, if there is any.
    pub(super) fn some(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    pub(super) fn set(&mut self, name: &str, text: String) {
        self.0.insert(name.to_owned(), text);
    }

    /// A time in UTC, as a `datetime-local` field sends it or in full.
    pub(super) fn time(&self, name: &str) -> Result<Option<Timestamp>, BusError> {
        self.some(name).map(|text| time(name, &text)).transpose()
    }

    /// A number above 0.
    pub(super) fn number(&self, name: &str) -> Result<Option<f64>, BusError> {
        let number = |text: String| {
            text.parse().map_err(|_| BusError::Invalid(format!("{name}: {text:?} is no number")))
        };
        self.some(name).map(number).transpose()
    }

    /// The fields as a filter, times completed.
    pub(super) fn filter<T: DeserializeOwned>(&self) -> Result<T, BusError> {
        let mut fields = self.0.clone();
        fields.remove("note");
        for name in ["since", "until"] {
            if let Some(time) = self.time(name)? {
                fields.insert(name.to_owned(), time.to_rfc3339());
            }
        }
        let invalid = |error: &dyn std::fmt::Display| BusError::Invalid(format!("filter: {error}"));
        let query = serde_urlencoded::to_string(fields).map_err(|error| invalid(&error))?;
        serde_urlencoded::from_str(&query).map_err(|error| invalid(&error))
    }

    /// The same query with another cursor, and without the note on the last action.
    pub(super) fn with(&self, name: &str, cursor: String) -> String {
        let mut fields = self.0.clone();
        fields.insert(name.to_owned(), cursor);
        fields.remove("note");
        serde_urlencoded::to_string(fields).unwrap_or_default()
    }
}

fn time(name: &str, text: &str) -> Result<Timestamp, BusError> {
    let full = match text.len() {
        16 => format!("{text}:00Z"),
        19 => format!("{text}Z"),
        _ => text.to_owned(),
    };
    full.parse().map_err(|_| {
        BusError::Invalid(format!(
            "{name}: {text:?} is no time; write for example 2026-01-31T12:00"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_fields_are_left_out_and_others_decoded() {
        let fields = FormFields::read(b"a=+&b=x%26y+z&c=").unwrap();
        assert_eq!((fields.some("a"), fields.get("b"), fields.get("c")), (None, "x&y z", ""));
        assert_eq!(fields.with("before", "7".into()), "b=x%26y+z&before=7");
    }

    #[test]
    fn a_time_is_utc_with_or_without_its_seconds() {
        let fields = FormFields::read(
            b"a=2026-01-31T12:00&b=2026-01-31T12:00:05&c=2026-01-31T13:00:00%2B01:00&d=noon",
        )
        .unwrap();
        let text = |name| fields.time(name).unwrap().unwrap().to_rfc3339();
        assert_eq!(text("a"), "2026-01-31T12:00:00+00:00");
        assert_eq!(text("b"), "2026-01-31T12:00:05+00:00");
        assert_eq!(text("c"), text("a"));
        assert!(fields.time("d").is_err());
        assert_eq!(fields.time("e").unwrap(), None);
    }
}
