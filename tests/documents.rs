//! Tests of what README.md and docs/ print. A fork with pages of its own deletes this file and the folder beside it.

#[path = "documents/autoship_hooks.rs"]
mod autoship_hooks;
#[path = "documents/charge.rs"]
mod charge;
#[path = "documents/order.rs"]
mod order;
#[path = "documents/shipment.rs"]
mod shipment;

use std::fs;
use std::path::Path;
use std::process::Command;

use handlers::Context;
use webhook_receiver::testing;

const README: &str = include_str!("../README.md");

/// The texts of a folder's files.
fn texts(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder is there").flatten();
    entries.filter_map(|entry| fs::read_to_string(entry.path()).ok()).collect()
}

/// The blocks in one language of README.md and docs/.
fn blocks(language: &str) -> Vec<String> {
    let (documents, fence) = (texts("docs"), format!("\n```{language}\n"));
    let documents = [README].into_iter().chain(documents.iter().map(String::as_str));
    let opened = documents.flat_map(|document| document.split(&fence).skip(1));
    opened.map(|text| text.split("\n```").next().unwrap_or(text).to_owned()).collect()
}

fn program(args: &str) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_webhook-receiver"));
    command.args(args.split_whitespace()).arg("--help").output().expect("the program runs")
}

#[test]
fn the_readme_is_short_and_has_the_whole_new_family() {
    assert!(README.lines().count() <= 250);
    let family = include_str!("documents/shipment.rs");
    assert!(README.contains(&format!("\n```rust\n{family}```\n")));
}

#[test]
fn every_rust_block_is_an_excerpt_of_a_compiled_file() {
    let files =
        [texts("tests/documents"), texts("crates/webhook-receiver/examples/effects")].concat();
    for block in blocks("rust") {
        assert!(files.iter().any(|file| file.contains(&block)), "not compiled:\n{block}");
    }
}

#[tokio::test]
async fn the_compiled_files_make_a_sound_catalog() {
    let hooks = autoship_hooks::catalog();
    let catalog = order::catalog().merge(shipment::catalog()).merge(hooks);
    assert_eq!(testing::violations(catalog, Context::default()).await, [""; 0]);
}

#[test]
fn every_settings_block_can_be_used() {
    for block in blocks("toml") {
        testing::settings(&block).unwrap_or_else(|error| panic!("{error:#}\n{block}"));
    }
}

#[test]
fn every_command_is_one_of_the_program_with_its_flags() {
    let known = String::from_utf8(program("").stdout).unwrap();
    for line in blocks("sh").iter().flat_map(|block| block.lines()) {
        for part in line.split(" | ").filter_map(|part| part.split(" > ").next()) {
            let args = part.strip_prefix("webhook-receiver ");
            let Some(args) = args.or(part.strip_prefix("cargo run -- ")) else { continue };
            let name = args.split(' ').next().unwrap_or(args);
            // A lean build has none of these.
            let is_optional = ["bus", "connect", "doctor", "migrate", "publish"].contains(&name);
            let is_left_out = is_optional && !known.contains(&format!("\n  {name} "));
            let help = program(args);
            assert!(is_left_out || help.status.success(), "{line}: {help:?}");
        }
    }
}

#[test]
fn the_service_unit_leaves_little_exposed() {
    let [text] = blocks("ini").try_into().expect("there is one unit");
    for line in ["Restart=always", "StartLimitIntervalSec=0", "LimitCORE=0"] {
        assert!(text.lines().any(|known| known == line), "{line}");
    }
    let unit = Path::new(env!("CARGO_TARGET_TMPDIR")).join("webhook-receiver.service");
    // The program need not be installed to be judged.
    fs::write(&unit, text.replace("/usr/local/bin/webhook-receiver", "/bin/true")).unwrap();
    let analyze = |args: &[&str]| Command::new("systemd-analyze").args(args).arg(&unit).output();
    let Ok(security) = analyze(&["security", "--offline=true", "--threshold=30"]) else {
        return eprintln!("SKIPPED: systemd-analyze is not installed here");
    };
    let printed = String::from_utf8_lossy(&security.stdout).into_owned();
    assert!(security.status.success() && printed.contains("Overall exposure level"), "{printed}");
    let verified = analyze(&["verify"]).unwrap();
    assert!(verified.status.success() && verified.stderr.is_empty(), "{verified:?}");
}
