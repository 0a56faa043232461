//! What a check needs for its question to make sense.

use super::probe::Probe;

/// What a check may need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// The URL is https.
    Https,
    /// The host can be connected to.
    Connection,
    /// Something that takes deliveries answers at the URL.
    Found,
    /// A genuine delivery may be sent.
    Delivery,
    /// It is accepted.
    Accepted,
    /// The answer tells what the receiver saw.
    Echo,
    /// Requests prove themselves in some way.
    Proof,
    /// With a bearer key.
    Bearer,
    /// With a signature.
    Signature,
    /// With a signature of the time.
    Time,
    /// With a signature of an id in a header.
    SignedId,
    /// Several keys are accepted.
    Keys,
    /// The settings know keys of another environment.
    Rivals,
    /// Events were asked for.
    Events,
    /// The source has hooks.
    Hooks,
    /// Something that takes their calls answers where they are called.
    HooksFound,
    /// Something stands before the receiver.
    Proxy,
    /// The port of plain HTTP is known.
    Plain,
}

impl Need {
    /// Why the need is not met.
    pub(super) async fn lacking(self, probe: &Probe) -> Option<&'static str> {
        let target = &probe.target;
        let (is_met, why) = match self {
            Need::Https => (target.url.scheme() == "https", "the URL is not https"),
            Need::Connection => {
                (probe.baseline().await.result.is_ok(), "nothing answers at the URL")
            }
            Need::Found => (
                probe.baseline().await.is_taken(),
                "nothing that takes deliveries answers at the URL",
            ),
            Need::Accepted | Need::Delivery if !target.may_deliver => (
                false,
                "it takes a genuine delivery, which may have effects; name a harmless event with --allow-effects",
            ),
            Need::Delivery => return None,
            Need::Accepted => (probe.is_safe().await, "no genuine delivery was accepted"),
            Need::Echo if target.is_foreign => {
                (false, "only this program's receiver tells what it has seen")
            }
            Need::Echo => (
                probe.baseline().await.echo().is_some(),
                "the receiver did not tell what it has seen",
            ),
            Need::Proof => (target.keys.count() > 0, "the source asks for no proof"),
            Need::Bearer => (!target.keys.bearer.is_empty(), "no bearer key is sent"),
            Need::Signature => (target.keys.style.is_some(), "deliveries are not signed"),
            Need::Time => (target.keys.is_timed(), "no time is signed"),
            Need::SignedId => (target.keys.id_header().is_some(), "no id is signed in a header"),
            Need::Keys => (target.keys.count() > 1, "the source has one key"),
            Need::Rivals => (
                !target.rivals.is_empty(),
                "the settings have no source of this sender in another environment",
            ),
            Need::Events => (!target.events.is_empty(), "ask for it with --events"),
            Need::Hooks => (target.hooks.is_some(), "the source has no hooks"),
            Need::HooksFound => (
                probe.unproven_call().await.is_taken(),
                "nothing that takes calls answers where hooks are called",
            ),
            Need::Proxy => (
                !target.is_listener,
                "the URL is the listener itself, which only this machine reaches",
            ),
            Need::Plain => (
                target.plain_port.is_some(),
                "the URL names a port, so where plain HTTP would be is not known; --plain-port says it",
            ),
        };
        (!is_met).then_some(why)
    }
}
