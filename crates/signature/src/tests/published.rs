//! Published vectors: a key, a request, and the expected signature.

use super::Genuine;

/// The message that Svix and the Standard Webhooks project sign in their documentation and tests.
const STANDARD: (&str, i64, &str) =
    ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);

/// stripe/stripe-dotnet, src/StripeTests/Resources/event_test_signature.json (Apache-2.0).
const STRIPE: &str = r#"{
  "id": "evt_123",
  "object": "event",
  "account": "acct_123",
  "api_version": "2017-05-25",
  "created": 1533204620,
  "data": {
    "object": {
      "id": "cus_123",
      "object": "customer",
      "created": 123456789,
      "email": "test@stripe.com",
      "livemode": false,
      "metadata": {}
    }
  },
  "livemode": false,
  "pending_webhooks": 1,
  "request": {
    "id": "req_123",
    "idempotency_key": "idempotency-key-123"
  },
  "type": "customer.created"
}
"#;

/// Three keys at once, of which the convoy vectors below try one each.
const CONVOY: &str = "t=1257894000,v1=5b255b0b867c5540679bad7dfa11be73ffd4ee248647646fb325ccbe19167439,v1=9942b27103f8f5f5ce4cd3751524dbb7087a596487c784655a33f528cd4d7400,v1=d5589c4f5e51d74e6116c8d5db2704d76cdf88521e2cdd749d2d5091e3d6183c";

pub(super) fn vectors() -> Vec<Genuine> {
    vec![
        // The tests of the Standard Webhooks reference libraries.
        standard(
            "standard-webhooks",
            "webhook",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
        // Svix's documentation: the same in its own spelling.
        standard(
            "svix",
            "svix",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
        // svix/svix-webhooks, the server's test_asymmetric_key_signing; both halves, as its README writes them.
        standard("svix", "svix", SVIX_SECRET, SVIX_SIGNATURE),
        standard("svix", "svix", SVIX_PUBLIC, SVIX_SIGNATURE),
        standard("standard-webhooks", "webhook", SVIX_SECRET, SVIX_SIGNATURE),
        standard("standard-webhooks", "webhook", SVIX_PUBLIC, SVIX_SIGNATURE),
        // GitHub's documentation on validating deliveries.
        vector(
            "github",
            "It's a Secret to Everybody",
            &[(
                "X-Hub-Signature-256",
                "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
            )],
            "Hello, World!",
            0,
        ),
        // frain-dev/convoy, pkg/verifier/verifier_test.go.
        vector(
            "github",
            "Convoy",
            &[(
                "X-Hub-Signature-256",
                "sha256=d7a154547e7c35e31c4c820e20237650939c3d34dae136e30a7757ca61abb4cf",
            )],
            "Test Payload Body",
            0,
        ),
        // stripe/stripe-dotnet, src/StripeTests/Services/Events/EventUtilityTest.cs.
        vector(
            "stripe",
            "webhook_secret",
            &[(
                "Stripe-Signature",
                "t=1533204620,v1=2220f87ef101a04665f11cdf770523143f875572008577fa0f20882ddb9cc3c7,v0=63f3a72374a733066c4be69ed7f8e5ac85c22c9f0a6a612ab9a025a9e4ee7eef",
            )],
            STRIPE,
            1_533_204_620,
        ),
        // Slack's documentation on verifying requests.
        vector(
            "slack",
            "8f742231b10e8888abcd99yyyzzz85a5",
            &[
                (
                    "X-Slack-Signature",
                    "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
                ),
                ("X-Slack-Request-Timestamp", "1531420618"),
            ],
            "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
            1_531_420_618,
        ),
        // SQLPage's tests of its hmac function against Shopify's scheme.
        vector(
            "shopify",
            "test-webhook-secret",
            &[("X-Shopify-Hmac-Sha256", "QNyObTlKbMx2qDlPF/ZOZcBqg5OgPg+2oky3zldc0Gw=")],
            r#"{"id":1234567890,"email":"customer@example.com","total_price":"123.45"}"#,
            0,
        ),
        // frain-dev/convoy, pkg/signature/signature_test.go.
        convoy("older-expired-secret", CONVOY),
        convoy("expired-secret", CONVOY),
        convoy("new-secret", CONVOY),
        convoy(
            "secret",
            "t=1257894000,v1=c97c302e4a991a7d4a72b60c3f9a0c3adb3611cd0acc632994a72ace04d6509c,v2=fKtYNaWP+THgLxwIifnkzGLBeCf8iWdGmFtKr0DM93+KCU1vksP8DmT8EbTwlF5Q0F2FmjOXxSxcUBkyuMlmVQ==",
        ),
    ]
}

const SVIX_SECRET: &str =
    "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
const SVIX_PUBLIC: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
const SVIX_SIGNATURE: &str =
    "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";

fn vector(
    scheme: &'static str,
    key: &str,
    headers: &[(&'static str, &str)],
    body: &str,
    time: i64,
) -> Genuine {
    let headers = headers.iter().map(|&(name, value)| (name, value.to_owned())).collect();
    Genuine { scheme, key: key.to_owned(), headers, body: body.as_bytes().to_vec(), time }
}

fn standard(scheme: &'static str, spelling: &str, key: &str, signature: &str) -> Genuine {
    let (id, time, body) = STANDARD;
    let names = match spelling {
        "webhook" => ["webhook-id", "webhook-timestamp", "webhook-signature"],
        _ => ["svix-id", "svix-timestamp", "svix-signature"],
    };
    let time_text = time.to_string();
    let headers = [(names[0], id), (names[1], &time_text), (names[2], signature)];
    vector(scheme, key, &headers, body, time)
}

fn convoy(key: &str, signature: &str) -> Genuine {
    let headers = [("X-Convoy-Signature", signature)];
    vector("convoy-advanced", key, &headers, r#"{"b":{},"e":"123","a":1}"#, 1_257_894_000)
}
