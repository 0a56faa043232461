//! Algorithms of signatures.

use std::fmt;

use ring::signature as ring;

/// The algorithm of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// HMAC with SHA-1, of a shared secret; for senders that have nothing better.
    HmacSha1,
    /// HMAC with SHA-256, of a shared secret.
    HmacSha256,
    /// HMAC with SHA-512, of a shared secret.
    HmacSha512,
    /// Ed25519, of a key pair.
    Ed25519,
    /// ECDSA on the curve P-256 with SHA-256, of a key pair; both numbers one after the other, or in DER.
    EcdsaP256Sha256,
    /// ECDSA on the curve P-384 with SHA-384, of a key pair; both numbers one after the other, or in DER.
    EcdsaP384Sha384,
    /// RSA (PKCS#1 v1.5) with SHA-1; for senders that have nothing better. It verifies only.
    RsaSha1,
    /// RSA (PKCS#1 v1.5) with SHA-256.
    RsaSha256,
    /// RSA (PKCS#1 v1.5) with SHA-512.
    RsaSha512,
    /// RSA-PSS with SHA-256.
    RsaPssSha256,
    /// RSA-PSS with SHA-512.
    RsaPssSha512,
}

/// The kind of key that an algorithm needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// A shared secret.
    Secret,
    /// A key pair on the Edwards curve 25519.
    Ed25519,
    /// A key pair on the curve P-256.
    P256,
    /// A key pair on the curve P-384.
    P384,
    /// An RSA key pair.
    Rsa,
}

impl KeyType {
    /// The name in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            KeyType::Secret => "shared secret",
            KeyType::Ed25519 => "ed25519",
            KeyType::P256 => "P-256",
            KeyType::P384 => "P-384",
            KeyType::Rsa => "RSA",
        }
    }
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Algorithm; 11] = [
        Algorithm::HmacSha1,
        Algorithm::HmacSha256,
        Algorithm::HmacSha512,
        Algorithm::Ed25519,
        Algorithm::EcdsaP256Sha256,
        Algorithm::EcdsaP384Sha384,
        Algorithm::RsaSha1,
        Algorithm::RsaSha256,
        Algorithm::RsaSha512,
        Algorithm::RsaPssSha256,
        Algorithm::RsaPssSha512,
    ];

    /// The kind of key that it needs.
    pub const fn key_type(self) -> KeyType {
        match self {
            Algorithm::HmacSha1 | Algorithm::HmacSha256 | Algorithm::HmacSha512 => KeyType::Secret,
            Algorithm::Ed25519 => KeyType::Ed25519,
            Algorithm::EcdsaP256Sha256 => KeyType::P256,
            Algorithm::EcdsaP384Sha384 => KeyType::P384,
            Algorithm::RsaSha1
            | Algorithm::RsaSha256
            | Algorithm::RsaSha512
            | Algorithm::RsaPssSha256
            | Algorithm::RsaPssSha512 => KeyType::Rsa,
        }
    }

    /// True if it hashes with SHA-1, for which collisions can be made.
    pub const fn is_weak(self) -> bool {
        matches!(self, Algorithm::HmacSha1 | Algorithm::RsaSha1)
    }

    /// The length of a signature in bytes, if all have one.
    pub const fn size(self) -> Option<usize> {
        match self {
            Algorithm::HmacSha1 => Some(20),
            Algorithm::HmacSha256 => Some(32),
            Algorithm::HmacSha512 | Algorithm::Ed25519 => Some(64),
            _ => None,
        }
    }

    /// The most signatures of one header that are checked. A sender that rotates a key sends two, the most diligent
    /// eleven; one of a key pair costs as much as fifty of a shared secret, genuine or not.
    pub(crate) const fn most(self) -> usize {
        match self.key_type() {
            KeyType::Secret => 16,
            _ => 4,
        }
    }

    /// The verification of elliptic-curve signatures whose two numbers follow each other, and of those in DER.
    pub(crate) fn ecdsa(self) -> Option<[&'static ring::EcdsaVerificationAlgorithm; 2]> {
        match self {
            Algorithm::EcdsaP256Sha256 => {
                Some([&ring::ECDSA_P256_SHA256_FIXED, &ring::ECDSA_P256_SHA256_ASN1])
            }
            Algorithm::EcdsaP384Sha384 => {
                Some([&ring::ECDSA_P384_SHA384_FIXED, &ring::ECDSA_P384_SHA384_ASN1])
            }
            _ => None,
        }
    }

    pub(crate) fn rsa(self) -> Option<&'static ring::RsaParameters> {
        match self {
            Algorithm::RsaSha1 => Some(&ring::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY),
            Algorithm::RsaSha256 => Some(&ring::RSA_PKCS1_2048_8192_SHA256),
            Algorithm::RsaSha512 => Some(&ring::RSA_PKCS1_2048_8192_SHA512),
            Algorithm::RsaPssSha256 => Some(&ring::RSA_PSS_2048_8192_SHA256),
            Algorithm::RsaPssSha512 => Some(&ring::RSA_PSS_2048_8192_SHA512),
            _ => None,
        }
    }

    pub(crate) fn rsa_signing(self) -> Option<&'static dyn ring::RsaEncoding> {
        match self {
            Algorithm::RsaSha256 => Some(&ring::RSA_PKCS1_SHA256),
            Algorithm::RsaSha512 => Some(&ring::RSA_PKCS1_SHA512),
            Algorithm::RsaPssSha256 => Some(&ring::RSA_PSS_SHA256),
            Algorithm::RsaPssSha512 => Some(&ring::RSA_PSS_SHA512),
            _ => None,
        }
    }

    /// The same algorithm with the other usual hash, if senders mistake one for the other.
    pub(crate) const fn other(self) -> Option<Algorithm> {
        match self {
            Algorithm::HmacSha1 | Algorithm::HmacSha512 => Some(Algorithm::HmacSha256),
            Algorithm::HmacSha256 => Some(Algorithm::HmacSha512),
            _ => None,
        }
    }

    /// The name in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Algorithm::HmacSha1 => "HMAC-SHA1",
            Algorithm::HmacSha256 => "HMAC-SHA256",
            Algorithm::HmacSha512 => "HMAC-SHA512",
            Algorithm::Ed25519 => "ed25519",
            Algorithm::EcdsaP256Sha256 => "ECDSA P-256",
            Algorithm::EcdsaP384Sha384 => "ECDSA P-384",
            Algorithm::RsaSha1 => "RSA-SHA1",
            Algorithm::RsaSha256 => "RSA-SHA256",
            Algorithm::RsaSha512 => "RSA-SHA512",
            Algorithm::RsaPssSha256 => "RSA-PSS-SHA256",
            Algorithm::RsaPssSha512 => "RSA-PSS-SHA512",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
