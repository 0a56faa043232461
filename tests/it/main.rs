//! The integration tests, one module for each theme.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod backup;
mod browser;
mod bus;
mod bus_faults;
mod bus_home;
mod bus_many;
mod bus_pages;
mod bus_program;
mod bus_time;
mod bus_tls;
mod canary;
mod check;
mod cli;
mod config;
mod conformance;
mod corpus;
mod deliveries;
mod dialects;
mod dispatch;
mod doctor;
mod doctor_foreign;
mod drain;
mod emit;
mod expect;
mod front;
mod halves;
mod hook_log;
mod hooks_command;
mod hooks_emit;
mod identity;
mod jobs;
mod keys;
mod limits;
mod log;
mod message_signed;
mod model;
mod nginx;
mod openapi;
mod process;
mod process_hooks;
mod program;
mod readme;
mod receive;
mod receiver;
mod rehearse;
mod repaired;
mod retention;
mod secrets;
mod signed;
mod sink;
mod sqlite;
mod strangers;
mod survive;
mod vendor;
mod verify;
mod waiting;
mod watched;
mod webdriver;
mod why;
mod wire;

// The README's files name these modules as they do inside the crate.
use webhook_receiver::{catalog, event, events, hook, hooks};
