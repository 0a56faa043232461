//! A page that greets its user.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use webhook_receiver::PageUser;

use super::Context;

pub(super) fn pages() -> Router<Context> {
    Router::new().route("/welcome", get(welcome))
}

async fn welcome(State(_): State<Context>, user: PageUser) -> axum::response::Html<String> {
    let name = user.name.replace('&', "&amp;").replace('<', "&lt;");
    axum::response::Html(format!(
        "<!doctype html><html lang=\"en\"><title>Welcome</title><h1>Welcome, {name}</h1><p>This is {}.</p></html>",
        user.environment
    ))
}
