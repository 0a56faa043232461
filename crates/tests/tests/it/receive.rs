//! Requests to the receiver: deliveries and hooks.

mod canary;
mod cloudevents;
mod deliver;
mod dialects;
mod drain;
mod extension;
mod halves;
mod handshakes;
mod identity;
mod limits;
mod log;
mod message_signed;
mod patterns;
mod process_hooks;
mod remote_keys;
mod repaired;
mod signed;
mod strangers;
