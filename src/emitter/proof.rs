//! What proves a message, and the forgeries that must be refused.

use std::borrow::Cow;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use super::target;
use crate::signature::{Key, Scheme, Stamp};

/// What is wrong with a forgery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Tamper {
    /// The body has a byte more than what was signed
    Body,
    /// One character of the signature is another
    Signature,
    /// The timestamp is a second earlier than the signed one
    Timestamp,
    /// Signed or sent with a key that nobody knows
    Key,
    /// The header of the proof is missing
    Header,
}

impl Tamper {
    /// The name on the command line and in reports.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Tamper::Body => "body",
            Tamper::Signature => "signature",
            Tamper::Timestamp => "timestamp",
            Tamper::Key => "key",
            Tamper::Header => "header",
        }
    }
}

/// A header by the name that the vendor gives it.
pub(super) type Named = (Cow<'static, str>, HeaderValue);

/// What proves a message: a bearer key, a signature, both or nothing.
#[derive(Debug, Default)]
pub(super) struct Proof {
    bearer: Option<HeaderValue>,
    signing: Option<Signing>,
    tamper: Option<Tamper>,
}

#[derive(Debug)]
struct Signing {
    scheme: Scheme,
    key: Key,
}

impl Proof {
    /// The proof by these keys, or the forgery of it.
    ///
    /// # Errors
    /// If a header cannot carry the bearer key, the scheme cannot sign with the other, or there is nothing to forge.
    pub(super) fn new(
        bearer: Option<&SecretString>,
        signing: Option<(Scheme, &SecretString)>,
        tamper: Option<Tamper>,
    ) -> anyhow::Result<Self> {
        let mut bearer = bearer.cloned();
        let signing = match signing {
            None => None,
            Some((scheme, secret)) => Some(Signing::new(scheme, secret, tamper)?),
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

    /// The headers that go with the body, and the body that goes out.
    pub(super) fn of(&self, id: &str, body: &Bytes) -> anyhow::Result<(Vec<Named>, Bytes)> {
        let mut headers: Vec<Named> = Vec::new();
        headers.extend(self.bearer.clone().map(|value| ("Authorization".into(), value)));
        let Some(signing) = &self.signing else { return Ok((headers, body.clone())) };
        headers.extend(signing.headers(id, body, self.tamper)?);
        let body = match self.tamper {
            Some(Tamper::Body) => [body, b" ".as_slice()].concat().into(),
            _ => body.clone(),
        };
        Ok((headers, body))
    }
}

impl Signing {
    fn new(scheme: Scheme, secret: &SecretString, tamper: Option<Tamper>) -> anyhow::Result<Self> {
        let unusable = || format!("the signing key cannot be used for {}", scheme.name);
        let mut key = Key::new(&scheme, secret).with_context(unusable)?;
        if tamper == Some(Tamper::Key) {
            key = Key::new(&scheme, &scheme.fresh_secret(&key)?)?;
        }
        let stamp = Stamp { id: "0", time: Utc::now() };
        scheme.sign(&[&key], stamp, b"").with_context(unusable)?;
        Ok(Signing { scheme, key })
    }

    fn headers(&self, id: &str, body: &[u8], tamper: Option<Tamper>) -> anyhow::Result<Vec<Named>> {
        let time = Utc::now();
        let headers = self.scheme.sign(&[&self.key], Stamp { id, time }, body)?;
        let signature = self.scheme.headers[0].signature.as_str();
        let mut named = Vec::new();
        for (name, value) in headers {
            let value = match tamper {
                Some(Tamper::Header) if name == signature => continue,
                Some(Tamper::Signature) if name == signature => changed(&value)?,
                Some(Tamper::Timestamp) => {
                    let unit = self.scheme.unit;
                    let earlier = unit.written(time - TimeDelta::seconds(1));
                    HeaderValue::try_from(value.to_str()?.replace(&unit.written(time), &earlier))?
                }
                _ => value,
            };
            named.push((name.into(), value));
        }
        Ok(named)
    }
}

/// There must be something to forge.
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
        (Tamper::Timestamp, Some(signing)) => ensure!(
            signing.scheme.is_timed(),
            "--tamper timestamp: {} signs no time",
            signing.scheme.name
        ),
        _ => {}
    }
    Ok(())
}

/// The value with another character near its end, which is part of a signature in every scheme.
fn changed(value: &HeaderValue) -> anyhow::Result<HeaderValue> {
    let mut bytes = value.as_bytes().to_vec();
    // Away from labels at the front and padding at the end.
    let place = bytes.len().saturating_sub(8);
    bytes[place] = if bytes[place] == b'0' { b'1' } else { b'0' };
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
