//! `openapi`: prints the document.

use std::process::ExitCode;

use webhook_receiver::config::{self, Overrides};
use webhook_receiver::{handlers, openapi};

/// `openapi`'s own flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Describe the sources of the settings instead of a single source under /api/webhooks
    #[arg(long)]
    configured: bool,
    #[command(flatten)]
    settings: Overrides,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let sources = match args.configured {
        true => config::load(&args.settings)?.sources()?,
        false => vec![openapi::default_source()],
    };
    let document = openapi::document(&handlers::catalog().checked()?, &sources)?;
    super::print(document.to_pretty_json()?)?;
    Ok(ExitCode::SUCCESS)
}
