//! The command line, the settings and what is generated.

mod browser;
mod catalog;
mod check;
mod cli;
mod config;
mod corpus;
mod hooks;
mod inbox;
mod keys;
mod openapi;
mod secrets;
