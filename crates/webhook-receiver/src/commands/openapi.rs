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
    let (sources, hooks) = match args.configured {
        true => {
            let config = settings::load(&args.settings)?;
            let sources = config.sources()?;
            let hooks = config.hook_sites(&sources)?;
            (sources, hooks)
        }
        false => (vec![openapi::default_source()], vec![openapi::default_hooks()?]),
    };
    let document = openapi::document(&*program.table()?, &sources, &hooks)?;
    super::print(document.to_pretty_json()?)?;
    Ok(ExitCode::SUCCESS)
}
