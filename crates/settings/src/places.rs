//! The settings that only some dialects have: the places of a generic source, the origins of CloudEvents.

use contract::event::Dialect;
use source::{Fact, NoPlace, Place, Places};

use super::{ConfigError, PlacesConfig, SourceConfig};

impl SourceConfig {
    /// Where its deliveries say what they are: the dialect's places, or those in the settings.
    ///
    /// # Errors
    /// [`ConfigError`] for places of a dialect that has its own, and for one that is none.
    pub fn places(&self, name: &str) -> Result<Places, ConfigError> {
        let places = Places::of(self.dialect);
        match &self.places {
            None => Ok(places),
            Some(named) if self.dialect == Dialect::Generic => named.put_into(places, name),
            Some(_) => Err(ConfigError(format!(
                "[sources.{name}.places] is for senders without a dialect, and {} has its own places; remove it, or write dialect = \"generic\"",
                self.dialect
            ))),
        }
    }

    /// The origins that may send CloudEvents.
    ///
    /// # Errors
    /// [`ConfigError`] if the dialect knows no such question, or an origin is empty.
    pub(super) fn origins(&self, name: &str) -> Result<Vec<String>, ConfigError> {
        if !self.allowed_origins.is_empty() && self.dialect != Dialect::CloudEvents {
            return Err(ConfigError(format!(
                "[sources.{name}] allowed_origins is for CloudEvents, and no {} sender asks; remove it, or write dialect = \"cloudevents\"",
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
    fn put_into(&self, places: Places, name: &str) -> Result<Places, ConfigError> {
        let named = [
            ("message_id", Fact::MessageId, &self.message_id),
            ("event_type", Fact::EventType, &self.event_type),
            ("event_time", Fact::EventTime, &self.event_time),
            ("user", Fact::User, &self.user),
            ("client_id", Fact::ClientId, &self.client_id),
        ];
        named.into_iter().try_fold(places, |places, (key, fact, texts)| {
            let parsed = texts.iter().map(|text| place(name, key, text));
            Ok(places.with(fact, parsed.collect::<Result<Vec<_>, _>>()?))
        })
    }
}

fn place(name: &str, key: &str, text: &str) -> Result<Place, ConfigError> {
    Place::parse(text).map_err(|reason| {
        let line = match reason {
            NoPlace::Escape => format!("{key} = \"/meta/id\""),
            NoPlace::Name | NoPlace::Secret => format!("{key} = \"header:X-Acme-Id\""),
            NoPlace::Form => format!("{key} = \"header:X-Acme-Id\" or {key} = \"/meta/id\""),
        };
        ConfigError(format!(
            "[sources.{name}.places] {key}: {text:?} {reason}; write for example {line}"
        ))
    })
}
