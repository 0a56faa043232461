//! Setup guides: the values to enter on the sender's side for a configured source, and the commands that check them.

use std::fmt::Write as _;

use anyhow::{bail, ensure};
use contract::catalog::{Table, segment};
use contract::event::Dialect;
use emitter::target::address;
use reqwest::Url;
use secrecy::ExposeSecret;
use settings::{Config, ConfiguredKey, SourceConfig};
use source::{Fact, FieldLocators, is_secret};

use super::sender::SenderProfile;

/// The example address, in place of the receiver's public one.
const EXAMPLE_BASE: &str = "https://hooks.example.com";

/// The selection and content of setup guides.
#[derive(Debug, clap::Args)]
pub struct SetupGuideArgs {
    /// A configured source, or a dialect for all sources of that sender: directscale, evolutionx, github, …
    #[arg(value_name = "NAME")]
    name: String,
    /// The receiver's public address [default: that of the examples]
    #[arg(long, value_name = "URL")]
    base: Option<String>,
    /// Print the keys, and paths that are secret, too; whoever sees the screen sees them
    #[arg(long)]
    show_key: bool,
}

/// The setup guides of all selected sources, one after the other.
///
/// # Errors
/// If no source of that name is configured, with the lines to write; or if the base is no address.
pub fn setup_guides(
    args: &SetupGuideArgs,
    catalog: &Table,
    config: &Config,
) -> anyhow::Result<String> {
    let base = args.base.as_deref().unwrap_or(EXAMPLE_BASE).trim_end_matches('/');
    let parsed = Url::parse(base);
    ensure!(
        parsed.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.path() == "/"),
        "--base is the address alone, such as {EXAMPLE_BASE}, not {base:?}"
    );
    // Checks the paths and keys that the guide will contain.
    let selected: Vec<_> = config
        .sources
        .iter()
        .filter(|(name, source)| **name == args.name || source.dialect.as_str() == args.name)
        .collect();
    if selected.is_empty() {
        return not_configured(&args.name);
    }
    config.sources()?;
    let keys = config.keys()?;
    let setup_guides = selected.into_iter().map(|(name, source)| {
        let own: Vec<_> = keys.iter().filter(|key| key.source == *name).collect();
        setup_guide(args, base, (name, source), &own, catalog)
    });
    Ok(setup_guides.collect::<anyhow::Result<Vec<_>>>()?.join("\n"))
}

fn not_configured(name: &str) -> anyhow::Result<String> {
    let Some(dialect) = Dialect::from_name(name) else {
        let known: Vec<_> = Dialect::ALL.iter().map(|dialect| dialect.as_str()).collect();
        bail!("there is no source or dialect `{name}`; dialects: {}", known.join(", "));
    };
    let key = if dialect.scheme().is_some() { "signing_key_files" } else { "bearer_token_files" };
    bail!(
        "no {dialect} source is configured; write to receiver.toml:\n\n[sources.{name}]\ndialect = \"{name}\"\npath = \"/{name}\"\n{key} = [\"/run/secrets/{name}\"]\n"
    )
}

fn setup_guide(
    args: &SetupGuideArgs,
    base: &str,
    (name, source): (&str, &SourceConfig),
    keys: &[&ConfiguredKey],
    catalog: &Table,
) -> anyhow::Result<String> {
    let sender = SenderProfile::of(source.dialect);
    let is_hidden = !args.show_key && source.path.split('/').any(is_secret);
    let path = if is_hidden { "/[the secret path in the settings]" } else { source.path.as_str() };
    let url = format!("{base}{}", path.trim_end_matches('/'));
    let mut guide = format!("{} ({}), source {name}\n", sender.name, source.environment);
    let mut line = |what: &str, text: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(guide, "  {what:<9} {text}");
    };
    line("page", sender.page);
    let events: Vec<_> =
        catalog.events().filter(|row| row.dialect == source.dialect && row.version == 1).collect();
    match sender.has_url_per_event {
        true => {
            for row in &events {
                line("URL", &format!("{url}/{}  for {}", segment(row.name), row.name));
            }
            line("", &format!("or {url}  for every event whose body has its EventType"));
        }
        false => {
            line("URL", &url);
            let names: Vec<_> = events.iter().map(|row| row.name).collect();
            if !names.is_empty() {
                line("events", &names.join(", "));
            }
        }
    }
    line("key", sender.key);
    for key in keys.iter().filter(|key| key.sort.is_accepted()) {
        line("", &format!("{} ({}): {}", key.fingerprint, key.sort.as_str(), key.location));
        if args.show_key {
            line("", key.secret.expose_secret());
        }
    }
    for header in headers(name, source)? {
        line("header", &header);
    }
    line("answer", &format!("{}; {}", source.accepted_status, sender.limit_in_words()));
    let end = if sender.has_url_per_event { "/" } else { "" };
    line("check it", &format!("webhook-receiver doctor {url}{end} --source {name} --events"));
    line("", &format!("webhook-receiver doctor --expect --source {name}"));
    // The guide must contain a URL that `doctor` accepts.
    address(&format!("{base}{}", source.path), "Event")?;
    Ok(guide)
}

/// The headers that the receiver reads, in the sender's spelling.
fn headers(name: &str, source: &SourceConfig) -> anyhow::Result<Vec<String>> {
    let places: FieldLocators = source.field_locators(name)?;
    let mut headers = Vec::new();
    if source.auth_kind().has_bearer() {
        headers.push("Authorization: Bearer and the key".to_owned());
    }
    if source.auth_kind().has_signature() {
        headers.push(match source.scheme(name)? {
            Some(scheme) => format!("{}: the signature", scheme.headers[0].signature),
            None => "Signature-Input and Signature, which must cover Content-Digest".to_owned(),
        });
    }
    headers.push(format!("Content-Type: {}", places.content_type));
    for (fact, what) in [
        (Fact::MessageId, "the message's id"),
        (Fact::EventType, "the event's name"),
        (Fact::ClientId, "the account"),
        (Fact::User, "the user who caused it"),
    ] {
        if let Some(header) = places.header(fact) {
            headers.push(format!("{}: {what}", header.spelling));
        }
    }
    Ok(headers)
}
