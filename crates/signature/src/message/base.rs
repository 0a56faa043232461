//! The signature base: a line for each covered part of the request, and one for the list.

use std::collections::HashSet;

use http::HeaderName;
use sfv::{FieldType, InnerList, Item, ListEntry};

use super::{DIGEST, HttpMessage, bad};
use crate::VerifyError;

/// Refuses a list without the body, with a repeated part, or with a part of a part.
pub(super) fn check(covered: &InnerList) -> Result<(), VerifyError> {
    let names = covered.items.iter().map(name).collect::<Result<Vec<_>, _>>()?;
    let mut seen = HashSet::new();
    if !names.iter().all(|name| seen.insert(name)) {
        return Err(bad("covers something twice"));
    }
    if !names.contains(&DIGEST) {
        return Err(bad("does not cover content-digest, so the body could be any"));
    }
    Ok(())
}

/// True if the list names this part.
pub(super) fn covers(covered: &InnerList, name: &str) -> bool {
    let named = |item: &Item| item.bare_item.as_string().is_some_and(|own| own.as_str() == name);
    covered.items.iter().any(named)
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
        base.extend_from_slice(&message.value(name(item)?, scheme)?);
        base.push(b'\n');
    }
    let list = vec![ListEntry::InnerList(covered.clone())].serialize().unwrap_or_default();
    base.extend_from_slice(format!("\"@signature-params\": {list}").as_bytes());
    Ok(base)
}

fn name(item: &Item) -> Result<&str, VerifyError> {
    let Some(name) = item.bare_item.as_string().map(|name| name.as_str()) else {
        return Err(bad("covers something that is not named"));
    };
    match item.params.is_empty() {
        true => Ok(name),
        false => {
            Err(bad(&format!("covers {:?} with a parameter, which is not supported", short(name))))
        }
    }
}

impl HttpMessage<'_> {
    fn value(&self, name: &str, scheme: &str) -> Result<Vec<u8>, VerifyError> {
        let uri = self.uri;
        let path = if uri.path().is_empty() { "/" } else { uri.path() };
        Ok(match name {
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
            field => self.field(field)?,
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

    /// The values of all lines of a header.
    fn field(&self, name: &str) -> Result<Vec<u8>, VerifyError> {
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
        Ok(lines.join(&b", "[..]))
    }
}

/// A name shortened for messages: a forger may write one as long as the head of a request.
fn short(name: &str) -> &str {
    name.get(..name.len().min(64)).unwrap_or_default()
}
