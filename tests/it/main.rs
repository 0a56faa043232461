//! The integration tests, one module for each theme.

mod browser;
mod openapi;
mod webdriver;
