//! A browser for the page tests: headless Chromium, driven through chromedriver's own protocol.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long a page may take to show what is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// The key under which the protocol names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// An open browser; closed when dropped.
pub(crate) struct Browser {
    client: reqwest::Client,
    session: String,
    driver: Child,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Opens a browser, or says on the terminal why the test is skipped. In CI a missing browser is a failure.
    pub(crate) async fn open() -> Option<Browser> {
        let port = free_port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match driver {
            Ok(driver) => Some(Browser::start(driver, port).await),
            Err(error) => {
                let ci = std::env::var("CI").is_ok_and(|value| value == "true");
                assert!(!ci, "chromedriver is needed in CI: {error}");
                // Not `eprintln`, which the test harness swallows.
                let _ = writeln!(std::io::stderr(), "SKIPPED: chromedriver: {error}");
                None
            }
        }
    }

    async fn start(driver: Child, port: u16) -> Browser {
        let profile = tempfile::tempdir().unwrap();
        let mut browser = Browser {
            client: client(),
            session: format!("http://127.0.0.1:{port}/session"),
            driver,
            _profile: profile,
        };
        browser.wait_for_driver(port).await;
        let capabilities = capabilities(browser._profile.path());
        let created = browser.post("", capabilities).await.unwrap();
        let id = created["sessionId"].as_str().unwrap();
        browser.session = format!("{}/{id}", browser.session);
        browser
    }

    /// Loads a page.
    pub(crate) async fn go(&self, url: &str) {
        self.post("/url", json!({"url": url})).await.unwrap();
    }

    /// Gives the page the width of a screen, narrower than a window can be.
    pub(crate) async fn resize(&self, width: u32) {
        let metrics =
            json!({"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": true});
        let command = json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics});
        self.post("/goog/cdp/execute", command).await.unwrap();
    }

    /// Clicks the first element that the CSS selector finds, as soon as it can be clicked.
    pub(crate) async fn click(&self, selector: &str) {
        self.on(selector, "click", json!({})).await;
    }

    /// Types into the first element that the CSS selector finds, in place of what it holds.
    pub(crate) async fn fill(&self, selector: &str, text: &str) {
        self.on(selector, "clear", json!({})).await;
        self.on(selector, "value", json!({"text": text})).await;
    }

    /// Presses a key on whatever has the focus.
    pub(crate) async fn press(&self, key: &str) {
        self.type_text(key).await;
    }

    /// Types on whatever has the focus.
    pub(crate) async fn type_text(&self, text: &str) {
        let strokes = text.chars().flat_map(|key| {
            ["keyDown", "keyUp"].map(|stroke| json!({"type": stroke, "value": key.to_string()}))
        });
        let keyboard =
            json!({"type": "key", "id": "keyboard", "actions": strokes.collect::<Vec<_>>()});
        self.post("/actions", json!({"actions": [keyboard]})).await.unwrap();
    }

    /// The text of the first element that the CSS selector finds, as soon as there is one.
    pub(crate) async fn text(&self, selector: &str) -> String {
        let script = "return document.querySelector(arguments[0])?.textContent ?? null";
        let found = async || self.run(script, json!([selector])).await.as_str().map(str::to_owned);
        wait(selector, found).await
    }

    /// Waits until the element's text contains what is expected.
    pub(crate) async fn wait_for_text(&self, selector: &str, expected: &str) {
        let shown = async || self.text(selector).await.contains(expected).then_some(());
        wait(&format!("{selector}: {expected}"), shown).await;
    }

    /// Waits until JavaScript in the page returns another value.
    pub(crate) async fn wait_for_another(&self, script: &str, value: &Value) {
        let other = async || (self.run(script, json!([])).await != *value).then_some(());
        wait(script, other).await;
    }

    /// Runs JavaScript in the page and returns its value.
    pub(crate) async fn run(&self, script: &str, arguments: Value) -> Value {
        self.post("/execute/sync", json!({"script": script, "args": arguments})).await.unwrap()
    }

    /// Shows pages as on a screen of this width, to a person who prefers this colour scheme.
    pub(crate) async fn emulate(&self, width: u32, scheme: &str) {
        let metrics =
            json!({"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600});
        let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        for (command, parameters) in
            [("setDeviceMetricsOverride", metrics), ("setEmulatedMedia", scheme)]
        {
            let command = json!({"cmd": format!("Emulation.{command}"), "params": parameters});
            self.post("/goog/cdp/execute", command).await.unwrap();
        }
    }

    /// The addresses of all requests to hosts since the last call, those that were blocked included.
    pub(crate) async fn requested(&self) -> Vec<String> {
        let entries = self.log("performance").await;
        let request = |entry: Value| {
            let event: Value = serde_json::from_str(entry["message"].as_str()?).ok()?;
            let sent = event["message"]["method"] == "Network.requestWillBeSent";
            sent.then(|| event["message"]["params"]["request"]["url"].as_str().map(str::to_owned))?
        };
        // The empty page that the browser starts with loads itself from `chrome:`.
        let to_a_host = |url: &String| url.starts_with("http") || url.starts_with("ws");
        entries.into_iter().filter_map(request).filter(to_a_host).collect()
    }

    /// What the browser's console shows since the last call: errors and violations of the page's policy.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let entries = self.log("browser").await;
        entries
            .iter()
            .map(|entry| entry["message"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// The page around an element, as a PNG file in the folder named by `SCREENSHOTS`, if that is set.
    pub(crate) async fn screenshot(&self, name: &str, selector: &str) {
        use base64::{Engine, prelude::BASE64_STANDARD};
        let Some(folder) = std::env::var_os("SCREENSHOTS") else { return };
        let script = "document.querySelector(arguments[0]).scrollIntoView({block: 'center'})";
        self.run(script, json!([selector])).await;
        let png = self.get("/screenshot").await;
        let png = BASE64_STANDARD.decode(png.as_str().unwrap()).unwrap();
        std::fs::write(std::path::Path::new(&folder).join(name).with_extension("png"), png)
            .unwrap();
    }

    async fn on(&self, selector: &str, action: &str, body: Value) {
        let done = async || {
            let query = json!({"using": "css selector", "value": selector});
            let element = self.post("/element", query).await.ok()?;
            let id = element[ELEMENT].as_str()?;
            self.post(&format!("/element/{id}/{action}"), body.clone()).await.ok()
        };
        wait(&format!("{selector} to {action}"), done).await;
    }

    async fn log(&self, kind: &str) -> Vec<Value> {
        let entries = self.post("/se/log", json!({"type": kind})).await.unwrap();
        entries.as_array().unwrap().clone()
    }

    async fn wait_for_driver(&self, port: u16) {
        let status = format!("http://127.0.0.1:{port}/status");
        let ready = async || self.client.get(&status).send().await.ok().map(drop);
        wait("chromedriver", ready).await;
    }

    async fn get(&self, path: &str) -> Value {
        let request = self.client.get(format!("{}{path}", self.session));
        answer(request).await.unwrap()
    }

    /// The `value` of the answer, or the driver's error.
    async fn post(&self, path: &str, body: Value) -> Result<Value, String> {
        let request = self.client.post(format!("{}{path}", self.session));
        answer(request.body(body.to_string())).await
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser ends with its session; the driver alone would leave it running.
        let _ = end(&self.session);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Deletes the session without the asynchronous client, which a panic may have taken down.
fn end(session: &str) -> Option<()> {
    let (host, path) = session.strip_prefix("http://")?.split_once('/')?;
    let mut driver = TcpStream::connect(host).ok()?;
    driver.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(driver, "DELETE /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").ok()?;
    driver.read(&mut [0; 1024]).ok().map(drop)
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Value, String> {
    let response = request.send().await.map_err(|error| error.to_string())?;
    let ok = response.status().is_success();
    let body = response.bytes().await.map_err(|error| error.to_string())?;
    let body: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    if ok { Ok(body["value"].clone()) } else { Err(body["value"]["message"].to_string()) }
}

fn client() -> reqwest::Client {
    // The client insists on a TLS provider although it only speaks to this machine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

fn capabilities(profile: &std::path::Path) -> Value {
    let arguments = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--no-proxy-server",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1280,1600",
        &format!("--user-data-dir={}", profile.display()),
    ];
    json!({"capabilities": {"alwaysMatch": {
        "browserName": "chrome",
        "goog:chromeOptions": {"args": arguments},
        "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"},
    }}})
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn wait<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
