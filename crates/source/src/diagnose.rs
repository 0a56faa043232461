//! Diagnosis of a refusal, for the source's owner: the credentials or the form that would have been accepted.
//!
//! For the log, the console and `verify` only, never for the sender. No finding holds a key, a signature or a body.

mod bearer;
mod signature;

use std::fmt;
use std::sync::Arc;

use ::signature::{Difference, Fingerprint, Misreading};
use contract::time::Timestamp;
use http::header::HeaderMap;
use http::{HeaderName, Method, Uri};

use super::{Refusal, Source};

/// The most findings about one request.
pub const MAX_FINDINGS: usize = 5;

/// A refused request, as received.
#[derive(Clone, Copy)]
pub struct RefusedRequest<'r> {
    /// The method.
    pub method: &'r Method,
    /// The request target.
    pub uri: &'r Uri,
    /// The headers.
    pub headers: &'r HeaderMap,
    /// The body, if it has been read.
    pub body: Option<&'r [u8]>,
    /// The time of receipt.
    pub now: Timestamp,
}

/// The findings about a refusal, most important first. They hold together, unless they name two keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis(Vec<Finding>);

/// A finding about a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The signature is of another source's key.
    SignedFor(ForeignKey),
    /// The bearer key is another source's.
    BearerFor(ForeignKey),
    /// The key is a retired one of this source.
    Retired(Fingerprint),
    /// A signing key of this source was misread.
    Misread {
        /// The key.
        key: Fingerprint,
        /// The misreading.
        how: Misreading,
    },
    /// A key of this source signed in another scheme.
    OtherScheme {
        /// The key.
        key: Fingerprint,
        /// The scheme of the request.
        found: String,
        /// The scheme of the source.
        expected: String,
    },
    /// The signature is valid but for this difference.
    Signature(Difference),
    /// The bearer key itself is accepted, and was refused for its form.
    Bearer(Fingerprint),
    /// The bearer key has another form.
    Form(BearerForm),
    /// The bearer key is the beginning of an accepted one.
    CutShort(Fingerprint),
    /// The client id is in another source's list.
    ClientOf {
        /// The other source.
        source: String,
    },
    /// The request has no credentials to compare.
    NoProof,
    /// The body is needed to compare, and was not read.
    Unread,
    /// Nothing that was tried matches.
    Unknown,
}

/// A key of another source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    /// The source.
    pub source: String,
    /// The key.
    pub key: Fingerprint,
    /// True if that source has retired the key, too.
    pub is_retired: bool,
}

/// A form of a bearer key other than `Authorization: Bearer` and the bare key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BearerForm {
    /// Without the word `Bearer`.
    NoScheme,
    /// As the user name or password of Basic authentication.
    Basic,
    /// After another scheme.
    OtherScheme,
    /// After `Bearer` twice.
    Twice,
    /// With spaces or quotes around it.
    Wrapped,
    /// Percent-encoded.
    PercentEncoded,
    /// In another header.
    Header(HeaderName),
    /// In the query.
    Query,
}

/// Finds the difference without which `source` would not have refused the request with `refusal`.
pub fn diagnose(
    source: &Source,
    sources: &[Arc<Source>],
    refusal: &Refusal,
    request: RefusedRequest<'_>,
) -> Diagnosis {
    let others = sources.iter().map(AsRef::as_ref).filter(|other| other.name != source.name);
    let others: Vec<&Source> = others.collect();
    let mut findings = match refusal {
        Refusal::Signature(_) => signature::diagnose(source, &others, request),
        Refusal::ClientId(id) => client(id.as_ref(), &others),
        // Nothing of the request could be another source's: its reason says all.
        Refusal::Handshake(_) | Refusal::UnknownKey | Refusal::ForeignKey(_) => Vec::new(),
        _ => bearer::diagnose(source, &others, request),
    };
    findings.truncate(MAX_FINDINGS);
    Diagnosis(findings)
}

/// The sources that accept this client.
fn client(id: Option<&String>, others: &[&Source]) -> Vec<Finding> {
    let Some(id) = id else { return Vec::new() };
    let takes = others.iter().filter(|other| other.client_ids.contains(id));
    takes.map(|other| Finding::ClientOf { source: other.name.clone() }).collect()
}

impl Diagnosis {
    /// The findings.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter()
    }

    /// True if there is no finding besides the reason of the refusal.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, finding) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("; ")?;
            }
            finding.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::SignedFor(foreign_key) => write!(f, "it is signed with {foreign_key}"),
            Finding::BearerFor(foreign_key) => write!(f, "the bearer key is {foreign_key}"),
            Finding::Retired(key) => {
                write!(f, "the key {key} is one of this source's retired_keys, so give the sender a current one")
            }
            Finding::Misread { key, how } => {
                write!(f, "it is signed with the key {key}, used {how}")
            }
            Finding::OtherScheme { key, found, expected } => write!(
                f,
                "it is signed with the key {key} as senders of the scheme {found:?} do, and {expected:?} is expected"
            ),
            Finding::Signature(difference) => difference.fmt(f),
            Finding::Bearer(key) => write!(f, "the bearer key {key} itself is accepted"),
            Finding::Form(form) => form.fmt(f),
            Finding::CutShort(key) => write!(f, "the bearer key is the beginning of {key}: it was cut short"),
            Finding::ClientOf { source } => {
                write!(f, "the client id is in client_ids of source `{source}`")
            }
            Finding::NoProof => f.write_str("its headers have no credentials of the required kind"),
            Finding::Unread => f.write_str("its body was not read, so no signature could be compared"),
            Finding::Unknown => f.write_str(
                "no key of any source matches, in any of the usual ways: the key is another one, or the body was changed",
            ),
        }
    }
}

impl fmt::Display for ForeignKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ForeignKey { source, key, is_retired } = self;
        let retired = if *is_retired { "retired " } else { "" };
        write!(f, "the {retired}key {key} of source `{source}`")
    }
}

impl fmt::Display for BearerForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BearerForm::NoScheme => f.write_str("it came without `Bearer ` before it"),
            BearerForm::Basic => f.write_str("it came as Basic, and Bearer is expected"),
            BearerForm::OtherScheme => f.write_str("it came after another word than Bearer"),
            BearerForm::Twice => f.write_str("it came after Bearer twice"),
            BearerForm::Wrapped => f.write_str("it came with spaces or quotes around it"),
            BearerForm::PercentEncoded => f.write_str("it came percent-encoded"),
            BearerForm::Header(name) => {
                write!(f, "it came in the {name} header, and Authorization is expected")
            }
            BearerForm::Query => f.write_str("it came in the query, and Authorization is expected"),
        }
    }
}
