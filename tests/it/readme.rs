//! What the README prints: its Rust is compiled and tested here, its settings are read.

mod autoship_hooks;
#[allow(dead_code, unreachable_pub, reason = "as in a fork's file, whose models are public")]
mod order;
#[allow(dead_code, unreachable_pub, reason = "as in a fork's file, whose models are public")]
mod shipment;

use std::process::Command;

use webhook_receiver::config::parse;
use webhook_receiver::handlers::Context;

const README: &str = include_str!("../../README.md");

/// The README's blocks in one language.
fn blocks(language: &str) -> impl Iterator<Item = &'static str> {
    let after_fences = README.split(&format!("\n```{language}\n")).skip(1).collect::<Vec<_>>();
    after_fences.into_iter().map(|text| text.split("\n```").next().unwrap_or(text))
}

#[test]
fn every_rust_block_is_an_excerpt_of_a_tested_file() {
    let files = [
        include_str!("readme/autoship_hooks.rs"),
        include_str!("readme/order.rs"),
        include_str!("readme/shipment.rs"),
    ];
    for file in files {
        assert!(blocks("rust").any(|block| block.trim() == file.trim()), "not printed:\n{file}");
    }
    for block in blocks("rust") {
        assert!(files.iter().any(|file| file.contains(block)), "not tested:\n{block}");
    }
}

#[test]
fn every_settings_block_is_read() {
    assert!(blocks("toml").count() > 0);
    for block in blocks("toml") {
        let settings = parse(block, [], "README.md").map(|settings| settings.check());
        assert_eq!(settings, Ok(Ok(())), "{block}");
    }
}

#[test]
fn the_example_families_are_registered() {
    // Not beside the shipped ones: a fork that has followed the README has these among its own.
    let catalog = order::catalog().merge(shipment::catalog()).checked().unwrap();
    let names: Vec<_> = catalog.iter().map(|row| row.name).collect();
    assert_eq!(names, ["OrderEvent", "OrderHeldEvent", "ShipmentEvent"]);
}

#[test]
fn the_example_hooks_are_registered() {
    let catalog = autoship_hooks::catalog().checked().unwrap();
    assert_eq!(catalog.hooks().count(), 4);
}

#[test]
fn the_service_unit_leaves_little_exposed() {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("webhook-receiver.service");
    let text = blocks("ini").next().unwrap();
    for line in ["Restart=always", "StartLimitIntervalSec=0", "LimitCORE=0"] {
        assert!(text.lines().any(|known| known == line), "{line}");
    }
    // The program need not be installed to be judged.
    std::fs::write(&unit, text.replace("/usr/local/bin/webhook-receiver", "/bin/true")).unwrap();
    let analyze = |args: &[&str]| Command::new("systemd-analyze").args(args).arg(&unit).output();
    let Ok(security) = analyze(&["security", "--offline=true", "--threshold=30"]) else {
        return eprintln!("SKIPPED: systemd-analyze is not installed here");
    };
    let said = String::from_utf8_lossy(&security.stdout).into_owned();
    assert!(security.status.success() && said.contains("Overall exposure level"), "{said}");
    let verified = analyze(&["verify"]).unwrap();
    assert!(verified.status.success() && verified.stderr.is_empty(), "{verified:?}");
}
