//! Handshakes: requests of a sender before it delivers, and their answers, each a row of its settings.

use std::fmt;

use http::Method;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use signature::{Key, Place, PlaceError, RequestParts, Template, TemplateError};
use subtle::ConstantTimeEq;

use super::hosts::Hosts;
use super::wire::HandshakeConfig;

/// The longest answer, in bytes: a token, not a document.
const LONGEST_ANSWER: usize = 4096;

/// The longest value that is signed for a request that is not proved.
const LONGEST_TOKEN: usize = 200;

/// A request of a sender before it delivers, and its answer.
#[derive(Debug)]
pub struct Handshake {
    method: Method,
    when: Vec<(Place, Option<String>)>,
    token: Option<Place>,
    /// True if the request must be as authentic as a delivery.
    pub(crate) is_proved: bool,
    status: u16,
    content_type: String,
    answer: Template,
    fetch: Option<(Place, Hosts)>,
}

/// An error in the description of a handshake: the setting and the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} {reason}")]
pub struct HandshakeError {
    /// The setting.
    pub setting: &'static str,
    /// The reason and the correction.
    pub reason: String,
}

/// The answer to a handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandshakeAnswer {
    /// The status.
    pub status: u16,
    /// The content type.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
    /// The URL that has to be fetched first.
    pub fetch: Option<String>,
}

/// The reason why a handshake is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeRefused {
    /// The token is missing, or not one of the source's.
    #[error("the handshake does not have one of this source's handshake_tokens, in {0}")]
    WrongToken(String),
    /// A part of the answer is missing, too long, or no token.
    #[error("the handshake asks for an answer that is not given")]
    Unanswerable,
    /// The URL to fetch is on another host than the sender's.
    #[error("the handshake names a URL on another host than the sender's")]
    ForeignHost,
}

/// The tokens that a source's senders repeat in handshakes.
#[derive(Default)]
pub struct HandshakeTokens(Vec<SecretString>);

impl HandshakeTokens {
    /// Creates them from the settings.
    pub fn new(tokens: Vec<SecretString>) -> Self {
        HandshakeTokens(tokens)
    }

    fn accept(&self, given: &[u8]) -> bool {
        let given = Sha256::digest(given);
        let equals = |token: &SecretString| {
            Sha256::digest(token.expose_secret()).as_slice().ct_eq(given.as_slice())
        };
        self.0.iter().fold(subtle::Choice::from(0), |any, token| any | equals(token)).into()
    }
}

impl fmt::Debug for HandshakeTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tokens", self.0.len())
    }
}

impl Handshake {
    /// A handshake as it is described.
    ///
    /// # Errors
    /// [`HandshakeError`] with the setting that is invalid.
    pub fn new(config: &HandshakeConfig) -> Result<Self, HandshakeError> {
        let method = Method::from_bytes(config.method.as_bytes())
            .map_err(|_| refused("method", "is no method; write for example \"GET\""))?;
        let has_body = method == Method::POST;
        let when = config
            .when
            .iter()
            .map(|(text, value)| Ok((place("when", text)?, (value != "*").then(|| value.clone()))));
        let answer = Template::parse(&config.answer)
            .map_err(|error: TemplateError| refused("answer", &error.to_string()))?;
        let handshake = Handshake {
            when: when.collect::<Result<_, HandshakeError>>()?,
            token: config.token.as_ref().map(|text| place("token", text)).transpose()?,
            is_proved: config.proved.unwrap_or(has_body),
            status: config.status,
            content_type: content_type(config, &answer),
            fetch: fetched(config)?,
            answer,
            method,
        };
        handshake.check(config.proved == Some(true), has_body)?;
        Ok(handshake)
    }

    fn check(&self, asks_proof: bool, has_body: bool) -> Result<(), HandshakeError> {
        if self.when.is_empty() && has_body {
            return Err(refused(
                "when",
                "names nothing by which the request is known; write for example when = { \"query:challenge\" = \"*\" }",
            ));
        }
        if asks_proof && !has_body {
            return Err(refused(
                "proved",
                "is for POST: what a sender signs is a delivery's body; remove it, or compare a token",
            ));
        }
        if !(200..300).contains(&self.status) {
            return Err(refused("status", "must be between 200 and 299"));
        }
        if self.is_proved { Ok(()) } else { self.check_unproved() }
    }

    /// Checks that anyone may be given the answer.
    fn check_unproved(&self) -> Result<(), HandshakeError> {
        if self.fetch.is_some() {
            return Err(refused("fetch", "is for handshakes that are proved"));
        }
        if self.reads_body() {
            return Err(refused(
                "when",
                "or answer names a place in the body, which is read of proved requests only",
            ));
        }
        let is_run = |kind: &&str| self.content_type.contains(kind);
        if ["html", "xml", "svg", "script"].iter().any(is_run) {
            return Err(refused(
                "content_type",
                "would be run by a browser that is led here; write \"text/plain\"",
            ));
        }
        Ok(())
    }

    /// True if the sender repeats one of the source's tokens.
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// True if a part of it is in the body.
    pub fn reads_body(&self) -> bool {
        let own = self.when.iter().map(|(place, _)| place).chain(self.answer.places());
        own.chain(&self.token)
            .chain(self.fetch.iter().map(|(place, _)| place))
            .any(Place::is_in_body)
    }

    /// True if anyone is given a MAC that is made with the source's key.
    pub fn signs_for_anyone(&self) -> bool {
        !self.is_proved && self.answer.has_hmac()
    }

    /// The method of the request.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// True if the request is this handshake.
    pub(crate) fn is_asked_by(&self, parts: &RequestParts<'_>) -> bool {
        *parts.head.method == self.method
            && self.when.iter().all(|(place, expected)| {
                place.value(parts).is_some_and(|value| match expected {
                    None => !value.trim_ascii().is_empty(),
                    Some(expected) => is_equal(place, &value, expected),
                })
            })
    }

    /// The answer to the request.
    pub(crate) fn answer(
        &self,
        parts: &RequestParts<'_>,
        tokens: &HandshakeTokens,
        key: Option<&Key>,
    ) -> Result<HandshakeAnswer, HandshakeRefused> {
        if let Some(place) = &self.token {
            let given = place.value(parts).unwrap_or_default();
            if !tokens.accept(&given) {
                return Err(HandshakeRefused::WrongToken(place.to_string()));
            }
        }
        let fetch = match &self.fetch {
            None => None,
            Some((place, hosts)) => {
                let url = place.value(parts).ok_or(HandshakeRefused::Unanswerable)?;
                let url = String::from_utf8(url.into_owned())
                    .map_err(|_| HandshakeRefused::Unanswerable)?;
                Some(hosts.check(&url).ok_or(HandshakeRefused::ForeignHost)?)
            }
        };
        let in_json = self.content_type.contains("json");
        // A requester that is not proved could otherwise have any delivery signed.
        let hmac = |algorithm, value: &[u8]| match self.is_proved || is_token(value) {
            true => key?.hmac(algorithm, value),
            false => None,
        };
        let body = self.answer.filled(parts, in_json, hmac);
        let is_text = |body: &Vec<u8>| {
            body.len() <= LONGEST_ANSWER
                && std::str::from_utf8(body).is_ok_and(|text| !text.chars().any(is_odd))
        };
        let body = body.filter(is_text).ok_or(HandshakeRefused::Unanswerable)?;
        let (status, content_type) = (self.status, self.content_type.clone());
        Ok(HandshakeAnswer { status, content_type, body, fetch })
    }
}

fn refused(setting: &'static str, reason: &str) -> HandshakeError {
    HandshakeError { setting, reason: reason.to_owned() }
}

fn place(setting: &'static str, text: &str) -> Result<Place, HandshakeError> {
    Place::parse(text).map_err(|error: PlaceError| {
        refused(setting, &format!("has {text:?} in it, which {error}"))
    })
}

/// The place of the URL that is fetched, and its hosts.
fn fetched(config: &HandshakeConfig) -> Result<Option<(Place, Hosts)>, HandshakeError> {
    let Some(text) = &config.fetch else { return Ok(None) };
    if config.hosts.is_empty() {
        return Err(refused("hosts", "is missing: a URL is fetched from named hosts only"));
    }
    let hosts = Hosts::new(&config.hosts).map_err(|reason| refused("hosts", &reason))?;
    Ok(Some((place("fetch", text)?, hosts)))
}

/// The content type of the answer: the configured one, or that of its beginning.
fn content_type(config: &HandshakeConfig, answer: &Template) -> String {
    let is_json = config.answer.starts_with(['{', '[']) && !answer.is_one_slot();
    let usual = if is_json { "application/json" } else { "text/plain; charset=utf-8" };
    config.content_type.clone().unwrap_or_else(|| usual.to_owned())
}

/// True if a value is the expected one. Of a content type the parameters do not count.
fn is_equal(place: &Place, value: &[u8], expected: &str) -> bool {
    let is_type = matches!(place, Place::Header(name) if name.eq_ignore_ascii_case("content-type"));
    let value = match is_type {
        true => value.split(|byte| *byte == b';').next().unwrap_or_default(),
        false => value,
    };
    value.trim_ascii().eq_ignore_ascii_case(expected.as_bytes())
}

fn is_token(value: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_+/=.".contains(byte);
    // JSON could be a body.
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(value).is_ok();
    (1..=LONGEST_TOKEN).contains(&value.len()) && value.iter().all(is_plain) && !is_json
}

/// True for a character that no token has.
fn is_odd(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\r' | '\t')
}
