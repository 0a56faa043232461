//! Requests signed by another implementation, with what is signed written out by hand and not taken from the row.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair};

use super::Genuine;

const TIME: i64 = 1_690_985_830;
const BODY: &str = r#"{"event_id":"evt_123","data":"test"}"#;
const SECRET: &str = "a secret that is text";
const SECRET_BYTES: &[u8] = b"\x00\xff twenty-four random bytes";
const SEED: &[u8; 32] = b"the secret half of a key pair...";

fn hmac_sha256(secret: &[u8], signed: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    hmac::sign(&key, signed.as_bytes()).as_ref().to_vec()
}

fn text_hmac(signed: &str) -> Vec<u8> {
    hmac_sha256(SECRET.as_bytes(), signed)
}

fn text_hmac_hex(signed: &str) -> String {
    hex::encode(text_hmac(signed))
}

fn request(scheme: &'static str, headers: Vec<(&'static str, String)>) -> Genuine {
    Genuine { scheme, key: SECRET.into(), headers, body: BODY.into(), time: TIME }
}

pub(super) fn requests() -> Vec<Genuine> {
    let dotted = text_hmac_hex(r#"1690985830.{"event_id":"evt_123","data":"test"}"#);
    let body = text_hmac(r#"{"event_id":"evt_123","data":"test"}"#);
    let body_hex = hex::encode(&body);
    let body_base64 = BASE64.encode(&body);
    let slack = text_hmac_hex(r#"v0:1690985830:{"event_id":"evt_123","data":"test"}"#);
    let convoy = text_hmac_hex(r#"1690985830,{"event_id":"evt_123","data":"test"}"#);
    let evolutionx = |signature, time| {
        request("evolutionx", vec![(signature, dotted.clone()), (time, "1690985830".into())])
    };
    let mut requests = vec![
        evolutionx("evox-signature", "evox-time"),
        evolutionx("Http_Evox_Signature", "Http_Evox_Time"),
        evolutionx("EVOX_SIGNATURE", "EVOX_TIME"),
        request("github", vec![("X-Hub-Signature-256", format!("sha256={body_hex}"))]),
        request("stripe", vec![("Stripe-Signature", format!("t=1690985830,v1={dotted}"))]),
        request("shopify", vec![("X-Shopify-Hmac-SHA256", body_base64.clone())]),
        request(
            "slack",
            vec![
                ("X-Slack-Request-Timestamp", "1690985830".into()),
                ("X-Slack-Signature", format!("v0={slack}")),
            ],
        ),
        request("x", vec![("x-twitter-webhooks-signature", format!("sha256={body_base64}"))]),
        request("convoy", vec![("X-Convoy-Signature", body_hex)]),
        request(
            "convoy-advanced",
            vec![("X-Convoy-Signature", format!("t=1690985830,v1={convoy}"))],
        ),
    ];
    for scheme in ["standard-webhooks", "svix"] {
        requests.extend(standard(scheme, ["webhook-id", "webhook-timestamp", "webhook-signature"]));
        requests.extend(standard(scheme, ["svix-id", "svix-timestamp", "svix-signature"]));
    }
    requests
}

/// The same message by a shared secret and by both halves of a key pair.
fn standard(scheme: &'static str, [id, timestamp, signature]: [&'static str; 3]) -> [Genuine; 3] {
    let signed = r#"msg_1.1690985830.{"event_id":"evt_123","data":"test"}"#;
    let pair = Ed25519KeyPair::from_seed_unchecked(SEED).unwrap();
    let by_pair = format!("v1a,{}", BASE64.encode(pair.sign(signed.as_bytes())));
    let by_secret = format!("v1,{}", BASE64.encode(hmac_sha256(SECRET_BYTES, signed)));
    let request = |prefix: &str, key: &[u8], value: &String| Genuine {
        key: format!("{prefix}{}", BASE64.encode(key)),
        ..request(
            scheme,
            vec![
                (id, "msg_1".into()),
                (timestamp, "1690985830".into()),
                (signature, value.clone()),
            ],
        )
    };
    [
        request("whsec_", SECRET_BYTES, &by_secret),
        request("whsk_", SEED, &by_pair),
        request("whpk_", pair.public_key().as_ref(), &by_pair),
    ]
}
