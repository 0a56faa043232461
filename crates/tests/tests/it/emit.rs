//! The emitter.

mod events;
mod hooks;
