//! A page from route to test: what a fork copies for its own.
//!
//! The vendor shows it in a frame, under the name by which it is linked there. Its user is proven by the parameter of type
//! [`PageUser`]; a page without it is open to everyone.

use axum::Router;
use axum::extract::State;
use axum::response::Html;
use axum::routing::get;
use maud::{DOCTYPE, html};
use webhook_receiver::PageUser;

use super::Context;

pub(super) fn pages() -> Router<Context> {
    Router::new().route("/welcome", get(welcome))
}

async fn welcome(State(_): State<Context>, user: PageUser) -> Html<String> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            title { "Welcome" }
            h1 { "Welcome, " (user.name) }
            p { "This is " (user.environment) "." }
        }
    };
    Html(page.into_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_text_and_no_html() {
        let environment = webhook_receiver::Environment::Stage;
        let user = PageUser { name: "<b>J.</b>".into(), environment, source: "one".into() };
        let Html(page) = welcome(State(Context::default()), user).await;
        assert!(page.contains("<h1>Welcome, &lt;b&gt;J.&lt;/b&gt;</h1><p>This is stage.</p>"));
    }
}
