//! What each command does, beyond the library.

pub(crate) mod dev;
pub(crate) mod healthcheck;
pub(crate) mod inbox;
pub(crate) mod openapi;
pub(crate) mod secret;
pub(crate) mod serve;
pub(crate) mod verify;

use std::io::Write as _;

/// Prints a line. Unlike `println!` it leaves a reader that has gone, such as `head`, to the caller.
fn print(line: impl std::fmt::Display) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
