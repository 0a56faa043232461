//! The integration tests, one module for each theme.

#![allow(clippy::unwrap_used)]

mod browser;
mod conformance;
mod deliveries;
mod dispatch;
mod emit;
mod front;
mod jobs;
mod model;
mod openapi;
mod watched;
mod webdriver;
