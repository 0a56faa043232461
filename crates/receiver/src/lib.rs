//! Receiver: HTTP ingress, dispatch to handlers, the OpenAPI document, and the process that runs them.
//!
//! The crate may depend on every crate below it; only the doctor, the commands and the façade may depend on it.

pub mod dispatch;
pub mod hook_log;
pub mod ingress;
pub mod openapi;
pub mod serve;
