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
mod readme;
mod receive;
mod receiver;
mod retention;
mod sqlite;
mod survive;
mod waiting;
mod watched;
mod webdriver;
mod wire;

// The README's files name these modules as they do inside the crate.
use webhook_receiver::{catalog, event, events};
