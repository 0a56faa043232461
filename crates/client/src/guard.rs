//! The target guard (SSRF protection): outside `dev` the bus sends to public addresses only, and to targets that
//! `allow_targets` names.
//!
//! Otherwise a person who can enter a target could have the bus read pages that only its own network shows, such as a
//! cloud's metadata. A name is checked when it is saved and again at every connection, since its addresses can change in
//! between; the connection goes to the address that was checked.
//!
//! Secrets go in plain text only to this machine and to targets that are allowed by name.

mod non_public;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::str::FromStr;
use std::sync::Arc;

use futures_util::FutureExt as _;
use ipnet::IpNet;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use tokio::sync::Semaphore;

pub use non_public::non_public_reason;
use non_public::shows_metadata;

/// A target that is allowed although it is not public.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedTarget {
    /// Every address in this network.
    Net(IpNet),
    /// Every address that this host name resolves to.
    Host(String),
}

/// The error of a text that is no allowed target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an address, a network such as \"10.1.0.0/16\", nor a host name")]
pub struct InvalidAllowedTarget(String);

impl FromStr for AllowedTarget {
    type Err = InvalidAllowedTarget;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        if let Ok(net) = net {
            return Ok(AllowedTarget::Net(net));
        }
        let part = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
        };
        let host = plain(text);
        // A text of digits alone is a mistyped address.
        let is_name = host.chars().any(|c| c.is_ascii_alphabetic()) && host.split('.').all(part);
        if is_name {
            Ok(AllowedTarget::Host(host))
        } else {
            Err(InvalidAllowedTarget(text.to_owned()))
        }
    }
}

impl fmt::Display for AllowedTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AllowedTarget::Net(net) => net.fmt(f),
            AllowedTarget::Host(host) => f.write_str(host),
        }
    }
}

/// The reason why a target is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetRefused {
    /// The address is not public.
    #[error("{}{why}; to allow it, write allow_targets = [\"{}\"] in [bus]", resolved(.host, *.address), .address.to_canonical())]
    NotPublic {
        /// The host in the target URL.
        host: String,
        /// The address itself or one that the host resolves to.
        address: IpAddr,
        /// The kind of address.
        why: &'static str,
    },
    /// The host name cannot be resolved.
    #[error("{host} cannot be resolved: {why}")]
    Unresolved {
        /// The host in the target URL.
        host: String,
        /// The error of the resolver.
        why: String,
    },
    /// Secrets would cross the network in plain text.
    #[error(
        "http:// would show the subscription's keys, headers and query on the way to {host}; write https://, or if you trust the network between, allow_targets = [\"{host}\"] in [bus]"
    )]
    PlainText {
        /// The host in the target URL.
        host: String,
    },
    /// The URL is no target.
    #[error("a target is http:// or https:// with a host, and without a user or password in it")]
    InvalidTarget,
}

impl TargetRefused {
    /// Finds the refusal that caused a client's error, if there is one.
    pub fn find_in(error: &reqwest::Error) -> Option<&TargetRefused> {
        let first = std::error::Error::source(error);
        std::iter::successors(first, |error| error.source()).find_map(|error| error.downcast_ref())
    }
}

/// The beginning of a sentence about an address: a name with its address, or the address alone.
fn resolved(host: &str, address: IpAddr) -> String {
    let address = address.to_canonical();
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(written) if written.to_canonical() == address => format!("{address} is "),
        _ => format!("{host} is {address}, "),
    }
}

/// The guard of outgoing connections. Clones share the list of allowed targets.
#[derive(Clone)]
pub struct Guard {
    allowed: Arc<[AllowedTarget]>,
    /// True if addresses pass that are not public.
    is_open: bool,
    /// True if requests carry secrets in plain text: then only this machine passes, and allowed targets.
    is_plain: bool,
    resolver: Arc<dyn Resolve>,
}

impl Guard {
    /// A guard that admits public addresses and these allowed targets.
    pub fn new(allowed: impl IntoIterator<Item = AllowedTarget>) -> Self {
        let allowed = allowed.into_iter().collect();
        Guard {
            allowed,
            is_open: false,
            is_plain: false,
            resolver: Arc::new(SystemResolver::default()),
        }
    }

    /// Admits non-public addresses too, for a bus that stays on this machine; but not those at which clouds show their
    /// metadata, which nobody develops against.
    pub fn open(self) -> Self {
        Guard { is_open: true, ..self }
    }

    /// The guard of secrets in plain text: admits only this machine and allowed targets.
    pub fn in_plain_text(&self) -> Self {
        Guard { is_plain: true, ..self.clone() }
    }

    /// Checks a target before it is saved: every address of its host must be admitted.
    ///
    /// # Errors
    /// [`TargetRefused`] with the reason. A name that cannot be resolved now is refused too.
    pub async fn check(&self, target: &Url) -> Result<(), TargetRefused> {
        let host = self.check_literal(target)?;
        if (self.is_open && !self.is_plain) || address(target).is_some() {
            return Ok(());
        }
        let unknown = |why: String| TargetRefused::Unresolved { host: host.to_owned(), why };
        let name = host.parse().map_err(|_| unknown("not a host name".into()))?;
        let found =
            self.resolver.resolve(name).await.map_err(|error| unknown(error.to_string()))?;
        let mut found = found.peekable();
        if found.peek().is_none() {
            return Err(unknown("it has no address".into()));
        }
        found.try_for_each(|address| self.admit(host, address.ip()))
    }

    /// Checks, before each request, what no resolver sees: the form of the URL, and an address in place of a host name.
    ///
    /// # Errors
    /// [`TargetRefused`] with the reason.
    pub fn check_literal<'u>(&self, target: &'u Url) -> Result<&'u str, TargetRefused> {
        let is_http = matches!(target.scheme(), "http" | "https");
        let is_plain = target.username().is_empty() && target.password().is_none();
        let host = target
            .host_str()
            .filter(|_| is_http && is_plain)
            .ok_or(TargetRefused::InvalidTarget)?;
        match address(target) {
            Some(address) => self.admit(host, address).map(|()| host),
            None => Ok(host),
        }
    }

    /// Configures a client to connect only to addresses that the guard admits. It follows no redirect and uses no
    /// proxy, which would connect in its place. A URL with an address in it needs [`Guard::check_literal`] before.
    pub fn protect(&self, client: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
        client.redirect(Policy::none()).no_proxy().dns_resolver(self.clone())
    }

    fn admit(&self, host: &str, address: IpAddr) -> Result<(), TargetRefused> {
        if self.allows(host, address) {
            return Ok(());
        }
        match non_public_reason(address) {
            Some(why) if !self.is_open || shows_metadata(address) => {
                Err(TargetRefused::NotPublic { host: host.to_owned(), address, why })
            }
            _ if self.is_plain && !address.to_canonical().is_loopback() => {
                Err(TargetRefused::PlainText { host: host.trim_matches(['[', ']']).to_owned() })
            }
            _ => Ok(()),
        }
    }

    fn allows(&self, host: &str, address: IpAddr) -> bool {
        let canonical = address.to_canonical();
        self.allowed.iter().any(|allowed| match allowed {
            AllowedTarget::Net(net) => net.contains(&canonical) || net.contains(&address),
            AllowedTarget::Host(name) => *name == plain(host),
        })
    }
}

/// Resolves a name to the admitted addresses; fails if none is left.
impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, host) = (self.clone(), name.as_str().to_owned());
        let found = self.resolver.resolve(name);
        async move {
            let (mut open, mut refused) = (Vec::new(), None);
            for address in found.await? {
                match guard.admit(&host, address.ip()) {
                    Ok(()) => open.push(address),
                    Err(refusal) => refused = Some(refusal),
                }
            }
            match refused {
                Some(refused) if open.is_empty() => Err(refused.into()),
                _ => Ok(Box::new(open.into_iter()) as Addrs),
            }
        }
        .boxed()
    }
}

/// The largest number of lookups at once: one that hangs holds a thread that others need, too.
const LOOKUPS: usize = 128;

/// The system's resolver.
struct SystemResolver(Arc<Semaphore>);

impl Default for SystemResolver {
    fn default() -> Self {
        SystemResolver(Arc::new(Semaphore::new(LOOKUPS)))
    }
}

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let permits = Arc::clone(&self.0);
        async move {
            let permit = permits.acquire_owned().await?;
            let look_up = move || {
                // Held until the thread is free again, even if the caller has stopped waiting.
                let _permit = permit;
                (name.as_str(), 0).to_socket_addrs()
            };
            let found = tokio::task::spawn_blocking(look_up).await??;
            Ok(Box::new(found) as Addrs)
        }
        .boxed()
    }
}

/// The address that stands in place of a host name.
fn address(target: &Url) -> Option<IpAddr> {
    target.host_str()?.trim_matches(['[', ']']).parse().ok()
}

fn plain(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}
