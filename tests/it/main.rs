//! The integration tests, one module for each theme.

#![allow(clippy::unwrap_used)]

mod browser;
mod cli;
mod config;
mod emit;
mod log;
mod openapi;
mod process;
mod receive;
mod receiver;
mod webdriver;
