//! What each command does, beyond the library.

pub(crate) mod dev;
pub(crate) mod healthcheck;
pub(crate) mod inbox;
pub(crate) mod openapi;
pub(crate) mod secret;
pub(crate) mod serve;
