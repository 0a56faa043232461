//! HTTP Message Signatures (RFC 9421) that reach the body through its Content-Digest (RFC 9530).
//!
//! The sender chooses the signed parts, request by request. A signature counts only if it covers the digest and the
//! time: otherwise its body could be another, or a replay.

mod base;
mod digest;
mod key;
#[cfg(test)]
mod tests;

use http::header::{HeaderName, HeaderValue};
use sfv::{BareItem, Dictionary, FieldType, InnerList, Item, ListEntry, Parser};

use super::{Algorithm, HttpMessage, KeyError, SignError, Skew, VerifyError};
use crate::Timestamp;

pub use key::{MessageKey, MessageKeyError};

use digest::Digest;

/// The scheme's name in the configuration.
pub const RFC_9421: &str = "rfc9421";

const INPUT: &str = "signature-input";
const SIGNATURE: &str = "signature";
const DIGEST: &str = "content-digest";

/// The headers of a message signature.
pub const MESSAGE_HEADERS: [&str; 3] = [DIGEST, INPUT, SIGNATURE];

/// The most signatures of one request that are checked. Each may cost as much as fifty of a shared secret.
const MAX_SIGNATURES: usize = 4;

/// The signatures of a request as read from its headers; the body decides if they are valid.
#[derive(Debug)]
pub struct UnverifiedMessage {
    signatures: Vec<MessageSignature>,
    /// All digests of the body, with their names.
    digests: Vec<(String, Digest)>,
}

/// The parameters of the signatures that are made, besides the time and the algorithm.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "snake_case")]
pub struct MessageParameters {
    /// The id of the key; absent for its fingerprint.
    pub keyid: Option<String>,
    /// The seconds after which the signature expires; absent for never.
    pub expires: Option<u32>,
    /// True for a random text in each signature.
    pub nonce: bool,
    /// The name of the application; a receiver refuses signatures without it.
    pub tag: Option<String>,
}

/// One signature and the bytes that it should sign.
#[derive(Debug)]
struct MessageSignature {
    algorithm: Option<Algorithm>,
    /// The digest that it covers, if not all.
    digest: Option<String>,
    bases: Vec<Vec<u8>>,
    bytes: Vec<u8>,
    /// The time of signing, in seconds since 1970.
    created: i64,
}

impl HttpMessage<'_> {
    /// Reads the signatures from the headers, and refuses what no body could make valid.
    ///
    /// Each header in `covered` that the request has must be signed, and a tag must be there if one is given. `tolerance` is in seconds and counts both ways
    /// from `now`.
    ///
    /// # Errors
    /// [`VerifyError`] if no signature of the request covers its digest and these headers, has a known form, and is
    /// fresh.
    pub fn present(
        &self,
        covered: &[HeaderName],
        tag: Option<&str>,
        tolerance: u64,
        now: Timestamp,
    ) -> Result<UnverifiedMessage, VerifyError> {
        let inputs = self.dictionary(INPUT)?;
        let signatures = self.dictionary(SIGNATURE)?;
        if inputs.len() > MAX_SIGNATURES {
            return Err(VerifyError::TooMany(format!("the {INPUT} header")));
        }
        let (mut read, mut refused) = (Vec::new(), None);
        for (label, input) in &inputs {
            if !has_tag(input, tag) {
                refused = refused.or(Some(bad("does not have the tag of this source")));
                continue;
            }
            let signature = signatures.get(label);
            match self.signature(input, signature, covered, tolerance, now) {
                Ok(signature) => read.push(signature),
                Err(reason) => refused = refused.or(Some(reason)),
            }
        }
        match (read.is_empty(), refused) {
            (true, Some(reason)) => Err(reason),
            (true, None) => Err(bad("is missing from Signature-Input")),
            _ => Ok(UnverifiedMessage {
                signatures: read,
                digests: Digest::read(&self.dictionary(DIGEST)?)?,
            }),
        }
    }

    fn signature(
        &self,
        input: &ListEntry,
        signature: Option<&ListEntry>,
        needed: &[HeaderName],
        tolerance: u64,
        now: Timestamp,
    ) -> Result<MessageSignature, VerifyError> {
        let ListEntry::InnerList(covered) = input else {
            return Err(bad("has no list of what it covers in Signature-Input"));
        };
        let Some(ListEntry::Item(Item { bare_item: BareItem::ByteSequence(bytes), .. })) =
            signature
        else {
            return Err(bad("has no bytes in Signature under its label"));
        };
        let created = check_time(covered, tolerance, now)?;
        let mut present = needed.iter().filter(|name| self.headers.contains_key(*name));
        if let Some(name) = present.find(|name| !base::covers(covered, name.as_str())) {
            return Err(bad(&format!("does not cover {name}, which identifies the delivery")));
        }
        Ok(MessageSignature {
            algorithm: algorithm(covered)?,
            digest: base::digest_member(covered),
            bases: self.bases(covered)?,
            bytes: bytes.clone(),
            created,
        })
    }

    /// The signature bases, for a request over https and over http: a proxy in front of the receiver may decrypt.
    fn bases(&self, covered: &InnerList) -> Result<Vec<Vec<u8>>, VerifyError> {
        base::check(covered)?;
        let mut bases = vec![base::of(self, covered, "https")?, base::of(self, covered, "http")?];
        bases.dedup();
        Ok(bases)
    }

    /// A dictionary header, in one line or several.
    fn dictionary(&self, name: &str) -> Result<Dictionary, VerifyError> {
        let lines: Vec<&[u8]> =
            self.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        if lines.is_empty() {
            return Err(VerifyError::Missing(name.to_owned()));
        }
        let parsed = Parser::new(&lines.join(&b", "[..])).parse();
        parsed.map_err(|_| bad(&format!("cannot be read: {name} is not a dictionary")))
    }

    /// The headers that prove `body`: its digest, and a signature by each key over the digest and `covered`.
    ///
    /// # Errors
    /// [`SignError`] if there is no key, one cannot sign, or the request lacks a part to cover.
    pub fn sign(
        &self,
        keys: &[&MessageKey],
        covered: &[&str],
        parameters: &MessageParameters,
        created: Timestamp,
        body: &[u8],
    ) -> Result<Vec<(String, HeaderValue)>, SignError> {
        if keys.is_empty() {
            return Err(SignError::NoKey);
        }
        let digest = Digest::written(body);
        let mut headers = self.headers.clone();
        headers.insert(HeaderName::from_static(DIGEST), value(DIGEST, &digest)?);
        let message = HttpMessage { headers: &headers, ..*self };
        let scheme = self.uri.scheme_str().unwrap_or("https");
        let (mut inputs, mut signatures) = (Dictionary::new(), Dictionary::new());
        for (number, key) in keys.iter().enumerate() {
            let label = label(number);
            let covered = covering(covered, key, parameters, created)?;
            let signed = base::of(&message, &covered, scheme).map_err(unsigned)?;
            inputs.insert(label.clone(), covered.into());
            signatures.insert(label, BareItem::ByteSequence(key.sign(&signed)?).into());
        }
        Ok(vec![
            (DIGEST.into(), value(DIGEST, &digest)?),
            (INPUT.into(), value(INPUT, &inputs.serialize().unwrap_or_default())?),
            (SIGNATURE.into(), value(SIGNATURE, &signatures.serialize().unwrap_or_default())?),
        ])
    }
}

impl UnverifiedMessage {
    /// The index of the key that made one of the signatures, and the time of signing, in seconds since 1970.
    ///
    /// # Errors
    /// [`VerifyError`] if no key did, or the body is not the signed one.
    pub fn verify<'k>(
        &self,
        body: &[u8],
        keys: impl Iterator<Item = &'k MessageKey>,
    ) -> Result<(usize, i64), VerifyError> {
        let (mut tried, mut made) = (0, None);
        for (number, key) in keys.enumerate() {
            tried += 1;
            if made.is_none() {
                let by_key = self.signatures.iter().find(|signature| signature.is_by(key));
                made = by_key.map(|signature| (number, signature));
            }
        }
        let (number, signature) = made.ok_or(VerifyError::WrongSignature(tried))?;
        let is_covered = |name: &str| signature.digest.as_ref().is_none_or(|own| own == name);
        let mut covered = self.digests.iter().filter(|(name, _)| is_covered(name)).peekable();
        if covered.peek().is_none() {
            return Err(bad("covers a digest of the body that is not supported"));
        }
        match covered.all(|(_, digest)| digest.is_of(body)) {
            true => Ok((number, signature.created)),
            false => Err(bad("is of another body: Content-Digest does not match")),
        }
    }
}

impl MessageSignature {
    fn is_by(&self, key: &MessageKey) -> bool {
        self.bases.iter().any(|base| key.has_signed(self.algorithm, base, &self.bytes))
    }
}

/// True if the signature has this tag, or none is asked for.
fn has_tag(input: &ListEntry, tag: Option<&str>) -> bool {
    let own = match input {
        ListEntry::InnerList(covered) => covered.params.get("tag").and_then(BareItem::as_string),
        ListEntry::Item(_) => None,
    };
    tag.is_none_or(|tag| own.is_some_and(|own| own.as_str() == tag))
}

/// The time of signing, if it is within the tolerance.
fn check_time(covered: &InnerList, tolerance: u64, now: Timestamp) -> Result<i64, VerifyError> {
    let Some(created) = integer(covered, "created")? else {
        return Err(bad("has no creation time"));
    };
    let skew = Skew { ahead: created.saturating_sub(now.timestamp()), tolerance };
    if skew.ahead.unsigned_abs() > tolerance {
        return Err(VerifyError::Stale(skew));
    }
    match integer(covered, "expires")? {
        Some(expires) if expires < now.timestamp() => Err(bad("has expired")),
        _ => Ok(created),
    }
}

fn integer(covered: &InnerList, name: &str) -> Result<Option<i64>, VerifyError> {
    match covered.params.get(name).map(BareItem::as_integer) {
        None => Ok(None),
        Some(Some(number)) => Ok(Some(number.into())),
        Some(None) => Err(bad(&format!("has a parameter {name} that is not a whole number"))),
    }
}

fn algorithm(covered: &InnerList) -> Result<Option<Algorithm>, VerifyError> {
    let Some(name) = covered.params.get("alg") else { return Ok(None) };
    let known = name.as_string().and_then(|name| key::algorithm(name.as_str()));
    known.map(Some).ok_or_else(|| bad("names an unknown algorithm"))
}

/// The list of the covered parts, the digest last.
fn covering(
    covered: &[&str],
    key: &MessageKey,
    parameters: &MessageParameters,
    created: Timestamp,
) -> Result<InnerList, SignError> {
    let name = |name: &&str| match sfv::String::try_from((*name).to_owned()) {
        Ok(name) => Ok(Item::new(name)),
        Err(_) => Err(SignError::Message(format!("cannot cover {name:?}"))),
    };
    let items = covered.iter().chain([&DIGEST]).map(name).collect::<Result<_, _>>()?;
    let mut list = InnerList::new(items);
    let time = |seconds: i64| {
        let time = sfv::Integer::try_from(seconds);
        time.map_err(|_| SignError::Message("has a time that no header has".into()))
    };
    let text = |text: String| {
        let text = sfv::String::try_from(text);
        text.map_err(|_| SignError::Message("has a parameter that is not ASCII".into()))
    };
    let mut set = |name: &'static str, value: BareItem| {
        list.params.insert(sfv::key_ref(name).to_owned(), value);
    };
    set("created", time(created.timestamp())?.into());
    if let Some(seconds) = parameters.expires {
        set("expires", time(created.timestamp().saturating_add(seconds.into()))?.into());
    }
    let keyid = parameters.keyid.clone().unwrap_or_else(|| key.fingerprint.to_string());
    set("keyid", text(keyid)?.into());
    set("alg", text(key.name().to_owned())?.into());
    if parameters.nonce {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|_| KeyError::NoRandom)?;
        set("nonce", text(hex::encode(bytes))?.into());
    }
    if let Some(tag) = &parameters.tag {
        set("tag", text(tag.clone())?.into());
    }
    base::check(&list).map_err(unsigned)?;
    Ok(list)
}

fn label(number: usize) -> sfv::Key {
    sfv::Key::try_from(format!("sig{}", number + 1)).expect("letters and digits are a label")
}

fn value(name: &str, text: &str) -> Result<HeaderValue, SignError> {
    HeaderValue::from_str(text).map_err(|_| SignError::Header(name.to_owned()))
}

fn bad(reason: &str) -> VerifyError {
    VerifyError::Message(reason.to_owned())
}

fn unsigned(reason: VerifyError) -> SignError {
    match reason {
        VerifyError::Message(reason) => SignError::Message(reason),
        other => SignError::Message(other.to_string()),
    }
}
