//! Payload models of known senders. They depend on the contract alone: use them as they are, or copy a file and own it.

pub mod directscale;
pub mod evolutionx;
pub mod github;
