//! The proof of a message, and the forgeries that must be refused.

use std::borrow::Cow;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use chrono::TimeDelta;
use contract::time::Timestamp;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use signature::{HttpMessage, Key, MESSAGE_HEADERS, MessageKey, RFC_9421, Scheme, Stamp, Unit};

use super::send_as::SigningMethod;
use super::target;

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

/// The proof of a message: a bearer key, a signature, both or none.
#[derive(Debug, Default)]
pub struct Proof {
    bearer: Option<HeaderValue>,
    signing: Option<Signing>,
    tamper: Option<Tamper>,
}

#[derive(Debug)]
enum Signing {
    Scheme { scheme: Box<Scheme>, keys: Vec<Key> },
    HttpMessage { keys: Vec<MessageKey> },
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
        let bearer = bearer.as_ref().map(authorization).transpose()?;
        Ok(Proof { bearer, signing, tamper })
    }

    /// The names of the headers that a signature needs, in every spelling.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        let (row, message) = match &self.signing {
            Some(Signing::Scheme { scheme, .. }) => (Some(scheme), &[][..]),
            Some(Signing::HttpMessage { .. }) => (None, &MESSAGE_HEADERS[..]),
            None => (None, &[][..]),
        };
        row.into_iter().flat_map(|scheme| scheme.names()).chain(message.iter().copied())
    }

    /// The headers that prove the message when signed at this time, and the body as sent.
    pub(super) fn headers_for(
        &self,
        id: &str,
        url: &Url,
        headers: &[NamedHeader],
        time: Timestamp,
        body: &Bytes,
    ) -> anyhow::Result<(Vec<NamedHeader>, Bytes)> {
        let mut proof: Vec<NamedHeader> = Vec::new();
        proof.extend(self.bearer.clone().map(|value| ("Authorization".into(), value)));
        let Some(signing) = &self.signing else { return Ok((proof, body.clone())) };
        let signed = match signing {
            Signing::Scheme { scheme, keys } => {
                let keys: Vec<&Key> = keys.iter().collect();
                scheme.sign(&keys, Stamp { id, time }, body)?
            }
            Signing::HttpMessage { keys } => message(keys, url, headers, time, body)?,
        };
        for (name, value) in signed {
            let is_signature = name.eq_ignore_ascii_case(signing.header());
            proof.extend(match self.tamper {
                Some(Tamper::Header) if is_signature => None,
                Some(Tamper::Signature) if is_signature => Some((name.into(), changed(&value)?)),
                Some(Tamper::Timestamp) => Some((name.into(), signing.earlier(&value, time)?)),
                _ => Some((name.into(), value)),
            });
        }
        let body = match self.tamper {
            Some(Tamper::Body) => [body, b" ".as_slice()].concat().into(),
            _ => body.clone(),
        };
        Ok((proof, body))
    }
}

impl Signing {
    /// The given keys, or as many unknown ones.
    fn new(
        style: SigningMethod,
        secrets: &[SecretString],
        is_unknown: bool,
    ) -> anyhow::Result<Self> {
        match style {
            SigningMethod::Scheme(scheme) => {
                let unusable = || format!("the signing key cannot be used for {}", scheme.name);
                let key = |secret| {
                    let key = Key::new(&scheme, secret).with_context(unusable)?;
                    Ok(match is_unknown {
                        true => Key::new(&scheme, &scheme.fresh_secret(&key)?)?,
                        false => key,
                    })
                };
                let keys: Vec<Key> = secrets.iter().map(key).collect::<anyhow::Result<_>>()?;
                let stamp = Stamp { id: "0", time: contract::time::now() };
                for key in &keys {
                    scheme.sign(&[key], stamp, b"").with_context(unusable)?;
                }
                Ok(Signing::Scheme { scheme, keys })
            }
            SigningMethod::HttpMessage => {
                let unusable = || format!("the signing key cannot be used for {RFC_9421}");
                let key = |secret| {
                    let key = MessageKey::new(secret).with_context(unusable)?;
                    Ok(if is_unknown { key.unknown()? } else { key })
                };
                let keys: Vec<_> = secrets.iter().map(key).collect::<anyhow::Result<_>>()?;
                let url = Url::parse("http://localhost/")?;
                message(&keys, &url, &[], contract::time::now(), b"").with_context(unusable)?;
                Ok(Signing::HttpMessage { keys })
            }
        }
    }

    /// The header of the signature.
    fn header(&self) -> &str {
        match self {
            Signing::Scheme { scheme, .. } => &scheme.headers[0].signature,
            Signing::HttpMessage { .. } => "signature",
        }
    }

    fn name(&self) -> &str {
        match self {
            Signing::Scheme { scheme, .. } => &scheme.name,
            Signing::HttpMessage { .. } => RFC_9421,
        }
    }

    fn is_timed(&self) -> bool {
        match self {
            Signing::Scheme { scheme, .. } => scheme.is_timed(),
            Signing::HttpMessage { .. } => true,
        }
    }

    /// The value with a time that is a second earlier than the signed one.
    fn earlier(&self, value: &HeaderValue, time: Timestamp) -> anyhow::Result<HeaderValue> {
        let unit = match self {
            Signing::Scheme { scheme, .. } => scheme.unit,
            Signing::HttpMessage { .. } => Unit::Seconds,
        };
        let earlier = unit.written(time - TimeDelta::seconds(1));
        Ok(HeaderValue::try_from(value.to_str()?.replace(&unit.written(time), &earlier))?)
    }
}

/// The headers of a message signature (RFC 9421) over the method, the path and every header of the message.
fn message(
    keys: &[MessageKey],
    url: &Url,
    headers: &[NamedHeader],
    time: Timestamp,
    body: &[u8],
) -> anyhow::Result<Vec<(String, HeaderValue)>> {
    let mut covered = vec!["@method".to_owned(), "@path".to_owned()];
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(HeaderName::from_bytes(name.as_bytes())?, value.clone());
        covered.push(name.to_ascii_lowercase());
    }
    let covered: Vec<&str> = covered.iter().map(String::as_str).collect();
    let uri: Uri = url.as_str().parse()?;
    let message = HttpMessage { method: &Method::POST, uri: &uri, headers: &map };
    let keys: Vec<&MessageKey> = keys.iter().collect();
    Ok(message.sign(&keys, &covered, time, body)?)
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
        _ => {}
    }
    Ok(())
}

/// The value with another character near its end, which is part of a signature in every scheme.
fn changed(value: &HeaderValue) -> anyhow::Result<HeaderValue> {
    let mut bytes = value.as_bytes().to_vec();
    // Away from labels at the front and padding at the end.
    let index = bytes.len().saturating_sub(8);
    bytes[index] = if bytes[index] == b'0' { b'1' } else { b'0' };
    Ok(HeaderValue::from_bytes(&bytes)?)
}

fn authorization(key: &SecretString) -> anyhow::Result<HeaderValue> {
    target::check_key(key)?;
    let mut value = HeaderValue::try_from(format!("Bearer {}", key.expose_secret()))
        .ok()
        .context("the key has characters in it that no header can carry")?;
    value.set_sensitive(true);
    Ok(value)
}
