//! Outage simulation: the cost of an outage of the receiver, computed from a retry policy without a network.

use std::time::Duration;

use super::retry_policy::{AttemptResult, DisableAction, RetryDecision, RetryPolicy, Streak};

/// The largest number of simulated events.
pub const MAX_EVENTS: u64 = 10_000_000;

const MINUTE: u64 = 60;

/// An outage: the receiver works, fails for a while, and works again.
#[derive(Debug, Clone, PartialEq)]
pub struct Outage {
    /// The duration of the outage.
    pub down: Duration,
    /// Events per second, before, during and after.
    pub rate: f64,
    /// The result of every attempt during the outage.
    pub answer: AttemptResult,
    /// The seed of the jitter: the same seed gives the same figures.
    pub seed: u64,
}

/// The cost of an outage. Every event of it arrives late, is given up, is lost or is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OutageCost {
    /// Events that were published during the outage.
    pub events: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Events that arrive after the outage.
    pub late: u64,
    /// Events that the sender gives up.
    pub given_up: u64,
    /// Events that are lost with the subscription.
    pub lost: u64,
    /// Events that a paused subscription keeps until it is resumed.
    pub kept: u64,
    /// The time at which the first event is given up, from the start of the outage.
    pub first_given_up: Option<Duration>,
    /// The end of the subscription and its time, from the start of the outage.
    pub end: Option<(SubscriptionEnd, Duration)>,
    /// The longest time from an event's publication to its arrival.
    pub longest: Option<Duration>,
    /// The time at which the last late event arrives, from the end of the outage.
    pub caught_up: Option<Duration>,
    /// The minute after the outage with the most requests.
    pub peak: Option<Peak>,
}

/// The effect of an outage on a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SubscriptionEnd {
    /// Paused; it keeps its events.
    Paused,
    /// Dropped, and later events with it.
    Dropped,
    /// Ended by a 410 of the receiver.
    Gone,
}

/// The minute with the most requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peak {
    /// The number of requests: late events and new ones.
    pub requests: u64,
    /// The number of requests without an outage.
    pub usual: u64,
    /// The beginning of the minute, from the end of the outage.
    pub after: Duration,
}

/// The reason why an outage cannot be simulated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RehearseError {
    /// There are too many events.
    #[error(
        "that is {0} events, and at most {MAX_EVENTS} are simulated; take a lower rate or a shorter outage"
    )]
    TooMany(u64),
    /// The rate is invalid.
    #[error("a rate is a number of events per second above 0, e.g. 20 or 0.5")]
    Rate,
    /// The sender counts the receiver's answer as success.
    #[error("{0} takes {1} as success: a receiver with this answer is not down")]
    Success(&'static str, u16),
}

/// Simulates the outage with this sender.
///
/// # Errors
/// If the outage is none, or too large to be simulated event by event.
pub fn rehearse(persona: &RetryPolicy, outage: &Outage) -> Result<OutageCost, RehearseError> {
    let events = check(persona, outage)?;
    let courses = || (0..events).map(|number| course(persona, outage, number));
    let end = courses().filter_map(|course| course.end(persona, outage)).min_by_key(|(_, at)| *at);
    let mut tally = Tally {
        end,
        cost: OutageCost { events, end, ..OutageCost::default() },
        minutes: Vec::new(),
    };
    for course in courses() {
        tally.count(&course, outage);
    }
    Ok(tally.finish(outage))
}

fn check(persona: &RetryPolicy, outage: &Outage) -> Result<u64, RehearseError> {
    if !(outage.rate > 0.0 && outage.rate.is_finite()) {
        return Err(RehearseError::Rate);
    }
    match outage.answer {
        AttemptResult::Status { status, .. } if persona.success.has(status) => {
            return Err(RehearseError::Success(persona.name, status));
        }
        _ => {}
    }
    let events = (outage.down.as_secs_f64() * outage.rate).ceil() as u64;
    if events > MAX_EVENTS { Err(RehearseError::TooMany(events)) } else { Ok(events) }
}

/// The course of one event if its subscription is not ended.
struct Course {
    published: Duration,
    failures: Vec<Duration>,
    ending: Ending,
}

enum Ending {
    Arrived(Duration),
    GivenUp,
    Gone,
}

fn course(persona: &RetryPolicy, outage: &Outage, number: u64) -> Course {
    // Each event has its own numbers, so that its course depends on no other's.
    let mut random =
        fastrand::Rng::with_seed(outage.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let published = Duration::from_secs_f64(number as f64 / outage.rate);
    let (mut at, mut failures) = (published, Vec::new());
    for attempt in 1.. {
        if at >= outage.down {
            break;
        }
        at += takes(persona, outage.answer);
        failures.push(at);
        match persona.next(attempt, outage.answer, random.f64()) {
            RetryDecision::Retry(delay) => at += delay,
            RetryDecision::GiveUp => {
                return Course { published, failures, ending: Ending::GivenUp };
            }
            RetryDecision::Gone => return Course { published, failures, ending: Ending::Gone },
            RetryDecision::Done => break,
        }
    }
    Course { published, failures, ending: Ending::Arrived(at) }
}

fn takes(persona: &RetryPolicy, answer: AttemptResult) -> Duration {
    if answer == AttemptResult::TimedOut { persona.timeout } else { Duration::ZERO }
}

impl Course {
    /// The time and kind of the subscription's end that this event's failures cause.
    fn end(&self, persona: &RetryPolicy, outage: &Outage) -> Option<(SubscriptionEnd, Duration)> {
        let last = self.failures.len();
        let first = takes(persona, outage.answer);
        self.failures.iter().zip(1..).find_map(|(at, count)| {
            let is_last = usize::try_from(count).is_ok_and(|count| count == last);
            if is_last && matches!(self.ending, Ending::Gone) {
                return Some((SubscriptionEnd::Gone, *at));
            }
            // The other events' failures make the streak longer still, but no rule asks for more than one event's.
            let streak = Streak { failures: count, lasted: at.saturating_sub(first) };
            let gave_up = is_last && matches!(self.ending, Ending::GivenUp);
            persona.disable_action(streak, gave_up).map(|end| (end.into(), *at))
        })
    }
}

impl From<DisableAction> for SubscriptionEnd {
    fn from(action: DisableAction) -> Self {
        match action {
            DisableAction::Pause => SubscriptionEnd::Paused,
            DisableAction::Drop => SubscriptionEnd::Dropped,
        }
    }
}

struct Tally {
    end: Option<(SubscriptionEnd, Duration)>,
    cost: OutageCost,
    /// Late events in each minute after the outage.
    minutes: Vec<u64>,
}

impl Tally {
    fn count(&mut self, course: &Course, outage: &Outage) {
        let is_before_end = |at: Duration| self.end.is_none_or(|(_, end)| at <= end);
        self.cost.failures +=
            course.failures.iter().filter(|at| is_before_end(**at)).count() as u64;
        let last = course.failures.last().copied().unwrap_or_default();
        match course.ending {
            Ending::GivenUp if is_before_end(last) => self.give_up(last),
            Ending::Arrived(at) if is_before_end(at) => self.arrive(at, course.published, outage),
            _ if matches!(self.end, Some((SubscriptionEnd::Paused, _))) => self.cost.kept += 1,
            _ => self.cost.lost += 1,
        }
    }

    fn give_up(&mut self, at: Duration) {
        self.cost.given_up += 1;
        self.cost.first_given_up = Some(self.cost.first_given_up.map_or(at, |first| first.min(at)));
    }

    fn arrive(&mut self, at: Duration, published: Duration, outage: &Outage) {
        let after = at.saturating_sub(outage.down);
        self.cost.late += 1;
        self.cost.caught_up = self.cost.caught_up.max(Some(after));
        self.cost.longest = self.cost.longest.max(Some(at.saturating_sub(published)));
        let minute = usize::try_from(after.as_secs() / MINUTE).unwrap_or(usize::MAX);
        if minute >= self.minutes.len() {
            self.minutes.resize(minute + 1, 0);
        }
        self.minutes[minute] += 1;
    }

    fn finish(mut self, outage: &Outage) -> OutageCost {
        let usual = (outage.rate * MINUTE as f64).round() as u64;
        // Of equal minutes the first.
        let most = self
            .minutes
            .iter()
            .zip(0..)
            .max_by_key(|(late, minute)| (**late, std::cmp::Reverse(*minute)));
        self.cost.peak = most.map(|(late, minute): (&u64, u64)| Peak {
            requests: late + usual,
            usual,
            after: Duration::from_secs(minute * MINUTE),
        });
        self.cost
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::retry_policy::RETRY_POLICIES;
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn outage(down: Duration) -> Outage {
        Outage { down, rate: 1.0, answer: AttemptResult::ConnectionFailed, seed: 1 }
    }

    fn cost(persona: &str, outage: &Outage) -> OutageCost {
        rehearse(&persona.parse().unwrap(), outage).unwrap()
    }

    #[test]
    fn five_hours_cost_a_shopify_subscription() {
        let cost = cost("shopify", &outage(HOUR * 5));
        let (fate, at) = cost.end.unwrap();
        assert_eq!(fate, SubscriptionEnd::Dropped);
        assert!((HOUR * 4).abs_diff(at) < HOUR / 2, "{at:?}");
        assert_eq!(cost.events, 5 * 3600);
        assert_eq!(cost.first_given_up, Some(at));
        assert_eq!((cost.given_up, cost.late, cost.kept, cost.lost), (1, 0, 0, 5 * 3600 - 1));
        assert_eq!(cost.peak, None);
    }

    #[test]
    fn three_hours_cost_shopify_nothing_but_time() {
        let cost = cost("shopify", &outage(HOUR * 3));
        assert_eq!((cost.end, cost.late), (None, 3 * 3600));
        assert!(cost.peak.unwrap().requests > 60);
    }

    #[test]
    fn without_retries_everything_is_given_up_at_once() {
        let cost = cost("github", &outage(HOUR));
        assert_eq!((cost.given_up, cost.failures, cost.late, cost.end), (3600, 3600, 0, None));
        assert_eq!(cost.first_given_up, Some(Duration::ZERO));
    }

    #[test]
    fn a_sender_that_waits_five_days_pauses_after_six() {
        let mut six_days = outage(HOUR * 24 * 6);
        six_days.rate = 0.01;
        let cost = cost("svix", &six_days);
        let (fate, at) = cost.end.unwrap();
        assert_eq!(fate, SubscriptionEnd::Paused);
        assert!(at >= HOUR * 120 && at < HOUR * 121, "{at:?}");
        assert!(cost.kept > 0 && cost.given_up > 0 && cost.lost == 0, "{cost:?}");
    }

    #[test]
    fn one_410_ends_the_subscription() {
        let gone = Outage { answer: AttemptResult::status(410), ..outage(HOUR) };
        let cost = cost("directscale", &gone);
        assert_eq!(cost.end, Some((SubscriptionEnd::Gone, Duration::ZERO)));
        assert_eq!((cost.failures, cost.lost), (1, 3600));
    }

    #[test]
    fn a_receiver_that_does_not_answer_costs_the_timeout_at_each_attempt() {
        let late = Outage { answer: AttemptResult::TimedOut, ..outage(HOUR) };
        assert!(cost("directscale", &late).failures < cost("directscale", &outage(HOUR)).failures);
    }

    #[test]
    fn after_a_shared_delay_without_jitter_everything_comes_in_its_old_rhythm() {
        let mut persona: RetryPolicy = "1h".parse().unwrap();
        persona.jitter = 0.0;
        let cost = rehearse(&persona, &outage(HOUR / 2)).unwrap();
        let peak = Peak { requests: 120, usual: 60, after: HOUR / 2 };
        assert_eq!((cost.late, cost.peak), (1800, Some(peak)));
        assert_eq!(
            (cost.longest, cost.caught_up),
            (Some(HOUR), Some(HOUR - Duration::from_secs(1)))
        );
    }

    #[test]
    fn what_is_no_outage_is_refused() {
        let refused = |outage: Outage| rehearse(&RETRY_POLICIES[0], &outage).unwrap_err();
        let success = Outage { answer: AttemptResult::status(200), ..outage(HOUR) };
        assert_eq!(refused(success), RehearseError::Success("directscale", 200));
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(refused(Outage { rate, ..outage(HOUR) }), RehearseError::Rate);
        }
        let many = Outage { rate: 1e6, ..outage(HOUR) };
        assert_eq!(refused(many), RehearseError::TooMany(3_600_000_000));
    }

    proptest! {
        #[test]
        fn every_event_is_accounted_for_and_the_same_seed_gives_the_same_figures(
            index in 0..RETRY_POLICIES.len(), hours in 0..200u32, seed in any::<u64>(), late in any::<bool>()
        ) {
            let answer = if late { AttemptResult::TimedOut } else { AttemptResult::status(503) };
            let outage = Outage { down: HOUR * hours, rate: 0.003, answer, seed };
            let cost = rehearse(&RETRY_POLICIES[index], &outage).unwrap();
            prop_assert_eq!(cost.events, cost.late + cost.given_up + cost.lost + cost.kept);
            prop_assert!(cost.failures <= cost.events * u64::from(RETRY_POLICIES[index].attempts()));
            prop_assert_eq!(&cost, &rehearse(&RETRY_POLICIES[index], &outage).unwrap());
        }
    }
}
