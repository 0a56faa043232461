//! A check: all states of a model, or as many as it takes to find one in which a property fails.

use std::hash::Hash;
use std::io::stdout;
use std::thread::available_parallelism;

use stateright::report::WriteReporter;
use stateright::{Checker, HasDiscoveries, Model};

/// Properties that do not hold in every state, and those that hold in none though they should in some.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    pub(crate) failed: Vec<&'static str>,
    pub(crate) missed: Vec<&'static str>,
}

pub(crate) fn check<M>(model: M, has_report: bool) -> Findings
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + std::fmt::Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + std::fmt::Debug + PartialEq + Send + Sync + 'static,
{
    let threads = available_parallelism().map_or(1, usize::from);
    let checker = model.checker().threads(threads).finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.spawn_bfs();
    let checker = match has_report {
        true => checker.join_and_report(&mut WriteReporter::new(&mut stdout())),
        false => checker.join(),
    };
    let mut findings = Findings::default();
    for property in checker.model().properties() {
        let is_found = checker.discovery(property.name).is_some();
        match property.expectation.discovery_is_failure() {
            true if is_found => findings.failed.push(property.name),
            false if !is_found => findings.missed.push(property.name),
            _ => {}
        }
    }
    findings
}
