//! The tables of the inbox, and the functions on them that only read.

/// Id of a delivery: 1, 2 and so on. No delivery has the id 0.
pub(crate) type Id = u8;

/// Token of a claim; 0 for none. Real ones are random, and here as few as can be told apart: that of a row in `claimed` is its
/// last id, and a later claim of a delivery takes the first one from [`LATE`] that nobody has for this delivery.
pub(crate) type Token = u8;

pub(crate) const LATE: Token = 100;

/// Number of generations of `claimed` and `closed`. They are numbered by age: 0 is the present one, and the oldest is
/// emptied next.
pub(crate) const GENERATIONS: u8 = 3;

/// Due time, as far as the clock has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Due {
    /// Null: behind another delivery of the entity.
    Behind,
    Later,
    Now,
}

/// Row of `waiting`. A running one is `Later` under its lease, and `Now` once that has expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Waiting {
    pub(crate) running: bool,
    pub(crate) due: Due,
    pub(crate) attempts: u8,
    pub(crate) replayed: bool,
    pub(crate) token: Token,
}

/// Row of `claimed`: the deliveries after an id up to another, which is its token as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Block {
    pub(crate) age: u8,
    pub(crate) after: Id,
    pub(crate) last: Id,
    pub(crate) expired: bool,
}

/// A delivery, with its rows in `waiting` and `attempt`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Delivery {
    pub(crate) accepted: bool,
    pub(crate) entity: Option<u8>,
    pub(crate) waiting: Option<Waiting>,
    /// Number of rows in `attempt`.
    pub(crate) attempts: u8,
    /// The last of them ended the delivery.
    pub(crate) ended: bool,
    /// One of them did.
    pub(crate) ended_once: bool,
}

impl Write {
    /// The generation was present when this was written, and is older now.
    pub(crate) fn grow_older(&mut self) {
        if let Write::Claim(Block { age, .. }) | Write::Close(age, _) = self {
            *age = (*age + 1) % GENERATIONS;
        }
    }
}

/// What a transaction writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Write {
    Insert(Id, Waiting),
    /// `ON CONFLICT DO NOTHING`
    InsertIfNone(Id, Waiting),
    Update(Id, Waiting),
    Delete(Id),
    Attempt {
        id: Id,
        number: u8,
        ends: bool,
    },
    Claim(Block),
    /// Age of the generation, and last id of the row in `claimed`.
    Close(u8, Id),
    Position(Id),
    /// The oldest generation is emptied and becomes the present one.
    Rotate,
}

/// The tables.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tables {
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) position: Id,
    pub(crate) claimed: Vec<Block>,
    pub(crate) closed: Vec<(u8, Id)>,
    /// A row was inserted that was there: two verdicts on one attempt, or a delivery that waits twice.
    pub(crate) written_twice: bool,
}

impl Tables {
    pub(crate) fn get(&self, id: Id) -> &Delivery {
        &self.deliveries[usize::from(id) - 1]
    }

    pub(crate) fn get_mut(&mut self, id: Id) -> &mut Delivery {
        &mut self.deliveries[usize::from(id) - 1]
    }

    pub(crate) fn waiting(&self, id: Id) -> Option<Waiting> {
        self.get(id).waiting
    }

    /// Accepted deliveries.
    pub(crate) fn ids(&self) -> impl DoubleEndedIterator<Item = Id> + '_ {
        let last = Id::try_from(self.deliveries.len()).unwrap_or(Id::MAX);
        (1..=last).filter(|id| self.get(*id).accepted)
    }

    /// Accepted deliveries of an entity.
    pub(crate) fn ids_of(&self, entity: u8) -> impl DoubleEndedIterator<Item = Id> + '_ {
        self.ids().filter(move |id| self.get(*id).entity == Some(entity))
    }

    pub(crate) fn is_closed(&self, last: Id) -> bool {
        self.closed.iter().any(|(_, closed)| *closed == last)
    }

    /// A delivery of which `claimed` alone says that it was claimed.
    pub(crate) fn is_first_attempt(&self, id: Id) -> bool {
        let row = self.get(id);
        row.accepted && row.waiting.is_none() && row.attempts == 0
    }

    pub(crate) fn claimed_up_to(&self) -> Id {
        self.claimed.iter().map(|block| block.last).fold(self.position, Id::max)
    }

    pub(crate) fn has_turn(&self, id: Id, row: Waiting) -> bool {
        let goes_first = |(o, other): (Id, Waiting)| match row.running {
            true => other.running && o < id,
            false => other.running || o < id,
        };
        let rows = |entity| self.ids_of(entity).filter_map(|o| Some((o, self.waiting(o)?)));
        self.get(id).entity.is_none_or(|entity| {
            let mut others = rows(entity).filter(|(o, row)| *o != id && row.due != Due::Behind);
            !others.any(goes_first)
        })
    }

    pub(crate) fn is_running_before(&self, entity: u8, up_to: Id) -> bool {
        let last = self.ids_of(entity).rev().find(|o| *o <= up_to && self.waiting(*o).is_none());
        last.is_some_and(|id| self.get(id).attempts == 0)
    }

    pub(crate) fn apply(&mut self, writes: &[Write]) {
        for write in writes {
            self.write(*write);
        }
        self.claimed.sort_unstable();
        self.closed.sort_unstable();
    }

    fn write(&mut self, write: Write) {
        match write {
            Write::InsertIfNone(id, _) if self.waiting(id).is_some() => {}
            Write::Insert(id, row) | Write::InsertIfNone(id, row) => {
                let before = self.get_mut(id).waiting.replace(row);
                self.written_twice |= before.is_some();
            }
            Write::Update(id, row) => {
                self.get_mut(id).waiting = Some(row);
            }
            Write::Delete(id) => self.get_mut(id).waiting = None,
            Write::Attempt { id, number, ends } => {
                let row = self.get_mut(id);
                let is_next = number == row.attempts + 1;
                *row = Delivery {
                    attempts: number.max(row.attempts),
                    ended: ends,
                    ended_once: row.ended_once || ends,
                    ..*row
                };
                self.written_twice |= !is_next;
            }
            Write::Claim(block) => self.claimed.push(block),
            Write::Close(age, last) => {
                self.written_twice |= self.closed.contains(&(age, last));
                self.closed.push((age, last));
            }
            Write::Position(id) => self.position = self.position.max(id),
            Write::Rotate => {
                self.claimed.retain(|block| block.age + 1 < GENERATIONS);
                self.closed.retain(|(age, _)| age + 1 < GENERATIONS);
                self.claimed.iter_mut().for_each(|block| block.age += 1);
                self.closed.iter_mut().for_each(|(age, _)| *age += 1);
            }
        }
    }
}
