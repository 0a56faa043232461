//! The response of a vendor's own logic: bytes and the headers that describe them.

use std::io::Read;

use bytes::Bytes;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use http::header::{
    CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
};
use text::field;

use super::CallbackError;

/// The largest response, in bytes; an encoded one is decoded up to it.
pub const MAX_RESPONSE_BYTES: usize = 8 * 1024 * 1024;

/// The header fields that describe the body.
const METADATA: [HeaderName; 3] = [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE];

/// A body with the header fields that are needed to read it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Representation {
    /// The bytes as received.
    pub body: Bytes,
    metadata: HeaderMap,
}

impl Representation {
    /// A body with the describing fields of its response's header.
    pub fn new(headers: &HeaderMap, body: Bytes) -> Self {
        let mut metadata = HeaderMap::new();
        for name in METADATA {
            for value in headers.get_all(&name) {
                metadata.append(name.clone(), value.clone());
            }
        }
        metadata.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        Representation { body, metadata }
    }

    /// A JSON body.
    pub fn json(body: impl Into<Bytes>) -> Self {
        Representation::new(&HeaderMap::new(), body.into())
    }

    /// The received ones of Content-Type, Content-Encoding and Content-Language.
    pub fn metadata(&self) -> &HeaderMap {
        &self.metadata
    }

    /// The body with its content coding removed.
    ///
    /// # Errors
    /// [`CallbackError`] if the coding is not supported, or the decoded body is larger than a response may be.
    pub fn decoded(&self) -> Result<Bytes, CallbackError> {
        let codings: Vec<_> = field::list(self.metadata.get_all(CONTENT_ENCODING)).collect();
        let mut body = self.body.clone();
        for coding in codings.into_iter().rev() {
            body = match coding.to_ascii_lowercase().as_slice() {
                b"identity" => body,
                b"gzip" | b"x-gzip" => inflated(MultiGzDecoder::new(&*body))?,
                b"deflate" => inflated(ZlibDecoder::new(&*body))?,
                other => return Err(CallbackError::Encoding(field::text(other).into_owned())),
            };
        }
        Ok(body)
    }
}

fn inflated(decoder: impl Read) -> Result<Bytes, CallbackError> {
    let mut body = Vec::new();
    let read = decoder.take(MAX_RESPONSE_BYTES as u64 + 1).read_to_end(&mut body);
    read.map_err(|error| CallbackError::Encoding(error.to_string()))?;
    if body.len() > MAX_RESPONSE_BYTES {
        return Err(CallbackError::TooLarge(MAX_RESPONSE_BYTES));
    }
    Ok(body.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn coded(codings: &[&'static str], body: Vec<u8>) -> Result<Bytes, CallbackError> {
        let line = |coding: &&'static str| (CONTENT_ENCODING, HeaderValue::from_static(coding));
        Representation::new(&codings.iter().map(line).collect(), body.into()).decoded()
    }

    #[test]
    fn codings_are_undone_in_reverse() {
        let mut deflate = ZlibEncoder::new(Vec::new(), Compression::fast());
        deflate.write_all(&gzip(b"{}")).unwrap();
        let twice = deflate.finish().unwrap();
        assert_eq!(coded(&[], b"{}".to_vec()).unwrap(), "{}");
        assert_eq!(coded(&["", "identity,"], b"{}".to_vec()).unwrap(), "{}");
        assert_eq!(coded(&["GZip"], gzip(b"{}")).unwrap(), "{}");
        assert_eq!(coded(&["gzip, deflate"], twice.clone()).unwrap(), "{}");
        assert_eq!(coded(&["x-gzip", "deflate"], twice).unwrap(), "{}");
    }

    #[test]
    fn what_cannot_be_undone_says_why() {
        assert_eq!(coded(&["br"], vec![1]), Err(CallbackError::Encoding("br".into())));
        assert!(matches!(coded(&["gzip"], b"{}".to_vec()), Err(CallbackError::Encoding(_))));
        let bomb = gzip(&vec![b' '; MAX_RESPONSE_BYTES + 1]);
        assert_eq!(coded(&["gzip"], bomb), Err(CallbackError::TooLarge(MAX_RESPONSE_BYTES)));
    }
}
