//! Checks of reachability: DNS, TLS, redirects, path and query.

use chrono::TimeDelta;
use reqwest::{Method, Request};
use tokio::net::TcpStream;

use super::accepted;
use crate::check::{CheckOutcome, CheckResult};
use crate::probe::Prober;
use crate::probe_result::excerpt;

/// The remaining validity of a certificate below which a warning is given.
const SOON: TimeDelta = TimeDelta::days(21);

/// A query that every proxy must forward unchanged.
const QUERY: &str = "doctor=a%2Fb%20c%2Bd&empty=";

pub(crate) async fn dns(probe: &Prober) -> CheckOutcome {
    Ok(match probe.addresses().await {
        Ok(found) if found.is_empty() => CheckResult::fail("the name has no address"),
        Ok(found) => {
            let addresses: Vec<String> = found.iter().map(|a| a.ip().to_string()).collect();
            CheckResult::pass(addresses.join(", "))
        }
        Err(error) => CheckResult::fail(error.clone()),
    })
}

pub(crate) async fn connect(probe: &Prober) -> CheckOutcome {
    let Ok(addresses) = probe.addresses().await else {
        return Ok(CheckResult::skip("the host's address is not known"));
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
        0 => CheckResult::pass("every address takes connections"),
        some if some < addresses.len() => {
            CheckResult::warn(format!("no connection to {}, but to others", dead.join(", ")))
        }
        _ => CheckResult::fail(format!("no connection to {}", dead.join(", "))),
    })
}

pub(crate) async fn certificate(probe: &Prober) -> CheckOutcome {
    Ok(match probe.tls().await {
        Err(cause) => CheckResult::fail(format!("no TLS: {cause}")),
        Ok(tls) => match &tls.trusted {
            Ok(()) => CheckResult::pass("trusted, and for this host"),
            Err(why) => CheckResult::fail(why.clone()),
        },
    })
}

pub(crate) async fn expiry(probe: &Prober) -> CheckOutcome {
    let Ok(tls) = probe.tls().await else {
        return Ok(CheckResult::skip("no certificate was seen"));
    };
    let Some(end) = tls.not_after else {
        return Ok(CheckResult::skip("its end could not be read"));
    };
    let seen = format!("valid until {}", end.format("%Y-%m-%d"));
    let left = end - contract::time::now();
    Ok(match () {
        () if left < TimeDelta::zero() => {
            CheckResult::fail(format!("expired on {}", end.format("%Y-%m-%d")))
        }
        () if left < SOON => CheckResult::warn(format!("{seen}, in {} days", left.num_days())),
        () => CheckResult::pass(seen),
    })
}

pub(crate) async fn versions(probe: &Prober) -> CheckOutcome {
    let Ok(tls) = probe.tls().await else {
        return Ok(CheckResult::fail("neither TLS 1.2 nor 1.3"));
    };
    Ok(match tls.versions {
        [true, true] => CheckResult::pass("TLS 1.2 and 1.3"),
        [true, false] => CheckResult::warn("TLS 1.2, but not 1.3"),
        [false, true] => CheckResult::warn("TLS 1.3, but not 1.2, which older senders need"),
        [false, false] => CheckResult::fail("neither TLS 1.2 nor 1.3"),
    })
}

pub(crate) async fn plain(probe: &Prober) -> CheckOutcome {
    let mut url = probe.target.url.clone();
    if url.set_port(probe.target.plain_port).is_err() || url.set_scheme("http").is_err() {
        return Ok(CheckResult::skip("the URL has no plain twin"));
    }
    // Without a key, since it could be read in transit.
    let seen = probe.send_request(Request::new(Method::POST, url)).await;
    Ok(match seen.status() {
        None => CheckResult::pass("nothing answers plain HTTP"),
        Some(300..400) => {
            CheckResult::pass(format!("plain HTTP is redirected ({})", seen.summary()))
        }
        Some(403 | 404 | 426 | 444) => {
            CheckResult::pass(format!("plain HTTP is refused ({})", seen.summary()))
        }
        Some(_) => CheckResult::warn(format!(
            "deliveries are taken over plain HTTP, too: {}",
            seen.summary()
        )),
    })
}

pub(crate) async fn redirect(probe: &Prober) -> CheckOutcome {
    let seen = probe.baseline().await;
    let Some(300..400) = seen.status() else { return Ok(CheckResult::pass("no redirect")) };
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
    let text = format!("{}: a redirect {kind}, {}", seen.summary(), excerpt(to));
    Ok(CheckResult::fail(text).mend(match target {
        Some(target) => format!("enter the address itself: {}", excerpt(target.as_str())),
        None => "remove the redirect for this path".to_owned(),
    }))
}

pub(crate) async fn slash(probe: &Prober) -> CheckOutcome {
    let mut message = probe.genuine(&[])?;
    let path = message.url.path().to_owned();
    let other = match path.strip_suffix('/') {
        Some("") => return Ok(CheckResult::skip("the URL has no path")),
        Some(without) => without.to_owned(),
        None => format!("{path}/"),
    };
    message.url.set_path(&other);
    let seen = probe.send(&message).await;
    Ok(match seen.status() {
        Some(200..300) => CheckResult::pass("with and without a slash at the end"),
        Some(300..400) => CheckResult::warn(format!("{other} is redirected: {}", seen.summary())),
        _ => CheckResult::warn(format!("{other} is another place: {}", seen.summary())),
    })
}

pub(crate) async fn path(probe: &Prober) -> CheckOutcome {
    let seen = probe.baseline().await;
    Ok(match (seen.status(), seen.is_receivers()) {
        (Some(404 | 410), true) => CheckResult::fail(format!(
            "{}: no source has this path",
            seen.summary()
        ))
        .mend(
            "compare the URL with path in [sources.…], and let proxy_pass have no path of its own",
        ),
        (Some(404 | 410), false) => {
            CheckResult::fail(format!("{}: it was not forwarded", seen.summary()))
                .mend("nginx: a location that matches the path and has proxy_pass")
        }
        (Some(300..400), _) => CheckResult::skip("it is redirected"),
        (Some(_), _) => CheckResult::pass(format!("answered by {}", seen.answered_by())),
        (None, _) => CheckResult::fail(seen.summary()),
    })
}

pub(crate) async fn method(probe: &Prober) -> CheckOutcome {
    let seen = probe.baseline().await;
    Ok(match seen.status() {
        Some(405 | 501) => CheckResult::fail(format!("POST is refused: {}", seen.summary())),
        _ => CheckResult::pass("POST gets through"),
    })
}

pub(crate) async fn upstream(probe: &Prober) -> CheckOutcome {
    let seen = probe.baseline().await;
    Ok(match (seen.status(), seen.is_receivers()) {
        (Some(502..=504 | 520..=530), false) => {
            CheckResult::fail(format!("{}: it reaches no receiver", seen.summary()))
        }
        _ => CheckResult::pass("whatever stands before the receiver reaches it"),
    })
}

pub(crate) async fn inbox(probe: &Prober) -> CheckOutcome {
    let seen = probe.baseline().await;
    Ok(match (seen.status(), seen.is_receivers()) {
        (Some(500..600), true) => {
            CheckResult::fail(format!("{}: it cannot keep deliveries now", seen.summary()))
        }
        _ => CheckResult::pass("it can keep deliveries"),
    })
}

pub(crate) async fn query(probe: &Prober) -> CheckOutcome {
    let mut message = probe.genuine(&[])?;
    let own = message.url.query().map(|own| format!("{own}&{QUERY}"));
    message.url.set_query(Some(own.as_deref().unwrap_or(QUERY)));
    let seen = probe.send(&message).await;
    accepted(&seen, "a delivery with a query")?;
    let sent = message.url.query().unwrap_or_default();
    Ok(match seen.echo().and_then(|echo| echo.query) {
        Some(query) if query == sent || query.contains(QUERY) => {
            CheckResult::pass("kept as it was sent")
        }
        Some(query) => CheckResult::fail(format!("{sent} arrived as {}", excerpt(&query))),
        None => CheckResult::fail("the query did not arrive"),
    })
}
