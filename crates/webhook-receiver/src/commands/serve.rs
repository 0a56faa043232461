//! `serve`: the receiver, from its settings, until it is told to stop.

use std::process::ExitCode;

use anyhow::Context as _;
use contract::time::system_clock;
use settings::{Config, LogFormat, Overrides};
use telemetry::start_log;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::app::Program;

/// `serve`'s own flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    settings: Overrides,
    /// How log lines look
    #[arg(long, value_enum, value_name = "FORMAT")]
    log: Option<LogFormat>,
}

pub(crate) async fn run(args: Args, program: Program) -> anyhow::Result<ExitCode> {
    let mut config = settings::load(&args.settings)?;
    if let Some(format) = args.log {
        config.log.format = format;
    }
    // What is missing in the settings is said before a taken port.
    config.check()?;
    config.hook_sites(&config.sources()?)?;
    let listener = bind(&config).await?;
    serve(config, program, listener, async |_| Ok(())).await
}

/// Binds before anything is opened or printed, so that a taken port is the first thing said.
pub(crate) async fn bind(config: &Config) -> anyhow::Result<TcpListener> {
    TcpListener::bind(config.listen).await.with_context(|| {
        format!("cannot listen on {}; choose another address with --listen", config.listen)
    })
}

/// Serves until SIGTERM, SIGINT or SIGHUP, then drains; with something `beside` it that stops with it.
pub(crate) async fn serve(
    config: Config,
    program: Program,
    listener: TcpListener,
    beside: impl AsyncFnOnce(CancellationToken) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let _log = start_log(&config.log)?;
    let fork = program.start().await?;
    let stop = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone())?);
    let clock = system_clock();
    let receiver = receiver::serve::serve(config, fork, listener, clock, stop.clone());
    tokio::try_join!(receiver, beside(stop))?;
    Ok(ExitCode::SUCCESS)
}

/// A first signal drains; a second one ends the process at once.
pub(crate) fn stop_on_signal(stop: CancellationToken) -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) };
    Ok(async move {
        let mut next = async || {
            let hangup = async {
                match &mut hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = hangup => "SIGHUP",
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let signal = next().await;
        info!(signal, "stopping; once more ends at once");
        stop.cancel();
        next().await;
        std::process::exit(130);
    })
}

/// Whether whoever started the process, such as `nohup`, wants it to outlive its terminal.
fn ignores_hangup() -> bool {
    const SIGHUP: u64 = 1;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & SIGHUP != 0)
}
