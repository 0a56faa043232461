//! Formats of bodies, and the JSON document that a body of each stands for.

use std::borrow::Cow;
use std::fmt;
use std::io::Read as _;

use flate2::read::MultiGzDecoder;
use text::form;

use super::DecodeError;

/// The format of a body: the format of its content, and its coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BodyFormat {
    /// The format of the content.
    pub content: Content,
    /// True if the content is compressed (`Content-Encoding: gzip`).
    pub is_gzip: bool,
}

/// The format of a body's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Content {
    /// JSON.
    #[default]
    Json,
    /// Form fields.
    Form,
    /// Any other, of which nothing is read; or no body at all.
    Other,
}

impl BodyFormat {
    /// Every format.
    const ALL: [(BodyFormat, &'static str); 6] = [
        (BodyFormat { content: Content::Json, is_gzip: false }, "json"),
        (BodyFormat { content: Content::Form, is_gzip: false }, "form"),
        (BodyFormat { content: Content::Other, is_gzip: false }, "other"),
        (BodyFormat { content: Content::Json, is_gzip: true }, "json+gzip"),
        (BodyFormat { content: Content::Form, is_gzip: true }, "form+gzip"),
        (BodyFormat { content: Content::Other, is_gzip: true }, "other+gzip"),
    ];

    /// The name in the inbox.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(format, _)| *format == self).map_or("other", |(_, name)| name)
    }

    /// The format called `name`, as [`as_str`](Self::as_str) writes it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, own)| *own == name).map(|(format, _)| *format)
    }

    /// The content of a body, decompressed; at most `max` bytes of it, and true if there are more.
    ///
    /// # Errors
    /// If the compressed bytes are broken.
    pub fn decoded(self, body: &[u8], max: usize) -> std::io::Result<(Cow<'_, [u8]>, bool)> {
        if !self.is_gzip {
            return Ok((body.into(), body.len() > max));
        }
        let mut content = Vec::new();
        let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
        MultiGzDecoder::new(body).take(limit).read_to_end(&mut content)?;
        let is_longer = content.len() > max;
        Ok((content.into(), is_longer))
    }

    /// The JSON document that a body stands for; of another format, its bytes.
    ///
    /// # Errors
    /// [`DecodeError`] if it cannot be decompressed, or has too many form fields.
    pub fn document(self, body: &[u8]) -> Result<Cow<'_, [u8]>, DecodeError> {
        let error = |message: String| DecodeError { path: ".".into(), message };
        let (content, _) = self
            .decoded(body, usize::MAX)
            .map_err(|reason| error(format!("the gzip coding is broken: {reason}")))?;
        match self.content {
            Content::Form => {
                let json = form::json(&content).map_err(|reason| error(reason.to_string()))?;
                Ok(json.into_bytes().into())
            }
            Content::Json | Content::Other => Ok(content),
        }
    }
}

impl fmt::Display for BodyFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        coder.write_all(text).unwrap();
        coder.finish().unwrap()
    }

    #[test]
    fn a_format_has_one_name() {
        for (format, name) in BodyFormat::ALL {
            assert_eq!((format.as_str(), BodyFormat::from_name(name)), (name, Some(format)));
        }
    }

    #[test]
    fn a_document_is_the_json_that_the_body_stands_for() {
        let of = |content, is_gzip, body: &[u8]| {
            let document = BodyFormat { content, is_gzip }.document(body);
            document.map(|json| String::from_utf8(json.into_owned()).unwrap())
        };
        assert_eq!(of(Content::Json, false, b"{\"a\":1}").unwrap(), "{\"a\":1}");
        assert_eq!(of(Content::Form, false, b"a=1").unwrap(), "{\"a\":\"1\"}");
        assert_eq!(of(Content::Form, true, &gzip(b"a=1")).unwrap(), "{\"a\":\"1\"}");
        assert_eq!(of(Content::Other, false, b"x").unwrap(), "x");
        assert!(of(Content::Json, true, b"{}").is_err());
    }

    #[test]
    fn a_small_body_that_grows_is_read_up_to_the_limit() {
        let bomb = gzip(&vec![b' '; 10_000_000]);
        assert!(bomb.len() < 20_000);
        let format = BodyFormat { content: Content::Json, is_gzip: true };
        let (content, is_longer) = format.decoded(&bomb, 1000).unwrap();
        assert!(is_longer && content.len() == 1001);
        assert!(format.decoded(&bomb[..1000], 1000).is_ok(), "as far as it is needed");
    }
}
