//! Places in a request: a header, a query parameter, or a member of the body.

use std::borrow::Cow;
use std::fmt;

use http::HeaderName;
use percent_encoding::percent_decode_str;
use text::json::{Pointer, PointerError};

use super::parts::RequestParts;

/// A place in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A header, in its sender's spelling.
    Header(String),
    /// A parameter of the query.
    Query(String),
    /// A value of the body: of its JSON, or of the form fields as an object.
    Body(Pointer),
}

/// A text names no place in a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// The text has none of the forms.
    #[error(
        "is neither a header (header:X-Id), a query parameter (query:id) nor a JSON pointer (/meta/id)"
    )]
    Form,
    /// The header's name has invalid characters.
    #[error("names no header: a name is letters, digits and hyphens")]
    Name,
    /// A tilde is not followed by 0 or 1.
    #[error(transparent)]
    Pointer(#[from] PointerError),
}

impl Place {
    /// Parses `header:X-Acme-Id`, `query:id` or `/meta/id`.
    ///
    /// # Errors
    /// [`PlaceError`] with the reason.
    pub fn parse(text: &str) -> Result<Self, PlaceError> {
        if let Some(name) = text.strip_prefix("header:") {
            let name = name.trim();
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| PlaceError::Name)?;
            return Ok(Place::Header(name.to_owned()));
        }
        if let Some(name) = text.strip_prefix("query:") {
            return match name.is_empty() {
                true => Err(PlaceError::Form),
                false => Ok(Place::Query(name.to_owned())),
            };
        }
        if text.starts_with('/') {
            Ok(Place::Body(Pointer::parse(text)?))
        } else {
            Err(PlaceError::Form)
        }
    }

    /// The value in a request: one header line, one parameter, one string or number.
    pub fn value<'p>(&self, parts: &RequestParts<'p>) -> Option<Cow<'p, [u8]>> {
        match self {
            Place::Header(name) => {
                let mut values = parts.head.headers.get_all(name).iter();
                let value = values.next().filter(|_| values.next().is_none())?;
                Some(value.as_bytes().into())
            }
            Place::Query(name) => parameter(parts.head.uri.query()?, name).map(Cow::Owned),
            Place::Body(pointer) => Some(Cow::Owned(pointer.text(parts.document()?)?.into_bytes())),
        }
    }

    /// True if the request has anything at the place.
    pub(crate) fn is_filled(&self, parts: &RequestParts<'_>) -> bool {
        match self {
            Place::Header(name) => parts.head.headers.contains_key(name),
            Place::Query(_) => self.value(parts).is_some(),
            Place::Body(pointer) => {
                parts.document().is_some_and(|document| pointer.find(document).is_some())
            }
        }
    }

    /// True if the place is in the body.
    pub fn is_in_body(&self) -> bool {
        matches!(self, Place::Body(_))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Header(name) => write!(f, "the {name} header"),
            Place::Query(name) => write!(f, "{name} in the query"),
            Place::Body(pointer) => write!(f, "{pointer} in the body"),
        }
    }
}

/// The first value under `name` in a query, decoded.
pub fn parameter(query: &str, name: &str) -> Option<Vec<u8>> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, value) = pairs.into_iter().find(|(own, _)| percent_decode_str(own).eq(name.bytes()))?;
    // In a query a plus sign is a space.
    Some(percent_decode_str(&value.replace('+', " ")).collect())
}
