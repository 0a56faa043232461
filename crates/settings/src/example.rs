//! Checks of `receiver.example.toml`: it parses, it names every setting, and its defaults are the defaults.

use std::collections::BTreeSet;

use contract::event::fields;
use serde::de::DeserializeOwned;

use super::*;

const EXAMPLE: &str = include_str!("../receiver.example.toml");

fn parsed(text: &str) -> Config {
    parse(text, [], "receiver.example.toml").unwrap()
}

/// The example with every commented setting enabled.
fn switched_on() -> String {
    let on = |line: &str| match line.strip_prefix('#') {
        Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => setting.to_owned(),
        _ => line.to_owned(),
    };
    EXAMPLE.lines().map(on).collect::<Vec<_>>().join("\n")
}

fn names<T: DeserializeOwned>(section: &str) -> impl Iterator<Item = String> {
    fields::<T>().unwrap().iter().map(move |field| format!("{section}{field}"))
}

/// The names of all settings, as `section.name`.
fn settings() -> BTreeSet<String> {
    let sections = ["sources", "limits", "dispatch", "dedup", "retention", "docs", "bus", "log"];
    let tables = [
        "sources.places",
        "sources.signature",
        "sources.hooks",
        "bus.subscriptions",
        "bus.subscriptions.faults",
    ];
    names::<Config>("")
        .filter(|name| !sections.contains(&name.as_str()))
        .chain(names::<SourceConfig>("sources."))
        .chain(names::<PlacesConfig>("sources.places."))
        .chain(names::<CustomScheme>("sources.signature."))
        .chain(names::<HooksConfig>("sources.hooks."))
        .chain(names::<Limits>("limits."))
        .chain(names::<Dispatch>("dispatch."))
        .chain(names::<Dedup>("dedup."))
        .chain(names::<Retention>("retention."))
        .chain(names::<Docs>("docs."))
        .chain(names::<BusConfig>("bus."))
        .chain(names::<SubscriptionConfig>("bus.subscriptions."))
        .chain(names::<FaultsConfig>("bus.subscriptions.faults."))
        .chain(names::<Log>("log."))
        .filter(|name| !tables.contains(&name.as_str()))
        .collect()
}

/// The sections whose tables have names of the user's choice.
const BY_NAME: [&str; 2] = ["sources", "bus.subscriptions"];

/// The settings whose keys are of the user's choice.
const OPEN: [&str; 2] = ["bus.subscriptions.query", "bus.subscriptions.headers"];

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
        _ => drop(names.insert(name.to_owned())),
    }
}

#[test]
fn the_example_names_every_dialect() {
    for dialect in Dialect::ALL {
        assert!(EXAMPLE.contains(&format!("\"{dialect}\"")), "{dialect}");
    }
}

#[test]
fn the_example_names_every_setting_and_no_other() {
    assert_eq!(named(&switched_on()), settings());
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
    let config = parsed(&switched_on());
    assert_eq!(config.check(), Ok(()));
    assert_eq!(config.sources.len(), 4);
    assert!(config.sources["acme"].field_locators("acme").is_ok());
    let live = &config.sources["directscale"];
    assert_eq!((live.bearer_tokens.len(), live.bearer_token_files.len()), (1, 1));
    assert!(live.rate_limit.is_some());
    assert!(config.sources["acme"].signature.is_some());
    assert!(live.hooks.as_ref().is_some_and(|hooks| hooks.callback_url("directscale").is_ok()));
    assert!(config.docs.user.is_some() && config.docs.password_hash.is_some());
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
