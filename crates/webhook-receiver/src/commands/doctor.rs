//! `doctor`: smoke-tests a live webhook.

use std::io::{IsTerminal, stdout};
use std::process::ExitCode;

use ::doctor::{CheckVerdict, DoctorArgs};
use anyhow::Context as _;
use settings::{Config, Overrides};
use text::inert;

use super::{print, print_styled};
use crate::app::Program;

/// The flags of `doctor` and of the settings.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    settings: Overrides,
    #[command(flatten)]
    args: DoctorArgs,
}

pub(crate) async fn run(
    Args { settings, args }: Args,
    program: &Program,
) -> anyhow::Result<ExitCode> {
    let config = settings::load(&settings)?;
    if args.expect {
        return expect(&args, program, &config).await;
    }
    let report = doctor::examine(&args, &*program.table()?, &config).await?;
    if let Some(file) = &args.junit {
        std::fs::write(file, report.junit())
            .with_context(|| format!("cannot write --junit {}", file.display()))?;
    }
    match args.json {
        true => print(serde_json::to_string_pretty(&report.json())?)?,
        false => print_styled(report.table(stdout().is_terminal()))?,
    }
    Ok(match report.verdict() {
        CheckVerdict::Fail => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}

/// Prints refused requests at once, since a person waits.
async fn expect(args: &DoctorArgs, program: &Program, config: &Config) -> anyhow::Result<ExitCode> {
    let tell = |line: &str| eprintln!("{}", inert(line));
    let expected = doctor::expect(args, &*program.table()?, config, tell).await?;
    print(match args.json {
        true => serde_json::to_string_pretty(&expected.json())?,
        false => expected.to_string(),
    })?;
    Ok(match expected.verdict() {
        CheckVerdict::Fail => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}
