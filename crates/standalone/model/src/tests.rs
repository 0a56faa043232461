//! The schema's functions hold what they promise, and each of their rules is needed for it.

use crate::check::{Findings, check};
use crate::identity::Identities;
use crate::rule::Rule;
use crate::system::Inbox;

/// An inbox with a delivery for each entity, or 0 for none.
fn inbox(entities: &[u8], disturbances: u8, without: &[Rule]) -> Inbox {
    let entities = entities.iter().map(|entity| (*entity > 0).then_some(*entity)).collect();
    Inbox { entities, sessions: 2, disturbances, without: without.to_vec() }
}

fn holds(entities: &[u8], disturbances: u8, without: &[Rule]) {
    let mut findings = check(inbox(entities, disturbances, without), false);
    if entities.iter().all(|entity| *entity == 0) {
        findings.missed.retain(|name| *name != "a delivery waits behind another");
    }
    assert_eq!(findings, Findings::default(), "{entities:?}, without {without:?}");
}

fn fails(entities: &[u8], disturbances: u8, without: &[Rule]) {
    let findings = check(inbox(entities, disturbances, without), false);
    assert!(!findings.failed.is_empty(), "{without:?} is not needed");
}

#[test]
fn everything_holds_of_deliveries_without_an_entity() {
    holds(&[0, 0], 2, &[]);
}

#[test]
fn everything_holds_of_deliveries_of_one_entity() {
    holds(&[1, 1], 2, &[]);
    holds(&[1, 1, 1], 1, &[]);
}

#[test]
fn everything_holds_of_both_together() {
    holds(&[1, 1, 0], 1, &[]);
}

#[test]
fn replays_at_once_are_safe_for_an_entity_and_only_for_it() {
    holds(&[1, 1], 2, &[Rule::ReplayAlone]);
    fails(&[0], 2, &[Rule::ReplayAlone]);
}

#[test]
fn every_rule_is_needed() {
    for rule in [
        Rule::LockInAccept,
        Rule::SourceLockInClaim,
        Rule::RowLocks,
        Rule::TokenLockInExpire,
        Rule::SecondLookInExpire,
        Rule::TokenTest,
        Rule::ClosedWithTheLast,
        Rule::ClosedTest,
        Rule::Position,
    ] {
        fails(&[0, 0], 2, &[rule]);
    }
    for rule in [
        Rule::EntityLockInClaim,
        Rule::LookBeforeFirst,
        Rule::EntityLockInClaimLate,
        Rule::SecondLook,
        Rule::EntityLockInFinish,
        Rule::Wake,
        Rule::EntityLockInReplay,
        Rule::LookInReplay,
    ] {
        fails(&[1, 1], 2, &[rule]);
    }
}

#[test]
fn a_rotation_is_kept_from_claims_twice() {
    holds(&[1, 1], 1, &[Rule::SourceLocksInTidy]);
    holds(&[1, 1], 1, &[Rule::TableLocks]);
    fails(&[1, 1], 1, &[Rule::SourceLocksInTidy, Rule::TableLocks]);
}

#[test]
fn an_identity_is_new_once_within_the_window() {
    let check =
        |without: &[Rule]| check(Identities { receivers: 3, without: without.to_vec() }, false);
    assert_eq!(check(&[]), Findings::default());
    for rule in [Rule::LockInAccept, Rule::LookAtOlder, Rule::SpareGeneration] {
        assert_eq!(check(&[rule]).failed, ["new once within the window"], "without {rule:?}");
    }
}
