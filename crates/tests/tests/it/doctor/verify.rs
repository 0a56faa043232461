//! `verify`: a captured request, offline.

use std::path::Path;
use std::process::Output;

use chrono::{DateTime, Utc};
use contract::time::Timestamp;
use serde_json::{Value, json};
use signature::{Fingerprint, Key, Scheme, Stamp};
use tempfile::TempDir;

use crate::harness::client::Request;
use crate::harness::process::{Process, complaint, printed, run, run_with};

const KEY: &str = "hushLiveKey0123456789";
const GIT: &str = "hushGitKey0123456789";
const BEARER: &str = "hushBearer!@%$^0123456789";
const BODY: &str = r#"{"event_id":"evt_1","note":"hushBody"}"#;

const SETTINGS: &str = r#"
[sources.live]
dialect = "evolutionx"
path = "/live"
signing_keys = ["hushLiveKey0123456789"]
[sources.git]
dialect = "github"
path = "/git"
signing_keys = ["hushGitKey0123456789"]
[sources.bearer]
dialect = "directscale"
path = "/bearer"
bearer_tokens = ["hushBearer!@%$^0123456789"]
"#;

fn long_ago() -> Timestamp {
    DateTime::from_timestamp_secs(1_700_000_000).unwrap()
}

/// The headers that prove the body, as `Name: value` lines.
fn headers(scheme: &str, key: &str, time: Timestamp, body: &str) -> String {
    let scheme = Scheme::named(scheme).unwrap();
    let key = Key::new(&scheme, &key.into()).unwrap();
    let signed = scheme.sign(&[&key], Stamp { id: "", time }, body.as_bytes()).unwrap();
    signed.iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap())).collect()
}

/// A folder with settings and a captured request.
fn captured(headers: &str, body: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (file, text) in [("receiver.toml", SETTINGS), ("headers", headers), ("body", body)] {
        std::fs::write(folder.path().join(file), text).unwrap();
    }
    folder
}

fn verify(folder: &Path, source: &str, more: &[&str]) -> Output {
    let args = ["verify", "--source", source, "--headers", "headers", "--body", "body"];
    run(folder, &[&args, more].concat())
}

/// The text of a request that is refused.
#[track_caller]
fn refused(output: Output) -> String {
    let text = String::from_utf8(output.stdout).unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), complaint.as_ref()), (Some(1), ""), "{text}");
    text
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn an_old_request_is_verified_at_its_own_time() {
    let head = "POST /live HTTP/1.1\r\nHost: x\r\n";
    let text = format!("{head}{}\r\n\r\n", headers("evolutionx", KEY, long_ago(), BODY));
    let folder = captured(&text, BODY);
    let shown = printed(verify(folder.path(), "live", &[]));
    let key = Fingerprint::of(&KEY.into()).to_string();
    for part in [
        "result      verified",
        "source      live (live)",
        "scheme      evolutionx",
        &format!("key         {key}"),
        "checked at  2023-11-14T22:13:20Z, when it was signed; see --at",
        "signed      {timestamp}.{body}",
        "timestamp   1700000000",
        "body        38 bytes, SHA-256 ",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("hush"), "{shown}");
    let object = json_of(&printed(verify(folder.path(), "live", &["--json"])));
    assert_eq!(object["verified"], true);
    assert_eq!(object["key"], key);
    assert_eq!((&object["reason"], &object["findings"]), (&Value::Null, &json!([])));
    assert_eq!(object["checked_at"], "2023-11-14T22:13:20Z");
    let signed = json!({"template": "{timestamp}.{body}", "id": null, "timestamp": "1700000000"});
    assert_eq!(object["signed"], signed);
    assert_eq!(object["body"]["bytes"], 38);
    assert_eq!(object["body"]["sha256"].as_str().unwrap().len(), 64);
}

#[test]
fn now_is_what_the_receiver_would_say_and_any_other_time_can_be_asked_for() {
    let folder = captured(&headers("evolutionx", KEY, long_ago(), BODY), BODY);
    let now = refused(verify(folder.path(), "live", &["--at", "now"]));
    assert!(now.contains("result      refused: the timestamp is "), "{now}");
    assert!(now.contains("found       the signature is right, but its timestamp is"), "{now}");
    for near in ["1700000300", "2023-11-14T22:08:20Z", "2023-11-14T23:13:20+01:00"] {
        printed(verify(folder.path(), "live", &["--at", near]));
    }
    let late = refused(verify(folder.path(), "live", &["--at", "1700000301"]));
    assert!(late.contains("301 s old, and tolerance is 300 s"), "{late}");
    let wrong = run(folder.path(), &["verify", "--headers", "h", "--at", "soon"]);
    assert!(complaint(wrong).contains("write now, 2026-01-31T12:00:00Z or Unix seconds"));
}

#[test]
fn a_refused_request_has_its_reason_and_every_finding() {
    let text = headers("evolutionx", KEY, long_ago(), BODY).to_lowercase();
    let folder = captured(&text, &format!("{BODY}\n"));
    let shown = refused(verify(folder.path(), "live", &[]));
    assert!(shown.contains("refused: none of this source's 1 signing keys made"), "{shown}");
    assert!(shown.contains("found       a line break was added to the end of the body"), "{shown}");
    assert!(!shown.contains("hush"), "{shown}");
    let object = json_of(&refused(verify(folder.path(), "git", &["--json"])));
    assert_eq!((&object["verified"], &object["key"]), (&json!(false), &Value::Null));
    assert_eq!(object["reason"], "no X-Hub-Signature-256 header");
    assert_eq!(object["findings"].as_array().unwrap().len(), 1, "{object}");

    let milliseconds = 1_700_000_000_000_u64.to_string();
    let scheme =
        Scheme { unit: signature::Unit::Milliseconds, ..Scheme::named("evolutionx").unwrap() };
    let key = Key::new(&scheme, &KEY.into()).unwrap();
    let stamp = Stamp { id: "", time: long_ago() };
    let signed = scheme.sign(&[&key], stamp, BODY.as_bytes()).unwrap();
    let lines = signed.iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()));
    let folder = captured(&lines.collect::<String>(), BODY);
    let shown = refused(verify(folder.path(), "live", &[]));
    assert!(
        shown.contains("the timestamp is in milliseconds, and it is expected in seconds"),
        "{shown}"
    );
    assert!(shown.contains(&format!("timestamp   {milliseconds}")), "{shown}");
}

#[test]
fn a_bearer_request_is_checked_too() {
    let text = format!("POST /bearer HTTP/1.1\nAuthorization: Bearer {BEARER}\n");
    let shown = printed(verify(captured(&text, "{}").path(), "bearer", &[]));
    assert!(shown.contains("scheme      bearer") && !shown.contains("signed"), "{shown}");
    let folder = captured(&format!("authorization: {BEARER}\n"), "{}");
    let shown = refused(verify(folder.path(), "bearer", &[]));
    assert!(shown.contains("found       it came without `Bearer ` before it"), "{shown}");
    assert!(!shown.contains("hush"));
    let not_json = captured(&text, "no");
    let shown = refused(verify(not_json.path(), "bearer", &[]));
    assert!(shown.contains("refused: the body is not JSON"), "{shown}");
}

#[test]
fn headers_come_from_standard_input_and_as_json_too() {
    let lines = headers("github", GIT, long_ago(), BODY);
    let folder = captured("", BODY);
    let args = ["verify", "--source", "git", "--headers", "-", "--body", "body"];
    printed(run_with(folder.path(), &args, &lines));
    let (name, value) = lines.trim().split_once(": ").unwrap();
    printed(run_with(folder.path(), &args, &json!([[name, value]]).to_string()));
    let args = ["verify", "--source", "git", "--headers", "-", "--body", "-"];
    let error = complaint(run_with(folder.path(), &args, &lines));
    assert!(error.contains("only one of --headers and --body can be -"), "{error}");
}

#[tokio::test]
async fn a_delivery_from_the_inbox_is_verified_whole() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::serve(folder.path(), SETTINGS);
    let lines = headers("github", GIT, Utc::now(), BODY);
    let (_, value) = lines.trim().split_once(": ").unwrap();
    let request = Request::post("/git", BODY).set("X-Hub-Signature-256", value);
    let (id, _) = request.send(&process.address).await.kept();
    let (bearer, _) =
        Request::post("/bearer/Any", "{}").bearer(BEARER).send(&process.address).await.kept();
    process.stop();
    let show = |id: i64| printed(run(folder.path(), &["inbox", "show", &id.to_string(), "--json"]));
    let verify = |source, text: &str| {
        run_with(folder.path(), &["verify", "--source", source, "--headers", "-"], text)
    };
    let shown = printed(verify("git", &show(id)));
    assert!(shown.contains("result      verified"), "{shown}");
    let redacted = complaint(verify("bearer", &show(bearer)));
    assert!(redacted.contains("keeps no keys; write the authorization header"), "{redacted}");
}

#[test]
fn what_cannot_be_checked_ends_with_2_and_repeats_no_secret() {
    let folder = captured("Authorization Bearer hushBearer\n", BODY);
    let error = complaint(verify(folder.path(), "bearer", &[]));
    assert!(error.contains("line 1 is not `Name: value`"), "{error}");
    let bad = captured("A: b\nX-Hub-Signature-256: hush\u{1}\n", BODY);
    let error = complaint(verify(bad.path(), "git", &[]));
    assert!(error.contains("line 2 is not") && !error.contains("hush"), "{error}");
    let json = captured(r#"[["Authorization", {"hushKey": 1}]]"#, BODY);
    let error = complaint(verify(json.path(), "git", &[]));
    assert!(error.contains("list of [name, value] pairs") && !error.contains("hush"), "{error}");
    let unknown = complaint(verify(bad.path(), "nobody", &[]));
    assert!(unknown.contains("--source bearer | git | live"), "{unknown}");
    let args = ["verify", "--source", "git", "--headers", "headers"];
    let no_body = complaint(run(captured("A: b\n", "").path(), &args));
    assert!(no_body.contains("give the body's file with --body"), "{no_body}");
    let empty = complaint(verify(captured(" \n", "").path(), "git", &[]));
    assert!(empty.contains("there are no headers in it"), "{empty}");
    std::fs::remove_file(bad.path().join("headers")).unwrap();
    let missing = complaint(verify(bad.path(), "git", &[]));
    assert!(missing.contains("cannot read headers"), "{missing}");
}

#[test]
fn a_key_is_not_accepted_and_retired_at_once() {
    let folder = captured("A: b\n", "");
    let settings =
        SETTINGS.replace("path = \"/git\"", &format!("path = \"/git\"\nretired_keys = {GIT:?}"));
    std::fs::write(folder.path().join("receiver.toml"), settings).unwrap();
    let error = complaint(verify(folder.path(), "git", &[]));
    assert!(error.contains("[sources.git] retired_keys has a key"), "{error}");
    assert!(error.contains("is still accepted in"), "{error}");
    assert!(!error.contains("hush"), "{error}");
}

#[test]
fn its_help_explains_the_time_and_has_examples() {
    let folder = tempfile::tempdir().unwrap();
    let long = printed(run(folder.path(), &["verify", "--help"]));
    for part in ["A captured request is always old", "inbox show 42 --json |", "Exit code: 0 if"] {
        assert!(long.contains(part), "{part}: {long}");
    }
    let short = printed(run(folder.path(), &["verify", "-h"]));
    assert!(!short.contains("always old") && short.contains("Examples:"), "{short}");
}
