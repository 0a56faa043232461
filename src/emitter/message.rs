//! One message, and the one function that makes a request of it.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use reqwest::{Method, Request, Url};
use uuid::Uuid;

use crate::event::Dialect;
use crate::source::Places;

/// A message to one endpoint, ready to be sent any number of times.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) event: Arc<str>,
    pub(super) dialect: Dialect,
    pub(super) url: Url,
    pub(super) authorization: Option<HeaderValue>,
    pub(super) message_id: HeaderValue,
    pub(super) client_id: HeaderValue,
    pub(super) user: Option<HeaderValue>,
    pub(super) body: Bytes,
}

impl Message {
    /// The request that the vendor would make.
    pub(super) fn request(&self) -> Request {
        let mut request = Request::new(Method::POST, self.url.clone());
        for (name, value) in self.headers() {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("the table names headers");
            request.headers_mut().insert(name, value);
        }
        *request.body_mut() = Some(self.body.clone().into());
        request
    }

    /// The headers as the vendor spells them.
    pub(super) fn headers(&self) -> Vec<(&'static str, HeaderValue)> {
        let places = Places::of(self.dialect);
        let content_type = HeaderValue::from_static(places.content_type);
        let mut headers = vec![("Content-Type", content_type)];
        headers.extend(self.authorization.clone().map(|value| ("Authorization", value)));
        headers.push((places.client_id, self.client_id.clone()));
        headers.push((places.message_id, self.message_id.clone()));
        headers.extend(self.user.clone().map(|value| (places.user, value)));
        headers
    }

    /// The same content as a message of its own.
    pub(super) fn renewed(&self) -> Message {
        Message { message_id: fresh_id(), ..self.clone() }
    }
}

/// An id that no other message has.
pub(super) fn fresh_id() -> HeaderValue {
    let mut text = Uuid::encode_buffer();
    let text = Uuid::new_v4().hyphenated().encode_lower(&mut text);
    HeaderValue::from_str(text).expect("a UUID is visible ASCII")
}

/// A header's value as it may be shown.
pub(super) fn shown(value: &HeaderValue) -> String {
    if value.is_sensitive() {
        "Bearer ****".to_owned()
    } else {
        String::from_utf8_lossy(value.as_bytes()).into_owned()
    }
}
