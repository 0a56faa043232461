//! Parts of a source's description: its own, or its dialect's.

use contract::event::Dialect;
use source::{AcceptedBody, FieldLocators, Handshake, HandshakeConfig, LocatorError, Sender};
use text::form::FORM;

use super::{ConfigError, SourceConfig};

impl SourceConfig {
    /// The row of the source's dialect in the table of senders.
    pub fn sender(&self) -> Sender {
        Sender::of(self.dialect)
    }

    /// The row of the sender whose scheme is named in the settings.
    pub(super) fn scheme_sender(&self) -> Option<Sender> {
        self.scheme.as_deref().and_then(Dialect::from_name).map(Sender::of)
    }

    /// The field locators: the dialect's, replaced by those in the settings.
    ///
    /// # Errors
    /// [`ConfigError`] for an invalid locator.
    pub fn field_locators(&self, name: &str) -> Result<FieldLocators, ConfigError> {
        let locators = FieldLocators::of_sender(&self.sender(), self.places.as_ref());
        let bodies = self.accepted_bodies();
        let is_form = bodies.contains(&AcceptedBody::Form) && !bodies.contains(&AcceptedBody::Json);
        let typed = locators.map(|mut locators| {
            if is_form {
                locators.content_type = FORM.into();
            }
            locators
        });
        typed.map_err(|(key, text, reason)| {
            let line = match reason {
                LocatorError::Secret => format!("{key} = \"header:X-Acme-Id\""),
                _ => format!("{key} = \"header:X-Acme-Id\" or {key} = \"/meta/id\""),
            };
            ConfigError(format!(
                "[sources.{name}.places] {key}: {text:?} {reason}; write for example {line}"
            ))
        })
    }

    /// The accepted formats of bodies.
    pub fn accepted_bodies(&self) -> Vec<AcceptedBody> {
        self.bodies.clone().unwrap_or_else(|| self.sender().bodies)
    }

    /// The descriptions of the handshakes: the settings', the dialect's, or for a sender without a dialect those of the
    /// sender whose scheme it has.
    pub fn handshake_rows(&self) -> Vec<HandshakeConfig> {
        let of_scheme = self.scheme_sender().filter(|_| self.dialect == Dialect::Generic);
        let known = || of_scheme.unwrap_or_else(|| self.sender()).handshakes;
        self.handshakes.clone().unwrap_or_else(known)
    }

    /// The handshakes.
    ///
    /// # Errors
    /// [`ConfigError`] for an invalid one, or for one that would sign a delivery for anyone.
    pub(super) fn checked_handshakes(&self, name: &str) -> Result<Vec<Handshake>, ConfigError> {
        let rows = self.handshake_rows();
        let made = rows.iter().map(|row| {
            Handshake::new(row)
                .map_err(|error| ConfigError(format!("[sources.{name}.handshakes] {error}")))
        });
        let made: Vec<Handshake> = made.collect::<Result<_, _>>()?;
        if made.iter().any(Handshake::signs_for_anyone) && !self.signs_only_json(name)? {
            return Err(ConfigError(format!(
                "[sources.{name}.handshakes] answer has a MAC with the signing key in it, by which anyone could have a delivery signed; write a method and places that are proved, or use it with signed = \"{{body}}\" and bodies of JSON only"
            )));
        }
        Ok(made)
    }

    /// True if no text that is no JSON could be what the sender signs.
    fn signs_only_json(&self, name: &str) -> Result<bool, ConfigError> {
        let is_json = |body: &AcceptedBody| matches!(body, AcceptedBody::Json | AcceptedBody::Text);
        let scheme = self.scheme(name)?;
        Ok(scheme.is_none_or(|scheme| scheme.signed.to_string() == "{body}")
            && self.accepted_bodies().iter().all(is_json))
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
