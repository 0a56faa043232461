//! What `doctor` says of a live webhook behind a real nginx: all well with the README's own settings, and the cause for
//! each thing that is broken.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use doctor::{BUDGET, CHECKS, CheckVerdict};
use fixture::{Context, catalog};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::nginx::{Certificates, Nginx, documented_block, free_port, is_installed};
use crate::harness::process::{Process, complaint, printed, run};
use crate::harness::receiver::Receiver;

const SETTINGS: &str = r#"
[sources.live]
dialect = "directscale"
bearer_tokens = ["Ab!c@d%e$f^g&h", "another key without marks"]
[sources.live.hooks]
unhandled = "refuse"
[sources.stage]
dialect = "directscale"
environment = "stage"
path = "/stage/api/webhooks"
bearer_tokens = ["stage-key"]
[sources.signed]
dialect = "standard-webhooks"
path = "/signed/api/webhooks"
signing_keys = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
[sources.slack]
dialect = "slack"
path = "/slack/api/webhooks"
signing_keys = ["0123456789abcdef0123456789abcdef"]
[sources.github]
dialect = "github"
path = "/github/api/webhooks"
signing_keys = ["It's a Secret to Everybody"]
"#;

const LIVE: &str = "/api/webhooks";
const SIGNED: &str = "/signed/api/webhooks";
const SLACK: &str = "/slack/api/webhooks";

/// What is broken, and what is said of it.
struct Broken {
    /// In the README's block: a directive, and what stands in its place.
    change: &'static [(&'static str, &'static str)],
    /// Outside it, in `http`.
    beside: &'static str,
    url: &'static str,
    args: &'static [&'static str],
    /// The checks that must not pass, and a part of what each says.
    says: &'static [(&'static str, &'static str)],
}

const NOTHING: Broken =
    Broken { change: &[], beside: "", url: LIVE, args: &["--source", "live"], says: &[] };

const AUTHORIZATION: &str = "proxy_set_header Authorization $http_authorization;";
const CONNECTION: &str = r#"proxy_set_header Connection "";"#;
const LOCATION: &str =
    "location ~* ^/(stage/|signed/|slack/|github/)?api/(v[0-9]+/)?(webhooks|hooks)(/|$) {";
const TOKENS: &str = "server_tokens off;";
const PROTOCOLS: &str = "ssl_protocols TLSv1.2 TLSv1.3;";

/// Takes the space around a body away, as whatever reads and writes JSON does.
const TRIMMED: &str = "access_by_lua_block { ngx.req.read_body(); local b = ngx.req.get_body_data(); if b then ngx.req.set_body_data((b:gsub('%s+$', ''):gsub('^%s+', ''))) end }";

/// PORT is nginx's, PLAIN another one that it may listen on, CLOSED one where nothing listens.
const BROKEN: &[Broken] = &[
    Broken {
        url: "https://nowhere.invalid/api/webhooks",
        says: &[("reach.dns", ""), ("reach.certificate", "no TLS")],
        ..NOTHING
    },
    Broken {
        url: "https://127.0.0.1:CLOSED/api/webhooks",
        says: &[("reach.connect", "no connection"), ("reach.versions", "neither")],
        ..NOTHING
    },
    Broken {
        change: &[("good.pem", "expired.pem")],
        says: &[("reach.certificate", "expired on"), ("reach.expiry", "expired on")],
        ..NOTHING
    },
    Broken {
        change: &[("good.pem", "other.pem")],
        says: &[("reach.certificate", "elsewhere.example")],
        ..NOTHING
    },
    Broken {
        change: &[("good.pem", "self.pem")],
        says: &[("reach.certificate", "most likely self-signed")],
        ..NOTHING
    },
    Broken {
        change: &[("good.pem", "soon.pem")],
        says: &[("reach.expiry", "in 9 days")],
        ..NOTHING
    },
    Broken {
        change: &[(PROTOCOLS, "ssl_protocols TLSv1.2;"), (TOKENS, "")],
        says: &[("reach.versions", "not 1.3"), ("exposure.banner", "nginx/")],
        ..NOTHING
    },
    Broken {
        beside: "server { listen 127.0.0.1:PLAIN; location / { proxy_pass http://RECEIVER; } }",
        args: &["--source", "live", "--plain-port", "PLAIN"],
        says: &[("reach.plain", "over plain HTTP")],
        ..NOTHING
    },
    Broken {
        beside: "server { listen 127.0.0.1:PLAIN; return 301 https://127.0.0.1:PORT$request_uri; }",
        url: "http://127.0.0.1:PLAIN/api/webhooks",
        says: &[("reach.redirect", "from http to https")],
        ..NOTHING
    },
    Broken {
        change: &[(CONNECTION, "rewrite ^(.*[^/])$ $1/ permanent;")],
        says: &[("reach.redirect", "for a slash at the end")],
        ..NOTHING
    },
    Broken {
        change: &[(LOCATION, "location /elsewhere {")],
        says: &[("reach.path", "not forwarded")],
        ..NOTHING
    },
    Broken {
        url: "/api/v9/webhooks",
        says: &[("reach.path", "no source has this path")],
        ..NOTHING
    },
    Broken {
        change: &[(CONNECTION, "if ($request_method = POST) { return 405; }")],
        says: &[("reach.method", "POST is refused")],
        ..NOTHING
    },
    Broken {
        change: &[("http://RECEIVER", "http://127.0.0.1:CLOSED")],
        says: &[("reach.upstream", "reaches no receiver")],
        ..NOTHING
    },
    Broken {
        change: &[(
            LOCATION,
            "location ~ /$ { return 404; }\nlocation ~* ^/(stage/)?api/webhooks {",
        )],
        says: &[("reach.slash", "another place")],
        ..NOTHING
    },
    Broken {
        change: &[("http://RECEIVER;", "http://RECEIVER$uri;")],
        says: &[("reach.query", "did not arrive")],
        ..NOTHING
    },
    Broken {
        change: &[(AUTHORIZATION, r#"proxy_set_header Authorization "";"#)],
        says: &[("identity.key", "401 from the receiver: no Authorization header")],
        ..NOTHING
    },
    Broken {
        change: &[(CONNECTION, "proxy_set_header webhook-signature \"\";")],
        url: SIGNED,
        args: &["--source", "signed"],
        says: &[("identity.key", "401 from the receiver: no webhook-signature header")],
        ..NOTHING
    },
    Broken {
        change: &[(
            AUTHORIZATION,
            r#"proxy_set_header Authorization "Bearer another key without marks";"#,
        )],
        says: &[
            ("identity.none", "was let in"),
            ("identity.wrong", "unknown key was let in"),
            ("identity.short", "cut short was let in"),
            ("identity.environment", "source `stage` was let in"),
        ],
        ..NOTHING
    },
    Broken {
        change: &[(AUTHORIZATION, "proxy_set_header Authorization $spoiled;")],
        beside: "map $http_authorization $spoiled { default $http_authorization; '~^(?<a>.*)%(?<b>.*)$' '$a$b'; }",
        says: &[("identity.punctuation", "has punctuation"), ("identity.keys", "number 1")],
        ..NOTHING
    },
    Broken {
        change: &[(CONNECTION, r#"proxy_set_header X-Directscale-Client-Id "";"#)],
        says: &[("identity.headers", "x-directscale-client-id")],
        ..NOTHING
    },
    // The path names an event that has a handler, and nothing else says that it is not this event.
    Broken {
        change: &[(CONNECTION, r#"proxy_set_header X-GitHub-Event "";"#)],
        url: "/github/api/webhooks/push",
        args: &["--source", "github"],
        says: &[("identity.headers", "x-github-event")],
        ..NOTHING
    },
    Broken {
        change: &[(
            LOCATION,
            "location / { default_type application/json; return 200 '{}'; }\nlocation /none {",
        )],
        url: SIGNED,
        args: &["--source", "signed", "--foreign"],
        says: &[
            ("identity.none", "was let in"),
            ("signature.body", "was let in"),
            ("signature.signature", "was let in"),
            ("signature.id", "was let in"),
            ("signature.timestamp", "was let in"),
            ("signature.stale", "was let in"),
            ("signature.future", "was let in"),
        ],
        ..NOTHING
    },
    Broken {
        change: &[(CONNECTION, "proxy_set_header X-Directscale-Message-Id $request_id;")],
        says: &[
            ("duplicates.again", "2 of 2"),
            ("duplicates.together", "10 of 10"),
            ("duplicates.later", "2 of 2"),
            ("duplicates.conflict", "not noticed"),
        ],
        ..NOTHING
    },
    Broken {
        change: &[(CONNECTION, TRIMMED)],
        says: &[("bodies.bytes", "changed on the way")],
        ..NOTHING
    },
    Broken {
        change: &[(CONNECTION, TRIMMED)],
        url: SIGNED,
        args: &["--source", "signed"],
        says: &[("bodies.bytes", "written anew on the way")],
        ..NOTHING
    },
    Broken {
        change: &[(
            CONNECTION,
            "access_by_lua_block { if ngx.var.http_content_encoding == 'gzip' then ngx.req.read_body(); ngx.req.set_body_data(ngx.req.get_body_data():sub(16, -9)); ngx.req.clear_header('Content-Encoding') end }",
        )],
        says: &[("bodies.packed", "unpacked on the way")],
        ..NOTHING
    },
    Broken {
        change: &[(CONNECTION, "if ($http_transfer_encoding) { return 411; }")],
        says: &[("bodies.chunked", "without a length is refused")],
        ..NOTHING
    },
    Broken {
        change: &[(
            CONNECTION,
            "access_by_lua_block { ngx.req.read_body(); local b = ngx.req.get_body_data(); if b then ngx.req.set_body_data((b:gsub('[\\128-\\255]', '?'))) end }",
        )],
        says: &[("bodies.unicode", "changed on the way")],
        ..NOTHING
    },
    Broken {
        change: &[(CONNECTION, "if ($content_type = 'application/json') { return 415; }")],
        says: &[("bodies.charset", "application/json")],
        ..NOTHING
    },
    Broken {
        change: &[("client_max_body_size 1m;", "client_max_body_size 8k;")],
        says: &[("bodies.sizes", "1024 get through")],
        ..NOTHING
    },
    // nginx buffers bodies, and has no place to do so.
    Broken {
        beside: "init_worker_by_lua_block { os.remove(ngx.config.prefix() .. 'body') }",
        says: &[("bodies.sizes", "cannot hold a larger body")],
        ..NOTHING
    },
    Broken {
        change: &[(
            "client_max_body_size 1m;",
            "client_max_body_size 1m; error_page 413 =400 /too-large; location = /too-large { return 400; }",
        )],
        says: &[("bodies.over", "400 from nginx")],
        ..NOTHING
    },
    Broken {
        change: &[(CONNECTION, "access_by_lua_block { ngx.sleep(0.8) }")],
        url: SLACK,
        args: &["--source", "slack"],
        says: &[("time.first", "Slack waits 3 s"), ("time.warm", "Slack waits 3 s")],
        ..NOTHING
    },
    Broken {
        change: &[(LOCATION, "location / { proxy_pass http://RECEIVER; }\nlocation /none {")],
        says: &[("exposure.pages", "/swagger/, /openapi.json, /metrics")],
        ..NOTHING
    },
    Broken {
        change: &[(CONNECTION, "add_header Access-Control-Allow-Origin * always;")],
        says: &[("exposure.cors", "pages of any site")],
        ..NOTHING
    },
    Broken {
        change: &[(LOCATION, "location ~* /webhooks/(OrderEvent|webhook-receiver.canary)$ {")],
        url: "/api/webhooks/",
        args: &["--source", "live", "--events"],
        says: &[("events.routes", "not routed")],
        ..NOTHING
    },
    Broken {
        url: "/api/webhooks/",
        args: &["--source", "live", "--events=OrderEvent,NobodysEvent"],
        says: &[("events.routes", "no handler takes NobodysEvent")],
        ..NOTHING
    },
    Broken {
        change: &[(LOCATION, "location ~* ^/api/webhooks {")],
        says: &[("hooks.path", "not forwarded")],
        ..NOTHING
    },
    Broken {
        args: &["--source", "live", "--hooks-url", "https://127.0.0.1:PORT/api/v9/hooks/"],
        says: &[("hooks.path", "no hooks have this path")],
        ..NOTHING
    },
    Broken {
        change: &[(
            AUTHORIZATION,
            r#"proxy_set_header Authorization "Bearer another key without marks";"#,
        )],
        says: &[("hooks.key", "without any proof was let in")],
        ..NOTHING
    },
    Broken {
        change: &[(CONNECTION, r#"proxy_set_header X-DirectScale-CallbackToken "";"#)],
        says: &[("hooks.call", "X-DirectScale-CallbackToken is missing")],
        ..NOTHING
    },
    Broken {
        change: &[(CONNECTION, r#"proxy_set_header X-DirectScale-RequestName "";"#)],
        says: &[("hooks.name", "was let in"), ("hooks.headers", "x-directscale-requestname")],
        ..NOTHING
    },
    Broken {
        change: &[(CONNECTION, "rewrite ^/api/hooks /api/hooks break;")],
        says: &[("hooks.name", "was let in")],
        ..NOTHING
    },
    Broken {
        change: &[(
            CONNECTION,
            r#"rewrite ^/api/hooks /api/hooks break; proxy_set_header X-DirectScale-RequestName "";"#,
        )],
        says: &[("hooks.call", "neither the path nor X-DirectScale-RequestName")],
        ..NOTHING
    },
    Broken {
        change: &[(CONNECTION, "proxy_set_header X-DirectScale-CallbackToken $request_id;")],
        says: &[("hooks.token", "was let in")],
        ..NOTHING
    },
];

/// Checks that no nginx can break, and the tests below in which they must fail.
const ELSEWHERE: [&str; 2] = ["time.clock", "reach.inbox"];

/// One receiver, and what stands before it.
struct Stage {
    folder: TempDir,
    process: Process,
    certificates: Certificates,
}

impl Stage {
    fn new() -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let process = Process::serve(folder.path(), SETTINGS);
        Stage { folder, process, certificates: Certificates::make() }
    }

    /// The report on a broken configuration; only the checks that are to fail are asked.
    fn report(&self, broken: &Broken, only: Option<&str>) -> Value {
        let (port, plain, closed) = (free_port(), free_port(), free_port());
        let filled = |text: &str| {
            text.replace("PORT", &port.to_string())
                .replace("PLAIN", &plain.to_string())
                .replace("CLOSED", &closed.to_string())
                .replace("RECEIVER", &self.process.address)
        };
        let mut block = documented_block(port, &self.process.address);
        for (from, to) in broken.change {
            let from = filled(from);
            assert!(block.contains(&from), "the README's block has no {from}");
            block = block.replace(&from, &filled(to));
        }
        let http = format!("{}\n{block}", filled(broken.beside));
        let _nginx = Nginx::start(&self.certificates, port, &http);
        let url = match broken.url.starts_with('/') {
            true => format!("https://127.0.0.1:{port}{}", broken.url),
            false => filled(broken.url),
        };
        let ca = self.certificates.ca();
        let args: Vec<String> = broken.args.iter().map(|arg| filled(arg)).collect();
        let mut all = vec!["doctor", &url, "--json", "--ca-file", ca.to_str().unwrap()];
        all.extend(args.iter().map(String::as_str));
        if let Some(only) = only {
            all.extend(["--only", only]);
        }
        report(self.folder.path(), &all)
    }
}

/// What `doctor` prints with `--json`, and that its exit code says the same.
pub(crate) fn report(folder: &Path, args: &[&str]) -> Value {
    let output = run(folder, args);
    let text = String::from_utf8(output.stdout).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{error}: {text} {}", String::from_utf8_lossy(&output.stderr))
    });
    let code = if report["verdict"] == "fail" { 1 } else { 0 };
    assert_eq!(output.status.code(), Some(code), "{report:#}");
    report
}

fn checks(report: &Value) -> impl Iterator<Item = &Value> {
    report["checks"].as_array().unwrap().iter()
}

/// What is wrong with the check's line, if it does not complain of the cause.
fn missing(report: &Value, id: &str, cause: &str) -> Option<String> {
    let check = checks(report).find(|check| check["id"] == id).unwrap();
    let text = |name: &str| check[name].as_str().unwrap_or_default();
    let complains = ["fail", "warn"].contains(&text("verdict")) && text("seen").contains(cause);
    let told = ["why", "remedy"].iter().all(|name| !text(name).is_empty());
    // A placeholder that nobody filled.
    let filled = !text("why").contains('{');
    (!(complains && told && filled)).then(|| format!("{id}: not {cause:?}: {check:#}"))
}

#[track_caller]
fn says(report: &Value, id: &str, cause: &str) {
    assert_eq!(missing(report, id, cause), None);
}

#[test]
fn all_is_well_behind_the_nginx_of_the_readme() {
    if !is_installed() {
        return;
    }
    let stage = Stage::new();
    for (url, source) in [("/api/webhooks/", "live"), (SIGNED, "signed"), (SLACK, "slack")] {
        let args: &[&str] = &["--source", source, "--events"];
        let args: &'static [&'static str] = Box::leak(args.to_vec().into_boxed_slice());
        let report = stage.report(&Broken { url, args, ..NOTHING }, None);
        let is_bad = |check: &&Value| check["verdict"] == "warn" || check["verdict"] == "fail";
        let bad: Vec<_> = checks(&report).filter(is_bad).collect();
        assert!(bad.is_empty(), "{bad:#?}");
        let requests = report["requests"].as_u64().unwrap();
        assert!((30..=BUDGET as u64).contains(&requests), "{requests}");
        assert!(report["seconds"].as_f64().unwrap() < 20.0, "{report:#}");
    }
}

#[test]
fn whatever_is_broken_is_named() {
    if !is_installed() {
        return;
    }
    let stage = Stage::new();
    let mut wrong = Vec::new();
    for broken in BROKEN {
        let only: Vec<&str> = broken.says.iter().map(|(id, _)| *id).collect();
        let report = stage.report(broken, Some(&only.join(",")));
        wrong.extend(broken.says.iter().filter_map(|(id, cause)| missing(&report, id, cause)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // However much was broken, every delivery was known for a probe, and no call of a hook was run.
    let listed = |args: &[&str]| -> Vec<Value> {
        let text = printed(run(stage.folder.path(), args));
        let read: Result<Vec<Value>, _> =
            serde_json::Deserializer::from_str(&text).into_iter().collect();
        read.unwrap()
            .into_iter()
            .flat_map(|value| match value {
                Value::Array(values) => values,
                value => vec![value],
            })
            .collect()
    };
    for state in ["ready", "running", "done", "dead", "unrouted"] {
        let kept = listed(&["inbox", "list", "--state", state, "--json"]);
        assert!(kept.is_empty(), "{kept:#?}");
    }
    assert!(listed(&["hooks", "list", "--json"]).is_empty());
}

#[test]
fn every_check_has_a_broken_counterpart() {
    let broken: Vec<&str> =
        BROKEN.iter().flat_map(|broken| broken.says.iter().map(|(id, _)| *id)).collect();
    for check in CHECKS {
        let id = check.id;
        assert!(broken.contains(&id) || ELSEWHERE.contains(&id), "{id} cannot fail");
        assert_eq!(CHECKS.iter().filter(|other| other.id == id).count(), 1, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_whose_clock_is_off_is_found_by_its_word_and_by_what_it_accepts() {
    for (minutes, source, path) in
        [(2, "signed", SIGNED), (16, "signed", SIGNED), (-60, "live", LIVE)]
    {
        let clock = Arc::new(move || Utc::now() + TimeDelta::minutes(minutes));
        let receiver = Receiver::start_at(clock, SETTINGS, catalog(), Context::default()).await;
        let url = format!("http://{}{path}", receiver.address);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("receiver.toml"), SETTINGS).unwrap();
        let args = ["doctor", &url, "--json", "--source", source, "--only", "time"];
        let args = args.map(str::to_owned);
        let asked = move || report(folder.path(), &args.each_ref().map(String::as_str));
        let report = tokio::task::spawn_blocking(asked).await.unwrap();
        says(
            &report,
            "time.clock",
            if minutes > 0 { "ahead of this one" } else { "behind this one" },
        );
    }
}

#[test]
fn a_dead_inbox_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::serve(folder.path(), SETTINGS);
    // Its tables are gone, as on a disk that fails.
    let broken = rusqlite::Connection::open(folder.path().join("data/inbox.db")).unwrap();
    broken.execute_batch("DROP TABLE delivery").unwrap();
    let url = format!("http://{}/api/webhooks", process.address);
    let report = report(folder.path(), &["doctor", &url, "--json", "--source", "live"]);
    says(&report, "reach.inbox", "503 from the receiver");
}

#[test]
fn a_lost_key_is_named_and_nothing_is_printed_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::serve(folder.path(), SETTINGS);
    let key = "a-key-that-nobody-has";
    std::fs::write(folder.path().join("lost.key"), key).unwrap();
    let url = format!("http://{}/api/webhooks", process.address);
    let args =
        ["doctor", &url, "--scheme", "directscale", "--key-file", "lost.key", "--junit", "out.xml"];
    let output = run(folder.path(), &args);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("fail  identity.key"), "{text}");
    let xml = std::fs::read_to_string(folder.path().join("out.xml")).unwrap();
    assert!(xml.contains("<failure message=\"401 from the receiver"), "{xml}");
    assert!(!text.contains(key) && !xml.contains(key));
    let lint = Command::new("xmllint").args(["--noout", "out.xml"]).current_dir(&folder).status();
    assert!(lint.is_err() || lint.is_ok_and(|status| status.success()));
}

#[test]
fn what_cannot_run_is_said_before_anything_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("receiver.toml"), SETTINGS).unwrap();
    for (args, part) in [
        (&["https://localhost/"][..], "several sources"),
        (&["https://localhost/", "--source", "nobody"], "no such source"),
        (&["http://hooks.example.com/", "--source", "live"], "would show the key"),
        (&["https://localhost/", "--source", "live", "--only", "colour"], "no check or group"),
        (&["https://localhost/", "--source", "live", "--ca-file", "none.pem"], "none.pem"),
    ] {
        let told = complaint(run(folder.path(), &[&["doctor"], args].concat()));
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn the_worst_verdict_counts() {
    assert!(CheckVerdict::Fail > CheckVerdict::Warn && CheckVerdict::Warn > CheckVerdict::Pass);
}
