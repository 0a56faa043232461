//! `bus`: the stand-in for the vendor's event bus.

mod rehearse;

use std::process::ExitCode;

/// `bus`'s own flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Reckon, without a network, what an outage of the receiver would cost
    Rehearse(rehearse::Args),
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Rehearse(args) => rehearse::run(&args),
    }
}
