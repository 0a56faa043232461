//! The operators' console.

mod access;
mod acts;
mod browser;
mod live;
mod shown;

use fixture::{Context, catalog};
use http::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use crate::harness::client::Request;
use crate::harness::receiver::{Receiver, SOURCES};

/// The pages of the console that need no id.
const PAGES: [&str; 9] = [
    "",
    "/deliveries",
    "/refused",
    "/hooks",
    "/sources",
    "/catalog",
    "/dispatch",
    "/retention",
    "/acts",
];

/// A receiver with its console.
struct Site {
    receiver: Receiver,
    client: reqwest::Client,
    cookie: Option<String>,
}

/// An answer of the console.
struct Shown {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Site {
    /// On loopback without a login, with the fixture's events.
    async fn open() -> Site {
        Site::open_with("").await
    }

    async fn open_with(settings: &str) -> Site {
        let receiver =
            Receiver::start(&format!("{settings}{SOURCES}"), catalog(), Context::default()).await;
        Site::of(receiver)
    }

    fn of(receiver: Receiver) -> Site {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        Site { receiver, client: client.build().unwrap(), cookie: None }
    }

    /// With a password for viewers, `see`, and one for operators, `do it`.
    async fn guarded() -> Site {
        let hash = |password: &str| server::password::hash(&password.into()).unwrap();
        let (viewer, operator) = (hash("see"), hash("do it"));
        Site::open_with(&format!(
            "[console]\nviewer_password_hash = \"{viewer}\"\noperator_password_hash = \"{operator}\"\n"
        ))
        .await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/console{path}", self.receiver.address)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, self.url(path));
        match &self.cookie {
            Some(cookie) => request.header("cookie", cookie),
            None => request,
        }
    }

    async fn get(&self, path: &str) -> Shown {
        shown(self.request(Method::GET, path).header("accept", "text/html")).await
    }

    async fn json(&self, path: &str) -> Value {
        let shown =
            shown(self.request(Method::GET, path).header("accept", "application/json")).await;
        assert_eq!(shown.status, 200, "{path}: {}", shown.text);
        serde_json::from_str(&shown.text).unwrap()
    }

    /// Posts a form from a page of the console.
    async fn post(&self, path: &str, form: &str) -> Shown {
        let origin = format!("http://{}", self.receiver.address);
        let request = self.request(Method::POST, path).header("origin", origin);
        shown(
            request
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form.to_owned()),
        )
        .await
    }

    /// Logs in, and stays so.
    async fn log_in(&mut self, name: &str, password: &str) -> Shown {
        let form = format!("name={name}&password={}", password.replace(' ', "+"));
        let shown = self.post("/login", &form).await;
        let cookie = shown.headers.get("set-cookie").map(|cookie| cookie.to_str().unwrap());
        self.cookie = cookie.and_then(|cookie| cookie.split(';').next()).map(str::to_owned);
        shown
    }

    /// Sends a delivery of the live source, and returns its number.
    async fn deliver(&self, event: &str, id: &str, body: impl AsRef<[u8]>) -> i64 {
        let request = Request::live(&format!("/api/webhooks/{event}"), body).id(id);
        let answer = self.receiver.send(&request).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["deliveryId"].as_i64().unwrap()
    }

    /// Waits until a delivery is in this state.
    async fn until(&self, id: i64, state: &str) {
        let path = format!("/deliveries/{id}");
        self.wait(async || self.json(&path).await["state"] == state).await;
    }

    /// Waits until an act has ended, and returns it.
    async fn ended(&self, act: i64) -> Value {
        let path = format!("/acts/{act}");
        self.wait(async || self.json(&path).await["state"] != "running").await;
        self.json(&path).await
    }

    async fn wait(&self, is_true: impl AsyncFn() -> bool) {
        let begun = std::time::Instant::now();
        while !is_true().await {
            assert!(begun.elapsed() < std::time::Duration::from_secs(20), "it does not come true");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

async fn shown(request: RequestBuilder) -> Shown {
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Shown { status, headers, text: answer.text().await.unwrap() }
}

/// The number of the act that a form has begun, from its redirect.
fn act(shown: &Shown) -> i64 {
    assert_eq!(shown.status, 303, "{}", shown.text);
    let location = shown.headers["location"].to_str().unwrap();
    location.rsplit('/').next().unwrap().parse().unwrap()
}
