//! `openapi`: prints the OpenAPI document.

use std::process::ExitCode;

use receiver::openapi;
use settings::Overrides;

use crate::app::Program;

/// The flags of `openapi`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Describe the sources of the settings instead of a single source under /api/webhooks
    #[arg(long)]
    configured: bool,
    #[command(flatten)]
    settings: Overrides,
}

pub(crate) fn run(args: Args, program: &Program) -> anyhow::Result<ExitCode> {
    let table = program.table()?;
    let document = if args.configured {
        let config = settings::load(&args.settings)?;
        let sources = config.sources()?;
        let hooks = config.hook_sites(&sources)?;
        openapi::document(&table, &sources, &hooks)?.to_pretty_json()?
    } else {
        openapi::committed(&table)?
    };
    super::print(document)?;
    Ok(ExitCode::SUCCESS)
}
