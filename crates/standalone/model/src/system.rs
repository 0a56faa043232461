//! The inbox as a system of sessions, and what must hold in each of its states.

use stateright::{Model, Property};

use crate::action::Action;
use crate::rule::Rule;
use crate::session::{Lease, Session, Step};
use crate::tables::{Delivery, Tables};

/// Bounds of a check, and the rules that are left out.
#[derive(Debug, Clone)]
pub(crate) struct Inbox {
    /// Entity of each delivery.
    pub(crate) entities: Vec<Option<u8>>,
    pub(crate) sessions: usize,
    /// Number of expired leases, retries, releases and replays.
    pub(crate) disturbances: u8,
    pub(crate) without: Vec<Rule>,
}

/// A verdict; every one that ends a delivery is like `Done`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Verdict {
    Done,
    Retry,
    Released,
}

/// A state of the database, its clients and the clock.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct System {
    pub(crate) tables: Tables,
    /// Sessions, in order: which is which makes no difference.
    pub(crate) sessions: Vec<Session>,
    pub(crate) leases: Vec<Lease>,
    pub(crate) disturbances: u8,
    /// A lost lease was taken for held, or the other way round.
    pub(crate) misjudged: bool,
}

impl Inbox {
    pub(crate) fn has(&self, rule: Rule) -> bool {
        !self.without.contains(&rule)
    }

    /// The next step of a transaction. False: it waits for a lock.
    fn next(&self, s: &mut System, n: usize) -> bool {
        match s.sessions[n].step {
            Step::Expire(last) => {
                self.expire(s, n, last);
                s.go_on(n, Step::Claim);
            }
            Step::ClaimLate(id) => {
                self.claim_late(s, n, id);
                s.go_on(n, Step::First);
            }
            Step::ClaimFirst { position, share } => {
                self.claim_first(s, n, position, share);
                s.go_on(n, Step::Commit);
            }
            Step::Judge { verdict, closes } => self.judge(s, n, verdict, closes),
            Step::Wake { wakes, closes } => return self.wake(s, n, wakes, closes),
            Step::Turn(id) => return self.turn(s, n, id),
            Step::Replay { id, turn } => self.replay(s, n, id, turn),
            Step::Rotate => return self.rotate(s, n),
            Step::Idle | Step::Claim | Step::First | Step::Commit => return false,
        }
        true
    }

    fn act(&self, s: &mut System, action: Action) -> bool {
        match action {
            Action::Accept(id) => s.tables.get_mut(id).accepted = true,
            Action::Claim(n, step) => return self.begin_claim(s, n, step),
            Action::LockSource(n, share) => {
                return self.begin_claim(s, n, Step::First) && self.lock_source(s, n, share);
            }
            Action::BeginFinish(n, lease, verdict) => {
                s.disturbances -= u8::from(verdict != Verdict::Done);
                return self.begin_finish(s, n, lease, verdict);
            }
            Action::BeginReplay(n, id) => {
                s.disturbances -= 1;
                return self.begin_replay(s, n, id);
            }
            Action::BeginTidy(n) => return self.begin_tidy(s, n),
            Action::Next(n, _) => return self.next(s, n),
            Action::Commit(n) => s.commit(n),
            Action::ExpireBlock(last) => {
                s.disturbances -= 1;
                s.expire_block(last);
            }
            Action::ReachDue(id) => {
                s.disturbances -= u8::from(s.tables.waiting(id).is_some_and(|row| row.running));
                s.reach_due(id);
            }
        }
        true
    }
}

impl Model for Inbox {
    type State = System;
    type Action = Action;

    fn init_states(&self) -> Vec<System> {
        let deliveries =
            self.entities.iter().map(|entity| Delivery { entity: *entity, ..Delivery::default() });
        vec![System {
            tables: Tables {
                deliveries: deliveries.collect(),
                position: 0,
                claimed: Vec::new(),
                closed: Vec::new(),
                written_twice: false,
            },
            sessions: vec![Session::default(); self.sessions],
            leases: Vec::new(),
            disturbances: self.disturbances,
            misjudged: false,
        }]
    }

    fn actions(&self, s: &System, actions: &mut Vec<Action>) {
        self.all_actions(s, actions);
    }

    fn next_state(&self, s: &System, action: Action) -> Option<System> {
        let mut next = s.clone();
        if !self.act(&mut next, action) {
            return None;
        }
        next.sessions.sort_unstable();
        next.leases.sort_unstable();
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        crate::property::all()
    }
}
