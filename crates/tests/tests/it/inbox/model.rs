//! A random life of an inbox, on two connections, compared step by step with the simplest thing that could be one.

use std::collections::BTreeMap;
use std::time::Duration;

use contract::effect::Applied;
use contract::event::DeliveryId;
use inbox::{AcceptOutcome, Claim, Filter, Lease, NewPause, Receipt, State, Verdict};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::harness::deliveries::{Opened, Store, at, keyed, message, route};
use crate::inbox::conformance::{Fresh, LEASE, claim, retry};
use crate::inbox::waiting::wait;

#[derive(Debug, Clone)]
enum Op {
    Accept { id: u8, body: u8, key: Option<u8>, awaited: bool },
    Claim { max: usize },
    Finish { lease: u64, verdict: u8 },
    Wait { seconds: i64 },
    Replay { state: State, is_new_run: bool },
    Discard { state: State },
    Prune { state: State },
    SetPaused(bool),
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let ended = prop::sample::select(vec![State::Done, State::Dead, State::Unrouted]);
    let discarded = prop::sample::select(State::ALL.to_vec());
    prop_oneof![
        6 => (0..12u8, 0..10u8, prop::option::of(0..2u8), any::<bool>()).prop_map(
            |(id, body, key, awaited)| Op::Accept { id, body: body / 9, key, awaited }
        ),
        5 => (0..4usize).prop_map(|max| Op::Claim { max }),
        5 => (any::<u64>(), 0..6u8).prop_map(|(lease, verdict)| Op::Finish { lease, verdict }),
        3 => (0..40i64).prop_map(|seconds| Op::Wait { seconds }),
        1 => (ended.clone(), any::<bool>()).prop_map(|(state, is_new_run)| Op::Replay { state, is_new_run }),
        1 => discarded.prop_map(|state| Op::Discard { state }),
        1 => ended.prop_map(|state| Op::Prune { state }),
        1 => prop::bool::weighted(0.3).prop_map(Op::SetPaused),
        1 => Just(Op::Reopen),
    ]
}

pub(crate) async fn random_operations_agree_with_a_model(fresh: Fresh) {
    run(60, 60, move || vec![fresh()]).await;
}

/// The life goes on in a copy of the inbox, and then in a copy of the copy.
pub(crate) async fn the_life_of_a_copy(stores: fn() -> [Store; 3]) {
    run(30, 90, move || stores().into()).await;
}

async fn run(cases: u32, length: usize, stores: impl Fn() -> Vec<Store> + Send + 'static) {
    let runtime = tokio::runtime::Handle::current();
    let run = move || {
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        let life = prop::collection::vec((op(), any::<bool>()), 1..length);
        TestRunner::new(config).run(&life, |ops| {
            runtime.block_on(live(stores(), &ops));
            Ok(())
        })
    };
    tokio::task::spawn_blocking(run).await.unwrap().unwrap_or_else(|error| panic!("{error}"));
}

async fn live(stores: Vec<Store>, ops: &[(Op, bool)]) {
    let mut model = Model::default();
    let parts = ops.chunks(ops.len().div_ceil(stores.len()));
    for ((number, store), ops) in stores.iter().enumerate().zip(parts) {
        live_in(store, &mut model, ops).await;
        if let Some(next) = stores.get(number + 1) {
            model.seconds += 2 * LEASE.as_secs() as i64;
            let copied = inbox::copy(store.url(), next.url(), |_, _| {}).await.unwrap();
            assert_eq!(copied.from, copied.to);
            assert_eq!(copied.rows, model.rows.len() as u64);
            // A copy goes on.
            model.is_paused = false;
            // It knows nothing of ids whose deliveries were pruned before.
            model.newest = model.rows.keys().last().copied().unwrap_or_default();
        }
    }
}

async fn live_in(store: &Store, model: &mut Model, ops: &[(Op, bool)]) {
    let (mut first, mut second) = (store.open().await, store.open_second().await);
    compare(&first, model).await;
    let mut leases: Vec<Lease> = Vec::new();
    for (op, by_second) in ops {
        // A second connection to a file neither accepts nor claims.
        let inbox = if *by_second && store.is_shared() { &second } else { &first };
        let command = if *by_second { &second } else { &first };
        match op.clone() {
            Op::Accept { id, body, key, awaited } => {
                let waiting = match awaited && model.due().is_empty() {
                    true => Some(wait(inbox, 2, model.seconds).await),
                    false => None,
                };
                let (id, body) = (id.to_string(), body.to_string());
                let key = key.map(|key| key.to_string());
                let sent = message(&id).body(body.clone()).verified();
                let route = key.as_deref().map_or_else(route, keyed);
                let receipt = inbox.at(model.seconds).accept(sent, route).await.unwrap();
                model.accept(id, body, key, &receipt);
                if let Some(waiting) = waiting.filter(|_| !model.due().is_empty()) {
                    let claims = waiting.await.unwrap();
                    model.claim(2, &claims);
                    leases.extend(claims.into_iter().map(|claim| claim.lease));
                }
            }
            Op::Claim { max } => {
                let claims = claim(inbox, max, model.seconds).await;
                model.claim(max, &claims);
                leases.extend(claims.into_iter().map(|claim| claim.lease));
            }
            Op::Finish { lease, verdict } if !leases.is_empty() => {
                let position = (u128::from(lease) * leases.len() as u128) >> 64;
                let lease = leases[usize::try_from(position).unwrap()].clone();
                let verdict = Model::verdict(verdict);
                let held =
                    inbox.at(model.seconds).finish(lease.clone(), verdict.clone()).await.unwrap();
                assert_eq!(held, model.finish(&lease, &verdict));
            }
            Op::Finish { .. } => {}
            Op::Wait { seconds } => model.seconds += seconds,
            Op::Replay { state, is_new_run } => {
                let filter = Filter { state: Some(state), ..Filter::default() };
                let inbox = command.at(model.seconds);
                let replayed = match is_new_run {
                    true => inbox.replay(filter).await.unwrap(),
                    false => inbox.resume(filter).await.unwrap(),
                };
                assert_eq!(replayed, model.replay(state, is_new_run));
            }
            Op::Discard { state } => {
                let filter = Filter { state: Some(state), ..Filter::default() };
                let inbox = command.at(model.seconds);
                let discarded = inbox.discard(filter, "not needed".into()).await.unwrap();
                assert_eq!(discarded, model.discard(state));
            }
            Op::SetPaused(is_paused) => {
                let pause = NewPause { by: "ann".into(), reason: None };
                match is_paused {
                    true => command.pause(pause).await.unwrap(),
                    false => command.unpause().await.unwrap(),
                }
                model.is_paused = is_paused;
            }
            Op::Prune { state } => {
                let pruned =
                    command.at(model.seconds).prune(state, Duration::ZERO, 1000).await.unwrap();
                // The newest may be kept.
                let newest = inbox.show(model.newest).await.unwrap().map(|detail| detail.entry.id);
                assert_eq!(pruned, model.prune(state, newest));
            }
            Op::Reopen => {
                // An engine may take over at once what its predecessor held, or wait for the lease to end.
                model.seconds += 2 * LEASE.as_secs() as i64;
                drop((first, second));
                (first, second) = (store.open().await, store.open_second().await);
            }
        }
        compare(if *by_second { &first } else { &second }, model).await;
    }
}

async fn compare(inbox: &Opened, model: &Model) {
    let entries = inbox.list(Filter::default()).await.unwrap();
    let kept: Vec<_> =
        entries.iter().rev().map(|e| (e.id, e.state, e.attempts, e.replays, e.conflicts)).collect();
    let expected: Vec<_> = model
        .rows
        .iter()
        .map(|(id, row)| (*id, row.state, row.attempts, row.replays, row.conflicts))
        .collect();
    assert_eq!(kept, expected);
    for detail in inbox.details(Filter::default()).await.unwrap() {
        let applied = detail.attempts.last().and_then(|attempt| attempt.applied);
        assert_eq!(applied, model.rows[&detail.entry.id].applied);
    }
}

/// Seconds instead of timestamps, a map instead of tables, and no cleverness.
#[derive(Default)]
struct Model {
    seconds: i64,
    is_paused: bool,
    newest: DeliveryId,
    rows: BTreeMap<DeliveryId, Row>,
    /// For each key, the delivery whose turn it is, until it has ended.
    turns: BTreeMap<String, DeliveryId>,
}

struct Row {
    message_id: String,
    body: String,
    key: Option<String>,
    state: State,
    due: i64,
    ended: i64,
    attempts: u32,
    run_attempts: u32,
    replays: u32,
    conflicts: u32,
    /// The replay of the latest claim, and its effect key.
    effect_key: Option<(u32, String)>,
    /// The token of the claim that holds it.
    holder: Option<i64>,
    /// What has applied its effect, as the last ended attempt says.
    applied: Option<Applied>,
}

impl Model {
    fn accept(&mut self, message_id: String, body: String, key: Option<String>, got: &Receipt) {
        if let Some((id, row)) = self.rows.iter_mut().find(|(_, row)| row.message_id == message_id)
        {
            let seen =
                if row.body == body { AcceptOutcome::Duplicate } else { AcceptOutcome::Conflict };
            row.conflicts += u32::from(seen == AcceptOutcome::Conflict);
            assert_eq!((got.id, got.outcome), (*id, seen));
            return;
        }
        assert_eq!(got.outcome, AcceptOutcome::New);
        assert!(got.id > self.newest, "{} after {}", got.id, self.newest);
        self.newest = got.id;
        let row = Row {
            message_id,
            body,
            key,
            state: State::Ready,
            due: self.seconds,
            ended: 0,
            attempts: 0,
            run_attempts: 0,
            replays: 0,
            conflicts: 0,
            effect_key: None,
            holder: None,
            applied: None,
        };
        self.rows.insert(got.id, row);
        self.next_turns();
    }

    fn claim(&mut self, max: usize, got: &[Claim]) {
        let due = self.due();
        assert_eq!(got.len(), max.min(due.len()), "due are {due:?}");
        for claim in got {
            assert!(due.contains(&claim.lease.id), "{} of {due:?}", claim.lease.id);
            let row = self.rows.get_mut(&claim.lease.id).unwrap();
            let was_lost = row.state == State::Running;
            if was_lost {
                row.applied = None;
            }
            row.state = State::Running;
            row.due = self.seconds + LEASE.as_secs() as i64;
            row.attempts += 1;
            row.run_attempts += u32::from(!was_lost);
            row.holder = Some(claim.lease.token);
            let meta = &claim.delivery.meta;
            let numbers = (claim.run_attempt, meta.attempt, meta.replay);
            assert_eq!(numbers, (row.run_attempts, row.attempts, row.replays));
            let key = (meta.replay, meta.effect_key("charge"));
            let earlier = row.effect_key.replace(key.clone()).unwrap_or_else(|| key.clone());
            assert_eq!(earlier.0 == key.0, earlier.1 == key.1, "one key for each run");
            assert_eq!(claim.delivery.raw(), row.body.as_bytes());
        }
    }

    fn due(&self) -> Vec<DeliveryId> {
        if self.is_paused {
            return Vec::new();
        }
        self.rows.keys().copied().filter(|id| self.is_due(*id)).collect()
    }

    fn is_due(&self, id: DeliveryId) -> bool {
        let row = &self.rows[&id];
        let turn = row.key.as_ref().is_none_or(|key| self.turns.get(key) == Some(&id));
        !row.state.has_ended() && row.due <= self.seconds && turn
    }

    fn verdict(number: u8) -> Verdict {
        match number {
            0 => Verdict::Done,
            1 => retry(20),
            2 => Verdict::Dead { reason: "broken".into() },
            3 => Verdict::Unrouted,
            4 => Verdict::Applied(Applied { attempt: 7, at: at(5) }),
            _ => Verdict::Released,
        }
    }

    fn finish(&mut self, lease: &Lease, verdict: &Verdict) -> bool {
        let holder = Some(lease.token);
        let Some(row) = self.rows.get_mut(&lease.id).filter(|row| row.holder == holder) else {
            return false;
        };
        row.holder = None;
        row.due = self.seconds;
        row.ended = self.seconds;
        row.state = match verdict {
            Verdict::Done | Verdict::Applied(_) => State::Done,
            Verdict::Dead { .. } => State::Dead,
            Verdict::Unrouted => State::Unrouted,
            Verdict::Retry { .. } | Verdict::Released | Verdict::Postponed { .. } => State::Ready,
        };
        match verdict {
            Verdict::Applied(applied) => row.applied = Some(*applied),
            Verdict::Released | Verdict::Postponed { .. } => {}
            _ => row.applied = None,
        }
        if let Verdict::Retry { .. } = verdict {
            row.due += 20;
        }
        if *verdict == Verdict::Released {
            row.attempts -= 1;
            row.run_attempts -= 1;
        }
        self.next_turns();
        true
    }

    fn replay(&mut self, state: State, is_new_run: bool) -> u64 {
        let is_replayed = |(_, row): &(&DeliveryId, &Row)| row.state == state;
        let replayed: Vec<_> = self.rows.iter().filter(is_replayed).map(|(id, _)| *id).collect();
        for id in &replayed {
            // An older delivery goes first, unless one is running.
            let key = self.rows[id].key.clone();
            let is_first = !self.rows.iter().any(|(other, row)| {
                let goes_before = row.state == State::Running || other < id;
                row.key == key && !row.state.has_ended() && goes_before
            });
            if let Some(key) = key.filter(|_| is_first) {
                self.turns.insert(key, *id);
            }
            let row = self.rows.get_mut(id).unwrap();
            row.state = State::Ready;
            row.due = self.seconds;
            row.run_attempts = 0;
            row.replays += u32::from(is_new_run);
        }
        replayed.len() as u64
    }

    fn discard(&mut self, state: State) -> u64 {
        let mut discarded = 0;
        for row in self.rows.values_mut().filter(|row| row.state == state) {
            if state.can_be_discarded() {
                row.state = State::Done;
                row.ended = self.seconds;
                row.attempts += 1;
                row.holder = None;
                row.applied = None;
                discarded += 1;
            }
        }
        self.next_turns();
        discarded
    }

    fn prune(&mut self, state: State, kept: Option<DeliveryId>) -> u64 {
        let (before, now) = (self.rows.len(), self.seconds);
        self.rows.retain(|id, row| row.state != state || row.ended >= now || Some(*id) == kept);
        (before - self.rows.len()) as u64
    }

    /// A key whose delivery has ended goes to its oldest unfinished one.
    fn next_turns(&mut self) {
        let rows = &self.rows;
        let unfinished = |id: &DeliveryId| rows.get(id).is_some_and(|row| !row.state.has_ended());
        self.turns.retain(|_, id| unfinished(id));
        for (id, row) in rows.iter().filter(|(id, _)| unfinished(id)) {
            if let Some(key) = &row.key {
                self.turns.entry(key.clone()).or_insert(*id);
            }
        }
    }
}
