//! The event bus: who gets which event, and what becomes of an event that its target does not take.

pub mod guard;
pub mod persona;
pub mod rehearse;
