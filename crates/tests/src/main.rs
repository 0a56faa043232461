//! The program with the fixture's handlers, for tests that start a process.

use std::process::ExitCode;

/// Threads free what others have allocated: there the system's allocator makes them wait for each other.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    webhook_receiver::main(fixture::app())
}
