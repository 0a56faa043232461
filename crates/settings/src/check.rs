//! Validation before the start: from settings to sources, or the missing line.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use source::{Auth, SECRET_SEGMENT, Source, is_secret, versioned};

use super::{AuthKind, Config, ConfigError, ConfiguredKey, SourceConfig, secrets};

/// The receiver's own routes, which no source can use.
const RESERVED: [&str; 6] =
    ["/swagger", "/openapi.json", "/healthz", "/readyz", "/metrics", "/console"];

/// The default path of hooks; no source's events can use it.
const HOOKS: &str = "/api/hooks";

/// An upper limit for counts: connections, handlers, calls.
pub(super) const MAX_COUNT: usize = 1_000_000;

const NO_SOURCE: &str = "\
no source is configured, so no delivery could be accepted. Write to the file receiver.toml (or the one that --config names):

[sources.directscale]
dialect = \"directscale\"
bearer_tokens = [\"…\"]

with a key from `webhook-receiver secret`, and give the sender the same key. Every setting is explained in \
receiver.example.toml. To only try it, without settings: `webhook-receiver dev`";

/// True if the address is reachable from this machine only.
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// True if a URL leads to this machine, by its address or as `localhost`.
pub fn is_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(is_loopback)
}

/// The address to connect to for a listening address: loopback, if it is all interfaces.
pub fn reachable(mut listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => listen.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => listen.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    listen
}

impl Config {
    /// The configured sources.
    ///
    /// # Errors
    /// [`ConfigError`] if a source lacks authentication, or two share a path.
    pub fn sources(&self) -> Result<Vec<Arc<Source>>, ConfigError> {
        let (sources, refused) = self.examine();
        refused.into_iter().next().map_or(Ok(sources), Err)
    }

    /// The valid sources, and the errors of the others.
    pub fn examine(&self) -> (Vec<Arc<Source>>, Vec<ConfigError>) {
        let mut sources: Vec<Arc<Source>> = Vec::new();
        let mut refused = Vec::new();
        if self.sources.is_empty() {
            refused.push(ConfigError(NO_SOURCE.into()));
        }
        for (name, settings) in &self.sources {
            match self.source(name, settings).and_then(|source| without_overlap(source, &sources)) {
                Ok(source) => sources.push(Arc::new(source)),
                Err(error) => refused.push(error),
            }
        }
        (sources, refused)
    }

    /// Checks the settings that belong to no single source.
    ///
    /// # Errors
    /// [`ConfigError`] for a setting that is out of its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.bus.check()?;
        let (limits, dispatch) = (&self.limits, &self.dispatch);
        for (name, value, least, most) in [
            ("max_body in [limits]", limits.max_body, 1, usize::MAX),
            ("buffered in [limits]", limits.buffered, limits.max_body, usize::MAX),
            ("max_head in [limits]", limits.max_head, 8192, usize::MAX),
            ("concurrency in [limits]", limits.concurrency, 1, MAX_COUNT),
            ("connections in [limits]", limits.connections, 1, MAX_COUNT),
            ("queue in [limits]", limits.queue, 1, MAX_COUNT),
            ("concurrency in [dispatch]", dispatch.concurrency, 1, MAX_COUNT),
            ("remembered in [dedup]", self.dedup.remembered, 0, 10 * MAX_COUNT),
        ] {
            if value < least {
                return refuse(format!("{name} must be at least {least}"));
            }
            if value > most {
                return refuse(format!("{name} must be at most {most}"));
            }
        }
        for (name, time) in [
            ("head_timeout in [limits]", limits.head_timeout),
            ("body_timeout in [limits]", limits.body_timeout),
            ("timeout in [dispatch]", dispatch.timeout),
            ("hooks in [retention]", self.retention.hooks),
        ] {
            if time < Duration::from_millis(1) {
                return refuse(format!("{name} must be at least \"1ms\""));
            }
        }
        if !(0.0..=1.0).contains(&self.dispatch.jitter) {
            return refuse("jitter in [dispatch] must be between 0 and 1");
        }
        let window = self.dedup.window;
        for (name, kept) in [("done", self.retention.done), ("unrouted", self.retention.unrouted)] {
            if kept < window {
                let days = window.as_secs().div_ceil(24 * 60 * 60);
                return refuse(format!(
                    "{name} in [retention] is shorter than window in [dedup], but an id is known only as long as its delivery is kept; write {name} = \"{days}d\" or more"
                ));
            }
        }
        Ok(())
    }

    fn source(&self, name: &str, settings: &SourceConfig) -> Result<Source, ConfigError> {
        let path = normal_path(name, &settings.path)?;
        if paths_meet(&path, HOOKS) {
            return path_conflict(name, HOOKS);
        }
        let row = settings.sender();
        let accepted_status = settings.accepted_status.or(row.answer.status).unwrap_or(200);
        if !(200..300).contains(&accepted_status) {
            return refuse(format!(
                "[sources.{name}] accepted_status must be between 200 and 299; write accepted_status = 200"
            ));
        }
        let handshakes = settings.checked_handshakes(name)?;
        let source = Source {
            name: name.to_owned(),
            dialect: settings.dialect,
            environment: settings.environment,
            auth: self.auth(name, settings, &path)?,
            path,
            public_url: settings.public_url(name)?,
            bodies: settings.accepted_bodies(),
            gzip: settings.gzip,
            max_content: self.limits.max_body,
            accepted_status,
            accepted_body: settings.accepted_body.clone().or(row.answer.body),
            handshake_tokens: settings.checked_handshake_tokens(name)?,
            confirmations: settings.confirmations(name)?,
            handshakes,
            client_ids: settings.client_ids.clone(),
            rate_limit: settings.rate_limit,
            locators: settings.field_locators(name)?,
            allowed_origins: settings.origins(name)?,
        };
        if source.gzip && source.reads_raw_body() {
            return refuse(format!(
                "[sources.{name}] gzip is for senders whose proof, handshakes and ids need nothing that is in the body; remove it"
            ));
        }
        Ok(source)
    }

    fn auth(&self, name: &str, settings: &SourceConfig, path: &str) -> Result<Auth, ConfigError> {
        let is_open = settings.auth == Some(AuthKind::None);
        if is_open && !is_loopback(self.listen.ip()) && !has_secret_segment(path) {
            return refuse(format!(
                "[sources.{name}] auth = \"none\" on {} needs a secret path; write path = \"/api/webhooks/…\" with at least {SECRET_SEGMENT} random letters and digits from `webhook-receiver secret`",
                self.listen
            ));
        }
        let keys = settings.keys(name)?;
        check_retired(name, &keys)?;
        if !is_loopback(self.listen.ip()) {
            check_strength(&keys, self.listen)?;
        }
        settings.authentication(name, self.dedup.window.as_secs())
    }
}

impl SourceConfig {
    /// The address under which the sender knows the receiver.
    fn public_url(&self, name: &str) -> Result<Option<String>, ConfigError> {
        let Some(text) = &self.public_url else { return Ok(None) };
        let url = Url::parse(text).ok();
        let is_base = |url: &Url| {
            matches!(url.scheme(), "http" | "https")
                && url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
        };
        match url.filter(is_base) {
            Some(_) => Ok(Some(text.trim_end_matches('/').to_owned())),
            None => refuse(format!(
                "[sources.{name}] public_url = {text:?} is no address; write what stands before the path, for example public_url = \"https://hooks.example.com\""
            )),
        }
    }
}

/// A retired key that is also accepted is a contradiction: the intention is unclear.
fn check_retired(name: &str, keys: &[ConfiguredKey]) -> Result<(), ConfigError> {
    for retired in keys.iter().filter(|key| !key.sort.is_accepted()) {
        let is_it = |key: &&ConfiguredKey| key.sort.is_accepted() && key.is(retired);
        if let Some(accepted) = keys.iter().find(is_it) {
            return refuse(format!(
                "[sources.{name}] {} has a key that is still accepted in {}; remove it from one of them",
                retired.location, accepted.location
            ));
        }
    }
    Ok(())
}

/// A key that can be guessed does not authenticate on an open network.
fn check_strength(keys: &[ConfiguredKey], listen: SocketAddr) -> Result<(), ConfigError> {
    for key in keys.iter().filter(|key| key.sort.is_accepted()) {
        if let Some(weakness) = secrets::weakness(&key.secret) {
            return refuse(format!(
                "{}: {weakness} and can be guessed, and {listen} is reachable from other machines; write one from `webhook-receiver secret`, here and at the sender",
                key.setting()
            ));
        }
    }
    Ok(())
}

/// The source, if no request could match it and another source.
fn without_overlap(source: Source, others: &[Arc<Source>]) -> Result<Source, ConfigError> {
    match others.iter().find(|other| overlap(&other.path, &source.path)) {
        None => Ok(source),
        Some(other) => refuse(format!(
            "[sources.{}] and [sources.{}] have overlapping paths; give one of them another, e.g. path = \"/{}/api/webhooks\"",
            source.name, other.name, source.environment
        )),
    }
}

/// True if a request could match both paths, or the versioned form of one.
pub(super) fn overlap(a: &str, b: &str) -> bool {
    let versions: Vec<u16> = a.split('/').chain(b.split('/')).filter_map(version).collect();
    let ways = |path: &str| -> Vec<String> {
        let twins = versions.iter().map(|&v| versioned(path, v));
        std::iter::once(path.to_owned()).chain(twins).collect()
    };
    let others = ways(b);
    ways(a).iter().any(|a| others.iter().any(|b| paths_meet(a, b)))
}

/// The version in a path segment, such as `v2`.
fn version(segment: &str) -> Option<u16> {
    segment.strip_prefix('v')?.parse().ok()
}

/// True if one path equals the other, or the other with one event's name appended.
fn paths_meet(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    long.strip_prefix(short).is_some_and(|rest| {
        rest.is_empty() || rest.strip_prefix('/').is_some_and(|event| !event.contains('/'))
    })
}

/// The receiver's own route that conflicts with a source's path.
fn reserved_route(path: &str) -> Option<&'static str> {
    let within = |own: &str| path.strip_prefix(own).is_some_and(|rest| rest.starts_with('/'));
    RESERVED.into_iter().find(|own| paths_meet(path, own) || within(own))
}

pub(super) fn normal_path(name: &str, path: &str) -> Result<String, ConfigError> {
    let path = path.trim_end_matches('/').to_ascii_lowercase();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    if !path.starts_with('/') || path.contains("//") || !path.chars().all(plain) {
        return refuse(format!(
            "[sources.{name}] path must be / and at least one name, of letters, digits and - . _ ~; write for example path = \"/api/webhooks\""
        ));
    }
    match reserved_route(&path) {
        Some(own) => path_conflict(name, own),
        None => Ok(path),
    }
}

fn path_conflict<T>(name: &str, own: &str) -> Result<T, ConfigError> {
    refuse(format!(
        "[sources.{name}] path conflicts with {own}, which the receiver serves itself; write for example path = \"/api/webhooks\""
    ))
}

fn has_secret_segment(path: &str) -> bool {
    path.split('/').any(is_secret)
}

pub(super) fn refuse<T>(reason: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError(reason.into()))
}
