//! The parts of a site that every page shares: its assets, security headers, and addresses.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::LazyLock;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn, map_response};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use server::origin::{is_embedded_elsewhere, same_origin_only};
use server::problem::{FORBIDDEN, Problem};
use server::security;

use crate::layout::Site;

/// The content security policy: the site's own style sheet, script and forms; the script may ask the site itself.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; \
    form-action 'self'; base-uri 'self'; frame-ancestors 'none'";

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// The address of an asset, which changes with its content: a browser keeps it, and asks for the new one after an upgrade.
pub(crate) fn asset(name: &str) -> String {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let mut hasher = DefaultHasher::new();
        (STYLE, SCRIPT).hash(&mut hasher);
        format!("{:x}", hasher.finish())
    });
    format!("{name}?{}", *VERSION)
}

/// The routes of the style sheet and the script, below the path of a site. They hold nothing secret and need no login.
pub fn assets<S: Clone + Send + Sync + 'static>(path: &str) -> Router<S> {
    let asset = |kind: &'static str, text: &'static str| {
        get(async move || {
            let headers = [
                (CONTENT_TYPE, kind),
                (CACHE_CONTROL, "public, max-age=3600"),
                (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ];
            (headers, text).into_response()
        })
    };
    Router::new()
        .route(&format!("{path}/style.css"), asset("text/css; charset=utf-8", STYLE))
        .route(&format!("{path}/script.js"), asset("text/javascript; charset=utf-8", SCRIPT))
}

/// Adds the security headers to every response of a site, and accepts its forms from its own pages alone.
pub fn protect<S: Clone + Send + Sync + 'static>(site: Router<S>) -> Router<S> {
    // Of the routes alone: what another site serves, or does not, is its own matter.
    site.route_layer(from_fn(own_forms)).route_layer(map_response(secured))
}

async fn own_forms(request: Request, next: Next) -> Response {
    if is_embedded_elsewhere(request.headers()) {
        let why = "another site's page has asked for this";
        return Problem::new(&FORBIDDEN).detail(why).into_response();
    }
    same_origin_only(request, next).await
}

pub(crate) async fn secured(mut response: Response) -> Response {
    // A browser sends the origin of a form only if the page permits it: hence not `no-referrer`.
    let policy = HeaderValue::from_static(POLICY);
    security::add(&mut response, security::headers(policy, "same-origin"));
    security::add(&mut response, security::UNFRAMED);
    response
}

/// The text percent-encoded for a path or a query.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Leads to an address of the site, relative to its root, after a form that was sent to `path`. The `Location` is relative
/// too, so that it leads there below a proxy's path.
pub fn redirect(site: &Site, path: &str, to: &str) -> Response {
    Redirect::to(&format!("{}{to}", base(site.path, path))).into_response()
}

/// The address of the page at `path`, relative to its site's root: a link to a part of the page is this and `#part`.
pub fn address_of<'p>(site: &Site, path: &'p str) -> &'p str {
    path.strip_prefix(site.path).unwrap_or_default().trim_start_matches('/')
}

/// The address of a site's root, relative to the page at `path`, for `<base href>`. `mount` is the site's path, such as
/// `/console`; a proxy may serve it below another, which the program does not know.
pub(crate) fn base(mount: &str, path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let below = path.strip_prefix(mount).unwrap_or_default();
    let name = mount.rsplit('/').next().unwrap_or_default();
    match below.matches('/').count() {
        0 => format!("{name}/"),
        1 => "./".to_owned(),
        levels => "../".repeat(levels - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_of_a_page_leads_to_the_root_of_its_site() {
        for (path, expected) in [
            ("/console", "console/"),
            ("/console/", "./"),
            ("/console/deliveries", "./"),
            ("/console/deliveries/42", "../"),
            ("/console/acts/7/cancel", "../../"),
            ("/console?a=/b/c", "console/"),
            ("/console/acts?a=/b/c", "./"),
        ] {
            assert_eq!(base("/console", path), expected, "{path}");
        }
    }

    #[test]
    fn text_in_an_address_is_encoded() {
        assert_eq!(encoded("a/b c?"), "a%2Fb%20c%3F");
    }

    #[test]
    fn a_redirect_is_relative_to_the_form() {
        const SITE: Site = Site { brand: "x", path: "/console", tabs: &[] };
        for (path, expected) in [
            ("/console/acts", "./acts/7"),
            ("/console/acts/7/cancel", "../../acts/7"),
            ("/console", "console/acts/7"),
        ] {
            assert_eq!(redirect(&SITE, path, "acts/7").headers()["location"], expected);
        }
        assert_eq!(address_of(&SITE, "/console/acts/7"), "acts/7");
    }
}
