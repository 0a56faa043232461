//! A page from route to test: what a fork copies for its own.
//!
//! The vendor shows it in a frame, under the name by which it is linked there. Whoever looks at it is proven by the
//! parameter of type [`PageUser`]; a page without it is open to everyone.

use axum::Router;
use axum::extract::State;
use axum::response::Html;
use axum::routing::get;
use webhook_receiver::PageUser;

use super::Context;

pub(super) fn pages() -> Router<Context> {
    Router::new().route("/welcome", get(welcome))
}

async fn welcome(State(_): State<Context>, user: PageUser) -> Html<String> {
    let (name, environment) = (escaped(&user.name), user.environment);
    Html(format!(
        "<!doctype html><html lang=\"en\"><title>Welcome</title><h1>Welcome, {name}</h1><p>This is {environment}.</p></html>"
    ))
}

/// Text as it may stand in HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use webhook_receiver::Environment;

    use super::*;

    #[tokio::test]
    async fn a_name_is_text_and_no_html() {
        let user = PageUser {
            name: "<b>J. Smith</b>".into(),
            environment: Environment::Stage,
            source: "directscale".into(),
        };
        let Html(page) = welcome(State(Context::default()), user).await;
        assert!(
            page.contains("<h1>Welcome, &lt;b&gt;J. Smith&lt;/b&gt;</h1><p>This is stage.</p>")
        );
    }
}
