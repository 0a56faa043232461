//! Refusals: the reasons why a request is not accepted, and the part of each that its sender may learn.

use bytes::Bytes;
use http::HeaderMap;
use signature::VerifyError;

use super::handshake::HandshakeRefused;

/// The reason of a refusal. For the log and the console; the sender learns only its [`kind`](Refusal::kind).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No `Authorization` header.
    #[error("no Authorization header")]
    NoAuthorization,
    /// More than one `Authorization` header.
    #[error("more than one Authorization header")]
    RepeatedAuthorization,
    /// The scheme is not Bearer.
    #[error("the Authorization header does not have the scheme Bearer")]
    NotBearer,
    /// The bearer key is not one of the source's.
    #[error("the bearer key is not accepted by this source, which has {0}")]
    WrongKey(usize),
    /// A key is in the query and another in the header, so it is ambiguous.
    #[error("a key in the Authorization header and another in the query")]
    ConflictingKeys,
    /// The scheme is not Basic.
    #[error("the Authorization header does not have a user and a password (Basic)")]
    NotBasic,
    /// The key is missing in its place.
    #[error("no key in {0}")]
    NoKey(String),
    /// The request names a key that is not the sender's.
    #[error("the certificate in {0} is on no host of the sender's")]
    ForeignKey(String),
    /// The request names a key that the sender does not publish.
    #[error("the sender publishes no key with the id that the request names")]
    UnknownKey,
    /// A handshake is not answered.
    #[error(transparent)]
    Handshake(#[from] HandshakeRefused),
    /// The signature is missing or not the source's.
    #[error(transparent)]
    Signature(#[from] VerifyError),
    /// The client id is not in the source's list.
    #[error("{} is not in client_ids", account(.0.as_deref()))]
    ClientId(Option<String>),
    /// The percent-encoding of a header is not valid text.
    #[error("{0} is not percent-encoded UTF-8")]
    BadEncoding(String),
    /// A header for one fact is repeated.
    #[error("the header {0} is repeated")]
    RepeatedHeader(String),
    /// Two names of one header have different values, so it is ambiguous.
    #[error("{0} and {1} have different values")]
    ConflictingIds(String, String),
    /// A fact is missing that every delivery of the dialect has.
    #[error("{0} is missing")]
    Missing(String),
    /// The body is not UTF-8.
    #[error("the body is not UTF-8: {0}")]
    NotUtf8(String),
    /// A JSON text is sent under the content type of form fields.
    #[error("the body is JSON, and its content type is that of form fields")]
    NotForm,
    /// The body cannot be decompressed.
    #[error("the body is not the gzip that its Content-Encoding names: {0}")]
    NotGzip(String),
    /// The body has too many form fields, or more content than is allowed.
    #[error("{0}")]
    TooMuch(String),
    /// A structured CloudEvent can be read in two ways.
    #[error("{0}")]
    AmbiguousEvent(String),
    /// The body is no version of CloudEvents that is known.
    #[error("the CloudEvents version is {0:?}; 1.0 is supported")]
    SpecVersion(String),
    /// The body is not JSON.
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    /// The body is JSON but not an object, though the event is one.
    #[error("the body is JSON, but {0} is an object")]
    NotObject(String),
}

/// The part of a refusal that the sender may learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The request is not authenticated.
    Unauthentic,
    /// The request is authentic, but not a delivery.
    Malformed,
    /// The request is authentic, but has more in it than is read.
    TooLarge,
}

impl Refusal {
    /// The part that the sender may learn.
    pub fn kind(&self) -> RefusalKind {
        match self {
            Refusal::BadEncoding(_)
            | Refusal::RepeatedHeader(_)
            | Refusal::ConflictingIds(..)
            | Refusal::Missing(_)
            | Refusal::NotUtf8(_)
            | Refusal::NotJson(_)
            | Refusal::NotForm
            | Refusal::NotGzip(_)
            | Refusal::AmbiguousEvent(_)
            | Refusal::SpecVersion(_)
            | Refusal::NotObject(_) => RefusalKind::Malformed,
            Refusal::TooMuch(_) => RefusalKind::TooLarge,
            _ => RefusalKind::Unauthentic,
        }
    }
}

/// A refused request, with the parts that a diagnosis needs.
#[derive(thiserror::Error)]
#[error("{refusal}")]
pub struct Rejected {
    /// The reason.
    pub refusal: Refusal,
    /// Its headers, if it is not authenticated.
    pub headers: HeaderMap,
    /// Its body, if it has been read and the request is not authenticated.
    pub body: Option<Bytes>,
}

impl std::fmt::Debug for Rejected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rejected({:?})", self.refusal)
    }
}

fn account(id: Option<&str>) -> String {
    id.map_or_else(|| "a delivery without an account".to_owned(), |id| format!("client id {id:?}"))
}
