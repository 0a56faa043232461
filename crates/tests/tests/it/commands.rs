//! The command line, the settings and what is generated.

mod browser;
mod catalog;
mod check;
mod cli;
mod config;
mod corpus;
mod hooks;
mod keys;
mod openapi;
mod secrets;
