//! Templates: text with parts of a request in it, for signed strings, composed ids, and answers to handshakes.
//!
//! `{body}`, `{id}`, `{timestamp}`, `{method}`, `{url}`, `{host}`, `{path}`, `{query}`, `{form}` (the sorted form
//! fields), `{members:A,B}` (name and value of each of these top-level members that is present, each in a line),
//! `{header:NAME}`, `{query:NAME}` and `{/json/pointer}` stand for the request's own bytes. A `?` behind a place makes a
//! missing value empty; a filter after `|` is applied to the value. `{=name}` stands for a value from the settings.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest, Sha256};
use text::form;
use text::json::Pointer;

use super::parts::RequestParts;
use super::{Algorithm, Encoding, Place};

/// Largest number of members that a template names at once.
const MOST_MEMBERS: usize = 64;

/// A text with slots for the parts of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Slot(Slot),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Slot {
    part: Part,
    is_optional: bool,
    filter: Option<Filter>,
}

/// A part of a request, as a template names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Body,
    Id,
    Timestamp,
    Method,
    Url,
    Host,
    Path,
    Query,
    Form,
    /// Members of the body, and true of each that may be absent.
    Members(Vec<(Pointer, bool)>),
    Place(Place),
    /// A value from the settings.
    Value(String),
}

/// A function of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filter {
    Sha256(Encoding),
    /// The CRC-32 (ISO-HDLC) in decimal digits.
    Crc32,
    /// The MAC by the source's first key.
    Hmac(Algorithm, Encoding),
}

/// A text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace is not closed.
    #[error("has a brace that is not closed")]
    Open,
    /// Something in braces is not known.
    #[error(
        "has {{{0}}} in it; in braces stand body, id, timestamp, method, url, host, path, query, form, members:NAME,… (64 at most), header:NAME, query:NAME, /json/pointer, or =NAME"
    )]
    Unknown(String),
    /// A filter is not known.
    #[error(
        "has the filter {0:?} in it; known are sha256, sha256-base64, crc32, hmac-sha1, hmac-sha256, hmac-sha512, each hmac also with -base64"
    )]
    Filter(String),
    /// A value of the settings is missing.
    #[error("needs a value that is not set; write values = {{ {0} = \"…\" }}")]
    Value(String),
}

/// A part that a template names is not in the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MissingPart(pub(crate) String);

impl Template {
    /// Parses a template. A brace that no name of a part follows is a brace.
    ///
    /// # Errors
    /// [`TemplateError`] with the slot that is not known.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let (mut literal, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            literal.push_str(before);
            if !after.starts_with(|c: char| c.is_ascii_lowercase() || "/=".contains(c)) {
                literal.push('{');
                rest = after;
                continue;
            }
            let (slot, after) = after.split_once('}').ok_or(TemplateError::Open)?;
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Slot(Slot::parse(slot)?));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Template { text: text.to_owned(), pieces })
    }

    /// The template with the settings' values in place of their names.
    ///
    /// # Errors
    /// [`TemplateError::Value`] if one is not set.
    pub fn with_values(mut self, values: &BTreeMap<String, String>) -> Result<Self, TemplateError> {
        for piece in &mut self.pieces {
            let Piece::Slot(Slot { part: Part::Value(name), .. }) = piece else { continue };
            let value = values.get(name).ok_or_else(|| TemplateError::Value(name.clone()))?;
            *piece = Piece::Literal(value.clone());
        }
        Ok(self)
    }

    /// The names of the values from the settings that the template needs.
    pub fn value_names(&self) -> impl Iterator<Item = &str> {
        self.parts().filter_map(|part| match part {
            Part::Value(name) => Some(name.as_str()),
            _ => None,
        })
    }

    pub(crate) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.slots().map(|slot| &slot.part)
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Slot(slot) => Some(slot),
            Piece::Literal(_) => None,
        })
    }

    /// The places that the template names.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.parts().filter_map(|part| match part {
            Part::Place(place) => Some(place),
            _ => None,
        })
    }

    /// True if the template names the URL or a part of it that depends on the sender's view.
    pub(crate) fn has_url(&self) -> bool {
        self.parts().any(|part| matches!(part, Part::Url | Part::Host))
    }

    /// True if the template is a part of the request and nothing else.
    pub fn is_one_slot(&self) -> bool {
        matches!(self.pieces.as_slice(), [Piece::Slot(_)])
    }

    /// The values of its places that together make this text; none if they cannot be told apart in it.
    pub fn spread(&self, text: &str) -> Option<Vec<(&Place, String)>> {
        let mut values = Vec::new();
        let (mut rest, mut open) = (text, None);
        for piece in &self.pieces {
            match piece {
                Piece::Slot(Slot { part: Part::Place(place), filter: None, .. })
                    if open.is_none() =>
                {
                    open = Some(place);
                }
                Piece::Slot(_) => return None,
                Piece::Literal(literal) => {
                    let (value, after) = rest.split_once(literal.as_str())?;
                    match open.take() {
                        Some(place) => values.push((place, value.to_owned())),
                        None if !value.is_empty() => return None,
                        None => {}
                    }
                    rest = after;
                }
            }
        }
        match open {
            Some(place) => values.push((place, rest.to_owned())),
            None if !rest.is_empty() => return None,
            None => {}
        }
        Some(values)
    }

    /// True if every byte of the body is in the text, or in a digest that cannot be met by another body.
    pub(crate) fn covers_body(&self) -> bool {
        self.slots().any(|slot| {
            matches!(slot.part, Part::Body | Part::Form) && slot.filter != Some(Filter::Crc32)
        })
    }

    /// True if a part is in the text as it is, without a filter.
    pub(crate) fn has_plain(&self, is: impl Fn(&Part) -> bool) -> bool {
        self.slots().any(|slot| slot.filter.is_none() && is(&slot.part))
    }

    /// True if the template needs a key.
    pub fn has_hmac(&self) -> bool {
        self.slots().any(|slot| matches!(slot.filter, Some(Filter::Hmac(..))))
    }

    /// The number of times that the part is in the template.
    pub(crate) fn count(&self, part: &Part) -> usize {
        self.parts().filter(|own| *own == part).count()
    }

    /// The text that ends the part in what is signed; empty if nothing does.
    ///
    /// Directly before the body that is the brace with which a body begins.
    pub(crate) fn end_of(&self, part: &Part) -> &str {
        let is_it = |piece: &Piece| matches!(piece, Piece::Slot(slot) if slot.part == *part);
        let next = self.pieces.iter().skip_while(|piece| !is_it(piece)).nth(1);
        match next {
            Some(Piece::Literal(text)) => text,
            Some(Piece::Slot(Slot { part: Part::Body, filter: None, .. })) => "{",
            _ => "",
        }
    }

    /// The first part that the request lacks.
    pub(crate) fn missing(&self, parts: &RequestParts<'_>) -> Option<MissingPart> {
        self.slots().find_map(|slot| slot.value(parts).err())
    }

    /// The pieces of the text, in order, each evaluated once.
    pub(crate) fn evaluated<'p>(
        &'p self,
        parts: &'p RequestParts<'_>,
    ) -> Result<Vec<Cow<'p, [u8]>>, MissingPart> {
        let piece = |own: &'p Piece| match own {
            Piece::Literal(text) => Ok(text.as_bytes().into()),
            Piece::Slot(slot) => match slot.plain(parts) {
                Some(bytes) => Ok(bytes.into()),
                None => slot.value(parts),
            },
        };
        self.pieces.iter().map(piece).collect()
    }

    /// Calls `piece` with each piece of the text, in order; a missing part has none.
    pub(crate) fn pieces(&self, parts: &RequestParts<'_>, mut piece: impl FnMut(&[u8])) {
        for own in &self.pieces {
            match own {
                Piece::Literal(text) => piece(text.as_bytes()),
                Piece::Slot(slot) => match slot.plain(parts) {
                    Some(bytes) => piece(bytes),
                    None => piece(&slot.value(parts).unwrap_or_default()),
                },
            }
        }
    }

    /// The text for a request; `hmac` makes the MAC of a value. With `in_json`, the values are escaped as the content
    /// of a JSON string.
    pub fn filled(
        &self,
        parts: &RequestParts<'_>,
        in_json: bool,
        hmac: impl Fn(Algorithm, &[u8]) -> Option<Vec<u8>>,
    ) -> Option<Vec<u8>> {
        let mut filled = Vec::new();
        for piece in &self.pieces {
            let value = match piece {
                Piece::Literal(text) => {
                    filled.extend_from_slice(text.as_bytes());
                    continue;
                }
                Piece::Slot(Slot {
                    filter: Some(Filter::Hmac(algorithm, encoding)), part, ..
                }) => {
                    let value = part.value(parts).ok()?;
                    encoding.encode(&hmac(*algorithm, &value)?).into_bytes().into()
                }
                Piece::Slot(slot) => slot.value(parts).ok()?,
            };
            match in_json {
                true => {
                    let json = serde_json::to_string(std::str::from_utf8(&value).ok()?).ok()?;
                    filled.extend_from_slice(&json.as_bytes()[1..json.len() - 1]);
                }
                false => filled.extend_from_slice(&value),
            }
        }
        Some(filled)
    }

    /// The text for a request, if it lacks none of the parts, and at least one of them is not empty.
    pub fn text(&self, parts: &RequestParts<'_>) -> Option<String> {
        let values: Result<Vec<_>, _> = self.slots().map(|slot| slot.value(parts)).collect();
        values.ok()?.iter().any(|value| !value.trim_ascii().is_empty()).then_some(())?;
        let filled = self.filled(parts, false, |_, _| None)?;
        Some(text::field::text(&filled).into_owned())
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Slot {
    fn parse(text: &str) -> Result<Self, TemplateError> {
        let unknown = || TemplateError::Unknown(text.to_owned());
        let (place, filter) = match text.split_once('|') {
            Some((place, name)) => (place, Some(Filter::named(name)?)),
            None => (text, None),
        };
        let (place, is_optional) = match place.strip_suffix('?') {
            // Of members each may be absent or not.
            Some(bare) if !place.starts_with("members:") => (bare, true),
            _ => (place, false),
        };
        let part = match place {
            "body" => Part::Body,
            "id" => Part::Id,
            "timestamp" => Part::Timestamp,
            "method" => Part::Method,
            "url" => Part::Url,
            "host" => Part::Host,
            "path" => Part::Path,
            "query" => Part::Query,
            "form" => Part::Form,
            place => match (place.strip_prefix('='), place.strip_prefix("members:")) {
                (Some(name), _) if !name.is_empty() => Part::Value(name.to_owned()),
                (_, Some(names)) => {
                    let pointer = |name: &str| {
                        let bare = name.strip_suffix('?');
                        let pointer = Pointer::parse(&format!("/{}", bare.unwrap_or(name)))?;
                        Ok((pointer, bare.is_some()))
                    };
                    let is_nameless = |name: &str| name.trim_end_matches('?').is_empty();
                    let too_many = names.split(',').nth(MOST_MEMBERS).is_some();
                    if too_many || names.split(',').any(is_nameless) {
                        return Err(unknown());
                    }
                    let pointers = names
                        .split(',')
                        .map(pointer)
                        .collect::<Result<_, text::json::PointerError>>();
                    Part::Members(pointers.map_err(|_| unknown())?)
                }
                _ => Part::Place(Place::parse(place).map_err(|_| unknown())?),
            },
        };
        Ok(Slot { part, is_optional, filter })
    }

    /// The bytes of the most common parts, without a copy.
    fn plain<'p>(&self, parts: &RequestParts<'p>) -> Option<&'p [u8]> {
        match (&self.part, self.filter) {
            (Part::Body, None) => Some(parts.body),
            (Part::Id, None) => Some(parts.id),
            (Part::Timestamp, None) => Some(parts.timestamp),
            _ => None,
        }
    }

    fn value<'p>(&self, parts: &'p RequestParts<'_>) -> Result<Cow<'p, [u8]>, MissingPart> {
        let value = match self.part.value(parts) {
            Err(_) if self.is_optional && self.part.is_absent(parts) => Cow::default(),
            value => value?,
        };
        Ok(match self.filter {
            None | Some(Filter::Hmac(..)) => value,
            Some(Filter::Sha256(encoding)) => {
                encoding.encode(&Sha256::digest(&value)).into_bytes().into()
            }
            Some(Filter::Crc32) => crc32(&value).to_string().into_bytes().into(),
        })
    }
}

impl Part {
    /// True if the request has nothing there, rather than something without a text.
    fn is_absent(&self, parts: &RequestParts<'_>) -> bool {
        match self {
            Part::Place(Place::Body(pointer)) => {
                let value = parts.document().and_then(|document| pointer.find(document));
                value.is_none_or(|value| value.get() == "null")
            }
            Part::Place(place) => !place.is_filled(parts),
            _ => true,
        }
    }

    fn value<'p>(&self, parts: &'p RequestParts<'_>) -> Result<Cow<'p, [u8]>, MissingPart> {
        let uri = parts.head.uri;
        Ok(match self {
            Part::Body => parts.body.into(),
            Part::Id => parts.id.into(),
            Part::Timestamp => parts.timestamp.into(),
            Part::Method => parts.head.method.as_str().as_bytes().into(),
            Part::Url => parts.url.as_bytes().into(),
            Part::Host => host(parts.url).as_bytes().into(),
            Part::Path => uri.path().as_bytes().into(),
            Part::Query => uri.query().unwrap_or_default().as_bytes().into(),
            Part::Form => match is_form(parts) {
                false => Cow::default(),
                true => form::sorted(parts.body)
                    .map_err(|_| MissingPart("a form of a usual size".into()))?
                    .into_bytes()
                    .into(),
            },
            Part::Members(pointers) => {
                let document = parts.document().unwrap_or_default();
                let mut lines = String::new();
                // The lines can be read in one way only if the first value alone has line breaks, and a member that
                // cannot be left out follows it.
                let is_ended = pointers.get(1).is_none_or(|(_, is_optional)| !is_optional);
                for (number, (pointer, is_optional)) in pointers.iter().enumerate() {
                    let name = pointer.keys().next().unwrap_or_default();
                    let is_absent = pointer.find(document).is_none_or(|own| own.get() == "null");
                    let Some(value) = pointer.text(document) else {
                        match is_absent && *is_optional {
                            true => continue,
                            false => return Err(MissingPart(format!("{name} as a text"))),
                        }
                    };
                    if value.contains('\n') && (number > 0 || !is_ended) {
                        return Err(MissingPart(format!("{name} in one line")));
                    }
                    lines.push_str(&format!("{name}\n{value}\n"));
                }
                lines.into_bytes().into()
            }
            Part::Place(place) => {
                place.value(parts).ok_or_else(|| MissingPart(place.to_string()))?
            }
            Part::Value(name) => return Err(MissingPart(format!("={name}"))),
        })
    }
}

fn is_form(parts: &RequestParts<'_>) -> bool {
    let media = text::field::MediaType::of(parts.head.headers);
    media.is_some_and(|media| media.essence == form::FORM)
}

/// The host and the port of a URL.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or_default()
}

impl Filter {
    fn named(name: &str) -> Result<Self, TemplateError> {
        let (function, encoding) = match name.strip_suffix("-base64") {
            Some(function) => (function, Encoding::Base64),
            None => (name, Encoding::Hex),
        };
        Ok(match function {
            "sha256" => Filter::Sha256(encoding),
            "crc32" if encoding == Encoding::Hex => Filter::Crc32,
            "hmac-sha1" => Filter::Hmac(Algorithm::HmacSha1, encoding),
            "hmac-sha256" => Filter::Hmac(Algorithm::HmacSha256, encoding),
            "hmac-sha512" => Filter::Hmac(Algorithm::HmacSha512, encoding),
            _ => return Err(TemplateError::Filter(name.to_owned())),
        })
    }
}

/// CRC-32 (ISO-HDLC), as in Ethernet and zip.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
