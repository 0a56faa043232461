//! The keys with which a sender proves itself.

use emitter::{Proof, Style, Tamper};
use secrecy::SecretString;
use settings::SourceConfig;

/// What a source accepts.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pub(super) bearer: Vec<SecretString>,
    pub(super) signing: Vec<SecretString>,
    pub(super) style: Option<Style>,
}

impl Keys {
    pub(super) fn of(name: &str, source: &SourceConfig) -> anyhow::Result<Self> {
        let auth = source.auth_kind();
        let style = match () {
            () if !auth.has_signature() => None,
            () if source.signs_messages() => Some(Style::Message),
            () => source.scheme(name)?.map(|scheme| Style::Row(Box::new(scheme))),
        };
        let bearer = if auth.has_bearer() { source.bearer_keys(name)? } else { Vec::new() };
        let signing = if style.is_some() { source.signing_keys(name)? } else { Vec::new() };
        Ok(Keys { bearer, signing, style })
    }

    /// How many pairs of keys a sender could use.
    pub(super) fn count(&self) -> usize {
        self.bearer.len().max(self.signing.len())
    }

    /// The proof by the keys at this place of their lists, or by the last of a shorter list.
    pub(super) fn proof(&self, place: usize, tamper: Option<Tamper>) -> anyhow::Result<Proof> {
        let at = |keys: &[SecretString]| keys.get(place).or(keys.last()).cloned();
        let (bearer, signing) = (at(&self.bearer), at(&self.signing));
        let signing = self.style.clone().zip(signing.as_ref().map(std::slice::from_ref));
        Proof::new(bearer.as_ref(), signing, tamper)
    }

    /// The header whose message id is signed, if there is one.
    pub(super) fn id_header(&self) -> Option<&str> {
        match &self.style {
            Some(Style::Row(scheme)) => scheme.headers[0].id.as_deref(),
            _ => None,
        }
    }

    /// Whether the time of signing is signed.
    pub(super) fn is_timed(&self) -> bool {
        match &self.style {
            Some(Style::Row(scheme)) => scheme.is_timed(),
            Some(Style::Message) => true,
            None => false,
        }
    }
}
