//! Checks of exposure: pages, versions and CORS, as an outsider sees them.

use emitter::fresh_id;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_METHOD, HeaderName, HeaderValue, ORIGIN,
    SERVER,
};
use reqwest::{Method, Request, Url};

use crate::check::{CheckOutcome, CheckResult};
use crate::probe::Prober;
use crate::probe_result::{ProbeResult, excerpt};

/// Pages that only the owner may see.
const PAGES: [&str; 4] = ["/swagger/", "/openapi.json", "/metrics", "/console"];

const POWERED_BY: HeaderName = HeaderName::from_static("x-powered-by");

/// A site unrelated to the receiver.
const OUTSIDER: &str = "https://stranger.example";

pub(crate) async fn pages(probe: &Prober) -> CheckOutcome {
    // Some sites answer every path with a page of their own.
    let nothing = visit(probe, &format!("/{}", fresh_id())).await;
    if nothing.is_accepted() {
        return Ok(CheckResult::pass(
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
        true => CheckResult::pass("none of the owner's pages can be had without a login"),
        false => CheckResult::fail(format!("anyone can read {}", open.join(", "))),
    })
}

async fn visit(probe: &Prober, path: &str) -> ProbeResult {
    let mut url: Url = probe.target.url.clone();
    url.set_path(path);
    url.set_query(None);
    probe.send_request(Request::new(Method::GET, url)).await
}

pub(crate) async fn banner(probe: &Prober) -> CheckOutcome {
    let seen = probe.baseline().await;
    let Ok(answer) = &seen.result else { return Ok(CheckResult::skip("no answer")) };
    let tells = |name: &HeaderName| {
        let text = answer.text(name)?;
        (text.contains(|c: char| c.is_ascii_digit()) || *name == POWERED_BY)
            .then(|| format!("{name}: {}", excerpt(text)))
    };
    let text: Vec<String> = [SERVER, POWERED_BY].iter().filter_map(tells).collect();
    Ok(match text.is_empty() {
        true => CheckResult::pass("no version is shown"),
        false => CheckResult::warn(text.join(", ")),
    })
}

pub(crate) async fn cors(probe: &Prober) -> CheckOutcome {
    let mut request = Request::new(Method::OPTIONS, probe.target.url.clone());
    let headers = request.headers_mut();
    headers.insert(ORIGIN, HeaderValue::from_static(OUTSIDER));
    headers.insert(ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("POST"));
    let seen = probe.send_request(request).await;
    Ok(match seen.header(&ACCESS_CONTROL_ALLOW_ORIGIN) {
        Some(allowed @ ("*" | OUTSIDER)) => {
            CheckResult::warn(format!("pages of any site may send to it: {allowed}"))
        }
        _ => CheckResult::pass("pages of other sites may not send to it"),
    })
}
