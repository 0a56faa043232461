use proptest::prelude::*;

use super::*;

fn row(name: &str) -> &'static RetryPolicy {
    RetryPolicy::named(name).unwrap()
}

fn answers() -> impl Strategy<Value = AttemptResult> {
    let status = (100..600u16, proptest::option::of(0..1_000_000u64), any::<bool>()).prop_map(
        |(status, seconds, aborts)| AttemptResult::Status {
            status,
            retry_after: seconds.map(Duration::from_secs),
            aborts,
        },
    );
    prop_oneof![Just(AttemptResult::TimedOut), Just(AttemptResult::ConnectionFailed), status]
}

#[test]
fn the_table_says_what_the_senders_have_published() {
    let figures: Vec<_> = RETRY_POLICIES
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
    for row in RETRY_POLICIES {
        assert!(!row.source.is_empty(), "{}", row.name);
        assert!((0.0..1.0).contains(&row.jitter), "{}", row.name);
        let but_last = row.delays.split_last().map_or(&[][..], |(_, rest)| rest);
        assert!(but_last.is_sorted(), "{}", row.name);
        assert_eq!(row.name.parse::<RetryPolicy>().as_ref(), Ok(row));
    }
}

#[test]
fn directscale_counts_200_alone_and_the_others_any_2xx() {
    for persona in RETRY_POLICIES {
        assert_eq!(persona.next(1, AttemptResult::status(200), 0.5), RetryDecision::Done);
        let accepted = persona.next(1, AttemptResult::status(202), 0.5);
        assert_eq!(
            accepted == RetryDecision::Done,
            persona.name != "directscale",
            "{}",
            persona.name
        );
        assert_ne!(persona.next(1, AttemptResult::status(302), 0.5), RetryDecision::Done);
    }
}

#[test]
fn a_target_that_is_gone_is_gone_for_every_sender() {
    for persona in RETRY_POLICIES {
        assert_eq!(persona.next(1, AttemptResult::status(410), 0.5), RetryDecision::Gone);
    }
}

#[test]
fn the_attempt_after_the_last_delay_is_the_last() {
    assert_eq!(row("github").next(1, AttemptResult::ConnectionFailed, 0.5), RetryDecision::GiveUp);
    let svix = row("svix");
    assert_eq!(svix.next(7, AttemptResult::ConnectionFailed, 0.5), RetryDecision::Retry(HOUR * 10));
    assert_eq!(svix.next(8, AttemptResult::ConnectionFailed, 0.5), RetryDecision::GiveUp);
    assert_eq!(svix.next(u32::MAX, AttemptResult::ConnectionFailed, 0.5), RetryDecision::GiveUp);
}

#[test]
fn retry_after_is_followed_within_bounds_and_never_shortens_a_delay() {
    let asks = |seconds| AttemptResult::Status {
        status: 503,
        retry_after: Some(Duration::from_secs(seconds)),
        aborts: false,
    };
    let svix = |seconds| row("svix").next(2, asks(seconds), 0.5);
    assert_eq!(svix(1), RetryDecision::Retry(MINUTE * 5));
    assert_eq!(svix(400), RetryDecision::Retry(Duration::from_secs(400)));
    assert_eq!(svix(100_000), RetryDecision::Retry(MINUTE * 10));
    assert_eq!(row("shopify").next(1, asks(3600), 0.5), RetryDecision::Retry(SECOND * 56));
    assert_eq!(row("standard-webhooks").next(1, asks(u64::MAX), 0.5), RetryDecision::Retry(DAY));
}

#[test]
fn a_target_that_asks_for_rest_gets_a_minute() {
    for name in ["svix", "standard-webhooks"] {
        assert_eq!(
            row(name).next(1, AttemptResult::status(429), 0.5),
            RetryDecision::Retry(MINUTE),
            "{name}"
        );
        assert_eq!(
            row(name).next(1, AttemptResult::TimedOut, 0.5),
            RetryDecision::Retry(MINUTE),
            "{name}"
        );
        assert_eq!(
            row(name).next(1, AttemptResult::ConnectionFailed, 0.5),
            RetryDecision::Retry(SECOND * 5),
            "{name}"
        );
    }
}

#[test]
fn a_declined_message_is_not_tried_again() {
    let declined = AttemptResult::Status { status: 500, retry_after: None, aborts: true };
    assert_eq!(row("svix").next(1, declined, 0.5), RetryDecision::GiveUp);
}

#[test]
fn shopify_drops_a_subscription_when_a_message_is_given_up_and_nothing_has_arrived() {
    let shopify = row("shopify");
    let streak = |failures| Streak { failures, lasted: HOUR * 4 };
    assert_eq!(shopify.disable_action(streak(9), true), Some(DisableAction::Drop));
    assert_eq!(shopify.disable_action(streak(8), true), None);
    assert_eq!(shopify.disable_action(streak(9000), false), None);
}

#[test]
fn svix_pauses_after_five_days_of_nothing_but_failures() {
    let lasted = |lasted| row("svix").disable_action(Streak { failures: 2, lasted }, false);
    assert_eq!(lasted(DAY * 5 - SECOND), None);
    assert_eq!(lasted(DAY * 5), Some(DisableAction::Pause));
    assert_eq!(row("github").disable_action(Streak { failures: 9, lasted: DAY * 365 }, true), None);
}

#[test]
fn a_list_of_delays_is_a_persona_of_its_own() {
    let custom: RetryPolicy = " 10s,5m , 1h 30m".parse().unwrap();
    assert_eq!(*custom.delays, [SECOND * 10, MINUTE * 5, MINUTE * 90]);
    assert_eq!(custom.to_string(), "10s, 5m, 1h 30m");
    assert_eq!(custom.to_string().parse(), Ok(custom));
    let many = vec!["1s"; 101].join(",");
    for text in ["", "svixx", "10", "1s,,2s", "31days", many.as_str()] {
        let error = text.parse::<RetryPolicy>().unwrap_err().to_string();
        assert!(error.contains("directscale, standard-webhooks"), "{error}");
    }
}

proptest! {
    #[test]
    fn a_delay_is_never_shorter_than_its_jitter_allows_nor_longer_than_its_bounds(
        place in 0..RETRY_POLICIES.len(), attempts in 1..20u32, answer in answers(), random in 0.0..=1.0f64
    ) {
        let persona = &RETRY_POLICIES[place];
        if let RetryDecision::Retry(delay) = persona.next(attempts, answer, random) {
            let planned = persona.delays[attempts as usize - 1];
            let most = persona.retry_after.limit(planned).max(planned.mul_f64(1.0 + persona.jitter));
            let most = most.max(persona.slow_down.map_or(Duration::ZERO, |slow_down| slow_down.min_delay));
            prop_assert!(delay >= planned.mul_f64(1.0 - persona.jitter));
            prop_assert!(delay <= most);
        }
    }

    #[test]
    fn every_message_ends(place in 0..RETRY_POLICIES.len(), answer in answers(), random in 0.0..=1.0f64) {
        let persona = &RETRY_POLICIES[place];
        let step = persona.next(persona.attempts(), answer, random);
        prop_assert!(!matches!(step, RetryDecision::Retry(_)), "{step:?}");
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in ".{0,40}") {
        let _ = text.parse::<RetryPolicy>();
    }
}
