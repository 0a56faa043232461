//! Why a request was refused, in words that its owner can act on: what would have matched.
//!
//! For the log, the console and `verify` only, never for the sender. No finding holds a key, a signature or a body.

mod bearer;
mod signature;

use std::fmt;
use std::sync::Arc;

use ::signature::{Difference, Fingerprint, Misreading};
use contract::time::Timestamp;
use http::HeaderName;
use http::header::HeaderMap;

use super::{Refusal, Source};

/// The most findings that are told of one request.
pub const MOST: usize = 5;

/// A refused request, as it came.
#[derive(Clone, Copy)]
pub struct Request<'r> {
    /// Its headers.
    pub headers: &'r HeaderMap,
    /// Its query, if it has one.
    pub query: Option<&'r str>,
    /// Its body, if it has been read.
    pub body: Option<&'r [u8]>,
    /// When it came.
    pub now: Timestamp,
}

/// What would have matched, in the order in which to look at it. All of it holds together, unless it names two keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings(Vec<Finding>);

/// One thing that would have matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The signature is that of another source's key.
    SignedFor(Stranger),
    /// The bearer key is another source's.
    BearerFor(Stranger),
    /// The key is a former one of this source.
    Retired(Fingerprint),
    /// A signing key of this source was used in another way.
    Misread {
        /// The key.
        key: Fingerprint,
        /// How it was used.
        how: Misreading,
    },
    /// A key of this source signed as the senders of another scheme do.
    OtherScheme {
        /// The key.
        key: Fingerprint,
        /// The scheme.
        found: String,
        /// The source's own.
        expected: String,
    },
    /// The signature is right but for this.
    Signature(Difference),
    /// The bearer key is accepted by itself, and was refused for how it came.
    Bearer(Fingerprint),
    /// A bearer key that came in another form.
    Form(BearerForm),
    /// The beginning of an accepted bearer key.
    CutShort(Fingerprint),
    /// The client id is in another source's list.
    ClientOf {
        /// The other source.
        source: String,
    },
    /// There is nothing to compare.
    NoProof,
    /// Only the body could tell, and it was not read.
    Unread,
    /// Nothing that was tried matches.
    Unknown,
}

/// A key of another source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    /// The source.
    pub source: String,
    /// The key.
    pub key: Fingerprint,
    /// Whether that source does not accept it any more either.
    pub is_retired: bool,
}

/// How a bearer key came, where `Authorization: Bearer` and the bare key are expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BearerForm {
    /// Without the word `Bearer`.
    NoScheme,
    /// As a user's name or password.
    Basic,
    /// Behind another word.
    OtherScheme,
    /// Behind the word `Bearer` twice.
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

/// Finds what would have matched, had `source` not refused the request because of `refusal`.
pub fn diagnose(
    source: &Source,
    sources: &[Arc<Source>],
    refusal: &Refusal,
    request: Request<'_>,
) -> Findings {
    let others = sources.iter().map(AsRef::as_ref).filter(|other| other.name != source.name);
    let others: Vec<&Source> = others.collect();
    let mut findings = match refusal {
        Refusal::Unproven(_) => signature::diagnose(source, &others, request),
        Refusal::ClientId(id) => client(id.as_ref(), &others),
        _ => bearer::diagnose(source, &others, request),
    };
    findings.truncate(MOST);
    Findings(findings)
}

/// The sources that take this client.
fn client(id: Option<&String>, others: &[&Source]) -> Vec<Finding> {
    let Some(id) = id else { return Vec::new() };
    let takes = others.iter().filter(|other| other.client_ids.contains(id));
    takes.map(|other| Finding::ClientOf { source: other.name.clone() }).collect()
}

impl Findings {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter()
    }

    /// Whether nothing was found that says more than the reason of the refusal.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Findings {
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
            Finding::SignedFor(stranger) => write!(f, "it is signed with {stranger}"),
            Finding::BearerFor(stranger) => write!(f, "the bearer key is {stranger}"),
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
            Finding::NoProof => f.write_str("nothing in its headers could be the proof that is asked for"),
            Finding::Unread => f.write_str("its body was not read, so no signature could be compared"),
            Finding::Unknown => f.write_str(
                "no key of any source matches, in any of the usual ways: the key is another one, or the body was changed",
            ),
        }
    }
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stranger { source, key, is_retired } = self;
        let retired = if *is_retired { "retired " } else { "" };
        write!(f, "the {retired}key {key} of source `{source}`")
    }
}

impl fmt::Display for BearerForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BearerForm::NoScheme => f.write_str("it came without `Bearer ` before it"),
            BearerForm::Basic => f.write_str("it came as Basic, and Bearer is expected"),
            BearerForm::OtherScheme => f.write_str("it came behind another word than Bearer"),
            BearerForm::Twice => f.write_str("it came behind Bearer twice"),
            BearerForm::Wrapped => f.write_str("it came with spaces or quotes around it"),
            BearerForm::PercentEncoded => f.write_str("it came percent-encoded"),
            BearerForm::Header(name) => {
                write!(f, "it came in the {name} header, and Authorization is expected")
            }
            BearerForm::Query => f.write_str("it came in the query, and Authorization is expected"),
        }
    }
}
