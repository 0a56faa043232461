//! Hook calls: a request becomes an [`AdmittedCall`] when its headers are checked and a [`VerifiedCall`] when its bytes
//! are.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use contract::time::Timestamp;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri, request};
use signature::Fingerprint;
use text::field;

use super::delivery::canary_name;
use super::{Admission, KeyId, Refusal, Rejected, RemoteKeys, Source, auth};

const REQUEST_NAME: HeaderName = HeaderName::from_static("x-directscale-requestname");
const CALLBACK_TOKEN: HeaderName = HeaderName::from_static("x-directscale-callbacktoken");
const USER: HeaderName = HeaderName::from_static("x-directscale-user");

/// A call with checked headers; its body has not been read.
#[derive(Debug)]
pub struct AdmittedCall {
    source: Arc<Source>,
    proof: auth::HeaderProof,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    now: Timestamp,
}

impl Admission for AdmittedCall {
    type Verified = VerifiedCall;

    /// A call names no client account, so the list of client ids does not apply.
    fn admit(
        source: &Arc<Source>,
        head: request::Parts,
        now: Timestamp,
    ) -> Result<Self, Box<Rejected>> {
        match source.auth.admit(source.head(&head.method, &head.uri, &head.headers), now) {
            Ok(proof) => {
                let (method, uri, headers) = (head.method, head.uri, head.headers);
                Ok(AdmittedCall { source: Arc::clone(source), proof, method, uri, headers, now })
            }
            Err(refusal) => Err(Box::new(Rejected { refusal, headers: head.headers, body: None })),
        }
    }

    fn is_proven(&self) -> bool {
        self.proof.is_complete()
    }

    fn missing_keys(&self, body: &[u8]) -> Result<Option<(Arc<RemoteKeys>, KeyId)>, Refusal> {
        let head = self.source.head(&self.method, &self.uri, &self.headers);
        self.source.auth.missing_keys(&self.proof, head, body)
    }

    fn verify(self, body: Bytes) -> Result<VerifiedCall, Box<Rejected>> {
        let head = self.source.head(&self.method, &self.uri, &self.headers);
        let key = match self.source.auth.verify(&self.proof, head, &body, self.now) {
            Ok(authenticated) => authenticated.key,
            Err(refusal) => {
                let headers = self.headers;
                return Err(Box::new(Rejected { refusal, headers, body: Some(body) }));
            }
        };
        self.read(key, body).map_err(|refusal| {
            Box::new(Rejected { refusal, headers: HeaderMap::new(), body: None })
        })
    }
}

impl AdmittedCall {
    /// The hook's id in the caller's header.
    ///
    /// # Errors
    /// [`Refusal`] if the header is repeated.
    pub fn request_name(&self) -> Result<Option<Cow<'_, str>>, Refusal> {
        Ok(single(&self.headers, &REQUEST_NAME)?.map(|value| field::text(value.as_bytes())))
    }

    fn read(self, key: Option<Fingerprint>, body: Bytes) -> Result<VerifiedCall, Refusal> {
        let token = single(&self.headers, &CALLBACK_TOKEN)?.cloned();
        let mut token =
            token.ok_or_else(|| Refusal::Missing("X-DirectScale-CallbackToken".into()))?;
        token.set_sensitive(true);
        let user = single(&self.headers, &USER)?.cloned();
        Ok(VerifiedCall { token, user, key, body, headers: self.headers })
    }
}

/// A call whose authenticity is verified, byte for byte.
#[derive(Debug)]
pub struct VerifiedCall {
    /// The one-time token for the sender's own logic.
    pub token: HeaderValue,
    /// The user on whose behalf it calls, if there is one; the bytes as received.
    pub user: Option<HeaderValue>,
    /// The key that authenticated it.
    pub key: Option<Fingerprint>,
    /// The request model, exactly as received.
    pub body: Bytes,
    headers: HeaderMap,
}

impl VerifiedCall {
    /// The distinct names of the request's headers.
    pub fn header_names(&self) -> Vec<String> {
        self.headers.keys().map(ToString::to_string).collect()
    }

    /// The user as text.
    pub fn user_name(&self) -> Option<String> {
        self.user.as_ref().map(|user| field::text(user.as_bytes()).into_owned())
    }

    /// The hook named by a canary, if the call is one.
    pub fn canary(&self) -> Option<String> {
        canary_name(&self.body)
    }
}

/// The value of a header that must not be repeated; an empty value is none.
fn single<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h HeaderValue>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|value| !field::trimmed(value.as_bytes()).is_empty());
    match values.next() {
        Some(_) => Err(Refusal::RepeatedHeader(name.to_string())),
        None => Ok(value),
    }
}
