//! `connect`: prints what to enter on the sender's side.

use std::process::ExitCode;

use webhook_receiver::config::{self, Overrides};
use webhook_receiver::doctor::{self, CardArgs};
use webhook_receiver::handlers;

use super::print;

const EXAMPLES: &str = "\
Examples:
  What to enter for DirectScale, live and stage:
    webhook-receiver connect directscale --base https://hooks.example.com

  With the keys, to copy them from the screen:
    webhook-receiver connect github --base https://hooks.example.com --show-key";

/// `connect`'s flags and the settings'.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    settings: Overrides,
    #[command(flatten)]
    args: CardArgs,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = config::load(&args.settings)?;
    print(doctor::cards(&args.args, &handlers::catalog().checked()?, &config)?.trim_end())?;
    Ok(ExitCode::SUCCESS)
}
