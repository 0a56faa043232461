//! Retry personas: when known senders try again, when they give up, and when they leave a target alone. One table.

mod table;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

pub use table::PERSONAS;

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
