//! What docs/handlers.md and docs/hooks.md print about one-effect handlers and deferred events. The program has the handlers of
//! `once.rs`.

// Spelled as in a fork, whose handlers are a library.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

mod after_hook;
mod once;
mod once_postgres;

use std::process::ExitCode;

use webhook_receiver::App;

fn main() -> ExitCode {
    webhook_receiver::main(App::new(once::catalog(), once::Context::connect))
}

#[cfg(test)]
mod tests {
    use webhook_receiver::testing;

    use super::*;

    #[tokio::test]
    async fn the_catalogs_are_sound() {
        let once = once::Context::default();
        assert_eq!(testing::violations(once::catalog(), once).await, [""; 0]);
        let after = after_hook::Context::default();
        assert_eq!(testing::violations(after_hook::catalog(), after).await, [""; 0]);
        assert!(once_postgres::catalog().migration().is_some());
    }
}
