//! Setup guides: the values to enter on the sender's side for a configured source, and the commands that check them.

use std::fmt::Write as _;

use anyhow::{bail, ensure};
use contract::catalog::{Table, segment};
use contract::event::Dialect;
use emitter::target::address;
use reqwest::Url;
use secrecy::ExposeSecret;
use settings::{Config, ConfiguredKey, SourceConfig};
use signature::Place;
use source::{Fact, FieldLocators, HandshakeConfig, Sender, is_secret};

use super::sender::limit_in_words;
use super::sender_pages::sender_pages;

/// The example address, in place of the receiver's public one.
const EXAMPLE_BASE: &str = "https://hooks.example.com";

/// The selection and content of setup guides.
#[derive(Debug, clap::Args)]
pub struct SetupGuideArgs {
    /// A configured source, or a sender: directscale, github, twilio, … [default: lists all senders]
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Print a page of every sender, in Markdown
    #[arg(long, conflicts_with_all = ["name", "base", "show_key"])]
    markdown: bool,
    /// The receiver's public address [default: that of the examples]
    #[arg(long, value_name = "URL")]
    base: Option<String>,
    /// Print the keys, and paths that are secret, too; whoever sees the screen sees them
    #[arg(long)]
    show_key: bool,
}

impl SetupGuideArgs {
    /// The guide of a source without its keys; at a public address, if it is known.
    pub fn of_source(name: &str, base: Option<&str>) -> Self {
        SetupGuideArgs {
            name: Some(name.to_owned()),
            markdown: false,
            base: base.map(str::to_owned),
            show_key: false,
        }
    }
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
    if args.markdown {
        return Ok(sender_pages());
    }
    let Some(wanted) = &args.name else { return Ok(senders()) };
    // Checks the paths and keys that the guide will contain.
    let selected: Vec<_> = config
        .sources
        .iter()
        .filter(|(name, source)| {
            *name == wanted || source.dialect.as_str().eq_ignore_ascii_case(wanted)
        })
        .collect();
    if selected.is_empty() {
        return not_configured(wanted);
    }
    config.sources()?;
    let keys = config.keys()?;
    let setup_guides = selected.into_iter().map(|(name, source)| {
        let own: Vec<_> = keys.iter().filter(|key| key.source == *name).collect();
        setup_guide(args, base, (name, source), &own, catalog)
    });
    Ok(setup_guides.collect::<anyhow::Result<Vec<_>>>()?.join("\n"))
}

/// Every sender, a line each.
fn senders() -> String {
    let width = Dialect::ALL.iter().map(|dialect| dialect.as_str().len()).max().unwrap_or_default();
    let line = |dialect: &Dialect| {
        let sender = Sender::of(*dialect);
        format!("{:<width$}  {}\n", dialect.as_str(), sender.title)
    };
    let list: String = Dialect::ALL.iter().map(line).collect();
    format!(
        "{list}\n`webhook-receiver connect NAME` prints what to write and what to enter for one of them.\n"
    )
}

fn not_configured(name: &str) -> anyhow::Result<String> {
    let Some(dialect) = meant(name) else {
        bail!(
            "there is no source or sender `{name}`; `webhook-receiver connect` lists the senders"
        );
    };
    let sender = Sender::of(dialect);
    bail!(
        "no {dialect} source is configured; write to receiver.toml:\n\n{}\nOn its side: {}\nKey: {}",
        settings_lines(dialect.as_str(), &sender),
        sender.page,
        sender.key
    )
}

/// The sender whose dialect or title has this name in it, in any case, if there is one.
fn meant(name: &str) -> Option<Dialect> {
    let name = name.to_lowercase();
    let in_title = |dialect: &&Dialect| Sender::of(**dialect).title.to_lowercase().contains(&name);
    Dialect::from_name(&name).or_else(|| {
        let mut found = Dialect::ALL.iter().filter(in_title);
        found.next().copied().filter(|_| found.next().is_none())
    })
}

/// The lines of the settings that connect a sender.
pub(super) fn settings_lines(name: &str, sender: &Sender) -> String {
    let mut lines = format!("[sources.{name}]\ndialect = \"{name}\"\npath = \"/{name}\"\n");
    let mut line = |text: &str| {
        lines.push_str(text);
        lines.push('\n');
    };
    let file = format!("/run/secrets/{name}");
    let is_published = sender.certificate.is_some();
    let signs = sender.signature.is_some() && !is_published;
    let has_keys_elsewhere = sender.jwt.as_ref().is_some_and(|jwt| jwt.keys_url.is_some());
    if sender.signature.is_none() && sender.jwt.is_none() || sender.token.is_some() && !signs {
        line(&format!("bearer_token_files = [\"{file}\"]"));
    } else if signs || sender.jwt.is_some() && !has_keys_elsewhere {
        line(&format!("signing_key_files = [\"{file}\"]"));
    }
    if signs && sender.token.is_some() {
        line("# or, if it sends a token and signs nothing:");
        line(&format!("#bearer_token_files = [\"{file}\"]"));
    }
    if sender.handshakes.iter().any(|row| row.token.is_some()) {
        line(&format!("handshake_token_files = [\"{file}-handshake\"]"));
    }
    if let Some(scheme) = signature::Scheme::named(name) {
        for value in scheme.signed.value_names() {
            line(&format!("values = {{ {value} = \"…\" }}"));
        }
        if scheme.signs_url() {
            line("#public_url = \"https://hooks.example.com\"");
        }
    }
    if is_published && sender.places.client_id.iter().any(|place| place.contains("Arn")) {
        line("client_ids = [\"arn:aws:sns:…\"]");
    }
    if has_keys_elsewhere {
        line(&format!("\n[sources.{name}.jwt]\naudience = \"…\"\nclaims = {{ email = \"…\" }}"));
    }
    lines
}

fn setup_guide(
    args: &SetupGuideArgs,
    base: &str,
    (name, source): (&str, &SourceConfig),
    keys: &[&ConfiguredKey],
    catalog: &Table,
) -> anyhow::Result<String> {
    let sender = source.sender();
    let is_hidden = !args.show_key && source.path.split('/').any(is_secret);
    let path = if is_hidden { "/[the secret path in the settings]" } else { source.path.as_str() };
    let url = format!("{base}{}", path.trim_end_matches('/'));
    let mut guide = format!("{} ({}), source {name}\n", sender.title, source.environment);
    let mut line = |what: &str, text: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(guide, "  {what:<9} {text}");
    };
    line("page", &sender.page);
    let events: Vec<_> =
        catalog.events().filter(|row| row.dialect == source.dialect && row.version == 1).collect();
    match sender.url_per_event {
        true => {
            for row in &events {
                line("URL", &format!("{url}/{}  for {}", segment(row.name), row.name));
            }
            line("", &format!("or {url}  for every event whose body has its EventType"));
        }
        false => {
            line("URL", &url);
            if sender.places.event_type.is_empty() && sender.sends.event != "event" {
                line(
                    "",
                    &format!("or {url}/{}  to name its events so", segment(&sender.sends.event)),
                );
            }
            let names: Vec<_> = events.iter().map(|row| row.name).collect();
            if !names.is_empty() {
                line("events", &names.join(", "));
            }
        }
    }
    line("key", &sender.key);
    for key in keys.iter().filter(|key| key.sort.is_accepted()) {
        line("", &format!("{} ({}): {}", key.fingerprint, key.sort.as_str(), key.location));
        if args.show_key {
            line("", key.secret.expose_secret());
        }
    }
    for header in headers(name, source)? {
        line("header", &header);
    }
    for row in source.handshake_rows() {
        line("handshake", &handshake(&row));
    }
    let status = source.accepted_status.or(sender.answer.status).unwrap_or(200);
    line("answer", &format!("{status}; {}", limit_in_words(&sender)));
    line("failure", &format!("{} {}", sender.title, sender.failure));
    if let Some(note) = &sender.note {
        line("note", note);
    }
    if !sender.docs.is_empty() {
        line("docs", &sender.docs);
    }
    let end = if sender.url_per_event { "/" } else { "" };
    line("check it", &format!("webhook-receiver doctor {url}{end} --source {name} --events"));
    line("", &format!("webhook-receiver doctor --expect --source {name}"));
    // The guide must contain a URL that `doctor` accepts.
    address(&format!("{base}{}", source.path), "Event")?;
    Ok(guide)
}

/// A handshake in words.
fn handshake(row: &HandshakeConfig) -> String {
    let when: Vec<String> = row
        .when
        .iter()
        .map(
            |(place, value)| {
                if value == "*" { place.clone() } else { format!("{place} = {value}") }
            },
        )
        .collect();
    let is_proved = row.proved.unwrap_or(row.method == "POST");
    let proof = if is_proved { "authenticated as deliveries are" } else { "not authenticated" };
    let token = row.token.as_ref().map(|place| format!(", with the token in {place}"));
    format!("{} with {}, {proof}{}", row.method, when.join(" and "), token.unwrap_or_default())
}

/// The headers that the receiver reads, in the sender's spelling.
fn headers(name: &str, source: &SourceConfig) -> anyhow::Result<Vec<String>> {
    let places: FieldLocators = source.field_locators(name)?;
    let mut headers = Vec::new();
    if source.auth_kind().has_bearer() {
        let places: Vec<_> = source.key_places(name)?.iter().map(ToString::to_string).collect();
        headers.push(format!("{}: the key", places.join(" or ")));
    }
    if source.auth_kind().has_signature() {
        headers.push(match source.scheme(name)? {
            Some(scheme) => match &scheme.spellings[0].signature {
                Place::Header(name) => format!("{name}: the signature"),
                place => format!("the signature is {place}"),
            },
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
