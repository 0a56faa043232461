//! The program: the engine's commands with this fork's handlers.

use std::process::ExitCode;

use handlers::Context;
use webhook_receiver::App;

fn main() -> ExitCode {
    webhook_receiver::main(App::new(handlers::catalog(), Context::connect).pages(handlers::pages))
}
