//! Instants and clocks.

use std::sync::Arc;

use chrono::{DateTime, Utc};

/// An instant in UTC.
pub type Timestamp = DateTime<Utc>;

/// A clock; an argument wherever time matters, so that tests set it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The machine's time. Unlike [`Utc::now`], it does not panic if the clock is before 1970.
pub fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}

/// The machine's clock.
pub fn system_clock() -> Clock {
    Arc::new(now)
}
