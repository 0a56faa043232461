//! The keys with which a sender authenticates.

use emitter::{Proof, SigningMethod, Tamper};
use secrecy::SecretString;
use settings::SourceConfig;

/// The keys that a source accepts.
#[derive(Debug, Default)]
pub(super) struct SenderKeys {
    pub(super) bearer: Vec<SecretString>,
    pub(super) signing: Vec<SecretString>,
    pub(super) style: Option<SigningMethod>,
}

impl SenderKeys {
    pub(super) fn of(name: &str, source: &SourceConfig) -> anyhow::Result<Self> {
        let auth = source.auth_kind();
        let style = match () {
            () if !auth.has_signature() => None,
            () if source.signs_messages() => Some(SigningMethod::HttpMessage),
            () => source.scheme(name)?.map(|scheme| SigningMethod::Scheme(Box::new(scheme))),
        };
        let bearer = if auth.has_bearer() { source.bearer_keys(name)? } else { Vec::new() };
        let signing = if style.is_some() { source.signing_keys(name)? } else { Vec::new() };
        Ok(SenderKeys { bearer, signing, style })
    }

    /// The number of key pairs that a sender could use.
    pub(super) fn count(&self) -> usize {
        self.bearer.len().max(self.signing.len())
    }

    /// The proof by the keys at this index of their lists, or by the last of a shorter list.
    pub(super) fn proof(&self, index: usize, tamper: Option<Tamper>) -> anyhow::Result<Proof> {
        let at = |keys: &[SecretString]| keys.get(index).or(keys.last()).cloned();
        let (bearer, signing) = (at(&self.bearer), at(&self.signing));
        let signing = self.style.clone().zip(signing.as_ref().map(std::slice::from_ref));
        Proof::new(bearer.as_ref(), signing, tamper)
    }

    /// The header of the signed message id, if there is one.
    pub(super) fn id_header(&self) -> Option<&str> {
        match &self.style {
            Some(SigningMethod::Scheme(scheme)) => scheme.headers[0].id.as_deref(),
            _ => None,
        }
    }

    /// True if the time of signing is signed.
    pub(super) fn is_timed(&self) -> bool {
        match &self.style {
            Some(SigningMethod::Scheme(scheme)) => scheme.is_timed(),
            Some(SigningMethod::HttpMessage) => true,
            None => false,
        }
    }
}
