//! `connect`: prints setup guides.

use std::process::ExitCode;

use ::doctor::SetupGuideArgs;
use settings::Overrides;

use super::print;
use crate::app::Program;

const EXAMPLES: &str = "\
Examples:
  The setup guide for DirectScale, live and stage:
    webhook-receiver connect directscale --base https://hooks.example.com

  With the keys, to copy them from the screen:
    webhook-receiver connect github --base https://hooks.example.com --show-key";

/// The flags of `connect` and of the settings.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    settings: Overrides,
    #[command(flatten)]
    args: SetupGuideArgs,
}

pub(crate) fn run(args: &Args, program: &Program) -> anyhow::Result<ExitCode> {
    let config = settings::load(&args.settings)?;
    print(doctor::setup_guides(&args.args, &*program.table()?, &config)?.trim_end())?;
    Ok(ExitCode::SUCCESS)
}
