//! Secret headers, by their names or their values: they are kept out of stores, logs and pages.

use http::HeaderName;
use memchr::memmem;
use percent_encoding::percent_decode;

/// Substrings of names of secret headers, compared without the name's separators.
const SECRET_SUBSTRINGS: [&str; 15] = [
    "authorization",
    "cookie",
    "token",
    "secret",
    "password",
    "passwd",
    "passcode",
    "passphrase",
    "credential",
    "apikey",
    "accesskey",
    "authkey",
    "privatekey",
    "jwt",
    "sessionid",
];

/// Words in names of secret headers, even beside a signature's word.
const SECRET_WORDS: [&str; 5] = ["bearer", "otp", "pass", "pin", "pwd"];

/// Words in names of secret headers, unless a signature's word is beside them.
const AUTH_WORDS: [&str; 4] = ["auth", "authentication", "session", "sid"];

/// Words before `key` in names of plain identifiers, such as a message's.
const BEFORE_PLAIN_KEY: [&str; 10] = [
    "idempotency",
    "message",
    "event",
    "dedup",
    "deduplication",
    "partition",
    "routing",
    "ordering",
    "cache",
    "signature",
];

/// Words after `key` in names of a key's public properties.
const AFTER_PLAIN_KEY: [&str; 7] =
    ["id", "name", "version", "fingerprint", "signature", "hmac", "digest"];

/// Beginnings of words that end in `key` and mean no key.
const NOT_KEYS: [&str; 10] =
    ["mon", "tur", "hoc", "joc", "don", "whis", "lac", "mic", "smo", "jer"];

/// Words for a proof of one message only, which grants nothing else: verification needs it.
const SIGNATURE_WORDS: [&str; 3] = ["signature", "hmac", "digest"];

/// True if the header's value counts as a secret.
pub fn is_secret_header(name: &HeaderName) -> bool {
    let name = name.as_str();
    let words: Vec<&str> = name.split(['-', '_', '.']).filter(|word| !word.is_empty()).collect();
    // A token for idempotency tells messages apart, and grants nothing.
    let words: Vec<&str> = match words.contains(&"idempotency") {
        true => words.into_iter().filter(|word| *word != "token").collect(),
        false => words,
    };
    let has = |list: &[&str]| words.iter().any(|word| list.contains(word));
    let joined = words.concat();
    SECRET_SUBSTRINGS.iter().any(|text| joined.contains(text))
        || has(&SECRET_WORDS)
        || (0..words.len()).any(|index| is_key(&words, index))
        || has(&AUTH_WORDS) && !has(&SIGNATURE_WORDS)
}

/// The most times that a value is percent-decoded; one encoded more often counts as a secret unseen.
const DECODINGS: usize = 4;

/// True if a header's value contains a secret, percent-encoded or not.
pub fn repeats_secret(value: &[u8], has_secret: impl Fn(&[u8]) -> bool) -> bool {
    let mut text = value.to_vec();
    for _ in 0..DECODINGS {
        let is_key = memmem::find(&text.to_ascii_lowercase(), b"access_token=").is_some();
        if is_key || has_secret(&text) {
            return true;
        }
        let decoded: Vec<u8> = percent_decode(&text).collect();
        if decoded == text {
            return false;
        }
        text = decoded;
    }
    true
}

/// True if the word at this index is or ends in `key` and means a credential.
fn is_key(words: &[&str], index: usize) -> bool {
    let Some(begin) = words[index].strip_suffix("key") else { return false };
    let before = match begin {
        "" => index.checked_sub(1).map_or("", |before| words[before]),
        begin => begin,
    };
    let is_about = words.get(index + 1).is_some_and(|behind| AFTER_PLAIN_KEY.contains(behind));
    !NOT_KEYS.contains(&begin) && !BEFORE_PLAIN_KEY.contains(&before) && !is_about
}

#[cfg(test)]
mod tests {
    use contract::event::Dialect;
    use signature::{MESSAGE_HEADERS, schemes};

    use super::*;
    use crate::FieldLocators;

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
            "X-Hmac-Secret",
            "X-Hmac-Key",
            "X-Signature-Token",
            "X-Signature-Password",
            "X-Webhook-Signature-Secret",
            "X-Pin-Digest",
            "X-Masterkey",
            "X-FunctionsKey",
            "X-Subscriptionkey",
            "X-Appkey",
            "X-Session",
            "X-Session-Id",
            "X-SessionId",
            "X-Sid",
            "X-Pwd",
            "X-Pass",
            "X-Passcode",
            "X-Passwd",
            "X-Otp",
            "X-Pin",
        ] {
            assert!(is_secret(name), "{name}");
        }
    }

    #[test]
    fn a_value_that_repeats_a_secret_is_secret() {
        let is_repeated = |value: &str| {
            repeats_secret(value.as_bytes(), |text| memmem::find(text, b"k/3=y").is_some())
        };
        for value in [
            "https://x.test/in?access_token=a",
            "/in?a=b&Access_Token=a",
            "%2Fin%3Faccess_token%3Da",
            "/in?%61ccess%5Ftoken=a",
            "%252Fin%253Faccess_token%253Da",
            "uri=\"k/3=y\"",
            "k%2F3%3Dy",
            "k%252f3%253dy",
            "%25252525252541",
        ] {
            assert!(is_repeated(value), "{value}");
        }
        for value in ["", "/in?a=b", "access_token", "K/3=Y", "100%", "%zz", "a%20b%2520c"] {
            assert!(!is_repeated(value), "{value}");
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
            "X-Turkey",
            "X-Hockey",
            "X-Session-Signature",
            "X-Key-Signature",
            "X-Masterkey-Id",
            "Ce-Partitionkey",
            "X-Idempotencykey",
            "X-Passenger",
            "X-Pinned",
            "X-Side",
            "X-Compass",
            "X-Request-Id",
            "X-Acme-Auth-Signature",
            "Digest",
            "X-Acme-Id",
            "X-Acme-Account",
        ] {
            assert!(!is_secret(name), "{name}");
        }
        for &dialect in Dialect::ALL {
            for header in FieldLocators::of(dialect).headers() {
                assert!(!is_secret_header(&header), "{header}");
            }
        }
        let schemes = schemes();
        assert!(schemes.iter().flat_map(|scheme| scheme.names()).all(|name| !is_secret(name)));
        assert!(MESSAGE_HEADERS.iter().all(|name| !is_secret(name)));
    }
}
