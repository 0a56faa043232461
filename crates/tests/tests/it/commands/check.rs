//! `check`: what it says of settings, and by which exit code.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::harness::process::{command, complaint, printed, run};

/// Settings of which nothing bad is to be said.
const SOUND: &str = r#"
[sources.live]
dialect = "directscale"
bearer_tokens = ["hush-0123456789ab", "hush-0123456789cd"]
retired_keys = ["hush-0123456789ef"]
[sources.pay]
dialect = "stripe"
path = "/stripe"
signing_keys = ["hush-0123456789gh"]
"#;

fn check(folder: &Path, settings: &str, args: &[&str]) -> Output {
    std::fs::write(folder.join("receiver.toml"), settings).unwrap();
    run(folder, &[&["check"], args].concat())
}

/// What `check` prints of these settings, and its exit code.
fn checked(settings: &str) -> (String, Option<i32>) {
    let folder = tempfile::tempdir().unwrap();
    let output = check(folder.path(), settings, &[]);
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!folder.path().join("data").exists(), "nothing is made");
    (String::from_utf8(output.stdout).unwrap(), output.status.code())
}

fn json_of(settings: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    serde_json::from_slice(&check(folder.path(), settings, &["--json"]).stdout).unwrap()
}

/// The words of each line, one space between them.
fn lines(text: &str) -> Vec<String> {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn sound_settings_are_ok_and_show_what_would_be_served() {
    let (text, code) = checked(SOUND);
    assert_eq!(
        lines(&text),
        [
            "NAME DIALECT ENVIRONMENT PATH AUTH KEYS",
            "live directscale live /api/webhooks bearer 2",
            "pay stripe live /stripe signature 1",
            "",
            "ok"
        ]
    );
    assert_eq!(code, Some(0));
    assert_eq!(
        json_of(SOUND)["sources"][0],
        json!({"name": "live", "dialect": "directscale", "environment": "live",
               "path": "/api/webhooks", "auth": "bearer", "keys": 2})
    );
}

#[test]
fn a_warning_is_a_line_and_no_failure() {
    let small = format!("{SOUND}[limits]\nmax_body = 1000\n");
    let (text, code) = checked(&small);
    let told = lines(&text);
    assert_eq!(
        told[4..],
        [
            "warning: [limits] max_body: is below 256 KiB, and senders post that much; write max_body = 262144 or more",
            "0 refused, 1 warning"
        ]
    );
    assert_eq!(code, Some(0));
    let warning = json!({
        "setting": "[limits] max_body",
        "reason": "is below 256 KiB, and senders post that much",
        "remedy": "write max_body = 262144 or more"
    });
    assert_eq!(json_of(&small)["warnings"], json!([warning]));
}

#[test]
fn everything_that_would_be_refused_is_told_at_once() {
    let broken = format!(
        "inbox = \"mysql://me:hush@db/inbox\"\n{SOUND}
         [sources.keyless]\ndialect = \"slack\"\npath = \"/slack\"
         [sources.twin]\ndialect = \"directscale\"\nbearer_tokens = [\"hush-0123456789ij\"]
         [limits]\nqueue = 0
         [docs]\nuser = \"u\"\npassword_hash = \"hush\"
         [log]\nfilter = \"a=b=c\"\n"
    );
    let (text, code) = checked(&broken);
    let refused: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("refused: ")).collect();
    for (line, part) in refused.iter().zip([
        "[sources.keyless] has no key; write signing_keys",
        "[sources.twin] and [sources.live] have overlapping paths",
        "queue in [limits] must be at least 1",
        "the setting `inbox` is not an inbox URL: there is no engine `mysql`; write inbox = ",
        "password_hash in [docs]",
        "filter = \"a=b=c\" in [log]",
    ]) {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert_eq!((refused.len(), code), (6, Some(1)), "{text}");
    assert!(text.ends_with("6 refused, 0 warnings\n"), "{text}");
    assert!(!text.contains("hush"), "{text}");
    let json = json_of(&broken);
    assert_eq!(json["refused"], json!(refused));
    assert_eq!(json["sources"].as_array().unwrap().len(), 2, "the others would be served");
}

#[test]
fn what_check_refuses_serve_refuses_and_the_other_way_round() {
    let folder = tempfile::tempdir().unwrap();
    let retired = SOUND.replace("hush-0123456789ef", "hush-0123456789ab");
    for settings in [
        "",
        "lisen = 1\n",
        &retired,
        &format!("{SOUND}[log]\nfilter = \"a=b=c\"\n"),
        &format!("inbox = \"redis:x\"\n{SOUND}"),
        &format!("{SOUND}[docs]\nuser = \"u\"\npassword_hash = \"x\"\n"),
        &format!("{SOUND}[dispatch]\njitter = 2.0\n"),
        &format!("{SOUND}tolerance = \"8d\"\n"),
    ] {
        let output = check(folder.path(), settings, &["--json"]);
        assert_eq!(output.status.code(), Some(1), "{settings}");
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let refused = json["refused"][0].as_str().unwrap();
        let output = run(folder.path(), &["serve", "--listen", "127.0.0.1:0"]);
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{settings}");
        assert!(complaint.contains(refused), "{refused}: {complaint}");
    }
}

#[test]
fn settings_that_cannot_be_read_are_another_matter() {
    let folder = tempfile::tempdir().unwrap();
    let error = complaint(run(folder.path(), &["check", "--config", "no-such.toml"]));
    assert!(error.contains("cannot read the settings file no-such.toml"), "{error}");
}

#[test]
fn flags_and_variables_count_as_they_do_for_serve() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("receiver.toml"), SOUND).unwrap();
    let args = ["check", "--listen", "0.0.0.0:80"];
    let told = printed(
        command(folder.path(), &args)
            .env("RECEIVER_EMIT_TOKEN", "hush-emit")
            .env("RECEIVER_DEDUP__WINDOW", "1h")
            .output()
            .unwrap(),
    );
    for setting in
        ["[dedup] window", "[docs] password_hash", "environment variable RECEIVER_EMIT_TOKEN"]
    {
        assert!(told.contains(&format!("\nwarning: {setting}: ")), "{setting}: {told}");
    }
    assert!(told.ends_with("0 refused, 3 warnings\n") && !told.contains("hush"), "{told}");
}

#[test]
fn a_path_that_is_a_secret_is_not_shown() {
    let open = r#"
[sources.open]
dialect = "directscale"
auth = "none"
path = "/api/hushpath0123456789abcdefghij"
"#;
    let (text, code) = checked(open);
    assert_eq!(lines(&text)[1], "open directscale live /api/[secret] none 0");
    assert!(text.contains("warning: [sources.open] auth: "), "{text}");
    assert_eq!(code, Some(0));
    assert!(!text.contains("hush") && !json_of(open).to_string().contains("hush"));
}

/// What `check` refuses of these settings, which `serve` refuses in the same words.
fn refused(settings: &str, prepare: impl Fn(&Path)) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("receiver.toml"), settings).unwrap();
    prepare(folder.path());
    let output = run(folder.path(), &["check"]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stdout).unwrap();
    let refused = told.lines().find_map(|line| line.strip_prefix("refused: ")).unwrap();
    let served = complaint(run(folder.path(), &["serve"]));
    assert!(served.contains(refused), "{served} {refused}");
    refused.to_owned()
}

fn keyed(setting: &str) -> String {
    format!("[sources.one]\ndialect = \"directscale\"\n{setting}\n")
}

#[test]
fn a_key_that_nobody_can_send_is_refused_wherever_it_stands() {
    const KEY: &str = "hush-0123456789ab";
    let sound = format!("bearer_tokens = \"{KEY}\"\n");
    let hooks = format!("{sound}[sources.one.hooks]\ncallback_url = \"https://x.test\"\n");
    for bad in [
        format!("\u{feff}{KEY}"),
        format!("{KEY}\u{200b}"),
        format!("\u{a0}{KEY}"),
        format!("'{KEY}'"),
        format!("Bearer {KEY}"),
        "\u{feff}".to_owned(),
    ] {
        for (setting, place) in [
            (format!("bearer_tokens = [\"{KEY}\", \"{bad}\"]"), "bearer_tokens, 2 of 2"),
            ("bearer_token_files = \"key\"".to_owned(), "bearer_token_files, key"),
            (format!("{sound}retired_keys = \"{bad}\""), "retired_keys"),
            (format!("scheme = \"stripe\"\nsigning_keys = \"{bad}\""), "signing_keys"),
            (format!("{hooks}callback_key = \"{bad}\""), "callback_key"),
            (format!("{sound}[bus]\napi_key = \"{bad}\""), "[bus] api_key"),
            (format!("{sound}[bus.subscriptions.x]\nbearer_token = \"{bad}\""), "bearer_token"),
            (format!("{sound}[bus.subscriptions.x]\nsigning_key = \"{bad}\""), "signing_key"),
        ] {
            let refused = refused(&keyed(&setting), |folder| {
                std::fs::write(folder.join("key"), format!("{bad}\r\n")).unwrap();
            });
            assert!(refused.contains(place) && !refused.contains("hush"), "{setting:?}: {refused}");
        }
    }
}

#[test]
fn the_files_of_the_bus_are_read_as_the_bus_reads_them() {
    let sound = keyed("bearer_tokens = \"hush-0123456789ab\"");
    for (bus, place) in [
        ("[bus]\napi_key_file", "[bus] api_key_file"),
        (
            "[bus.subscriptions.x]\nevents = \"*\"\ntarget = \"https://x.test/\"\nbearer_token_file",
            "[bus.subscriptions.x] bearer_token_file",
        ),
        (
            "[bus.subscriptions.x]\nevents = \"*\"\ntarget = \"https://x.test/\"\nscheme = \"github\"\nsigning_key_file",
            "[bus.subscriptions.x] signing_key_file",
        ),
    ] {
        let settings = format!("{sound}\n{bus} = \"the-key\"\n");
        for (key, words) in [
            (Some("\"hush-0123456789ab\""), "quotes"),
            (Some("\u{feff}hush-0123456789ab"), "U+FEFF"),
            (Some(""), "is empty"),
            (None, "cannot read"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            if let Some(key) = key {
                std::fs::write(folder.path().join("the-key"), key).unwrap();
            }
            let output = check(folder.path(), &settings, &[]);
            let text = String::from_utf8(output.stdout).unwrap();
            assert_eq!(output.status.code(), Some(1), "{text}");
            for expected in [place, words, "the-key"] {
                assert!(text.contains(expected) && !text.contains("hush"), "{expected}: {text}");
            }
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("the-key"), "hush-0123456789ab\n").unwrap();
        assert_eq!(check(folder.path(), &settings, &[]).status.code(), Some(0), "{bus}");
    }
}

#[test]
fn a_key_that_is_found_by_trying_is_refused_where_others_can_try() {
    for key in ["x", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"] {
        let settings = keyed(&format!("bearer_tokens = \"{key}\""));
        let refused = refused(&format!("listen = \"0.0.0.0:8080\"\n{settings}"), |_| {});
        assert!(refused.contains("can be guessed"), "{refused}");
        let (told, code) = checked(&settings);
        assert!(code == Some(0) && told.contains("can be guessed"), "{told}");
    }
}

#[test]
fn files_that_everybody_can_change_are_refused() {
    use std::os::unix::fs::PermissionsExt as _;

    let allow = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let settings = keyed("bearer_token_files = \"key\"");
    let key = |folder: &Path| std::fs::write(folder.join("key"), "hush-0123456789ab").unwrap();
    for file in ["receiver.toml", "key"] {
        let refused = refused(&settings, |folder| {
            key(folder);
            allow(&folder.join(file), 0o666);
        });
        assert!(refused.contains("chmod o-w") && refused.contains(file), "{refused}");
    }
    let refused = refused(&settings, |folder| {
        key(folder);
        allow(folder, 0o777);
    });
    assert!(refused.contains("replace receiver.toml"), "{refused}");
}
