//! Receiver: HTTP ingress, dispatch to handlers, the OpenAPI document, and the process that runs them.
//!
//! It depends on the inbox, the server and what is below them; the façade alone depends on it.

pub mod dispatch;
pub mod hook_log;
pub mod ingress;
pub mod openapi;
mod route;
pub mod serve;
pub mod tallies;
