//! Origin checks: requests from this machine, and forms from the server's own pages.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{HOST, HeaderMap, ORIGIN};
use settings::is_loopback;

use super::problem::{FORBIDDEN, Problem};

/// Middleware: accepts only requests whose `Host` is this machine. A page of another site whose name resolves to this
/// machine sends that name (DNS rebinding).
pub async fn local_only(request: Request, next: Next) -> Response {
    if is_loopback_host(request.headers()) {
        return next.run(request).await;
    }
    let why = "without a login this is served to this machine only; open it as localhost";
    Problem::new(&FORBIDDEN).detail(why).into_response()
}

/// Middleware: accepts unsafe requests only from the server's own pages; safe ones always pass.
///
/// A browser states the origin with every form. Other clients are directed to the API.
pub async fn same_origin_only(request: Request, next: Next) -> Response {
    if request.method().is_safe() || is_own_page(request.headers()) {
        return next.run(request).await;
    }
    let why = "forms are accepted from this server's own pages only; programs use the API";
    Problem::new(&FORBIDDEN).detail(why).into_response()
}

/// True if the request's `Host` is this machine.
pub fn is_loopback_host(headers: &HeaderMap) -> bool {
    let host = text(headers, HOST.as_str()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_matches(['[', ']']).parse();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(is_loopback)
}

/// True if a page of another site loads this into itself, according to the browser; a link from there leads here all the same.
pub fn is_embedded_elsewhere(headers: &HeaderMap) -> bool {
    text(headers, "sec-fetch-site") == Some("cross-site")
        && text(headers, "sec-fetch-mode") != Some("navigate")
}

/// True if the server's own page sent the request, according to the browser.
fn is_own_page(headers: &HeaderMap) -> bool {
    let origin = text(headers, ORIGIN.as_str());
    let host = text(headers, HOST.as_str()).unwrap_or_default();
    let is_from_here = origin
        .and_then(|origin| origin.split_once("://"))
        .is_some_and(|(_, own)| own.eq_ignore_ascii_case(host));
    match text(headers, "sec-fetch-site") {
        Some(site) => site == "same-origin" && (origin.is_none() || is_from_here),
        None => is_from_here,
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (http::HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn only_names_of_this_machine_are_its_own() {
        for host in
            ["localhost", "LOCALHOST:80", "127.0.0.1:8090", "127.1.2.3", "[::1]:80", "[::1]"]
        {
            assert!(is_loopback_host(&headers(&[("host", host)])), "{host}");
        }
        for host in [
            "",
            "example.com",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "10.0.0.1",
            "0.0.0.0",
        ] {
            assert!(!is_loopback_host(&headers(&[("host", host)])), "{host}");
        }
        assert!(!is_loopback_host(&headers(&[])));
    }

    #[test]
    fn a_form_counts_only_from_a_page_of_our_own() {
        let host = ("host", "localhost:80");
        let own = ("origin", "http://localhost:80");
        let same = ("sec-fetch-site", "same-origin");
        for own in [&[host, own][..], &[host, same], &[host, own, same]] {
            assert!(is_own_page(&headers(own)), "{own:?}");
        }
        for other in [
            &[host][..],
            &[host, ("origin", "null")],
            &[host, ("origin", "http://localhost:81")],
            &[host, ("origin", "https://example.com"), same],
            &[host, own, ("sec-fetch-site", "cross-site")],
            &[host, ("sec-fetch-site", "same-site")],
            &[host, ("sec-fetch-site", "none")],
        ] {
            assert!(!is_own_page(&headers(other)), "{other:?}");
        }
    }

    #[test]
    fn another_sites_page_may_lead_here_and_load_nothing() {
        let (cross, embedded) = (("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"));
        assert!(is_embedded_elsewhere(&headers(&[cross, embedded])));
        assert!(is_embedded_elsewhere(&headers(&[cross])));
        assert!(!is_embedded_elsewhere(&headers(&[cross, ("sec-fetch-mode", "navigate")])));
        assert!(!is_embedded_elsewhere(&headers(&[("sec-fetch-site", "same-origin"), embedded])));
        assert!(!is_embedded_elsewhere(&headers(&[])), "a program");
    }
}
