//! JSON Web Tokens (RFC 7519) that prove a sender: signed by a key that it publishes, for this receiver, and fresh.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use text::field::credentials;

use super::parts::{HttpMessage, RequestParts};
use super::{Algorithm, KeyError, Place, PublicKey, Skew, VerifyError};
use crate::Timestamp;

/// The longest token that is read, in bytes.
const LONGEST: usize = 16 * 1024;

/// The seconds by which a token's times may be off.
const LEEWAY: i64 = 60;

/// The algorithms of JSON Web Signatures (RFC 7518), and their names. Shared secrets are none of them: a public key could be
/// taken for one.
const ALGORITHMS: [(Algorithm, &str); 7] = [
    (Algorithm::RsaSha256, "RS256"),
    (Algorithm::RsaSha512, "RS512"),
    (Algorithm::RsaPssSha256, "PS256"),
    (Algorithm::RsaPssSha512, "PS512"),
    (Algorithm::EcdsaP256Sha256, "ES256"),
    (Algorithm::EcdsaP384Sha384, "ES384"),
    (Algorithm::Ed25519, "EdDSA"),
];

/// The demands on a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRule {
    /// The place of the token; absent for `Authorization: Bearer`.
    pub place: Option<Place>,
    /// The accepted algorithms.
    pub algorithms: Vec<Algorithm>,
    /// The accepted issuers; empty for any.
    pub issuer: Vec<String>,
    /// The accepted audiences; empty for any.
    pub audience: Vec<String>,
    /// Other claims that must have these values.
    pub claims: BTreeMap<String, String>,
    /// The claim with the SHA-256 of the body, if the sender signs the body so.
    pub body_sha256: Option<String>,
    /// The largest age in seconds; absent if only the expiry counts.
    pub max_age: Option<u64>,
}

/// A token as read from the head; its key and the body decide if it is valid.
#[derive(Debug)]
pub struct UnverifiedToken {
    algorithm: Algorithm,
    signed: Vec<u8>,
    signature: Vec<u8>,
    /// The id of the key.
    pub key_id: Option<String>,
    /// The time of issue, as written.
    issued: Option<String>,
    body_sha256: Option<String>,
}

impl TokenRule {
    /// The algorithm with this name in JSON Web Signatures.
    pub fn algorithm(name: &str) -> Option<Algorithm> {
        ALGORITHMS.iter().find(|(_, own)| *own == name).map(|(algorithm, _)| *algorithm)
    }

    /// The names of all algorithms.
    pub fn algorithm_names() -> Vec<&'static str> {
        ALGORITHMS.iter().map(|(_, name)| *name).collect()
    }

    /// Reads the token, and refuses what no key and no body could make valid.
    ///
    /// # Errors
    /// [`VerifyError`] if it is missing or malformed, for another receiver, or not fresh.
    pub fn present(
        &self,
        head: HttpMessage<'_>,
        now: Timestamp,
    ) -> Result<UnverifiedToken, VerifyError> {
        let parts = RequestParts::new(head, b"");
        let value = match &self.place {
            None => {
                let place = Place::Header("Authorization".into());
                let value = place.value(&parts);
                let value = value.ok_or_else(|| VerifyError::Missing("Authorization".into()))?;
                credentials(&value, "Bearer").ok_or_else(|| bad("is not behind Bearer"))?.to_vec()
            }
            Some(place) => {
                let value = place.value(&parts);
                value.ok_or_else(|| VerifyError::MissingPart(place.to_string()))?.into_owned()
            }
        };
        let token = std::str::from_utf8(value.trim_ascii()).ok();
        let token =
            token.filter(|token| token.len() <= LONGEST).ok_or_else(|| bad("is too long"))?;
        self.read(token, now)
    }

    pub(crate) fn read(&self, token: &str, now: Timestamp) -> Result<UnverifiedToken, VerifyError> {
        let malformed = || bad("is no signed JSON Web Token");
        let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (header, payload) = signed.split_once('.').ok_or_else(malformed)?;
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed());
        let header: Header = serde_json::from_slice(&decoded(header)?).map_err(|_| malformed())?;
        let claims: Map<String, Value> =
            serde_json::from_slice(&decoded(payload)?).map_err(|_| malformed())?;
        if header.crit.is_some() {
            return Err(bad("has critical extensions, none of which is supported"));
        }
        let algorithm = TokenRule::algorithm(&header.alg);
        let algorithm = algorithm.filter(|algorithm| self.algorithms.contains(algorithm));
        let algorithm =
            algorithm.ok_or_else(|| bad("is signed by an algorithm that is not accepted"))?;
        self.check_claims(&claims, now)?;
        let text = |name: &str| claims.get(name).map(plain);
        Ok(UnverifiedToken {
            algorithm,
            signed: signed.into(),
            signature: decoded(signature)?,
            key_id: header.kid,
            issued: text("iat"),
            body_sha256: self.body_sha256.as_deref().and_then(text),
        })
    }

    /// A token of these demands, signed by this key: as the sender would make it for a body.
    ///
    /// # Errors
    /// [`KeyError`] if the key cannot sign by one of the algorithms.
    pub fn sign(
        &self,
        key: &PublicKey,
        key_id: &str,
        time: Timestamp,
        body: &[u8],
    ) -> Result<String, KeyError> {
        let fits = |algorithm: &&Algorithm| algorithm.key_type() == key.key_type();
        let algorithm = self.algorithms.iter().find(fits).ok_or(KeyError::Document("signing"))?;
        let name = ALGORITHMS.iter().find(|(own, _)| own == algorithm).map_or("", |(_, name)| name);
        let mut claims = Map::new();
        let first = |list: &[String]| list.first().cloned().map(Value::from);
        claims.extend(first(&self.issuer).map(|issuer| ("iss".to_owned(), issuer)));
        claims.extend(first(&self.audience).map(|audience| ("aud".to_owned(), audience)));
        claims.insert("iat".into(), time.timestamp().into());
        claims.insert("exp".into(), (time.timestamp() + 300).into());
        for (name, value) in &self.claims {
            let json = serde_json::from_str(value).ok().filter(|json: &Value| !json.is_object());
            claims.insert(name.clone(), json.unwrap_or_else(|| value.as_str().into()));
        }
        if let Some(claim) = &self.body_sha256 {
            claims.insert(claim.clone(), hex::encode(Sha256::digest(body)).into());
        }
        let header = serde_json::json!({ "alg": name, "kid": key_id, "typ": "JWT" });
        let part = |value: String| URL_SAFE_NO_PAD.encode(value);
        let signed =
            format!("{}.{}", part(header.to_string()), part(Value::from(claims).to_string()));
        let signature = key.sign(*algorithm, signed.as_bytes())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn check_claims(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<(), VerifyError> {
        let now = now.timestamp();
        let time = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(value) => {
                let time = value.as_i64().or(value.as_f64().map(|time| time as i64));
                time.map(Some).ok_or_else(|| bad(&format!("has a claim {name} that is no time")))
            }
        };
        let (issued, expires) = (time("iat")?, time("exp")?);
        if expires.is_some_and(|expires| expires.saturating_add(LEEWAY) < now) {
            return Err(bad("has expired"));
        }
        if time("nbf")?.is_some_and(|begins| begins.saturating_sub(LEEWAY) > now) {
            return Err(bad("is not valid yet"));
        }
        if issued.is_some_and(|issued| issued.saturating_sub(LEEWAY) > now) {
            return Err(bad("is issued in the future"));
        }
        match (self.max_age, issued) {
            (None, _) if expires.is_none() => return Err(bad("has no expiry")),
            (None, _) => {}
            (Some(_), None) => return Err(bad("has no time of issue")),
            (Some(tolerance), Some(issued)) => {
                let skew = Skew { ahead: issued.saturating_sub(now), tolerance };
                if skew.ahead.unsigned_abs() > tolerance {
                    return Err(VerifyError::Stale(skew));
                }
            }
        }
        let is_one_of = |accepted: &[String], value: Option<&Value>| {
            let has =
                |value: &Value| accepted.iter().any(|own| Some(own.as_str()) == value.as_str());
            match value {
                Some(Value::Array(values)) => values.iter().any(has),
                Some(value) => has(value),
                None => false,
            }
        };
        if !self.issuer.is_empty() && !is_one_of(&self.issuer, claims.get("iss")) {
            return Err(bad("is from another issuer"));
        }
        if !self.audience.is_empty() && !is_one_of(&self.audience, claims.get("aud")) {
            return Err(bad("is for another audience"));
        }
        let differs = |(name, value): &(&String, &String)| {
            claims.get(*name).map(plain) != Some((*value).clone())
        };
        match self.claims.iter().find(differs) {
            Some((name, _)) => Err(bad(&format!("has another claim {name} than is configured"))),
            None => Ok(()),
        }
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

/// A claim's text, or its JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl UnverifiedToken {
    /// The index of the key that signed the token.
    ///
    /// # Errors
    /// [`VerifyError::WrongSignature`] if none did; another if the body is not the signed one.
    pub fn verify<'k>(
        &self,
        rule: &TokenRule,
        body: &[u8],
        keys: impl Iterator<Item = &'k PublicKey>,
    ) -> Result<usize, VerifyError> {
        let is_plain = self.algorithm.ecdsa().is_none() || matches!(self.signature.len(), 64 | 96);
        let mut tried = 0;
        let mut found = None;
        for key in keys {
            if is_plain && key.has_signed(self.algorithm, &self.signed, &self.signature) {
                found = Some(tried);
                break;
            }
            tried += 1;
        }
        let found = found.ok_or(VerifyError::WrongSignature(tried))?;
        match (&rule.body_sha256, &self.body_sha256) {
            (None, _) => Ok(found),
            (Some(_), Some(digest)) if *digest == hex::encode(Sha256::digest(body)) => Ok(found),
            (Some(claim), _) => Err(bad(&format!("is of another body: {claim} does not match"))),
        }
    }

    /// The value that distinguishes messages with equal bodies: the time of issue.
    pub fn stamp(&self) -> Option<&[u8]> {
        self.issued.as_deref().map(str::as_bytes)
    }
}

fn bad(reason: &str) -> VerifyError {
    VerifyError::Token(reason.to_owned())
}
