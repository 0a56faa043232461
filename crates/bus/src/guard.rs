//! Where the bus may send: outside `dev` to public addresses only, and to what is allowed by name.
//!
//! Whoever can enter a target could otherwise have the bus read pages that only its own network shows, such as a cloud's
//! metadata. A name is checked when it is saved and again whenever it is connected to, since what it resolves to can change
//! in between; the address that was checked is the one that is connected to.
//!
//! What is secret goes in plain text to this machine and to what is allowed by name: nothing else can be trusted with it.

mod closed;
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

pub use closed::closed;

/// Something that may be sent to although it is not public.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// Every address in this network.
    Net(IpNet),
    /// Whatever this host resolves to.
    Host(String),
}

/// Why a text allows nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an address, a network such as \"10.1.0.0/16\", nor a host's name")]
pub struct NothingAllowed(String);

impl FromStr for Allowed {
    type Err = NothingAllowed;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        if let Ok(net) = net {
            return Ok(Allowed::Net(net));
        }
        let part = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
        };
        let host = plain(text);
        // Numbers alone are an address that somebody has mistyped.
        let is_name = host.chars().any(|c| c.is_ascii_alphabetic()) && host.split('.').all(part);
        if is_name { Ok(Allowed::Host(host)) } else { Err(NothingAllowed(text.to_owned())) }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Allowed::Net(net) => net.fmt(f),
            Allowed::Host(host) => f.write_str(host),
        }
    }
}

/// A target that may not be sent to, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// An address that is not the public's.
    #[error("{host} is {address}, {why}; if it is meant, write allow_targets = [\"{address}\"] in [bus]", address = .address.to_canonical())]
    Closed {
        /// The host as the target names it.
        host: String,
        /// What it is or resolves to.
        address: IpAddr,
        /// What is wrong with that.
        why: &'static str,
    },
    /// A name that leads nowhere.
    #[error("{host} cannot be resolved: {why}")]
    Unknown {
        /// The host as the target names it.
        host: String,
        /// What the resolver says.
        why: String,
    },
    /// Secrets would be read on the way.
    #[error(
        "http:// would show the subscription's keys, headers and query on the way to {host}; write https://, or if the network between is yours, allow_targets = [\"{host}\"] in [bus]"
    )]
    Plain {
        /// The host as the target names it.
        host: String,
    },
    /// Not a target at all.
    #[error("a target is http:// or https:// with a host, and without a user or password in it")]
    NoTarget,
}

impl Refused {
    /// The refusal behind a client's error, if that is what it failed for.
    pub fn behind(error: &reqwest::Error) -> Option<&Refused> {
        let first = std::error::Error::source(error);
        std::iter::successors(first, |error| error.source()).find_map(|error| error.downcast_ref())
    }
}

/// Which addresses may be sent to. Clones share the list.
#[derive(Clone)]
pub struct Guard {
    allowed: Arc<[Allowed]>,
    /// Whether addresses pass that are not the public's.
    is_open: bool,
    /// Whether what is sent could be read on the way: then only this machine passes, and what is allowed.
    is_plain: bool,
    names: Arc<dyn Resolve>,
}

impl Guard {
    /// Lets public addresses pass, and what is allowed.
    pub fn new(allowed: impl IntoIterator<Item = Allowed>) -> Self {
        let allowed = allowed.into_iter().collect();
        Guard { allowed, is_open: false, is_plain: false, names: Arc::new(System::default()) }
    }

    /// Lets other addresses pass too, for a bus that stays on this machine.
    pub fn open(self) -> Self {
        Guard { is_open: true, ..self }
    }

    /// The same for secrets in plain text: lets nothing pass but this machine, and what is allowed.
    pub fn in_plain_text(&self) -> Self {
        Guard { is_plain: true, ..self.clone() }
    }

    /// The check before a target is saved: every address that its host has must be one that may be sent to.
    ///
    /// # Errors
    /// [`Refused`] with what is wrong. A name that cannot be resolved now is refused too.
    pub async fn check(&self, target: &Url) -> Result<(), Refused> {
        let host = self.literal(target)?;
        if (self.is_open && !self.is_plain) || address(target).is_some() {
            return Ok(());
        }
        let unknown = |why: String| Refused::Unknown { host: host.to_owned(), why };
        let name = host.parse().map_err(|_| unknown("not a host's name".into()))?;
        let found = self.names.resolve(name).await.map_err(|error| unknown(error.to_string()))?;
        let mut found = found.peekable();
        if found.peek().is_none() {
            return Err(unknown("it has no address".into()));
        }
        found.try_for_each(|address| self.admit(host, address.ip()))
    }

    /// The check of what no resolver sees, before each request: the form of the URL, and an address in place of a name.
    ///
    /// # Errors
    /// [`Refused`] with what is wrong.
    pub fn literal<'u>(&self, target: &'u Url) -> Result<&'u str, Refused> {
        let is_http = matches!(target.scheme(), "http" | "https");
        let is_plain = target.username().is_empty() && target.password().is_none();
        let host = target.host_str().filter(|_| is_http && is_plain).ok_or(Refused::NoTarget)?;
        match address(target) {
            Some(address) => self.admit(host, address).map(|()| host),
            None => Ok(host),
        }
    }

    /// A client that connects to nothing but what the guard lets pass, by name. It follows no redirect and asks no proxy,
    /// which would connect in its place. A URL with an address in it needs [`Guard::literal`] before.
    pub fn watch(&self, client: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
        client.redirect(Policy::none()).no_proxy().dns_resolver(self.clone())
    }

    fn admit(&self, host: &str, address: IpAddr) -> Result<(), Refused> {
        if self.allows(host, address) {
            return Ok(());
        }
        match closed(address) {
            Some(why) if !self.is_open => {
                Err(Refused::Closed { host: host.to_owned(), address, why })
            }
            _ if self.is_plain && !address.to_canonical().is_loopback() => {
                Err(Refused::Plain { host: host.trim_matches(['[', ']']).to_owned() })
            }
            _ => Ok(()),
        }
    }

    fn allows(&self, host: &str, address: IpAddr) -> bool {
        let canonical = address.to_canonical();
        self.allowed.iter().any(|allowed| match allowed {
            Allowed::Net(net) => net.contains(&canonical) || net.contains(&address),
            Allowed::Host(name) => *name == plain(host),
        })
    }
}

/// Resolves a name to what may be connected to; it is an error if nothing is left.
impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, host) = (self.clone(), name.as_str().to_owned());
        let found = self.names.resolve(name);
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

/// How many names are looked up at once: one that hangs holds a thread that others need, too.
const LOOKUPS: usize = 128;

/// The system's own resolver.
struct System(Arc<Semaphore>);

impl Default for System {
    fn default() -> Self {
        System(Arc::new(Semaphore::new(LOOKUPS)))
    }
}

impl Resolve for System {
    fn resolve(&self, name: Name) -> Resolving {
        let turns = Arc::clone(&self.0);
        async move {
            let turn = turns.acquire_owned().await?;
            let look_up = move || {
                // Held until the thread is free again, whoever has stopped to wait for it.
                let _turn = turn;
                (name.as_str(), 0).to_socket_addrs()
            };
            let found = tokio::task::spawn_blocking(look_up).await??;
            Ok(Box::new(found) as Addrs)
        }
        .boxed()
    }
}

/// The address in place of a host's name.
fn address(target: &Url) -> Option<IpAddr> {
    target.host_str()?.trim_matches(['[', ']']).parse().ok()
}

fn plain(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}
