//! The request of a hook call: its headers in the documented order and spelling, and its body.

use bytes::Bytes;
use http::HeaderValue;
use reqwest::{Request, Url};
use secrecy::{ExposeSecret, SecretString};

use crate::message::request;
use crate::proof::{HttpDraft, NamedHeader, Proof};

/// The facts in the headers of a hook call.
#[derive(Debug, Clone, Copy)]
pub struct HookRequest<'s> {
    /// The hook's id.
    pub hook: &'s str,
    /// The one-time callback token; a call without one is refused.
    pub token: Option<&'s SecretString>,
    /// The user on whose behalf it is made.
    pub user: Option<&'s HeaderValue>,
}

impl HookRequest<'_> {
    /// The request that the vendor would make now.
    ///
    /// # Errors
    /// If a header cannot carry its value, or the call cannot be signed.
    pub fn request(&self, url: Url, proof: &Proof, body: &Bytes) -> anyhow::Result<Request> {
        let (headers, body) = self.signed(&url, proof, body)?;
        request(url, headers, body)
    }

    /// The headers, signed now, and the body as sent.
    pub(super) fn signed(
        &self,
        url: &Url,
        proof: &Proof,
        body: &Bytes,
    ) -> anyhow::Result<(Vec<NamedHeader>, Bytes)> {
        let json = HeaderValue::from_static("application/json");
        let mut headers: Vec<NamedHeader> = vec![("Content-Type".into(), json)];
        headers.extend(self.user.cloned().map(|user| ("X-DirectScale-User".into(), user)));
        headers.push(("X-DirectScale-RequestName".into(), HeaderValue::try_from(self.hook)?));
        if let Some(token) = self.token {
            let mut token = HeaderValue::try_from(token.expose_secret())?;
            token.set_sensitive(true);
            headers.push(("X-DirectScale-CallbackToken".into(), token));
        }
        let draft = HttpDraft { url: url.clone(), headers, body: body.clone() };
        let HttpDraft { headers, body, .. } = proof.prove("", draft, contract::time::now())?;
        Ok((headers, body))
    }
}
