//! Where a dialect puts what it says about a delivery: the receiver reads there, the emitter writes there.

use crate::event::Dialect;

/// One dialect's headers and fields, as its vendor spells them. They are matched without regard to case.
pub(crate) struct Places {
    pub(crate) content_type: &'static str,
    pub(crate) message_id: &'static str,
    pub(crate) client_id: &'static str,
    pub(crate) user: &'static str,
    pub(crate) event_type: &'static str,
    pub(crate) event_time: &'static str,
}

static DIRECTSCALE: Places = Places {
    content_type: "application/json; charset=UTF-8",
    message_id: "X-Directscale-Message-Id",
    client_id: "X-Directscale-Client-Id",
    user: "X-Directscale-User",
    event_type: "EventType",
    event_time: "EventDateUtc",
};

impl Places {
    pub(crate) fn of(dialect: Dialect) -> &'static Places {
        match dialect {
            Dialect::DirectScale => &DIRECTSCALE,
            // Read like DirectScale's until their own places are in the table.
            _ => &DIRECTSCALE,
        }
    }
}
