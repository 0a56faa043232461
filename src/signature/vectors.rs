//! What others have published: a key, a request, and the signature that must come out.

use chrono::DateTime;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Key, Scheme, Unproven};

/// A published request and its key.
struct Vector {
    scheme: &'static str,
    key: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    time: i64,
}

const VECTORS: [Vector; 2] = [
    // The tests of the Standard Webhooks reference libraries.
    Vector {
        scheme: "standard-webhooks",
        key: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        headers: &[
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ],
        body: r#"{"test": 2432232314}"#,
        time: 1_614_265_330,
    },
    // GitHub's documentation on validating deliveries.
    Vector {
        scheme: "github",
        key: "It's a Secret to Everybody",
        headers: &[(
            "X-Hub-Signature-256",
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        )],
        body: "Hello, World!",
        time: 0,
    },
];

impl Vector {
    fn verify(&self) -> Result<usize, Unproven> {
        let scheme = Scheme::named(self.scheme).unwrap();
        let key = Key::new(&scheme, &self.key.into()).unwrap();
        let pair = |(name, value): &(&str, &str)| {
            (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap())
        };
        let headers: HeaderMap = self.headers.iter().map(pair).collect();
        let now = DateTime::from_timestamp_secs(self.time).unwrap();
        let presented = scheme.present(&headers, 300, now)?;
        scheme.verify(&presented, self.body.as_bytes(), [&key].into_iter())
    }
}

#[test]
fn published_signatures_verify() {
    for vector in VECTORS {
        assert_eq!(vector.verify(), Ok(0), "{}", vector.scheme);
    }
}
