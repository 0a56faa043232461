//! The identity of a delivery for dedup: source, client id and message id.

use sha2::{Digest, Sha256};
use source::Verified;

/// An identity with its hash.
pub(crate) struct DeliveryIdentity<'d> {
    pub(crate) source: &'d str,
    pub(crate) client_id: &'d str,
    pub(crate) message_id: &'d str,
    pub(crate) hash: IdentityHash,
}

/// The hash of an identity. Its function must never change, since engines store it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct IdentityHash(pub(crate) [u8; 16]);

impl<'d> DeliveryIdentity<'d> {
    pub(crate) fn of(delivery: &'d Verified) -> Self {
        let client_id = delivery.client_id.as_deref().unwrap_or_default();
        Self::new(&delivery.source.name, client_id, &delivery.message_id)
    }

    pub(crate) fn new(source: &'d str, client_id: &'d str, message_id: &'d str) -> Self {
        let hash = IdentityHash(hash([source, client_id, message_id]));
        DeliveryIdentity { source, client_id, message_id, hash }
    }
}

/// The first bytes of a digest of texts with their lengths, which delimit them.
pub(crate) fn hash<const N: usize, const TEXTS: usize>(texts: [&str; TEXTS]) -> [u8; N] {
    let mut digest = Sha256::new();
    for text in texts {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    }
    let mut hash = [0; N];
    hash.copy_from_slice(&digest.finalize()[..N]);
    hash
}
