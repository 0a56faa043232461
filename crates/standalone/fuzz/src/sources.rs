//! Requests as text, and the sources that they are sent to.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderName, HeaderValue, Method, Uri, request};
use settings::Config;
use source::{Admission, Admitted};
use source::{Rejected, Source, Verified};

/// When every request comes in: when the corpus was signed.
pub const NOW: DateTime<Utc> = DateTime::from_timestamp_secs(1_767_225_600).unwrap();

static SOURCES: LazyLock<Vec<Arc<Source>>> = LazyLock::new(|| config().sources().unwrap());

/// The settings with all sources.
pub fn config() -> Config {
    let text = include_str!("../sources.toml").to_owned() + &fixture::senders::each();
    settings::parse(&text, [], "sources.toml").unwrap()
}

/// The source whose path the target begins with.
pub fn source(uri: &Uri) -> Option<&'static Arc<Source>> {
    let under = |source: &&Arc<Source>| {
        uri.path()
            .strip_prefix(source.path.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    SOURCES.iter().find(under)
}

/// A request as HTTP/1.1 writes it, with plain line feeds: first line, headers, an empty line, and the body.
pub fn request(text: &[u8]) -> Option<(request::Parts, Bytes)> {
    let end = text.windows(2).position(|two| two == b"\n\n")?;
    let mut lines = text[..end].split(|&byte| byte == b'\n');
    let mut first = lines.next()?.split(|&byte| byte == b' ');
    let mut head = http::Request::new(()).into_parts().0;
    head.method = Method::from_bytes(first.next()?).ok()?;
    head.uri = Uri::try_from(first.next()?).ok()?;
    for line in lines {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        head.headers.append(name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?);
    }
    Some((head, Bytes::copy_from_slice(&text[end + 2..])))
}

/// What a source makes of a request.
pub fn receive(
    source: &Arc<Source>,
    head: request::Parts,
    body: Bytes,
) -> Result<Verified, Box<Rejected>> {
    Admitted::admit(&source, head, NOW)?.verify(body)
}

/// Asks a delivery for all that it says.
pub fn read(delivery: &Verified) -> usize {
    let said = [delivery.field("type"), Some(delivery.headers_json())];
    said.into_iter().flatten().map(|text| text.len()).sum()
}
