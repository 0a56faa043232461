//! Whether a delivery gets there at all, and as what.

use chrono::TimeDelta;
use reqwest::{Method, Request};
use tokio::net::TcpStream;

use super::accepted;
use crate::answer::shown;
use crate::check::{Checked, Finding};
use crate::probe::Probe;
use crate::retired::RETIRED;

/// A certificate that ends sooner is worth a warning.
const SOON: TimeDelta = TimeDelta::days(21);

/// A query that everything on the way must leave as it is.
const QUERY: &str = "doctor=a%2Fb%20c%2Bd&empty=";

pub(crate) async fn dns(probe: &Probe) -> Checked {
    Ok(match probe.addresses().await {
        Ok(found) if found.is_empty() => Finding::fail("the name has no address"),
        Ok(found) => {
            let addresses: Vec<String> = found.iter().map(|a| a.ip().to_string()).collect();
            Finding::pass(addresses.join(", "))
        }
        Err(error) => Finding::fail(error.clone()),
    })
}

pub(crate) async fn connect(probe: &Probe) -> Checked {
    let Ok(addresses) = probe.addresses().await else {
        return Ok(Finding::skip("the host's address is not known"));
    };
    let mut dead = Vec::new();
    for address in addresses {
        let connecting =
            tokio::time::timeout(std::time::Duration::from_secs(3), TcpStream::connect(address));
        if !matches!(connecting.await, Ok(Ok(_))) {
            dead.push(address.to_string());
        }
    }
    Ok(match dead.len() {
        0 => Finding::pass("every address takes connections"),
        some if some < addresses.len() => {
            Finding::warn(format!("no connection to {}, but to others", dead.join(", ")))
        }
        _ => Finding::fail(format!("no connection to {}", dead.join(", "))),
    })
}

pub(crate) async fn certificate(probe: &Probe) -> Checked {
    Ok(match probe.tls().await {
        Err(cause) => Finding::fail(format!("no TLS: {cause}")),
        Ok(tls) => match &tls.trusted {
            Ok(()) => Finding::pass("trusted, and for this host"),
            Err(why) => Finding::fail(why.clone()),
        },
    })
}

pub(crate) async fn expiry(probe: &Probe) -> Checked {
    let Ok(tls) = probe.tls().await else { return Ok(Finding::skip("no certificate was seen")) };
    let Some(end) = tls.not_after else { return Ok(Finding::skip("its end could not be read")) };
    let seen = format!("valid until {}", end.format("%Y-%m-%d"));
    let left = end - contract::time::now();
    Ok(match () {
        () if left < TimeDelta::zero() => {
            Finding::fail(format!("expired on {}", end.format("%Y-%m-%d")))
        }
        () if left < SOON => Finding::warn(format!("{seen}, in {} days", left.num_days())),
        () => Finding::pass(seen),
    })
}

pub(crate) async fn versions(probe: &Probe) -> Checked {
    let Ok(tls) = probe.tls().await else { return Ok(Finding::fail("neither TLS 1.2 nor 1.3")) };
    Ok(match tls.versions {
        [true, true] => Finding::pass("TLS 1.2 and 1.3"),
        [true, false] => Finding::warn("TLS 1.2, but not 1.3"),
        [false, true] => Finding::warn("TLS 1.3, but not 1.2, which older senders need"),
        [false, false] => Finding::fail("neither TLS 1.2 nor 1.3"),
    })
}

pub(crate) async fn retired(probe: &Probe) -> Checked {
    let Ok(addresses) = probe.addresses().await else {
        return Ok(Finding::skip("the host's address is not known"));
    };
    let mut spoken = Vec::new();
    for version in &RETIRED {
        if version.is_spoken(probe.target.host(), addresses).await {
            spoken.push(version.name);
        }
    }
    Ok(match spoken.is_empty() {
        true => Finding::pass("neither TLS 1.0 nor TLS 1.1 is spoken"),
        false => Finding::warn(format!("still spoken: {}", spoken.join(", "))),
    })
}

pub(crate) async fn plain(probe: &Probe) -> Checked {
    let mut url = probe.target.url.clone();
    if url.set_port(probe.target.plain_port).is_err() || url.set_scheme("http").is_err() {
        return Ok(Finding::skip("the URL has no plain twin"));
    }
    // Without a key: anyone on the way could read it.
    let seen = probe.shoot(Request::new(Method::POST, url)).await;
    Ok(match seen.status() {
        None => Finding::pass("nothing answers plain HTTP"),
        Some(300..400) => Finding::pass(format!("plain HTTP is redirected ({})", seen.told())),
        Some(403 | 404 | 426 | 444) => {
            Finding::pass(format!("plain HTTP is refused ({})", seen.told()))
        }
        Some(_) => {
            Finding::warn(format!("deliveries are taken over plain HTTP, too: {}", seen.told()))
        }
    })
}

pub(crate) async fn redirect(probe: &Probe) -> Checked {
    let seen = probe.baseline().await;
    let Some(300..400) = seen.status() else { return Ok(Finding::pass("no redirect")) };
    let to = seen.location().unwrap_or_default();
    let own = &probe.target.url;
    let target = own.join(to).ok();
    let kind = match &target {
        Some(target) if own.scheme() == "http" && target.scheme() == "https" => {
            "from http to https"
        }
        Some(target) if target.path().trim_end_matches('/') == own.path().trim_end_matches('/') => {
            "for a slash at the end"
        }
        _ => "to another place",
    };
    let told = format!("{}: a redirect {kind}, {}", seen.told(), shown(to));
    Ok(Finding::fail(told).mend(match target {
        Some(target) => format!("enter the address itself: {}", shown(target.as_str())),
        None => "remove the redirect for this path".to_owned(),
    }))
}

pub(crate) async fn slash(probe: &Probe) -> Checked {
    let mut message = probe.genuine(&[])?;
    let path = message.url.path().to_owned();
    let other = match path.strip_suffix('/') {
        Some("") => return Ok(Finding::skip("the URL has no path")),
        Some(without) => without.to_owned(),
        None => format!("{path}/"),
    };
    message.url.set_path(&other);
    let seen = probe.send(&message).await;
    Ok(match seen.status() {
        Some(200..300) => Finding::pass("with and without a slash at the end"),
        Some(300..400) => Finding::warn(format!("{other} is redirected: {}", seen.told())),
        _ => Finding::warn(format!("{other} is another place: {}", seen.told())),
    })
}

pub(crate) async fn path(probe: &Probe) -> Checked {
    let seen = probe.baseline().await;
    Ok(match (seen.status(), seen.is_receivers()) {
        (Some(404 | 410), true) => Finding::fail(format!(
            "{}: no source has this path",
            seen.told()
        ))
        .mend(
            "compare the URL with path in [sources.…], and let proxy_pass have no path of its own",
        ),
        (Some(404 | 410), false) => Finding::fail(format!("{}: it was not forwarded", seen.told()))
            .mend("nginx: a location that matches the path and has proxy_pass"),
        (Some(300..400), _) => Finding::skip("it is redirected"),
        (Some(_), _) => Finding::pass(format!("answered by {}", seen.who())),
        (None, _) => Finding::fail(seen.told()),
    })
}

pub(crate) async fn method(probe: &Probe) -> Checked {
    let seen = probe.baseline().await;
    Ok(match seen.status() {
        Some(405 | 501) => Finding::fail(format!("POST is refused: {}", seen.told())),
        _ => Finding::pass("POST gets through"),
    })
}

pub(crate) async fn upstream(probe: &Probe) -> Checked {
    let seen = probe.baseline().await;
    Ok(match (seen.status(), seen.is_receivers()) {
        (Some(502..=504 | 520..=530), false) => {
            Finding::fail(format!("{}: it reaches no receiver", seen.told()))
        }
        _ => Finding::pass("whatever stands before the receiver reaches it"),
    })
}

pub(crate) async fn inbox(probe: &Probe) -> Checked {
    let seen = probe.baseline().await;
    Ok(match (seen.status(), seen.is_receivers()) {
        (Some(500..600), true) => {
            Finding::fail(format!("{}: it cannot keep deliveries now", seen.told()))
        }
        _ => Finding::pass("it can keep deliveries"),
    })
}

pub(crate) async fn query(probe: &Probe) -> Checked {
    let mut message = probe.genuine(&[])?;
    let own = message.url.query().map(|own| format!("{own}&{QUERY}"));
    message.url.set_query(Some(own.as_deref().unwrap_or(QUERY)));
    let seen = probe.send(&message).await;
    accepted(&seen, "a delivery with a query")?;
    let sent = message.url.query().unwrap_or_default();
    Ok(match seen.echo().and_then(|echo| echo.query) {
        Some(query) if query == sent || query.ends_with(QUERY) => {
            Finding::pass("kept as it was sent")
        }
        Some(query) => Finding::fail(format!("{sent} arrived as {}", shown(&query))),
        None => Finding::fail("the query did not arrive"),
    })
}
