//! Content-Digest (RFC 9530): the digests of the body in the request's header.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sfv::{BareItem, Dictionary, Item, ListEntry};
use sha2::{Sha256, Sha512};

use super::bad;
use crate::VerifyError;

/// One digest of the body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Digest {
    Sha256(Vec<u8>),
    Sha512(Vec<u8>),
}

impl Digest {
    /// Every digest of a supported algorithm; there must be one.
    pub(super) fn read(dictionary: &Dictionary) -> Result<Vec<(String, Self)>, VerifyError> {
        let mut digests = Vec::new();
        for (name, entry) in dictionary {
            let digest = match name.as_str() {
                "sha-256" => Digest::Sha256,
                "sha-512" => Digest::Sha512,
                _ => continue,
            };
            match entry {
                ListEntry::Item(Item { bare_item: BareItem::ByteSequence(bytes), .. }) => {
                    digests.push((name.to_string(), digest(bytes.clone())));
                }
                _ => return Err(bad("covers a Content-Digest that is not bytes")),
            }
        }
        match digests.is_empty() {
            true => Err(bad("covers a Content-Digest without sha-256 or sha-512")),
            false => Ok(digests),
        }
    }

    pub(super) fn is_of(&self, body: &[u8]) -> bool {
        use sha2::Digest as _;
        match self {
            Digest::Sha256(digest) => Sha256::digest(body).as_slice() == digest.as_slice(),
            Digest::Sha512(digest) => Sha512::digest(body).as_slice() == digest.as_slice(),
        }
    }

    /// The header's value for `body`.
    pub(super) fn written(body: &[u8]) -> String {
        use sha2::Digest as _;
        format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body)))
    }
}
