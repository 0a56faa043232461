//! The table of known senders, with the sources of their figures.

use std::borrow::Cow;

use super::{
    DAY, DisableAction, DisableCondition, DisableRule, HOUR, MINUTE, RetryAfter, RetryPolicy,
    SECOND, SlowDown, Success,
};

/// The retry policies of known senders.
pub const RETRY_POLICIES: &[RetryPolicy] = &[
    RetryPolicy {
        name: "directscale",
        delays: Cow::Borrowed(&[
            MINUTE,
            MINUTE.saturating_mul(5),
            MINUTE.saturating_mul(15),
            HOUR,
            HOUR.saturating_mul(3),
            HOUR.saturating_mul(6),
            HOUR.saturating_mul(12),
            HOUR.saturating_mul(24),
        ]),
        jitter: 0.1,
        timeout: MINUTE,
        success: Success::Only200,
        retry_after: RetryAfter::Ignored,
        slow_down: None,
        abort: None,
        disable: None,
        source: "60 s without a 200 is a failure, which is tried again later, and a delivery may be a day late or more: the \
                 vendor's best practices. Nothing else is documented: the delays, the end after nine attempts and the \
                 jitter were chosen so that a message stays on its way for two days.",
    },
    RetryPolicy {
        name: "standard-webhooks",
        delays: Cow::Borrowed(&[
            SECOND.saturating_mul(5),
            MINUTE.saturating_mul(5),
            MINUTE.saturating_mul(30),
            HOUR.saturating_mul(2),
            HOUR.saturating_mul(5),
            HOUR.saturating_mul(10),
            HOUR.saturating_mul(14),
            HOUR.saturating_mul(20),
            HOUR.saturating_mul(24),
        ]),
        jitter: 0.1,
        timeout: SECOND.saturating_mul(30),
        success: Success::Any2xx,
        retry_after: RetryAfter::Most(DAY),
        slow_down: Some(SlowDown { statuses: &[429, 502, 504], min_delay: MINUTE }),
        abort: None,
        disable: Some(DisableRule {
            condition: DisableCondition::FailingFor(DAY.saturating_mul(5)),
            action: DisableAction::Pause,
        }),
        source: "Delays, 2xx, jitter, Retry-After, slowing down at 429, 502 and 504, disabling: the specification 1.0.0, \
                 whose timeout is 15 to 30 s. The size of the jitter, the bound of Retry-After, the minute of rest and \
                 the five days were chosen.",
    },
    RetryPolicy {
        name: "svix",
        delays: Cow::Borrowed(&[
            SECOND.saturating_mul(5),
            MINUTE.saturating_mul(5),
            MINUTE.saturating_mul(30),
            HOUR.saturating_mul(2),
            HOUR.saturating_mul(5),
            HOUR.saturating_mul(10),
            HOUR.saturating_mul(10),
        ]),
        jitter: 0.2,
        timeout: SECOND.saturating_mul(15),
        success: Success::Any2xx,
        retry_after: RetryAfter::Times(2.0),
        slow_down: Some(SlowDown { statuses: &[429], min_delay: MINUTE }),
        abort: Some(("webhook-delivery", "abort-message")),
        disable: Some(DisableRule {
            condition: DisableCondition::FailingFor(DAY.saturating_mul(5)),
            action: DisableAction::Pause,
        }),
        source: "Delays, timeout, the header that ends a message and the five days: docs.svix.com/retries. Jitter, rest and \
                 the bound of Retry-After: the defaults and the worker of svix-server.",
    },
    RetryPolicy {
        name: "shopify",
        delays: Cow::Borrowed(&[
            SECOND.saturating_mul(56),
            SECOND.saturating_mul(113),
            SECOND.saturating_mul(226),
            SECOND.saturating_mul(452),
            SECOND.saturating_mul(904),
            SECOND.saturating_mul(1807),
            SECOND.saturating_mul(3614),
            SECOND.saturating_mul(7228),
        ]),
        jitter: 0.1,
        timeout: SECOND.saturating_mul(5),
        success: Success::Any2xx,
        retry_after: RetryAfter::Ignored,
        slow_down: None,
        abort: None,
        disable: Some(DisableRule {
            condition: DisableCondition::GivenUp,
            action: DisableAction::Drop,
        }),
        source: "Eight retries over four hours, growing exponentially: shopify.dev, changelog of September 2024. 5 s, and \
                 the end of a subscription after eight failures in a row: second hand. The single delays and the jitter \
                 are not published. The failures are taken to be those of one message: counted over all, a busy \
                 subscription would be lost within a second.",
    },
    RetryPolicy {
        name: "github",
        delays: Cow::Borrowed(&[]),
        jitter: 0.0,
        timeout: SECOND.saturating_mul(10),
        success: Success::Any2xx,
        retry_after: RetryAfter::Ignored,
        slow_down: None,
        abort: None,
        disable: None,
        source: "No retries but by hand, and 10 s for an answer: docs.github.com, handling failed webhook deliveries.",
    },
    RetryPolicy {
        name: "stripe",
        delays: Cow::Borrowed(&[
            MINUTE,
            MINUTE.saturating_mul(2),
            MINUTE.saturating_mul(4),
            MINUTE.saturating_mul(8),
            MINUTE.saturating_mul(16),
            MINUTE.saturating_mul(32),
            MINUTE.saturating_mul(64),
            MINUTE.saturating_mul(128),
            MINUTE.saturating_mul(256),
            MINUTE.saturating_mul(512),
            HOUR.saturating_mul(12),
            HOUR.saturating_mul(12),
            HOUR.saturating_mul(12),
            HOUR.saturating_mul(12),
            MINUTE.saturating_mul(417),
        ]),
        jitter: 0.1,
        timeout: SECOND.saturating_mul(30),
        success: Success::Any2xx,
        retry_after: RetryAfter::Ignored,
        slow_down: None,
        abort: None,
        disable: None,
        source: "Three days of exponential back-off in live mode: docs.stripe.com, undelivered events. The single delays, \
                 the jitter and the timeout are not published and were chosen; that an endpoint is switched off is not in \
                 that source, so it is not.",
    },
];
