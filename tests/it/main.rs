//! The integration tests, by theme.

#![allow(clippy::unwrap_used)]

mod browser;
mod openapi;
mod webdriver;
