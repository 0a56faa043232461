//! `bus`: runs the event bus.

mod rehearse;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use bus::{BusOptions, TARGETS, backup, serve_bus};
use contract::time::system_clock;
use settings::{Config, FaultsConfig, LogFormat, Overrides};
use telemetry::start_log;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::browse::print_backup;
use super::serve::stop_on_signal;
use crate::app::Program;

const EXAMPLES: &str = "\
Examples:
  The bus with the subscriptions of the settings, on its own address:
    webhook-receiver bus --config receiver.toml

  Three days of retries in a minute and a half:
    webhook-receiver bus --speed 3600

  Lose every tenth answer of each target, and send every twentieth message twice:
    webhook-receiver bus --fault drop=0.1 --fault duplicate=0.05

Targets that are not public, such as this machine's, are refused unless allow_targets in [bus] has them. `dev` runs a bus \
beside the receiver that may send to any.";

const FAULT_HELP: &str = "\
Make this fault on purpose with every target, in place of its subscription's own faults

delay=TIME makes every attempt later; duplicate, reorder, drop, truncate and tamper are a share of attempts from 0 to 1; \
burst=N gathers N deliveries and sends them together.";

/// The flags of `bus`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Settings file [default: receiver.toml if there is one]
    #[arg(long, short, env = "RECEIVER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address of its API and pages, e.g. 127.0.0.1:8090
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Where to store events, deliveries and logs, e.g. sqlite:data/outbox.db
    #[arg(long, value_name = "URL")]
    outbox: Option<String>,
    /// Speed of retries, pauses and retention, as a multiple of the clock
    #[arg(long, value_name = "TIMES", default_value_t = 1.0)]
    speed: f64,
    #[arg(long, value_name = "NAME=VALUE", help = text::first_line(FAULT_HELP), long_help = FAULT_HELP)]
    fault: Vec<String>,
    /// Format of log lines
    #[arg(long, value_enum, value_name = "FORMAT")]
    log: Option<LogFormat>,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Simulate, without a network, an outage of the receiver and its cost
    Rehearse(rehearse::Args),
    /// Copy the whole outbox, which has the keys of subscriptions, to a new file; the bus may be running
    Backup {
        /// The file to write, readable by you alone
        file: PathBuf,
        /// Settings file [default: receiver.toml if there is one]
        #[arg(long, short, env = "RECEIVER_CONFIG", value_name = "FILE")]
        config: Option<PathBuf>,
        /// The outbox, e.g. sqlite:data/outbox.db
        #[arg(long, value_name = "URL")]
        outbox: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub(crate) async fn run(args: Args, program: &Program) -> anyhow::Result<ExitCode> {
    match args.command {
        Some(Command::Rehearse(args)) => return rehearse::run(&args),
        Some(Command::Backup { file, config, outbox, json }) => {
            let settings = Overrides { config, ..Overrides::default() };
            let url =
                outbox.map_or_else(|| Ok(settings::load(&settings)?.bus.outbox), anyhow::Ok)?;
            print_backup(&file, "events", backup(&url, &file)?, json)?;
            return Ok(ExitCode::SUCCESS);
        }
        None => {}
    }
    let overrides = Overrides { config: args.config, ..Overrides::default() };
    let mut config = settings::load(&overrides)?;
    config.log.format = args.log.unwrap_or(config.log.format);
    config.bus.listen = args.listen.unwrap_or(config.bus.listen);
    config.bus.outbox = args.outbox.unwrap_or(config.bus.outbox);
    config.bus.check()?;
    config.bus.key()?;
    let options =
        BusOptions { faults: faults(&args.fault)?, ..options(&config, args.speed, false) };
    let listener = bind(&config).await?;
    let _log = start_log(&config.log)?;
    let stop = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone())?);
    serve_bus(&config, &*program.table()?, options, listener, stop).await?;
    Ok(ExitCode::SUCCESS)
}

/// The subscriptions that the bus would refuse.
pub(crate) fn refusals(config: &Config) -> Vec<String> {
    ::bus::refusals(&config.bus, &config.sources)
}

/// The run options of the bus.
pub(crate) fn options(config: &Config, speed: f64, is_open: bool) -> BusOptions {
    BusOptions {
        speed,
        is_open,
        faults: None,
        targets: TARGETS,
        clock: system_clock(),
        drain: config.limits.drain,
        sources: std::sync::Arc::new(config.sources.clone()),
    }
}

/// Binds before anything is opened or printed, so that a port in use is the first error.
pub(crate) async fn bind(config: &Config) -> anyhow::Result<TcpListener> {
    let listen = config.bus.listen;
    TcpListener::bind(listen).await.with_context(|| {
        format!("the bus cannot listen on {listen}; give it another address: listen in [bus]")
    })
}

/// Parses the faults of this run, which are written as in the settings.
fn faults(given: &[String]) -> anyhow::Result<Option<FaultsConfig>> {
    if given.is_empty() {
        return Ok(None);
    }
    let mut text = String::new();
    for fault in given {
        let Some((name, value)) = fault.split_once('=') else {
            bail!("--fault {fault}: write NAME=VALUE, for example drop=0.1");
        };
        let value = if name == "delay" { format!("{value:?}") } else { value.to_owned() };
        text.push_str(&format!("{name} = {value}\n"));
    }
    let parsed = toml::from_str(&text);
    parsed.map(Some).map_err(|error| anyhow::anyhow!("--fault: {}", error.message()))
}
