//! The target of a run: its URL, sender and keys.

use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use contract::canary::CANARY;
use contract::catalog::Table;
use contract::event::Dialect;
use emitter::SendAs;
use emitter::target::{NamedSource, address, check, is_listener, key_from};
use inbox::InboxUrl;
use reqwest::Url;
use rustls::pki_types::CertificateDer;
use secrecy::SecretString;
use settings::{AuthKind, Config, SourceConfig};
use signature::TOLERANCE;
use source::{Fact, FieldLocator, FieldLocators, Sender};
use text::form::{self, FORM};

use super::args::DoctorArgs;
use super::keys::SenderKeys;

/// The version of the models at a source's own path.
const VERSION: u16 = 1;

/// The target of one run.
pub(super) struct ProbeTarget {
    /// The URL as it was given.
    pub(super) template: String,
    /// The URL for canaries.
    pub(super) url: Url,
    pub(super) source: Option<String>,
    pub(super) sender: Arc<Sender>,
    pub(super) places: FieldLocators,
    pub(super) client_id: Option<String>,
    pub(super) keys: SenderKeys,
    /// Keys of another environment, by the name of their source.
    pub(super) other_environments: Vec<(String, SenderKeys)>,
    /// The tolerance of a signed time, in seconds.
    pub(super) tolerance: u64,
    pub(super) roots: Vec<CertificateDer<'static>>,
    pub(super) plain_port: Option<u16>,
    pub(super) events: Vec<String>,
    /// The base URL of hook calls, if the source has hooks.
    pub(super) hooks: Option<String>,
    /// The event to send: the canary, or the event whose effects are allowed.
    pub(super) event: String,
    pub(super) example: String,
    pub(super) is_foreign: bool,
    pub(super) may_deliver: bool,
    /// True if the sender alone has the keys that prove a delivery.
    pub(super) has_sole_keys: bool,
    /// True if the URL is the configured listener itself, without a proxy.
    pub(super) is_listener: bool,
    /// The URL of the receiver's inbox, if the settings are its own.
    pub(super) inbox: Option<InboxUrl>,
}

impl ProbeTarget {
    pub(super) fn new(args: &DoctorArgs, catalog: &Table, config: &Config) -> anyhow::Result<Self> {
        let key = key_from("--key-file", args.key_file.as_deref(), args.token.as_ref())?;
        let source = source(args, config, key.is_some())?;
        let scheme_dialect = args.scheme.as_ref().and_then(SendAs::dialect);
        let dialect = scheme_dialect.or(source.map(|(_, source)| source.dialect));
        let dialect = dialect.unwrap_or(match args.scheme {
            Some(_) => Dialect::Generic,
            None => Dialect::DirectScale,
        });
        let keys = match (key, source) {
            (Some(key), _) => keys_from_args(key, args.scheme.as_ref(), source)?,
            (None, Some((name, source))) => SenderKeys::of(name, source)?,
            (None, None) => bail!("no key: give one with --key-file, or a source with --source"),
        };
        let places = match source {
            Some((name, source)) if source.dialect == dialect => source.field_locators(name)?,
            _ => FieldLocators::of(dialect),
        };
        let (event, example) = event_to_send(args, catalog, dialect)?;
        let sender = Sender::of(dialect);
        let example = match example {
            Some(example) => example.to_owned(),
            None if keys.is_in_body() => sample(&sender),
            None => "{}".to_owned(),
        };
        let has_sole_keys = keys.count() == 0
            && source.is_some_and(|(_, source)| source.auth_kind() != AuthKind::None);
        let template = args.url.clone().context("no URL")?;
        let url = address(&template, &event)?;
        check(&url, args.allow_http)?;
        let hooks = args.hooks_url.clone().or_else(|| hooks(&url, source?.1));
        if let Some(hooks) = &hooks {
            check(&address(hooks, CANARY)?, args.allow_http).context("--hooks-url")?;
        }
        let is_plain_known = url.scheme() == "https" && url.port().is_none();
        Ok(ProbeTarget {
            template,
            sender: Arc::new(sender),
            has_sole_keys,
            places,
            client_id: source.and_then(|(_, source)| source.client_ids.first().cloned()),
            other_environments: other_environments(args, config, source)?,
            tolerance: source
                .and_then(|(_, source)| source.tolerance.or(source.sender().tolerance))
                .map_or(TOLERANCE, |tolerance| tolerance.as_secs()),
            roots: client::roots(args.ca_file.as_deref()).context("--ca-file")?,
            plain_port: args.plain_port.or(is_plain_known.then_some(80)),
            events: events(args, catalog, dialect),
            hooks,
            is_foreign: args.foreign,
            may_deliver: !args.foreign || args.allow_effects.is_some(),
            is_listener: is_listener(&url, config.listen) && url.scheme() == "http",
            inbox: source.map(|_| InboxUrl::parse(&config.inbox)).transpose()?,
            source: source.map(|(name, _)| name.to_owned()),
            keys,
            event,
            example,
            url,
        })
    }

    /// True if a message has an id at a place of its own.
    pub(super) fn has_own_id(&self) -> bool {
        !matches!(self.places.at(Fact::MessageId).first(), None | Some(FieldLocator::Template(_)))
    }

    /// True if the bytes of a body are those of the message.
    pub(super) fn has_own_body(&self) -> bool {
        !self.keys.is_in_body() && !self.places.content_type.starts_with(FORM)
    }

    /// The URL for another event; the same if the URL has no place for a name.
    pub(super) fn url_for(&self, event: &str) -> anyhow::Result<Url> {
        address(&self.template, event)
    }

    /// The URL of a hook.
    pub(super) fn hook_url(&self, hook: &str) -> anyhow::Result<Url> {
        address(self.hooks.as_deref().context("the source has no hooks")?, hook)
    }

    /// The host's name or address, without the brackets of an IPv6 address.
    pub(super) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default().trim_matches(['[', ']'])
    }
}

/// The named source, or the only one that fits.
fn source<'c>(
    args: &DoctorArgs,
    config: &'c Config,
    has_key: bool,
) -> anyhow::Result<Option<NamedSource<'c>>> {
    let names = || config.sources.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    let fits = |(name, source): &(&String, &SourceConfig)| {
        args.source.as_ref().is_none_or(|wanted| wanted == *name)
            && args.environment.is_none_or(|wanted| wanted == source.environment)
    };
    let mut found =
        config.sources.iter().filter(fits).map(|(name, source)| (name.as_str(), source));
    match (found.next(), found.next()) {
        (Some(source), None) if !has_key || args.source.is_some() => Ok(Some(source)),
        (None, _) if args.source.is_some() || (!has_key && args.environment.is_some()) => {
            bail!("no such source is configured; there are: {}", names())
        }
        (Some(_), Some(_)) if !has_key => {
            bail!("several sources are configured; choose one with --source: {}", names())
        }
        _ => Ok(None),
    }
}

/// The key of the command line: for signing if there is a scheme, else a bearer key.
fn keys_from_args(
    key: SecretString,
    scheme: Option<&SendAs>,
    source: Option<NamedSource<'_>>,
) -> anyhow::Result<SenderKeys> {
    let style = match (scheme, source) {
        (Some(speaker), _) => speaker.signing_method(),
        (None, Some((name, source))) => SenderKeys::of(name, source)?.style,
        (None, None) => None,
    };
    Ok(match style {
        Some(_) => SenderKeys { signing: vec![key], style, ..SenderKeys::default() },
        None => SenderKeys { bearer: vec![key], ..SenderKeys::default() },
    })
}

/// The keys of the same sender in other environments, which must not be accepted here. They are never sent to a foreign
/// receiver.
fn other_environments(
    args: &DoctorArgs,
    config: &Config,
    source: Option<NamedSource<'_>>,
) -> anyhow::Result<Vec<(String, SenderKeys)>> {
    let Some((_, own)) = source.filter(|_| !args.foreign) else { return Ok(Vec::new()) };
    let others = config
        .sources
        .iter()
        .filter(|(_, other)| other.dialect == own.dialect && other.environment != own.environment);
    others.map(|(name, other)| Ok((name.clone(), SenderKeys::of(name, other)?))).collect()
}

/// The event to send, and its body if it is one of the catalog's.
fn event_to_send(
    args: &DoctorArgs,
    catalog: &Table,
    dialect: Dialect,
) -> anyhow::Result<(String, Option<&'static str>)> {
    let Some(event) = &args.allow_effects else { return Ok((CANARY.to_owned(), None)) };
    let row = catalog.event(dialect, VERSION, event);
    let row =
        row.with_context(|| format!("--allow-effects: there is no {dialect} event `{event}`"))?;
    ensure!(row.needs_object, "--allow-effects: the sample of `{event}` is no object");
    Ok((row.name.to_owned(), Some(row.example)))
}

/// The sample of a sender whose proof needs members of the body.
fn sample(sender: &Sender) -> String {
    let body = &sender.sends.body;
    match sender.sends.content_type.starts_with(FORM) {
        true => form::json(body.as_bytes()).unwrap_or_default(),
        false => body.clone(),
    }
}

fn events(args: &DoctorArgs, catalog: &Table, dialect: Dialect) -> Vec<String> {
    let all = || catalog.events().filter(|row| row.dialect == dialect && row.version == VERSION);
    match &args.events {
        None => Vec::new(),
        Some(named) if named.is_empty() => all().map(|row| row.name.to_owned()).collect(),
        Some(named) => named.clone(),
    }
}

/// The hooks' URL for events at `url`: a path prefix before the events' path also stands before the hooks' path.
fn hooks(url: &Url, source: &SourceConfig) -> Option<String> {
    let hooks = source.hooks.as_ref()?;
    let path = url.path().to_ascii_lowercase();
    let events = source.path.trim_end_matches('/').to_ascii_lowercase();
    let before = path.find(&events).map_or("", |end| &url.path()[..end]);
    let mut url = url.clone();
    url.set_path(&format!("{before}{}/", hooks.path.trim_end_matches('/')));
    url.set_query(None);
    Some(url.into())
}
