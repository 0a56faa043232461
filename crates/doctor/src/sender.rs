//! Sender profiles: documented timeouts, retries, and the place where a webhook is entered.

use std::time::Duration;

use contract::event::Dialect;

/// The profile of a dialect's senders.
#[derive(Debug, PartialEq, Eq)]
pub struct SenderProfile {
    /// The dialect.
    pub dialect: Dialect,
    /// The name in sentences.
    pub name: &'static str,
    /// The documented time that it waits for a response.
    pub timeout: Option<Duration>,
    /// The reaction to a failed delivery.
    pub on_failure: &'static str,
    /// The page on which a webhook is entered.
    pub page: &'static str,
    /// True if a URL is entered for each event.
    pub has_url_per_event: bool,
    /// The sender's name for its key, and the side that generates it.
    pub key: &'static str,
}

/// The profiles, one for each dialect.
const SENDERS: [SenderProfile; Dialect::ALL.len()] = [
    SenderProfile {
        dialect: Dialect::DirectScale,
        name: "DirectScale",
        timeout: Some(Duration::from_secs(60)),
        on_failure: "counts it as failed and sends it again later; when and how often is not documented",
        page: "Corporate Admin > Tools > Developer Tools > Event Subscriptions",
        has_url_per_event: true,
        key: "Extension Secret, under Corporate Admin > Tools > Developer Tools > Extension Settings: enter there the key from `webhook-receiver secret`",
    },
    SenderProfile {
        dialect: Dialect::EvolutionX,
        name: "EvolutionX",
        timeout: None,
        on_failure: "may send it again: it promises at least one delivery, not how many attempts",
        page: "Admin > Developers > Webhooks",
        has_url_per_event: false,
        key: "Signature key, shown under Admin > Developers > Webhooks: copy it into the receiver's settings",
    },
    SenderProfile {
        dialect: Dialect::StandardWebhooks,
        name: "A Standard Webhooks sender",
        timeout: Some(Duration::from_secs(15)),
        on_failure: "tries again for some days, and may then disable the endpoint",
        page: "the sender's page for endpoints",
        has_url_per_event: false,
        key: "Signing secret, which begins with whsec_ or whpk_: copy it into the receiver's settings",
    },
    SenderProfile {
        dialect: Dialect::GitHub,
        name: "GitHub",
        timeout: Some(Duration::from_secs(10)),
        on_failure: "counts it as failed and does not send it again by itself",
        page: "Settings > Webhooks > Add webhook, with the content type application/json",
        has_url_per_event: false,
        key: "Secret, on the same page: enter there the key from `webhook-receiver secret`",
    },
    SenderProfile {
        dialect: Dialect::Stripe,
        name: "Stripe",
        timeout: None,
        on_failure: "tries again for up to three days",
        page: "Developers > Webhooks > Add endpoint",
        has_url_per_event: false,
        key: "Signing secret, which begins with whsec_ and is shown with the endpoint: copy it into the receiver's settings",
    },
    SenderProfile {
        dialect: Dialect::Shopify,
        name: "Shopify",
        timeout: Some(Duration::from_secs(5)),
        on_failure: "tries again eight times in four hours, and then may remove the subscription",
        page: "Settings > Notifications > Webhooks, or the app's subscriptions",
        has_url_per_event: false,
        key: "Client secret of the app, or the key shown under Notifications > Webhooks: copy it into the receiver's settings",
    },
    SenderProfile {
        dialect: Dialect::Slack,
        name: "Slack",
        timeout: Some(Duration::from_secs(3)),
        on_failure: "tries again three times within some minutes",
        page: "the app's Event Subscriptions > Request URL",
        has_url_per_event: false,
        key: "Signing Secret, under the app's Basic Information: copy it into the receiver's settings",
    },
    SenderProfile {
        dialect: Dialect::CloudEvents,
        name: "A CloudEvents sender",
        timeout: None,
        on_failure: "may send it again",
        page: "the sender's page for subscriptions",
        has_url_per_event: false,
        key: "Bearer token: enter there the key from `webhook-receiver secret`",
    },
    SenderProfile {
        dialect: Dialect::Generic,
        name: "The sender",
        timeout: None,
        on_failure: "may send it again",
        page: "the sender's page for webhooks",
        has_url_per_event: false,
        key: "the key on the sender's page, which is the same as in the receiver's settings",
    },
];

/// The assumed timeout of a sender that documents none.
const USUAL: Duration = Duration::from_secs(10);

impl SenderProfile {
    /// The profile of this dialect's senders.
    pub fn of(dialect: Dialect) -> &'static SenderProfile {
        SENDERS.iter().find(|sender| sender.dialect == dialect).unwrap_or(&SENDERS[0])
    }

    /// The documented or assumed timeout.
    pub fn limit(&self) -> Duration {
        self.timeout.unwrap_or(USUAL)
    }

    /// The timeout in words.
    pub(super) fn limit_in_words(&self) -> String {
        match self.timeout {
            Some(timeout) => format!("{} waits {} s", self.name, timeout.as_secs()),
            None => {
                format!("{} documents no limit; {} s are taken for one", self.name, USUAL.as_secs())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dialect_has_its_own_row() {
        for dialect in Dialect::ALL {
            assert_eq!(SenderProfile::of(dialect).dialect, dialect);
        }
    }
}
