use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Mutex;

use ipnet::Ipv4Net;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::non_public::embedded;
use super::*;

/// Resolves every lookup to the next of these results, and repeats the last.
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
    Guard { resolver: Arc::new(Names(Mutex::new(answers))), ..guard(&[]) }
}

async fn connects(guard: &Guard, target: &str) -> Result<u16, String> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = guard.protect(reqwest::Client::builder()).build().unwrap();
    guard.check_literal(&url(target)).map_err(|refused| refused.to_string())?;
    match client.get(target).send().await {
        Ok(response) => Ok(response.status().as_u16()),
        Err(error) => Err(TargetRefused::find_in(&error)
            .map_or_else(|| format!("{error:?}"), TargetRefused::to_string)),
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
        assert!(non_public_reason(ip(closed_one)).is_some(), "{closed_one}");
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
        assert_eq!(non_public_reason(ip(open)), None, "{open}");
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
        assert!(matches!(refused, TargetRefused::NotPublic { .. }), "{target}: {refused}");
    }
    for target in ["ftp://8.8.8.8/", "https://user@8.8.8.8/", "https://:pass@8.8.8.8/", "data:x"] {
        assert_eq!(
            guard(&[]).check(&url(target)).await,
            Err(TargetRefused::InvalidTarget),
            "{target}"
        );
        assert_eq!(
            guard(&[]).open().check(&url(target)).await,
            Err(TargetRefused::InvalidTarget),
            "{target}"
        );
    }
    assert_eq!(guard(&[]).check(&url("https://8.8.8.8/")).await, Ok(()));
    assert_eq!(guard(&[]).open().check(&url("http://127.0.0.1/")).await, Ok(()));
}

#[tokio::test]
async fn an_open_guard_admits_private_addresses_and_no_metadata() {
    let open = guard(&[]).open();
    for target in
        ["http://10.0.0.5/", "http://192.168.1.1/", "http://[fd00::1]/", "http://127.0.0.1/"]
    {
        assert_eq!(open.check(&url(target)).await, Ok(()), "{target}");
    }
    for target in [
        "http://169.254.169.254/latest/",
        "http://[::ffff:169.254.169.254]/",
        "http://168.63.129.16/",
        "http://[fd00:ec2::254]/",
        "http://[fe80::1]/",
    ] {
        assert!(open.check(&url(target)).await.is_err(), "{target}");
    }
    assert_eq!(
        guard(&[]).check(&url("http://10.0.0.5/")).await.unwrap_err().to_string(),
        "10.0.0.5 is a private address; to allow it, write allow_targets = [\"10.0.0.5\"] in [bus]"
    );
    assert_eq!(
        guard(&["169.254.0.0/16"]).open().check(&url("http://169.254.169.254/")).await,
        Ok(())
    );
}

#[tokio::test]
async fn one_closed_address_among_open_ones_refuses_the_name_at_save() {
    let target = url("https://hooks.test/");
    assert_eq!(resolving(&[&["8.8.8.8", "2606:4700::1"]]).check(&target).await, Ok(()));
    let refused = resolving(&[&["8.8.8.8", "10.0.0.1"]]).check(&target).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "hooks.test is 10.0.0.1, a private address; to allow it, write allow_targets = [\"10.0.0.1\"] in [bus]"
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
    assert!(refused.starts_with("rebinding.test is 127.0.0.1, a loopback address"), "{refused}");
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
        assert_eq!(text.parse::<AllowedTarget>().unwrap().to_string(), text);
    }
    assert_eq!("10.1.2.3".parse::<AllowedTarget>().unwrap().to_string(), "10.1.2.3/32");
    for text in ["", "10.0.0", "10.0.0.0/33", "a b", "http://x", "*.internal", "a..b", "x:80"] {
        assert!(text.parse::<AllowedTarget>().is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn an_ipv4_address_is_as_closed_in_its_ipv6_forms(bits in any::<u32>()) {
        let inner = Ipv4Addr::from(bits);
        let [a, b, c, d] = inner.octets();
        let nat = u128::from(bits) | (0x0064_ff9b << 96);
        let six_to_four = Ipv6Addr::from((0x2002 << 112) | (u128::from(bits) << 80) | 1);
        let why = non_public_reason(inner.into());
        prop_assert_eq!(non_public_reason(inner.to_ipv6_mapped().into()), why);
        prop_assert_eq!(non_public_reason(Ipv6Addr::from(nat).into()), why);
        prop_assert_eq!(non_public_reason(six_to_four.into()), why);
        let known = inner.is_private() || inner.is_loopback() || inner.is_link_local() || inner.is_multicast()
            || inner.is_broadcast() || inner.is_documentation() || a == 0 || a >= 240 || (a == 100 && b & 0xc0 == 64);
        prop_assert!(!known || why.is_some(), "{a}.{b}.{c}.{d}");
    }

    #[test]
    fn outside_the_global_networks_nothing_is_open_but_what_stands_for_ipv4(bits in any::<u128>()) {
        let address = Ipv6Addr::from(bits);
        if bits >> 125 != 1 && embedded(address).is_none() {
            prop_assert!(non_public_reason(address.into()).is_some());
        }
    }

    #[test]
    fn a_network_allows_exactly_its_own(net in any::<[u8; 4]>(), length in 0..=32u8, other in any::<u32>()) {
        let net = Ipv4Net::new(Ipv4Addr::from(net), length).unwrap();
        let other = Ipv4Addr::from(other);
        let passes = guard(&[&net.to_string()]).admit("x", other.into()).is_ok();
        prop_assert_eq!(passes, net.contains(&other) || non_public_reason(other.into()).is_none());
    }
}
