//! The keys with which a sender authenticates.

use emitter::{Proof, SigningMethod, Tamper};
use secrecy::SecretString;
use settings::SourceConfig;
use source::KeyPlace;

/// The keys that a source accepts.
#[derive(Debug, Default)]
pub(super) struct SenderKeys {
    pub(super) bearer: Vec<SecretString>,
    pub(super) signing: Vec<SecretString>,
    pub(super) style: Option<SigningMethod>,
    /// The place of the bearer key.
    pub(super) place: Option<KeyPlace>,
    /// The address that is signed, if a proxy hides it.
    pub(super) public_url: Option<String>,
}

impl SenderKeys {
    pub(super) fn of(name: &str, source: &SourceConfig) -> anyhow::Result<Self> {
        let style = SigningMethod::of_source(name, source)?;
        let has_bearer = source.auth_kind().has_bearer();
        let bearer = if has_bearer { source.bearer_keys(name)? } else { Vec::new() };
        let signing = if style.is_some() { source.signing_keys(name)? } else { Vec::new() };
        let place = source.key_places(name)?.into_iter().next();
        Ok(SenderKeys { bearer, signing, style, place, public_url: source.public_url.clone() })
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
        let proof = Proof::new(bearer.as_ref(), signing, tamper)?;
        let place = self.place.clone().unwrap_or(KeyPlace::Bearer);
        Ok(proof.with_key_at(place).with_public_url(self.public_url.clone()))
    }

    /// The header of the signed message id, if there is one.
    pub(super) fn id_header(&self) -> Option<&str> {
        match &self.style {
            Some(SigningMethod::Scheme(scheme)) => scheme.spellings[0].id.as_deref(),
            _ => None,
        }
    }

    /// True if a part of the proof is in the body, or it needs members of the body.
    pub(super) fn is_in_body(&self) -> bool {
        let signature = match &self.style {
            Some(SigningMethod::Scheme(scheme)) => scheme.reads_body(),
            _ => false,
        };
        signature
            || !self.bearer.is_empty() && self.place.as_ref().is_some_and(KeyPlace::is_in_body)
    }

    /// The places of the proof, in words.
    pub(super) fn places(&self) -> String {
        let signature = match &self.style {
            Some(SigningMethod::Scheme(scheme)) => Some(scheme.spellings[0].signature.to_string()),
            Some(SigningMethod::HttpMessage(_)) => Some("the Signature header".to_owned()),
            Some(SigningMethod::Token(rule)) => rule.place.as_ref().map(ToString::to_string),
            None => None,
        };
        let key = self.place.as_ref().map(ToString::to_string);
        let key = key.filter(|_| !self.bearer.is_empty());
        let named: Vec<String> = signature.into_iter().chain(key).collect();
        if named.is_empty() { "the Authorization header".into() } else { named.join(" and ") }
    }

    /// True if the time of signing is signed.
    pub(super) fn is_timed(&self) -> bool {
        match &self.style {
            Some(SigningMethod::Scheme(scheme)) => scheme.is_timed(),
            Some(SigningMethod::HttpMessage(_)) => true,
            Some(SigningMethod::Token(_)) | None => false,
        }
    }
}
