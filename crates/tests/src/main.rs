//! The program with the fixture's handlers, for tests that start a process.

use std::process::ExitCode;

fn main() -> ExitCode {
    webhook_receiver::main(fixture::app())
}
