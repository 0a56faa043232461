//! The engine's checks, applied to this fork's catalog, its generated document and its settings.

use handlers::{Context, catalog};
use webhook_receiver::testing;

#[tokio::test]
async fn the_catalog_is_sound() {
    let violations = testing::violations(catalog(), Context::default()).await;
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn the_committed_openapi_document_is_current() -> anyhow::Result<()> {
    testing::openapi(&catalog(), include_str!("../openapi/openapi.json"))
}

#[test]
fn the_example_of_the_settings_can_be_used() -> anyhow::Result<()> {
    testing::settings(include_str!("../receiver.example.toml"))
}
