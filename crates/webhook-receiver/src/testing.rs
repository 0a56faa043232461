//! Checks for a fork's tests: the invariants of a catalog, and the documents generated from it.
//!
//! ```ignore
//! #[tokio::test]
//! async fn the_catalog_is_sound() {
//!     assert_eq!(testing::violations(handlers::catalog(), Context::default()).await, [""; 0]);
//! }
//! ```

mod events;
mod hooks;
mod schemas;

use contract::catalog::Catalog;
use receiver::openapi;

/// Lists the violations of a catalog's invariants, one sentence each: names claimed twice, schemas that clash or do not
/// describe their fields, models that are stricter than their senders, examples that their own handlers reject.
///
/// Every handler of an event is run once, on its example and a clone of `context`.
pub async fn violations<C: Clone + Send + Sync + 'static>(
    catalog: Catalog<C>,
    context: C,
) -> Vec<String> {
    let handlers = match catalog.bind(&context) {
        Ok(handlers) => handlers,
        Err(clash) => return vec![clash.to_string()],
    };
    let (schemas, mut found) = schemas::of(handlers.table());
    for row in handlers.table().events() {
        found.extend(events::violations(row, handlers.table(), &schemas));
        found.extend(events::refusal(row, &handlers).await);
    }
    for row in handlers.table().hooks() {
        found.extend(hooks::violations(row));
    }
    found
}

/// Checks that a committed OpenAPI document is what the command `openapi` prints for this catalog. A document that another
/// version of the engine printed is not compared, since its texts are that engine's: print it again after an upgrade.
///
/// # Errors
/// If the document is not current or not JSON, or the catalog has a clash.
pub fn openapi<C: Clone + Send + Sync + 'static>(
    catalog: &Catalog<C>,
    committed: &str,
) -> anyhow::Result<()> {
    let is_current = openapi::is_current(committed, &*catalog.table()?)?;
    anyhow::ensure!(
        is_current,
        "it is not current; run: cargo run -- openapi > openapi/openapi.json"
    );
    Ok(())
}

/// Checks settings as the command `check` does.
///
/// # Errors
/// The first invalid setting, with its remedy.
pub fn settings(text: &str) -> anyhow::Result<()> {
    let settings = settings::parse(text, [], "the settings")?;
    Ok(settings.check()?)
}
