//! The commands.

mod browse;
#[cfg(feature = "bus")]
pub(crate) mod bus;
pub(crate) mod check;
#[cfg(feature = "doctor")]
pub(crate) mod connect;
pub(crate) mod dev;
#[cfg(feature = "doctor")]
pub(crate) mod doctor;
pub(crate) mod effects;
pub(crate) mod healthcheck;
pub(crate) mod hooks;
pub(crate) mod inbox;
pub(crate) mod keys;
#[cfg(feature = "postgres")]
pub(crate) mod migrate;
pub(crate) mod openapi;
#[cfg(feature = "bus")]
pub(crate) mod publish;
pub(crate) mod secret;
pub(crate) mod serve;
pub(crate) mod tail;
pub(crate) mod verify;

#[cfg(not(feature = "bus"))]
mod bus {
    /// Without the bus nobody refuses its subscriptions.
    pub(crate) fn refusals(_: &settings::Config) -> Vec<String> {
        Vec::new()
    }
}

use std::io::Write as _;
use std::sync::Arc;

use ::inbox::{Inbox, InboxUrl, Options, exists};
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use contract::time::Timestamp;
use settings::Config;
use text::inert_lines;

/// Opens an inbox, with or without a running receiver. None if it does not exist; it is not created.
async fn open_beside(config: &Config) -> anyhow::Result<Option<Arc<dyn Inbox>>> {
    let url = inbox_url(config)?;
    if !exists(&url) {
        return Ok(None);
    }
    ::inbox::open(&url, Options::command()).await.map(Some)
}

/// The inbox of the settings.
fn inbox_url(config: &Config) -> anyhow::Result<InboxUrl> {
    Ok(InboxUrl::parse(&config.inbox)?)
}

/// A table without lines.
fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table
}

fn time(time: Timestamp) -> String {
    time.format("%Y-%m-%d %H:%M:%S%.3fZ").to_string()
}

/// Prints text that may be untrusted. Unlike `println!` it returns an error if the reader, such as `head`, has closed
/// the output.
fn print(text: impl std::fmt::Display) -> std::io::Result<()> {
    print_styled(inert_lines(&text.to_string()))
}

/// Prints text with colours.
fn print_styled(line: impl std::fmt::Display) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
