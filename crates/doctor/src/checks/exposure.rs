//! What a stranger sees from outside.

use emitter::fresh_id;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_METHOD, HeaderName, HeaderValue, ORIGIN,
    SERVER,
};
use reqwest::{Method, Request, Url};

use crate::answer::{Seen, shown};
use crate::check::{Checked, Finding};
use crate::probe::Probe;

/// Pages that are for the owner.
const PAGES: [&str; 4] = ["/swagger/", "/openapi.json", "/metrics", "/console"];

const POWERED_BY: HeaderName = HeaderName::from_static("x-powered-by");

/// A site that has nothing to do with the receiver.
const STRANGER: &str = "https://stranger.example";

pub(crate) async fn pages(probe: &Probe) -> Checked {
    // Some sites answer everything with a page of their own.
    let nothing = visit(probe, &format!("/{}", fresh_id())).await;
    if nothing.is_accepted() {
        return Ok(Finding::pass(
            "every path is answered with some page, so none is the receiver's",
        ));
    }
    let mut open = Vec::new();
    for page in PAGES {
        if visit(probe, page).await.is_accepted() {
            open.push(page);
        }
    }
    Ok(match open.is_empty() {
        true => Finding::pass("none of the owner's pages can be had without a login"),
        false => Finding::fail(format!("anyone can read {}", open.join(", "))),
    })
}

async fn visit(probe: &Probe, path: &str) -> Seen {
    let mut url: Url = probe.target.url.clone();
    url.set_path(path);
    url.set_query(None);
    probe.shoot(Request::new(Method::GET, url)).await
}

pub(crate) async fn banner(probe: &Probe) -> Checked {
    let seen = probe.baseline().await;
    let Ok(answer) = &seen.result else { return Ok(Finding::skip("no answer")) };
    let tells = |name: &HeaderName| {
        let text = answer.text(name)?;
        (text.contains(|c: char| c.is_ascii_digit()) || *name == POWERED_BY)
            .then(|| format!("{name}: {}", shown(text)))
    };
    let told: Vec<String> = [SERVER, POWERED_BY].iter().filter_map(tells).collect();
    Ok(match told.is_empty() {
        true => Finding::pass("no version is told"),
        false => Finding::warn(told.join(", ")),
    })
}

pub(crate) async fn cors(probe: &Probe) -> Checked {
    let mut request = Request::new(Method::OPTIONS, probe.target.url.clone());
    let headers = request.headers_mut();
    headers.insert(ORIGIN, HeaderValue::from_static(STRANGER));
    headers.insert(ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("POST"));
    let seen = probe.shoot(request).await;
    Ok(match seen.header(&ACCESS_CONTROL_ALLOW_ORIGIN) {
        Some(allowed @ ("*" | STRANGER)) => {
            Finding::warn(format!("pages of any site may send to it: {allowed}"))
        }
        _ => Finding::pass("pages of other sites may not send to it"),
    })
}
