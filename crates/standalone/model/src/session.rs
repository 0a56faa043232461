//! Sessions: transactions under way, their locks, and what they have not committed.

use crate::system::{System, Verdict};
use crate::tables::{Due, Id, Tables, Token, Write};

/// Lease that a worker was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Lease {
    pub(crate) id: Id,
    pub(crate) attempt: u8,
    pub(crate) token: Token,
    /// Last id of the row in `claimed`; 0 if the delivery was in `waiting`.
    pub(crate) block: Id,
    pub(crate) replayed: bool,
    pub(crate) expired: bool,
    /// The delivery was claimed again.
    pub(crate) lost: bool,
}

/// Next step of a transaction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Step {
    #[default]
    Idle,
    /// `expire` has chosen a row of `claimed` in its snapshot.
    Expire(Id),
    /// `claim` has expired claims, and late and first attempts are to come.
    Claim,
    /// `claim_late` has chosen a candidate in its snapshot.
    ClaimLate(Id),
    /// `claim` has late attempts, and first ones are to come.
    First,
    /// `claim` holds the source, and its snapshot has this position.
    ClaimFirst {
        position: Id,
        share: usize,
    },
    /// `finish` holds its locks.
    Judge {
        verdict: Verdict,
        closes: bool,
    },
    /// `finish` has written the verdict.
    Wake {
        wakes: bool,
        closes: bool,
    },
    /// `replay` holds its locks.
    Turn(Id),
    /// `replay` has read the first of its entity.
    Replay {
        id: Id,
        turn: Option<Id>,
    },
    /// `tidy` holds the locks of sources.
    Rotate,
    Commit,
}

/// Locks of a transaction, all held until its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Locks {
    /// 120.
    pub(crate) tidy: bool,
    /// 122 of the one source.
    pub(crate) source: bool,
    pub(crate) source_shared: bool,
    /// 123.
    pub(crate) token: Option<Token>,
    pub(crate) token_shared: Option<Token>,
    /// 124.
    pub(crate) entities: Vec<u8>,
    /// Held by a replay, if one waits for the other.
    pub(crate) replay: bool,
    /// Rows of `waiting`.
    pub(crate) rows: Vec<Id>,
    /// `claimed` and `closed`, of any statement that reads them.
    pub(crate) tables: bool,
    /// The same, of `TRUNCATE`.
    pub(crate) tables_alone: bool,
}

impl Locks {
    /// True if both can be held at once.
    fn agree(&self, other: &Locks) -> bool {
        let meets = |a: &Locks, b: &Locks| {
            a.tidy && b.tidy
                || a.source && (b.source || b.source_shared)
                || a.token.is_some() && (a.token == b.token || a.token == b.token_shared)
                || a.replay && b.replay
                || a.tables_alone && (b.tables || b.tables_alone)
                || a.entities.iter().any(|entity| b.entities.contains(entity))
                || a.rows.iter().any(|id| b.rows.contains(id))
        };
        !meets(self, other) && !meets(other, self)
    }
}

/// A connection with its transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Session {
    pub(crate) step: Step,
    pub(crate) locks: Locks,
    pub(crate) writes: Vec<Write>,
    /// Lease whose verdict is being written.
    pub(crate) ending: Option<Lease>,
    /// Leases that the commit gives.
    pub(crate) leases: Vec<Lease>,
}

impl System {
    /// What a statement of the session sees: its snapshot is taken now.
    pub(crate) fn seen_by(&self, number: usize) -> Tables {
        let mut tables = self.tables.clone();
        tables.apply(&self.sessions[number].writes);
        tables
    }

    /// Takes locks if nobody else holds them.
    pub(crate) fn lock(&mut self, number: usize, add: impl FnOnce(&mut Locks)) -> bool {
        let mut locks = self.sessions[number].locks.clone();
        add(&mut locks);
        let others = self.sessions.iter().enumerate().filter(|(other, _)| *other != number);
        let is_free = others.map(|(_, other)| &other.locks).all(|other| locks.agree(other));
        if is_free {
            self.sessions[number].locks = locks;
        }
        is_free
    }

    /// Ends a part of `claim`. A transaction that has written nothing may as well not have been.
    pub(crate) fn go_on(&mut self, number: usize, step: Step) {
        match self.sessions[number].writes.is_empty() {
            true => self.sessions[number] = Session::default(),
            false => self.sessions[number].step = step,
        }
    }

    pub(crate) fn go_to(&mut self, number: usize, step: Step) {
        self.sessions[number].step = step;
    }

    pub(crate) fn write(&mut self, number: usize, write: Write) {
        self.sessions[number].writes.push(write);
    }

    /// Commits: others see what was written, and workers get their leases.
    pub(crate) fn commit(&mut self, number: usize) {
        let session = std::mem::take(&mut self.sessions[number]);
        self.tables.apply(&session.writes);
        if session.writes.contains(&Write::Rotate) {
            self.sessions.iter_mut().flat_map(|s| &mut s.writes).for_each(Write::grow_older);
        }
        for lease in session.leases {
            self.known_leases().filter(|old| old.id == lease.id).for_each(|old| old.lost = true);
            self.leases.push(lease);
        }
    }

    /// The leases of all workers, with those whose verdict is being written.
    pub(crate) fn known_leases(&mut self) -> impl Iterator<Item = &mut Lease> {
        let ending = self.sessions.iter_mut().filter_map(|session| session.ending.as_mut());
        self.leases.iter_mut().chain(ending)
    }

    /// The clock passes the end of a row in `claimed`.
    pub(crate) fn expire_block(&mut self, last: Id) {
        let blocks = self.tables.claimed.iter_mut();
        blocks.filter(|block| block.last == last).for_each(|block| block.expired = true);
        let leases = self.known_leases();
        leases.filter(|lease| lease.block == last).for_each(|lease| lease.expired = true);
    }

    /// The clock passes the due time of a row in `waiting`.
    pub(crate) fn reach_due(&mut self, id: Id) {
        if let Some(row) = &mut self.tables.get_mut(id).waiting {
            row.due = Due::Now;
            let (running, token) = (row.running, row.token);
            let is_meant = |l: &&mut Lease| running && l.id == id && l.token == token;
            self.known_leases().filter(is_meant).for_each(|l| l.expired = true);
        }
    }
}
