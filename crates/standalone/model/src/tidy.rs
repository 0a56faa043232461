//! The rotation of claims in `tidy`.

use crate::rule::Rule;
use crate::session::Step;
use crate::system::{Inbox, System};
use crate::tables::{Block, GENERATIONS, Tables, Write};

impl Inbox {
    /// Begins: waits for the lock of the source, and goes on if every row of the next generation is closed.
    pub(crate) fn begin_tidy(&self, s: &mut System, n: usize) -> bool {
        let is_closed = |block: &Block| s.tables.is_closed(block.last);
        if self.has(Rule::ClosedTest) && !oldest(&s.tables).all(is_closed) {
            return false;
        }
        s.go_to(n, Step::Rotate);
        s.lock(n, |locks| {
            locks.tidy = true;
            locks.source = self.has(Rule::SourceLocksInTidy);
        })
    }

    /// Moves the position and empties the next generation. False: waits for a lock.
    pub(crate) fn rotate(&self, s: &mut System, n: usize) -> bool {
        let last = oldest(&s.tables).map(|block| block.last).max();
        if let Some(last) = last.filter(|_| self.has(Rule::Position)) {
            s.write(n, Write::Position(last));
        }
        s.write(n, Write::Rotate);
        s.go_to(n, Step::Commit);
        s.lock(n, |locks| locks.tables_alone = self.has(Rule::TableLocks))
    }
}

fn oldest(tables: &Tables) -> impl Iterator<Item = &Block> {
    tables.claimed.iter().filter(|block| block.age + 1 == GENERATIONS)
}
