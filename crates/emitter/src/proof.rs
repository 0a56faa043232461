//! The proof of a message, and the forgeries that must be refused.

use std::borrow::Cow;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use chrono::TimeDelta;
use contract::time::Timestamp;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use signature::{
    HttpMessage, Key, MESSAGE_HEADERS, MessageKey, MessageParameters, Place, PublicKey, RFC_9421,
    Scheme, Stamp, TokenRule, Unit,
};
use source::KeyPlace;
use url::Position;

use super::send_as::SigningMethod;
use super::{set, target};

/// The kind of a forgery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Tamper {
    /// The body has a byte more than the signed one
    Body,
    /// One character of the signature is changed
    Signature,
    /// The timestamp is a second earlier than the signed one
    Timestamp,
    /// Signed or sent with an unknown key
    Key,
    /// The header of the proof is missing
    Header,
}

impl Tamper {
    /// The name on the command line and in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Tamper::Body => "body",
            Tamper::Signature => "signature",
            Tamper::Timestamp => "timestamp",
            Tamper::Key => "key",
            Tamper::Header => "header",
        }
    }
}

/// A header under the vendor's spelling of its name.
pub type NamedHeader = (Cow<'static, str>, HeaderValue);

/// A request that is being made.
#[derive(Debug, Clone)]
pub struct HttpDraft {
    /// The URL.
    pub url: Url,
    /// The headers, under the vendor's spelling.
    pub headers: Vec<NamedHeader>,
    /// The body.
    pub body: Bytes,
}

impl HttpDraft {
    /// Sets a value at a place: a header behind the content type, a parameter of the query, or a member of the body.
    ///
    /// # Errors
    /// If the place cannot carry it.
    pub(super) fn set(&mut self, place: &Place, value: &str) -> anyhow::Result<()> {
        match place {
            Place::Header(name) => {
                let value = HeaderValue::from_str(value)
                    .with_context(|| format!("the {name} header cannot carry its value"))?;
                self.headers.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
                self.headers.push((name.clone().into(), value));
            }
            Place::Query(name) => {
                self.url.query_pairs_mut().append_pair(name, value);
            }
            Place::Body(pointer) => {
                let keys: Vec<&str> = pointer.keys().collect();
                let is_form = self.headers.iter().any(|(name, value)| {
                    name.eq_ignore_ascii_case("content-type")
                        && value.as_bytes().starts_with(text::form::FORM.as_bytes())
                });
                if let ([name], true) = (&keys[..], is_form) {
                    let mut form = String::from_utf8_lossy(&self.body).into_owned();
                    let mut field = url::form_urlencoded::Serializer::new(String::new());
                    field.append_pair(name, value);
                    form.push_str(if form.is_empty() { "" } else { "&" });
                    self.body = (form + &field.finish()).into();
                    return Ok(());
                }
                let json = serde_json::Value::from(value).to_string();
                let text = std::str::from_utf8(&self.body)?;
                let changed = set::put(text, &keys, &json);
                self.body = changed.with_context(|| format!("cannot set {place}"))?.into();
            }
        }
        Ok(())
    }
}

/// The text that is shown in place of a key.
const HIDDEN: &str = "****";

/// The proof of a message: a bearer key, a signature, both or none.
#[derive(Debug, Default)]
pub struct Proof {
    bearer: Option<(KeyPlace, SecretString)>,
    signing: Option<Signing>,
    tamper: Option<Tamper>,
    /// The address that is signed in place of the one that the message is sent to.
    public_url: Option<String>,
}

#[derive(Debug)]
enum Signing {
    Scheme { scheme: Box<Scheme>, keys: Vec<Key> },
    HttpMessage { keys: Vec<MessageKey>, parameters: MessageParameters },
    Token { rule: Box<TokenRule>, key: Box<PublicKey> },
}

impl Proof {
    /// The proof by these keys, or its forgery.
    ///
    /// # Errors
    /// If a header cannot carry the bearer key, the scheme cannot sign with the other, or there is nothing to forge.
    pub fn new(
        bearer: Option<&SecretString>,
        signing: Option<(SigningMethod, &[SecretString])>,
        tamper: Option<Tamper>,
    ) -> anyhow::Result<Self> {
        let mut bearer = bearer.cloned();
        let signing = match signing {
            None => None,
            Some((style, secrets)) => {
                Some(Signing::new(style, secrets, tamper == Some(Tamper::Key))?)
            }
        };
        if let Some(tamper) = tamper {
            check(tamper, bearer.is_some(), signing.as_ref())?;
        }
        if tamper == Some(Tamper::Key) && bearer.is_some() {
            bearer = Some("nobody-knows-this-key".into());
        }
        if tamper == Some(Tamper::Header) {
            bearer = None;
        }
        if let Some(key) = &bearer {
            target::check_key(key)?;
        }
        let bearer = bearer.map(|key| (KeyPlace::Bearer, key));
        Ok(Proof { bearer, signing, tamper, public_url: None })
    }

    /// The same with the bearer key in another place.
    #[must_use]
    pub fn with_key_at(self, place: KeyPlace) -> Self {
        let bearer = self.bearer.map(|(_, key)| (place, key));
        Proof { bearer, ..self }
    }

    /// The same over the URL under which the sender knows the receiver.
    #[must_use]
    pub fn with_public_url(self, public_url: Option<String>) -> Self {
        Proof { public_url, ..self }
    }

    /// The request without its bearer key, as it is shown.
    pub(super) fn hidden(&self, mut draft: HttpDraft) -> HttpDraft {
        let Some((_, key)) = &self.bearer else { return draft };
        let key = key.expose_secret();
        if draft.url.query().is_some() {
            let pairs: Vec<(String, String)> = draft.url.query_pairs().into_owned().collect();
            let shown = pairs
                .iter()
                .map(|(name, value)| (name, if value == key { HIDDEN } else { value.as_str() }));
            let mut url = draft.url.clone();
            url.query_pairs_mut().clear().extend_pairs(shown);
            draft.url = url;
        }
        for (_, value) in &mut draft.headers {
            if value.as_bytes() == key.as_bytes() {
                *value = HeaderValue::from_static(HIDDEN);
            }
        }
        let in_json = serde_json::Value::from(key).to_string();
        if let Ok(text) = std::str::from_utf8(&draft.body)
            && text.contains(&in_json)
        {
            draft.body = text.replace(&in_json, &format!("\"{HIDDEN}\"")).into();
        }
        draft
    }

    /// The names of the headers that a signature needs, in every spelling.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        let (row, message) = match &self.signing {
            Some(Signing::Scheme { scheme, .. }) => (Some(scheme), &[][..]),
            Some(Signing::HttpMessage { .. }) => (None, &MESSAGE_HEADERS[..]),
            Some(Signing::Token { .. }) | None => (None, &[][..]),
        };
        row.into_iter().flat_map(|scheme| scheme.names()).chain(message.iter().copied())
    }

    /// The request with what proves it when it is signed at this time.
    pub(super) fn prove(
        &self,
        id: &str,
        mut draft: HttpDraft,
        time: Timestamp,
    ) -> anyhow::Result<HttpDraft> {
        let plain = std::mem::take(&mut draft.headers);
        let (first, rest) = plain.split_at(plain.len().min(1));
        draft.headers = first.to_vec();
        if let Some((place, key)) = &self.bearer {
            put_key(&mut draft, place, key)?;
        }
        let keys = draft.headers.len();
        draft.headers.extend(rest.iter().cloned());
        let Some(signing) = &self.signing else { return Ok(draft) };
        let behind = draft.headers.split_off(keys);
        let mut proof = self.sign(signing, id, &mut draft, &behind, time)?;
        // A signed header, such as the message id's, is in both lists.
        let is_in = |list: &[NamedHeader], name: &str| {
            list.iter().any(|(own, _)| own.eq_ignore_ascii_case(name))
        };
        let others =
            behind.into_iter().filter(|(name, _)| !is_in(&proof, name)).collect::<Vec<_>>();
        draft.headers.append(&mut proof);
        draft.headers.extend(others);
        if self.tamper == Some(Tamper::Body) {
            draft.body = [&draft.body, b" ".as_slice()].concat().into();
        }
        Ok(draft)
    }

    /// The headers of the proof; other parts of it are set in the draft.
    fn sign(
        &self,
        signing: &Signing,
        id: &str,
        draft: &mut HttpDraft,
        behind: &[NamedHeader],
        time: Timestamp,
    ) -> anyhow::Result<Vec<NamedHeader>> {
        let all: Vec<NamedHeader> = draft.headers.iter().chain(behind).cloned().collect();
        let placed: Vec<(Place, String)> = match signing {
            Signing::HttpMessage { keys, parameters } => {
                let named = message(keys, parameters, &draft.url, &all, time, &draft.body)?;
                let place = |(name, value): (String, HeaderValue)| {
                    Ok((Place::Header(name), value.to_str()?.to_owned()))
                };
                named.into_iter().map(place).collect::<anyhow::Result<_>>()?
            }
            Signing::Token { rule, key } => {
                let token = rule.sign(key, &key.fingerprint.to_string(), time, &draft.body)?;
                vec![match &rule.place {
                    Some(place) => (place.clone(), token),
                    None => (Place::Header("Authorization".into()), format!("Bearer {token}")),
                }]
            }
            Signing::Scheme { scheme, keys } => {
                self.by_scheme((scheme, keys), Stamp { id, time }, draft, &all)?
            }
        };
        let mut headers = Vec::new();
        for (place, value) in placed {
            let is_signature = signing.is_signature(&place);
            let value = match self.tamper {
                Some(Tamper::Header) if is_signature => continue,
                Some(Tamper::Signature) if is_signature => changed(&value),
                Some(Tamper::Timestamp) => signing.earlier(&value, time),
                _ => value,
            };
            match place {
                Place::Header(name) => headers.push((name.into(), HeaderValue::from_str(&value)?)),
                place => draft.set(&place, &value)?,
            }
        }
        Ok(headers)
    }

    /// The parts of the proof by a scheme. Those that are signed themselves are set in the draft before.
    fn by_scheme(
        &self,
        (scheme, keys): (&Scheme, &[Key]),
        stamp: Stamp<'_>,
        draft: &mut HttpDraft,
        headers: &[NamedHeader],
    ) -> anyhow::Result<Vec<(Place, String)>> {
        let keys: Vec<&Key> = keys.iter().collect();
        let headers = header_map(headers)?;
        for (place, value) in
            scheme.stamped(stamp).into_iter().filter(|(place, _)| place.is_in_body())
        {
            draft.set(&place, &value)?;
        }
        if let Some(Place::Query(name)) = &scheme.body_digest
            && !scheme.is_form(&headers)
        {
            let digest = scheme.digest_of(&draft.body);
            draft.set(&Place::Query(name.clone()), &digest)?;
        }
        let uri: Uri = match &self.public_url {
            None => draft.url.as_str().parse()?,
            Some(_) => draft.url[Position::BeforePath..].parse()?,
        };
        let head = HttpMessage {
            method: &Method::POST,
            uri: &uri,
            headers: &headers,
            public_url: self.public_url.as_deref(),
        };
        let placed = scheme.sign_request(&keys, stamp, head, &draft.body)?;
        let is_set = |place: &Place| {
            matches!(place, Place::Query(_)) && scheme.body_digest.as_ref() == Some(place)
        };
        Ok(placed.into_iter().filter(|(place, _)| !is_set(place)).collect())
    }
}

fn header_map(headers: &[NamedHeader]) -> anyhow::Result<HeaderMap> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(HeaderName::from_bytes(name.as_bytes())?, value.clone());
    }
    Ok(map)
}

/// Puts a bearer key in its place.
fn put_key(draft: &mut HttpDraft, place: &KeyPlace, key: &SecretString) -> anyhow::Result<()> {
    let text = key.expose_secret();
    match place {
        KeyPlace::Bearer => draft.headers.push(secret("Authorization", &format!("Bearer {text}"))?),
        KeyPlace::Basic => {
            let pair = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
            draft.headers.push(secret("Authorization", &format!("Basic {pair}"))?);
        }
        KeyPlace::At(Place::Header(name)) => draft.headers.push(secret(name, text)?),
        KeyPlace::At(place) => draft.set(place, text)?,
        KeyPlace::Every(list, member) => {
            let body = std::str::from_utf8(&draft.body)?;
            let elements = list.find(body).map(|list| {
                serde_json::from_str::<Vec<&serde_json::value::RawValue>>(list.get())
                    .map_or(0, |list| list.len())
            });
            for index in 0..elements.unwrap_or(1).max(1) {
                let pointer = format!("{list}/{index}{member}");
                draft.set(&Place::parse(&pointer)?, text)?;
            }
        }
    }
    Ok(())
}

fn secret(name: &str, text: &str) -> anyhow::Result<NamedHeader> {
    let mut value = HeaderValue::from_str(text)
        .ok()
        .context("the key has characters in it that no header can carry")?;
    value.set_sensitive(true);
    Ok((name.to_owned().into(), value))
}

impl Signing {
    /// The given keys, or as many unknown ones.
    fn new(
        style: SigningMethod,
        secrets: &[SecretString],
        is_unknown: bool,
    ) -> anyhow::Result<Self> {
        const NO_FORGERY: &str =
            "--tamper key: a key of this type takes too long to make; try --tamper signature";
        match style {
            SigningMethod::Scheme(scheme) => {
                let unusable = || format!("the signing key cannot be used for {}", scheme.name);
                let key = |secret| {
                    let key = Key::new(&scheme, secret).with_context(unusable)?;
                    ensure!(key.can_sign(), "{}: {PUBLIC}", unusable());
                    match is_unknown {
                        true => key.unknown(&scheme)?.context(NO_FORGERY),
                        false => Ok(key),
                    }
                };
                let keys: Vec<Key> = secrets.iter().map(key).collect::<anyhow::Result<_>>()?;
                Ok(Signing::Scheme { scheme, keys })
            }
            SigningMethod::HttpMessage(parameters) => {
                let unusable = || format!("the signing key cannot be used for {RFC_9421}");
                let key = |secret| {
                    let key = MessageKey::new(secret).with_context(unusable)?;
                    match is_unknown {
                        true => key.unknown()?.context(NO_FORGERY),
                        false => Ok(key),
                    }
                };
                let keys: Vec<_> = secrets.iter().map(key).collect::<anyhow::Result<_>>()?;
                let url = Url::parse("http://localhost/")?;
                let now = contract::time::now();
                message(&keys, &parameters, &url, &[], now, b"").with_context(unusable)?;
                Ok(Signing::HttpMessage { keys, parameters })
            }
            SigningMethod::Token(rule) => {
                ensure!(!is_unknown, "--tamper key: a token is forged by --tamper signature");
                let secret = secrets.first().context("there is no key to sign with")?;
                let key = PublicKey::read(secret.expose_secret())
                    .context("the signing key cannot be used for the token")?;
                rule.sign(&key, "", contract::time::now(), b"")
                    .context("the signing key cannot be used for the token")?;
                Ok(Signing::Token { rule, key: Box::new(key) })
            }
        }
    }

    /// True for the place of the signature.
    fn is_signature(&self, place: &Place) -> bool {
        match (self, place) {
            (Signing::Scheme { scheme, .. }, place) => scheme.spellings[0].signature == *place,
            (Signing::HttpMessage { .. }, Place::Header(name)) => name == "signature",
            (Signing::HttpMessage { .. }, _) => false,
            (Signing::Token { .. }, _) => true,
        }
    }

    fn name(&self) -> &str {
        match self {
            Signing::Scheme { scheme, .. } => &scheme.name,
            Signing::HttpMessage { .. } => RFC_9421,
            Signing::Token { .. } => "the token",
        }
    }

    /// True if the time is signed beside the message, where it can be changed alone.
    fn is_timed(&self) -> bool {
        match self {
            Signing::Scheme { scheme, .. } => scheme.is_timed(),
            Signing::HttpMessage { .. } => true,
            Signing::Token { .. } => false,
        }
    }

    /// True if every byte of the body is covered.
    fn covers_body(&self) -> bool {
        match self {
            Signing::Scheme { scheme, .. } => scheme.covers_body(),
            Signing::HttpMessage { .. } => true,
            Signing::Token { rule, .. } => rule.body_sha256.is_some(),
        }
    }

    /// The value with a time that is a second earlier than the signed one.
    fn earlier(&self, value: &str, time: Timestamp) -> String {
        let unit = match self {
            Signing::Scheme { scheme, .. } => scheme.unit,
            Signing::HttpMessage { .. } | Signing::Token { .. } => Unit::Seconds,
        };
        let earlier = unit.written(time - TimeDelta::seconds(1));
        value.replace(&unit.written(time), &earlier)
    }
}

/// The reason why a public key does not sign.
const PUBLIC: &str = "it is a public key, which can verify, but not sign; write the secret half, as PEM or a JSON Web Key";

/// The headers of a message signature (RFC 9421) over the method, the path and every header of the message.
fn message(
    keys: &[MessageKey],
    parameters: &MessageParameters,
    url: &Url,
    headers: &[NamedHeader],
    time: Timestamp,
    body: &[u8],
) -> anyhow::Result<Vec<(String, HeaderValue)>> {
    let mut covered = vec!["@method".to_owned(), "@path".to_owned()];
    // Of a key, a proxy in front of the receiver may make another.
    let headers: Vec<NamedHeader> =
        headers.iter().filter(|(_, value)| !value.is_sensitive()).cloned().collect();
    covered.extend(headers.iter().map(|(name, _)| name.to_ascii_lowercase()));
    let covered: Vec<&str> = covered.iter().map(String::as_str).collect();
    let (uri, map): (Uri, _) = (url.as_str().parse()?, header_map(&headers)?);
    let message = HttpMessage { method: &Method::POST, uri: &uri, headers: &map, public_url: None };
    let keys: Vec<&MessageKey> = keys.iter().collect();
    Ok(message.sign(&keys, &covered, parameters, time, body)?)
}

/// Checks that there is something to forge.
fn check(tamper: Tamper, is_bearer: bool, signing: Option<&Signing>) -> anyhow::Result<()> {
    let name = tamper.as_str();
    match (tamper, signing) {
        (Tamper::Key | Tamper::Header, None) => ensure!(
            is_bearer,
            "--tamper {name}: the source asks for no proof, so nothing can be forged"
        ),
        (_, None) => anyhow::bail!(
            "--tamper {name}: the message is not signed; a bearer key does not protect it. Try --tamper key"
        ),
        (Tamper::Timestamp, Some(signing)) => {
            ensure!(signing.is_timed(), "--tamper timestamp: {} signs no time", signing.name())
        }
        (Tamper::Body, Some(signing)) => ensure!(
            signing.covers_body(),
            "--tamper body: {} does not cover the body; try --tamper signature",
            signing.name()
        ),
        _ => {}
    }
    Ok(())
}

/// The value with another character near its end, which is part of a signature in every scheme.
fn changed(value: &str) -> String {
    // Away from labels at the front and padding at the end.
    let index = value.len().saturating_sub(8);
    let other = if value[index..].starts_with('0') { "1" } else { "0" };
    [&value[..index], other, &value[index + 1..]].concat()
}
