//! Keys for diagnosis: ones that a source does not accept, or not in that form, to explain a refused request.

use secrecy::{ExposeSecret, SecretString};
use signature::{Fingerprint, Key, Misreading, Scheme};

use super::auth::{AcceptedKey, BearerKey};

/// The shortest beginning of a key that is looked for, in characters.
const MIN_BEGINNING: usize = 8;

/// The usual lengths at which fields and copies cut a key, in characters.
const CUTS: [usize; 10] = [16, 20, 24, 32, 40, 48, 50, 64, 100, 128];

/// Keys that a request may have by mistake.
#[derive(Debug, Default)]
pub struct DiagnosticKeys {
    /// Retired keys, as bearer keys.
    pub(super) retired_bearer: Vec<AcceptedKey<BearerKey>>,
    /// Retired keys, as signing keys.
    pub(super) retired: Vec<Key>,
    /// Accepted signing keys, misread.
    pub(super) misread: Vec<(Misreading, Key)>,
    /// Beginnings of accepted bearer keys.
    pub(super) beginnings: Vec<(Fingerprint, BearerKey)>,
}

impl DiagnosticKeys {
    /// Prepares the keys from the configuration. A retired key may be of either type, so it is used as both.
    pub fn new(
        scheme: Option<&Scheme>,
        bearer: &[SecretString],
        signing: &[SecretString],
        retired: &[SecretString],
    ) -> Self {
        let keys = |scheme| retired.iter().filter_map(move |key| Key::new(scheme, key).ok());
        let misread = |scheme| signing.iter().flat_map(move |key| Misreading::keys(scheme, key));
        DiagnosticKeys {
            retired_bearer: retired.iter().map(AcceptedKey::bearer).collect(),
            retired: scheme.into_iter().flat_map(keys).collect(),
            misread: scheme.into_iter().flat_map(misread).collect(),
            beginnings: bearer.iter().flat_map(beginnings).collect(),
        }
    }
}

/// The digests of a key's usual truncations: before or after a character that is special in a shell, a URL or a
/// settings file, and at the usual lengths of a field.
fn beginnings(secret: &SecretString) -> Vec<(Fingerprint, BearerKey)> {
    let text = secret.expose_secret();
    let fingerprint = Fingerprint::of(secret);
    let mut previous = 'a';
    let mut found = Vec::new();
    for (length, (end, next)) in text.char_indices().enumerate() {
        let special = [previous, next].iter().any(|c| !c.is_ascii_alphanumeric());
        if length >= MIN_BEGINNING && (special || CUTS.contains(&length)) {
            found.push((fingerprint, BearerKey::of(&text.as_bytes()[..end])));
        }
        previous = next;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_end_at_marks_and_usual_lengths_and_are_never_short() {
        let beginnings = |text: &str| beginnings(&text.into());
        assert!(beginnings("a$b&c#d").is_empty());
        assert!(beginnings("abcdefghijkl").is_empty());
        let found = beginnings("abcdefghij&kl");
        let is =
            |text: &str| found.iter().any(|(_, key)| key.equals(&BearerKey::of(text.as_bytes())));
        assert_eq!((found.len(), is("abcdefghij"), is("abcdefghij&")), (2, true, true));
        assert_eq!(beginnings(&"x".repeat(33)).len(), 4);
    }
}
