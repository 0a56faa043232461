//! Retry policies of known senders (personas): delays, when to give up, and when to disable a target. One table.

mod table;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

pub use table::RETRY_POLICIES;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The largest number of delays in a custom list, and the longest delay.
const LONGEST_LIST: usize = 100;
const LONGEST_DELAY: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The retry policy of one sender.
///
/// In text form it is the name of a row, or a list of delays such as `10s, 5m, 1h` for a custom one.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// The name of the row; `custom` for a custom list.
    pub name: &'static str,
    /// The delays after the first, second, … failed attempt. After the last entry the message is given up.
    pub delays: Cow<'static, [Duration]>,
    /// The random variation of a delay, up or down, as a part of it from 0 to 1.
    pub jitter: f64,
    /// The request timeout.
    pub timeout: Duration,
    /// The statuses that count as success.
    pub success: Success,
    /// The treatment of a target's `Retry-After`. It never shortens a delay, or a target could use up its attempts at
    /// once.
    pub retry_after: RetryAfter,
    /// The slow-down after responses that ask for it, and after a timeout.
    pub slow_down: Option<SlowDown>,
    /// The header and value by which a target declines a message for good.
    pub abort: Option<(&'static str, &'static str)>,
    /// The rule by which a failing target is disabled. A 410 ends its subscription at once, even without a rule.
    pub disable: Option<DisableRule>,
    /// The source of the figures, and those that are not published and were chosen here.
    pub source: &'static str,
}

/// The statuses that count as success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Success {
    /// 200 alone.
    Only200,
    /// 200 to 299.
    Any2xx,
}

/// The treatment of a target's `Retry-After`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RetryAfter {
    /// Ignored.
    Ignored,
    /// Followed up to this many times the planned delay.
    Times(f64),
    /// Followed up to this long.
    Most(Duration),
}

/// The slow-down of a target that asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowDown {
    /// The statuses that ask for it; a timeout always does.
    pub statuses: &'static [u16],
    /// The shortest delay.
    pub min_delay: Duration,
}

/// The rule by which a failing target is disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DisableRule {
    /// The condition.
    pub condition: DisableCondition,
    /// The action.
    pub action: DisableAction,
}

/// The condition under which a target is disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisableCondition {
    /// It has failed without a success for this long.
    FailingFor(Duration),
    /// A message was given up, and at least as many attempts as a message has failed in a row.
    GivenUp,
}

/// The action that disables the subscription of a failing target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisableAction {
    /// Pause it: its events are kept until it is resumed.
    Pause,
    /// Drop it: the sender forgets it, and later events with it.
    Drop,
}

/// The result of an attempt, as the retry policy sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptResult {
    /// A response with a status.
    Status {
        /// The status.
        status: u16,
        /// The delay in its `Retry-After`.
        retry_after: Option<Duration>,
        /// True if it has the header that declines the message for good.
        aborts: bool,
    },
    /// No response before the timeout.
    TimedOut,
    /// The target could not be reached, or the connection broke.
    ConnectionFailed,
}

impl AttemptResult {
    /// A response with this status and no relevant header.
    pub const fn status(status: u16) -> Self {
        AttemptResult::Status { status, retry_after: None, aborts: false }
    }
}

/// The decision about a message after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryDecision {
    /// Delivered.
    Done,
    /// Retry after this delay.
    Retry(Duration),
    /// Give up: the attempts are used up, or the target has declined the message.
    GiveUp,
    /// Give up, and end the subscription: the target has answered 410.
    Gone,
}

/// The failures of a target since its last success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Streak {
    /// The number of attempts that have failed in a row.
    pub failures: u64,
    /// The time since the first of them.
    pub lasted: Duration,
}

impl RetryPolicy {
    /// The row of this name, in any case.
    pub fn named(name: &str) -> Option<&'static RetryPolicy> {
        RETRY_POLICIES.iter().find(|row| row.name.eq_ignore_ascii_case(name))
    }

    /// A policy with these delays and moderate defaults.
    pub fn custom(delays: Vec<Duration>) -> Self {
        RetryPolicy {
            name: "custom",
            delays: Cow::Owned(delays),
            jitter: 0.1,
            timeout: SECOND.saturating_mul(30),
            success: Success::Any2xx,
            retry_after: RetryAfter::Most(DAY),
            slow_down: None,
            abort: None,
            disable: Some(DisableRule {
                condition: DisableCondition::FailingFor(DAY.saturating_mul(5)),
                action: DisableAction::Pause,
            }),
            source: "The delays are yours; the other figures were chosen.",
        }
    }

    /// The largest number of attempts for a message.
    pub fn attempts(&self) -> u32 {
        u32::try_from(self.delays.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// The longest time from the first to the last attempt of a message, without jitter.
    pub fn window(&self) -> Duration {
        self.delays.iter().fold(Duration::ZERO, |sum, delay| sum.saturating_add(*delay))
    }

    /// Decides about a message after an attempt with this result; `attempts` is the number of its attempts, this one
    /// included. `random` is a number from 0 to 1.
    pub fn next(&self, attempts: u32, answer: AttemptResult, random: f64) -> RetryDecision {
        match answer {
            AttemptResult::Status { status, .. } if self.success.has(status) => RetryDecision::Done,
            AttemptResult::Status { status: 410, .. } => RetryDecision::Gone,
            AttemptResult::Status { aborts: true, .. } => RetryDecision::GiveUp,
            _ => match self.delays.get(delay_index(attempts)) {
                None => RetryDecision::GiveUp,
                Some(planned) => RetryDecision::Retry(self.delay(*planned, answer, random)),
            },
        }
    }

    /// The action on a subscription after a failed attempt; `gave_up` is true if that was the last of its message.
    pub fn disable_action(&self, streak: Streak, gave_up: bool) -> Option<DisableAction> {
        let rule = self.disable?;
        let enough = match rule.condition {
            DisableCondition::FailingFor(time) => streak.lasted >= time,
            DisableCondition::GivenUp => gave_up && streak.failures >= u64::from(self.attempts()),
        };
        enough.then_some(rule.action)
    }

    fn delay(&self, planned: Duration, answer: AttemptResult, random: f64) -> Duration {
        let varied = planned.mul_f64(1.0 + self.jitter * (2.0 * random.clamp(0.0, 1.0) - 1.0));
        let rested = varied.max(self.min_delay(answer));
        match answer {
            AttemptResult::Status { retry_after: Some(asked), .. } => {
                rested.max(asked.min(self.retry_after.limit(planned)))
            }
            _ => rested,
        }
    }

    fn min_delay(&self, answer: AttemptResult) -> Duration {
        let Some(slow_down) = self.slow_down else { return Duration::ZERO };
        match answer {
            AttemptResult::TimedOut => slow_down.min_delay,
            AttemptResult::Status { status, .. } if slow_down.statuses.contains(&status) => {
                slow_down.min_delay
            }
            _ => Duration::ZERO,
        }
    }
}

impl Success {
    /// True if the status counts as success.
    pub const fn has(self, status: u16) -> bool {
        match self {
            Success::Only200 => status == 200,
            Success::Any2xx => status >= 200 && status < 300,
        }
    }
}

impl RetryAfter {
    fn limit(self, planned: Duration) -> Duration {
        match self {
            RetryAfter::Ignored => Duration::ZERO,
            RetryAfter::Times(factor) => planned.mul_f64(factor),
            RetryAfter::Most(most) => most,
        }
    }
}

impl fmt::Display for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if RetryPolicy::named(self.name).is_some() {
            return f.write_str(self.name);
        }
        for (index, delay) in self.delays.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{}", humantime::format_duration(*delay))?;
        }
        Ok(())
    }
}

/// The error of a text that is no retry policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is neither a persona ({names}) nor a list of delays such as \"10s, 5m, 1h\", at most {LONGEST_LIST} of them and none \
     longer than 30 days",
    names = RETRY_POLICIES.iter().map(|row| row.name).collect::<Vec<_>>().join(", ")
)]
pub struct UnknownRetryPolicy(String);

impl FromStr for RetryPolicy {
    type Err = UnknownRetryPolicy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(row) = RetryPolicy::named(text.trim()) {
            return Ok(row.clone());
        }
        let delays: Result<Vec<_>, _> =
            text.split(',').map(|delay| humantime::parse_duration(delay.trim())).collect();
        match delays {
            Ok(delays)
                if delays.len() <= LONGEST_LIST && delays.iter().all(|d| *d <= LONGEST_DELAY) =>
            {
                Ok(RetryPolicy::custom(delays))
            }
            _ => Err(UnknownRetryPolicy(text.to_owned())),
        }
    }
}

/// The index of the delay after the attempt with this number, counted from 1.
fn delay_index(attempts: u32) -> usize {
    usize::try_from(attempts).unwrap_or(usize::MAX).saturating_sub(1)
}
