//! A captured request, read from files.

use std::io::Read as _;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, request};
use serde::Deserialize;

/// A captured request; its target is known if the request line was captured too.
pub(super) struct Captured {
    pub(super) headers: HeaderMap,
    pub(super) target: Option<Uri>,
    pub(super) body: Bytes,
}

/// The content of a file of headers.
#[derive(Default)]
struct ParsedFile {
    headers: HeaderMap,
    target: Option<Uri>,
    body: Option<Vec<u8>>,
}

/// The JSON forms of a file of headers.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a list of [name, value] pairs, or what `inbox show --json` prints"
)]
enum HeadersJson {
    Headers(Vec<(String, String)>),
    #[serde(rename_all = "camelCase")]
    Delivery {
        headers: Vec<(String, String)>,
        body_base64: String,
    },
}

impl Captured {
    /// Reads the files; one of them may be `-`.
    pub(super) fn read(headers: &str, body: Option<&str>) -> anyhow::Result<Self> {
        ensure!(body != Some("-") || headers != "-", "only one of --headers and --body can be -");
        let head =
            ParsedFile::parse(&bytes(headers)?).with_context(|| format!("--headers {headers}"))?;
        let body = match (body, head.body) {
            (Some(file), _) => bytes(file)?,
            (None, Some(body)) => body,
            (None, None) => bail!("give the body's file with --body"),
        };
        Ok(Captured { headers: head.headers, target: head.target, body: body.into() })
    }

    /// The request's head, as it came to a source under `path`.
    pub(super) fn head(&self, path: &str) -> request::Parts {
        let mut head = http::Request::new(()).into_parts().0;
        head.method = Method::POST;
        head.uri = self.target.clone().or_else(|| path.parse().ok()).unwrap_or_default();
        head.headers.clone_from(&self.headers);
        head
    }
}

fn bytes(file: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match file {
        "-" => std::io::stdin().read_to_end(&mut bytes).map(|_| bytes),
        file => std::fs::read(file),
    }
    .with_context(|| format!("cannot read {file}"))
}

impl ParsedFile {
    fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        match bytes.trim_ascii_start().first() {
            Some(b'[' | b'{') => ParsedFile::from_json(bytes),
            Some(_) => ParsedFile::from_lines(bytes),
            None => bail!("there are no headers in it"),
        }
    }

    fn from_json(bytes: &[u8]) -> anyhow::Result<Self> {
        let (pairs, body) = match serde_json::from_slice(bytes)? {
            HeadersJson::Headers(pairs) => (pairs, None),
            HeadersJson::Delivery { headers, body_base64 } => {
                let body = BASE64_STANDARD.decode(body_base64);
                (headers, Some(body.context("bodyBase64 is not Base64")?))
            }
        };
        let mut head = ParsedFile { body, ..ParsedFile::default() };
        for (number, (name, value)) in pairs.iter().enumerate() {
            head.add(name.as_bytes(), value.as_bytes())
                .with_context(|| format!("header {}", number + 1))?;
        }
        Ok(head)
    }

    fn from_lines(bytes: &[u8]) -> anyhow::Result<Self> {
        let mut head = ParsedFile::default();
        for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            if let Some(target) = target(line).filter(|_| head.headers.is_empty()) {
                head.target = target.parse().ok();
                continue;
            }
            let context = || format!("line {} is not `Name: value`", number + 1);
            let colon = line.iter().position(|&byte| byte == b':').with_context(context)?;
            let (name, value) = line.split_at(colon);
            head.add(name, value[1..].trim_ascii()).with_context(context)?;
        }
        Ok(head)
    }

    /// Adds a header. No error repeats the text, which may hold a key.
    fn add(&mut self, name: &[u8], value: &[u8]) -> anyhow::Result<()> {
        let name = HeaderName::from_bytes(name)?;
        self.headers.append(name, HeaderValue::from_bytes(value)?);
        Ok(())
    }
}

/// The target in a request line.
fn target(line: &[u8]) -> Option<&str> {
    let mut words = str::from_utf8(line).ok()?.split(' ');
    let (_method, target, version) = (words.next()?, words.next()?, words.next()?);
    version.starts_with("HTTP/").then_some(target)
}
