//! Checks of `receiver.example.toml` and of `sender.example.toml`, which describes one sender: they parse, they name every
//! setting, and their defaults are the defaults.

use std::collections::BTreeSet;

use contract::event::fields;
use serde::de::DeserializeOwned;

use super::*;

const EXAMPLE: &str = include_str!("../receiver.example.toml");
const SENDER: &str = include_str!("../sender.example.toml");

fn parsed(text: &str) -> Config {
    parse(text, [], "receiver.example.toml").unwrap()
}

/// An example with every commented setting enabled.
fn switched_on(example: &str) -> String {
    let on = |line: &str| match line.strip_prefix('#') {
        Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => setting.to_owned(),
        _ => line.to_owned(),
    };
    example.lines().map(on).collect::<Vec<_>>().join("\n")
}

fn names<T: DeserializeOwned>(section: &str) -> impl Iterator<Item = String> {
    fields::<T>().unwrap().iter().map(move |field| format!("{section}{field}"))
}

/// The names of all settings, as `section.name`.
fn settings() -> BTreeSet<String> {
    let sections =
        ["sources", "limits", "dispatch", "dedup", "retention", "docs", "console", "bus", "log"];
    let tables = [
        "sources.places",
        "sources.signature",
        "sources.certificate",
        "sources.jwt",
        "sources.message",
        "sources.handshakes",
        "sources.hooks",
        "bus.subscriptions",
        "bus.subscriptions.faults",
    ];
    names::<Config>("")
        .filter(|name| !sections.contains(&name.as_str()))
        .chain(names::<SourceConfig>("sources."))
        .chain(names::<PlacesConfig>("sources.places."))
        .chain(names::<CustomScheme>("sources.signature."))
        .chain(names::<CertificateConfig>("sources.certificate."))
        .chain(names::<JwtConfig>("sources.jwt."))
        .chain(names::<MessageParameters>("sources.message."))
        .chain(names::<HandshakeConfig>("sources.handshakes."))
        .chain(names::<HooksConfig>("sources.hooks."))
        .chain(names::<Limits>("limits."))
        .chain(names::<Dispatch>("dispatch."))
        .chain(names::<Dedup>("dedup."))
        .chain(names::<Retention>("retention."))
        .chain(names::<Docs>("docs."))
        .chain(names::<ConsoleConfig>("console."))
        .chain(names::<BusConfig>("bus."))
        .chain(names::<SubscriptionConfig>("bus.subscriptions."))
        .chain(names::<FaultsConfig>("bus.subscriptions.faults."))
        .chain(names::<Log>("log."))
        .filter(|name| !tables.contains(&name.as_str()))
        .collect()
}

/// The sections whose tables have names of the user's choice.
const BY_NAME: [&str; 2] = ["sources", "bus.subscriptions"];

/// The settings whose keys are of the user's choice, or are explained by their example.
const OPEN: [&str; 6] = [
    "sources.signature.also",
    "bus.subscriptions.query",
    "bus.subscriptions.headers",
    "sources.values",
    "sources.jwt.claims",
    "sources.handshakes.when",
];

/// The names of all settings in the text, as `section.name`; all sources count as one section.
fn named(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (section, value) in text.parse::<toml::Table>().unwrap() {
        collect(&section, &value, &mut names);
    }
    names
}

fn collect(name: &str, value: &toml::Value, names: &mut BTreeSet<String>) {
    match value {
        toml::Value::Table(table) if BY_NAME.contains(&name) => {
            let inner = table.values().filter_map(toml::Value::as_table).flatten();
            inner.for_each(|(key, value)| collect(&format!("{name}.{key}"), value, names));
        }
        toml::Value::Table(table) if !OPEN.contains(&name) => {
            table.iter().for_each(|(key, value)| collect(&format!("{name}.{key}"), value, names));
        }
        toml::Value::Array(blocks)
            if blocks.iter().any(toml::Value::is_table) && !OPEN.contains(&name) =>
        {
            blocks.iter().for_each(|block| collect(name, block, names));
        }
        _ => drop(names.insert(name.to_owned())),
    }
}

#[test]
fn the_example_names_every_setting_and_no_other() {
    let named: BTreeSet<_> =
        [EXAMPLE, SENDER].iter().flat_map(|example| named(&switched_on(example))).collect();
    assert_eq!(named, settings());
}

#[test]
fn the_example_parses_as_printed_and_lacks_only_a_key() {
    let config = parsed(EXAMPLE);
    assert_eq!(config.check(), Ok(()));
    let refused = config.sources().unwrap_err().to_string();
    assert!(refused.starts_with("[sources.directscale] has no key"), "{refused}");
}

#[test]
fn the_example_parses_with_every_setting_switched_on() {
    let config = parsed(&switched_on(EXAMPLE));
    assert_eq!(config.check(), Ok(()));
    assert_eq!(config.sources.len(), 3);
    let live = &config.sources["directscale"];
    assert_eq!((live.bearer_tokens.len(), live.bearer_token_files.len()), (1, 1));
    assert!(live.rate_limit.is_some());
    assert!(live.hooks.as_ref().is_some_and(|hooks| hooks.callback_url("directscale").is_ok()));
    assert!(config.docs.user.is_some() && config.docs.password_hash.is_some());
}

#[test]
fn the_sender_parses_as_printed_and_with_each_setting_switched_on() {
    let config = parsed(&switched_on(SENDER));
    let acme = &config.sources["acme"];
    assert!(acme.field_locators("acme").is_ok());
    assert!(acme.signature.is_some() && acme.jwt.is_some() && acme.certificate.is_some());
    assert_eq!(acme.handshakes.as_ref().map(Vec::len), Some(1));
    assert!(parsed(SENDER).sources["acme"].signature.is_none());
}

#[test]
fn what_the_example_shows_is_the_default() {
    let mut shown = parsed(EXAMPLE);
    let source = shown.sources.remove("directscale").unwrap();
    assert_eq!(format!("{shown:#?}"), format!("{:#?}", Config::default()));
    let mut least = parsed("[sources.directscale]\ndialect = \"directscale\"\n");
    let least = least.sources.remove("directscale").unwrap();
    assert_eq!(format!("{source:#?}"), format!("{least:#?}"));
}

#[test]
fn every_setting_of_the_example_is_explained() {
    let mut before = "";
    for line in SENDER.lines().skip_while(|line| !line.starts_with("#signing_keys")).skip(1) {
        if line.trim_start_matches('#').starts_with(|c: char| c.is_ascii_lowercase()) {
            assert!(before.starts_with("# "), "{line}");
        }
        before = line;
    }
    for line in EXAMPLE.lines() {
        let starts_a_block = line.starts_with("#[sources.directscale-stage]");
        if starts_a_block {
            break;
        }
        if line.trim_start_matches('#').starts_with(|c: char| c.is_ascii_lowercase()) {
            assert!(before.starts_with("# "), "{line}");
        }
        before = line;
    }
}
