//! The signature base: a line for each covered part of the request, and one for the list.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderName;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sfv::{BareItem, Dictionary, FieldType, InnerList, Item, List, ListEntry, Parser};

use super::{DIGEST, HttpMessage, bad};
use crate::VerifyError;

/// The characters of a query that are percent-encoded in the base (RFC 9421, 2.2.8).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');

/// A covered part: its name, and the parameter that chooses its form or a part of it.
struct Component<'i> {
    name: &'i str,
    form: Form<'i>,
}

/// The form of a covered part.
enum Form<'i> {
    /// As received.
    Plain,
    /// A structured field, written anew (`sf`).
    Structured,
    /// Each line as bytes (`bs`).
    Bytes,
    /// One member of a dictionary (`key`).
    Member(&'i str),
    /// One parameter of the query (`name`).
    Parameter(&'i str),
}

impl<'i> Component<'i> {
    fn of(item: &'i Item) -> Result<Self, VerifyError> {
        let Some(name) = item.bare_item.as_string().map(|name| name.as_str()) else {
            return Err(bad("covers something that is not named"));
        };
        let mut parameters = item.params.iter();
        let form = match (parameters.next(), parameters.next()) {
            (None, _) => Form::Plain,
            (Some((parameter, value)), None) => {
                let text = value.as_string().map(|text| text.as_str());
                let is_set = *value == BareItem::Boolean(true);
                let is_query = name == "@query-param";
                match (parameter.as_str(), text) {
                    ("sf", _) if is_set && !name.starts_with('@') => Form::Structured,
                    ("bs", _) if is_set && !name.starts_with('@') => Form::Bytes,
                    ("key", Some(key)) if !name.starts_with('@') => Form::Member(key),
                    ("name", Some(parameter)) if is_query => Form::Parameter(parameter),
                    _ => return Err(unsupported(name)),
                }
            }
            _ => return Err(unsupported(name)),
        };
        Ok(Component { name, form })
    }

    /// True if the signature covers every value of the header.
    fn is_whole(&self) -> bool {
        matches!(self.form, Form::Plain | Form::Structured | Form::Bytes)
    }
}

fn unsupported(name: &str) -> VerifyError {
    bad(&format!("covers {:?} with a parameter, which is not supported", short(name)))
}

/// Refuses a list without the body, or with a repeated part.
pub(super) fn check(covered: &InnerList) -> Result<(), VerifyError> {
    let mut seen = HashSet::new();
    if !covered.items.iter().all(|item| seen.insert(item.serialize())) {
        return Err(bad("covers something twice"));
    }
    let parts = covered.items.iter().map(Component::of).collect::<Result<Vec<_>, _>>()?;
    if !parts.iter().any(|part| part.name == DIGEST) {
        return Err(bad("does not cover content-digest, so the body could be any"));
    }
    Ok(())
}

/// The member of the digest that is covered, if it is not the whole header.
pub(super) fn digest_member(covered: &InnerList) -> Option<String> {
    let parts: Vec<_> = covered.items.iter().flat_map(Component::of).collect();
    let mut digests = parts.iter().filter(|part| part.name == DIGEST);
    match digests.clone().any(Component::is_whole) {
        true => None,
        false => digests.find_map(|part| match part.form {
            Form::Member(key) => Some(key.to_owned()),
            _ => None,
        }),
    }
}

/// True if the list covers the whole of this header.
pub(super) fn covers(covered: &InnerList, name: &str) -> bool {
    let parts = covered.items.iter().flat_map(Component::of);
    parts.into_iter().any(|part| part.name == name && part.is_whole())
}

/// The signature base, for a request over `scheme`.
pub(super) fn of(
    message: &HttpMessage<'_>,
    covered: &InnerList,
    scheme: &str,
) -> Result<Vec<u8>, VerifyError> {
    let mut base = Vec::new();
    for item in &covered.items {
        base.extend_from_slice(format!("{}: ", item.serialize()).as_bytes());
        base.extend_from_slice(&message.value(&Component::of(item)?, scheme)?);
        base.push(b'\n');
    }
    let list = vec![ListEntry::InnerList(covered.clone())].serialize().unwrap_or_default();
    base.extend_from_slice(format!("\"@signature-params\": {list}").as_bytes());
    Ok(base)
}

impl HttpMessage<'_> {
    fn value(&self, part: &Component<'_>, scheme: &str) -> Result<Vec<u8>, VerifyError> {
        let uri = self.uri;
        let path = if uri.path().is_empty() { "/" } else { uri.path() };
        Ok(match part.name {
            "@method" => self.method.as_str().into(),
            "@scheme" => scheme.into(),
            "@authority" => self.authority(scheme)?.into(),
            "@path" => path.into(),
            "@query" => format!("?{}", uri.query().unwrap_or_default()).into(),
            "@request-target" => uri.to_string().into(),
            "@target-uri" => {
                let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
                format!("{scheme}://{}{path}{query}", self.authority(scheme)?).into()
            }
            "@query-param" => match part.form {
                Form::Parameter(name) => self.parameter(name)?.into(),
                _ => return Err(unsupported(part.name)),
            },
            field => self.field(field, &part.form)?,
        })
    }

    /// The host in lower case, without the port if it is the scheme's own.
    fn authority(&self, scheme: &str) -> Result<String, VerifyError> {
        let mut hosts = self.headers.get_all(http::header::HOST).iter();
        let host = match (self.uri.authority(), hosts.next(), hosts.next()) {
            (Some(authority), ..) => Some(authority.as_str()),
            (None, Some(host), None) => host.to_str().ok(),
            _ => None,
        };
        let host =
            host.ok_or_else(|| bad("covers the authority, but the request has not one Host"))?;
        let port = if scheme == "http" { ":80" } else { ":443" };
        Ok(host.strip_suffix(port).unwrap_or(host).to_ascii_lowercase())
    }

    /// The value of a query parameter, decoded and encoded again. A repeated one cannot be covered.
    fn parameter(&self, name: &str) -> Result<String, VerifyError> {
        let encoded = |text: &str| {
            let text = text.replace('+', " ");
            let decoded = percent_decode_str(&text).decode_utf8_lossy();
            utf8_percent_encode(&decoded, ENCODED).to_string()
        };
        let pairs = self.uri.query().unwrap_or_default().split('&');
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let mut values = pairs.filter(|(own, _)| encoded(own) == name).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(encoded(value)),
            _ => Err(bad(&format!(
                "covers the query parameter {}, which the request does not have exactly once",
                short(name)
            ))),
        }
    }

    /// The values of all lines of a header.
    fn field(&self, name: &str, form: &Form<'_>) -> Result<Vec<u8>, VerifyError> {
        let unknown = || bad(&format!("covers {:?}, which is not supported", short(name)));
        let field = HeaderName::from_lowercase(name.as_bytes()).map_err(|_| unknown())?;
        let lines: Vec<&[u8]> =
            self.headers.get_all(field).iter().map(|value| value.as_bytes().trim_ascii()).collect();
        if lines.is_empty() {
            return Err(bad(&format!(
                "covers {}, but the request has no such header",
                short(name)
            )));
        }
        let joined = lines.join(&b", "[..]);
        let unstructured =
            || bad(&format!("covers {} as a structured field, which it is not", short(name)));
        match form {
            Form::Structured => structured(&joined).ok_or_else(unstructured),
            Form::Bytes => {
                let line = |line: &&[u8]| format!(":{}:", STANDARD.encode(line));
                Ok(lines.iter().map(line).collect::<Vec<_>>().join(", ").into())
            }
            Form::Member(key) => {
                let dictionary: Dictionary =
                    Parser::new(&joined).parse().map_err(|_| unstructured())?;
                let member = dictionary.get(*key).ok_or_else(|| {
                    bad(&format!("covers a member of {} that is not in it", short(name)))
                })?;
                member_text(member).ok_or_else(unstructured)
            }
            _ => Ok(joined),
        }
    }
}

/// A structured field, written anew: an item, a list or a dictionary.
fn structured(value: &[u8]) -> Option<Vec<u8>> {
    if let Ok(item) = Parser::new(value).parse::<Item>() {
        return Some(item.serialize().into());
    }
    let list = Parser::new(value).parse::<List>().ok().and_then(|list| list.serialize());
    let dictionary = || Parser::new(value).parse::<Dictionary>().ok()?.serialize();
    list.or_else(dictionary).map(Into::into)
}

fn member_text(member: &ListEntry) -> Option<Vec<u8>> {
    match member {
        ListEntry::Item(item) => Some(item.serialize().into()),
        list => vec![list.clone()].serialize().map(Into::into),
    }
}

/// A name shortened for messages: a forger may write one as long as the head of a request.
fn short(name: &str) -> &str {
    name.get(..name.len().min(64)).unwrap_or_default()
}
