//! Settings of some dialects only: the field locators of a generic source, the origins of CloudEvents.

use contract::event::Dialect;
use source::{Fact, FieldLocator, FieldLocators, LocatorError};

use super::{ConfigError, PlacesConfig, SourceConfig};

impl SourceConfig {
    /// The field locators: the dialect's, or those in the settings.
    ///
    /// # Errors
    /// [`ConfigError`] for locators of a dialect that has its own, or an invalid one.
    pub fn field_locators(&self, name: &str) -> Result<FieldLocators, ConfigError> {
        let locators = FieldLocators::of(self.dialect);
        match &self.places {
            None => Ok(locators),
            Some(named) if self.dialect == Dialect::Generic => named.put_into(locators, name),
            Some(_) => Err(ConfigError(format!(
                "[sources.{name}.places] is for senders without a dialect, and {} has its own field locators; remove it, or write dialect = \"generic\"",
                self.dialect
            ))),
        }
    }

    /// The origins that may send CloudEvents.
    ///
    /// # Errors
    /// [`ConfigError`] if the dialect does not ask for permission, or an origin is empty.
    pub(super) fn origins(&self, name: &str) -> Result<Vec<String>, ConfigError> {
        if !self.allowed_origins.is_empty() && self.dialect != Dialect::CloudEvents {
            return Err(ConfigError(format!(
                "[sources.{name}] allowed_origins is for CloudEvents, and {} senders do not ask for permission; remove it, or write dialect = \"cloudevents\"",
                self.dialect
            )));
        }
        if self.allowed_origins.iter().any(|origin| origin.trim().is_empty()) {
            return Err(ConfigError(format!(
                "[sources.{name}] allowed_origins has an empty entry; write for example allowed_origins = [\"events.example.com\"]"
            )));
        }
        Ok(self.allowed_origins.clone())
    }
}

impl PlacesConfig {
    fn put_into(&self, locators: FieldLocators, name: &str) -> Result<FieldLocators, ConfigError> {
        let named = [
            ("message_id", Fact::MessageId, &self.message_id),
            ("event_type", Fact::EventType, &self.event_type),
            ("event_time", Fact::EventTime, &self.event_time),
            ("user", Fact::User, &self.user),
            ("client_id", Fact::ClientId, &self.client_id),
        ];
        named.into_iter().try_fold(locators, |locators, (key, fact, texts)| {
            let parsed = texts.iter().map(|text| locator(name, key, text));
            Ok(locators.with(fact, parsed.collect::<Result<Vec<_>, _>>()?))
        })
    }
}

fn locator(name: &str, key: &str, text: &str) -> Result<FieldLocator, ConfigError> {
    FieldLocator::parse(text).map_err(|reason| {
        let line = match reason {
            LocatorError::Escape => format!("{key} = \"/meta/id\""),
            LocatorError::Name | LocatorError::Secret => format!("{key} = \"header:X-Acme-Id\""),
            LocatorError::Form => format!("{key} = \"header:X-Acme-Id\" or {key} = \"/meta/id\""),
        };
        ConfigError(format!(
            "[sources.{name}.places] {key}: {text:?} {reason}; write for example {line}"
        ))
    })
}
