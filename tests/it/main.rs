//! The integration tests, one module for each theme.

#![allow(clippy::unwrap_used)]

mod browser;
mod conformance;
mod deliveries;
mod emit;
mod model;
mod openapi;
mod webdriver;
