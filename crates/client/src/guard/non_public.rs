//! Non-public address ranges.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6(a: u16, b: u16, c: u16, length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), length)
}

/// The IPv4 networks that are not public, after the special-purpose registries, and one cloud's metadata address that
/// looks like any other.
const NON_PUBLIC_V4: &[(Ipv4Net, &str)] = &[
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

/// The IPv6 networks that are not public; nor is any address outside [`GLOBAL_V6`].
const NON_PUBLIC_V6: &[(Ipv6Net, &str)] = &[
    (Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128), "an unspecified address"),
    (Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128), "a loopback address"),
    (v6(0x2001, 0, 0, 23), "a reserved address"),
    (v6(0x2001, 0x0db8, 0, 32), "an address for documentation"),
    (v6(0x3fff, 0, 0, 20), "an address for documentation"),
    (v6(0xfc00, 0, 0, 7), "a private address"),
    (v6(0xfe80, 0, 0, 10), "a link-local address"),
    (v6(0xff00, 0, 0, 8), "a multicast address"),
];

/// The IPv6 networks whose addresses embed an IPv4 address, and the byte at which it begins.
const EMBEDDING: &[(Ipv6Net, usize)] = &[
    (Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96), 12),
    (v6(0x64, 0xff9b, 0, 96), 12),
    (v6(0x2002, 0, 0, 16), 2),
];

const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 0, 3);

/// The reason why an address is not public; none if it is public.
pub fn non_public_reason(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => reason_v4(address),
        IpAddr::V6(address) => reason_v6(address),
    }
}

/// The networks in which clouds show the metadata of a machine: link-local ones, and single addresses.
const METADATA_V4: &[Ipv4Net] =
    &[v4(169, 254, 0, 0, 16), v4(168, 63, 129, 16, 32), v4(100, 100, 100, 200, 32)];
const METADATA_V6: &[Ipv6Net] = &[
    v6(0xfe80, 0, 0, 10),
    Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), 128),
];

/// True if a cloud may show its metadata at this address.
pub(super) fn shows_metadata(address: IpAddr) -> bool {
    let is_v4 = |address: Ipv4Addr| METADATA_V4.iter().any(|net| net.contains(&address));
    match address {
        IpAddr::V4(address) => is_v4(address),
        IpAddr::V6(address) => {
            METADATA_V6.iter().any(|net| net.contains(&address))
                || embedded(address).is_some_and(is_v4)
        }
    }
}

fn reason_v4(address: Ipv4Addr) -> Option<&'static str> {
    NON_PUBLIC_V4.iter().find(|(net, _)| net.contains(&address)).map(|(_, why)| *why)
}

fn reason_v6(address: Ipv6Addr) -> Option<&'static str> {
    if let Some(inner) = embedded(address) {
        return reason_v4(inner);
    }
    let listed = NON_PUBLIC_V6.iter().find(|(net, _)| net.contains(&address)).map(|(_, why)| *why);
    listed.or_else(|| (!GLOBAL_V6.contains(&address)).then_some("a reserved address"))
}

pub(super) fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let (_, start) = EMBEDDING.iter().find(|(net, _)| net.contains(&address))?;
    let octets = address.octets();
    let inner: [u8; 4] = octets.get(*start..start + 4)?.try_into().ok()?;
    Some(Ipv4Addr::from(inner))
}
