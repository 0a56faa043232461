//! The integration tests, by theme.

#![allow(clippy::unwrap_used)]

#![allow(clippy::unwrap_used)]

mod browser;
mod emit;
mod openapi;
mod webdriver;
