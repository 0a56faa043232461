//! `finish` of one verdict, and `replay` of one delivery.

use crate::rule::Rule;
use crate::session::{Lease, Step};
use crate::system::{Inbox, System, Verdict};
use crate::tables::{Due, Id, Waiting, Write};

impl Inbox {
    /// Begins `finish`: the worker says whether nothing is left of the row in `claimed`; the locks are waited for.
    pub(crate) fn begin_finish(
        &self,
        s: &mut System,
        n: usize,
        lease: Lease,
        verdict: Verdict,
    ) -> bool {
        s.leases.retain(|other| *other != lease);
        let is_last = s.known_leases().all(|other| other.block != lease.block);
        let closes = lease.block > 0 && (is_last || !self.has(Rule::ClosedWithTheLast));
        let row = s.tables.get(lease.id);
        let entity =
            row.entity.filter(|_| verdict == Verdict::Done && self.has(Rule::EntityLockInFinish));
        let waits = row.waiting.is_some() && self.has(Rule::RowLocks);
        s.sessions[n].ending = Some(lease);
        s.go_to(n, Step::Judge { verdict, closes });
        s.lock(n, |locks| {
            locks.token_shared = Some(lease.token);
            locks.entities.extend(entity);
            locks.rows.extend(waits.then_some(lease.id));
        })
    }

    /// Writes the verdict if the lease is held: one statement, so one snapshot.
    pub(crate) fn judge(&self, s: &mut System, n: usize, verdict: Verdict, closes: bool) {
        let Some(lease) = s.sessions[n].ending else { return };
        let row = *s.seen_by(n).get(lease.id);
        let id = lease.id;
        let held = match row.waiting {
            Some(row) => row.running && (row.token == lease.token || !self.has(Rule::TokenTest)),
            None => lease.attempt == 1 && row.attempts == 0,
        };
        s.misjudged |= held == lease.lost;
        let wakes = held && verdict == Verdict::Done;
        let is_last = !wakes && !closes;
        s.go_to(n, if is_last { Step::Commit } else { Step::Wake { wakes, closes } });
        if !held {
            return;
        }
        if verdict != Verdict::Released {
            s.write(
                n,
                Write::Attempt { id, number: lease.attempt, ends: verdict == Verdict::Done },
            );
        }
        let (due, attempts) = match verdict {
            Verdict::Done if row.waiting.is_some() => return s.write(n, Write::Delete(id)),
            Verdict::Done => return,
            Verdict::Retry => (Due::Later, lease.attempt),
            Verdict::Released => (Due::Now, lease.attempt - 1),
        };
        let replayed = row.waiting.is_some_and(|row| row.replayed);
        let next = Waiting { running: false, due, attempts, replayed, token: 0 };
        s.write(
            n,
            if row.waiting.is_some() { Write::Update(id, next) } else { Write::Insert(id, next) },
        );
    }

    /// Gives the turn to the next delivery of the entity, and closes the row in `claimed`. False: waits for a lock.
    pub(crate) fn wake(&self, s: &mut System, n: usize, wakes: bool, closes: bool) -> bool {
        let Some(lease) = s.sessions[n].ending else { return false };
        s.go_to(n, Step::Commit);
        let seen = s.seen_by(n);
        let entity = seen.get(lease.id).entity.filter(|_| wakes && self.has(Rule::Wake));
        let first = entity.and_then(|e| seen.ids_of(e).find_map(|o| Some((o, seen.waiting(o)?))));
        if let Some((id, row)) = first.filter(|(_, row)| row.due == Due::Behind) {
            if !s.lock(n, |locks| locks.rows.push(id)) {
                return false;
            }
            s.write(n, Write::Update(id, Waiting { due: Due::Now, ..row }));
        }
        if !closes {
            return true;
        }
        if !seen.is_closed(lease.block) {
            s.write(n, Write::Close(0, lease.block));
        }
        s.lock(n, |locks| locks.tables = self.has(Rule::TableLocks))
    }

    /// Begins `replay`, whose locks are waited for.
    pub(crate) fn begin_replay(&self, s: &mut System, n: usize, id: Id) -> bool {
        let entity = s.tables.get(id).entity;
        s.go_to(n, Step::Turn(id));
        s.lock(n, |locks| {
            locks.source_shared = entity.is_some();
            locks.replay = self.has(Rule::ReplayAlone);
            locks.entities.extend(entity.filter(|_| self.has(Rule::EntityLockInReplay)));
            locks.tables = self.has(Rule::TableLocks);
        })
    }

    /// Reads the first ready delivery of the entity. False: waits for a lock.
    pub(crate) fn turn(&self, s: &mut System, n: usize, id: Id) -> bool {
        let seen = s.seen_by(n);
        let row = seen.get(id);
        if !row.ended || row.waiting.is_some() {
            s.go_to(n, Step::Commit);
            return true;
        }
        let rows = row.entity.into_iter().flat_map(|e| seen.ids_of(e));
        let rows: Vec<(Id, Waiting)> = rows.filter_map(|o| Some((o, seen.waiting(o)?))).collect();
        let turn = rows.iter().find(|(_, row)| !row.running).map(|(o, _)| *o);
        s.go_to(n, Step::Replay { id, turn });
        s.lock(n, |locks| locks.rows.extend(rows.iter().map(|(o, _)| *o)))
    }

    /// Decides whether the delivery is due, and lets it wait.
    pub(crate) fn replay(&self, s: &mut System, n: usize, id: Id, turn: Option<Id>) {
        let seen = s.seen_by(n);
        let row = seen.get(id);
        let is_due = row.entity.is_none_or(|entity| {
            let runs = |o: Id| seen.waiting(o).is_some_and(|row| row.running);
            let runs_first = self.has(Rule::LookInReplay)
                && seen.is_running_before(entity, seen.claimed_up_to());
            !seen.ids_of(entity).any(runs) && turn.is_none_or(|turn| id < turn) && !runs_first
        });
        let due = if is_due { Due::Now } else { Due::Behind };
        let next =
            Waiting { running: false, due, attempts: row.attempts, replayed: true, token: 0 };
        s.write(n, Write::InsertIfNone(id, next));
        s.go_to(n, Step::Commit);
    }
}
