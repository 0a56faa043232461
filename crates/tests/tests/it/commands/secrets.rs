//! Secrets of every kind, in a receiver and a bus that are used for real: no command, page, answer or log line repeats one.

use std::net::TcpListener;
use std::process::{Output, Stdio};

use reqwest::Client;

use crate::harness::deliveries::PATIENCE;
use crate::harness::process::{Process, command, run};

/// What must be seen nowhere.
const SECRETS: [&str; 8] = [
    "first-bearer-key-7f3a9c",
    "second-bearer-key-1d4e8b",
    "signing-key-of-evolutionx-52c6",
    "retired-key-of-evolutionx-e90a",
    "callback-key-of-the-vendor-83bd",
    "api-key-of-the-bus-4471fe",
    "key-of-a-subscription-a6d2",
    "header-of-a-subscription-09cc",
];

fn settings(port: u16, bus: u16) -> String {
    let [first, second, signing, retired, callback, api, subscription, header] = SECRETS;
    format!(
        r#"
        listen = "127.0.0.1:{port}"
        inbox = "sqlite:data/inbox.db"
        [sources.directscale]
        dialect = "directscale"
        bearer_tokens = ["{first}", "{second}"]
        [sources.directscale.hooks]
        callback_url = "http://127.0.0.1:9"
        callback_key = "{callback}"
        record_bodies = true
        [sources.evolutionx]
        dialect = "evolutionx"
        path = "/evolutionx"
        signing_keys = ["{signing}"]
        retired_keys = ["{retired}"]
        [log]
        format = "json"
        filter = "trace"
        [bus]
        listen = "127.0.0.1:{bus}"
        outbox = "sqlite:data/outbox.db"
        api_key = "{api}"
        allow_targets = ["127.0.0.1"]
        [bus.subscriptions.one]
        events = "*"
        target = "http://127.0.0.1:{port}/api/webhooks"
        bearer_token = "{subscription}"
        headers = {{ "X-Access-Token" = "{header}" }}
        "#
    )
}

/// Two ports that were free a moment ago: the settings name each other's.
fn ports() -> (u16, u16) {
    let free = || TcpListener::bind("127.0.0.1:0").unwrap();
    let (one, other) = (free(), free());
    (one.local_addr().unwrap().port(), other.local_addr().unwrap().port())
}

#[track_caller]
fn assert_silent(place: &str, text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{place} repeats {secret}: {text}");
    }
}

fn shown(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_page_or_log_line_repeats_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (port, bus_port) = ports();
    let receiver = Process::serve(folder, &settings(port, bus_port));
    let mut bus = command(folder, &["bus", "--log", "json"]);
    let log = std::fs::File::create(folder.join("bus.log")).unwrap();
    let mut bus = bus.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let base = format!("http://127.0.0.1:{port}");
    let commands: &[&[&str]] = &[
        &["check"],
        &["connect", "directscale", "--base", &base],
        &["connect", "evolutionx", "--base", &base],
        &["openapi"],
        &["emit", "OrderEvent", "--source", "directscale"],
        &["emit", "OrderEvent", "--source", "directscale", "--dry-run"],
        &["emit", "OrderEvent", "--source", "directscale", "--json"],
        &["emit", "OrderEvent", "--source", "directscale", "--tamper", "key"],
        &["emit", "order.created", "--source", "evolutionx"],
        &["emit", "order.created", "--source", "evolutionx", "--dry-run"],
        &["emit", "order.created", "--source", "evolutionx", "--tamper", "signature"],
        &["emit", "--hook", "Autoships.CreateAutoship", "--source", "directscale"],
        &["emit", "--hook", "Autoships.CreateAutoship", "--source", "directscale", "--dry-run"],
        &["publish", "OrderEvent"],
        &["inbox", "list", "--json"],
        &["inbox", "show", "1"],
        &["inbox", "show", "2", "--json"],
        &["inbox", "export"],
        &["hooks", "list"],
        &["hooks", "show", "1"],
        &["hooks", "export"],
        &["keys"],
        &["keys", "--json"],
        &["doctor", &format!("{base}/api/webhooks/"), "--source", "directscale"],
        &["doctor", &format!("{base}/evolutionx/"), "--source", "evolutionx", "--json"],
        &["healthcheck"],
    ];
    for args in commands {
        let output = run(folder, args);
        assert_silent(&args.join(" "), &shown(&output));
        // What has not been done has shown nothing: a forgery is refused, and nobody is there to be called back.
        let succeeds = !matches!(args[0], "doctor") && !args.contains(&"--hook");
        assert!(output.status.success() || !succeeds, "{args:?}: {}", shown(&output));
        assert_ne!(output.status.code(), Some(2), "{args:?}: {}", shown(&output));
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().no_proxy().tls_certs_only([]).timeout(PATIENCE).build().unwrap();
    let bus_base = format!("http://127.0.0.1:{bus_port}");
    for (base, paths) in [
        (&base, &["/", "/swagger", "/openapi.json", "/metrics", "/readyz", "/nowhere"][..]),
        (
            &bus_base,
            &[
                "/",
                "/admin",
                "/admin/subscriptions",
                "/admin/subscriptions/one",
                "/admin/subscriptions/one/edit",
                "/admin/events",
                "/admin/attempts",
                "/api/subscriptions",
                "/api/subscriptions/one",
                "/api/events",
                "/api/attempts",
                "/api/attempts/1",
                "/openapi.json",
            ],
        ),
    ] {
        for path in paths {
            for key in [None, Some(SECRETS[5])] {
                let mut request = client.get(format!("{base}{path}"));
                if let Some(key) = key {
                    request = request.header("authorization", format!("Bearer {key}"));
                }
                let answer = request.send().await.unwrap();
                assert_eq!(answer.status() == 404, *path == "/nowhere", "{path}");
                let head = format!("{:?}", answer.headers());
                assert_silent(path, &(head + &answer.text().await.unwrap()));
            }
        }
    }
    assert_silent("the receiver's log", &format!("{:?}", receiver.stop()));
    let kill = format!("kill -TERM {}", bus.id());
    std::process::Command::new("sh").args(["-c", &kill]).status().unwrap();
    bus.wait().unwrap();
    assert_silent("the bus's log", &std::fs::read_to_string(folder.join("bus.log")).unwrap());
    let kept = std::fs::read(folder.join("data/inbox.db")).unwrap();
    assert_silent("the inbox", &String::from_utf8_lossy(&kept));
}
