//! What must hold before the receiver starts: from settings to sources, or the line that is missing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use source::{Auth, SECRET_SEGMENT, Source, is_secret, versioned};

use super::{AuthKind, Config, ConfigError, ConfiguredKey, SourceConfig, secrets};

/// What the receiver serves itself, so that no source can have it.
const RESERVED: [&str; 5] = ["/swagger", "/openapi.json", "/healthz", "/readyz", "/metrics"];

/// Where hooks are received unless their path is set; no source's events can be.
const HOOKS: &str = "/api/hooks";

/// More than any machine can use of what is counted: connections, handlers, calls.
pub(super) const MANY: usize = 1_000_000;

const NO_SOURCE: &str = "\
no source is configured, so there is nobody to receive from. Write to the file receiver.toml (or the one that --config names):

[sources.directscale]
dialect = \"directscale\"
bearer_tokens = [\"…\"]

with a key from `webhook-receiver secret`, and give the sender the same key. Every setting is explained in \
receiver.example.toml. To only try it, without settings: `webhook-receiver dev`";

/// Whether only this machine can reach the address.
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Whether a URL leads to this machine, by its address or as `localhost`.
pub fn is_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(is_loopback)
}

/// The address to connect to for one that is listened on: all interfaces are reached on loopback.
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
    /// [`ConfigError`] if one of them proves nothing, or two share a path.
    pub fn sources(&self) -> Result<Vec<Arc<Source>>, ConfigError> {
        let (sources, refused) = self.examine();
        refused.into_iter().next().map_or(Ok(sources), Err)
    }

    /// The sources that could be served, and why the others, or all of them, cannot.
    pub fn examine(&self) -> (Vec<Arc<Source>>, Vec<ConfigError>) {
        let mut sources: Vec<Arc<Source>> = Vec::new();
        let mut refused = Vec::new();
        if self.sources.is_empty() {
            refused.push(ConfigError(NO_SOURCE.into()));
        }
        for (name, settings) in &self.sources {
            match self.source(name, settings).and_then(|source| apart(source, &sources)) {
                Ok(source) => sources.push(Arc::new(source)),
                Err(error) => refused.push(error),
            }
        }
        (sources, refused)
    }

    /// Checks what concerns no single source.
    ///
    /// # Errors
    /// [`ConfigError`] with the setting that is out of its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.bus.check()?;
        let (limits, dispatch) = (&self.limits, &self.dispatch);
        for (name, value, least, most) in [
            ("max_body in [limits]", limits.max_body, 1, usize::MAX),
            ("buffered in [limits]", limits.buffered, limits.max_body, usize::MAX),
            ("max_head in [limits]", limits.max_head, 8192, usize::MAX),
            ("concurrency in [limits]", limits.concurrency, 1, MANY),
            ("connections in [limits]", limits.connections, 1, MANY),
            ("queue in [limits]", limits.queue, 1, MANY),
            ("concurrency in [dispatch]", dispatch.concurrency, 1, MANY),
            ("remembered in [dedup]", self.dedup.remembered, 0, 10 * MANY),
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
        if meet(&path, HOOKS) {
            return in_the_way(name, HOOKS);
        }
        if !(200..300).contains(&settings.accepted_status) {
            return refuse(format!(
                "[sources.{name}] accepted_status must be between 200 and 299; write accepted_status = 200"
            ));
        }
        Ok(Source {
            name: name.to_owned(),
            dialect: settings.dialect,
            environment: settings.environment,
            auth: self.auth(name, settings, &path)?,
            path,
            accepted_status: settings.accepted_status,
            client_ids: settings.client_ids.clone(),
            rate_limit: settings.rate_limit,
            places: settings.places(name)?,
            allowed_origins: settings.origins(name)?,
        })
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
        settings.proof(name, self.dedup.window.as_secs())
    }
}

/// A former key that is accepted after all is a contradiction: nobody could tell which of the two was meant.
fn check_retired(name: &str, keys: &[ConfiguredKey]) -> Result<(), ConfigError> {
    for retired in keys.iter().filter(|key| !key.sort.is_accepted()) {
        let is_it = |key: &&ConfiguredKey| key.sort.is_accepted() && key.is(retired);
        if let Some(accepted) = keys.iter().find(is_it) {
            return refuse(format!(
                "[sources.{name}] {} has a key that is still accepted in {}; remove it from one of them",
                retired.place, accepted.place
            ));
        }
    }
    Ok(())
}

/// A key that is found by trying proves nothing where others can try.
fn check_strength(keys: &[ConfiguredKey], listen: SocketAddr) -> Result<(), ConfigError> {
    for key in keys.iter().filter(|key| key.sort.is_accepted()) {
        if let Some(weakness) = secrets::weakness(&key.secret) {
            return refuse(format!(
                "{}: {weakness} and can be found by trying, and others reach {listen}; write one from `webhook-receiver secret`, here and at the sender",
                key.setting()
            ));
        }
    }
    Ok(())
}

/// The source, if no request could belong to it and to one of the others.
fn apart(source: Source, others: &[Arc<Source>]) -> Result<Source, ConfigError> {
    match others.iter().find(|other| overlap(&other.path, &source.path)) {
        None => Ok(source),
        Some(other) => refuse(format!(
            "[sources.{}] and [sources.{}] have overlapping paths; give one of them another, e.g. path = \"/{}/api/webhooks\"",
            source.name, other.name, source.environment
        )),
    }
}

/// Whether a request could belong to both paths, or to a versioned twin of one.
pub(super) fn overlap(a: &str, b: &str) -> bool {
    let versions: Vec<u16> = a.split('/').chain(b.split('/')).filter_map(version).collect();
    let ways = |path: &str| -> Vec<String> {
        let twins = versions.iter().map(|&v| versioned(path, v));
        std::iter::once(path.to_owned()).chain(twins).collect()
    };
    let others = ways(b);
    ways(a).iter().any(|a| others.iter().any(|b| meet(a, b)))
}

/// The version that a path's segment names, as `v2` does.
fn version(segment: &str) -> Option<u16> {
    segment.strip_prefix('v')?.parse().ok()
}

/// Whether one path is the other, or the other with one event's name behind it.
fn meet(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    long.strip_prefix(short).is_some_and(|rest| {
        rest.is_empty() || rest.strip_prefix('/').is_some_and(|event| !event.contains('/'))
    })
}

/// The receiver's own route that a source under `path` would be in the way of.
fn taken(path: &str) -> Option<&'static str> {
    let within = |own: &str| path.strip_prefix(own).is_some_and(|rest| rest.starts_with('/'));
    RESERVED.into_iter().find(|own| meet(path, own) || within(own))
}

pub(super) fn normal_path(name: &str, path: &str) -> Result<String, ConfigError> {
    let path = path.trim_end_matches('/').to_ascii_lowercase();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    if !path.starts_with('/') || path.contains("//") || !path.chars().all(plain) {
        return refuse(format!(
            "[sources.{name}] path must be / and at least one name, of letters, digits and - . _ ~; write for example path = \"/api/webhooks\""
        ));
    }
    match taken(&path) {
        Some(own) => in_the_way(name, own),
        None => Ok(path),
    }
}

fn in_the_way<T>(name: &str, own: &str) -> Result<T, ConfigError> {
    refuse(format!(
        "[sources.{name}] path is in the way of {own}, which the receiver serves itself; write for example path = \"/api/webhooks\""
    ))
}

fn has_secret_segment(path: &str) -> bool {
    path.split('/').any(is_secret)
}

pub(super) fn refuse<T>(reason: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError(reason.into()))
}
