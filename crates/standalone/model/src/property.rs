//! What must hold in every state, and what must happen in some, lest nothing be proved.

use stateright::Property;

use crate::session::{Lease, Session, Step};
use crate::system::{Inbox, System};
use crate::tables::{Due, Id};

pub(crate) fn all() -> Vec<Property<Inbox>> {
    vec![
        Property::always(
            "a lost lease does not count, and one that is held does",
            |_, s: &System| !s.misjudged,
        ),
        Property::always("no attempt ends twice", |_, s: &System| !s.tables.written_twice),
        Property::always("one lease for a delivery", |_, s: &System| {
            s.no_two_leases(|a, b| a.id == b.id)
        }),
        Property::always("one lease for an entity", |_, s: &System| {
            let entity = |lease: &Lease| s.tables.get(lease.id).entity;
            s.no_two_leases(|a, b| entity(a).is_some() && entity(a) == entity(b))
        }),
        Property::always("first runs in order", |_, s: &System| {
            s.live().filter(|lease| !lease.replayed).all(|lease| s.is_first_of_entity(lease.id))
        }),
        Property::always("claimed once: the position is right", |_, s: &System| {
            let up_to = s.tables.claimed_up_to();
            let is_known = |id: Id| !s.tables.is_first_attempt(id) || s.is_in_open_block(id);
            s.tables
                .ids()
                .all(|id| if id <= up_to { is_known(id) } else { s.tables.is_first_attempt(id) })
        }),
        Property::always("nothing is stranded", |_, s: &System| {
            s.tables.ids().all(|id| s.goes_on(id))
        }),
        Property::sometimes("all are done", |_, s: &System| {
            s.tables.deliveries.iter().all(|d| d.ended)
        }),
        Property::sometimes("a lease is lost", |_, s: &System| {
            s.leases.iter().any(|lease| lease.lost)
        }),
        Property::sometimes("a delivery waits behind another", |_, s: &System| {
            s.tables.ids().any(|id| s.tables.waiting(id).is_some_and(|w| w.due == Due::Behind))
        }),
        Property::sometimes("a replay is done", |_, s: &System| {
            let replayed = |session: &Session| session.ending.is_some_and(|lease| lease.replayed);
            let wakes = |session: &Session| matches!(session.step, Step::Wake { wakes: true, .. });
            s.sessions.iter().any(|session| replayed(session) && wakes(session))
        }),
        Property::sometimes("claims are emptied", |_, s: &System| s.tables.position > 0),
    ]
}

impl System {
    fn live(&self) -> impl Iterator<Item = &Lease> + Clone {
        self.leases.iter().filter(|lease| !lease.expired)
    }

    fn no_two_leases(&self, meet: impl Fn(&Lease, &Lease) -> bool) -> bool {
        let mut leases = self.live();
        while let Some(lease) = leases.next() {
            if leases.clone().any(|other| meet(lease, other)) {
                return false;
            }
        }
        true
    }

    fn is_first_of_entity(&self, id: Id) -> bool {
        let tables = &self.tables;
        let older = tables.get(id).entity.into_iter().flat_map(|entity| tables.ids_of(entity));
        older.filter(|o| *o < id).all(|o| tables.get(o).ended_once)
    }

    fn is_in_open_block(&self, id: Id) -> bool {
        let tables = &self.tables;
        tables.claimed.iter().any(|b| b.after < id && id <= b.last && !tables.is_closed(b.last))
    }

    /// True if the delivery has ended, or a step leads on: of its own, or of another of its entity, which will wake it.
    fn goes_on(&self, id: Id) -> bool {
        let tables = &self.tables;
        match tables.waiting(id) {
            Some(row) if row.due == Due::Behind || !tables.has_turn(id, row) => {
                let others = tables.get(id).entity.into_iter().flat_map(|e| tables.ids_of(e));
                let leads = |o: Id| match tables.waiting(o) {
                    Some(row) => row.due != Due::Behind && tables.has_turn(o, row),
                    None => tables.is_first_attempt(o) && self.is_in_open_block(o),
                };
                others.filter(|o| *o != id).any(leads)
            }
            Some(_) => true,
            None => {
                tables.get(id).ended || id > tables.claimed_up_to() || self.is_in_open_block(id)
            }
        }
    }
}
