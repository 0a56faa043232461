//! Places of bearer keys: `Authorization`, another header, the query, or the body.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderMap};
use serde_json::value::RawValue;
use signature::{Place, RequestParts};
use text::field::credentials;
use text::json::Pointer;

use super::refusal::Refusal;

/// The place of a bearer key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPlace {
    /// `Authorization: Bearer`.
    Bearer,
    /// `Authorization: Basic`; the key is the user's name, a colon, and the password.
    Basic,
    /// The whole value of a header, a query parameter, or a member of the body.
    At(Place),
    /// A member of every element of a list in the body: the list, and the member below an element.
    Every(Pointer, Pointer),
}

impl KeyPlace {
    /// Reads the places: `bearer`, `basic`, a place, or a JSON pointer with `*` for every element of a list; several are
    /// separated by commas.
    ///
    /// # Errors
    /// If one is none of them.
    pub fn parse(text: &str) -> Result<Vec<Self>, String> {
        let one = |text: &str| match text.trim() {
            "bearer" => Ok(KeyPlace::Bearer),
            "basic" => Ok(KeyPlace::Basic),
            text => match text.split_once("/*/") {
                Some((list, member)) => {
                    let pointer =
                        |text: &str| Pointer::parse(text).map_err(|error| error.to_string());
                    Ok(KeyPlace::Every(pointer(list)?, pointer(&format!("/{member}"))?))
                }
                None => Place::parse(text).map(KeyPlace::At).map_err(|error| error.to_string()),
            },
        };
        text.split(',').map(one).collect()
    }

    /// True if the key is in the body.
    pub fn is_in_body(&self) -> bool {
        match self {
            KeyPlace::At(place) => place.is_in_body(),
            KeyPlace::Every(..) => true,
            KeyPlace::Bearer | KeyPlace::Basic => false,
        }
    }

    /// The keys that a request has here; empty if it has none.
    pub(super) fn given(&self, parts: &RequestParts<'_>) -> Result<Vec<Vec<u8>>, Refusal> {
        match self {
            KeyPlace::Bearer => match in_header(parts.head.headers) {
                Ok(key) => Ok(vec![key.to_vec()]),
                Err(Refusal::NoAuthorization) => Ok(Vec::new()),
                Err(refusal) => Err(refusal),
            },
            KeyPlace::Basic => {
                let Some(value) = authorization(parts.head.headers)? else { return Ok(Vec::new()) };
                let encoded = credentials(value, "Basic").ok_or(Refusal::NotBasic)?;
                Ok(vec![STANDARD.decode(encoded).map_err(|_| Refusal::NotBasic)?])
            }
            KeyPlace::At(place) => {
                let value = place.value(parts);
                Ok(value.map(|value| value.trim_ascii().to_vec()).into_iter().collect())
            }
            KeyPlace::Every(list, member) => {
                let list = parts.document().and_then(|document| list.find(document));
                let Some(list) = list else { return Ok(Vec::new()) };
                let elements: Vec<&RawValue> = serde_json::from_str(list.get()).unwrap_or_default();
                let key = |element: &&RawValue| {
                    let key = member.text(element.get());
                    key.map(String::into_bytes).ok_or_else(|| Refusal::NoKey(self.to_string()))
                };
                elements.iter().map(key).collect()
            }
        }
    }
}

impl fmt::Display for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyPlace::Bearer => f.write_str("Authorization: Bearer"),
            KeyPlace::Basic => f.write_str("Authorization: Basic"),
            KeyPlace::At(place) => place.fmt(f),
            KeyPlace::Every(list, member) => write!(f, "{list}/*{member} in the body"),
        }
    }
}

pub(super) fn in_header(headers: &HeaderMap) -> Result<&[u8], Refusal> {
    let value = authorization(headers)?.ok_or(Refusal::NoAuthorization)?;
    credentials(value, "Bearer").ok_or(Refusal::NotBearer)
}

fn authorization(headers: &HeaderMap) -> Result<Option<&[u8]>, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().map(|value| value.as_bytes());
    match values.next() {
        None => Ok(value),
        Some(_) => Err(Refusal::RepeatedAuthorization),
    }
}
