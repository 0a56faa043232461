//! A webhook receiver to fork: it authenticates a sender's deliveries, drops duplicates, keeps them durably, answers,
//! and hands each one, typed, to a handler function.
//!
//! ```text
//! bytes ──http──▶ bounded body ──source──▶ Verified ──inbox──▶ New | Duplicate ──▶ answer the sender
//!                                                        │
//!                                    claim ◀─────────────┘   (woken at once, or by the clock)
//!                                      │
//!                              Delivery ──catalog──▶ Delivery<T> ──handler──▶ Outcome ──inbox──▶ done | retry | dead
//! ```
//!
//! A hook is a call whose sender waits: `http ──▶ source ──▶ dispatch::hooks ──▶ handler`, with the sender's own logic lent to
//! the handler for one use.
//!
//! Each arrow consumes the type on its left, and only the module named on it can make the type on its right.
//! Dependencies point one way: `http → source → signature`, `http → inbox`, `dispatch → catalog → event`, `dispatch → inbox`,
//! `catalog → hook → source`.
//! The inbox calls nobody; the handlers know `event` and their own `Context`; the emitter knows nothing of `http`,
//! `inbox` and `dispatch`. The doctor looks at both ends: it sends as the emitter does and reads the inbox beside the receiver.

pub mod catalog;
pub mod client;
pub mod config;
pub mod dispatch;
pub mod doctor;
pub mod emitter;
pub mod event;
pub mod events;
mod field;
pub mod handlers;
pub mod hook;
pub mod hooks;
pub mod http;
pub mod inbox;
pub mod openapi;
pub mod serve;
pub mod signature;
pub mod source;
mod sqlite;
pub mod telemetry;
pub mod text;
pub mod web;
