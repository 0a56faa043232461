//! The program: the engine's commands with this fork's handlers.

use std::process::ExitCode;

use handlers::Context;
use webhook_receiver::App;

/// Threads free what others have allocated: there the system's allocator makes them wait for each other.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    webhook_receiver::main(App::new(handlers::catalog(), Context::connect).pages(handlers::pages))
}
