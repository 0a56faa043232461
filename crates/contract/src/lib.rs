//! The contract that handlers and payload models compile against: events, deliveries, hooks and the catalog of their
//! handlers.
//!
//! It depends on no other crate of the engine but [`text`], and every other crate may depend on it.

pub mod canary;
pub mod catalog;
pub mod effect;
pub mod event;
pub mod extension;
pub mod hook;
pub mod time;
