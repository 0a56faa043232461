//! The integration tests, one module for each theme.

#![allow(clippy::unwrap_used)]

mod browser;
mod config;
mod emit;
mod openapi;
mod receive;
mod receiver;
mod webdriver;
