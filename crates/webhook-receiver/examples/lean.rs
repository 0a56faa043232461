//! The smallest fork: no handlers, and nothing to give to them.

use std::process::ExitCode;

use webhook_receiver::{App, Catalog};

fn main() -> ExitCode {
    webhook_receiver::main(App::new(Catalog::<()>::new(), async || Ok(())))
}
