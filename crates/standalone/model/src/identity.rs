//! Identities of deliveries: `accept` of one message by several receivers, while `tidy` rotates the generations of `seen`.

use stateright::{Model, Property};

use crate::rule::Rule;

/// Number of generations of `seen`, which are numbered by age.
const GENERATIONS: u8 = 4;

/// Number of rotations after which the window has passed: each comes a third of it after the one before, and the first may
/// come at once.
const WINDOW: u8 = 4;

/// Receivers that accept the same message.
#[derive(Debug, Clone)]
pub(crate) struct Identities {
    pub(crate) receivers: usize,
    pub(crate) without: Vec<Rule>,
}

/// Next step of `accept`, with the number of rotations since its beginning, which is the time of its receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Accept {
    Idle,
    /// The lock is held and the present generation is known, which since then has grown to this age.
    Look(u8),
    /// `seen` was read, and is locked against `TRUNCATE`; the message is new, or is known.
    Commit(u8, bool),
}

/// The generations that hold the identity, and the receivers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    seen: [bool; GENERATIONS as usize],
    /// Rotations since the message was new.
    age: Option<u8>,
    accepts: Vec<Accept>,
    /// It was new twice within the window.
    new_twice: bool,
    /// It was new again after the window.
    new_again: bool,
}

/// A step of one receiver, or a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Next(usize),
    Rotate,
}

impl Identities {
    fn has(&self, rule: Rule) -> bool {
        !self.without.contains(&rule)
    }

    fn generations(&self) -> u8 {
        if self.has(Rule::SpareGeneration) { GENERATIONS } else { GENERATIONS - 1 }
    }

    /// A step of `accept`. False: waits for lock 121 of the source.
    fn accept(&self, s: &mut Identity, n: usize) -> bool {
        let is_free = s.accepts.iter().all(|accept| *accept == Accept::Idle);
        s.accepts[n] = match s.accepts[n] {
            Accept::Idle if is_free || !self.has(Rule::LockInAccept) => Accept::Look(0),
            Accept::Idle => return false,
            Accept::Look(age) => {
                let place = usize::from(age % self.generations());
                let is_known = match self.has(Rule::LookAtOlder) {
                    true => s.seen.contains(&true),
                    false => s.seen[place],
                };
                Accept::Commit(age, !is_known)
            }
            Accept::Commit(age, is_new) => {
                if is_new {
                    s.seen[usize::from(age % self.generations())] = true;
                    s.new_twice |= s.age.is_some_and(|since| since < WINDOW);
                    s.new_again |= s.age.is_some_and(|since| since >= WINDOW);
                    s.age = Some(age);
                }
                Accept::Idle
            }
        };
        true
    }

    /// Empties the oldest generation, which becomes the present one. False: waits for an `accept` that has read it.
    fn rotate(&self, s: &mut Identity) -> bool {
        s.seen[usize::from(self.generations()) - 1] = false;
        s.seen[..usize::from(self.generations())].rotate_right(1);
        s.age = s.age.map(|age| WINDOW.min(age + 1));
        for accept in &mut s.accepts {
            match accept {
                // One that takes longer than the window has nothing to go by.
                Accept::Look(age) if *age < WINDOW => *age += 1,
                Accept::Look(_) | Accept::Commit(..) => return false,
                Accept::Idle => {}
            }
        }
        true
    }
}

impl Model for Identities {
    type State = Identity;
    type Action = Action;

    fn init_states(&self) -> Vec<Identity> {
        let accepts = vec![Accept::Idle; self.receivers];
        let seen = [false; GENERATIONS as usize];
        vec![Identity { seen, age: None, accepts, new_twice: false, new_again: false }]
    }

    fn actions(&self, s: &Identity, actions: &mut Vec<Action>) {
        actions.extend((0..s.accepts.len()).map(Action::Next));
        actions.push(Action::Rotate);
    }

    fn next_state(&self, s: &Identity, action: Action) -> Option<Identity> {
        let mut next = s.clone();
        let is_done = match action {
            Action::Next(n) => self.accept(&mut next, n),
            Action::Rotate => self.rotate(&mut next),
        };
        next.accepts.sort_unstable();
        is_done.then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("new once within the window", |_, s: &Identity| !s.new_twice),
            Property::sometimes("new again after the window", |_, s: &Identity| s.new_again),
        ]
    }
}
