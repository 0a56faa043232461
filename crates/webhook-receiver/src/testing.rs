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

/// The OpenAPI document of a catalog, as the command `openapi` prints it: with one source, under `/api/webhooks`.
///
/// # Errors
/// If the catalog has a clash.
pub fn openapi<C: Clone + Send + Sync + 'static>(catalog: &Catalog<C>) -> anyhow::Result<String> {
    let (sources, hooks) = ([openapi::default_source()], [openapi::default_hooks()?]);
    let document = openapi::document(&*catalog.table()?, &sources, &hooks)?;
    Ok(document.to_pretty_json()? + "\n")
}

/// Checks settings as the command `check` does.
///
/// # Errors
/// The first invalid setting, with its remedy.
pub fn settings(text: &str) -> anyhow::Result<()> {
    let settings = settings::parse(text, [], "the settings")?;
    Ok(settings.check()?)
}
