//! Headers whose values are secrets, by their names: they are kept out of stores, logs and pages.

use http::HeaderName;

/// Texts that a name holds whose value opens something, with the name's separators taken away.
const TELLING: [&str; 13] = [
    "authorization",
    "cookie",
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "credential",
    "apikey",
    "accesskey",
    "authkey",
    "privatekey",
    "jwt",
];

/// Words that say so when they stand alone in a name.
const WORDS: [&str; 4] = ["auth", "authentication", "bearer", "key"];

/// Words before `key` that make it a name for something, such as a message.
const NAMING: [&str; 9] = [
    "idempotency",
    "message",
    "event",
    "dedup",
    "deduplication",
    "partition",
    "routing",
    "ordering",
    "cache",
];

/// Words behind `key` that say something of it.
const ABOUT: [&str; 4] = ["id", "name", "version", "fingerprint"];

/// Words of a proof that covers one message only, and opens nothing else: verification needs it.
const PROOFS: [&str; 3] = ["signature", "hmac", "digest"];

/// Whether the header's value is taken for a secret.
pub(crate) fn is_secret_header(name: &HeaderName) -> bool {
    let name = name.as_str();
    let words: Vec<&str> = name.split(['-', '_', '.']).filter(|word| !word.is_empty()).collect();
    if words.iter().any(|word| PROOFS.contains(word)) {
        return false;
    }
    let telling = words.concat();
    let is_key = |place: usize| {
        let before = place.checked_sub(1).and_then(|before| words.get(before));
        let behind = words.get(place + 1);
        !before.is_some_and(|word| NAMING.contains(word))
            && !behind.is_some_and(|word| ABOUT.contains(word))
    };
    TELLING.iter().any(|text| telling.contains(text))
        || words
            .iter()
            .enumerate()
            .any(|(place, word)| WORDS.contains(word) && (*word != "key" || is_key(place)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Dialect;
    use crate::signature::{MESSAGE_HEADERS, schemes};
    use crate::source::Places;

    fn is_secret(name: &str) -> bool {
        is_secret_header(&HeaderName::from_bytes(name.as_bytes()).unwrap())
    }

    #[test]
    fn what_opens_something_is_secret() {
        for name in [
            "Authorization",
            "Proxy-Authorization",
            "X-Forwarded-Authorization",
            "Cookie",
            "Set-Cookie",
            "X-Api-Key",
            "Api-Key",
            "ApiKey",
            "X_API_KEY",
            "X-DirectScale-CallbackToken",
            "X-Auth-Token",
            "X-Amz-Security-Token",
            "X-Csrf-Token",
            "X-XSRF-TOKEN",
            "X-Gitlab-Token",
            "X-Access-Token",
            "X-Goog-Channel-Token",
            "X-Auth",
            "X-Auth-Key",
            "X-Secret",
            "X-Webhook-Secret",
            "Client-Secret",
            "X-Password",
            "X-Credentials",
            "Ocp-Apim-Subscription-Key",
            "X-Functions-Key",
            "Cf-Access-Jwt-Assertion",
            "X-Key",
            "X-Acme-Bearer",
        ] {
            assert!(is_secret(name), "{name}");
        }
    }

    #[test]
    fn what_names_a_message_or_proves_one_is_none() {
        for name in [
            "Content-Type",
            "User-Agent",
            "Idempotency-Key",
            "X-Partition-Key",
            "X-Key-Id",
            "X-Signature-Key",
            "X-Author",
            "X-Authenticated-User",
            "X-Keyword",
            "X-Monkey",
            "X-Request-Id",
            "X-Acme-Auth-Signature",
            "Digest",
            "X-Acme-Id",
            "X-Acme-Account",
        ] {
            assert!(!is_secret(name), "{name}");
        }
        for dialect in Dialect::ALL {
            for header in Places::of(dialect).headers() {
                assert!(!is_secret_header(header), "{header}");
            }
        }
        let schemes = schemes();
        assert!(schemes.iter().flat_map(|scheme| scheme.names()).all(|name| !is_secret(name)));
        assert!(MESSAGE_HEADERS.iter().all(|name| !is_secret(name)));
    }
}
