//! Warnings: settings that are allowed but unwise, logged at every start and printed by `check`.

#[cfg(test)]
mod tests;

use std::fmt;

use humantime::format_duration;
use secrecy::ExposeSecret;
use serde::Serialize;
use signature::{Fingerprint, Key, KeyFormat, MessageKey, RFC_9421, Scheme};
use source::Fact;

use super::keys::{ConfiguredKey, KeySort};
use super::{
    AuthKind, Config, EMIT_SIGNING_KEY, EMIT_TOKEN, HooksConfig, SourceConfig, is_loopback, secrets,
};

/// A setting that is allowed but unwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// The setting, with its section.
    pub setting: String,
    /// The reason.
    pub reason: String,
    /// The correction.
    pub remedy: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.setting, self.reason, self.remedy)
    }
}

/// The shortest bearer key that cannot be guessed, in characters.
const MIN_BEARER: usize = 16;

/// A body size that senders are known to post, in bytes.
const LARGE_BODY: usize = 256 * 1024;

impl Config {
    /// All warnings about these settings.
    pub fn warnings(&self) -> Vec<Warning> {
        let is_set = |name: &&str| std::env::var_os(name).is_some();
        self.warnings_with([EMIT_TOKEN, EMIT_SIGNING_KEY].into_iter().find(is_set))
    }

    /// As [`warnings`](Self::warnings), independent of the environment.
    fn warnings_with(&self, emitters: Option<&str>) -> Vec<Warning> {
        // Unreadable keys are errors, not warnings: the receiver does not start.
        let keys = self.sources.iter().flat_map(|(name, source)| source.keys(name));
        let mut keys: Vec<ConfiguredKey> = keys.flatten().collect();
        keys.retain(|key| key.sort.is_accepted());
        let lists = [
            self.open_sources(),
            self.weak_keys(&keys),
            repeated_keys(&keys),
            self.shared_keys(&keys),
            self.senders_halves(&keys),
            self.callback_keys(&keys),
            self.unsigned_ids(),
            self.weak_schemes(),
            self.short_window().into_iter().collect(),
            self.small_bodies().into_iter().collect(),
            self.hidden_pages().into_iter().collect(),
            self.senders_key(emitters).into_iter().collect(),
        ];
        lists.concat()
    }

    fn open_sources(&self) -> Vec<Warning> {
        let open = self.sources.iter().filter(|(_, source)| source.auth == Some(AuthKind::None));
        let warning = |name| Warning {
            setting: format!("[sources.{name}] auth"),
            reason: "\"none\" lets anyone who reaches it post events".into(),
            remedy: "write auth = \"bearer\" or auth = \"signature\", and the key".into(),
        };
        open.map(|(name, _)| warning(name)).collect()
    }

    fn weak_keys(&self, keys: &[ConfiguredKey]) -> Vec<Warning> {
        keys.iter().filter_map(|key| self.weak_key(key)).collect()
    }

    fn weak_key(&self, key: &ConfiguredKey) -> Option<Warning> {
        if key.sort == KeySort::Bearer {
            let is_short = key.secret.expose_secret().chars().count() < MIN_BEARER;
            let short = is_short.then(|| format!("has fewer than {MIN_BEARER} characters"));
            return short.or_else(|| secrets::weakness(&key.secret)).map(|weakness| Warning {
                setting: key.setting(),
                reason: format!("{weakness} and can be guessed"),
                remedy: "write one from `webhook-receiver secret`, here and at the sender".into(),
            });
        }
        let (scheme, is_short) = match self.scheme_of(key) {
            Some(scheme) => {
                let is_short = Key::new(&scheme, &key.secret).is_ok_and(|key| key.is_short);
                (scheme.name, is_short)
            }
            None => (RFC_9421.to_owned(), self.message_key(key)?.is_short),
        };
        is_short.then(|| Warning {
            setting: key.setting(),
            reason: format!("is shorter than the keys of {scheme} must be"),
            remedy: "have the sender make a new key, and write that".into(),
        })
    }

    /// Keys that live and test sources share.
    fn shared_keys(&self, keys: &[ConfiguredKey]) -> Vec<Warning> {
        let environment = |key: &ConfiguredKey| self.sources[&key.source].environment;
        let shared = |number: usize, key: &ConfiguredKey| {
            let mut others = keys[..number].iter();
            let other =
                others.find(|other| other.is(key) && environment(other) != environment(key))?;
            Some(Warning {
                setting: key.setting(),
                reason: format!(
                    "is also a key of [sources.{}], so that a test system can post live events",
                    other.source
                ),
                remedy: "write a key of its own, here and at the sender".into(),
            })
        };
        keys.iter().enumerate().filter_map(|(number, key)| shared(number, key)).collect()
    }

    /// Secret halves of key pairs, which belong to the sender.
    fn senders_halves(&self, keys: &[ConfiguredKey]) -> Vec<Warning> {
        let half = |key: &ConfiguredKey| {
            if let Some(message_key) = self.message_key(key) {
                return message_key.is_senders_half().then(|| Warning {
                    setting: key.setting(),
                    reason: "is the secret half of a key pair, which signs, and a receiver only verifies".into(),
                    remedy: "write the public half".into(),
                });
            }
            let scheme = self.scheme_of(key)?;
            let is_document = scheme.kinds.iter().any(|kind| kind.key == KeyFormat::Document);
            if is_document && Key::new(&scheme, &key.secret).is_ok_and(|key| key.can_sign()) {
                return Some(Warning {
                    setting: key.setting(),
                    reason: "is the secret half of a key pair, which signs, and a receiver only verifies".into(),
                    remedy: "write the public half".into(),
                });
            }
            let (public, secret) = scheme.kinds.iter().find_map(|kind| match &kind.key {
                KeyFormat::Pair { public, secret } => Some((public, secret)),
                _ => None,
            })?;
            key.secret.expose_secret().starts_with(secret).then(|| Warning {
                setting: key.setting(),
                reason: format!("is the {secret} half, which signs, and a receiver only verifies"),
                remedy: format!("write the half that begins with {public}"),
            })
        };
        keys.iter().filter_map(half).collect()
    }

    /// Keys that both directions share, so that every caller could call back, too.
    fn callback_keys(&self, keys: &[ConfiguredKey]) -> Vec<Warning> {
        let hooks = self.sources.iter().filter_map(|(name, s)| Some((name, s.hooks.as_ref()?)));
        let warning = |(name, hooks): (&String, &HooksConfig)| {
            let key = Fingerprint::of(&hooks.callback_key(name).ok()??);
            let other = keys.iter().find(|other| other.fingerprint == key)?;
            Some(Warning {
                setting: format!("[sources.{name}.hooks] callback_key"),
                reason: format!("is the same key as {}", other.setting()),
                remedy: "write the DirectScale Secret here, and the Extension Secret there".into(),
            })
        };
        hooks.filter_map(warning).collect()
    }

    /// Id headers from the settings that the signature does not cover.
    fn unsigned_ids(&self) -> Vec<Warning> {
        let unsigned = |(name, source): (&String, &SourceConfig)| {
            let scheme = source.scheme(name).ok().flatten()?;
            let locators = source.places.as_ref().and_then(|_| source.field_locators(name).ok())?;
            let is_signed = |own: &str| {
                let mut ids = scheme.spellings.iter().filter_map(|places| places.id.as_ref());
                ids.any(|id| id.eq_ignore_ascii_case(own))
            };
            let header =
                locators.header(Fact::MessageId).filter(|header| !is_signed(&header.spelling))?;
            Some(Warning {
                setting: format!("[sources.{name}.places] message_id"),
                reason: format!(
                    "{} is not signed, so that anyone with a copy of a delivery can resend it under another id",
                    header.spelling
                ),
                remedy: "name a field of the body, or the signed header, if the sender has one"
                    .into(),
            })
        };
        self.sources.iter().filter_map(unsigned).collect()
    }

    /// Signatures that are weaker than others, for senders that have nothing better.
    fn weak_schemes(&self) -> Vec<Warning> {
        let weak = |(name, source): (&String, &SourceConfig)| {
            let scheme = source.scheme(name).ok().flatten()?;
            if !source.auth_kind().has_signature() {
                return None;
            }
            let setting = match source.signature {
                Some(_) => format!("[sources.{name}.signature]"),
                None => format!("[sources.{name}] dialect"),
            };
            let (reason, remedy) = if !scheme.covers_body() {
                (
                    "the signature covers parts of the body only; what it leaves out can be changed by anyone with a copy of a delivery",
                    "let handlers use what is signed, and ask the sender for the rest",
                )
            } else if scheme.is_weak() {
                (
                    "signs with SHA-1, which is weak",
                    "choose a better algorithm if the sender has one",
                )
            } else {
                return None;
            };
            Some(Warning { setting, reason: reason.into(), remedy: remedy.into() })
        };
        self.sources.iter().filter_map(weak).collect()
    }

    fn short_window(&self) -> Option<Warning> {
        let window = self.dedup.window;
        let resends = self
            .sources
            .iter()
            .filter_map(|(name, source)| Some((name, source.dialect, source.sender().resends?)));
        let (name, dialect, longest) = resends.max_by_key(|(_, _, after)| *after)?;
        (window < longest).then(|| Warning {
            setting: "[dedup] window".into(),
            reason: format!(
                "{} is less than the {} for which {dialect} events may be sent again to [sources.{name}], and then they are handled twice",
                format_duration(window),
                format_duration(longest)
            ),
            remedy: format!("write window = \"{}\" or more", format_duration(longest)),
        })
    }

    fn small_bodies(&self) -> Option<Warning> {
        (self.limits.max_body < LARGE_BODY).then(|| Warning {
            setting: "[limits] max_body".into(),
            reason: format!("is below {} KiB, and senders post that much", LARGE_BODY / 1024),
            remedy: format!("write max_body = {LARGE_BODY} or more"),
        })
    }

    fn hidden_pages(&self) -> Option<Warning> {
        let are_hidden = !is_loopback(self.listen.ip()) && self.docs.password_hash.is_none();
        are_hidden.then(|| Warning {
            setting: "[docs] password_hash".into(),
            reason: "without it the documentation pages and the metrics are not served".into(),
            remedy: "write password_hash = \"…\", made by `webhook-receiver secret --hash`".into(),
        })
    }

    fn senders_key(&self, variable: Option<&str>) -> Option<Warning> {
        let variable = variable.filter(|_| !is_loopback(self.listen.ip()))?;
        Some(Warning {
            setting: format!("environment variable {variable}"),
            reason: format!("holds a sender's key beside a receiver on {}", self.listen),
            remedy: "unset it, and set it only where `emit` runs".into(),
        })
    }

    fn scheme_of(&self, key: &ConfiguredKey) -> Option<Scheme> {
        let is_signing = key.sort == KeySort::Signing;
        let source = self.sources.get(&key.source).filter(|_| is_signing)?;
        source.scheme(&key.source).ok().flatten()
    }

    /// The key, if it belongs to message signatures.
    fn message_key(&self, key: &ConfiguredKey) -> Option<MessageKey> {
        let source = self.sources.get(&key.source)?;
        let is_message = key.sort == KeySort::Signing && source.signs_messages();
        is_message.then(|| MessageKey::new(&key.secret).ok())?
    }
}

/// Keys that one source has twice.
fn repeated_keys(keys: &[ConfiguredKey]) -> Vec<Warning> {
    let repeated = |number: usize, key: &ConfiguredKey| {
        let mut others = keys[..number].iter();
        let other = others.find(|other| other.is(key) && other.source == key.source)?;
        let (reason, remedy) = match other.sort == key.sort {
            true => (format!("is the same key as {}", other.location), "remove it"),
            false => (
                format!("is also in {}, so that every request shows how to sign", other.location),
                "have the sender make another key to sign with, and write that",
            ),
        };
        Some(Warning { setting: key.setting(), reason, remedy: remedy.into() })
    };
    keys.iter().enumerate().filter_map(|(number, key)| repeated(number, key)).collect()
}
