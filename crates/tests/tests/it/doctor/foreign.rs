//! `doctor --foreign`: a receiver that is another program is sent nothing that it could act upon, or just what was named.

use std::io::Read;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use flate2::read::GzDecoder;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::doctor::probes::report;

const KEY: &str = "a key with 100% punctuation!";

const SETTINGS: &str = r#"
[sources.shop]
dialect = "directscale"
bearer_tokens = ["a key with 100% punctuation!", "the next one"]
[sources.shop.hooks]
unhandled = "refuse"
[sources.shop-stage]
dialect = "directscale"
environment = "stage"
path = "/stage/api/webhooks"
bearer_tokens = ["stage-key"]
[sources.hub]
dialect = "github"
path = "/github"
signing_keys = ["a key with 100% punctuation!"]
"#;

/// A request that came: whether it was genuine, and the event that it names.
#[derive(Debug, Clone)]
struct Came {
    is_genuine: bool,
    event: String,
    path: String,
}

type Log = Arc<Mutex<Vec<Came>>>;

/// The log, and the status of a refusal.
type Shared = (Log, StatusCode);

/// Somebody else's receiver: it knows the key, and takes every event that comes with it.
struct Foreign {
    address: String,
    log: Log,
    folder: TempDir,
}

impl Foreign {
    async fn start() -> Foreign {
        Foreign::refusing(StatusCode::UNAUTHORIZED).await
    }

    /// Refuses with this status.
    async fn refusing(status: StatusCode) -> Foreign {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let log = Log::default();
        let router = Router::new().fallback(receive).with_state((Arc::clone(&log), status));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("receiver.toml"), SETTINGS).unwrap();
        Foreign { address, log, folder }
    }

    /// What doctor says, and what came meanwhile.
    async fn examined(&self, path: &str, args: &[&str]) -> (Value, Vec<Came>) {
        let url = format!("http://{}{path}", self.address);
        let args: Vec<String> = ["doctor", &url, "--json", "--foreign"]
            .iter()
            .chain(args)
            .map(ToString::to_string)
            .collect();
        let folder = self.folder.path().to_owned();
        let asked = move || report(&folder, &args.iter().map(String::as_str).collect::<Vec<_>>());
        let report = tokio::task::spawn_blocking(asked).await.unwrap();
        (report, std::mem::take(&mut self.log.lock().unwrap()))
    }
}

async fn receive(
    State((log, status)): State<Shared>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, &'static str) {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY.as_bytes()).unwrap();
    mac.update(&body);
    let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    let is_bearer = [KEY, "the next one"].map(|key| format!("Bearer {key}"));
    let is_genuine = is_bearer.iter().any(|bearer| bearer == header("authorization"))
        || header("x-hub-signature-256") == signature;
    let mut plain = body.to_vec();
    if header("content-encoding") == "gzip" {
        plain.clear();
        GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap();
    }
    let body: Value = serde_json::from_slice(&plain).unwrap_or_default();
    let named = body["EventType"].as_str().unwrap_or_else(|| header("x-github-event"));
    let (event, path) = (named.to_owned(), uri.path().to_owned());
    log.lock().unwrap().push(Came { is_genuine, event, path });
    match is_genuine {
        true => (StatusCode::OK, "thank you"),
        false => (status, "who are you?"),
    }
}

fn verdict<'r>(report: &'r Value, id: &str) -> &'r str {
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|check| check["id"] == id).unwrap()["verdict"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_receiver_is_sent_nothing_that_it_could_act_upon() {
    let foreign = Foreign::start().await;
    for (path, source) in
        [("/api/webhooks/", "shop"), ("/api/webhooks/OrderEvent", "shop"), ("/github", "hub")]
    {
        let (report, came) = foreign.examined(path, &["--source", source, "--events"]).await;
        let genuine: Vec<_> = came.iter().filter(|came| came.is_genuine).collect();
        assert!(genuine.is_empty(), "{genuine:#?}");
        assert!(came.len() > 5, "{came:#?}");
        assert_eq!(report["verdict"], "pass", "{report:#}");
        for id in ["identity.none", "identity.wrong"] {
            assert_eq!(verdict(&report, id), "pass", "{id}");
        }
        for id in ["identity.key", "duplicates.again", "bodies.sizes", "events.routes"] {
            assert_eq!(verdict(&report, id), "skip", "{id}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_effects_allowed_only_the_named_event_is_sent() {
    let foreign = Foreign::start().await;
    for (path, source, event) in [
        ("/api/webhooks/", "shop", "OrderEvent"),
        ("/api/webhooks", "shop", "OrderEvent"),
        ("/github", "hub", "ping"),
    ] {
        let args = ["--source", source, "--allow-effects", event, "--events"];
        let (report, came) = foreign.examined(path, &args).await;
        let genuine: Vec<_> = came.iter().filter(|came| came.is_genuine).collect();
        assert!(genuine.len() > 20, "{came:#?}");
        let is_named = |came: &&Came| {
            let last = came.path.trim_end_matches('/').rsplit('/').next().unwrap();
            came.event == event && ["webhooks", "github", event].contains(&last)
        };
        let others: Vec<_> = genuine.iter().filter(|came| !is_named(came)).collect();
        assert!(others.is_empty(), "{others:#?}");
        for id in ["identity.key", "bodies.chunked", "bodies.sizes", "time.warm"] {
            assert_eq!(verdict(&report, id), "pass", "{id}: {report:#}");
        }
        assert_eq!(verdict(&report, "events.routes"), "skip", "its routes have effects, too");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_nobody_knows_has_no_effects_to_allow() {
    let foreign = Foreign::start().await;
    let url = format!("http://{}/", foreign.address);
    let folder = foreign.folder.path().to_owned();
    let refused = move || {
        let args = ["doctor", &url, "--source", "shop", "--foreign", "--allow-effects", "Nothing"];
        crate::harness::process::complaint(crate::harness::process::run(&folder, &args))
    };
    let told = tokio::task::spawn_blocking(refused).await.unwrap();
    assert!(told.contains("--allow-effects: there is no directscale event `Nothing`"), "{told}");
    assert!(foreign.log.lock().unwrap().is_empty());
}

/// The check's verdict, and what it says.
fn line(report: &Value, id: &str) -> (String, String) {
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["id"] == id).unwrap();
    let text = |name: &str| check[name].as_str().unwrap_or_default().to_owned();
    (text("verdict"), format!("{} {}", text("seen"), text("remedy")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_by_another_status_is_not_let_in() {
    for status in [StatusCode::BAD_REQUEST, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND] {
        let foreign = Foreign::refusing(status).await;
        let args = ["--source", "hub", "--allow-effects", "ping"];
        let (report, _) = foreign.examined("/github", &args).await;
        for id in ["identity.none", "identity.wrong", "signature.body", "signature.signature"] {
            let (verdict, seen) = line(&report, id);
            assert_eq!(verdict, "pass", "{id} {status}: {seen}");
            assert!(seen.contains(status.as_str()), "{seen}");
        }
        let url = format!("http://{}/github", foreign.address);
        let folder = foreign.folder.path().to_owned();
        std::fs::write(folder.join("key"), KEY).unwrap();
        let emitted = move || {
            let args = [
                "emit",
                "ping",
                "--source",
                "hub",
                "--to",
                &url,
                "--tamper",
                "body",
                "--signing-key-file",
                "key",
            ];
            crate::harness::process::run(&folder, &args)
        };
        let output = tokio::task::spawn_blocking(emitted).await.unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.contains(&format!("refused with {}, as it should be", status.as_u16())),
            "{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_neither_a_refusal_nor_let_in() {
    let foreign = Foreign::refusing(StatusCode::INTERNAL_SERVER_ERROR).await;
    let args = ["--source", "hub", "--allow-effects", "ping"];
    let (report, _) = foreign.examined("/github", &args).await;
    let (verdict, seen) = line(&report, "identity.wrong");
    assert_eq!(verdict, "warn", "{seen}");
    assert!(!seen.contains("Authorization"), "GitHub sends none: {seen}");
}
