//! One-effect handlers and deferred events.

mod killed;
mod once;
mod running;
