//! Authentication from a source's keys, or the missing line.

use std::path::PathBuf;
use std::sync::Arc;

use client::guard::Guard;
use contract::event::Dialect;
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use signature::{
    Algorithm, Key, MessageKey, Place, PublicKey, RFC_9421, Scheme, TOLERANCE, TokenRule, schemes,
};
use source::{
    AcceptedKey, Auth, CertificateAuth, CertificateConfig, DiagnosticKeys, HandshakeTokens, Hosts,
    JwtConfig, KeyPlace, MessageSignatureAuth, RemoteKeys, Sender, SignatureAuth, TokenAuth,
};

use super::check::refuse;
use super::keys::locations;
use super::{AuthKind, ConfigError, SourceConfig, secrets};

/// Claims that an issuer writes into the tokens of all of its customers, or that they choose.
const OF_ANYONE: [&str; 9] =
    ["iss", "aud", "exp", "iat", "nbf", "jti", "typ", "azp", "email_verified"];

impl SourceConfig {
    /// The required authentication: the configured one, else that of the dialect and the configured keys.
    pub fn auth_kind(&self) -> AuthKind {
        if let Some(kind) = self.auth {
            return kind;
        }
        let row = self.sender();
        let bearer = !self.bearer_tokens.is_empty() || !self.bearer_token_files.is_empty();
        let signing = !self.signing_keys.is_empty() || !self.signing_key_files.is_empty();
        let describes = self.scheme.is_some() || self.signature.is_some();
        if !describes && (self.jwt.is_some() || row.jwt.is_some() && !bearer) {
            return AuthKind::Jwt;
        }
        // Some senders have either a key or a signature.
        let is_either = row.token.is_some() || self.token.is_some();
        let signs = describes || signing || row.signature.is_some() && !(bearer && is_either);
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
        let keys = keys(name, &self.bearer_tokens, files, true)?;
        let is_basic = self.key_places(name)?.contains(&KeyPlace::Basic);
        if is_basic && keys.iter().any(|key| !key.expose_secret().contains(':')) {
            return refuse(format!(
                "[sources.{name}] has a key without a colon for Basic authentication; write bearer_tokens = [\"user:password\"]"
            ));
        }
        Ok(keys)
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
        let row = self.sender();
        let own = row.signature.is_some().then(|| self.dialect.as_str());
        let named = self.scheme.as_deref().or(own);
        if let Some(custom) = &self.signature {
            if self.scheme.is_some() {
                return refuse(format!(
                    "[sources.{name}] has both scheme and [sources.{name}.signature]; remove one of them"
                ));
            }
            let scheme = custom
                .scheme("signature")
                .map_err(|error| ConfigError(format!("[sources.{name}.signature] {error}")))?;
            return self.with_values(name, scheme).map(Some);
        }
        let Some(named) = named.filter(|&named| named != RFC_9421) else { return Ok(None) };
        match Scheme::named(named) {
            Some(scheme) => self.with_values(name, scheme).map(Some),
            None => refuse(format!(
                "[sources.{name}] scheme = {named:?} is unknown; {} Any other is described in [sources.{name}.signature]",
                nearest_scheme(named)
            )),
        }
    }

    /// True if the sender signs a value of the settings.
    fn signs_value(&self) -> bool {
        let custom = self.signature.as_ref().and_then(|custom| custom.scheme("signature").ok());
        let named = self.scheme.as_deref().unwrap_or(self.dialect.as_str());
        let scheme = custom.or_else(|| Scheme::named(named));
        scheme.is_some_and(|scheme| scheme.signed.value_names().next().is_some())
    }

    fn with_values(&self, name: &str, scheme: Scheme) -> Result<Scheme, ConfigError> {
        let signed = scheme.signed.clone().with_values(&self.values);
        let signed = signed
            .map_err(|error| ConfigError(format!("[sources.{name}] {} {error}", scheme.name)))?;
        Ok(Scheme { signed, ..scheme })
    }

    /// The places of the bearer key.
    ///
    /// # Errors
    /// [`ConfigError`] if one is none.
    pub fn key_places(&self, name: &str) -> Result<Vec<KeyPlace>, ConfigError> {
        let text = self.token.clone().or(self.sender().token).unwrap_or_else(|| "bearer".into());
        KeyPlace::parse(&text).map_err(|reason| {
            ConfigError(format!(
                "[sources.{name}] token = {text:?} {reason}; write \"bearer\", \"basic\", or for example \"header:X-Acme-Token\""
            ))
        })
    }

    /// The tokens of handshakes, those in files included.
    ///
    /// # Errors
    /// [`ConfigError`] if a handshake needs one and there is none, or a file cannot be read.
    pub(super) fn checked_handshake_tokens(
        &self,
        name: &str,
    ) -> Result<HandshakeTokens, ConfigError> {
        let files =
            ("handshake_tokens", "handshake_token_files", self.handshake_token_files.as_slice());
        let tokens = keys(name, &self.handshake_tokens, files, false)?;
        let is_needed = self.handshake_rows().iter().any(|row| row.token.is_some());
        match (is_needed, tokens.is_empty()) {
            (true, true) => refuse(format!(
                "[sources.{name}] has no handshake token, which the sender repeats before it delivers; write handshake_tokens = [\"…\"] with a text of your own, here and at the sender"
            )),
            (false, false) => refuse(format!(
                "[sources.{name}] has handshake_tokens, but no handshake of its sender has one; remove them"
            )),
            _ => Ok(HandshakeTokens::new(tokens)),
        }
    }

    /// The certificate of the signature, if the sender signs by one.
    pub(super) fn certificate(&self) -> Option<CertificateConfig> {
        if self.certificate.is_some() || self.signature.is_some() {
            return self.certificate.clone();
        }
        match &self.scheme {
            Some(_) => self.scheme_sender().and_then(|sender| sender.certificate),
            None => self.sender().certificate,
        }
    }

    /// The description of the token, the settings' before the dialect's, part by part.
    pub fn token_rule(&self) -> Option<JwtConfig> {
        let row = self.sender().jwt;
        let Some(own) = self.jwt.clone() else { return row };
        let row = row.unwrap_or_default();
        let either = |own: Vec<String>, row: Vec<String>| if own.is_empty() { row } else { own };
        Some(JwtConfig {
            place: own.place.or(row.place),
            algorithms: either(own.algorithms, row.algorithms),
            keys_url: own.keys_url.or(row.keys_url),
            issuer: either(own.issuer, row.issuer),
            audience: either(own.audience, row.audience),
            claims: row.claims.into_iter().chain(own.claims).collect(),
            body_sha256: own.body_sha256.or(row.body_sha256),
            max_age: own.max_age.or(row.max_age),
        })
    }

    /// The demands on the token.
    ///
    /// # Errors
    /// [`ConfigError`] if they are incomplete or invalid.
    pub fn demands(&self, name: &str) -> Result<TokenRule, ConfigError> {
        let refused = |reason: String| ConfigError(format!("[sources.{name}.jwt] {reason}"));
        let config = self.token_rule().ok_or_else(|| {
            refused("is missing; write for example keys_url = \"https://…\", issuer = \"…\" and audience = \"…\"".into())
        })?;
        token_rule(&config).map_err(refused)
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
        let token = match kind {
            AuthKind::Jwt => Some(self.token(name, &signing)?),
            _ => None,
        };
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
            places: self.key_places(name)?,
            token,
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
        let is_published = match kind {
            AuthKind::Jwt => self.token_rule().is_some_and(|rule| rule.keys_url.is_some()),
            _ => self.certificate().is_some(),
        };
        if kind == AuthKind::Jwt && is_published && !signing.is_empty() {
            return refuse(format!(
                "[sources.{name}] has signing_keys, but the keys of its tokens are published; remove them"
            ));
        }
        let sorts = [
            (kind.has_bearer(), bearer, "bearer_tokens", "a key from `webhook-receiver secret`"),
            (
                kind.has_signature() || kind == AuthKind::Jwt,
                signing,
                "signing_keys",
                "the key that the sender shows for this webhook",
            ),
        ];
        for (is_required, keys, setting, origin) in sorts {
            if is_required && keys.is_empty() && !(setting == "signing_keys" && is_published) {
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
                "[sources.{name}] has no signature scheme; describe it in [sources.{name}.signature], or write the dialect or scheme of a sender that signs; `webhook-receiver connect` lists them"
            ));
        };
        let certificate = self.certificate().map(|row| certificate_auth(name, &row)).transpose()?;
        let is_published = certificate.is_some() && secrets.is_empty();
        let names_account = self.client_ids.iter().any(|id| !id.trim().is_empty());
        if is_published && !names_account && !self.signs_value() {
            return refuse(format!(
                "[sources.{name}] has no client_ids, and whoever is a customer of the sender can have deliveries signed with its certificate; write client_ids = [\"…\"] with yours"
            ));
        }
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
        Ok(SignatureAuth::new(scheme, keys, tolerance).with_certificate(certificate))
    }

    fn token(&self, name: &str, secrets: &[SecretString]) -> Result<TokenAuth, ConfigError> {
        let refused = |reason: String| ConfigError(format!("[sources.{name}.jwt] {reason}"));
        let rule = self.demands(name)?;
        let config = self.token_rule().unwrap_or_default();
        let names_sender = config.claims.keys().any(|name| !OF_ANYONE.contains(&name.as_str()));
        let is_bound = rule.body_sha256.is_some() || names_sender || !rule.audience.is_empty();
        if !is_bound {
            return Err(refused(
                "accepts tokens that were made for others; write audience = \"…\" or claims = { … }".into(),
            ));
        }
        // The issuer of a known sender signs for all of its customers, and for any audience.
        let is_known = |dialect: &Dialect| {
            let row = Sender::of(*dialect).jwt;
            row.is_some_and(|row| row.keys_url.is_some() && row.keys_url == config.keys_url)
        };
        let is_shared = self.sender().jwt.is_some_and(|row| row.keys_url.is_some())
            || Dialect::ALL.iter().any(is_known);
        if is_shared && !names_sender {
            return Err(refused(
                "accepts the tokens of every customer of the issuer; write claims = { email = \"…\" } with the account that sends".into(),
            ));
        }
        let key = |secret: &SecretString| match PublicKey::read(secret.expose_secret()) {
            Ok(key) => Ok(AcceptedKey::public(key)),
            Err(error) => unusable(name, "the token", &error.to_string()),
        };
        let remote = match &config.keys_url {
            None => None,
            Some(url) => {
                // An address in the settings is meant; one in the table is public.
                let is_own = self.jwt.as_ref().is_some_and(|own| own.keys_url.is_some());
                let hosts = Url::parse(url).ok().filter(|_| is_own);
                let hosts = hosts.and_then(|url| url.host_str().map(str::to_owned));
                let remote = RemoteKeys::new(Some(url), guard(hosts.iter().map(String::as_str)));
                let remote = remote.map_err(|error| refused(format!("keys_url: {error:#}")))?;
                Some(Arc::new(remote))
            }
        };
        let keys = secrets.iter().map(key).collect::<Result<_, _>>()?;
        Ok(TokenAuth { rule, keys, remote })
    }

    /// The fetching of confirmations, if a handshake asks for one.
    pub(super) fn confirmations(&self, name: &str) -> Result<Option<Arc<RemoteKeys>>, ConfigError> {
        let rows = self.handshake_rows();
        let Some(row) = rows.iter().find(|row| row.fetch.is_some()) else { return Ok(None) };
        let hosts = Hosts::new(&row.hosts)
            .map_err(|reason| ConfigError(format!("[sources.{name}.handshakes] hosts {reason}")))?;
        let remote = RemoteKeys::new(None, guard(hosts.plain()));
        let remote = remote
            .map_err(|error| ConfigError(format!("[sources.{name}.handshakes] {error:#}")))?;
        Ok(Some(Arc::new(remote)))
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
            covered: self.field_locators(name)?.headers().collect(),
            tag: self.message.tag.clone(),
        })
    }

    /// The tolerance of a signed time, in seconds.
    fn tolerance(&self, name: &str, window: u64) -> Result<u64, ConfigError> {
        let tolerance = self.tolerance.or(self.sender().tolerance);
        let tolerance = tolerance.map_or(TOLERANCE, |tolerance| tolerance.as_secs());
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

/// The guard of fetches: public addresses, and these hosts.
fn guard<'h>(hosts: impl Iterator<Item = &'h str>) -> Guard {
    Guard::new(hosts.filter_map(|host| host.parse().ok()))
}

fn certificate_auth(name: &str, row: &CertificateConfig) -> Result<CertificateAuth, ConfigError> {
    let refused = |setting: &str, reason: String| {
        ConfigError(format!("[sources.{name}.certificate] {setting} {reason}"))
    };
    let place = Place::parse(&row.place).map_err(|error| refused("place", error.to_string()))?;
    if row.hosts.is_empty() {
        return Err(refused(
            "hosts",
            "is empty; write for example hosts = [\"keys.example.com\"]".into(),
        ));
    }
    let hosts = Hosts::new(&row.hosts).map_err(|reason| refused("hosts", reason))?;
    let remote = RemoteKeys::new(None, guard(hosts.plain()));
    let remote = remote.map_err(|error| refused("hosts", format!("{error:#}")))?;
    Ok(CertificateAuth { place, hosts, remote: Arc::new(remote) })
}

/// The demands on a token.
fn token_rule(config: &JwtConfig) -> Result<TokenRule, String> {
    let algorithm = |name: &String| {
        TokenRule::algorithm(name).ok_or_else(|| {
            format!(
                "algorithms: {name:?} is not supported; write one of {}",
                TokenRule::algorithm_names().join(", ")
            )
        })
    };
    let algorithms =
        config.algorithms.iter().map(algorithm).collect::<Result<Vec<Algorithm>, _>>()?;
    if algorithms.is_empty() {
        return Err("has no algorithms; write for example algorithms = [\"RS256\"]".into());
    }
    let place = config.place.as_deref().map(Place::parse).transpose();
    Ok(TokenRule {
        place: place.map_err(|error| format!("place {error}"))?,
        algorithms,
        issuer: config.issuer.clone(),
        audience: config.audience.clone(),
        claims: config.claims.clone(),
        body_sha256: config.body_sha256.clone(),
        max_age: config.max_age.map(|age| age.as_secs()),
    })
}

fn unusable<K>(name: &str, scheme: &str, error: &str) -> Result<K, ConfigError> {
    refuse(format!(
        "[sources.{name}] has a signing key that {scheme} cannot use: {error}; copy it again from the sender"
    ))
}

/// The valid values of a source's `scheme`.
/// The scheme that was meant, or the place where all are listed.
fn nearest_scheme(name: &str) -> String {
    let known = schemes().iter().map(|scheme| &*scheme.name).chain([RFC_9421]);
    match text::nearest(name, known, 0.6) {
        Some(nearest) => format!("did you mean {nearest:?}?"),
        None => {
            format!("`webhook-receiver connect` lists the known ones; {RFC_9421} is one more.")
        }
    }
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
