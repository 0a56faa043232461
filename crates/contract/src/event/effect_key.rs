//! Effect keys: idempotency keys for what a handler does at other services.

use sha2::{Digest, Sha256};

use super::Meta;

/// Separates these digests from all others. Changing it changes every key.
const DOMAIN: &str = "webhook-receiver effect key";

impl Meta {
    /// The idempotency key of one effect of this run, for the `Idempotency-Key` header of another service.
    ///
    /// It is the same for every attempt of a run and another one for each replay: a person who replays wants the effect
    /// again. It is made of the source, the client id, the message id, the event type, the replay and the name of the
    /// effect, and not of the inbox's id, so it survives a copy and a restore of the inbox.
    ///
    /// It has the form of a UUID (version 8, 36 characters), which the services that limit their keys take.
    pub fn effect_key(&self, name: &str) -> String {
        let replay = self.replay.to_string();
        let client_id = self.client_id.as_deref().unwrap_or_default();
        uuid_of(&[
            DOMAIN,
            &self.source,
            client_id,
            &self.message_id,
            &self.event_type,
            &replay,
            name,
        ])
    }
}

/// A UUID of texts, of which each is delimited by its length.
pub(crate) fn uuid_of(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    uuid(&digest.finalize().into())
}

/// The first half of the digest as a UUID of version 8 (RFC 9562).
fn uuid(digest: &[u8; 32]) -> String {
    let [first, second] = [0, 8].map(|begin| {
        digest[begin..begin + 8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    });
    let [first, second] = [first & !0xf000 | 0x8000, second & !(3 << 62) | 2 << 62];
    let [low, middle, version] = [first >> 32, first >> 16 & 0xffff, first & 0xffff];
    let [variant, rest] = [second >> 48, second & 0xffff_ffff_ffff];
    format!("{low:08x}-{middle:04x}-{version:04x}-{variant:04x}-{rest:012x}")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::event::{Dialect, Environment};

    fn meta(source: &str, client_id: Option<&str>, message_id: &str, event_type: &str) -> Meta {
        Meta {
            source: source.into(),
            client_id: client_id.map(str::to_owned),
            message_id: message_id.into(),
            ..Meta::sample(Dialect::DirectScale, event_type, 1)
        }
    }

    /// Computed by another program: UUIDs of the first 16 bytes of SHA-256, over each part after its length in 8 bytes,
    /// little-endian.
    #[test]
    fn a_key_never_changes() {
        let first = meta("directscale", Some("acme"), "m-1", "OrderEvent");
        assert_eq!(first.effect_key("charge"), "d90efb54-792e-8d62-9d37-7d7b306c5437");
        let second = meta("directscale", None, "7f0e-\u{fc}", "CreateOrderPaymentEvent");
        let second = Meta { replay: 2, ..second };
        assert_eq!(second.effect_key("R\u{fc}ckzahlung"), "b4781ccf-3240-8fac-bf5c-b04342712dd1");
    }

    #[test]
    fn every_attempt_of_a_run_has_the_same_key_and_every_replay_another() {
        let run = meta("s", Some("c"), "m", "E");
        let key = run.effect_key("charge");
        let later = Meta { id: 99, attempt: 7, environment: Environment::Live, ..run.clone() };
        assert_eq!(later.effect_key("charge"), key);
        let replays = (0..100).map(|replay| Meta { replay, ..run.clone() }.effect_key("charge"));
        assert_eq!(replays.collect::<HashSet<_>>().len(), 100);
    }

    #[test]
    fn what_differs_in_one_part_or_its_boundary_has_another_key() {
        let keys = [
            meta("s", Some("c"), "m", "E").effect_key("n"),
            meta("sc", None, "m", "E").effect_key("n"),
            meta("s", None, "cm", "E").effect_key("n"),
            meta("s", Some("cm"), "", "E").effect_key("n"),
            meta("s", Some("c"), "mE", "").effect_key("n"),
            meta("s", Some("c"), "m", "E0").effect_key("n"),
            meta("s", Some("c"), "m", "").effect_key("En"),
            meta("s", Some("c"), "m", "E").effect_key(""),
            meta("s", Some("c"), "m", "E").effect_key("N"),
            Meta { replay: 1, ..meta("s", Some("c"), "m", "E") }.effect_key("n"),
        ];
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len(), "{keys:?}");
    }

    #[test]
    fn a_key_is_a_uuid_of_version_8_whatever_it_is_made_of() {
        for number in 0..1000 {
            let key = meta("\u{1f4b3}", None, "\0\n", "E").effect_key(&number.to_string());
            let groups: Vec<_> = key.split('-').map(str::len).collect();
            assert_eq!(groups, [8, 4, 4, 4, 12], "{key}");
            assert!(key.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-')));
            let digits = key.as_bytes();
            assert!(digits[14] == b'8' && matches!(digits[19], b'8' | b'9' | b'a' | b'b'), "{key}");
        }
    }
}
