//! The fields of a form or a query.

use contract::time::Timestamp;
use serde::de::DeserializeOwned;

/// A field that cannot be read: its name, and what to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormError {
    /// Name of the field; empty for the form as a whole.
    pub field: String,
    /// The reason, and what to write instead.
    pub reason: String,
}

impl FormError {
    /// An error of a field.
    pub fn new(field: &str, reason: impl Into<String>) -> Self {
        FormError { field: field.to_owned(), reason: reason.into() }
    }
}

impl std::fmt::Display for FormError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.field.as_str() {
            "" => f.write_str(&self.reason),
            field => write!(f, "{field}: {}", self.reason),
        }
    }
}

/// The fields of a form or a query that are not empty, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FormFields(Vec<(String, String)>);

impl FormFields {
    /// Parses the body of a form or a query.
    ///
    /// # Errors
    /// If it is no form.
    pub fn read(text: &[u8]) -> Result<Self, FormError> {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(text)
            .map_err(|error| FormError::new("", format!("not a form: {error}")))?;
        let known = pairs.into_iter().map(|(name, text)| (name, text.trim().to_owned()));
        Ok(FormFields(known.filter(|(_, text)| !text.is_empty()).collect()))
    }

    /// The names and texts of all fields, as they were typed: for passwords.
    pub fn untrimmed(text: &[u8]) -> Vec<(String, String)> {
        serde_urlencoded::from_bytes(text).unwrap_or_default()
    }

    /// The text of a field; empty if it is missing.
    pub fn get(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    /// The text of a field, if there is any.
    pub fn some(&self, name: &str) -> Option<String> {
        self.all(name).next().map(str::to_owned)
    }

    /// The texts of a field that can be given several times.
    pub fn all<'f>(&'f self, name: &str) -> impl Iterator<Item = &'f str> {
        let is_it = move |pair: &&(String, String)| pair.0 == name;
        self.0.iter().filter(is_it).map(|(_, text)| text.as_str()).collect::<Vec<_>>().into_iter()
    }

    /// True if a check box is ticked.
    pub fn is_on(&self, name: &str) -> bool {
        matches!(self.get(name), "on" | "1" | "true")
    }

    /// The names and texts of all fields.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// Sets a field, in place of what it held.
    pub fn set(&mut self, name: &str, text: impl Into<String>) {
        self.remove(name);
        self.0.push((name.to_owned(), text.into()));
    }

    /// Removes a field.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(its, _)| its != name);
    }

    /// The fields with one of these names.
    #[must_use]
    pub fn only(&self, names: &[&str]) -> FormFields {
        let is_one = |pair: &&(String, String)| names.contains(&pair.0.as_str());
        FormFields(self.0.iter().filter(is_one).cloned().collect())
    }

    /// A time in UTC, as a `datetime-local` field sends it, in full, or as a duration before `now` such as `2h`.
    ///
    /// # Errors
    /// If it is none of these.
    pub fn time(&self, name: &str, now: Timestamp) -> Result<Option<Timestamp>, FormError> {
        self.some(name).map(|text| time(name, &text, now)).transpose()
    }

    /// A number.
    ///
    /// # Errors
    /// If it is none.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, FormError> {
        let number = |text: String| {
            text.parse().map_err(|_| FormError::new(name, format!("{text:?} is no number here")))
        };
        self.some(name).map(number).transpose()
    }

    /// The fields as a value that is deserialized from text fields.
    ///
    /// # Errors
    /// If a field does not fit.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, FormError> {
        serde_urlencoded::from_str(&self.query())
            .map_err(|error| FormError::new("", error.to_string()))
    }

    /// The fields as a query.
    pub fn query(&self) -> String {
        serde_urlencoded::to_string(&self.0).unwrap_or_default()
    }

    /// The same query with another value of one field; without the field if the value is empty.
    pub fn with(&self, name: &str, value: &str) -> String {
        let mut fields = self.clone();
        fields.remove(name);
        if !value.is_empty() {
            fields.set(name, value);
        }
        fields.query()
    }
}

fn time(name: &str, text: &str, now: Timestamp) -> Result<Timestamp, FormError> {
    if let Some(before) = length(text) {
        return Ok(now - before);
    }
    let full = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        19 => format!("{text}Z"),
        _ => text.to_owned(),
    };
    full.parse().map_err(|_| {
        FormError::new(
            name,
            format!("{text:?} is no time; write for example 2026-01-31T12:00 (UTC), or 2h for the last two hours"),
        )
    })
}

/// A length of time: a number with the unit s, m, h or d.
fn length(text: &str) -> Option<chrono::TimeDelta> {
    let unit = text.chars().last()?;
    let number: i64 = text[..text.len() - unit.len_utf8()].parse().ok().filter(|n| *n >= 0)?;
    match unit {
        's' => chrono::TimeDelta::try_seconds(number),
        'm' => chrono::TimeDelta::try_minutes(number),
        'h' => chrono::TimeDelta::try_hours(number),
        'd' => chrono::TimeDelta::try_days(number.min(100_000)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_fields_are_left_out_and_others_decoded() {
        let fields = FormFields::read(b"a=+&b=x%26y+z&c=&id=1&id=2").unwrap();
        assert_eq!((fields.some("a"), fields.get("b"), fields.get("c")), (None, "x&y z", ""));
        assert_eq!(fields.all("id").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(fields.with("b", "7"), "id=1&id=2&b=7");
        assert_eq!(fields.with("b", ""), "id=1&id=2");
        assert_eq!(fields.only(&["b"]).query(), "b=x%26y+z");
    }

    #[test]
    fn a_time_is_utc_or_before_now() {
        let now = "2026-02-01T00:00:00Z".parse().unwrap();
        let fields = FormFields::read(
            b"a=2026-01-31T12:00&b=2026-01-31T12:00:05&c=2026-01-31T13:00:00%2B01:00&d=noon&f=12h&g=2026-01-31",
        )
        .unwrap();
        let text = |name| fields.time(name, now).unwrap().unwrap().to_rfc3339();
        assert_eq!(text("a"), "2026-01-31T12:00:00+00:00");
        assert_eq!(text("b"), "2026-01-31T12:00:05+00:00");
        assert_eq!(text("c"), text("a"));
        assert_eq!(text("f"), text("a"));
        assert_eq!(text("g"), "2026-01-31T00:00:00+00:00");
        assert!(fields.time("d", now).is_err());
        assert_eq!(fields.time("e", now).unwrap(), None);
    }
}
