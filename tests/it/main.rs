//! The integration tests, one module for each theme.

#![allow(clippy::unwrap_used)]

mod browser;
mod emit;
mod openapi;
mod readme;
mod webdriver;

// The README's files name these modules as they do inside the crate.
use webhook_receiver::{catalog, event, events};
