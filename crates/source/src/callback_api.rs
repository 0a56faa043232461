//! The vendor's callback API: one attempt per token, over pooled connections.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use client::{cause, client, execute};
use contract::hook::{CallbackError, CallbackRequest, MAX_RESPONSE_BYTES, Representation, Vendor};
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Client, Method, Request, Response, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};

const TOKEN: HeaderName = HeaderName::from_static("x-directscale-callbacktoken");
const USER: HeaderName = HeaderName::from_static("x-directscale-user");

/// The path of hooks, below the base URL.
const HOOKS: &str = "api/extension/hooks/";

/// The path of page token validation, below the base URL.
const PAGES: &str = "api/extension/pages/ValidateToken";

/// The vendor's system of one environment, for hooks and for page tokens.
///
/// Source: the vendor's "How Process Hooks Work" and "Securing Client Web Applications".
#[derive(Clone)]
pub struct CallbackApi {
    pub(super) client: Client,
    base: Url,
    key: HeaderValue,
}

impl CallbackApi {
    /// The API at `base`, e.g. `https://acme.corpadmin.directscale.com/`, with the vendor's key for this direction (the
    /// *DirectScale Secret*).
    ///
    /// # Errors
    /// If the key is no valid header value, or no client can be built.
    pub fn new(mut base: Url, key: &SecretString) -> anyhow::Result<Self> {
        let mut key = HeaderValue::try_from(format!("Bearer {}", key.expose_secret()))
            .map_err(|_| anyhow::anyhow!("no header can carry the key"))?;
        key.set_sensitive(true);
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        Ok(CallbackApi { client: client(base.scheme() == "https", None)?, base, key })
    }

    /// The vendor's origin, e.g. `https://acme.corpadmin.directscale.com`.
    pub fn origin(&self) -> String {
        self.base.origin().ascii_serialization()
    }

    /// True if requests are encrypted.
    pub(super) fn is_https(&self) -> bool {
        self.base.scheme() == "https"
    }

    /// The name of the user who opened the page with this token.
    ///
    /// # Errors
    /// [`PageError`] if the token is not the page's, or the vendor cannot be asked.
    pub async fn page_user(
        &self,
        page: &str,
        token: &str,
        deadline: Instant,
    ) -> Result<String, PageError> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct TokenRequest<'q> {
            token: &'q str,
            page_name: &'q str,
        }
        let token_request = serde_json::to_vec(&TokenRequest { token, page_name: page })
            .map_err(|error| CallbackError::NotJson(error.to_string()))?;
        let request = self.request(PAGES, token_request.into())?;
        match self.send(request, deadline).await {
            Ok(response) => user(&response.decoded()?),
            // The status for a refused token is not documented; a fault of the vendor's own is none of these.
            Err(CallbackError::Refused(_) | CallbackError::Status(400..=499)) => {
                Err(PageError::Refused)
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn request(&self, path: &str, body: Bytes) -> Result<Request, CallbackError> {
        let url = self.base.join(path).map_err(|e| CallbackError::Unreachable(e.to_string()))?;
        let mut request = Request::new(Method::POST, url);
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(AUTHORIZATION, self.key.clone());
        // Handlers read the response; compressing it would cost more time than it saves.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        *request.body_mut() = Some(body.into());
        Ok(request)
    }

    async fn send(
        &self,
        request: Request,
        deadline: Instant,
    ) -> Result<Representation, CallbackError> {
        let exchange = async {
            // A token is valid once, so a repeated request has no second effect.
            let response = execute(&self.client, request).await.map_err(unreachable)?;
            let status = response.status().as_u16();
            match status {
                200 => read(response).await,
                500 => Err(CallbackError::Vendor(Box::new(read(response).await?))),
                300..=399 => Err(CallbackError::Redirected(status)),
                401 | 403 => Err(CallbackError::Refused(status)),
                _ => Err(CallbackError::Status(status)),
            }
        };
        timeout_at(deadline, exchange).await.unwrap_or(Err(CallbackError::TimedOut))
    }
}

#[async_trait]
impl Vendor for CallbackApi {
    async fn run(&self, callback: CallbackRequest<'_>) -> Result<Representation, CallbackError> {
        let mut request = self.request(&format!("{HOOKS}{}", callback.hook), callback.body)?;
        let mut token = callback.token.clone();
        token.set_sensitive(true);
        request.headers_mut().insert(TOKEN, token);
        if let Some(user) = callback.user {
            request.headers_mut().insert(USER, user.clone());
        }
        self.send(request, callback.deadline).await
    }
}

/// A page token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// The request lacks a token or a page in its query.
    #[error("the query has no {0}")]
    Missing(&'static str),
    /// The vendor does not accept the token, or not for this page.
    #[error("the vendor does not accept the page token")]
    Refused,
    /// The vendor accepts the token, but names no user.
    #[error("the vendor accepts the page token, but names no user")]
    NoUser,
    /// The vendor cannot be asked.
    #[error("the page token cannot be checked: {0}")]
    Unchecked(#[from] CallbackError),
}

/// The user's name in either of the two known forms: a bare JSON string, or an object with `username`.
fn user(response: &[u8]) -> Result<String, PageError> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum UserResponse {
        Name(String),
        Object {
            #[serde(alias = "Username", alias = "userName", alias = "UserName")]
            username: String,
        },
    }
    let name = match serde_json::from_slice(response) {
        Ok(UserResponse::Name(name) | UserResponse::Object { username: name }) => name,
        Err(_) => return Err(PageError::NoUser),
    };
    if name.trim().is_empty() { Err(PageError::NoUser) } else { Ok(name) }
}

/// Reads a response, up to the largest that is allowed.
pub(super) async fn read(mut response: Response) -> Result<Representation, CallbackError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > MAX_RESPONSE_BYTES {
            return Err(CallbackError::TooLarge(MAX_RESPONSE_BYTES));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Representation::new(response.headers(), body.freeze()))
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err passes")]
pub(super) fn unreachable(error: reqwest::Error) -> CallbackError {
    CallbackError::Unreachable(cause(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_user_is_read_from_both_shapes() {
        for response in
            [r#""jsmith""#, r#"{"username":"jsmith"}"#, r#"{"Username":"jsmith","x":1}"#]
        {
            assert_eq!(user(response.as_bytes()), Ok("jsmith".to_owned()), "{response}");
        }
        for response in
            ["", "null", "true", r#""""#, r#"{"username":" "}"#, "{}", "[\"jsmith\"]", "jsmith"]
        {
            assert_eq!(user(response.as_bytes()), Err(PageError::NoUser), "{response}");
        }
    }
}
