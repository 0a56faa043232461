//! `claim`, with `expire` and `claim_late`: one source, and one expired row and one late candidate at a time.

use crate::rule::Rule;
use crate::session::{Lease, Step};
use crate::system::{Inbox, System};
use crate::tables::{Block, Due, Id, LATE, Tables, Token, Waiting, Write};

impl Inbox {
    /// Begins a part of the transaction, whose first statement reads `claimed`. False: waits for a lock.
    pub(crate) fn begin_claim(&self, s: &mut System, n: usize, step: Step) -> bool {
        s.go_to(n, step);
        s.lock(n, |locks| locks.tables = self.has(Rule::TableLocks))
    }

    /// Moves what is left of a row in `claimed`, unless a verdict on it is being written.
    pub(crate) fn expire(&self, s: &mut System, n: usize, last: Id) {
        if self.has(Rule::TokenLockInExpire) && !s.lock(n, |locks| locks.token = Some(last)) {
            return;
        }
        let seen = s.seen_by(n);
        let Some(block) = seen.claimed.iter().find(|block| block.last == last) else { return };
        if self.has(Rule::SecondLookInExpire) && seen.is_closed(last) {
            return;
        }
        s.write(n, Write::Close(0, last));
        let row =
            Waiting { running: true, due: Due::Now, attempts: 1, replayed: false, token: last };
        for id in (block.after + 1..=last).filter(|id| seen.is_first_attempt(*id)) {
            s.write(n, Write::Insert(id, row));
        }
    }

    /// The candidates of `claim_late` in a snapshot.
    pub(crate) fn late<'t>(&self, seen: &'t Tables) -> impl Iterator<Item = Id> + 't {
        let is_due = |id: &Id| {
            let row = seen.waiting(*id);
            row.is_some_and(|row| row.due == Due::Now && seen.has_turn(*id, row))
        };
        seen.ids().filter(is_due)
    }

    /// Claims the candidate of an older snapshot, if it can be locked, is still due and still has its turn.
    pub(crate) fn claim_late(&self, s: &mut System, n: usize, id: Id) {
        let entity = s.tables.get(id).entity;
        let is_locked = s.lock(n, |locks| {
            locks.entities.extend(entity.filter(|_| self.has(Rule::EntityLockInClaimLate)));
            locks.rows.extend(self.has(Rule::RowLocks).then_some(id));
        });
        let seen = s.seen_by(n);
        let Some(row) = seen.waiting(id).filter(|row| is_locked && row.due == Due::Now) else {
            return;
        };
        if self.has(Rule::SecondLook) && !seen.has_turn(id, row) {
            return;
        }
        if row.running {
            s.write(n, Write::Attempt { id, number: row.attempts, ends: false });
        }
        let (attempts, token) = (row.attempts + 1, s.fresh_token(id));
        let claimed = Waiting { running: true, due: Due::Later, attempts, token, ..row };
        s.write(n, Write::Update(id, claimed));
        self.give(s, n, Lease { id, attempt: attempts, token, replayed: row.replayed, ..NEW });
    }

    /// Takes the source, and the snapshot in which its position is read. Goes on without, if another has it.
    pub(crate) fn lock_source(&self, s: &mut System, n: usize, share: usize) -> bool {
        let position = s.tables.position;
        s.go_to(n, Step::ClaimFirst { position, share });
        !self.has(Rule::SourceLockInClaim) || s.lock(n, |locks| locks.source = true)
    }

    /// Claims the next first attempts, apart from those behind another delivery of their entity. `TRUNCATE` is seen at once,
    /// so `claimed` may be newer than the `position` of the snapshot.
    pub(crate) fn claim_first(&self, s: &mut System, n: usize, position: Id, share: usize) {
        let seen = s.seen_by(n);
        let up_to = Tables { position, ..seen.clone() }.claimed_up_to();
        let found: Vec<Id> = seen.ids().filter(|id| *id > up_to).take(share).collect();
        let entities: Vec<u8> = found.iter().filter_map(|id| seen.get(*id).entity).collect();
        let Some(last) = found.last().copied() else { return };
        if self.has(Rule::EntityLockInClaim) && !s.lock(n, |locks| locks.entities.extend(&entities))
        {
            return;
        }
        s.write(n, Write::Claim(Block { age: 0, after: up_to, last, expired: false }));
        let is_behind = |id: Id| {
            seen.get(id).entity.is_some_and(|entity| {
                seen.ids_of(entity).any(|o| o > up_to && o < id || seen.waiting(o).is_some())
                    || self.has(Rule::LookBeforeFirst) && seen.is_running_before(entity, up_to)
            })
        };
        let (behind, free): (Vec<Id>, Vec<Id>) = found.into_iter().partition(|id| is_behind(*id));
        let row =
            Waiting { running: false, due: Due::Behind, attempts: 0, replayed: false, token: 0 };
        behind.into_iter().for_each(|id| s.write(n, Write::Insert(id, row)));
        if free.is_empty() {
            s.write(n, Write::Close(0, last));
        }
        for id in free {
            self.give(s, n, Lease { id, attempt: 1, token: last, block: last, ..NEW });
        }
    }

    fn give(&self, s: &mut System, n: usize, lease: Lease) {
        s.sessions[n].leases.push(lease);
    }
}

const NEW: Lease =
    Lease { id: 0, attempt: 0, token: 0, block: 0, replayed: false, expired: false, lost: false };

impl System {
    fn fresh_token(&mut self, id: Id) -> Token {
        let row = self.tables.waiting(id).map(|row| row.token);
        let leases = self.known_leases().filter(|lease| lease.id == id).map(|lease| lease.token);
        let used: Vec<Token> = leases.chain(row).collect();
        (LATE..).find(|token| !used.contains(token)).unwrap_or(Token::MAX)
    }
}
