//! `doctor`: smoke-tests a live webhook.

use std::io::{IsTerminal, stdout};
use std::process::ExitCode;

use anyhow::Context as _;
use webhook_receiver::config::{self, Config, Overrides};
use webhook_receiver::doctor::{self, DoctorArgs, Verdict};
use webhook_receiver::handlers;
use webhook_receiver::text::inert;

use super::{print, print_styled};

/// `doctor`'s flags and the settings'.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    settings: Overrides,
    #[command(flatten)]
    args: DoctorArgs,
}

pub(crate) async fn run(Args { settings, args }: Args) -> anyhow::Result<ExitCode> {
    let config = config::load(&settings)?;
    if args.expect {
        return expect(&args, &config).await;
    }
    let report = doctor::examine(&args, &handlers::catalog().checked()?, &config).await?;
    if let Some(file) = &args.junit {
        std::fs::write(file, report.junit())
            .with_context(|| format!("cannot write --junit {}", file.display()))?;
    }
    match args.json {
        true => print(serde_json::to_string_pretty(&report.json())?)?,
        false => print_styled(report.table(stdout().is_terminal()))?,
    }
    Ok(match report.verdict() {
        Verdict::Fail => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}

/// Refused attempts are told as they come, since a person waits.
async fn expect(args: &DoctorArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let tell = |line: &str| eprintln!("{}", inert(line));
    let expected = doctor::expect(args, &handlers::catalog().checked()?, config, tell).await?;
    print(match args.json {
        true => serde_json::to_string_pretty(&expected.json())?,
        false => expected.to_string(),
    })?;
    Ok(match expected.verdict() {
        Verdict::Fail => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}
