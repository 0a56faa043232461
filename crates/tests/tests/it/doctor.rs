//! The doctor, and explanations of refusals.

mod expect;
mod foreign;
mod probes;
mod verify;
mod why;
