//! The steps that can be next in a state.

use crate::rule::Rule;
use crate::session::{Lease, Step};
use crate::system::{Inbox, System, Verdict};
use crate::tables::{Due, Id};

/// A step of one session, a client or the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Accept(Id),
    Claim(usize, Step),
    LockSource(usize, usize),
    BeginFinish(usize, Lease, Verdict),
    BeginReplay(usize, Id),
    BeginTidy(usize),
    Next(usize, Step),
    Commit(usize),
    ExpireBlock(Id),
    ReachDue(Id),
}

impl Inbox {
    /// The steps of everybody: receivers, sessions, and the clock.
    pub(crate) fn all_actions(&self, s: &System, actions: &mut Vec<Action>) {
        // Ids are taken under a lock that is held until the commit, or else are committed in any order.
        let unborn = (1..).zip(&s.tables.deliveries).filter(|(_, row)| !row.accepted);
        let at_once = if self.has(Rule::LockInAccept) { 1 } else { usize::MAX };
        actions.extend(unborn.take(at_once).map(|(id, _)| Action::Accept(id)));
        for n in 0..s.sessions.len() {
            // Of equal sessions one is enough.
            if n == 0 || s.sessions[n] != s.sessions[n - 1] {
                self.actions_of(s, n, actions);
            }
        }
        let may_expire = s.disturbances > 0;
        let blocks = s.tables.claimed.iter().map(|block| block.last);
        let blocks = blocks.filter(|last| may_expire && s.is_open(*last, false));
        actions.extend(blocks.map(Action::ExpireBlock));
        let later = |id: &Id| {
            let row = s.tables.waiting(*id);
            row.is_some_and(|row| row.due == Due::Later && (may_expire || !row.running))
        };
        actions.extend(s.tables.ids().filter(later).map(Action::ReachDue));
    }

    /// The steps of a session.
    fn actions_of(&self, s: &System, n: usize, actions: &mut Vec<Action>) {
        match s.sessions[n].step {
            Step::Idle => {
                let open = s.tables.claimed.iter().map(|block| block.last);
                let open = open.filter(|last| s.is_open(*last, true));
                actions.extend(open.map(|last| Action::Claim(n, Step::Expire(last))));
                self.claims(s, n, Step::Claim, actions);
                for lease in &s.leases {
                    actions.push(Action::BeginFinish(n, *lease, Verdict::Done));
                    // The verdict on a lost lease makes no difference.
                    if s.disturbances > 0 && !lease.lost {
                        let others = [Verdict::Retry, Verdict::Released];
                        actions.extend(others.map(|other| Action::BeginFinish(n, *lease, other)));
                    }
                }
                let ended = |id: &Id| s.tables.get(*id).ended && s.tables.waiting(*id).is_none();
                let ended = s.tables.ids().filter(|id| s.disturbances > 0 && ended(id));
                actions.extend(ended.map(|id| Action::BeginReplay(n, id)));
                if !s.tables.claimed.is_empty() {
                    actions.push(Action::BeginTidy(n));
                }
            }
            step @ (Step::Claim | Step::First) => {
                self.claims(s, n, step, actions);
                actions.push(Action::Commit(n));
            }
            Step::Commit => actions.push(Action::Commit(n)),
            step => actions.push(Action::Next(n, step)),
        }
    }

    /// The parts of `claim` that can be next.
    fn claims(&self, s: &System, n: usize, step: Step, actions: &mut Vec<Action>) {
        let seen = s.seen_by(n);
        if step == Step::Claim {
            actions.extend(self.late(&seen).map(|id| Action::Claim(n, Step::ClaimLate(id))));
        }
        let unclaimed = seen.ids().filter(|id| *id > seen.claimed_up_to()).count();
        actions.extend((1..=unclaimed.min(2)).map(|share| Action::LockSource(n, share)));
    }
}

impl System {
    /// True if a row in `claimed` is not closed, and has expired or not.
    fn is_open(&self, last: Id, expired: bool) -> bool {
        let rows = self.tables.claimed.iter();
        rows.filter(|b| b.last == last && b.expired == expired)
            .any(|b| !self.tables.is_closed(b.last))
    }
}
