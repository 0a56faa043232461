//! The event bus.

mod api;
mod faults;
mod many;
mod pages;
mod program;
mod rehearse;
mod time;
mod tls;
