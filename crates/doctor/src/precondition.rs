//! Preconditions of checks.

use super::probe::Prober;

/// A precondition of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Precondition {
    /// A message has an id of its sender's, and not a digest of the rest.
    OwnId,
    /// The body is sent as it is, without a part of the proof in it.
    OwnBody,
    /// The URL is https.
    Https,
    /// The host accepts connections.
    Connection,
    /// A receiver of deliveries answers at the URL.
    Found,
    /// A genuine delivery may be sent.
    Delivery,
    /// A genuine delivery is accepted.
    Accepted,
    /// The response reports the request as the receiver saw it.
    Echo,
    /// Requests are authenticated in some way.
    Proof,
    /// Requests have a bearer key.
    Bearer,
    /// Requests are signed.
    Signature,
    /// The time is signed.
    Time,
    /// An id in a header is signed.
    SignedId,
    /// Several keys are accepted.
    Keys,
    /// The settings have keys of another environment.
    OtherEnvironment,
    /// `--events` is given.
    Events,
    /// The source has hooks.
    Hooks,
    /// A receiver of hook calls answers at the hooks' URL.
    HooksFound,
    /// A proxy stands before the receiver.
    Proxy,
    /// The port of plain HTTP is known.
    Plain,
}

impl Precondition {
    /// The reason why the precondition is not met; none if it is.
    pub(super) async fn unmet(self, probe: &Prober) -> Option<&'static str> {
        let target = &probe.target;
        let (is_met, why) = match self {
            Precondition::Https => (target.url.scheme() == "https", "the URL is not https"),
            Precondition::Connection => {
                (probe.baseline().await.result.is_ok(), "nothing answers at the URL")
            }
            Precondition::Found => (
                probe.baseline().await.takes_requests(),
                "nothing that takes deliveries answers at the URL",
            ),
            Precondition::Accepted | Precondition::Delivery if !target.may_deliver => (
                false,
                "it takes a genuine delivery, which may have effects; name a harmless event with --allow-effects",
            ),
            Precondition::Accepted | Precondition::Delivery if target.has_sole_keys => {
                (false, "only the sender has the keys that prove a delivery")
            }
            Precondition::OwnId => {
                (target.has_own_id(), "its sender gives a message no id of its own")
            }
            Precondition::OwnBody => (
                target.has_own_body(),
                "a part of the proof, or form fields, are made into the body",
            ),
            Precondition::Delivery => return None,
            Precondition::Accepted => (probe.is_safe().await, "no genuine delivery was accepted"),
            Precondition::Echo if target.is_foreign => {
                (false, "only this program's receiver tells what it has seen")
            }
            Precondition::Echo => (
                probe.baseline().await.echo().is_some(),
                "the receiver did not tell what it has seen",
            ),
            Precondition::Proof => (target.keys.count() > 0, "the source asks for no proof"),
            Precondition::Bearer => (!target.keys.bearer.is_empty(), "no bearer key is sent"),
            Precondition::Signature => (target.keys.style.is_some(), "deliveries are not signed"),
            Precondition::Time => (target.keys.is_timed(), "no time is signed"),
            Precondition::SignedId => {
                (target.keys.id_header().is_some(), "no id is signed in a header")
            }
            Precondition::Keys => (target.keys.count() > 1, "the source has one key"),
            Precondition::OtherEnvironment => (
                !target.other_environments.is_empty(),
                "the settings have no source of this sender in another environment",
            ),
            Precondition::Events => (!target.events.is_empty(), "ask for it with --events"),
            Precondition::Hooks => (target.hooks.is_some(), "the source has no hooks"),
            Precondition::HooksFound => (
                probe.unproven_call().await.takes_requests(),
                "nothing that takes calls answers where hooks are called",
            ),
            Precondition::Proxy => (
                !target.is_listener,
                "the URL is the listener itself, which only this machine reaches",
            ),
            Precondition::Plain => (
                target.plain_port.is_some(),
                "the URL names a port, so where plain HTTP would be is not known; --plain-port says it",
            ),
        };
        (!is_met).then_some(why)
    }
}
