//! The engine's integration tests, by theme. They run on the fixture's catalog.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod bus;
mod commands;
mod console;
mod doctor;
mod effects;
mod emit;
mod harness;
mod inbox;
mod receive;
