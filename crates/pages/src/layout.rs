//! The layout of a page.

use axum::response::{Html, IntoResponse as _, Response};
use http::StatusCode;
use maud::{DOCTYPE, Markup, html};

use crate::site::{asset, base};

/// A link in the main navigation.
#[derive(Debug, Clone, Copy)]
pub struct Tab {
    /// Address, relative to the site's root; empty for the root itself. A leading `/` leaves the site.
    pub href: &'static str,
    /// Text of the link.
    pub name: &'static str,
}

/// A site: what its pages have in common.
#[derive(Debug)]
pub struct Site {
    /// Name of the program, shown on each page.
    pub brand: &'static str,
    /// Path of the site, such as `/console`.
    pub path: &'static str,
    /// The main navigation.
    pub tabs: &'static [Tab],
}

/// A page to be shown.
#[derive(Debug)]
pub struct Page<'p> {
    /// The site.
    pub site: &'static Site,
    /// Path of the request, from which the addresses of the page are relative, and its query, if it has one.
    pub path: &'p str,
    /// Address of the [`Tab`] that the page belongs to.
    pub tab: &'p str,
    /// Title and heading.
    pub title: &'p str,
    /// Content of the header beside the navigation: the person who is logged in, or a state that concerns all pages.
    pub aside: Markup,
}

impl Page<'_> {
    /// The page with this content.
    pub fn show(&self, content: Markup) -> Response {
        Html(self.markup(&content).into_string()).into_response()
    }

    /// The page with this content and status, such as that of an error.
    pub fn with_status(&self, status: StatusCode, content: Markup) -> Response {
        (status, self.show(content)).into_response()
    }

    fn markup(&self, content: &Markup) -> Markup {
        let Page { site, path, tab, title, aside } = self;
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    base href=(base(site.path, path));
                    title { (title) " · " (site.brand) }
                    link rel="icon" href="data:,";
                    link rel="stylesheet" href=(asset("style.css"));
                    script src=(asset("script.js")) defer {}
                }
                body {
                    // Relative to the page, not to the base.
                    a.skip href={ (here(site.path, path)) "#content" } { "Skip to the content" }
                    header {
                        p.brand { (site.brand) }
                        nav aria-label="Main" {
                            @for link in site.tabs {
                                a href=(address(link.href)) aria-current=[(link.href == *tab).then_some("page")] { (link.name) }
                            }
                        }
                        (aside)
                    }
                    main id="content" tabindex="-1" {
                        h1 { (title) }
                        (content)
                    }
                }
            }
        }
    }
}

/// The address of the page itself, relative to its base.
fn here(mount: &str, path: &str) -> String {
    let below = path.strip_prefix(mount).unwrap_or_default();
    let name = mount.rsplit('/').next().unwrap_or_default();
    match below.strip_prefix('/') {
        Some(below) => format!("./{below}"),
        None => format!("../{name}{below}"),
    }
}

/// The address of a link: the site's root is `./`.
fn address(href: &str) -> &str {
    if href.is_empty() { "./" } else { href }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_page_is_on_the_same_page() {
        for (path, expected) in [
            ("/console", "../console"),
            ("/console?a=1", "../console?a=1"),
            ("/console/", "./"),
            ("/console/acts/new?kind=replay&id=2", "./acts/new?kind=replay&id=2"),
        ] {
            assert_eq!(here("/console", path), expected, "{path}");
        }
    }
}
