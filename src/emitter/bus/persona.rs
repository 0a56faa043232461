//! Retry personas: when known senders try again, when they give up, and when they leave a target alone. One table.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The most delays a custom list may have, and the longest of them.
const LONGEST_LIST: usize = 100;
const LONGEST_DELAY: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How one sender treats a target that fails.
///
/// As text it is a row's name, or a list of delays such as `10s, 5m, 1h` for a custom one.
#[derive(Debug, Clone, PartialEq)]
pub struct Persona {
    /// The row's name; `custom` for a list of one's own.
    pub name: &'static str,
    /// The wait after the first, second, … failed attempt. After the last entry the message is given up.
    pub delays: Cow<'static, [Duration]>,
    /// The part of a delay, 0 to 1, by which it is varied up or down at random.
    pub jitter: f64,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Which statuses mean that the message has arrived.
    pub success: Success,
    /// How far a target's `Retry-After` is followed. It never shortens a delay, or a target could use up its attempts at once.
    pub retry_after: RetryAfter,
    /// The least wait after answers that ask for rest, and after none in time.
    pub rest: Option<Rest>,
    /// The header and value by which a target declines a message for good.
    pub abort: Option<(&'static str, &'static str)>,
    /// What becomes of a target that goes on failing. A 410 ends its subscription at once, whatever stands here.
    pub quits: Option<Quits>,
    /// Where the figures come from, and which of them nobody has published and were chosen here.
    pub source: &'static str,
}

/// Which statuses mean that a message has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Success {
    /// 200 alone.
    Only200,
    /// 200 to 299.
    Any2xx,
}

/// How far a target's `Retry-After` is followed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RetryAfter {
    /// Not at all.
    Ignored,
    /// Up to this many times the delay that was planned.
    Times(f64),
    /// Up to this long.
    Most(Duration),
}

/// The least wait after answers that ask for rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest {
    /// The statuses that ask for it; no answer in time always does.
    pub statuses: &'static [u16],
    /// The least wait.
    pub least: Duration,
}

/// When a failing target is left alone, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quits {
    /// When.
    pub when: Patience,
    /// How.
    pub then: End,
}

/// When a sender has had enough of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// It has done nothing but fail for this long.
    For(Duration),
    /// A message was given up, and at least as many attempts as a message has failed in a row.
    UntilGivenUp,
}

/// What becomes of a subscription whose target has failed for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is paused: its events are kept until it is resumed.
    Paused,
    /// It is dropped: the sender forgets it, and later events with it.
    Dropped,
}

/// The senders that can be stood in for.
pub const PERSONAS: &[Persona] = &[
    Persona {
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
        rest: None,
        abort: None,
        quits: None,
        source: "60 s without a 200 is a failure, which is tried again later, and a delivery may be a day late or more: the \
                 vendor's best practices. Nothing else is documented: the delays, the end after nine attempts and the \
                 jitter were chosen so that a message stays on its way for two days.",
    },
    Persona {
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
        rest: Some(Rest { statuses: &[429, 502, 504], least: MINUTE }),
        abort: None,
        quits: Some(Quits { when: Patience::For(DAY.saturating_mul(5)), then: End::Paused }),
        source: "Delays, 2xx, jitter, Retry-After, slowing down at 429, 502 and 504, disabling: the specification 1.0.0, \
                 whose timeout is 15 to 30 s. The size of the jitter, the bound of Retry-After, the minute of rest and \
                 the five days were chosen.",
    },
    Persona {
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
        rest: Some(Rest { statuses: &[429], least: MINUTE }),
        abort: Some(("webhook-delivery", "abort-message")),
        quits: Some(Quits { when: Patience::For(DAY.saturating_mul(5)), then: End::Paused }),
        source: "Delays, timeout, the header that ends a message and the five days: docs.svix.com/retries. Jitter, rest and \
                 the bound of Retry-After: the defaults and the worker of svix-server.",
    },
    Persona {
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
        rest: None,
        abort: None,
        quits: Some(Quits { when: Patience::UntilGivenUp, then: End::Dropped }),
        source: "Eight retries over four hours, growing exponentially: shopify.dev, changelog of September 2024. 5 s, and \
                 the end of a subscription after eight failures in a row: second hand. The single delays and the jitter \
                 are not published. The failures are taken to be those of one message: counted over all, a busy \
                 subscription would be lost within a second.",
    },
    Persona {
        name: "github",
        delays: Cow::Borrowed(&[]),
        jitter: 0.0,
        timeout: SECOND.saturating_mul(10),
        success: Success::Any2xx,
        retry_after: RetryAfter::Ignored,
        rest: None,
        abort: None,
        quits: None,
        source: "No retries but by hand, and 10 s for an answer: docs.github.com, handling failed webhook deliveries.",
    },
    Persona {
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
        rest: None,
        abort: None,
        quits: None,
        source: "Three days of exponential back-off in live mode: docs.stripe.com, undelivered events. The single delays, \
                 the jitter and the timeout are not published and were chosen; that an endpoint is switched off is not in \
                 that source, so it is not.",
    },
];

/// What an attempt came to, as far as the schedule cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A status came in time.
    Status {
        /// The status.
        status: u16,
        /// The time in its `Retry-After`.
        retry_after: Option<Duration>,
        /// Whether it carried the persona's header that declines the message for good.
        aborts: bool,
    },
    /// Nothing came in time.
    Late,
    /// The target could not be reached, or the connection broke.
    Broken,
}

impl Answer {
    /// An answer with a status and nothing beside it.
    pub const fn status(status: u16) -> Self {
        Answer::Status { status, retry_after: None, aborts: false }
    }
}

/// What becomes of a message after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It has arrived.
    Done,
    /// It is tried again after this long.
    Again(Duration),
    /// It is given up: the attempts are used up, or the target has declined it.
    GiveUp,
    /// It is given up, and the target wants no more of any kind: it has answered 410.
    Gone,
}

/// The failures of a target since anything last arrived there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Streak {
    /// How many attempts have failed in a row.
    pub failures: u64,
    /// How long ago the first of them was.
    pub lasted: Duration,
}

impl Persona {
    /// The row of this name, in any case.
    pub fn named(name: &str) -> Option<&'static Persona> {
        PERSONAS.iter().find(|row| row.name.eq_ignore_ascii_case(name))
    }

    /// A sender with these delays that treats its targets well otherwise.
    pub fn custom(delays: Vec<Duration>) -> Self {
        Persona {
            name: "custom",
            delays: Cow::Owned(delays),
            jitter: 0.1,
            timeout: SECOND.saturating_mul(30),
            success: Success::Any2xx,
            retry_after: RetryAfter::Most(DAY),
            rest: None,
            abort: None,
            quits: Some(Quits { when: Patience::For(DAY.saturating_mul(5)), then: End::Paused }),
            source: "The delays are yours; the rest was chosen.",
        }
    }

    /// How often a message is tried at most.
    pub fn attempts(&self) -> u32 {
        u32::try_from(self.delays.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// How long a message is on its way at most, from its first attempt to its last, if nothing varies.
    pub fn window(&self) -> Duration {
        self.delays.iter().fold(Duration::ZERO, |sum, delay| sum.saturating_add(*delay))
    }

    /// What becomes of a message whose attempts, `attempts` of them including this, have ended with this answer. `random`
    /// is a number from 0 to 1.
    pub fn next(&self, attempts: u32, answer: Answer, random: f64) -> Step {
        match answer {
            Answer::Status { status, .. } if self.success.has(status) => Step::Done,
            Answer::Status { status: 410, .. } => Step::Gone,
            Answer::Status { aborts: true, .. } => Step::GiveUp,
            _ => match self.delays.get(place(attempts)) {
                None => Step::GiveUp,
                Some(planned) => Step::Again(self.delay(*planned, answer, random)),
            },
        }
    }

    /// What becomes of a subscription after a failed attempt, which ended a message or did not.
    pub fn quits(&self, streak: Streak, gave_up: bool) -> Option<End> {
        let quits = self.quits?;
        let enough = match quits.when {
            Patience::For(time) => streak.lasted >= time,
            Patience::UntilGivenUp => gave_up && streak.failures >= u64::from(self.attempts()),
        };
        enough.then_some(quits.then)
    }

    fn delay(&self, planned: Duration, answer: Answer, random: f64) -> Duration {
        let varied = planned.mul_f64(1.0 + self.jitter * (2.0 * random.clamp(0.0, 1.0) - 1.0));
        let rested = varied.max(self.least(answer));
        match answer {
            Answer::Status { retry_after: Some(asked), .. } => {
                rested.max(asked.min(self.retry_after.most(planned)))
            }
            _ => rested,
        }
    }

    fn least(&self, answer: Answer) -> Duration {
        let Some(rest) = self.rest else { return Duration::ZERO };
        match answer {
            Answer::Late => rest.least,
            Answer::Status { status, .. } if rest.statuses.contains(&status) => rest.least,
            _ => Duration::ZERO,
        }
    }
}

impl Success {
    /// Whether the status is one of them.
    pub const fn has(self, status: u16) -> bool {
        match self {
            Success::Only200 => status == 200,
            Success::Any2xx => status >= 200 && status < 300,
        }
    }
}

impl RetryAfter {
    fn most(self, planned: Duration) -> Duration {
        match self {
            RetryAfter::Ignored => Duration::ZERO,
            RetryAfter::Times(factor) => planned.mul_f64(factor),
            RetryAfter::Most(most) => most,
        }
    }
}

impl fmt::Display for Persona {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if Persona::named(self.name).is_some() {
            return f.write_str(self.name);
        }
        for (place, delay) in self.delays.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{}", humantime::format_duration(*delay))?;
        }
        Ok(())
    }
}

/// Why a text is no persona.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is neither a persona ({names}) nor a list of delays such as \"10s, 5m, 1h\", at most {LONGEST_LIST} of them and none \
     longer than 30 days",
    names = PERSONAS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ")
)]
pub struct UnknownPersona(String);

impl FromStr for Persona {
    type Err = UnknownPersona;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(row) = Persona::named(text.trim()) {
            return Ok(row.clone());
        }
        let delays: Result<Vec<_>, _> =
            text.split(',').map(|delay| humantime::parse_duration(delay.trim())).collect();
        match delays {
            Ok(delays)
                if delays.len() <= LONGEST_LIST && delays.iter().all(|d| *d <= LONGEST_DELAY) =>
            {
                Ok(Persona::custom(delays))
            }
            _ => Err(UnknownPersona(text.to_owned())),
        }
    }
}

/// The place of the delay that follows the attempt with this number, counted from 1.
fn place(attempts: u32) -> usize {
    usize::try_from(attempts).unwrap_or(usize::MAX).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(name: &str) -> &'static Persona {
        Persona::named(name).unwrap()
    }

    fn answers() -> impl Strategy<Value = Answer> {
        let status = (100..600u16, proptest::option::of(0..1_000_000u64), any::<bool>()).prop_map(
            |(status, seconds, aborts)| Answer::Status {
                status,
                retry_after: seconds.map(Duration::from_secs),
                aborts,
            },
        );
        prop_oneof![Just(Answer::Late), Just(Answer::Broken), status]
    }

    #[test]
    fn the_table_says_what_the_senders_have_published() {
        let figures: Vec<_> = PERSONAS
            .iter()
            .map(|row| (row.name, row.attempts(), row.window().as_secs(), row.timeout.as_secs()))
            .collect();
        assert_eq!(
            figures,
            [
                ("directscale", 9, 46 * 3600 + 21 * 60, 60),
                ("standard-webhooks", 10, 75 * 3600 + 35 * 60 + 5, 30),
                ("svix", 8, 27 * 3600 + 35 * 60 + 5, 15),
                ("shopify", 9, 4 * 3600, 5),
                ("github", 1, 0, 10),
                ("stripe", 16, 72 * 3600, 30),
            ]
        );
    }

    #[test]
    fn every_row_has_a_source_and_delays_that_only_grow_until_the_last() {
        for row in PERSONAS {
            assert!(!row.source.is_empty(), "{}", row.name);
            assert!((0.0..1.0).contains(&row.jitter), "{}", row.name);
            let but_last = row.delays.split_last().map_or(&[][..], |(_, rest)| rest);
            assert!(but_last.is_sorted(), "{}", row.name);
            assert_eq!(row.name.parse::<Persona>().as_ref(), Ok(row));
        }
    }

    #[test]
    fn directscale_counts_200_alone_and_the_others_any_2xx() {
        for persona in PERSONAS {
            assert_eq!(persona.next(1, Answer::status(200), 0.5), Step::Done);
            let accepted = persona.next(1, Answer::status(202), 0.5);
            assert_eq!(accepted == Step::Done, persona.name != "directscale", "{}", persona.name);
            assert_ne!(persona.next(1, Answer::status(302), 0.5), Step::Done);
        }
    }

    #[test]
    fn a_target_that_is_gone_is_gone_for_every_sender() {
        for persona in PERSONAS {
            assert_eq!(persona.next(1, Answer::status(410), 0.5), Step::Gone);
        }
    }

    #[test]
    fn the_attempt_after_the_last_delay_is_the_last() {
        assert_eq!(row("github").next(1, Answer::Broken, 0.5), Step::GiveUp);
        let svix = row("svix");
        assert_eq!(svix.next(7, Answer::Broken, 0.5), Step::Again(HOUR * 10));
        assert_eq!(svix.next(8, Answer::Broken, 0.5), Step::GiveUp);
        assert_eq!(svix.next(u32::MAX, Answer::Broken, 0.5), Step::GiveUp);
    }

    #[test]
    fn retry_after_is_followed_within_bounds_and_never_shortens_a_delay() {
        let asks = |seconds| Answer::Status {
            status: 503,
            retry_after: Some(Duration::from_secs(seconds)),
            aborts: false,
        };
        let svix = |seconds| row("svix").next(2, asks(seconds), 0.5);
        assert_eq!(svix(1), Step::Again(MINUTE * 5));
        assert_eq!(svix(400), Step::Again(Duration::from_secs(400)));
        assert_eq!(svix(100_000), Step::Again(MINUTE * 10));
        assert_eq!(row("shopify").next(1, asks(3600), 0.5), Step::Again(SECOND * 56));
        assert_eq!(row("standard-webhooks").next(1, asks(u64::MAX), 0.5), Step::Again(DAY));
    }

    #[test]
    fn a_target_that_asks_for_rest_gets_a_minute() {
        for name in ["svix", "standard-webhooks"] {
            assert_eq!(row(name).next(1, Answer::status(429), 0.5), Step::Again(MINUTE), "{name}");
            assert_eq!(row(name).next(1, Answer::Late, 0.5), Step::Again(MINUTE), "{name}");
            assert_eq!(row(name).next(1, Answer::Broken, 0.5), Step::Again(SECOND * 5), "{name}");
        }
    }

    #[test]
    fn a_declined_message_is_not_tried_again() {
        let declined = Answer::Status { status: 500, retry_after: None, aborts: true };
        assert_eq!(row("svix").next(1, declined, 0.5), Step::GiveUp);
    }

    #[test]
    fn shopify_drops_a_subscription_when_a_message_is_given_up_and_nothing_has_arrived() {
        let shopify = row("shopify");
        let streak = |failures| Streak { failures, lasted: HOUR * 4 };
        assert_eq!(shopify.quits(streak(9), true), Some(End::Dropped));
        assert_eq!(shopify.quits(streak(8), true), None);
        assert_eq!(shopify.quits(streak(9000), false), None);
    }

    #[test]
    fn svix_pauses_after_five_days_of_nothing_but_failures() {
        let lasted = |lasted| row("svix").quits(Streak { failures: 2, lasted }, false);
        assert_eq!(lasted(DAY * 5 - SECOND), None);
        assert_eq!(lasted(DAY * 5), Some(End::Paused));
        assert_eq!(row("github").quits(Streak { failures: 9, lasted: DAY * 365 }, true), None);
    }

    #[test]
    fn a_list_of_delays_is_a_persona_of_its_own() {
        let custom: Persona = " 10s,5m , 1h 30m".parse().unwrap();
        assert_eq!(*custom.delays, [SECOND * 10, MINUTE * 5, MINUTE * 90]);
        assert_eq!(custom.to_string(), "10s, 5m, 1h 30m");
        assert_eq!(custom.to_string().parse(), Ok(custom));
        let many = vec!["1s"; 101].join(",");
        for text in ["", "svixx", "10", "1s,,2s", "31days", many.as_str()] {
            let error = text.parse::<Persona>().unwrap_err().to_string();
            assert!(error.contains("directscale, standard-webhooks"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn a_delay_is_never_shorter_than_its_jitter_allows_nor_longer_than_its_bounds(
            place in 0..PERSONAS.len(), attempts in 1..20u32, answer in answers(), random in 0.0..=1.0f64
        ) {
            let persona = &PERSONAS[place];
            if let Step::Again(delay) = persona.next(attempts, answer, random) {
                let planned = persona.delays[attempts as usize - 1];
                let most = persona.retry_after.most(planned).max(planned.mul_f64(1.0 + persona.jitter));
                let most = most.max(persona.rest.map_or(Duration::ZERO, |rest| rest.least));
                prop_assert!(delay >= planned.mul_f64(1.0 - persona.jitter));
                prop_assert!(delay <= most);
            }
        }

        #[test]
        fn every_message_ends(place in 0..PERSONAS.len(), answer in answers(), random in 0.0..=1.0f64) {
            let persona = &PERSONAS[place];
            let step = persona.next(persona.attempts(), answer, random);
            prop_assert!(!matches!(step, Step::Again(_)), "{step:?}");
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,40}") {
            let _ = text.parse::<Persona>();
        }
    }
}
