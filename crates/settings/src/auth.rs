//! Authentication from a source's keys, or the missing line.

use std::path::PathBuf;

use contract::event::Dialect;
use secrecy::{ExposeSecret, SecretString};
use signature::{Key, MessageKey, RFC_9421, Scheme, TOLERANCE, schemes};
use source::{AcceptedKey, Auth, DiagnosticKeys, MessageSignatureAuth, SignatureAuth};

use super::check::refuse;
use super::keys::locations;
use super::{AuthKind, ConfigError, SourceConfig, secrets};

impl SourceConfig {
    /// The required authentication: the configured one, else that of the dialect and the configured keys.
    pub fn auth_kind(&self) -> AuthKind {
        if let Some(kind) = self.auth {
            return kind;
        }
        let bearer = !self.bearer_tokens.is_empty() || !self.bearer_token_files.is_empty();
        let signs = self.dialect.scheme().is_some()
            || self.scheme.is_some()
            || self.signature.is_some()
            || !self.signing_keys.is_empty()
            || !self.signing_key_files.is_empty();
        match (bearer, signs) {
            (true, true) => AuthKind::BearerAndSignature,
            (false, true) => AuthKind::Signature,
            (_, false) => AuthKind::Bearer,
        }
    }

    /// The accepted bearer keys, those in files included. A line break at the end of a file is not part of its key.
    ///
    /// # Errors
    /// [`ConfigError`] for a key that cannot be sent, or a file that cannot be read.
    pub fn bearer_keys(&self, name: &str) -> Result<Vec<SecretString>, ConfigError> {
        let files = ("bearer_tokens", "bearer_token_files", self.bearer_token_files.as_slice());
        keys(name, &self.bearer_tokens, files, true)
    }

    /// The accepted signing keys, those in files included.
    ///
    /// # Errors
    /// [`ConfigError`] for a key that cannot be sent, or a file that cannot be read.
    pub fn signing_keys(&self, name: &str) -> Result<Vec<SecretString>, ConfigError> {
        let files = ("signing_keys", "signing_key_files", self.signing_key_files.as_slice());
        keys(name, &self.signing_keys, files, false)
    }

    /// The retired keys, those in files included.
    ///
    /// # Errors
    /// [`ConfigError`] for a key that cannot be sent, or a file that cannot be read.
    pub fn retired_keys(&self, name: &str) -> Result<Vec<SecretString>, ConfigError> {
        let files = ("retired_keys", "retired_key_files", self.retired_key_files.as_slice());
        keys(name, &self.retired_keys, files, false)
    }

    /// True if the sender signs by RFC 9421.
    pub fn signs_messages(&self) -> bool {
        self.scheme.as_deref() == Some(RFC_9421)
    }

    /// The signature scheme, from the table or the source's own, if there is one. RFC 9421 is neither.
    ///
    /// # Errors
    /// [`ConfigError`] if the scheme is unknown, or its description is invalid.
    pub fn scheme(&self, name: &str) -> Result<Option<Scheme>, ConfigError> {
        let named = self.scheme.as_deref().or(self.dialect.scheme());
        if let Some(custom) = &self.signature {
            if self.scheme.is_some() {
                return refuse(format!(
                    "[sources.{name}] has both scheme and [sources.{name}.signature]; remove one of them"
                ));
            }
            let scheme = custom.scheme();
            return scheme
                .map(Some)
                .map_err(|error| ConfigError(format!("[sources.{name}.signature] {error}")));
        }
        let Some(named) = named.filter(|&named| named != RFC_9421) else { return Ok(None) };
        match Scheme::named(named) {
            Some(scheme) => Ok(Some(scheme)),
            None => refuse(format!(
                "[sources.{name}] scheme = {named:?} is unknown; write one of {}, or describe the sender's own in [sources.{name}.signature]",
                scheme_names()
            )),
        }
    }

    /// The source's authentication.
    ///
    /// # Errors
    /// [`ConfigError`] if a key is missing, unusable or superfluous, or the tolerance of a timestamp is too long for
    /// `window`, the time in seconds within which ids are known.
    pub(super) fn authentication(&self, name: &str, window: u64) -> Result<Auth, ConfigError> {
        let kind = self.auth_kind();
        let bearer = self.bearer_keys(name)?;
        let signing = self.signing_keys(name)?;
        let retired = self.retired_keys(name)?;
        self.check_key_types(name, kind, &bearer, &signing)?;
        let signature = match kind.has_signature() && !self.signs_messages() {
            true => Some(self.signed(name, &signing, window)?),
            false => None,
        };
        let message = match kind.has_signature() && self.signs_messages() {
            true => Some(self.signed_message(name, &signing, window)?),
            false => None,
        };
        let scheme = signature.as_ref().map(|signed| &signed.scheme);
        Ok(Auth {
            diagnostic_keys: DiagnosticKeys::new(scheme, &bearer, &signing, &retired),
            bearer: bearer.iter().map(AcceptedKey::bearer).collect(),
            query: self.dialect == Dialect::CloudEvents,
            signature,
            message,
        })
    }

    /// Checks that keys of every required type are present, and no others.
    fn check_key_types(
        &self,
        name: &str,
        kind: AuthKind,
        bearer: &[SecretString],
        signing: &[SecretString],
    ) -> Result<(), ConfigError> {
        if kind == AuthKind::None && !(bearer.is_empty() && signing.is_empty()) {
            return refuse(format!(
                "[sources.{name}] has keys and auth = \"none\"; remove the keys, or that line"
            ));
        }
        let sorts = [
            (kind.has_bearer(), bearer, "bearer_tokens", "a key from `webhook-receiver secret`"),
            (
                kind.has_signature(),
                signing,
                "signing_keys",
                "the key that the sender shows for this webhook",
            ),
        ];
        for (is_required, keys, setting, origin) in sorts {
            if is_required && keys.is_empty() {
                let files = setting.trim_end_matches('s');
                return refuse(format!(
                    "[sources.{name}] has no key; write {setting} = [\"…\"] with {origin}, or {files}_files = [\"…\"]"
                ));
            }
            if !is_required && !keys.is_empty() {
                return refuse(format!(
                    "[sources.{name}] has {setting}, but its auth does not use them; remove them, or write auth = \"bearer-and-signature\""
                ));
            }
        }
        Ok(())
    }

    fn signed(
        &self,
        name: &str,
        secrets: &[SecretString],
        window: u64,
    ) -> Result<SignatureAuth, ConfigError> {
        let Some(scheme) = self.scheme(name)? else {
            return refuse(format!(
                "[sources.{name}] has no signature scheme; write scheme = \"…\" with one of {}, or describe it in [sources.{name}.signature]",
                scheme_names()
            ));
        };
        if self.tolerance.is_some() && !scheme.is_timed() {
            return refuse(format!(
                "[sources.{name}] has a tolerance, but {} does not sign the time; remove the line",
                scheme.name
            ));
        }
        let tolerance = match scheme.is_timed() {
            true => self.tolerance(name, window)?,
            false => TOLERANCE,
        };
        let key = |secret| match Key::new(&scheme, secret) {
            Ok(key) => Ok(AcceptedKey::signing(key)),
            Err(error) => unusable(name, &scheme.name, &error.to_string()),
        };
        let keys = secrets.iter().map(key).collect::<Result<_, _>>()?;
        Ok(SignatureAuth::new(scheme, keys, tolerance))
    }

    fn signed_message(
        &self,
        name: &str,
        secrets: &[SecretString],
        window: u64,
    ) -> Result<MessageSignatureAuth, ConfigError> {
        self.scheme(name)?;
        let key = |secret| match MessageKey::new(secret) {
            Ok(key) => Ok(AcceptedKey::message(key)),
            Err(error) => unusable(name, RFC_9421, &error.to_string()),
        };
        Ok(MessageSignatureAuth {
            keys: secrets.iter().map(key).collect::<Result<_, _>>()?,
            tolerance: self.tolerance(name, window)?,
            covered: self.field_locators(name)?.headers().cloned().collect(),
        })
    }

    /// The tolerance of a signed time, in seconds.
    fn tolerance(&self, name: &str, window: u64) -> Result<u64, ConfigError> {
        let tolerance = self.tolerance.map_or(TOLERANCE, |tolerance| tolerance.as_secs());
        if tolerance == 0 {
            return refuse(format!(
                "[sources.{name}] tolerance must be at least \"1s\"; write tolerance = \"5m\""
            ));
        }
        // A timestamp that far ahead of this machine's clock is fresh twice as long.
        if tolerance.saturating_mul(2) > window {
            return refuse(format!(
                "[sources.{name}] tolerance is longer than half of window in [dedup], so that a delivery could be replayed after its id is forgotten; write tolerance = \"5m\""
            ));
        }
        Ok(tolerance)
    }
}

fn unusable<K>(name: &str, scheme: &str, error: &str) -> Result<K, ConfigError> {
    refuse(format!(
        "[sources.{name}] has a signing key that {scheme} cannot use: {error}; copy it again from the sender"
    ))
}

/// The valid values of a source's `scheme`.
fn scheme_names() -> String {
    let mut names: Vec<String> = schemes().into_iter().map(|scheme| scheme.name).collect();
    names.push(RFC_9421.into());
    names.join(", ")
}

/// The keys in the settings and in the files; each must be valid to send.
pub(super) fn keys(
    name: &str,
    given: &[SecretString],
    (list, setting, files): (&str, &str, &[PathBuf]),
    in_header: bool,
) -> Result<Vec<SecretString>, ConfigError> {
    let mut keys = given.to_vec();
    for file in files {
        let key = secrets::read_key(file);
        keys.push(key.map_err(|why| ConfigError(format!("[sources.{name}] {setting}: {why}")))?);
    }
    for (key, location) in keys.iter().zip(locations(keys.len(), (list, setting, files))) {
        let text = key.expose_secret();
        if secrets::is_empty(text) {
            return refuse(format!(
                "[sources.{name}] has an empty key, or the placeholder of one, in {location}; write the key that the sender has too"
            ));
        }
        if let Some(flaw) = secrets::flaw(text, in_header) {
            return refuse(format!("[sources.{name}] {location}: the key {flaw}"));
        }
    }
    Ok(keys)
}
