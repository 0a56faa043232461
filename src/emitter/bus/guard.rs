//! Where the bus may send: outside `dev` to public addresses only, and to what is allowed by name.
//!
//! Whoever can enter a target could otherwise have the bus read pages that only its own network shows, such as a cloud's
//! metadata. A name is checked when it is saved and again whenever it is connected to, since what it resolves to can change
//! in between; the address that was checked is the one that is connected to.
//!
//! What is secret goes in plain text to this machine and to what is allowed by name: nothing else can be trusted with it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use futures_util::FutureExt as _;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6(a: u16, b: u16, c: u16, length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), length)
}

/// The IPv4 networks that are not the public's, after the special-purpose registries, and one cloud's metadata address
/// that looks like any other.
const CLOSED_V4: &[(Ipv4Net, &str)] = &[
    (v4(0, 0, 0, 0, 8), "an unspecified address"),
    (v4(10, 0, 0, 0, 8), "a private address"),
    (v4(100, 64, 0, 0, 10), "a provider's shared address"),
    (v4(127, 0, 0, 0, 8), "a loopback address"),
    (v4(168, 63, 129, 16, 32), "a cloud's metadata address"),
    (v4(169, 254, 0, 0, 16), "a link-local address, as clouds use for metadata"),
    (v4(172, 16, 0, 0, 12), "a private address"),
    (v4(192, 0, 0, 0, 24), "a reserved address"),
    (v4(192, 0, 2, 0, 24), "an address for documentation"),
    (v4(192, 88, 99, 0, 24), "a reserved address"),
    (v4(192, 168, 0, 0, 16), "a private address"),
    (v4(198, 18, 0, 0, 15), "an address for benchmarks"),
    (v4(198, 51, 100, 0, 24), "an address for documentation"),
    (v4(203, 0, 113, 0, 24), "an address for documentation"),
    (v4(224, 0, 0, 0, 4), "a multicast address"),
    (v4(240, 0, 0, 0, 4), "a reserved address"),
];

/// The IPv6 networks that are not the public's; whatever is outside [`GLOBAL_V6`] is not either.
const CLOSED_V6: &[(Ipv6Net, &str)] = &[
    (Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128), "an unspecified address"),
    (Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128), "a loopback address"),
    (v6(0x2001, 0, 0, 23), "a reserved address"),
    (v6(0x2001, 0x0db8, 0, 32), "an address for documentation"),
    (v6(0x3fff, 0, 0, 20), "an address for documentation"),
    (v6(0xfc00, 0, 0, 7), "a private address"),
    (v6(0xfe80, 0, 0, 10), "a link-local address"),
    (v6(0xff00, 0, 0, 8), "a multicast address"),
];

/// The IPv6 networks whose addresses stand for an IPv4 address, and the byte at which that begins.
const EMBEDDING: &[(Ipv6Net, usize)] = &[
    (Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96), 12),
    (v6(0x64, 0xff9b, 0, 96), 12),
    (v6(0x2002, 0, 0, 16), 2),
];

const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 0, 3);

/// Why an address is not the public's; none if it is.
pub fn closed(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => closed_v4(address),
        IpAddr::V6(address) => closed_v6(address),
    }
}

fn closed_v4(address: Ipv4Addr) -> Option<&'static str> {
    CLOSED_V4.iter().find(|(net, _)| net.contains(&address)).map(|(_, why)| *why)
}

fn closed_v6(address: Ipv6Addr) -> Option<&'static str> {
    if let Some(inner) = embedded(address) {
        return closed_v4(inner);
    }
    let listed = CLOSED_V6.iter().find(|(net, _)| net.contains(&address)).map(|(_, why)| *why);
    listed.or_else(|| (!GLOBAL_V6.contains(&address)).then_some("a reserved address"))
}

fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let (_, start) = EMBEDDING.iter().find(|(net, _)| net.contains(&address))?;
    let octets = address.octets();
    let inner: [u8; 4] = octets.get(*start..start + 4)?.try_into().ok()?;
    Some(Ipv4Addr::from(inner))
}

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
        Guard { allowed, is_open: false, is_plain: false, names: Arc::new(System) }
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

/// The system's own resolver.
struct System;

impl Resolve for System {
    fn resolve(&self, name: Name) -> Resolving {
        async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Resolves every name to the next of these answers, and goes on with the last.
    struct Names(Mutex<Vec<Vec<IpAddr>>>);

    impl Resolve for Names {
        fn resolve(&self, _: Name) -> Resolving {
            let mut answers = self.0.lock().unwrap();
            let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
            let found = answer.into_iter().map(|ip| SocketAddr::new(ip, 0));
            std::future::ready(Ok(Box::new(found) as Addrs)).boxed()
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn guard(allowed: &[&str]) -> Guard {
        Guard::new(allowed.iter().map(|text| text.parse().unwrap()))
    }

    fn resolving(answers: &[&[&str]]) -> Guard {
        let answers = answers.iter().map(|ips| ips.iter().map(|text| ip(text)).collect()).collect();
        Guard { names: Arc::new(Names(Mutex::new(answers))), ..guard(&[]) }
    }

    async fn connects(guard: &Guard, target: &str) -> Result<u16, String> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = guard.watch(reqwest::Client::builder()).build().unwrap();
        guard.literal(&url(target)).map_err(|refused| refused.to_string())?;
        match client.get(target).send().await {
            Ok(response) => Ok(response.status().as_u16()),
            Err(error) => {
                Err(Refused::behind(&error)
                    .map_or_else(|| format!("{error:?}"), Refused::to_string))
            }
        }
    }

    /// Answers 204, and `/moved` with a redirect.
    async fn server() -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 1024];
                let read = stream.read(&mut head).await.unwrap();
                let moved = head[..read].starts_with(b"GET /moved");
                let status = if moved { "302 Found\r\nLocation: /" } else { "204 No Content" };
                let answer = format!("HTTP/1.1 {status}\r\nConnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        port
    }

    #[test]
    fn what_is_not_the_publics_is_closed() {
        for closed_one in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.255",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "3fff::1",
            "100::1",
            "4000::1",
            "64:ff9b:1::1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::127.0.0.1",
            "2002:7f00:1::1",
            "2002:a00:1::",
        ] {
            assert!(closed(ip(closed_one)).is_some(), "{closed_one}");
        }
    }

    #[tokio::test]
    async fn secrets_go_in_plain_text_to_this_machine_and_to_what_is_allowed() {
        let here = url("http://127.0.0.1/");
        let public = url("http://1.1.1.1/");
        assert!(guard(&[]).in_plain_text().check(&public).await.is_err());
        assert!(guard(&[]).open().in_plain_text().check(&public).await.is_err());
        assert!(guard(&[]).open().in_plain_text().check(&here).await.is_ok());
        assert!(guard(&["1.1.1.0/24"]).in_plain_text().check(&public).await.is_ok());
        let named = url("http://x.test/");
        let moving = resolving(&[&["127.0.0.1"], &["1.1.1.1"]]).open().in_plain_text();
        assert!(moving.check(&named).await.is_ok());
        let refused = connects(&moving, "http://x.test/").await.unwrap_err();
        assert!(refused.contains("https://") && refused.contains("allow_targets"), "{refused}");
        let allowed = Guard { allowed: guard(&["x.test"]).allowed, ..resolving(&[&["1.1.1.1"]]) };
        assert!(allowed.in_plain_text().check(&named).await.is_ok());
    }

    #[test]
    fn what_is_the_publics_is_open() {
        for open in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "128.0.0.1",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "2001:4860:4860::8888",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ] {
            assert_eq!(closed(ip(open)), None, "{open}");
        }
    }

    #[tokio::test]
    async fn an_address_in_disguise_is_refused_at_save() {
        for target in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f.0.0.1/",
            "http://0177.0.0.1/",
            "http://127.0.0.1./",
            "http://[::1]:80/",
            "http://[::ffff:7f00:1]/",
            "https://[fd00::1]/",
            "http://169.254.169.254/latest/meta-data/",
            "http://１２７.0.0.1/",
        ] {
            let refused = guard(&[]).check(&url(target)).await.unwrap_err();
            assert!(matches!(refused, Refused::Closed { .. }), "{target}: {refused}");
        }
        for target in
            ["ftp://8.8.8.8/", "https://user@8.8.8.8/", "https://:pass@8.8.8.8/", "data:x"]
        {
            assert_eq!(guard(&[]).check(&url(target)).await, Err(Refused::NoTarget), "{target}");
            assert_eq!(
                guard(&[]).open().check(&url(target)).await,
                Err(Refused::NoTarget),
                "{target}"
            );
        }
        assert_eq!(guard(&[]).check(&url("https://8.8.8.8/")).await, Ok(()));
        assert_eq!(guard(&[]).open().check(&url("http://127.0.0.1/")).await, Ok(()));
    }

    #[tokio::test]
    async fn one_closed_address_among_open_ones_refuses_the_name_at_save() {
        let target = url("https://hooks.test/");
        assert_eq!(resolving(&[&["8.8.8.8", "2606:4700::1"]]).check(&target).await, Ok(()));
        let refused = resolving(&[&["8.8.8.8", "10.0.0.1"]]).check(&target).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "hooks.test is 10.0.0.1, a private address; if it is meant, write allow_targets = [\"10.0.0.1\"] in [bus]"
        );
        let nowhere = resolving(&[&[]]).check(&target).await.unwrap_err();
        assert_eq!(nowhere.to_string(), "hooks.test cannot be resolved: it has no address");
    }

    #[tokio::test]
    async fn a_name_that_is_public_at_save_and_private_afterwards_is_not_connected_to() {
        let port = server().await;
        let guard = resolving(&[&["8.8.8.8"], &["127.0.0.1"]]);
        let target = format!("http://rebinding.test:{port}/");
        assert_eq!(guard.check(&url(&target)).await, Ok(()));
        let refused = connects(&guard, &target).await.unwrap_err();
        assert!(
            refused.starts_with("rebinding.test is 127.0.0.1, a loopback address"),
            "{refused}"
        );
    }

    #[tokio::test]
    async fn only_the_addresses_that_pass_are_connected_to() {
        let guard = resolving(&[&["10.0.0.1", "8.8.8.8", "::1"]]);
        let found = guard.resolve("hooks.test".parse().unwrap()).await.unwrap();
        assert_eq!(found.map(|address| address.ip()).collect::<Vec<_>>(), [ip("8.8.8.8")]);
    }

    #[tokio::test]
    async fn what_is_allowed_is_connected_to_by_name_or_by_address() {
        let port = server().await;
        let (by_name, by_address) =
            (format!("http://localhost:{port}/"), format!("http://127.0.0.1:{port}/"));
        for target in [&by_name, &by_address] {
            assert!(connects(&guard(&[]), target).await.is_err(), "{target}");
            assert_eq!(connects(&guard(&["127.0.0.0/8", "::1"]), target).await, Ok(204));
            assert_eq!(connects(&guard(&[]).open(), target).await, Ok(204));
        }
        assert_eq!(connects(&guard(&["LOCALHOST."]), &by_name).await, Ok(204));
        assert!(connects(&guard(&["localhost"]), &by_address).await.is_err());
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_not_followed() {
        let port = server().await;
        let target = format!("http://127.0.0.1:{port}/moved");
        assert_eq!(connects(&guard(&[]).open(), &target).await, Ok(302));
    }

    #[test]
    fn an_entry_is_a_network_an_address_or_a_name() {
        for text in ["10.0.0.0/8", "fd00::/8", "10.1.2.3/32", "hooks.internal", "a-b.c_d"] {
            assert_eq!(text.parse::<Allowed>().unwrap().to_string(), text);
        }
        assert_eq!("10.1.2.3".parse::<Allowed>().unwrap().to_string(), "10.1.2.3/32");
        for text in ["", "10.0.0", "10.0.0.0/33", "a b", "http://x", "*.internal", "a..b", "x:80"] {
            assert!(text.parse::<Allowed>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_ipv4_address_is_as_closed_in_its_ipv6_forms(bits in any::<u32>()) {
            let inner = Ipv4Addr::from(bits);
            let [a, b, c, d] = inner.octets();
            let nat = u128::from(bits) | (0x0064_ff9b << 96);
            let six_to_four = Ipv6Addr::from((0x2002 << 112) | (u128::from(bits) << 80) | 1);
            let why = closed(inner.into());
            prop_assert_eq!(closed(inner.to_ipv6_mapped().into()), why);
            prop_assert_eq!(closed(Ipv6Addr::from(nat).into()), why);
            prop_assert_eq!(closed(six_to_four.into()), why);
            let known = inner.is_private() || inner.is_loopback() || inner.is_link_local() || inner.is_multicast()
                || inner.is_broadcast() || inner.is_documentation() || a == 0 || a >= 240 || (a == 100 && b & 0xc0 == 64);
            prop_assert!(!known || why.is_some(), "{a}.{b}.{c}.{d}");
        }

        #[test]
        fn outside_the_global_networks_nothing_is_open_but_what_stands_for_ipv4(bits in any::<u128>()) {
            let address = Ipv6Addr::from(bits);
            if bits >> 125 != 1 && embedded(address).is_none() {
                prop_assert!(closed(address.into()).is_some());
            }
        }

        #[test]
        fn a_network_allows_exactly_its_own(net in any::<[u8; 4]>(), length in 0..=32u8, other in any::<u32>()) {
            let net = Ipv4Net::new(Ipv4Addr::from(net), length).unwrap();
            let other = Ipv4Addr::from(other);
            let passes = guard(&[&net.to_string()]).admit("x", other.into()).is_ok();
            prop_assert_eq!(passes, net.contains(&other) || closed(other.into()).is_none());
        }
    }
}
