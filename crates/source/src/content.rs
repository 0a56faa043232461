//! The formats of bodies that a source accepts, told from a request's head.

use contract::event::{BodyFormat, Content};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use text::field::{self, MediaType};
use text::form::FORM;

use super::Source;
use super::wire::AcceptedBody;

/// The reason why a body is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnsupportedContent {
    /// The body is compressed.
    #[error(
        "the body is compressed with {0}; send it uncompressed{gzip}",
        gzip = if *.1 { ", or with gzip" } else { "" }
    )]
    Coding(String, bool),
    /// A batch of CloudEvents.
    #[error("batches of CloudEvents are not supported; send each event alone")]
    Batch,
    /// The content type is missing.
    #[error("the content type is missing; {0} would do")]
    Missing(String),
    /// The content type is repeated or malformed.
    #[error("the content type is repeated or malformed; {0} would do")]
    Malformed(String),
    /// The content type is another.
    #[error("the content type is {0}; {1} would do")]
    Other(String, String),
    /// The charset is not UTF-8.
    #[error("the charset is {0}, not UTF-8")]
    Charset(String),
}

impl Source {
    /// The format of a request's body, if the source accepts it. `may_be_empty` is true if the body may have no bytes.
    ///
    /// # Errors
    /// [`UnsupportedContent`] with the content type of the request, and those that would do.
    pub fn format(
        &self,
        headers: &HeaderMap,
        may_be_empty: bool,
    ) -> Result<BodyFormat, UnsupportedContent> {
        let is_gzip = self.coding(headers)?;
        let accepts = |body: AcceptedBody| self.bodies.contains(&body);
        let would_do = || {
            let names: Vec<&str> = self.bodies.iter().map(|body| body.as_str()).collect();
            names.join(" or ")
        };
        let of = |content: Content| Ok(BodyFormat { content, is_gzip });
        let Some(media) = MediaType::of(headers) else {
            return match headers.contains_key(CONTENT_TYPE) {
                true => Err(UnsupportedContent::Malformed(would_do())),
                // Without a body there is no type either; and a body without one is mostly JSON.
                false if may_be_empty && accepts(AcceptedBody::Empty) => of(Content::Json),
                false if accepts(AcceptedBody::Text) => of(Content::Json),
                false if accepts(AcceptedBody::Any) && accepts(AcceptedBody::Json) => {
                    of(Content::Json)
                }
                false if accepts(AcceptedBody::Any) => of(Content::Other),
                false => Err(UnsupportedContent::Missing(would_do())),
            };
        };
        if media.essence.starts_with("application/cloudevents-batch") {
            return Err(UnsupportedContent::Batch);
        }
        let is_text = media.essence == "text/plain" && accepts(AcceptedBody::Text);
        let content = if media.is_json() || is_text {
            Content::Json
        } else if media.essence == FORM && accepts(AcceptedBody::Form) {
            Content::Form
        } else if accepts(AcceptedBody::Any) {
            return of(Content::Other);
        } else {
            let essence = media.essence.chars().take(100).collect();
            return Err(UnsupportedContent::Other(essence, would_do()));
        };
        match media.is_utf8() {
            true => of(content),
            false => Err(UnsupportedContent::Charset(media.charset.unwrap_or_default())),
        }
    }

    /// True if a body may be JSON.
    pub(crate) fn accepts_json(&self) -> bool {
        self.bodies.contains(&AcceptedBody::Json)
    }

    /// True if the body is compressed with gzip, and the source accepts that.
    fn coding(&self, headers: &HeaderMap) -> Result<bool, UnsupportedContent> {
        let is_plain = |coding: &&[u8]| !coding.eq_ignore_ascii_case(b"identity");
        let mut codings = field::list(headers.get_all(CONTENT_ENCODING)).filter(is_plain);
        match (codings.next(), codings.next()) {
            (None, _) => Ok(false),
            (Some(coding), None) if self.gzip && coding.eq_ignore_ascii_case(b"gzip") => Ok(true),
            (Some(coding), _) => {
                let coding = field::text(coding).chars().take(100).collect();
                Err(UnsupportedContent::Coding(coding, self.gzip))
            }
        }
    }
}
