//! The parts of a request that a signature may cover, a template may name, and a place may point into.

use std::borrow::Cow;
use std::cell::OnceCell;

use http::header::HeaderMap;
use http::{Method, Uri, request};
use text::field::MediaType;
use text::form::{self, FORM};
use text::json::{escape_unpaired_surrogates, without_bom};

/// The head of a request.
#[derive(Debug, Clone, Copy)]
pub struct HttpMessage<'m> {
    /// The method.
    pub method: &'m Method,
    /// The request target, as received; or the whole URL, of a request to be sent.
    pub uri: &'m Uri,
    /// The headers.
    pub headers: &'m HeaderMap,
    /// The address under which the sender knows the receiver, such as `https://hooks.example.com`, without a slash at
    /// its end; otherwise it is taken from the `Host` header.
    pub public_url: Option<&'m str>,
}

impl<'m> From<&'m request::Parts> for HttpMessage<'m> {
    fn from(parts: &'m request::Parts) -> Self {
        HttpMessage {
            method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
            public_url: None,
        }
    }
}

impl HttpMessage<'_> {
    /// The URLs to which the sender may have sent the request: one if it is known, else one over https and one over
    /// http, since a proxy in front of the receiver may decrypt; each without its usual port, and then with it.
    pub fn urls(&self) -> Vec<String> {
        let target = self.uri.path_and_query().map_or("/", |target| target.as_str());
        let mut hosts = self.headers.get_all(http::header::HOST).iter();
        let host =
            hosts.next().and_then(|host| host.to_str().ok()).filter(|_| hosts.next().is_none());
        // What the request says of its own address counts only if nothing is known.
        if let Some(base) = self.public_url {
            return self.public_urls(base);
        }
        let bases: Vec<String> = match (self.uri.scheme_str(), self.uri.authority()) {
            (Some(scheme), Some(authority)) => vec![format!("{scheme}://{authority}")],
            _ => host
                .into_iter()
                .flat_map(|host| ["https", "http"].map(|scheme| format!("{scheme}://{host}")))
                .collect(),
        };
        let with_port = bases.iter().filter_map(|base| with_port(base)).collect::<Vec<_>>();
        bases.into_iter().chain(with_port).map(|base| format!("{base}{target}")).collect()
    }

    /// The URLs that begin with the address under which the sender knows the receiver: followed by the path as it is
    /// here, or, if the address has a path, by the query alone.
    fn public_urls(&self, base: &str) -> Vec<String> {
        let target = self.uri.path_and_query().map_or("/", |target| target.as_str());
        let query = self.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let has_path = base.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
        let bases = [Some(base.to_owned()), with_port(base)].into_iter().flatten();
        let urls = bases.flat_map(|base| {
            [Some(format!("{base}{target}")), has_path.then(|| format!("{base}{query}"))]
        });
        urls.flatten().collect()
    }
}

/// The address with the usual port of its scheme, if it has none.
fn with_port(base: &str) -> Option<String> {
    let (scheme, rest) = base.split_once("://")?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
    let port = if scheme == "https" { 443 } else { 80 };
    (!has_port).then(|| format!("{scheme}://{host}:{port}{path}"))
}

/// A whole request: its head, its body, and what a scheme reads as its id and its time.
#[derive(Debug)]
pub struct RequestParts<'p> {
    /// The head.
    pub head: HttpMessage<'p>,
    /// The body's bytes.
    pub body: &'p [u8],
    /// The message id that is signed; empty if none is.
    pub(crate) id: &'p [u8],
    /// The time of signing, as written; empty if it is not signed.
    pub(crate) timestamp: &'p [u8],
    /// The URL that the sender has used; empty if no template names it.
    pub(crate) url: &'p str,
    document: OnceCell<Option<Cow<'p, str>>>,
}

impl<'p> RequestParts<'p> {
    /// The parts of a request.
    pub fn new(head: HttpMessage<'p>, body: &'p [u8]) -> Self {
        RequestParts { head, body, id: b"", timestamp: b"", url: "", document: OnceCell::new() }
    }

    /// The body as a JSON text, decoded when it is first asked for: its own, or that of the form fields.
    pub fn document(&self) -> Option<&str> {
        self.document.get_or_init(|| document(self.head.headers, self.body)).as_deref()
    }
}

/// A body as a JSON text: its own, or that of its form fields. Whether it is valid is seen by whoever reads it.
pub fn document<'b>(headers: &HeaderMap, body: &'b [u8]) -> Option<Cow<'b, str>> {
    if MediaType::of(headers).is_some_and(|media| media.essence == FORM) {
        return form::json(body).ok().map(Cow::Owned);
    }
    Some(escape_unpaired_surrogates(str::from_utf8(without_bom(body)).ok()?))
}
