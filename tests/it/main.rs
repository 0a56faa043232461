//! The integration tests, one module for each theme.

#![allow(clippy::unwrap_used)]

mod browser;
mod cli;
mod config;
mod conformance;
mod deliveries;
mod dispatch;
mod drain;
mod emit;
mod front;
mod jobs;
mod limits;
mod log;
mod model;
mod openapi;
mod process;
mod program;
mod receive;
mod receiver;
mod survive;
mod watched;
mod webdriver;
mod wire;
