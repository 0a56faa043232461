//! Public keys that a sender publishes: in a key set, or in a certificate.

use std::fmt;

use super::key_document::DocumentKey;
use super::material::Material;
use super::{Algorithm, Fingerprint, KeyError, KeyType};

/// The public half of a sender's key pair. It verifies by the algorithms of its type.
pub struct PublicKey {
    /// The fingerprint, which identifies the key in logs.
    pub fingerprint: Fingerprint,
    key_type: KeyType,
    material: Material,
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}, {})", self.key_type.as_str(), self.fingerprint)
    }
}

impl PublicKey {
    /// Reads a certificate or a public key in PEM, or a JSON Web Key.
    ///
    /// # Errors
    /// [`KeyError`] if it is neither, or a shared secret.
    pub fn read(text: &str) -> Result<Self, KeyError> {
        let document = DocumentKey::read(text).flatten();
        let document = document.filter(|document| document.key_type != KeyType::Secret);
        let document = document.ok_or(KeyError::Document("public"))?;
        let algorithm = Algorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.key_type() == document.key_type)
            .ok_or(KeyError::Document("public"))?;
        Ok(PublicKey {
            fingerprint: Fingerprint::of(&document.public_text(text)),
            key_type: document.key_type,
            material: Material::of_document(algorithm, &document)?,
        })
    }

    /// True if the key made the signature by this algorithm, which belongs to its type.
    pub fn has_signed(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        algorithm.key_type() == self.key_type
            && self.material.has_signed(
                algorithm,
                |piece| piece(signed),
                std::iter::once(signature),
            )
    }

    /// Signs by this algorithm, if the key was read with its secret half.
    ///
    /// # Errors
    /// [`KeyError`] if it was not, or the algorithm is not of its type.
    pub fn sign(&self, algorithm: Algorithm, signed: &[u8]) -> Result<Vec<u8>, KeyError> {
        if algorithm.key_type() != self.key_type {
            return Err(KeyError::Document(algorithm.key_type().as_str()));
        }
        self.material.sign(algorithm, |piece| piece(signed))
    }

    pub(crate) fn material(&self) -> &Material {
        &self.material
    }

    pub(crate) fn key_type(&self) -> KeyType {
        self.key_type
    }
}
