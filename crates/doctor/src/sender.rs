//! What is documented of the senders: how long they wait, what they do then, and where a webhook is entered.

use std::time::Duration;

use contract::event::Dialect;

/// What is known of a dialect's senders.
#[derive(Debug, PartialEq, Eq)]
pub struct Sender {
    /// The dialect.
    pub dialect: Dialect,
    /// Its name in sentences.
    pub name: &'static str,
    /// How long it waits for an answer, if that is documented.
    pub patience: Option<Duration>,
    /// What becomes of a delivery that was not answered as it should be.
    pub otherwise: &'static str,
    /// Where on its pages a webhook is entered.
    pub page: &'static str,
    /// Whether a URL is entered for each event.
    pub has_url_per_event: bool,
    /// What it calls its key, and who makes it.
    pub key: &'static str,
}

/// Who sends in each dialect.
const SENDERS: [Sender; Dialect::ALL.len()] = [
    Sender {
        dialect: Dialect::DirectScale,
        name: "DirectScale",
        patience: Some(Duration::from_secs(60)),
        otherwise: "counts it as failed and sends it again later; when and how often is not documented",
        page: "Corporate Admin > Tools > Developer Tools > Event Subscriptions",
        has_url_per_event: true,
        key: "Extension Secret, under Corporate Admin > Tools > Developer Tools > Extension Settings: enter there the key from `webhook-receiver secret`",
    },
    Sender {
        dialect: Dialect::EvolutionX,
        name: "EvolutionX",
        patience: None,
        otherwise: "may send it again: it promises at least one delivery, not how many attempts",
        page: "Admin > Developers > Webhooks",
        has_url_per_event: false,
        key: "Signature key, shown under Admin > Developers > Webhooks: copy it into the receiver's settings",
    },
    Sender {
        dialect: Dialect::StandardWebhooks,
        name: "A Standard Webhooks sender",
        patience: Some(Duration::from_secs(15)),
        otherwise: "tries again for some days, and may then disable the endpoint",
        page: "the sender's page for endpoints",
        has_url_per_event: false,
        key: "Signing secret, which begins with whsec_ or whpk_: copy it into the receiver's settings",
    },
    Sender {
        dialect: Dialect::GitHub,
        name: "GitHub",
        patience: Some(Duration::from_secs(10)),
        otherwise: "counts it as failed and does not send it again by itself",
        page: "Settings > Webhooks > Add webhook, with the content type application/json",
        has_url_per_event: false,
        key: "Secret, on the same page: enter there the key from `webhook-receiver secret`",
    },
    Sender {
        dialect: Dialect::Stripe,
        name: "Stripe",
        patience: None,
        otherwise: "tries again for up to three days",
        page: "Developers > Webhooks > Add endpoint",
        has_url_per_event: false,
        key: "Signing secret, which begins with whsec_ and is shown with the endpoint: copy it into the receiver's settings",
    },
    Sender {
        dialect: Dialect::Shopify,
        name: "Shopify",
        patience: Some(Duration::from_secs(5)),
        otherwise: "tries again eight times in four hours, and then may remove the subscription",
        page: "Settings > Notifications > Webhooks, or the app's subscriptions",
        has_url_per_event: false,
        key: "Client secret of the app, or the key shown under Notifications > Webhooks: copy it into the receiver's settings",
    },
    Sender {
        dialect: Dialect::Slack,
        name: "Slack",
        patience: Some(Duration::from_secs(3)),
        otherwise: "tries again three times within some minutes",
        page: "the app's Event Subscriptions > Request URL",
        has_url_per_event: false,
        key: "Signing Secret, under the app's Basic Information: copy it into the receiver's settings",
    },
    Sender {
        dialect: Dialect::CloudEvents,
        name: "A CloudEvents sender",
        patience: None,
        otherwise: "may send it again",
        page: "the sender's page for subscriptions",
        has_url_per_event: false,
        key: "Bearer token: enter there the key from `webhook-receiver secret`",
    },
    Sender {
        dialect: Dialect::Generic,
        name: "The sender",
        patience: None,
        otherwise: "may send it again",
        page: "the sender's page for webhooks",
        has_url_per_event: false,
        key: "the key on the sender's page, which is the same as in the receiver's settings",
    },
];

/// What is assumed of a sender that documents no limit.
const USUAL: Duration = Duration::from_secs(10);

impl Sender {
    /// Who sends in this dialect.
    pub fn of(dialect: Dialect) -> &'static Sender {
        SENDERS.iter().find(|sender| sender.dialect == dialect).unwrap_or(&SENDERS[0])
    }

    /// How long an answer may take.
    pub fn limit(&self) -> Duration {
        self.patience.unwrap_or(USUAL)
    }

    /// The limit in words.
    pub(super) fn limit_in_words(&self) -> String {
        match self.patience {
            Some(patience) => format!("{} waits {} s", self.name, patience.as_secs()),
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
            assert_eq!(Sender::of(dialect).dialect, dialect);
        }
    }
}
