//! Pages: the layout, parts, style and script of both programs' pages, the console and the bus's Admin pages.
//!
//! Plain HTML: everything works without the script, which only adds live rows, keys and relative times. Nothing is loaded
//! from other hosts, and all addresses are relative, so that a proxy can serve the pages below any path.
//!
//! It depends on the server, for the security headers; each program's pages depend on it.

mod body;
mod chart;
mod error;
mod form;
mod json;
mod layout;
mod list;
mod parts;
mod site;
mod time;

pub use body::{body, curl, size};
pub use chart::{share_bar, sparkline};
pub use error::{PageError, show_errors};
pub use form::{FormError, FormFields};
pub use json::{JsonView, json};
pub use layout::{Page, Site, Tab};
pub use list::{Column, Table};
pub use parts::{
    Tone, alert, button, check, chip, choice, copyable, errors, facts, field, filters, hidden,
    input, live_switch, moment, note, suggested, text,
};
pub use site::{address_of, assets, encoded, protect, redirect};
pub use time::{ago, length, since, some_time, time};
